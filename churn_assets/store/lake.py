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
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa

from churn_assets.errors import LakeError, MissingMonth, MonthError
from churn_assets.months import Month, Window
from churn_assets.store.draft import ROW_GROUP, Draft, write_draft

MONTH = "month"
_MONTH_FIELD = pa.field(MONTH, pa.date32())


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
    columns: Mapping[str, str | None] = field(default_factory=dict)


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
        command: the command that runs months, shown in errors.
    """

    def __init__(self, root: Path, command: str = "churn backfill") -> None:
        self.root = Path(root)
        self.command = command

    @property
    def remedy(self) -> str:
        """The command that runs certain months; ``{first}`` and ``{last}`` stand for them."""
        return f"{self.command} --from {{first}} --to {{last}}"

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
                f"there: run `{self.command} --missing`."
            )
        return [record for record in found if record is not None]

    def scan(self, window: Window) -> pl.LazyFrame:
        """The rows of a window's months, with their ``month`` as a date; none for months recorded as empty.

        Raises:
            MissingMonth: a month was never made.
            LakeError: files that a record names are gone, or a column's type differs between the months.
        """
        records = [record for record in self.records(window) if record.files]
        frames = [self.scan_record(record) for record in records]
        if not frames:
            return pl.LazyFrame({MONTH: []}, {MONTH: pl.Date})
        self._refuse_changed_types(window, {r.month: f.collect_schema() for r, f in zip(records, frames, strict=True)})
        return pl.concat(frames, how="diagonal_relaxed")

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
        """The rows that ``record`` stands for, also those of an earlier version, with their ``month`` as a date.

        A column of that name that was delivered stays behind: ``pieces`` has it.

        Raises:
            LakeError: files that it names are gone.
        """
        scanned = pl.scan_parquet(self.files(record), hive_partitioning=False, glob=False)
        own = [column for column in _own(record) if column.meta.output_name() != MONTH]
        return scanned.select(pl.lit(Month.parse(record.month).first_day).alias(MONTH), *own)

    def pieces(self, record: MonthRecord) -> Iterator[pl.DataFrame]:
        """The same rows as they were written, in pieces that need little memory.

        Raises:
            LakeError: files that it names are gone.
        """
        import pyarrow.parquet as pq

        for path in self.files(record):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROW_GROUP):
                    yield pl.DataFrame(pl.from_arrow(batch)).select(_own(record))

    def files(self, record: MonthRecord) -> list[Path]:
        """The Parquet files that ``record`` names, for those who read them by themselves.

        Raises:
            LakeError: some are gone.
        """
        if gone := self.gone(record):
            month = Month.parse(record.month)
            raise LakeError(
                f"{record.table} {month}: expected {gone[0]}, found no such file (removed by hand, or by a vacuum). "
                f"Run `{self.remedy.format(first=month, last=month)}`."
            )
        return [self.root / record.table / name for name in record.files]

    def gone(self, record: MonthRecord) -> list[Path]:
        """The Parquet files that ``record`` names and that aren't there any more."""
        files = [self.root / record.table / name for name in record.files]
        return [file for file in files if not file.exists()]

    def _refuse_changed_types(self, window: Window, schemas: Mapping[str, pl.Schema]) -> None:
        seen: dict[str, tuple[str, pl.DataType]] = {}
        for month, schema in schemas.items():
            for name, dtype in schema.items():
                first, before = seen.setdefault(name, (month, dtype))
                if before == pl.Null:
                    seen[name] = (month, dtype)
                elif dtype not in (before, pl.Null) and not (dtype.is_numeric() and before.is_numeric()):
                    raise LakeError(
                        f"{window.reader} {window.month} reads {window.table} {first} with {name} as {before}, and "
                        f"{month} as {dtype}. Make them anew: "
                        f"`{self.remedy.format(first=window.months[0], last=window.month)}`."
                    )

    def draft(self, rows: pl.DataFrame | Iterable[pl.DataFrame]) -> Draft:
        """Puts rows on the disk without making them any month's content yet; ``write`` does that.

        Raises:
            LakeError: two columns differ in capitals alone.
        """
        return write_draft(self.root / "_drafts", rows)

    def write(
        self,
        table: str,
        month: Month,
        rows: pl.DataFrame | Draft | None,
        commit: Commit,
        *,
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> MonthRecord:
        """Makes ``rows`` the content of ``month``, all or nothing; no rows need a ``reason``.

        A frame's column ``month`` is the table's own; a draft's is one that was delivered, and kept.

        Rows equal to those that stand there bring no new version of the table, just a new record.

        Raises:
            LakeError: the rows can't be stored.
        """
        frame = pl.DataFrame() if rows is None else rows
        given = frame if isinstance(frame, Draft) else self.draft(frame.drop(MONTH, strict=False))
        try:
            with self._alone(table, str(month)):
                before = self.record(table, month)
                if before and before.content == given.content and self._has_files(before):
                    version, files, columns = before.version, before.files, before.columns
                else:
                    version, files, columns = self._commit(table, month, given, commit)
                record = MonthRecord(
                    table=table, month=str(month), status="present" if given.rows else "empty", rows=given.rows,
                    version=version, files=files, content=given.content, fingerprint=commit.fingerprint,
                    code=commit.code, run_id=commit.run_id, reason=reason, inputs=dict(commit.inputs),
                    facts=dict(facts or {}), columns={name: columns.get(name) for name in given.columns},
                )  # fmt: skip
                self._keep(record, before)
        finally:
            given.discard()
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

    def _has_files(self, record: MonthRecord) -> bool:
        return all((self.root / record.table / name).exists() for name in record.files)

    def _commit(
        self, table: str, month: Month, draft: Draft, commit: Commit
    ) -> tuple[int, tuple[str, ...], Mapping[str, str | None]]:
        """Moves a draft into the table; the table's version, the month's files, and where its columns are."""
        from deltalake import DeltaTable, Schema
        from deltalake.exceptions import CommitFailedError

        path = self.root / table
        try:
            if not DeltaTable.is_deltatable(str(path)):
                if not draft.rows:
                    return -1, (), {}
                with self._alone(table, "table"):
                    if not DeltaTable.is_deltatable(str(path)):
                        DeltaTable.create(path, Schema.from_arrow(pa.schema([_MONTH_FIELD])), partition_by=[MONTH])
            for pause in (0.1, 0.4, 1.6, None):
                try:
                    return _attempt(path, month, draft, commit)
                except CommitFailedError:
                    # A writer of another month was faster.
                    if pause is None:
                        raise
                    time.sleep(pause)
        except OSError:
            raise
        except Exception as error:  # delta-rs raises plain Exceptions for some schemas that it doesn't take
            raise LakeError(
                f"{table} {month}: expected rows that Delta can store, found: {error}. Nothing was changed.",
                transient=isinstance(error, CommitFailedError),
            ) from error
        raise AssertionError("the last attempt returns or raises")

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


def _own(record: MonthRecord) -> list[pl.Expr]:
    """The columns of a record's rows, under their own names."""
    return [
        pl.lit(None).alias(name) if stored is None else pl.col(stored).alias(name)
        for name, stored in record.columns.items()
    ]


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
    return MonthRecord(**{**value, "files": tuple(value["files"]), "columns": dict(value["columns"])})


def _attempt(
    path: Path, month: Month, draft: Draft, commit: Commit
) -> tuple[int, tuple[str, ...], Mapping[str, str | None]]:
    """Makes a draft the content of a month of the Delta table at ``path``."""
    from deltalake import CommitProperties, DeltaTable, Schema, TableFeatures
    from deltalake.transaction import AddAction

    delta = DeltaTable(path)
    properties = CommitProperties(
        custom_metadata={"month": str(month), "run_id": commit.run_id, "code_version": commit.code}
    )
    if draft.path is None:
        delta.delete(f"{MONTH} = '{month.first_day}'", commit_properties=properties)
        return DeltaTable(path).version(), (), {}
    own = pa.schema(Schema.from_arrow(draft.schema).to_arrow())
    if any(pa.types.is_timestamp(field.type) and field.type.tz is None for field in own):
        feature = TableFeatures.TimestampWithoutTimezone
        if "timestampNtz" not in (delta.protocol().reader_features or []):
            delta.alter.add_feature(feature, allow_protocol_versions_increase=True)
            delta = DeltaTable(path)
    held = pa.schema(delta.schema().to_arrow())
    names = _places(own, held)
    stored = [field.with_name(names[field.name]).with_nullable(True) for field in own]
    file = path / f"{MONTH}={month.first_day}" / f"part-{uuid.uuid4().hex}.parquet"
    draft.put(file, names)
    relative = f"{file.parent.name}/{file.name}"
    added = AddAction(
        relative, file.stat().st_size, {MONTH: str(month.first_day)}, int(file.stat().st_mtime * 1000), True,
        json.dumps({"numRecords": draft.rows}),
    )  # fmt: skip
    try:
        delta.create_write_transaction(
            [added], mode="overwrite", partition_by=[MONTH], partition_filters=[(MONTH, "=", str(month.first_day))],
            schema=Schema.from_arrow(pa.schema([*held, *(f for f in stored if f.name not in held.names)])),
            commit_properties=properties,
        )  # fmt: skip
    except Exception:
        file.unlink(missing_ok=True)
        raise
    return DeltaTable(path).version(), (relative,), names


def _places(own: pa.Schema, held: pa.Schema) -> dict[str, str]:
    """Which column of the table holds each of the rows' own: one of the same name and type, or a new one.

    Delta's names differ in more than capitals, and its columns have one type for good; a source's don't.
    """
    known: dict[str, tuple[str, Any]] = {n.casefold(): (n, k) for n, k in zip(held.names, held.types, strict=True)}
    known[MONTH] = (MONTH, None)
    places: dict[str, str] = {}
    for name, kind in zip(own.names, own.types, strict=True):
        other = f"{name}__{re.sub(r'[^a-z0-9]+', '_', str(kind))}"
        for candidate in chain([name, other], (f"{other}_{i}" for i in count(2))):
            place, held_kind = known.setdefault(candidate.casefold(), (candidate, kind))
            if held_kind == kind and place not in places.values():
                places[name] = place
                break
    return places
