"""JSON documents, and lines of JSON objects, as rows of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

import pyarrow as pa

from churn_assets.sources.formats import TEXT_PLACE, Table, check_names, excerpt, refusal
from churn_assets.sources.formats.compression import Compression
from churn_assets.sources.formats.dialect import conflict, is_conflict
from churn_assets.sources.formats.encoding import Encoding
from churn_assets.sources.formats.received import Received, temporary
from churn_assets.sources.formats.utf8 import text_of
from churn_assets.spec.source import FileFormat

BATCH_ROWS = 1 << 14


class Number(str):
    """A JSON number, as its token stands in the file."""


class _Row(NamedTuple):
    line: int
    values: dict[str, str | None]
    defect: str | None = None
    text: str | None = None


class _Twice(ValueError):
    pass


def read_json(file: Received, compression: Compression | None, encoding: Encoding, given: FileFormat) -> Table:
    """The rows of a JSON document: its list of objects, or the one at ``records``; ``_line`` is a row's number.

    Without ``records``, an object that holds just one list of objects stands for that list.

    Raises:
        SourceError: it is no JSON, or has no such list, or several.
    """
    with text_of(file, compression, encoding.name) as stream:
        text = stream.read().decode()
    try:
        document = decoded(text)
    except json.JSONDecodeError as error:
        raise refusal(
            f"{file.place}, line {error.lineno}", "a whole JSON document", error.msg,
            "Deliver the file again; if each line is an object, set source.format to ndjson.",
        ) from error  # fmt: skip
    except (_Twice, RecursionError) as error:
        raise refusal(file.place, "a JSON document", str(error), "Mend the file.") from error
    found = _at(document, given.records, file.place) if given.records else _only_list(document, file.place)
    return _spilled(_document_rows(found, file.place), file.place, _details(encoding), encoding)


def read_ndjson(file: Received, compression: Compression | None, encoding: Encoding) -> Table:
    """The objects of a text with one JSON object in each line; other lines are rows with a defect.

    Raises:
        SourceError: not a single line is an object.
    """
    with text_of(file, compression, encoding.name) as stream:
        return _spilled(_line_rows(stream, file.place), file.place, _details(encoding), encoding)


def decoded(text: str) -> Any:
    """What a JSON text says, with its numbers as they stand.

    Raises:
        ValueError: it is no JSON, or an object has a key twice.
    """
    return _DECODER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(f"the key {next(n for n in names if names.count(n) > 1)!r} twice in one object")
    return found


# Made once: json.loads makes one for each line.
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=_object)


def flattened(value: dict[str, Any], prefix: str = "") -> dict[str, str | None]:
    """The texts of an object's values, with dots between the names of nested ones.

    >>> flattened(decoded('{"id": 7, "plan": {"fee": 9.90, "tags": ["a", 1]}, "left": false}'))
    {'id': '7', 'plan.fee': '9.90', 'plan.tags': '["a", 1]', 'left': 'false'}

    Raises:
        ValueError: two names are the same with dots between.
    """
    flat: dict[str, str | None] = {}
    for name, part in value.items():
        path = prefix + name
        if not isinstance(part, dict) and path not in flat:
            flat[path] = _text(part)
            continue
        inner = flattened(part, f"{path}.") if isinstance(part, dict) and part else {path: _text(part)}
        if twice := flat.keys() & inner.keys():
            raise _Twice(f"the key {min(twice)!r} twice, once by a dot in a name")
        flat.update(inner)
    return flat


def _text(value: Any) -> str | None:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value == {} else _json(value)


def _json(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(k, ensure_ascii=False)}: {_json(v)}' for k, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def _at(document: Any, path: str, place: str) -> list[Any]:
    found = document
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            raise refusal(
                place, f"a list at {path!r}", f"no {part!r} there. {_lists_sentence(document)}", "Mend source.records."
            )
        found = found[part]
    if not isinstance(found, list):
        raise refusal(place, f"a list at {path!r}", excerpt(_json(found)), "Mend source.records.")
    return found


def _only_list(document: Any, place: str) -> list[Any]:
    if isinstance(document, list):
        return document
    paths = dict(_lists(document))
    if len(paths) == 1:
        return next(iter(paths.values()))
    if not paths:
        raise refusal(
            place, "a list of objects", f"{excerpt(_json(document))} without one",
            "If each line of the file is an object, set source.format to ndjson.",
        )  # fmt: skip
    raise refusal(
        place,
        "one list of objects",
        f"{len(paths)}: {', '.join(paths)}",
        "Name the one with the rows in source.records.",
    )


def _lists(value: Any, prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, list) and (not part or isinstance(part[0], dict)):
                yield prefix + name, part
            else:
                yield from _lists(part, f"{prefix}{name}.")


def _lists_sentence(document: Any) -> str:
    paths = [path for path, _ in _lists(document)]
    return f"Lists stand at: {', '.join(paths)}" if paths else "There is no list of objects at all"


def _document_rows(found: list[Any], place: str) -> Iterator[_Row]:
    for number, value in enumerate(found, 1):
        if isinstance(value, dict):
            try:
                yield _Row(number, flattened(value))
            except ValueError as error:
                raise refusal(f"{place}, record {number}", "each key once", str(error), "Mend the file.") from error
        else:
            text = _json(value)
            yield _Row(number, {}, f"no JSON object: {excerpt(text, 30)}", text)


def _line_rows(stream: IO[bytes], place: str) -> Iterator[_Row]:
    objects = 0
    first: _Row | None = None
    for number, raw in enumerate(stream, 1):
        if raw.isspace():
            continue
        text = raw.decode().rstrip("\r\n")
        if is_conflict(text):
            raise conflict(place, number, text)
        row = _line_row(number, text)
        objects += row.defect is None
        first = first or row
        yield row
    if first and not objects:
        raise refusal(
            f"{place}, line {first.line}", "one JSON object in each line", excerpt(first.text or ""),
            "Set source.format to what the file is.",
        )  # fmt: skip


def _line_row(number: int, text: str) -> _Row:
    try:
        value = decoded(text)
        if isinstance(value, dict):
            return _Row(number, flattened(value))
        reason = excerpt(text, 30)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
    except (_Twice, RecursionError) as error:
        reason = str(error)
    return _Row(number, {}, f"no JSON object: {reason}", text)


def _spilled(rows: Iterable[_Row], place: str, details: dict[str, Any], encoding: Encoding) -> Table:
    """A table of ``rows``, whose columns are known only after the last of them: until then they wait on the disk."""
    folder = temporary()
    names: dict[str, bool] = {}
    paths: list[str] = []
    for batch in _batches(rows, place):
        own = batch.schema.names[: -len(TEXT_PLACE)]
        for name, values in zip(own, batch.columns, strict=False):
            names[name] = names.get(name, False) or values.null_count < len(values)
        paths.append(f"{folder.name}/{len(paths)}.arrow")
        with pa.OSFile(paths[-1], "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
    check_names(place, list(names))
    # An object that is missing or empty in some rows is no column beside those of its values.
    objects = {name[:i] for name in names for i, c in enumerate(name) if c == "."}
    columns = pa.schema([(n, pa.string()) for n, filled in names.items() if filled or n not in objects])

    def batches() -> Iterator[pa.RecordBatch]:
        # The folder lives for as long as this generator does.
        schema = pa.schema([*columns, *TEXT_PLACE])
        for path in paths if folder else ():
            with pa.OSFile(path) as source:
                batch = pa.ipc.open_file(source).get_batch(0)
                there = set(batch.schema.names)
                yield pa.record_batch(
                    [batch[n] if n in there else pa.nulls(len(batch), pa.string()) for n in schema.names], schema=schema
                )

    return Table(columns, batches(), details, [encoding.doubt] if encoding.doubt else [], open_keys=True)


def _batches(rows: Iterable[_Row], place: str) -> Iterator[pa.RecordBatch]:
    from itertools import islice

    left = iter(rows)
    while some := list(islice(left, BATCH_ROWS)):
        names = list(dict.fromkeys(name for row in some for name in row.values))
        check_names(place, names)
        columns = [pa.array([row.values.get(name) for row in some], pa.string()) for name in names]
        columns += [
            pa.array([row.line for row in some], pa.int64()), pa.array([row.defect for row in some], pa.string()),
            pa.array([row.text for row in some], pa.string()),
        ]  # fmt: skip
        yield pa.record_batch(columns, schema=pa.schema([*((n, pa.string()) for n in names), *TEXT_PLACE]))


def _details(encoding: Encoding) -> dict[str, Any]:
    return {"encoding": encoding.name}
