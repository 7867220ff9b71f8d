"""features: the numbers that models learn from, of customers still active at the month's end."""

from __future__ import annotations

import narwhals as nw
import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.features import compute


def _make(work: Work) -> Made:
    pipeline, schema = work.pipeline, work.pipeline.spec.schema_
    window = pipeline.window("features", work.month, "validated_data")
    frames = {work.month - m: pipeline.lake.scan_month(window, m) for m in window}
    if frames[0] is None:
        nothing = "The source delivered no rows."
        return Made(None, nothing, tuple(Check(c.name, True, nothing) for c in STAGE.checks))
    leaves = pipeline.spec.label.kind == "flag" and schema.churned
    active = frames[0].filter(~pl.col(schema.churned)) if leaves and schema.churned else frames[0]
    rows = compute(
        {lag: frame for lag, frame in frames.items() if frame is not None},
        schema.key,
        pipeline.spec.features,
        keep=~nw.col(schema.churned) if leaves and schema.churned else None,
    ).collect()
    return Made(
        rows=rows,
        checks=(_one_row_each(rows, schema.key, active.select(pl.len()).collect().item()), _filled(work, rows)),
        metadata={"features": rows.width - 2, "window": ", ".join(map(str, window))},
    )


def _one_row_each(rows: pl.DataFrame, key: str, active: int) -> Check:
    distinct = rows[key].n_unique()
    passed = len(rows) == active == distinct
    return Check(
        "one_row_per_customer", passed,
        f"{len(rows):,} rows of {distinct:,} customers; {active:,} were active at the month's end.",
    )  # fmt: skip


def _filled(work: Work, rows: pl.DataFrame) -> Check:
    """Whether every feature has values whose window the pipeline's months already fill."""
    begun = work.month - work.pipeline.calendar.start
    expected = [name for name, months in work.pipeline.spec.lookbacks.items() if months <= begun]
    shares = rows.null_count().unpivot(variable_name="feature", value_name="missing").with_columns(
        (pl.col("missing") / max(len(rows), 1)).alias("share")
    )  # fmt: skip
    bare = shares.filter((pl.col("share") == 1) & pl.col("feature").is_in(expected))["feature"].to_list()
    reason = f"Without any value: {', '.join(bare)}." if bare else "Every feature has values."
    worst = shares.sort("share", "feature", descending=[True, False]).head(5)
    return Check("features_have_values", not bare, reason, warn=True, figures={"most often missing": worst})


STAGE = Stage(
    name="features",
    description="One row per customer still active at the month's end. Computed from validated months up to this one "
    "and nothing later; a month without the customer is a missing value, never a shifted window.",
    kinds=frozenset({"deltalake", "polars"}),
    after=("validated_data",),
    checks=(
        CheckPlan("one_row_per_customer", "Every active customer has exactly one row.", blocking=True),
        CheckPlan(
            "features_have_values", "No feature is missing for everybody, once the pipeline has the months it reads."
        ),
    ),
    sections=("features", "schema_.key", "schema_.columns", "label.kind"),
    modules=("features/compute.py",),
    make=_make,
)
