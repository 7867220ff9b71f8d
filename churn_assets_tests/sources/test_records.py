from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.sources.formats.documents import decoded, flattened, text
from churn_assets.sources.records import columns, stream

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
TIMES = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.none() | ZONES)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | TIMES
    | st.decimals() | st.binary() | st.uuids() | st.lists(st.integers() | st.none(), max_size=2)
)  # fmt: skip
KINDS = st.sampled_from(
    [
        st.integers(),
        st.integers(-9, 9) | st.floats(),
        st.integers() | st.floats(),
        st.text(),
        st.booleans(),
        st.dates(),
        TIMES,
        VALUES,
    ]
)


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    kinds = {name: draw(KINDS) | st.none() for name in "abc"}
    return draw(st.lists(st.fixed_dictionaries({}, optional=kinds), max_size=12))


def divided(rows: list[Any], cuts: list[int]) -> list[list[Any]]:
    ends = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    return [rows[first:last] for first, last in pairwise(ends)]


def rows_of(batches: list[Any], **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stream(batches, **more).read_all().to_pylist()
    return found


@settings(max_examples=300, deadline=None)
@given(rows=records(), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_any_records_come_back_equal_however_they_are_divided(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    table = stream(divided(rows, cuts)).read_all()
    whole = stream([rows]).read_all()
    assert (table.schema, repr(table.to_pylist())) == (whole.schema, repr(whole.to_pylist()))
    if table.num_columns:
        assert table.num_rows == len(rows)
    for name in table.column_names:
        found, given = table.column(name).to_pylist(), [row.get(name) for row in rows]
        # Two values that have the same text are the same value: 2 and 2.0, noon in Delhi and that moment in London.
        assert [text(value) for value in found] == [written(value) for value in given]


def written(value: Any) -> str | None:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else text(value)


@settings(max_examples=100, deadline=None)
@given(rows=records(), order=st.randoms(use_true_random=False))
def test_sorted_records_are_equal_whatever_order_they_came_in(rows: list[dict[str, Any]], order: Any) -> None:
    rows = [{"a": None, "b": None, "c": None, **row} for row in rows]
    shuffled = order.sample(rows, len(rows))
    one, other = (repr(rows_of([some], sort=True)).replace("-0.0", "0.0") for some in (rows, shuffled))
    assert one == other
    assert sorted(map(repr, rows_of([rows]))) == sorted(map(repr, rows_of([rows], sort=True)))


@pytest.mark.parametrize(("given", "kind", "found"), [
    ([[1], [None]], pa.int64(), [1, None]),
    ([[None], [None]], pa.string(), [None, None]),
    ([[None], [date(2024, 1, 31)]], pa.date32(), [None, date(2024, 1, 31)]),
    ([[1], [2.5]], pa.float64(), [1.0, 2.5]),
    ([[2.5], [2**53 + 1]], pa.string(), ["2.5", "9007199254740993"]),
    ([[2**53 + 1], [2.5]], pa.string(), ["9007199254740993", "2.5"]),
    ([[2**64], [1]], pa.string(), ["18446744073709551616", "1"]),
    ([[1, 2.5], ["x"]], pa.string(), ["1", "2.5", "x"]),
    ([[True], [1]], pa.string(), ["true", "1"]),
    ([[True], [False]], pa.bool_(), [True, False]),
    ([[date(2024, 1, 31), datetime(2024, 1, 31, 5)]], pa.string(), ["2024-01-31", "2024-01-31T05:00:00"]),
    ([[datetime(2024, 1, 31, 5)]], pa.timestamp("us"), [datetime(2024, 1, 31, 5)]),
    ([[Decimal("1E+2"), Decimal("0.10")]], pa.string(), ["100", "0.10"]),
    ([[UUID(int=1)]], pa.string(), ["00000000-0000-0000-0000-000000000001"]),
    ([[b"\x00\xff"], [memoryview(b"a")]], pa.string(), ["00ff", "61"]),
    ([[{"a": [1, None, Decimal("1.50"), "é"]}]], pa.string(), ['{"a": [1, null, 1.50, "é"]}']),
    ([["\ud83d"]], pa.string(), ["\\ud83d"]),
])  # fmt: skip
def test_a_column_has_one_type_that_nothing_is_lost_in(given: list[Any], kind: pa.DataType, found: list[Any]) -> None:
    table = stream([[{"x": value} for value in values] for values in given]).read_all()
    assert (table.schema.field("x").type, table.column("x").to_pylist()) == (kind, found)


@pytest.mark.parametrize("ignored", [False, True], ids=["alone", "beside PySpark"])
def test_times_of_any_zone_are_the_same_moments_in_utc(ignored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if ignored:
        monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", "1")
    else:
        monkeypatch.delenv("PYARROW_IGNORE_TIMEZONE", raising=False)
    delhi = datetime(2024, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    table = stream([[{"at": delhi}]]).read_all()
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.column("at").to_pylist() == [datetime(2024, 1, 31, 18, tzinfo=UTC)]


def test_the_last_day_that_python_knows_is_a_moment_in_utc_too() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(-timedelta(hours=8)))
    found = stream([[{"at": last}]]).read_all().column("at").cast(pa.int64())[0].as_py()
    assert found - 8 * 3600 * 10**6 == (last.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


def test_tables_of_other_types_are_joined_too() -> None:
    small, large = pa.table({"x": pa.array([1], pa.int32())}), pa.table({"x": pa.array([2], pa.int64())})
    assert stream([small, large]).schema == pa.schema({"x": pa.int64()})
    coded = pa.table({"x": pa.array(["c"]).dictionary_encode()})
    assert rows_of([small, coded]) == [{"x": "1"}, {"x": "c"}]


def test_no_records_are_a_stream_of_no_rows() -> None:
    assert stream([]).read_all().num_rows == 0
    nothing = stream([columns({"a": [], "b": []})])
    assert nothing.schema.names == ["a", "b"]
    assert nothing.read_all().num_rows == 0


def test_a_record_without_fields_is_a_row_of_nulls() -> None:
    assert rows_of([[{}], [{"a": 1}], [{}]]) == [{"a": None}, {"a": 1}, {"a": None}]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted as Linux shows them")
def test_what_was_written_to_disk_is_gone_with_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_files()
    reader = stream([[{"a": 1}], [{"a": "x"}]])
    assert open_files() == before + 1
    assert len(reader.read_all()) == 2
    assert (open_files(), list(tmp_path.iterdir())) == (before, [])
    never_read = stream([[{"a": 1}]])
    del never_read
    assert (open_files(), list(tmp_path.iterdir())) == (before, [])


def test_an_error_of_the_producer_comes_out_as_it_is_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def producer() -> Iterator[list[dict[str, Any]]]:
        yield [{"a": 1}]
        raise KeyError("half way")

    before = open_files()
    with pytest.raises(KeyError, match="half way") as error:
        stream(producer())
    assert error.traceback, "which holds on to all that was there when it happened"
    assert (open_files(), list(tmp_path.iterdir())) == (before, [])


def test_no_more_than_a_few_batches_are_held_in_memory() -> None:
    def producer() -> Iterator[list[dict[str, Any]]]:
        for number in range(40):
            yield [{"id": f"customer {number}/{row}", "x": row / 7} for row in range(2000)]

    tracemalloc.start()
    arrow = pa.total_allocated_bytes()
    highest = rows = 0
    for batch in stream(producer()):
        rows += batch.num_rows
        highest = max(highest, pa.total_allocated_bytes() - arrow)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 80_000
    one_batch = 2000 * 30
    assert highest < 10 * one_batch
    assert python < 2_500_000, "forty batches of dictionaries take twenty megabytes"


def test_an_object_that_some_records_lack_is_no_column_of_its_own() -> None:
    given = [flattened(decoded(f'{{"plan": {plan}, "x": null}}')) for plan in ("null", '{"fee": 1}', "{}")]
    fees: list[dict[str, Any]] = [{"x": None, "plan.fee": fee} for fee in (None, "1", None)]
    assert rows_of([given], nested=True) == fees
    assert rows_of([[{"a": None, "a.b": 1}]]) == [{"a": None, "a.b": 1}]
