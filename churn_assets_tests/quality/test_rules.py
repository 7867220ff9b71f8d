from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.quality import validate
from churn_assets_tests.quality.tables import judged, raw, read, schema

RULES: list[tuple[dict[str, Any], list[Any], list[Any], list[tuple[int, str]]]] = [
    ({"type": "number", "min": 0}, ["-0.1", "0", "2.5"], [0.0, 2.5], [(1, "min")]),
    ({"type": "number", "max": 10}, ["10", "10.1"], [10.0], [(2, "max")]),
    ({"type": "integer", "min": 1, "max": 3}, ["0", "1", "3", "4"], [1, 3], [(1, "min"), (4, "max")]),
    ({"type": "category", "allowed": ["a", "b"]}, ["a", "A", "c"], ["a", "a"], [(3, "allowed")]),
    ({"type": "category", "allowed": ["a", "A"]}, ["a", "A", "á"], ["a", "A"], [(3, "allowed")]),
    ({"type": "category", "allowed": ["ab", "Ab"]}, ["ab", "AB"], ["ab"], [(2, "allowed")]),
    ({"type": "string", "pattern": r"C\d+"}, ["C1", "C1x", "xC1", "C"], ["C1"], [(n, "pattern") for n in (2, 3, 4)]),
    ({"type": "string", "pattern": "a|bc"}, ["a", "bc", "ac", "abc"], ["a", "bc"], [(3, "pattern"), (4, "pattern")]),
    ({"type": "string", "pattern": r"(?!X)\w(\d)\1"}, ["a11", "X11", "a12"], ["a11"], [(2, "pattern"), (3, "pattern")]),
    ({"type": "string"}, ["any", "1", " b\u200b\ufeff", "\u00a0c"], ["any", "1", "b", "c"], []),
    ({"type": "string", "unique": True}, ["a", "b", "a", "c"], ["b", "c"], [(1, "unique"), (3, "unique")]),
    ({"type": "number", "unique": True, "nullable": True}, ["1", "1.0", "", ""], [None, None],
     [(1, "unique"), (2, "unique")]),
    ({"type": "number"}, ["1", None, ""], [1.0], [(2, "required"), (3, "required")]),
    ({"type": "number", "nullable": True}, ["1", None, " \u00a0"], [1.0, None, None], []),
    ({"type": "number", "nullable": True, "min": 0}, [None, "-1"], [None], [(2, "min")]),
    ({"type": "number"}, ["NaN", "inf", "-inf", "1e3"], [1000.0], [(1, "finite"), (2, "finite"), (3, "finite")]),
    ({"type": "number"}, [float("nan"), float("inf"), 1.0], [1.0], [(1, "finite"), (2, "finite")]),
    ({"type": "number", "nullable": True}, [float("nan"), None, 1.0], [None, 1.0], [(1, "finite")]),
    ({"type": "boolean"}, ["Yes", "no", "TRUE", "f", "1", "0", "maybe"], [True, False] * 3, [(7, "type")]),
    ({"type": "boolean"}, ["on", "OFF", " yES ", "0.0", "1.0", "n"], [True, False] * 2 + [True, False], []),
    ({"type": "boolean", "true": ["Oui"], "false": ["Non"]}, ["oui", "NON", "yes"], [True, False, True], []),
    ({"type": "boolean"}, [0, 1, 2], [False, True], [(3, "type")]),
    ({"type": "boolean"}, [0.0, 1.0, float("nan")], [False, True], [(3, "type")]),
    ({"type": "boolean"}, [True, False], [True, False], []),
    ({"type": "number"}, [date(2024, 1, 1)], [], [(1, "type")]),
    ({"type": "boolean"}, [date(2024, 1, 1)], [], [(1, "type")]),
    ({"type": "number"}, [[1.0]], [], [(1, "type")]),
    ({"type": "string"}, [{"a": 1}], [], [(1, "type")]),
    ({"type": "string"}, [b"\xff"], [], [(1, "type")]),
    ({"type": "string"}, [7, 8], ["7", "8"], []),
    ({"type": "number", "nullable": True, "missing": ["N/A", " - "]}, ["N/A", " - ", "n/a"], [None, None],
     [(3, "type")]),
    ({"type": "integer", "nullable": True, "missing": ["-99"]}, ["-99", " -99", "-99.0", "1"],
     [None, None, None, 1], []),
    ({"type": "integer", "nullable": True, "missing": ["-99"]}, [-99, 1], [None, 1], []),
    ({"type": "boolean", "nullable": True, "missing": ["n"]}, ["n", "No"], [None, False], []),
]  # fmt: skip


@pytest.mark.parametrize(("column", "values", "valid", "broken"), RULES)
def test_each_rule_divides_the_rows(
    column: dict[str, Any], values: list[Any], valid: list[Any], broken: list[tuple[int, str]]
) -> None:
    assert judged(column, values) == (valid, broken)


def test_rules_are_told_in_words() -> None:
    columns = {
        "allowed": {"type": "category", "allowed": ["a", "b"]}, "pattern": {"type": "string", "pattern": "z+"},
        "min": {"type": "number", "min": 0.5}, "max": {"type": "integer", "max": -1},
        "finite": {"type": "number"}, "required": {"type": "string"}, "type": {"type": "boolean"},
    }  # fmt: skip
    values = ["q", "q", "0", "7", "inf", "", "?"]
    frame = pl.DataFrame({"id": ["c"], **dict(zip(columns, ([v] for v in values), strict=True))})
    found = validate(frame, schema(*({"name": n, **c} for n, c in columns.items()), max_error_rate=1))
    assert found.quarantined["rule"].to_list() == found.quarantined["column"].to_list() == sorted(columns)
    assert dict(found.quarantined.select("rule", "expected").rows()) == {
        "allowed": "one of a, b", "pattern": "the pattern z+", "min": "at least 0.5", "max": "at most -1",
        "finite": "a finite number", "required": "a value", "type": "yes or no",
    }  # fmt: skip
    assert dict(found.quarantined.select("rule", "value").rows()) == dict(
        zip(columns, [*values[:5], None, "?"], strict=True)
    )


def test_a_case_is_mended_where_one_allowed_value_is_meant() -> None:
    found = read({"type": "category", "allowed": ["Yes", "No"]}, ["YES ", "no", "Yes", "nope"])
    assert found.valid["x"].to_list() == ["Yes", "No", "Yes"]
    assert found.repairs == {"x": {"blanks trimmed": 1, "case of an allowed value": 2}}


def test_of_equal_rows_the_first_is_kept_and_contradicting_ones_all_go() -> None:
    frame = pl.DataFrame({"id": ["a", "a ", "b", "b", "c", "b"], "x": ["1", "1", "1", "2", "3", "1"]})
    found = validate(frame, schema({"name": "x", "type": "integer"}))
    assert found.valid.rows() == [("a", 1), ("c", 3)]
    assert found.quarantined.select("_row", "customer", "rule", "column", "value", "expected").rows() == [
        (2, "a", "repeated", "id", "a", "each row once"),
        *((n, "b", "key", "id", "b", "one row for a customer") for n in (3, 4, 6)),
    ]


def test_a_repeated_row_does_not_make_the_first_one_break_unique() -> None:
    frame = pl.DataFrame({"id": ["a", "a", "b"], "x": ["1", "1", "2"]})
    found = validate(frame, schema({"name": "x", "type": "integer", "unique": True}))
    assert found.valid.rows() == [("a", 1), ("b", 2)]


def test_a_row_that_cannot_be_read_equals_no_other() -> None:
    frame = pl.DataFrame({"id": ["a", "a"], "x": ["oops", None]})
    found = validate(frame, schema({"name": "x", "type": "integer", "nullable": True}))
    assert found.quarantined.select("_row", "rule").rows() == [(1, "key"), (1, "type"), (2, "key")]
    content = SCHEMA_OF_CONTENT
    found = validate(pl.DataFrame({"x": ["oops", None, "oops"]}), content)
    assert found.quarantined.select("_row", "rule").rows() == [(1, "type"), (3, "type")]
    assert found.valid["x"].to_list() == [None]


SCHEMA_OF_CONTENT = schema({"name": "x", "type": "integer", "nullable": True}, key_from="content", max_error_rate=1)


def test_columns_that_are_not_used_do_not_make_rows_contradict_each_other() -> None:
    frame = pl.DataFrame({"id": ["a", "a"], "x": ["1", "1"], "note": ["p", "q"]})
    columns = ({"name": "x", "type": "integer"}, {"name": "note", "type": "string", "role": "ignored"})
    found = validate(frame, schema(*columns))
    assert found.valid.rows() == [("a", 1)]
    assert found.undeclared == ()


@pytest.mark.parametrize("declared", [[], [{"name": "id", "type": "string", "nullable": True, "optional": True}]])
def test_a_row_without_its_customer_is_quarantined(declared: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame({"id": ["a", None, "  ", None], "x": ["1", "2", "3", "2"]})
    found = validate(frame, schema(*declared, {"name": "x", "type": "integer"}))
    assert found.valid.rows() == [("a", 1)]
    assert found.quarantined["rule"].to_list() == ["required"] * 3
    assert found.quarantined["customer"].to_list() == [None, None, None]


def test_a_key_that_a_spreadsheet_has_shortened_is_quarantined() -> None:
    keys = ["1.23E+11", "1,23e+11", "5E+10", "00123", "E+1", "1.23E+11x", "12E+"]
    found = validate(pl.DataFrame({"id": keys, "x": ["1"] * 7}), schema({"name": "x", "type": "integer"}))
    assert found.quarantined.select("customer", "rule").rows() == [(k, "mangled") for k in keys[:3]]
    assert sorted(found.valid["id"]) == sorted(keys[3:])


def test_a_key_of_another_type_is_told_as_received_where_it_is_not_of_it() -> None:
    columns = ({"name": "id", "type": "integer"}, {"name": "x", "type": "integer", "max": 5})
    found = validate(pl.DataFrame({"id": ["007", " c7", "8"], "x": ["9", "1", "1"]}), schema(*columns))
    assert found.quarantined.select("customer", "rule").rows() == [("7", "max"), (" c7", "type")]
    assert found.valid["id"].to_list() == [8]


PREVIOUS = pl.DataFrame({
    "id": ["c0", "c1", "c2", "c3"],
    "month": [date(2024, 2, 1), date(2024, 2, 1), date(2024, 1, 1), date(2024, 3, 1)],
    "x": [5, 1, 9, 9],
})  # fmt: skip
GROWS = {"id": "grows", "expression": "x >= previous.x", "description": "tenure never shrinks"}


def test_a_row_is_compared_with_the_customers_earlier_one() -> None:
    rules = schema({"name": "x", "type": "integer"}, rules=[GROWS], max_error_rate=1)
    found = validate(raw(["3", "3", "3", "3", "3"]), rules, Month(2024, 3), PREVIOUS)
    assert found.quarantined.select("customer", "rule", "column", "value", "expected").rows() == [
        ("c0", "grows", "x, previous.x", "x=3, previous.x=5", "tenure never shrinks")
    ], "an older row, one of this month and none at all are unknown"
    wider = schema({"name": "x", "type": "integer"}, rules=[{**GROWS, "within": 2}], max_error_rate=1)
    assert validate(raw(["3"] * 3), wider, Month(2024, 3), PREVIOUS).quarantined["customer"].to_list() == ["c0", "c2"]
    assert validate(raw(["3"]), rules, Month(2024, 3)).quarantined.is_empty()
    assert validate(raw(["3"]), rules, Month(2024, 3), PREVIOUS.drop("x")).quarantined.is_empty()


def test_rules_of_different_reach_stand_beside_each_other() -> None:
    rules = [GROWS, {"id": "far", "expression": "x >= previous.x", "within": 2}, {"id": "own", "expression": "x < 3"}]
    found = validate(raw(["3"] * 3), schema({"name": "x", "type": "integer"}, rules=rules), Month(2024, 3), PREVIOUS)
    assert found.quarantined.select("customer", "rule").rows() == [
        ("c0", "own"), ("c0", "far"), ("c0", "grows"), ("c1", "own"), ("c2", "own"), ("c2", "far"),
    ]  # fmt: skip


def test_an_earlier_row_that_stands_twice_multiplies_nothing() -> None:
    rules = schema({"name": "x", "type": "integer"}, rules=[GROWS])
    twice = pl.concat([PREVIOUS, PREVIOUS])
    assert len(validate(raw(["3"] * 4), rules, Month(2024, 3), twice).quarantined) == 1


@pytest.mark.parametrize(
    ("expression", "values", "broken"),
    [
        ("x > 1", ["1", "2", ""], [1]),
        ("x > 1 OR x IS NULL", ["1", ""], [1]),
        ("x IS NOT NULL", ["1", ""], [2]),
        ("since < month_end", ["1", "2"], [2]),
        ("since >= month_start", ["1", "2"], [1]),
    ],
)
def test_a_row_breaks_a_rule_that_is_false_and_keeps_one_that_is_unknown(
    expression: str, values: list[str], broken: list[int]
) -> None:
    frame = raw(values).with_columns(since=pl.Series(["2024-02-01", "2024-04-01", None][: len(values)]))
    columns = ({"name": "x", "type": "integer", "nullable": True}, {"name": "since", "type": "date", "nullable": True})
    rules = schema(*columns, rules=[{"id": "rule", "expression": expression}])
    assert validate(frame, rules, Month(2024, 3)).quarantined["_row"].to_list() == broken


@pytest.mark.parametrize("expression", ["x >", "y > 1", "previous.y > 1", "x"])
def test_a_rule_that_is_none_is_named(expression: str) -> None:
    rules = schema({"name": "x", "type": "string"}, rules=[{"id": "odd", "expression": expression}])
    with pytest.raises(QualityError, match="rule odd: "):
        validate(raw(["7"]), rules)


def test_a_rule_that_fails_on_a_value_is_named() -> None:
    rules = schema({"name": "x", "type": "string"}, rules=[{"id": "cast", "expression": "CAST(x AS INT) > 1"}])
    with pytest.raises(QualityError, match="rule cast: expected an expression that holds for any values"):
        validate(raw(["seven"]), rules)
    assert validate(raw(["7"]), rules).quarantined.is_empty()


def test_checking_leaves_the_environment_as_it_was() -> None:
    code = (
        "import os; import polars as pl\n"
        "from churn_assets.spec import ColumnSpec; from churn_assets.quality.rules import broken_columns\n"
        "before = dict(os.environ)\n"
        "frame = pl.DataFrame({'_at': [0], 'n': [1]})\n"
        "broken_columns(frame, [ColumnSpec(name='n', type='integer', min=2)], {'n': frame['n']})\n"
        "print(dict(os.environ) == before)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True"


def test_rows_of_a_later_piece_alone_may_break_a_rule_between_columns() -> None:
    spec = schema({"name": "x", "type": "integer"}, max_error_rate=1, rules=[{"id": "small", "expression": "x < 5"}])
    later = raw(["7", "8", "3"]).with_columns(id=pl.Series(["d", "e", "f"]))
    found = validate([raw(["1", "2"]), later], spec)
    assert found.quarantined.select("_row", "rule", "value").rows() == [(3, "small", "x=7"), (4, "small", "x=8")]
