"""Records as Python has them, made into an Arrow stream of one schema.

What a record holds becomes a column of one of a few types: int64, float64, bool, string, date32, and timestamps in
microseconds (in UTC where they have a time zone). Everything else becomes text, without loss: decimals with all their
digits, bytes as hexadecimal digits, lists and objects as JSON. A column that doesn't keep to one type becomes text too,
apart from integers among floats.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO, Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.sources.formats import excerpt, refusal

TEXT = pa.string()
LOCAL_TIME = pa.timestamp("us")
UTC_TIME = pa.timestamp("us", tz="UTC")

BATCH_ROWS = 65_536
WIDE = 2**53
"""Beyond it a float64 can't tell an integer from the next one."""

Batch: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]


class Number(str):
    """A number of a JSON document, as it is written there."""


def decoded(document: str | bytes) -> Any:
    """What a JSON document says, with its numbers as they are written.

    >>> decoded('{"charge": 20.10}')
    {'charge': '20.10'}

    Raises:
        ValueError: it isn't JSON, or an object in it has a key twice.
    """
    try:
        return json.loads(
            document, parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice in one object")
    return found


def flattened(record: Mapping[str, Any]) -> dict[str, str | None]:
    """A record of a JSON document as one row of texts: objects by dotted names, lists as JSON, nothing in {} as null.

    >>> flattened(decoded('{"id": 7, "plan": {"name": "flat", "active": true}, "calls": [1.50, null]}'))
    {'id': '7', 'plan.name': 'flat', 'plan.active': 'true', 'calls': '[1.50, null]'}

    Raises:
        ValueError: two of its values would get the same name.
    """
    row: dict[str, str | None] = {}
    for name, value in _leaves(record, ""):
        if name in row:
            raise ValueError(f"the key {name!r} twice, once by a dot in a name")
        row[name] = text(value)
    return row


def _leaves(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value or None if isinstance(value, Mapping) else value


def rows_in(document: Any, path: str | None, place: object) -> list[Any]:
    """The list of rows in a JSON document: at a dotted ``path``, or the only list of objects that it has.

    >>> rows_in({"meta": {"pages": 1}, "data": {"customers": [{"id": 1}]}}, None, "an answer")
    [{'id': 1}]

    Raises:
        SourceError: there is none, or several without a ``path``; naming where lists are.
    """
    path = path_to_rows(document, place) if path is None else path
    value = document
    for part in path.split(".") if path else ():
        if not isinstance(value, Mapping) or part not in value:
            paths = [path for path, _ in _lists(document, "")]
            known = f"Lists are at: {', '.join(paths)}" if paths else "There is no list of objects at all"
            raise refusal(place, f"a list at {path!r}", f"no {part!r} there. {known}", "Mend source.records.")
        value = value[part]
    if not isinstance(value, list):
        raise refusal(place, f"a list at {path!r}", excerpt(_json(value)), "Mend source.records.")
    return value


def path_to_rows(document: Any, place: object) -> str:
    """The dotted path to the only list of objects in a JSON document; empty where the document is a list itself.

    Raises:
        SourceError: there is none, or several; naming where they are.
    """
    if isinstance(document, list):
        return ""
    paths = [path for path, _ in _lists(document, "")]
    if len(paths) == 1:
        return paths[0]
    found = f"{len(paths)}, at {', '.join(paths)}" if paths else f"{excerpt(_json(document))} without one"
    raise refusal(place, "one list of objects", found, "Name the one with the rows in source.records.")


def _lists(value: Any, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, list) and (not part or isinstance(part[0], Mapping)):
                yield prefix + name, part
            else:
                yield from _lists(part, f"{prefix}{name}.")


def text(value: Any) -> str | None:
    """``value`` as text that nothing is lost in; None stays None.

    >>> [text(value) for value in (Decimal("1.50"), 2.0, True, b"abc", [1, None])]
    ['1.50', '2', 'true', '616263', '[1, null]']
    """
    match value:
        case None:
            return None
        case str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case float():
            # As an integer's text, so that it doesn't matter whether an integer came among floats or before them.
            return str(int(value)) if value.is_integer() and abs(value) <= WIDE else repr(value)
        case Decimal():
            return format(value, "f")
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        case date():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Mapping() | list() | tuple():
            return _json(value)
    return str(value)


def _json(value: Any) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{_json(str(name))}: {_json(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_json, value)) + "]"
        case None:
            return "null"
        case Number() | Decimal() | bool() | int() | float():
            return text(value) or ""
    return json.dumps(text(value), ensure_ascii=False)


def columns(named: Mapping[str, Sequence[Any]]) -> pa.Table:
    """A table of Python values, column by column.

    >>> columns({"id": [1, 2], "charge": [Decimal("1.50"), None]}).to_pydict()
    {'id': [1, 2], 'charge': ['1.50', None]}
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
    return pa.array(values, UTC_TIME if aware == {True} else LOCAL_TIME)


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
