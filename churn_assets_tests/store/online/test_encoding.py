import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from churn_assets.errors import OnlineStoreError
from churn_assets.months import Month
from churn_assets.store.online.encoding import identical, packing, unpacked
from churn_assets.store.online.generation import Generation, encoded, keys_of

BERLIN = ZoneInfo("Europe/Berlin")
KINDS: list[Any] = [
    pl.Int8, pl.Int64, pl.UInt64, pl.Int128, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Categorical,
    pl.Enum(["no", "yes"]), pl.Binary, pl.Date, pl.Time, pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("ns"),
    pl.Datetime("us", "Europe/Berlin"), pl.Duration("us"), pl.Decimal(20, 4), pl.Null,
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type and bits; the encoding isn't asked."""
    if type(one) is not type(other):
        return False
    match one:
        case float():
            return struct.pack("d", one) == struct.pack("d", other)
        case list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
        case datetime():
            return one == other and one.fold == other.fold and str(one.tzinfo) == str(other.tzinfo)
    return bool(one == other)


def served(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows, encoded and decoded, in their order."""
    keyed = rows.with_row_index("key")
    keys = keys_of(keyed, "key")
    generation = Generation(Month(2024, 1), "v", len(rows), tuple(rows.columns))
    found = {key: generation.row(vector) for batch in encoded(rows, keys) for key, vector in batch}
    return [{n: v for n, v in found[str(i)].items() if n != "month"} for i in range(len(rows))]


@settings(max_examples=150, deadline=None)
@given(dataframes(min_cols=1, max_cols=6, min_size=1, max_size=8, allow_null=True, allowed_dtypes=KINDS))
def test_a_row_comes_back_as_the_table_has_it(rows: pl.DataFrame) -> None:
    for i, row in enumerate(served(rows)):
        assert same(row, rows.row(i, named=True))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_every_float_keeps_its_bits(bits: list[int]) -> None:
    values = [struct.unpack("d", struct.pack("Q", b))[0] for b in bits]
    restored = unpacked(packing()(values))
    assert [struct.pack("d", v) for v in restored] == [struct.pack("d", v) for v in values]


@pytest.mark.parametrize(
    "value",
    [0, -0.0, 0.0, 1, 1.0, True, None, "", "1", b"1", 2**63, 2**64, -(2**70), float("inf"), 1e308, 5e-324, "plüs \0",
     date(1, 1, 1), datetime(2024, 2, 29), datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
     datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN), time(23, 59, 59, 999999), timedelta(-1, 5, 7),
     Decimal("1.10"), [1, 1.0, None, [True]], {"b": 1, "a": date(2024, 1, 1)}],
    ids=repr,
)  # fmt: skip
def test_a_value_keeps_its_type(value: Any) -> None:
    assert same(unpacked(packing()(value)), value)


def test_rows_are_identical_only_in_type_and_bits() -> None:
    nan = float("nan")
    assert identical({"a": nan, "b": [1, None]}, {"b": [1, None], "a": float("nan")})
    day = date(2024, 1, 1)
    for one, other in ((1, 1.0), (1, True), (0.0, -0.0), (None, nan), ("1", 1), ("a", b"a"), (day, str(day))):
        assert not identical({"a": one}, {"a": other}), (one, other)
    assert not identical({"a": None}, {})
    assert not identical({"a": 1}, {"b": 1})


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(OnlineStoreError, match=r"found object\. Leave that column out"):
        packing()([object()])
