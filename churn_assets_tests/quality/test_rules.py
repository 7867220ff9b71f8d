from __future__ import annotations

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import QualityError
from churn_assets.quality import validate
from churn_assets.spec import SchemaSpec


def schema(*columns: dict[str, Any], **more: Any) -> SchemaSpec:
    return SchemaSpec.model_validate({"key": "id", "columns": list(columns), **more})


def raw(values: list[Any], name: str = "x", **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"c{i}" for i in range(len(values))], name: values, **more}, strict=False)


def judged(column: dict[str, Any], values: list[Any]) -> tuple[list[Any], list[tuple[int, str]]]:
    """The valid values, and (row, rule) of the others."""
    found = validate(raw(values), schema({"name": "x", **column}))
    return found.valid["x"].to_list(), found.quarantined.select("_row", "rule").rows()


RULES: list[tuple[dict[str, Any], list[Any], list[Any], list[tuple[int, str]]]] = [
    ({"type": "number", "min": 0}, ["-0.1", "0", "2.5"], [0.0, 2.5], [(1, "min 0")]),
    ({"type": "number", "max": 10}, ["10", "10.1"], [10.0], [(2, "max 10")]),
    ({"type": "integer", "min": 1, "max": 3}, ["0", "1", "3", "4"], [1, 3], [(1, "min 1"), (4, "max 3")]),
    ({"type": "category", "allowed": ["a", "b"]}, ["a", "A", "b"], ["a", "b"], [(2, "allowed a, b")]),
    ({"type": "string"}, ["any", "1"], ["any", "1"], []),
    ({"type": "number"}, ["1", None, ""], [1.0], [(2, "required"), (3, "required")]),
    ({"type": "number", "nullable": True}, ["1", None, " "], [1.0, None, None], []),
    ({"type": "number", "nullable": True, "min": 0}, [None, "-1"], [None], [(2, "min 0")]),
    ({"type": "number"}, ["NaN", "inf", "-inf", "1e3"], [1000.0], [(1, "finite"), (2, "finite"), (3, "finite")]),
    ({"type": "number"}, [float("nan"), float("inf"), 1.0], [1.0], [(1, "finite"), (2, "finite")]),
    ({"type": "number", "nullable": True}, [float("nan"), None, 1.0], [None, 1.0], [(1, "finite")]),
    ({"type": "number"}, ["abc", "1,5", "2"], [2.0], [(1, "type number"), (2, "type number")]),
    ({"type": "integer"}, ["1.5", "7", "x"], [7], [(1, "type integer"), (3, "type integer")]),
    ({"type": "integer"}, [1.5, 2.0, float("nan"), float("inf")], [2], [(n, "type integer") for n in (1, 3, 4)]),
    ({"type": "boolean"}, ["Yes", "no", "TRUE", "f", "1", "0", "maybe"], [True, False] * 3, [(7, "type boolean")]),
    ({"type": "boolean"}, [0, 1, 2], [False, True], [(3, "type boolean")]),
    ({"type": "boolean"}, [0.0, 1.0, float("nan")], [False, True], [(3, "type boolean")]),
    ({"type": "boolean"}, [True, False], [True, False], []),
    ({"type": "date"}, ["2024-02-29", "2023-02-29", "29.02.2024"], [date(2024, 2, 29)],
     [(2, "type date"), (3, "type date")]),
    ({"type": "date"}, [datetime(2024, 1, 5, 7)], [date(2024, 1, 5)], []),
    ({"type": "date"}, [20240105], [], [(1, "type date")]),
    ({"type": "string"}, [7, 8], ["7", "8"], []),
    ({"type": "number", "nullable": True, "missing": ["N/A", "-"]}, ["N/A", " - ", "n/a"], [None, None],
     [(3, "type number")]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "values", "valid", "broken"), RULES)
def test_each_rule_divides_the_rows(
    column: dict[str, Any], values: list[Any], valid: list[Any], broken: list[tuple[int, str]]
) -> None:
    assert judged(column, values) == (valid, broken)


def test_a_quarantined_row_says_who_where_and_why() -> None:
    frame = raw(["1", "-2", "x"], _row=[5, 6, 7], _file=["a.csv", "a.csv", "b.csv"])
    found = validate(frame, schema({"name": "x", "type": "number", "min": 0}))
    assert found.quarantined.rows(named=True) == [
        {"customer": "c1", "_row": 6, "_file": "a.csv", "rule": "min 0", "column": "x", "value": "-2.0"},
        {"customer": "c2", "_row": 7, "_file": "b.csv", "rule": "type number", "column": "x", "value": "x"},
    ]
    assert found.valid.columns == ["id", "x"]
    assert found.valid["id"].to_list() == ["c0"]


def test_a_row_that_breaks_two_rules_is_named_twice_and_counted_once() -> None:
    columns = ({"name": "x", "type": "number"}, {"name": "y", "type": "integer", "max": 1})
    found = validate(raw(["bad", "1"], y=["9", "1"]), schema(*columns, max_error_rate=1))
    assert found.quarantined.select("_row", "column").rows() == [(1, "x"), (1, "y")]
    assert (found.verdict.quarantined, found.verdict.rows, found.verdict.share) == (1, 2, 0.5)


def test_a_declared_repair_is_made_and_counted() -> None:
    column = {"name": "x", "type": "integer", "fill": 0, "missing": ["none"]}
    found = validate(raw([" 1 ", "", "none", None, "2"]), schema(column))
    assert found.valid["x"].to_list() == [1, 0, 0, 0, 2]
    assert found.repairs == {"x: missing -> 0": 3, "x: blanks trimmed": 1}
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
    ],
)
def test_a_fill_is_taken_in_the_columns_type(kind: str, fill: Any, given: list[Any], expected: list[Any]) -> None:
    found = validate(raw(given), schema({"name": "x", "type": kind, "fill": fill}))
    assert found.valid["x"].to_list() == expected
    assert found.repairs == {f"x: missing -> {fill}": 1}


def test_without_a_declared_fill_nothing_is_repaired() -> None:
    found = validate(raw(["1", None]), schema({"name": "x", "type": "integer"}))
    assert found.repairs == {}
    assert found.verdict.quarantined == 1


def test_of_equal_rows_the_first_is_kept_and_contradicting_ones_all_go() -> None:
    frame = pl.DataFrame({"id": ["a", "a", "b", "b", "c", "b"], "x": ["1", "1", "1", "2", "3", "1"]})
    found = validate(frame, schema({"name": "x", "type": "integer"}))
    assert found.valid.rows() == [("a", 1), ("c", 3)]
    assert found.quarantined.select("_row", "customer", "rule", "column").rows() == [
        (2, "a", "row stands once", "id"),
        (3, "b", "key stands once", "id"),
        (4, "b", "key stands once", "id"),
        (6, "b", "key stands once", "id"),
    ]


def test_columns_that_are_not_used_do_not_make_rows_contradict_each_other() -> None:
    frame = pl.DataFrame({"id": ["a", "a"], "x": ["1", "1"], "note": ["p", "q"]})
    columns = ({"name": "x", "type": "integer"}, {"name": "note", "type": "string", "role": "ignored"})
    found = validate(frame, schema(*columns))
    assert found.valid.rows() == [("a", 1)]
    assert found.undeclared == ()


@pytest.mark.parametrize("declared", [[], [{"name": "id", "type": "string", "nullable": True}]])
def test_a_row_without_its_customer_is_quarantined(declared: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame({"id": ["a", None, "  ", None], "x": ["1", "2", "3", "2"]})
    found = validate(frame, schema(*declared, {"name": "x", "type": "integer"}))
    assert found.valid.rows() == [("a", 1)]
    assert found.quarantined["rule"].to_list() == ["required"] * 3
    assert found.quarantined["customer"].to_list() == [None, "  ", None]


def test_missing_columns_are_named_with_the_nearest() -> None:
    with pytest.raises(QualityError) as error:
        validate(raw(["1"], name="monthly_chrg"), schema({"name": "monthly_charge", "type": "number"}))
    assert "expected the columns 'monthly_charge', found none so named." in str(error.value)
    assert "Did you mean 'monthly_chrg'?" in str(error.value)
    with pytest.raises(QualityError, match="'id'"):
        validate(pl.DataFrame({"customer": ["a"], "x": ["1"]}), schema({"name": "x", "type": "integer"}))


def test_undeclared_columns_are_reported_and_not_passed_on() -> None:
    columns = ({"name": "x", "type": "integer"}, {"name": "old", "type": "integer", "role": "ignored"})
    found = validate(raw(["1"], old=["x"], new=["y"]), schema(*columns))
    assert found.undeclared == ("new",)
    assert found.valid.columns == ["id", "x"]
    assert validate(raw(["1"]), schema(*columns)).valid.columns == ["id", "x"], "an ignored column may be absent"


@pytest.mark.parametrize(("bad", "passed"), [(0, True), (5, True), (6, False)])
def test_the_share_on_the_limit_passes(bad: int, passed: bool) -> None:
    found = validate(
        raw(["x"] * bad + ["1"] * (100 - bad)), schema({"name": "x", "type": "integer"}, max_error_rate=0.05)
    )
    assert found.verdict.passed == passed
    assert (found.verdict.rows, found.verdict.quarantined, found.verdict.allowed_share) == (100, bad, 0.05)
    if bad:
        assert f"{bad} of 100 rows ({bad}.00%) are quarantined, at most 5.00%" in found.verdict.reason
        assert f"x breaks 'type integer' ({bad} rows)" in found.verdict.reason
    else:
        assert found.verdict.reason == "All 100 rows keep every rule."


def test_a_delivery_of_a_header_alone_is_valid() -> None:
    frame = pl.DataFrame(schema={"id": pl.String, "x": pl.String})
    found = validate(frame, schema({"name": "x", "type": "integer"}))
    assert found.valid.schema == {"id": pl.String, "x": pl.Int64}
    assert found.quarantined.is_empty()
    assert found.verdict.passed
    assert found.verdict.share == 0


MESSY = schema(
    {"name": "n", "type": "integer", "min": 0, "max": 9},
    {"name": "plan", "type": "category", "allowed": ["a", "b"], "nullable": True},
    {"name": "flag", "type": "boolean", "role": "churned"},
    {"name": "charge", "type": "number", "fill": 0},
)
messy = st.lists(
    st.tuples(
        st.sampled_from(["c1", "c2", "c3", "c4", " c1", "", None]),
        st.sampled_from(["1", "2", "-1", "1.5", "x", None]),
        st.sampled_from(["a", "b", "c", None]),
        st.sampled_from(["yes", "no", "?", None]),
        st.sampled_from(["1", "nan", "z", None]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(messy)
def test_no_row_ever_vanishes(lines: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(lines, schema=dict.fromkeys(("id", "n", "plan", "flag", "charge"), pl.String), orient="row")
    found = validate(frame, MESSY)
    assert len(found.valid) + found.quarantined["_row"].n_unique() == len(frame)
    assert found.verdict.quarantined == found.quarantined["_row"].n_unique()
    assert found.quarantined.select("_row", "rule", "column").is_duplicated().sum() == 0
    assert found.valid["id"].is_duplicated().sum() == 0
    assert found.valid["id"].is_sorted()
    assert found.valid["n"].is_between(0, 9).all()
    assert found.valid["charge"].is_finite().all()
    assert found.valid.null_count().select(pl.exclude("plan")).sum_horizontal().sum() == 0
    kept = set(range(1, len(frame) + 1)) - set(found.quarantined["_row"])
    assert sorted((lines[i - 1][0] or "").strip() for i in kept) == found.valid["id"].to_list()


@settings(max_examples=30, deadline=None)
@given(messy)
def test_valid_rows_stay_valid(lines: list[tuple[Any, ...]]) -> None:
    frame = pl.DataFrame(lines, schema=dict.fromkeys(("id", "n", "plan", "flag", "charge"), pl.String), orient="row")
    valid = validate(frame, MESSY).valid
    again = validate(valid, MESSY)
    assert again.valid.equals(valid)
    assert again.quarantined.is_empty()
