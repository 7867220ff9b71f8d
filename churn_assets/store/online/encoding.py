"""Values as bytes: MessagePack, in which a value keeps its type and a float its bits.

What MessagePack itself has no type for is an extension: its code says the type, its bytes are the value as text. Dates
and times are ISO 8601, with RFC 9557's name of the zone; time spans are microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgpack

from churn_assets.errors import OnlineStoreError


def packing() -> Callable[[Any], bytes]:
    """What packs a value; it is for one thread."""
    pack: Callable[[Any], bytes] = msgpack.Packer(default=_extended).pack
    return pack


def unpacked(packed: bytes) -> Any:
    """The value that was packed.

    >>> unpacked(packing()([7, 7.0, True, None, date(2024, 2, 29)]))
    [7, 7.0, True, None, datetime.date(2024, 2, 29)]
    """
    return msgpack.unpackb(packed, ext_hook=_restored)


def identical(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows have the same values, to the type and the last bit: NaN is NaN, and 1 is neither 1.0 nor true.

    >>> identical({"x": float("nan")}, {"x": float("nan")}), identical({"x": 1}, {"x": 1.0})
    (True, False)
    """
    pack = packing()
    return one.keys() == other.keys() and all(pack(value) == pack(other[name]) for name, value in one.items())


def _zoned(value: datetime) -> str:
    return f"{value.isoformat()}[{value.tzinfo}]" if value.tzinfo else value.isoformat()


def _from_zoned(text: str) -> datetime:
    moment, _, zone = text.rstrip("]").partition("[")
    found = datetime.fromisoformat(moment)
    return found.astimezone(ZoneInfo(zone)) if zone else found


def _microseconds(value: timedelta) -> str:
    return str(value // timedelta(microseconds=1))


def _from_microseconds(text: str) -> timedelta:
    return timedelta(microseconds=int(text))


_EXTENSIONS: dict[type, tuple[int, Callable[[Any], str], Callable[[str], Any]]] = {
    date: (1, date.isoformat, date.fromisoformat),
    datetime: (2, _zoned, _from_zoned),
    time: (3, time.isoformat, time.fromisoformat),
    timedelta: (4, _microseconds, _from_microseconds),
    Decimal: (5, str, Decimal),
    int: (6, str, int),  # MessagePack's own integers end at 64 bits.
}
_RESTORING = {code: restore for code, _, restore in _EXTENSIONS.values()}


def _extended(value: Any) -> msgpack.ExtType:
    if type(value) not in _EXTENSIONS:
        raise OnlineStoreError(
            "online store: expected numbers, texts, flags, dates and times (or lists of them) as features, found "
            f"{type(value).__name__}. Leave that column out of the features."
        )
    code, text_of, _ = _EXTENSIONS[type(value)]
    return msgpack.ExtType(code, text_of(value).encode())


def _restored(code: int, data: bytes) -> Any:
    return _RESTORING[code](data.decode())
