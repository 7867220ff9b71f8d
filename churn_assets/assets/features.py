"""features: the numbers that models learn from, of customers still active at the month's end."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.engines import Engine, open_engine
from churn_assets.features import MONTHS_OBSERVED, compute
from churn_assets.features.events import active_customers, customer_months
from churn_assets.features.lineage import of_features
from churn_assets.features.tally import Tally
from churn_assets.months import Month
from churn_assets.store.offline import AVAILABLE_AT


def _make(work: Work) -> Made:
    pipeline, schema = work.pipeline, work.pipeline.spec.schema_
    window = pipeline.window("features", work.month, "validated_data")
    engine = open_engine(pipeline.spec.engine)
    records = [record for record in pipeline.lake.records(window) if record.files]
    frames = {work.month - Month.parse(r.month): engine.scan(pipeline.lake, r) for r in records}
    if 0 not in frames:
        nothing = "The source delivered no rows."
        return Made(None, nothing, tuple(Check(c.name, True, nothing) for c in STAGE.checks))
    leaves = pipeline.spec.label.kind == "flag" and schema.churned
    keep = ~nw.col(schema.churned) if leaves and schema.churned else None
    if events := pipeline.spec.events:
        recent = [frame for lag, frame in frames.items() if lag < events.active_months]
        active = _count(engine, active_customers(recent, schema.key, events.activity))
        frames = engine.settled(customer_months(frames, schema.key, schema.time or "", events, work.month))
    else:
        active = _count(engine, frames[0], keep)
    made = compute(frames, schema.key, pipeline.spec.features, keep=keep, types=pipeline.spec.observed)
    available = pl.lit(pipeline.calendar.available_from(work.month)).alias(AVAILABLE_AT)
    tally = Tally(schema.key)
    pieces = (piece.with_columns(available) for piece in engine.pieces(made))
    return Made(
        rows=pipeline.lake.draft(tally.passing(pieces)),
        checks=(_one_row_each(tally, active), _filled(work, tally)),
        metadata={"features": len(tally.columns) - 3, "window": ", ".join(map(str, window))},
        lineage=of_features(pipeline.spec),
    )


def _count(engine: Engine, frame: Any, keep: nw.Expr | None = None) -> int:
    rows = nw.from_native(frame)
    counted = (rows if keep is None else rows.filter(keep)).select(nw.len()).to_native()
    return int(pl.concat(engine.pieces(counted)).item())


def _one_row_each(tally: Tally, active: int) -> Check:
    passed = tally.rows == active == tally.customers
    return Check(
        "one_row_per_customer", passed,
        f"{tally.rows:,} rows of {tally.customers:,} customers; {active:,} were active at the month's end.",
    )  # fmt: skip


def _filled(work: Work, tally: Tally) -> Check:
    """Whether every feature has values whose window the pipeline's months already fill."""
    begun = work.month - work.pipeline.calendar.start
    expected = [name for name, months in work.pipeline.spec.lookbacks.items() if months <= begun]
    counted = {"feature": list(tally.columns), "missing": [tally.missing[name] for name in tally.columns]}
    shares = pl.DataFrame(counted).with_columns((pl.col("missing") / max(tally.rows, 1)).alias("share"))
    bare = shares.filter((pl.col("share") == 1) & pl.col("feature").is_in(expected))["feature"].to_list()
    reason = f"Without any value: {', '.join(bare)}." if bare else "Every feature has values."
    worst = shares.sort("share", "feature", descending=[True, False]).head(5)
    return Check("features_have_values", not bare, reason, warn=True, figures={"most often missing": worst})


STAGE = Stage(
    name="features",
    description="One row per customer still active at the month's end. Computed from validated months up to this one "
    "and nothing later; a month before the customer was there is a missing value, never a shifted window.",
    kinds=frozenset({"deltalake"}),
    chosen_kinds=lambda spec: frozenset({spec.engine.kind}),
    after=("validated_data",),
    checks=(
        CheckPlan("one_row_per_customer", "Every active customer has exactly one row.", blocking=True),
        CheckPlan(
            "features_have_values", "No feature is missing for everybody, once the pipeline has the months it reads."
        ),
    ),
    sections=("features", "events", "schema_.key", "schema_.columns", "label.kind", "months.lag_days", "engine.kind"),
    modules=(
        "features/compute.py",
        "features/expressions.py",
        "features/functions.py",
        "features/types.py",
        "features/events.py",
        "spec/features.py",
        "spec/events.py",
        "engines",
    ),
    make=_make,
    sources=lambda spec: spec.feature_sources,
    about={
        MONTHS_OBSERVED: "In how many months of the window the customer was there.",
        AVAILABLE_AT: "When the row could be known: the month's end and the days until its data is complete.",
    },
)
