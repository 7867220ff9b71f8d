"""The quarantine for people: what is in it, a sheet to mend it, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churn_assets.division import amendments_of, divide
from churn_assets.errors import ChurnAssetsError, MissingMonth, QualityError
from churn_assets.months import Month
from churn_assets.pipeline import AMENDMENTS, Pipeline
from churn_assets.quality import readmission
from churn_assets.sources.file import File, deliver
from churn_assets.spec.source import FileFormat
from churn_assets.store.content import json_hash
from churn_assets.store.lake import Commit, MonthRecord


@dataclass(frozen=True)
class Readmission:
    """What came of a mended sheet.

    Attributes:
        amended: rows whose values were changed, or that were discarded.
        untouched: rows of the sheet that stand as they were exported.
        before: how many rows are in quarantine now, discarded ones included.
        after: how many will be once the month was run.
        broken: what the amended rows still break, as lines of the quarantine.
    """

    amended: int
    untouched: int
    before: int
    after: int
    broken: pl.DataFrame


def counts(pipeline: Pipeline) -> pl.DataFrame:
    """Rows in quarantine by month, rule and column: ``month, rule, column, rows, expected``."""
    records = [pipeline.lake.record("quarantined_data", m) for m in pipeline.lake.months("quarantined_data")]
    frames = [pipeline.lake.scan_record(r) for r in records if r and r.files]
    schema = {"month": pl.String, "rule": pl.String, "column": pl.String, "rows": pl.Int64, "expected": pl.String}
    if not frames:
        return pl.DataFrame(schema=schema)
    grouped = pl.concat(frames, how="diagonal_relaxed").group_by("month", "rule", "column")
    told = grouped.agg(rows=pl.col("_row").n_unique().cast(pl.Int64), expected=pl.col("expected").first())
    return (
        told.with_columns(pl.col("month").dt.strftime("%Y-%m"))
        .sort("month", "rows", "rule", "column", descending=[False, True, False, False])
        .select(list(schema))
        .collect()
    )


def unsettled(pipeline: Pipeline) -> list[Month]:
    """Months whose newest delivery isn't validated yet, as a rule because too many rows broke a rule."""
    found = []
    for month in pipeline.lake.months("raw_data"):
        raw, validated = (pipeline.lake.record(table, month) for table in ("raw_data", "validated_data"))
        if raw and (validated is None or validated.inputs.get(f"raw_data {month}") != raw.content):
            found.append(month)
    return found


def lines(pipeline: Pipeline, month: Month) -> pl.DataFrame:
    """The quarantine's lines of a month's newest delivery, one a broken rule, by the rules as they are now.

    They are worked out anew, so that they can be looked at and mended also while they stop the month.
    """
    _record(pipeline, "raw_data", month)
    return divide(pipeline, month, amendments_of(pipeline, month)).quarantined.sort(
        "_row", "column", maintain_order=True
    )


def export(pipeline: Pipeline, month: Month, place: Path) -> int:
    """Writes a sheet of a month's quarantined rows, as received, to be mended; how many rows it has.

    Raises:
        ChurnAssetsError: no row of the month is in quarantine, or ``place`` is there already.
    """
    failures = _open(lines(pipeline, month))
    if failures.is_empty():
        raise ChurnAssetsError(f"quarantined_data {month}: expected rows to export, found none.")
    if place.exists():
        raise ChurnAssetsError(f"{place}: expected no such file, found one. Move it, or choose another name with --to.")
    rows = _received(pipeline, month, failures)
    place.parent.mkdir(parents=True, exist_ok=True)
    sheet = readmission.for_mending(rows, failures)
    # With the mark, spreadsheets read it as UTF-8.
    sheet.write_csv(place, include_bom=True)
    return len(sheet)


def readmit(pipeline: Pipeline, month: Month, sheet: Path, by: str, note: str) -> Readmission:
    """Keeps what a person has mended in a sheet; running the month then takes the rows in.

    Raises:
        QualityError: the sheet isn't one of this month's quarantine, or nothing in it was changed.
        SourceError: the sheet can't be read.
    """
    before = lines(pipeline, month)
    rows = _received(pipeline, month, _open(before))
    raw = _record(pipeline, "raw_data", month)
    given = _read_sheet(sheet, month)
    nth = readmission.counted_alike(lambda: pipeline.lake.pieces(raw), rows)
    try:
        new = readmission.amendments_of(given, rows, nth, by, note)
    except QualityError as error:
        raise QualityError(f"{sheet}: {error}") from error
    if new.is_empty():
        raise QualityError(
            f"{sheet}: expected mended rows, found none that differs from what was received. Mend values in place, or "
            f"write {readmission.DISCARD} into {readmission.ACTION}."
        )
    both = readmission.merged(amendments_of(pipeline, month), new)
    found = divide(pipeline, month, both)
    _keep(pipeline, month, both, new, by, note)
    return Readmission(
        amended=len(new),
        untouched=len(given) - len(new),
        before=before.get_column("_row").n_unique(),
        after=found.quarantined.get_column("_row").n_unique(),
        broken=found.quarantined.join(new.filter(pl.col("action") == "mend"), on="_row", how="semi"),
    )


def _keep(pipeline: Pipeline, month: Month, both: pl.DataFrame, new: pl.DataFrame, by: str, note: str) -> None:
    facts = {"by": by, "note": note, "at": datetime.now(UTC).isoformat(timespec="seconds"), "rows": len(new)}
    before = pipeline.lake.record(AMENDMENTS, month)
    inputs = {"before": before.content if before else ""}
    pipeline.lake.write(AMENDMENTS, month, both, Commit(json_hash([inputs, facts]), inputs), facts=facts)


def _open(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines of rows that nobody has discarded."""
    return lines.filter(pl.col("rule") != "discarded")


def _received(pipeline: Pipeline, month: Month, failures: pl.DataFrame) -> pl.DataFrame:
    """The rows that ``failures`` name, as the source sent them."""
    raw = _record(pipeline, "raw_data", month)
    if not raw.files:
        return pl.DataFrame(schema={"_row": pl.Int64})
    wanted = failures.get_column("_row").unique().implode()
    return pl.concat([p.filter(pl.col("_row").is_in(wanted)) for p in pipeline.lake.pieces(raw)])


def _record(pipeline: Pipeline, table: str, month: Month) -> MonthRecord:
    if record := pipeline.lake.record(table, month):
        return record
    raise MissingMonth(
        f"{table} {month}: expected the month to be there, found it was never made. "
        f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
    )


def _read_sheet(sheet: Path, month: Month) -> pl.DataFrame:
    delivery = deliver([File.local(sheet)], FileFormat(), month)
    table = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    if (broken := table.filter(pl.col("_defect").is_not_null())).height:
        row = broken.row(0, named=True)
        raise QualityError(f"{sheet}, line {row['_line']}: {row['_defect']}. Mend that line.")
    return table
