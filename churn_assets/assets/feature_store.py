"""feature_store: the catalogue of features, and the newest month online."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.features.profile import profile
from churn_assets.pipeline import Pipeline
from churn_assets.store.lake import MonthRecord

SAMPLE = 50


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    window = pipeline.window("feature_store", work.month, "features")
    record = pipeline.lake.records(window)[0]
    scanned = pipeline.lake.scan_month(window, work.month)
    if scanned is None:
        return Made(None, record.reason, (Check("online_equals_offline", True, "There is nothing to serve."),))
    rows = scanned.collect()
    pipeline.online.publish(work.month, record.content, rows, pipeline.key)
    catalogue = profile(rows, pipeline.spec.features)
    served = pipeline.online.served()
    return Made(
        rows=catalogue,
        checks=(_online_check(work, rows),),
        metadata={
            "served online": f"{served[0]}, {served[1]:,} customers" if served else "nothing",
            "online store": pipeline.online.path,
            "catalogue": catalogue.select("feature", "kind", "dtype", "missing_share", "mean", "most_frequent"),
        },
    )


def _online_check(work: Work, rows: pl.DataFrame) -> Check:
    """Looks a few customers up as an application would, and compares with the offline table."""
    served = work.pipeline.online.served()
    if served and served[0] > work.month:
        return Check("online_equals_offline", True, f"A later month, {served[0]}, is being served.")
    key = work.pipeline.key
    sample = rows.gather_every(max(1, len(rows) // SAMPLE)).head(SAMPLE)
    wrong = [
        row[key]
        for row in sample.drop("month").iter_rows(named=True)
        if work.pipeline.online.lookup(row[key])
        != {**{k: v for k, v in row.items() if k != key}, "month": str(work.month)}
    ]
    reason = f"{len(sample) - len(wrong)} of {len(sample)} customers looked up have the offline values."
    return Check("online_equals_offline", not wrong, reason, figures={"different": wrong})


def _is_served(pipeline: Pipeline, record: MonthRecord) -> bool:
    served = pipeline.online.served()
    return record.status == "empty" or (served is not None and str(served[0]) >= record.month)


STAGE = Stage(
    name="feature_store",
    description="The catalogue of features: definition and distribution of each in this month. The offline store is "
    "the table features, month by month; the newest month is served online by customer.",
    kinds=frozenset({"deltalake", "sqlite"}),
    after=("features",),
    checks=(CheckPlan("online_equals_offline", "Customers looked up online have the offline table's values."),),
    sections=("features",),
    modules=("features/profile.py", "store/online.py"),
    make=_make,
    intact=_is_served,
)
