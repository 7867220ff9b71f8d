"""raw_data: what the source says of the month, kept as received."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.quality.rules import ROW


def _inputs(pipeline: Pipeline, month: Month) -> dict[str, str]:
    return {f"source {month}": pipeline.source.identity(month)}


def _make(work: Work) -> Made:
    delivery = work.pipeline.source.read(work.month)
    rows = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    if ROW not in rows.columns:
        rows = rows.with_row_index(ROW, offset=1)
    needed = {work.pipeline.key, *(c.name for c in work.pipeline.spec.schema_.columns if c.role != "ignored")}
    missing = sorted(needed - set(rows.columns))
    columns = Check(
        "columns_present",
        not missing,
        f"Declared columns are missing: {', '.join(missing)}." if missing else "Every declared column is there.",
    )
    provenance = dict(delivery.provenance)
    return Made(
        rows=rows if len(rows) else None,
        reason="" if len(rows) else "The source delivered no rows.",
        checks=(columns,),
        facts={"provenance": provenance},
        metadata={"provenance": provenance},
    )


STAGE = Stage(
    name="raw_data",
    description="What the source says of the month, kept as received. A re-delivered month becomes a new version; the "
    "old one stays readable.",
    kinds=frozenset({"deltalake", "polars"}),
    after=(),
    checks=(CheckPlan("columns_present", "Every column that the schema declares was delivered."),),
    sections=("source",),
    modules=("sources",),
    make=_make,
    inputs=_inputs,
)
