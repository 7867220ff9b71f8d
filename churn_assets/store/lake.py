"""The lake: one Delta table a stage, partitioned by month, and a record of what each month holds.

A month is made of two things: its rows in the stage's Delta table, and its *record*, a small JSON file that is
replaced atomically after the rows were committed. The record names the files of the month's rows, so that a reader
sees exactly what was recorded: a writer that was killed between the two leaves the month as it was. Every record
that ever stood is kept, so that a month's earlier version stays readable.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from churn_assets.errors import LakeError, MissingMonth, MonthError
from churn_assets.months import Month, Window
from churn_assets.store.content import content_hash

if TYPE_CHECKING:
    from deltalake import DeltaTable

MONTH = "month"


@dataclass(frozen=True)
class MonthRecord:
    """What one month of a table holds.

    Attributes:
        status: ``present``, or ``empty``: made, and without rows for a ``reason``.
        version: a version of the Delta table in which the month has these rows.
        files: the Parquet files of the rows, relative to the table.
        content: hash of the rows.
        fingerprint: hash of everything the rows were made from, code included.
        inputs: what was read, as ``"<table> <month>"`` -> hash of the content.
        facts: what the stage wants remembered beside its rows (JSON).
        columns: the rows' own columns, in order; Delta adds the table's others to the files.
    """

    table: str
    month: str
    status: Literal["present", "empty"]
    rows: int
    version: int
    files: tuple[str, ...]
    content: str
    fingerprint: str
    code: str = ""
    run_id: str = ""
    reason: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Commit:
    """Who writes a month, and what from."""

    fingerprint: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    run_id: str = ""


class Lake:
    """The tables of one pipeline below ``root``.

    Args:
        root: folder of the pipeline's tables; made on the first write.
        remedy: the command that makes missing months, shown in errors; ``{first}`` and ``{last}`` stand for months.
    """

    def __init__(self, root: Path, remedy: str = "churn backfill --from {first} --to {last}") -> None:
        self.root = Path(root)
        self.remedy = remedy

    def record(self, table: str, month: Month) -> MonthRecord | None:
        """What ``month`` of ``table`` holds, or None if it was never made."""
        path = self._record_path(table, month)
        try:
            return _record(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"{path}: expected the record of {table} {month} as JSON, found {error}. Delete the file, then run "
                f"`{self.remedy.format(first=month, last=month)}`."
            ) from error

    def records(self, window: Window) -> list[MonthRecord]:
        """The records of a window's months, ascending.

        Raises:
            MissingMonth: a month was never made. Missing is never taken for empty.
        """
        found = [self.record(window.table, month) for month in window]
        missing = [month for month, record in zip(window, found, strict=True) if record is None]
        if missing:
            raise MissingMonth(
                f"{window.reader} {window.month} needs {window.table} {', '.join(map(str, missing))}, which isn't "
                f"there: run `{self.remedy.format(first=missing[0], last=window.month)}`."
            )
        return [record for record in found if record is not None]

    def scan(self, window: Window) -> pl.LazyFrame:
        """The rows of a window's months, with their ``month`` as a date; none for months recorded as empty.

        Raises:
            MissingMonth: a month was never made.
            LakeError: files that a record names are gone.
        """
        frames = [self.scan_record(record) for record in self.records(window) if record.files]
        return pl.concat(frames, how="diagonal_relaxed") if frames else pl.LazyFrame({MONTH: []}, {MONTH: pl.Date})

    def scan_month(self, window: Window, month: Month) -> pl.LazyFrame | None:
        """The rows of one month of a window; None if it was recorded as empty.

        Raises:
            MonthError: the window hasn't got ``month``.
            MissingMonth: ``month`` was never made.
        """
        if month not in window.months:
            raise MonthError(
                f"{window.reader} {window.month} asked for {window.table} {month}: expected a month of its window "
                f"({', '.join(map(str, window)) or 'none'})."
            )
        record = self.records(replace(window, months=(month,)))[0]
        return self.scan_record(record) if record.files else None

    def scan_record(self, record: MonthRecord) -> pl.LazyFrame:
        """The rows that ``record`` stands for, also those of an earlier version."""
        files = [self.root / record.table / name for name in record.files]
        if gone := [f for f in files if not f.exists()]:
            month = Month.parse(record.month)
            raise LakeError(
                f"{record.table} {month}: expected {gone[0]}, found no such file (removed by hand, or by a vacuum). "
                f"Run `{self.remedy.format(first=month, last=month)} --force`."
            )
        scanned = pl.scan_parquet(files, hive_partitioning=False, glob=False)
        return scanned.select(pl.lit(Month.parse(record.month).first_day).alias(MONTH), *record.columns)

    def write(
        self,
        table: str,
        month: Month,
        rows: pl.DataFrame | None,
        commit: Commit,
        *,
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> MonthRecord:
        """Makes ``rows`` the content of ``month``, all or nothing; no rows need a ``reason``.

        Rows equal to those that stand there bring no new version of the table, just a new record.

        Raises:
            LakeError: the rows don't fit the table's schema.
        """
        frame = _storable(rows) if rows is not None else pl.DataFrame()
        content = content_hash(frame)
        with self._alone(table, str(month)):
            before = self.record(table, month)
            if before and before.content == content and all((self.root / table / f).exists() for f in before.files):
                version, files = before.version, before.files
            else:
                version, files = self._commit(table, month, frame, commit)
            record = MonthRecord(
                table=table, month=str(month), status="present" if len(frame) else "empty", rows=len(frame),
                version=version, files=files, content=content, fingerprint=commit.fingerprint, code=commit.code,
                run_id=commit.run_id, reason=reason, inputs=dict(commit.inputs), facts=dict(facts or {}),
                columns=tuple(frame.columns),
            )  # fmt: skip
            self._keep(record, before)
        return record

    def history(self, table: str, month: Month) -> list[MonthRecord]:
        """Every version that ``month`` of ``table`` ever had, oldest first, the present one last."""
        path = self._history_path(table, month)
        lines = path.read_text().splitlines() if path.exists() else []
        try:
            earlier = [_record(json.loads(line)) for line in lines]
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"{path}: expected a record of {table} {month} as JSON in every line, found {error}. Delete the lines "
                "that aren't; the present rows don't depend on them."
            ) from error
        now = self.record(table, month)
        return [*earlier, *([now] if now else [])]

    def months(self, table: str) -> list[Month]:
        """The months that were made of ``table``, ascending."""
        return sorted(Month.parse(path.stem) for path in (self.root / "_records" / table).glob("????-??.json"))

    def _commit(self, table: str, month: Month, frame: pl.DataFrame, commit: Commit) -> tuple[int, tuple[str, ...]]:
        from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
        from deltalake.exceptions import CommitFailedError

        path = self.root / table
        condition = f"{MONTH} = '{month.first_day}'"
        properties = CommitProperties(
            custom_metadata={"month": str(month), "run_id": commit.run_id, "code_version": commit.code}
        )

        def attempt() -> None:
            delta = DeltaTable(path)
            if frame.is_empty():
                delta.delete(condition, commit_properties=properties)
                return
            stamped = _fitted(frame, delta).select(pl.lit(month.first_day).alias(MONTH), pl.all())
            # In one piece: the writer stores several in the order in which its threads get to them.
            write_deltalake(
                delta, stamped.to_arrow().combine_chunks(), mode="overwrite", predicate=condition, schema_mode="merge",
                commit_properties=properties,
            )  # fmt: skip

        try:
            if not DeltaTable.is_deltatable(str(path)):
                if frame.is_empty():
                    return -1, ()
                with self._alone(table, "table"):
                    if not DeltaTable.is_deltatable(str(path)):
                        stamped = frame.clear().select(pl.lit(month.first_day).alias(MONTH), pl.all()).to_arrow()
                        DeltaTable.create(path, Schema.from_arrow(stamped.schema), partition_by=[MONTH])
            for pause in (0.1, 0.4, 1.6, None):
                try:
                    attempt()
                    break
                except CommitFailedError:
                    # A writer of another month has changed the table's columns in between.
                    if pause is None:
                        raise
                    time.sleep(pause)
        except OSError:
            raise
        except Exception as error:  # delta-rs raises plain Exceptions for some schemas that it doesn't take
            raise LakeError(
                f"{table} {month}: expected rows that fit the table's columns, found: {error}. Nothing was changed. "
                "If a column's type has changed for good, give the pipeline a new name or remove the table's folder "
                f"{path} and backfill."
            ) from error
        delta = DeltaTable(path)
        uris = delta.file_uris(file_pruning_predicate=condition)
        # Addresses are percent-encoded, their last two parts, the month's folder and the file, never need it.
        return delta.version(), tuple(sorted("/".join(uri.split("/")[-2:]) for uri in uris))

    @contextmanager
    def _alone(self, table: str, what: str) -> Iterator[None]:
        """Waits for other writers of the same thing; the lock of a process that dies is released."""
        path = self.root / "_records" / table / f".{what}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _keep(self, record: MonthRecord, before: MonthRecord | None) -> None:
        path = self._record_path(record.table, Month.parse(record.month))
        path.parent.mkdir(parents=True, exist_ok=True)
        if before and before.content != record.content:
            with self._history_path(record.table, Month.parse(record.month)).open("a") as lines:
                lines.write(json.dumps(asdict(before), default=str) + "\n")
        replace_file(path, json.dumps(asdict(record), default=str, indent=1).encode())

    def _record_path(self, table: str, month: Month) -> Path:
        return self.root / "_records" / table / f"{month}.json"

    def _history_path(self, table: str, month: Month) -> Path:
        return self.root / "_records" / table / f"{month}.history.jsonl"


def replace_file(path: Path, data: bytes) -> None:
    """Puts ``data`` at ``path`` in one step: readers see the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _record(value: dict[str, Any]) -> MonthRecord:
    return MonthRecord(**{**value, "files": tuple(value["files"]), "columns": tuple(value["columns"])})


def _storable(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` in the types that Delta knows."""
    rows = rows.drop(MONTH, strict=False)
    return rows.with_columns(
        pl.col(pl.Categorical, pl.Enum, pl.Null, pl.Time, pl.Int128).cast(pl.String),
        pl.col(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64).cast(pl.Int64),
        cs.datetime(("ms", "ns")).dt.cast_time_unit("us"),
        cs.duration().dt.total_microseconds(),
    )


def _fitted(frame: pl.DataFrame, delta: DeltaTable) -> pl.DataFrame:
    """``frame`` in the table's types, where that loses nothing; Delta itself would make 1 of 1.5 without a word."""
    held = pl.DataFrame(pa.schema(delta.schema().to_arrow()).empty_table()).schema
    changed = [name for name, dtype in frame.schema.items() if held.get(name, dtype) != dtype]
    return frame.with_columns(_converted(frame[name], held[name]) for name in changed)


def _converted(values: pl.Series, to: pl.DataType) -> pl.Series:
    converted = values.cast(to, strict=False)
    alike = values.dtype.base_type() == to.base_type() or (values.dtype.is_numeric() and to.is_numeric())
    if values.null_count() < len(values) and not (alike and converted.cast(values.dtype, strict=False).equals(values)):
        raise pl.exceptions.SchemaError(f"column {values.name!r} as {values.dtype}, where the table has {to}")
    return converted
