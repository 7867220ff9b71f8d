"""JSON documents, and lines of JSON objects, as rows of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any, NamedTuple

import pyarrow as pa

from churn_assets.sources.formats import TEXT_PLACE, Table, check_names, excerpt, refusal
from churn_assets.sources.formats.compression import Compression
from churn_assets.sources.formats.dialect import conflict, is_conflict
from churn_assets.sources.formats.documents import decoded, flattened, json_text, rows_in
from churn_assets.sources.formats.encoding import Encoding
from churn_assets.sources.formats.received import Received
from churn_assets.sources.formats.utf8 import text_of
from churn_assets.sources.records import columns as columns_of
from churn_assets.sources.records import stream
from churn_assets.spec.source import FileFormat

BATCH_ROWS = 1 << 14

_NO_LIST = "If each line of the file is an object, set source.format to ndjson."


class _Row(NamedTuple):
    line: int
    values: dict[str, str | None]
    defect: str | None = None
    text: str | None = None


def read_json(file: Received, compression: Compression | None, encoding: Encoding, given: FileFormat) -> Table:
    """The rows of a JSON document: its list of objects, or the one at ``records``; ``_line`` is a row's number.

    Without ``records``, an object that holds just one list of objects stands for that list.

    Raises:
        SourceError: it is no JSON, or has no such list, or several.
    """
    with text_of(file, compression, encoding.name) as content:
        written = content.read().decode()
    try:
        document = decoded(written)
    except json.JSONDecodeError as error:
        raise refusal(
            f"{file.place}, line {error.lineno}", "a whole JSON document", error.msg,
            "Deliver the file again; if each line is an object, set source.format to ndjson.",
        ) from error  # fmt: skip
    except ValueError as error:
        raise refusal(file.place, "a JSON document", str(error), "Mend the file.") from error
    found = rows_in(document, given.records or None, file.place, _NO_LIST)
    return _table(_document_rows(found, file.place), file.place, encoding)


def read_ndjson(file: Received, compression: Compression | None, encoding: Encoding) -> Table:
    """The objects of a text with one JSON object in each line; other lines are rows with a defect.

    Raises:
        SourceError: not a single line is an object.
    """
    with text_of(file, compression, encoding.name) as lines:
        return _table(_line_rows(lines, file.place), file.place, encoding)


def _document_rows(found: list[Any], place: str) -> Iterator[_Row]:
    for number, value in enumerate(found, 1):
        if isinstance(value, dict):
            try:
                yield _Row(number, flattened(value))
            except ValueError as error:
                raise refusal(f"{place}, record {number}", "each key once", str(error), "Mend the file.") from error
        else:
            written = json_text(value)
            yield _Row(number, {}, f"no JSON object: {excerpt(written, 30)}", written)


def _line_rows(lines: IO[bytes], place: str) -> Iterator[_Row]:
    objects = 0
    first: _Row | None = None
    for number, raw in enumerate(lines, 1):
        if raw.isspace():
            continue
        line = raw.decode().rstrip("\r\n")
        if is_conflict(line):
            raise conflict(place, number, line)
        row = _line_row(number, line)
        objects += row.defect is None
        first = first or row
        yield row
    if first and not objects:
        raise refusal(
            f"{place}, line {first.line}", "one JSON object in each line", excerpt(first.text or ""),
            "Set source.format to what the file is.",
        )  # fmt: skip


def _line_row(number: int, line: str) -> _Row:
    try:
        value = decoded(line)
        if isinstance(value, dict):
            return _Row(number, flattened(value))
        reason = excerpt(line, 30)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
    except ValueError as error:
        reason = str(error)
    return _Row(number, {}, f"no JSON object: {reason}", line)


def _table(rows: Iterable[_Row], place: str, encoding: Encoding) -> Table:
    """A table of ``rows``, whose columns are known only after the last of them."""
    reader = stream(_batches(rows, place), nested=True)
    columns = pa.schema([field for field in reader.schema if field.name not in TEXT_PLACE.names])
    check_names(place, columns.names)
    doubts = [encoding.doubt] if encoding.doubt else []
    return Table(columns, iter(reader), {"encoding": encoding.name}, doubts, open_keys=True)


def _batches(rows: Iterable[_Row], place: str) -> Iterator[pa.Table]:
    yield TEXT_PLACE.empty_table()
    left = iter(rows)
    while some := list(islice(left, BATCH_ROWS)):
        names = dict.fromkeys(name for row in some for name in row.values)
        check_names(place, list(names))
        values: dict[str, Sequence[Any]] = {name: [row.values.get(name) for row in some] for name in names}
        values["_line"] = [row.line for row in some]
        values["_defect"] = [row.defect for row in some]
        values["_text"] = [row.text for row in some]
        yield columns_of(values)
