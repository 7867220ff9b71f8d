from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.quality import QUARANTINED, validate
from churn_assets_tests.quality.tables import answered, raw, read, schema


def test_a_quarantined_row_says_who_where_and_why() -> None:
    frame = raw(["1", "-2", "x"], _row=[5, 6, 7], _file=["a.csv", "a.csv", "b.csv"], _line=[6, 7, 2])
    found = validate(frame, schema({"name": "x", "type": "number", "min": 0}))
    assert found.quarantined.rows(named=True) == [
        {"customer": "c1", "_row": 6, "_file": "a.csv", "_line": 7, "rule": "min", "column": "x", "value": "-2",
         "expected": "at least 0"},
        {"customer": "c2", "_row": 7, "_file": "b.csv", "_line": 2, "rule": "type", "column": "x", "value": "x",
         "expected": "a number"},
    ]  # fmt: skip
    assert found.valid.columns == ["id", "x"]
    assert found.valid["id"].to_list() == ["c0"]


def test_a_row_that_is_none_is_quarantined_with_its_text() -> None:
    frame = raw(["1", None, "3"], _defect=[None, "2 values, expected 3", None], _text=[None, "c1,oops", None])
    found = validate(frame.with_columns(id=pl.Series(["c0", None, "c2"])), schema({"name": "x", "type": "integer"}))
    assert found.valid["id"].to_list() == ["c0", "c2"]
    assert found.quarantined.rows() == [(None, 2, None, None, "structure", None, "c1,oops", "2 values, expected 3")]
    assert "the row breaks 'structure' (1 rows)" in found.verdict.reason


def test_a_row_that_breaks_two_rules_is_named_twice_and_counted_once() -> None:
    columns = ({"name": "x", "type": "number"}, {"name": "y", "type": "integer", "max": 1})
    found = validate(raw(["bad", "1"], y=["9", "1"]), schema(*columns, max_error_rate=1))
    assert found.quarantined.select("_row", "column").rows() == [(1, "x"), (1, "y")]
    assert (found.verdict.quarantined, found.verdict.rows, found.verdict.share) == (1, 2, 0.5)


def test_a_declared_meaning_is_taken_and_counted() -> None:
    column = {"type": "integer", "fill": 0, "missing": ["none"]}
    found = read(column, [" 1 ", "", "none", None, "2"])
    assert found.valid["x"].to_list() == [1, 0, 0, 0, 2]
    assert found.repairs == {"x": {"missing -> 0": 3, "blanks trimmed": 1}}
    assert found.verdict.passed
    assert found.verdict.quarantined == 0


@pytest.mark.parametrize(
    ("kind", "fill", "given", "expected"),
    [
        ("boolean", False, ["yes", None], [True, False]),
        ("number", 1.5, ["2", None], [2.0, 1.5]),
        ("number", 1.5, [2.0, None], [2.0, 1.5]),
        ("category", "none", ["a", None], ["a", "none"]),
        ("boolean", True, [False, None], [False, True]),
        ("date", "2024-01-31", ["2024-01-01", None], [date(2024, 1, 1), date(2024, 1, 31)]),
    ],
)
def test_a_fill_is_taken_in_the_columns_type(kind: str, fill: Any, given: list[Any], expected: list[Any]) -> None:
    found = read({"type": kind, "fill": fill}, given)
    assert found.valid["x"].to_list() == expected
    assert found.repairs == {"x": {f"missing -> {fill}": 1}}


def test_a_fill_keeps_its_columns_rules() -> None:
    found = read({"type": "number", "fill": -1, "min": 0}, ["2", None])
    assert found.quarantined.select("_row", "rule", "value").rows() == [(2, "min", "-1")]
    with pytest.raises(QualityError, match="column x: fill: expected a value of type number, found 'none'"):
        read({"type": "number", "fill": "none"}, [None])
    with pytest.raises(QualityError, match=r"column x: fill: expected a value of type integer, found 1\.234"):
        read({"type": "integer", "fill": 1.234}, [None])


@pytest.mark.parametrize(
    ("kind", "values", "where"),
    [("integer", ["0", "5", "x"], 0), ("boolean", ["no", "YES", "?"], False), ("string", ["0", "5", ""], "0")],
)
def test_a_fill_is_taken_only_where_its_condition_holds(kind: str, values: list[str], where: Any) -> None:
    columns = (
        {"name": "x", "type": "number", "fill": 7, "fill_where": {"y": where}},
        {"name": "y", "type": kind, "nullable": True},
    )
    found = validate(raw([None, None, None], y=values), schema(*columns, max_error_rate=1))
    assert found.valid["x"].to_list() == [7.0]
    assert ("c1", "required") in found.quarantined.select("customer", "rule").rows()


def test_what_was_filled_may_be_the_condition_of_another_fill() -> None:
    columns = (
        {"name": "x", "type": "integer", "fill": 1, "fill_where": {"y": 0}},
        {"name": "y", "type": "integer", "fill": 0},
    )
    assert validate(raw([None], y=[None]), schema(*columns)).valid.rows() == [("c0", 1, 0)]


def test_without_a_declared_fill_nothing_is_repaired() -> None:
    found = read({"type": "integer"}, ["1", None])
    assert found.repairs == {}
    assert found.verdict.quarantined == 1


def test_missing_columns_are_named_with_the_nearest() -> None:
    with pytest.raises(QualityError) as error:
        validate(raw(["1"], name="monthly_chrg"), schema({"name": "monthly_charge", "type": "number"}))
    assert "expected the columns 'monthly_charge', found none so named." in str(error.value)
    assert "Did you mean 'monthly_chrg'?" in str(error.value)
    with pytest.raises(QualityError, match="'id'"):
        validate(pl.DataFrame({"customer": ["a"], "x": ["1"]}), schema({"name": "x", "type": "integer"}))


def test_undeclared_and_renamed_columns_are_reported() -> None:
    columns = ({"name": "x_y", "type": "integer"}, {"name": "old", "type": "integer", "role": "ignored"})
    found = validate(raw(["1"], "X  Y", old=["x"], new=["y"]), schema(*columns))
    assert found.undeclared == ("new",)
    assert found.renamed == {"X  Y": "x_y"}
    assert found.valid.columns == ["id", "x_y"]
    assert validate(raw(["1"], "x_y"), schema(*columns)).valid.columns == ["id", "x_y"], "ignored ones may be absent"


def test_an_optional_column_may_be_missing_as_a_whole_but_not_in_part() -> None:
    optional = schema({"name": "x", "type": "integer", "optional": True}, max_error_rate=1)
    absent = validate(pl.DataFrame({"id": ["a"]}), optional)
    assert absent.valid.rows() == [("a", None)]
    assert_frame_equal(validate(absent.valid, optional).valid, absent.valid)
    assert validate(raw(["1", None]), optional).quarantined["rule"].to_list() == ["required"]


@pytest.mark.parametrize(("bad", "passed"), [(0, True), (5, True), (6, False)])
def test_the_share_on_the_limit_passes(bad: int, passed: bool) -> None:
    found = read({"type": "integer"}, ["x"] * bad + ["1"] * (100 - bad), max_error_rate=0.05)
    assert found.verdict.passed == passed
    assert (found.verdict.rows, found.verdict.quarantined, found.verdict.allowed_share) == (100, bad, 0.05)
    if bad:
        assert f"{bad} of 100 rows ({bad}.00%) are quarantined, at most 5.00%" in found.verdict.reason
        assert f"x breaks 'type' ({bad} rows)" in found.verdict.reason
    else:
        assert found.verdict.reason == "All 100 rows keep every rule."


@pytest.mark.parametrize("pieces", [[pl.DataFrame(schema={"id": pl.String, "x": pl.String})], []])
def test_a_delivery_without_rows_is_valid(pieces: list[pl.DataFrame]) -> None:
    found = validate(pieces, schema({"name": "x", "type": "integer"}))
    assert found.valid.schema == {"id": pl.String, "x": pl.Int64}
    assert found.quarantined.is_empty()
    assert dict(found.quarantined.schema) == QUARANTINED
    assert found.verdict.passed
    assert found.verdict.share == 0


def test_columns_of_which_none_is_of_its_type_are_quarantined() -> None:
    days = [date(2024, 1, 1), date(2024, 1, 2)]
    columns = ({"name": "id", "type": "integer"}, {"name": "x", "type": "number"})
    found = validate(pl.DataFrame({"id": days, "x": days}), schema(*columns))
    assert found.quarantined["_row"].to_list() == [1, 1, 2, 2]
    assert found.quarantined["customer"].to_list() == ["2024-01-01"] * 2 + ["2024-01-02"] * 2


def test_rows_may_be_named_by_their_number() -> None:
    numbered = schema({"name": "x", "type": "integer"}, key_from="row")
    found = validate([pl.DataFrame({"x": ["1", "2"]}), pl.DataFrame({"x": ["oops", "1"]})], numbered)
    assert found.valid.rows() == [("row-000000001", 1), ("row-000000002", 2), ("row-000000004", 1)]
    assert found.quarantined.select("customer", "_row").rows() == [("row-000000003", 3)]
    assert_frame_equal(validate(found.valid, numbered).valid, found.valid)


def test_rows_may_be_named_by_their_content() -> None:
    columns = ({"name": "x", "type": "string", "nullable": True}, {"name": "y", "type": "string", "nullable": True})
    content = schema(*columns, key_from="content", max_error_rate=1)
    frame = pl.DataFrame({"x": ["a", "ab", None, "-", "a "], "y": ["bc", "c", "-", None, "bc"]})
    found = validate(frame, content)
    assert found.quarantined.select("_row", "rule").rows() == [(5, "repeated")]
    assert found.valid["id"].n_unique() == 4
    keys = dict(found.valid.select("x", "id").rows())
    assert keys["ab"] == "content-1da800dea966bd7e", "names of content must outlive versions of libraries"
    assert_frame_equal(validate(found.valid, content).valid, found.valid)
    assert_frame_equal(validate(frame.reverse(), content).valid, found.valid)


def test_files_of_one_month_may_name_their_columns_differently_and_have_other_types() -> None:
    pieces = [raw(["1", "2.5"]), pl.DataFrame({"ID": ["d"], "X": [3]}), pl.DataFrame({"id": ["e"], "x": [None]})]
    found = validate(iter(pieces), schema({"name": "x", "type": "number", "nullable": True}))
    assert found.valid.rows() == [("c0", 1.0), ("c1", 2.5), ("d", 3.0), ("e", None)]
    assert found.renamed == {"ID": "id", "X": "x"}


DIRTY = schema(
    {"name": "n", "type": "integer", "min": 0, "max": 9, "missing": ["-9"]},
    {"name": "plan", "type": "category", "allowed": ["a", "Bee"], "nullable": True},
    {"name": "flag", "type": "boolean", "role": "churned"},
    {"name": "charge", "type": "number", "fill": 0, "fill_where": {"n": 1}, "nullable": True},
    {"name": "since", "type": "date", "nullable": True},
    {"name": "mail", "type": "string", "unique": True, "nullable": True, "pattern": "[a-z]*@.*"},
    missing=["?"],
    max_error_rate=1,
    rules=[
        {"id": "grows", "expression": "n >= previous.n", "within": 2},
        {"id": "cheap", "expression": "charge < 100 OR n > 3"},
        {"id": "begun", "expression": "since < month_end"},
    ],
)
MONTH = Month(2024, 3)
FLAWED = st.tuples(
    st.sampled_from(["c1", "c2", "c3", "c4", " c1", "c5\u00a0", "1.5E+10", "", None]),
    st.sampled_from(["1", "2", "7.0", "-1", "1.5", "x", "-9", "?", "99999999999999999999", None]),
    st.sampled_from(["a", "A ", "BEE", "c", "?", None]),
    st.sampled_from(["yes", "no", "?", "TRUE", "2", None]),
    st.sampled_from(["1", "nan", "z", "1.234", " 1.5", "0,5", "1.234,5", "€ 3", "1,000", "1 000", None]),
    st.sampled_from(["2024-01-05", "05/01/2024", "25/12/2023", "03/04/2024", "45321", "2024-05-01", "?", None]),
    st.sampled_from(["a@b", "b@c", "c@d", "d", " a@b", None]),
    st.sampled_from([None, None, None, "3 values, expected 8"]),
)
NAMES = ("id", "n", "plan", "flag", "charge", "since", "mail", "_defect")
EARLIER = st.lists(
    st.tuples(st.sampled_from(["c1", "c2", "c3"]), st.sampled_from([date(2024, 1, 1), date(2024, 2, 1)]),
              st.sampled_from([0, 5, None])),
    max_size=4,
)  # fmt: skip


def table(lines: list[tuple[Any, ...]]) -> pl.DataFrame:
    frame = pl.DataFrame(lines, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    values = [pl.when(pl.col("_defect").is_null()).then(pl.col(n)).alias(n) for n in NAMES[:-1]]
    return frame.with_columns(*values, _text=pl.when(pl.col("_defect").is_not_null()).then(pl.lit("torn")))


def earlier(lines: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema={"id": pl.String, "month": pl.Date, "n": pl.Int64}, orient="row")


@settings(max_examples=80, deadline=None)
@given(st.lists(FLAWED, max_size=25), EARLIER)
def test_no_row_ever_vanishes(lines: list[tuple[Any, ...]], before: list[tuple[Any, ...]]) -> None:
    frame = table(lines)
    found = answered(frame, DIRTY, MONTH, earlier(before))
    if isinstance(found, str):
        assert "Set " in found
        return
    bad = found.quarantined["_row"].n_unique()
    assert len(found.valid) + bad == len(frame)
    assert found.verdict.quarantined == bad
    assert found.quarantined.select("_row", "rule", "column").is_duplicated().sum() == 0
    assert found.valid["id"].is_duplicated().sum() == 0
    assert found.valid["id"].is_sorted()
    assert found.valid["n"].is_between(0, 9).all()
    assert found.valid["charge"].is_finite().all()
    assert found.valid.null_count().select("id", "n", "flag").sum_horizontal().sum() == 0
    kept = set(range(1, len(frame) + 1)) - set(found.quarantined["_row"])
    assert sorted((lines[i - 1][0] or "").strip() for i in kept) == found.valid["id"].to_list()
    torn = found.quarantined.filter(pl.col("rule") == "structure")
    assert len(torn) == frame["_defect"].count() and set(torn["value"]) <= {"torn"}


@settings(max_examples=40, deadline=None)
@given(st.lists(FLAWED, max_size=25), EARLIER)
def test_valid_rows_stay_valid(lines: list[tuple[Any, ...]], before: list[tuple[Any, ...]]) -> None:
    found = answered(table(lines), DIRTY, MONTH, earlier(before))
    if isinstance(found, str):
        return
    again = validate(found.valid, DIRTY, MONTH, earlier(before))
    assert_frame_equal(again.valid, found.valid)
    assert again.quarantined.is_empty()


@settings(max_examples=50, deadline=None)
@given(st.lists(FLAWED, max_size=25), st.lists(st.integers(0, 25), max_size=6), EARLIER)
def test_how_a_month_is_divided_is_of_no_account(
    lines: list[tuple[Any, ...]], cuts: list[int], before: list[tuple[Any, ...]]
) -> None:
    frame = table(lines)
    ends = [0, *sorted(min(c, len(frame)) for c in cuts), len(frame)]
    pieces = [frame[a:b] for a, b in pairwise(ends)]

    def delivered() -> Iterator[pl.DataFrame]:
        yield from pieces

    whole = answered(frame, DIRTY, MONTH, earlier(before))
    for parts in (pieces, delivered):
        found = answered(parts, DIRTY, MONTH, earlier(before))
        if isinstance(whole, str) or isinstance(found, str):
            assert found == whole
            continue
        assert_frame_equal(found.valid, whole.valid)
        assert_frame_equal(found.quarantined, whole.quarantined)
        for name in ("repairs", "renamed", "undeclared", "conventions", "verdict"):
            assert getattr(found, name) == getattr(whole, name)


KINDS = st.sampled_from(["string", "category", "integer", "number", "boolean", "date", "timestamp"])
ANYTHING = st.one_of(
    st.lists(st.text(max_size=12), max_size=6),
    st.lists(st.text(alphabet="0123456789.,-+eE €$%'/: \u00a0TZ", max_size=14), max_size=6),
    st.lists(st.floats() | st.none(), max_size=6),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=6),
    st.lists(st.booleans() | st.none(), max_size=6),
    st.lists(st.dates() | st.none(), max_size=6),
    st.lists(st.datetimes() | st.none(), max_size=6),
    st.lists(st.decimals(-(10**9), 10**9, allow_nan=False, places=3), max_size=6),
    st.lists(st.binary(max_size=3), max_size=6),
    st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=6),
    st.lists(st.timedeltas() | st.times(), max_size=1),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(KINDS, ANYTHING, st.booleans())
def test_anything_is_read_or_asked_for_and_nothing_else_fails(kind: str, values: list[Any], as_category: bool) -> None:
    frame = raw(values)
    if as_category and frame.schema["x"] == pl.String:
        frame = frame.with_columns(pl.col("x").cast(pl.Categorical))
    spec = schema({"name": "x", "type": kind, "nullable": True}, max_error_rate=1)
    found = answered(frame, spec)
    if isinstance(found, str):
        assert "Set " in found
        return
    assert len(found.valid) + found.quarantined["_row"].n_unique() == len(frame)
    again = validate(found.valid, spec)
    assert_frame_equal(again.valid, found.valid)
    assert again.quarantined.is_empty()


TIME = {"name": "at", "type": "timestamp", "role": "time"}
AMOUNT = {"name": "amount", "type": "number", "expression": "n * price"}
EVENTS = schema(
    {"name": "n", "type": "integer"},
    TIME,
    {"name": "price", "type": "number", "min": 0},
    {"name": "taken_back", "type": "boolean", "expression": "n < 0"},
    {**AMOUNT, "max": 100},
    max_error_rate=1,
    rules=[{"id": "not_all", "expression": "amount <> 13"}],
)


def events(*lines: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(lines, schema={"id": pl.String, "n": pl.String, "at": pl.String, "price": pl.String},
                        orient="row")  # fmt: skip


def test_a_customer_may_have_many_events_and_equal_ones() -> None:
    found = validate(
        events(("b", "1", "2024-03-05 08:00:00", "2"), ("a", "1", "2024-03-09 08:00:00", "2"),
               ("a", "-1", "2024-03-01 00:00:00", "2"), ("b", "1", "2024-03-05 08:00:00", "2")),
        EVENTS, MONTH,
    )  # fmt: skip
    assert found.quarantined.is_empty()
    assert found.valid.columns == ["id", "n", "at", "price", "taken_back", "amount"]
    assert found.valid.rows() == [
        ("a", -1, datetime(2024, 3, 1), 2.0, True, -2.0), ("a", 1, datetime(2024, 3, 9, 8), 2.0, False, 2.0),
        ("b", 1, datetime(2024, 3, 5, 8), 2.0, False, 2.0), ("b", 1, datetime(2024, 3, 5, 8), 2.0, False, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2024-02-29 23:59:59.999999", False), ("2024-03-01 00:00:00", True), ("2024-03-31 23:59:59.999999", True),
        ("2024-03-31 23:59:59", True), ("2024-04-01 00:00:00", False), ("2023-03-05 08:00:00", False),
    ],
)  # fmt: skip
def test_an_event_of_another_month_is_set_aside(at: str, inside: bool) -> None:
    found = validate(events(("a", "1", at, "2")), EVENTS, MONTH)
    assert len(found.valid) == inside
    if not inside:
        (row,) = found.quarantined.rows(named=True)
        assert (row["customer"], row["rule"], row["column"]) == ("a", "in_month", "at")
        assert row["value"].startswith(at)
        assert row["expected"] == "a time in 2024-03"


def test_events_of_days_lie_in_their_month_too() -> None:
    days = schema({"name": "at", "type": "date", "role": "time"}, max_error_rate=1)
    frame = pl.DataFrame({"id": ["a"] * 4, "at": ["2024-02-29", "2024-03-01", "2024-03-31", "2024-04-01"]})
    found = validate(frame, days, MONTH)
    assert found.valid["at"].to_list() == [date(2024, 3, 1), date(2024, 3, 31)]
    assert found.quarantined["rule"].to_list() == ["in_month"] * 2


def test_an_event_without_customer_or_time_is_set_aside() -> None:
    frame = events((None, "1", "2024-03-05 08:00:00", "2"), ("a", "1", None, "2"), ("a", "1", "tomorrow", "2"))
    found = validate(frame, EVENTS, MONTH)
    assert found.valid.is_empty()
    assert found.quarantined.select("_row", "rule", "column").rows() == [
        (1, "required", "id"), (2, "required", "at"), (3, "type", "at"),
    ]  # fmt: skip


def test_what_an_expression_makes_keeps_its_columns_rules_and_may_be_named_by_others() -> None:
    frame = events(("a", "60", "2024-03-05 08:00:00", "2"), ("b", "1", "2024-03-05 08:00:00", "13"))
    found = validate(frame, EVENTS, MONTH)
    assert found.quarantined.select("_row", "rule", "column", "value", "expected").rows() == [
        (1, "max", "amount", "120.0", "at most 100"), (2, "not_all", "amount", "amount=13.0", "amount <> 13"),
    ]  # fmt: skip


def test_what_is_made_of_a_broken_value_is_one_failure_and_not_two() -> None:
    frame = raw(["1", "x", None, "4"], price=["2", "2", "2", None])
    columns = ({"name": "x", "type": "integer"}, {"name": "price", "type": "number", "nullable": True},
               {"name": "amount", "type": "number", "expression": "x * price"})  # fmt: skip
    found = validate(frame, schema(*columns, max_error_rate=1))
    assert found.valid.rows() == [("c0", 1, 2.0, 2.0)]
    assert found.quarantined.select("_row", "rule", "column").rows() == [
        (2, "type", "x"), (3, "required", "x"), (4, "required", "amount"),
    ]  # fmt: skip


def test_expressions_build_on_one_another_and_know_the_month() -> None:
    columns = (
        {"name": "x", "type": "integer"},
        {"name": "twice", "type": "integer", "expression": "x * 2"},
        {"name": "more", "type": "boolean", "expression": "twice > 2 OR id = 'c0'"},
        {"name": "begins", "type": "date", "expression": "month_start", "nullable": True},
    )
    with pytest.raises(QualityError, match="expected a column, found none"):
        validate(raw(["1"]), schema(*columns), MONTH)
    columns = (*columns[:3], {"name": "begins", "type": "date", "expression": "CASE WHEN x = 1 THEN month_start END",
                              "nullable": True})  # fmt: skip
    found = validate(raw(["1", "2", "1"]), schema(*columns), MONTH)
    assert found.valid.rows() == [
        ("c0", 1, 2, True, date(2024, 3, 1)), ("c1", 2, 4, True, None), ("c2", 1, 2, False, date(2024, 3, 1)),
    ]  # fmt: skip


def test_a_division_by_zero_is_set_aside() -> None:
    columns = ({"name": "x", "type": "number"}, {"name": "inverse", "type": "number", "expression": "1 / x"})
    found = validate(raw(["0", "4"]), schema(*columns, max_error_rate=1))
    assert found.valid["inverse"].to_list() == [0.25]
    assert found.quarantined.select("rule", "column", "value").rows() == [("finite", "inverse", "inf")]


def test_an_expression_that_fails_on_a_value_names_its_column() -> None:
    columns = ({"name": "x", "type": "string"}, {"name": "n", "type": "integer", "expression": "CAST(x AS BIGINT)"})
    assert validate(raw(["1"]), schema(*columns)).valid["n"].to_list() == [1]
    with pytest.raises(QualityError, match="column n: expected an expression that can be made of any values"):
        validate(raw(["1", "one"]), schema(*columns))
    columns[1]["expression"] = "TRY_CAST(x AS BIGINT)"
    found = validate(raw(["1", "one"]), schema(*columns, max_error_rate=1))
    assert found.quarantined.select("_row", "rule", "column").rows() == [(2, "required", "n")]


def test_a_made_column_is_not_looked_for_in_the_delivery() -> None:
    columns = ({"name": "x", "type": "integer"}, {"name": "twice", "type": "integer", "expression": "x * 2"})
    found = validate(raw(["1"], twice=["7"]), schema(*columns))
    assert found.valid.rows() == [("c0", 1, 2)]
    assert found.undeclared == ("twice",)


def test_a_made_column_leaves_the_name_of_a_rows_content_as_it_was() -> None:
    plain = {"name": "x", "type": "string"}
    made = {"name": "long", "type": "boolean", "expression": "LENGTH(x) > 3"}
    frame = pl.DataFrame({"x": ["a", "abcd"]})
    alone, both = (validate(frame, schema(*c, key_from="content")).valid for c in ((plain,), (plain, made)))
    assert both["id"].to_list() == alone["id"].to_list()
    assert both["long"].to_list() == [x == "abcd" for x in both["x"]]


LOGGED = st.tuples(
    st.sampled_from(["a", "b", " a", "", None]),
    st.sampled_from(["1", "-3", "x", None]),
    st.integers(-3, 33).map(lambda d: str(datetime(2024, 3, 1) + timedelta(days=d))) | st.sampled_from(["?", None]),
    st.sampled_from(["2", "-2", "13", "nan", None]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LOGGED, max_size=20), st.lists(st.integers(0, 20), max_size=3))
def test_no_event_ever_vanishes_and_none_counts_in_another_month(lines: list[Any], cuts: list[int]) -> None:
    frame = events(*lines)
    found = validate(frame, EVENTS, MONTH)
    bad = found.quarantined["_row"].n_unique()
    assert len(found.valid) + bad == len(frame)
    assert found.verdict.quarantined == bad
    assert found.valid["at"].is_between(datetime(2024, 3, 1), datetime(2024, 4, 1), closed="left").all()
    assert found.valid.select("id", "at").equals(found.valid.select("id", "at").sort("id", "at"))
    assert found.valid["amount"].equals((found.valid["n"] * found.valid["price"]).alias("amount"))
    ends = [0, *sorted(min(c, len(frame)) for c in cuts), len(frame)]
    again = validate([frame[a:b] for a, b in pairwise(ends)], EVENTS, MONTH)
    assert_frame_equal(again.valid, found.valid)
    assert_frame_equal(again.quarantined, found.quarantined)
    back = validate(found.valid.drop("taken_back", "amount"), EVENTS, MONTH)
    assert_frame_equal(back.valid, found.valid)
