"""JSON documents as rows of texts: numbers as they are written, nested objects by dotted names, lists as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from churn_assets.sources.formats import excerpt, refusal

WIDE = 2**53
"""Beyond it a float64 can't tell an integer from the next one."""

_TOO_DEEP = "it is nested too deeply"


class Number(str):
    """A number of a JSON document, as it is written there."""


def decoded(document: str | bytes) -> Any:
    """What a JSON document says, with its numbers as they are written.

    >>> decoded('{"charge": 20.10}')
    {'charge': '20.10'}

    Raises:
        ValueError: it isn't JSON, or an object in it has a key twice; ``json.JSONDecodeError`` where a place is known.
    """
    if isinstance(document, bytes):
        document = document.decode(json.detect_encoding(document), "surrogatepass")
    try:
        return _DECODER.decode(document)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} twice in one object")
    return found


# Made once: json.loads makes one for each document, and a line of JSON is a document.
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=_object)


def flattened(record: Mapping[str, Any]) -> dict[str, str | None]:
    """A record of a JSON document as one row of texts: objects by dotted names, lists as JSON, nothing in {} as null.

    >>> flattened(decoded('{"id": 7, "plan": {"name": "flat", "active": true}, "calls": [1.50, null]}'))
    {'id': '7', 'plan.name': 'flat', 'plan.active': 'true', 'calls': '[1.50, null]'}

    Raises:
        ValueError: two of its values would get the same name, or it is nested too deeply.
    """
    row: dict[str, str | None] = {}
    try:
        _flatten(record, "", row)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return row


def _flatten(record: Mapping[str, Any], prefix: str, row: dict[str, str | None]) -> None:
    for name, value in record.items():
        path = prefix + name
        if isinstance(value, dict) and value:
            _flatten(value, f"{path}.", row)
        elif path in row:
            raise ValueError(f"the key {path!r} twice, once by a dot in a name")
        else:
            row[path] = None if value == {} else text(value)


def rows_in(document: Any, path: str | None, place: object, otherwise: str) -> list[Any]:
    """The list of rows in a JSON document: at a dotted ``path``, or the only list of objects that it has.

    >>> rows_in({"meta": {"pages": 1}, "data": {"customers": [{"id": 1}]}}, None, "an answer", "Mend source.url.")
    [{'id': 1}]

    Args:
        document: what was decoded.
        path: dotted names; empty for the document itself.
        place: what messages begin with.
        otherwise: what to do if there is no list of objects.

    Raises:
        SourceError: there is none, or several without a ``path``; naming where lists are.
    """
    path = path_to_rows(document, place, otherwise) if path is None else path
    value = document
    for part in path.split(".") if path else ():
        if not isinstance(value, Mapping) or part not in value:
            paths = _paths_to_lists(document)
            known = f"Lists are at: {', '.join(paths)}" if paths else "There is no list of objects at all"
            raise refusal(place, f"a list at {path!r}", f"no {part!r} there. {known}", "Mend source.records.")
        value = value[part]
    if not isinstance(value, list):
        raise refusal(place, f"a list at {path!r}", _start(value), "Mend source.records.")
    return value


def path_to_rows(document: Any, place: object, otherwise: str) -> str:
    """The dotted path to the only list of objects in a JSON document; empty where the document is a list itself.

    Raises:
        SourceError: there is none, so that ``otherwise`` is to be done, or there are several; naming where they are.
    """
    if isinstance(document, list):
        return ""
    paths = _paths_to_lists(document)
    if not paths:
        raise refusal(place, "a list of objects", f"{_start(document)} without one", otherwise)
    if len(paths) > 1:
        found = f"{len(paths)}, at {', '.join(paths)}"
        raise refusal(place, "one list of objects", found, "Name the one with the rows in source.records.")
    return paths[0]


def _paths_to_lists(document: Any) -> list[str]:
    try:
        return list(_lists(document, ""))
    except RecursionError:
        return []


def _lists(value: Any, prefix: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, list) and (not part or isinstance(part[0], dict)):
                yield prefix + name
            else:
                yield from _lists(part, f"{prefix}{name}.")


def _start(value: Any) -> str:
    try:
        return excerpt(json_text(value))
    except RecursionError:
        return f"what {_TOO_DEEP.removeprefix('it ')}"


def text(value: Any) -> str | None:
    """``value`` as text that nothing is lost in, be it a document's or Python's own; None stays None.

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
        case dict() | list() | tuple() | Mapping():
            return json_text(value)
    return str(value)


def json_text(value: Any) -> str:
    """``value`` as JSON, with the numbers of a document as they are written."""
    match value:
        case Number() | Decimal() | bool() | int() | float():
            return text(value) or ""
        case str():
            return json.dumps(value, ensure_ascii=False)
        case None:
            return "null"
        case list() | tuple():
            return "[" + ", ".join(map(json_text, value)) + "]"
        case Mapping():
            return "{" + ", ".join(f"{json_text(str(name))}: {json_text(item)}" for name, item in value.items()) + "}"
    return json.dumps(text(value), ensure_ascii=False)
