"""Records as Python has them, made into an Arrow stream of one schema.

What a record holds becomes a column of one of a few types: int64, float64, bool, string, date32, and timestamps in
microseconds (in UTC where they have a time zone). Everything else becomes text, without loss: decimals with all their
digits, bytes as hexadecimal digits, lists and objects as JSON. A column that doesn't keep to one type becomes text too,
apart from integers among floats.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.sources.formats.documents import WIDE, text

TEXT = pa.string()
LOCAL_TIME = pa.timestamp("us")
UTC_TIME = pa.timestamp("us", tz="UTC")

BATCH_ROWS = 65_536

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Batch: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]


def columns(named: Mapping[str, Sequence[Any]]) -> pa.Table:
    """A table of Python values, column by column.

    >>> columns({"id": [1, 2], "plan": [{"fee": 1.5}, None]}).to_pydict()
    {'id': [1, 2], 'plan': ['{"fee": 1.5}', None]}
    """
    return pa.table({name: _array(values) for name, values in named.items()})


def stream(batches: Iterable[Batch], sort: bool = False, nested: bool = False) -> pa.RecordBatchReader:
    """One stream of all ``batches``, whose columns and types may differ.

    All of them are read before this returns, into a temporary file that is gone with the stream; so an error that the
    producer raises half way is raised here, and no shorter stream is seen. A column is null where a batch lacks it, and
    text where it is nowhere anything but null. The result is the same however the records are divided into batches.

    Args:
        batches: lists of records, or tables.
        sort: order the rows by all columns, whatever order they came in; this takes the memory of all rows.
        nested: names with dots are those of nested objects, so where an object is missing or empty in some records,
            it is no column beside those of its values.

    >>> stream([[{"a": 1}], [{"a": 2.5, "b": "x"}]]).read_all().to_pydict()
    {'a': [1.0, 2.5], 'b': [None, 'x']}
    """
    spool = _Spool()
    try:
        for batch in batches:
            spool.add(batch if isinstance(batch, pa.Table) else _of_records(batch))
        found = spool.reader(nested)
    except BaseException:
        spool.close()
        raise
    return _sorted(found) if sort else found


def _of_records(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    names = dict.fromkeys(name for record in records for name in record)
    if not names:
        # An Arrow table that never had a column has no rows either.
        return pa.table({"_": pa.nulls(len(records))}).select([])
    return columns({name: [record.get(name) for record in records] for name in names})


class _Spool:
    """Batches on disk: a file of Arrow streams, a new one wherever the schema grows."""

    def __init__(self) -> None:
        # It stays open until the stream was read, or is gone.
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="churn-")  # noqa: SIM115
        self._types: dict[str, pa.DataType] = {}
        self._wide: set[str] = set()
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._streams = 0

    def add(self, batch: pa.Table) -> None:
        for name in batch.column_names:
            column = batch.column(name)
            if _is_wide(column):
                self._wide.add(name)
            known, found = self._types.get(name), column.type
            joined = found if known is None else _joined(known, found, name in self._wide)
            if joined != known:
                self._types[name] = joined
                self._end_stream()
        if batch.num_rows:
            if self._writer is None:
                self._streams += 1
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_stream(self._file, pa.schema(self._types), options=options)
            self._writer.write_table(_cast(batch, pa.schema(self._types)))

    def reader(self, nested: bool) -> pa.RecordBatchReader:
        self._end_stream()
        self._file.seek(0)
        objects = {name[:end] for name in self._types for end, c in enumerate(name) if c == "."} if nested else set()
        schema = pa.schema(
            {
                name: TEXT if pa.types.is_null(found) else found
                for name, found in self._types.items()
                if not (pa.types.is_null(found) and name in objects)
            }
        )
        return pa.RecordBatchReader.from_batches(schema, self._read(schema))

    def close(self) -> None:
        self._file.close()

    def _read(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._file:
            for _ in range(self._streams):
                for batch in pa.ipc.open_stream(self._file):
                    yield from _cast(pa.Table.from_batches([batch]), schema).to_batches()

    def _end_stream(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _sorted(rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
    import polars as pl

    frame = pl.DataFrame(pl.from_arrow(rows.read_all()))
    if frame.width:
        frame = frame.sort(frame.columns)
    slices = frame.iter_slices(BATCH_ROWS)
    ordered = (batch for part in slices for batch in part.to_arrow().cast(rows.schema).to_batches())
    return pa.RecordBatchReader.from_batches(rows.schema, ordered)


def _array(values: Sequence[Any]) -> pa.Array:
    kinds = {kind for kind in set(map(type, values)) if kind is not type(None)}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds and kinds <= {int, float}:
        return _numbers(values, kinds)
    if kinds == {date}:
        return pa.array(values, pa.date32())
    if kinds and all(issubclass(kind, datetime) for kind in kinds):
        return _times(values)
    if not kinds:
        return pa.nulls(len(values))
    return _texts(values if all(issubclass(kind, str) for kind in kinds) else [text(value) for value in values])


def _numbers(values: Sequence[Any], kinds: set[type]) -> pa.Array:
    if float not in kinds:
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            return _texts([text(value) for value in values])
    if any(isinstance(value, int) and abs(value) > WIDE for value in values):
        return _texts([text(value) for value in values])
    return pa.array(values, pa.float64())


def _times(values: Sequence[datetime | None]) -> pa.Array:
    aware = {value.tzinfo is not None for value in values if value is not None}
    if len(aware) > 1:
        return _texts([text(value) for value in values])
    if aware == {False}:
        return pa.array(values, LOCAL_TIME)
    # Arrow itself drops offsets once PYARROW_IGNORE_TIMEZONE is set, as whoever uses PySpark does.
    moments = [None if value is None else (value - _EPOCH) // _MICROSECOND for value in values]
    return pa.array(moments, UTC_TIME)


def _texts(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:
        # JSON can write half a character (\ud83d); nothing that stores text takes it, so it stays written out.
        escaped = [None if value is None else value.encode(errors="backslashreplace").decode() for value in values]
        return pa.array(escaped, TEXT)


def _joined(one: pa.DataType, other: pa.DataType, wide: bool) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    types, numbers = {one, other}, [kind for kind in (one, other) if _is_number(kind)]
    if len(numbers) == 2 and (not wide or all(map(pa.types.is_integer, types))):
        try:
            return pa.unify_schemas([pa.schema({"_": kind}) for kind in types], promote_options="permissive")[0].type
        except pa.ArrowTypeError:
            return TEXT
    return TEXT


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_wide(column: pa.ChunkedArray) -> bool:
    if column.type not in (pa.int64(), pa.uint64()) or not len(column):
        return False
    ends = pc.min_max(column).as_py()
    return ends["max"] is not None and max(-ends["min"], ends["max"]) > WIDE


def _cast(batch: pa.Table, schema: pa.Schema) -> pa.Table:
    if batch.schema.equals(schema):
        return batch
    names = set(batch.column_names)
    made = [
        _column(batch.column(field.name), field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.table(made, schema=schema)


def _column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if kind != TEXT or column.type == TEXT or pa.types.is_null(column.type) or pa.types.is_integer(column.type):
        return column.cast(kind)
    # Arrow's own text of a float or a time isn't Python's, and a value's text mustn't hang on which batch it is in.
    return pa.chunked_array([_texts([text(value) for value in column.to_pylist()])], TEXT)
