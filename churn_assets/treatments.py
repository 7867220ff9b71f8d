"""Lists and what was done with them, for people: the sheet to fill in, the way back, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churn_assets.errors import ChurnAssetsError, QualityError, SpecError
from churn_assets.months import Month
from churn_assets.pipeline import TREATMENT_LOG, Pipeline
from churn_assets.quality import validate
from churn_assets.retention import treatment_log
from churn_assets.retention.export import plain, to_csv, to_excel, to_parquet
from churn_assets.sources.file import File, deliver
from churn_assets.spec.data import ColumnType
from churn_assets.spec.source import FileFormat
from churn_assets.store.content import json_hash
from churn_assets.store.lake import Commit, MonthRecord, replace_file


@dataclass(frozen=True)
class Imported:
    """What a sheet told.

    Attributes:
        log: one row a customer of the list.
        ignored: columns of the sheet that a log doesn't have.
        replaced: whether an earlier log of the month stood there.
    """

    log: pl.DataFrame
    ignored: tuple[str, ...]
    replaced: bool


def newest_list(pipeline: Pipeline, month: str = "") -> MonthRecord:
    """The record of a month's list; of the newest one that has customers if no month is given.

    Raises:
        ChurnAssetsError: there is none, with the reason.
    """
    wanted = [Month.parse(month)] if month else list(reversed(pipeline.lake.months("retention_list")))
    records = [pipeline.lake.record("retention_list", m) for m in wanted]
    if found := next((r for r in records if r and r.files), None):
        return found
    named = wanted[0] if wanted else pipeline.spec.months.start
    if records and records[0]:
        told = f"{records[0].reason} {_newest_decision(pipeline, named)}"
    else:
        told = f"Run `{pipeline.lake.remedy.format(first=pipeline.spec.months.start, last=named)}`."
    raise ChurnAssetsError(f"retention_list {named}: expected customers to contact, found none. {told}")


def _newest_decision(pipeline: Pipeline, month: Month) -> str:
    """What the gate said last, up to a month, if no model may score customers."""
    records = [pipeline.lake.record("promotions", m) for m in pipeline.lake.months("promotions") if m <= month]
    made = [record for record in records if record and record.files]
    if not made or made[-1].facts.get("champion"):
        return ""
    decision = pipeline.lake.scan_record(made[-1]).collect().row(0, named=True)
    return f"The gate of {made[-1].month}, {decision['outcome']}: {decision['reason']}"


def write(rows: pl.DataFrame, place: Path, sheet: str, pipeline: Pipeline, month: Month) -> None:
    """Writes a list as the kind of file that its name says.

    Raises:
        SpecError: the name says no kind that can be written.
    """
    match place.suffix.casefold():
        case ".csv":
            data = to_csv(rows)
        case ".parquet":
            data = to_parquet(rows)
        case ".xlsx":
            data = to_excel(rows, sheet, pipeline.spec.value.currency, month.first_day)
        case other:
            raise SpecError(
                f"{place}: expected a name that ends with .csv, .parquet or .xlsx, found {other or 'none of them'}."
            )
    replace_file(place, data)


def listed(pipeline: Pipeline, record: MonthRecord) -> pl.DataFrame:
    """The rows of a list, in the order of their rank."""
    return pipeline.lake.scan_record(record).drop("month").sort("rank").collect()


def template(pipeline: Pipeline, month: Month, place: Path) -> int:
    """Writes the sheet of a month's list; how many customers it has.

    Raises:
        ChurnAssetsError: the month has no list, or ``place`` is there already.
    """
    rows = treatment_log.template(listed(pipeline, newest_list(pipeline, str(month))), pipeline.key)
    if place.exists():
        raise ChurnAssetsError(f"{place}: expected no such file, found one. Move it, or choose another name with --to.")
    write(rows, place, f"treatments {month}", pipeline, month)
    return len(rows)


def import_log(pipeline: Pipeline, month: Month, sheet: Path, by: str) -> Imported:
    """Takes in what was done with a month's list; an earlier log of the month is replaced, and kept as a version.

    Raises:
        SourceError: the sheet can't be read.
        QualityError: it tells of customers who aren't on the list, of one twice, or something that can't be read.
    """
    rows = listed(pipeline, newest_list(pipeline, str(month)))
    scored = pipeline.lake.record("predictions", month)
    assert scored is not None
    customers = pipeline.lake.scan_record(scored).select(pipeline.key).collect()[pipeline.key]
    try:
        told, ignored = _read(pipeline, month, sheet)
        log = treatment_log.logged(told, rows, customers, pipeline.key)
    except QualityError as error:
        raise QualityError(f"{sheet}: {error}") from error
    before = pipeline.lake.record(TREATMENT_LOG, month)
    facts = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds"), "file": sheet.name,
             "contaminated": treatment_log.contaminated(log)}  # fmt: skip
    inputs = {"before": before.content if before else ""}
    pipeline.lake.write(TREATMENT_LOG, month, log, Commit(json_hash([inputs, facts]), inputs), facts=facts)
    return Imported(log, tuple(n for n in ignored if n not in rows.columns), before is not None)


def log_of(pipeline: Pipeline, month: Month) -> pl.DataFrame:
    """What was done with a month's list, with ``left`` where it is known by now.

    Raises:
        ChurnAssetsError: nobody has told.
    """
    record = pipeline.lake.record(TREATMENT_LOG, month)
    if record is None:
        raise ChurnAssetsError(
            f"{TREATMENT_LOG} {month}: expected what was done with the list, found nothing. Fill in the sheet of "
            f"`churn treatments template --month {month}`, then `churn treatments import` it."
        )
    log = pipeline.lake.scan_record(record).drop("month").collect()
    known = pipeline.lake.record("list_outcomes", month + pipeline.calendar.horizon)
    if known is None or not known.files:
        return log.with_columns(pl.lit(None, pl.Boolean).alias("left"))
    outcomes = pipeline.lake.scan_record(known).select(pipeline.key, "left").collect()
    return log.join(outcomes, on=pipeline.key, how="left", maintain_order="left")


def _read(pipeline: Pipeline, month: Month, sheet: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    schema = pipeline.spec.schema_
    typed: dict[str, ColumnType] = {c.name: c.type for c in schema.columns if c.role != "ignored"}
    delivery = deliver([File.local(sheet)], FileFormat(), month)
    received = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    # Lines of text may be broken, and texts in them were guarded; other formats have every text as it is.
    told = plain(received) if "_defect" in received.columns else received
    found = validate(told, treatment_log.sheet_schema(schema.key, typed.get(schema.key, "string")), month)
    if len(found.quarantined):
        first = found.quarantined.row(0, named=True)
        more = found.quarantined["_row"].n_unique() - 1
        raise QualityError(
            f"line {first['_line'] or first['_row']}: {first['column'] or 'the row'}: expected {first['expected']}, "
            f"found {first['value']!r}{f', and {more:,} more rows' if more else ''}. Mend them; nothing was taken in."
        )
    return found.valid, found.undeclared
