"""A month's received rows divided into valid and quarantined ones, as a pipeline's lake has them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from churn_assets.months import Month
from churn_assets.pipeline import AMENDMENTS, Pipeline
from churn_assets.quality import Validation, validate
from churn_assets.quality.readmission import COLUMNS, amended
from churn_assets.spec.expressions import columns_of


@dataclass(frozen=True)
class Division:
    """What became of a month's rows.

    Attributes:
        received: rows that the source delivered.
        quarantined: the validation's lines, and those of rows that a person has discarded.
        mended: rows that were taken as a person has mended them.
        unmatched: amendments whose row wasn't delivered again.
    """

    received: int
    validation: Validation
    quarantined: pl.DataFrame
    mended: int
    unmatched: pl.DataFrame

    @property
    def aside(self) -> int:
        """Rows in quarantine; one that breaks several rules counts once."""
        return self.quarantined.get_column("_row").n_unique()


def divide(pipeline: Pipeline, month: Month, amendments: pl.DataFrame | None) -> Division:
    """Divides what was received for ``month``, with ``amendments`` applied.

    Raises:
        MissingMonth: a month that must be read isn't there.
        QualityError: the rows can't be told apart by rules: a column is missing, or could be read in two ways.
    """
    lake, schema = pipeline.lake, pipeline.spec.schema_
    raw = lake.records(pipeline.window("validated_data", month, "raw_data"))[0]
    applied = amended(lambda: lake.pieces(raw), amendments)
    found = validate(applied.pieces, schema, month, _previous(pipeline, month))
    return Division(
        received=raw.rows,
        validation=found,
        quarantined=pl.concat([found.quarantined, _discarded(applied.discarded, found.quarantined)]),
        mended=applied.mended,
        unmatched=applied.unmatched,
    )


def amendments_of(pipeline: Pipeline, month: Month) -> pl.DataFrame | None:
    """What people have mended in a month, if anything."""
    record = pipeline.lake.record(AMENDMENTS, month)
    return pipeline.lake.scan_record(record).select(list(COLUMNS)).collect() if record and record.files else None


def _previous(pipeline: Pipeline, month: Month) -> pl.DataFrame | None:
    """The newest valid row of each customer before ``month``, with the columns that rules compare."""
    window = pipeline.window("validated_data", month, "validated_data")
    if not window.months:
        return None
    rules = pipeline.spec.schema_.rules
    named = {name for rule in rules for name in columns_of(rule, pipeline.spec.schema_)[1]} - {"month"}
    rows = pipeline.lake.scan(window)
    if pipeline.key not in rows.collect_schema():
        return None
    newest = rows.select(pipeline.key, "month", *sorted(named - {pipeline.key})).sort("month")
    return newest.unique(pipeline.key, keep="last", maintain_order=True).collect()


def _discarded(rows: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    if rows.is_empty():
        return like.clear()
    place = {name: pl.col(name) if name in rows.columns else pl.lit(None) for name in ("_file", "_line", "_text")}
    return rows.select(
        customer=pl.lit(None), _row="_row", _file=place["_file"], _line=place["_line"], rule=pl.lit("discarded"),
        column=pl.lit(None), value=place["_text"], expected=pl.format("discarded by {}: {}", "by", "note"),
    ).select(pl.col(name).cast(dtype) for name, dtype in like.schema.items())  # fmt: skip
