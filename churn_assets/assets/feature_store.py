"""feature_store: the catalogue of features, checked against the months before, and the newest month online."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from churn_assets.assets.charts import Chart, bar_chart, pair_chart
from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.feature_page import importance
from churn_assets.features import quality
from churn_assets.features.leakage import leaks
from churn_assets.features.page import page
from churn_assets.features.profile import ABOUT, definitions, profile
from churn_assets.learning.dataset import Dataset
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.quality.expectations import Expectation
from churn_assets.store.lake import MonthRecord
from churn_assets.store.offline import AVAILABLE_AT
from churn_assets.store.online import identical

SAMPLE = 50


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    record = pipeline.lake.records(pipeline.window("feature_store", work.month, "features"))[-1]
    rows = _features(work, work.month)
    if rows is None:
        nothing = "There is nothing to serve."
        return Made(None, record.reason, tuple(Check(c.name, True, nothing) for c in STAGE.checks))
    before = _features(work, work.month - 1) if work.month > pipeline.calendar.start else None
    comparable, limits = _comparable(work), pipeline.spec.feature_checks
    drift = quality.drift(rows, before, comparable, limits.max_psi)
    leak = _leak(work, rows, before)
    checks = (
        _check(work, quality.null_shares(rows, before, comparable)),
        _check(work, quality.constants(rows, before, comparable)),
        _check(work, drift, _drift_charts(work, rows, before, drift)),
        _check(work, leak, _bars("AUC of single features", leak.table, "auc")),
    )
    catalogue = profile(rows, pipeline.spec, _figures(drift, "psi"), _figures(leak, "auc"))
    return Made(catalogue, checks=(*checks, _served(work, record, rows, checks)))


def _features(work: Work, month: Month) -> pl.DataFrame | None:
    window = work.pipeline.window("feature_store", work.month, "features")
    scanned = work.pipeline.lake.scan_month(window, month)
    return None if scanned is None else scanned.drop("month", AVAILABLE_AT, strict=False).collect()


def _comparable(work: Work) -> list[str]:
    """Features whose window the pipeline's months filled in the month before already."""
    spec, filled = work.pipeline.spec, work.month - 1 - work.pipeline.calendar.start
    # Who is a customer at all takes events of several months.
    least = spec.events.active_months - 1 if spec.events else 0
    return [name for name, reach in spec.lookbacks.items() if max(reach, least) <= filled]


def _leak(work: Work, rows: pl.DataFrame, before: pl.DataFrame | None) -> Expectation:
    """Judged on the newest month of which it is known who left."""
    pipeline, month = work.pipeline, work.month
    snapshot = pipeline.calendar.matured_by(month)
    if snapshot is None:
        return Expectation("feature_leak", True, "Of no month is it known yet who left.")
    held = {month: rows, month - 1: before}
    customers = held[snapshot] if snapshot in held else _features(work, snapshot)
    if customers is None:
        return Expectation("feature_leak", True, f"There were no customers in {snapshot}.")
    dataset = Dataset(pipeline.lake, pipeline.spec, month, reader="feature_store")
    labelled = dataset.labels(customers.lazy(), snapshot).sort(pipeline.key).collect()
    return leaks(labelled, pipeline.spec.feature_names, pipeline.spec.feature_checks.max_auc, str(snapshot))


def _check(work: Work, found: Expectation, charts: Mapping[str, Chart] | None = None) -> Check:
    figures: dict[str, Any] = {**found.figures, **(charts or {})}
    if found.table is not None and len(found.table):
        made_of = definitions(work.pipeline.spec).select("feature", "made_of")
        figures["by feature"] = found.table.head(quality.SHOWN).join(
            made_of, on="feature", how="left", maintain_order="left"
        )
    return Check(found.name, found.passed, found.reason, figures=figures)


def _drift_charts(work: Work, rows: pl.DataFrame, before: pl.DataFrame | None, drift: Expectation) -> dict[str, Chart]:
    charts = _bars("PSI by feature", drift.table, "psi")
    if before is None or not charts or drift.table is None:
        return charts
    moved = str(drift.table.drop_nulls("psi")["feature"][0])
    bins = quality.spread(rows, before, moved)
    title = f"Distribution of {moved}, the feature that moved most"
    months = (str(work.month - 1), str(work.month))
    chart = pair_chart(title, bins["bin"].to_list(), bins["before"].to_list(), bins["now"].to_list(), months)
    return {**charts, "what moved most": chart}


def _bars(title: str, table: pl.DataFrame | None, figure: str) -> dict[str, Chart]:
    known = pl.DataFrame() if table is None else table.drop_nulls(figure).head(quality.SHOWN)
    return {title: bar_chart(title, known["feature"].to_list(), known[figure].to_list())} if len(known) else {}


def _figures(found: Expectation, figure: str) -> dict[str, float | None]:
    return {} if found.table is None else dict(found.table.select("feature", figure).iter_rows())


def _served(work: Work, record: MonthRecord, rows: pl.DataFrame, checks: tuple[Check, ...]) -> Check:
    """Serves the month, unless a check stops it, and looks a few customers up as an application would."""
    pipeline = work.pipeline
    stops = {plan.name for plan in STAGE.checks if plan.severity(pipeline.spec) == "stop"}
    if any(not check.passed and check.name in stops for check in checks):
        return Check("online_equals_offline", True, f"{work.month} isn't served: a check stops it.")
    pipeline.online.publish(work.month, record.content, rows, pipeline.key)
    served = pipeline.online.served()
    if served and served[0] > work.month:
        return Check("online_equals_offline", True, f"A later month, {served[0]}, is being served.")
    sample = rows.gather_every(max(1, len(rows) // SAMPLE)).head(SAMPLE)
    offline = {row.pop(pipeline.key): {**row, "month": str(work.month)} for row in sample.iter_rows(named=True)}
    online = pipeline.online.lookup_many(offline)
    wrong = [customer for customer, row in offline.items() if not identical(online.get(customer, {}), row)]
    reason = f"{len(sample) - len(wrong)} of {len(sample)} customers looked up have the offline values."
    return Check("online_equals_offline", not wrong, reason, figures={"different": wrong} if wrong else {})


def _shown(pipeline: Pipeline, month: Month, catalogue: pl.DataFrame) -> Mapping[str, Any]:
    served, outcome = pipeline.online.served(), pipeline.calendar.matured_by(month)
    # The month's own model comes later: the champion is the one that the month begins with.
    champion, shares = importance(pipeline, month - 1)
    weights = pl.Series("importance", [shares.get(name) for name in catalogue["feature"]], pl.Float64)
    overview = (
        catalogue.with_columns(weights)
        .sort("importance", "auc", descending=True, nulls_last=True)
        .with_columns(pl.col("importance", "auc", "psi", "missing_share").round(3))
        .select("feature", "type", "importance", AUC="auc", PSI="psi", missing="missing_share", mean="mean")
    )
    return {
        "feature page": dg.MetadataValue.md(page(pipeline.spec, str(month), catalogue, champion, shares)),
        "compared with": str(month - 1) if month > pipeline.calendar.start else "nothing yet",
        "AUC on the customers of": str(outcome) if outcome else "no month yet",
        "importance in the champion": champion or "none yet",
        "served online": f"{served[0]}, {served[1]:,} customers" if served else "nothing",
        "online store": pipeline.online.place,
        "catalogue": overview,
    }


def _is_served(pipeline: Pipeline, record: MonthRecord) -> bool:
    served = pipeline.online.served()
    return record.status == "empty" or (served is not None and str(served[0]) >= record.month)


STAGE = Stage(
    name="feature_store",
    description="The catalogue of features: definition, distribution and quality of each in this month. The offline "
    "store is the table features, month by month; the newest month is served online by customer.",
    kinds=frozenset({"deltalake"}),
    chosen_kinds=lambda spec: frozenset() if spec.online.url else frozenset({"sqlite"}),
    after=("features",),
    checks=(
        CheckPlan(
            "feature_nulls",
            "Every feature is missing about as often as in the month before.",
            expectation="feature_checks.nulls",
        ),
        CheckPlan(
            "feature_constant",
            "No feature has one value only that had several in the month before.",
            expectation="feature_checks.constant",
        ),
        CheckPlan(
            "feature_drift",
            "Every feature is distributed as in the month before, by the population stability index.",
            expectation="feature_checks.drift",
        ),
        CheckPlan(
            "feature_leak",
            "No feature tells by itself who left: its AUC alone is plausible.",
            expectation="feature_checks.leak",
        ),
        CheckPlan("online_equals_offline", "Customers looked up online have the offline table's values."),
    ),
    sections=("features", "feature_checks", "label", "events", "schema_.key", "schema_.columns", "owner"),
    repeats_words=True,
    modules=(
        "features/profile.py", "features/quality.py", "features/leakage.py", "features/labels.py",
        "features/events.py", "spec/features.py", "spec/events.py", "learning/dataset.py", "learning/reference.py",
        "learning/matrix.py", "learning/evaluation.py", "monitoring/drift.py", "store/online",
    ),
    make=_make,
    about=ABOUT,
    shows=_shown,
    intact=_is_served,
)  # fmt: skip
