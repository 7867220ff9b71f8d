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

from churn_assets.errors import SourceError
from churn_assets.sources.records import Number, columns, decoded, flattened, rows_in, stream, text

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


def test_times_of_any_zone_are_the_same_moments_in_utc() -> None:
    delhi = datetime(2024, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    table = stream([[{"at": delhi}]]).read_all()
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.column("at").to_pylist() == [datetime(2024, 1, 31, 18, tzinfo=UTC)]


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


class TestJson:
    def test_numbers_stay_as_they_are_written(self) -> None:
        row = flattened(decoded('{"a": 1.10, "b": 1e3, "c": 12345678901234567890, "d": -0, "e": NaN}'))
        assert row == {"a": "1.10", "b": "1e3", "c": "12345678901234567890", "d": "-0", "e": "NaN"}
        assert {type(value) for value in row.values()} == {str}

    def test_truth_and_null_are_told_apart_from_text(self) -> None:
        assert flattened(decoded('{"a": true, "b": false, "c": null, "d": ""}')) == {
            "a": "true", "b": "false", "c": None, "d": "",
        }  # fmt: skip

    def test_objects_become_dotted_names_and_lists_stay_json(self) -> None:
        document = '{"a": {"b": {"c": 1}, "d": {}}, "e": [1.50, "x", {"f": [true, null, "2"]}], "g": []}'
        assert flattened(decoded(document)) == {
            "a.b.c": "1", "a.d": None, "e": '[1.50, "x", {"f": [true, null, "2"]}]', "g": "[]",
        }  # fmt: skip

    def test_two_values_for_one_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the key 'a\.b' twice, once by a dot"):
            flattened(decoded('{"a": {"b": 1}, "a.b": 2}'))
        with pytest.raises(ValueError, match=r"the key 'b' twice in one object"):
            decoded('[{"a": {"b": 1, "b": 2}}]')

    def test_an_object_that_some_records_lack_is_no_column_of_its_own(self) -> None:
        given = [flattened(decoded(f'{{"plan": {plan}, "x": null}}')) for plan in ("null", '{"fee": 1}', "{}")]
        fees: list[dict[str, Any]] = [{"x": None, "plan.fee": fee} for fee in (None, "1", None)]
        assert rows_of([given], nested=True) == fees
        assert rows_of([[{"a": None, "a.b": 1}]]) == [{"a": None, "a.b": 1}]

    @pytest.mark.parametrize(("document", "path"), [
        ('[{"id": 1}]', None), ('{"data": [{"id": 1}]}', None), ('{"a": {"data": [{"id": 1}], "tags": ["x"]}}', None),
        ('{"a": {"data": [{"id": 1}]}, "errors": []}', "a.data"),
    ])  # fmt: skip
    def test_the_list_of_rows_is_found(self, document: str, path: str | None) -> None:
        assert rows_in(decoded(document), path, "here") == [{"id": "1"}]

    @pytest.mark.parametrize(("document", "path", "told"), [
        ('{"a": [], "b": {"c": [{}]}}', None, "expected one list of objects, found 2, at a, b.c. Name the one"),
        ('{"id": 1}', None, "found '{\"id\": 1}' without one"),
        ("7", None, "found '7' without one"),
        ('{"a": {"b": []}}', "a.c", "expected a list at 'a.c', found no 'c' there. Lists are at: a.b. Mend"),
        ('{"a": null}', "a", "expected a list at 'a', found 'null'"),
        ('{"a": [1]}', "a.0", "found no '0' there. There is no list of objects at all."),
    ])  # fmt: skip
    def test_no_list_of_rows_is_refused(self, document: str, path: str | None, told: str) -> None:
        with pytest.raises(SourceError) as error:
            rows_in(decoded(document), path, "here")
        assert told in str(error.value)

    def test_a_number_is_still_a_number_inside_a_list(self) -> None:
        assert text([Number("1.0"), "1.0"]) == '[1.0, "1.0"]'

    def test_a_document_that_nests_without_end_is_no_json(self) -> None:
        with pytest.raises(ValueError, match="nested too deeply"):
            decoded("[" * 1_000_000)
