from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn_assets.errors import QualityError
from churn_assets.quality import validate
from churn_assets_tests.quality.tables import answered, judged, raw, read, schema

NUMBER, INTEGER = {"type": "number"}, {"type": "integer"}

READ: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    (NUMBER, ["1", "-2.5", "+3", "1e3", ".5", "007"], [1.0, -2.5, 3.0, 1000.0, 0.5, 7.0]),
    (NUMBER, ["1.234", "5.678"], [1.234, 5.678]),
    (NUMBER, ["1,234.50", "1,234"], [1234.5, 1234.0]),
    (NUMBER, ["1.234,50", "1.234", "7"], [1234.5, 1234.0, 7.0]),
    (NUMBER, ["0,5", "1.234", "1,234"], [0.5, 1234.0, 1.234]),
    (NUMBER, ["1 234,50", "1\u00a0234", "1\u202f234\u202f567,5"], [1234.5, 1234.0, 1234567.5]),
    (NUMBER, ["1'234.50", "1’234"], [1234.5, 1234.0]),
    (NUMBER, ["0,123", "-1.234"], [0.123, -1234.0]),
    (NUMBER, ["1,234,567"], [1234567.0]),
    (NUMBER, ["29.85$", "$12", "7", "-$3.5", "$ -4"], [29.85, 12.0, 7.0, -3.5, -4.0]),
    (NUMBER, ["€ 12", "1,5 €"], [12.0, 1.5]),
    (NUMBER, ["\u221212.5", " 3 "], [-12.5, 3.0]),
    (NUMBER | {"unit": "%"}, ["12%", "12.5 %", "3"], [12.0, 12.5, 3.0]),
    (NUMBER | {"unit": "EUR"}, ["EUR 1,234.5", "1,234 EUR"], [1234.5, 1234.0]),
    (NUMBER | {"unit": "Rs."}, ["Rs.500", "Rs. 12.5"], [500.0, 12.5]),
    (NUMBER | {"decimal": ","}, ["1.234", "1,234", "5"], [1234.0, 1.234, 5.0]),
    (NUMBER | {"decimal": "."}, ["1.234", "1,234", "5"], [1.234, 1234.0, 5.0]),
    (NUMBER, ["1,5E+03", "2"], [1500.0, 2.0]),
    (INTEGER, ["007", "7.0", "1e3", "+5", "-0"], [7, 7, 1000, 5, 0]),
    (INTEGER, ["1 234", "1'234"], [1234, 1234]),
    (INTEGER, ["1.234.567", "1.234"], [1234567, 1234]),
    (INTEGER, ["9223372036854775807"], [2**63 - 1]),
    (INTEGER, [2.0, 2.0**53], [2, 2**53]),
    (NUMBER, [True, False], [1.0, 0.0]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "received", "values"), READ)
def test_numbers_are_read_as_written(column: dict[str, Any], received: list[Any], values: list[Any]) -> None:
    found = read(column, received)
    assert found.quarantined.is_empty(), found.quarantined
    assert found.valid["x"].to_list() == values


UNREAD: list[tuple[dict[str, Any], list[Any]]] = [
    (NUMBER, ["abc", "1,2,3", "12-", "(12)", "1 2", "--1", "0x10", "1_000", "$", "$1$", "-$-1", "1..2", ",", "12%"]),
    (NUMBER, ["12 34,5", "1234 567", "0 123", "1,23 4", "01,5"]),
    (NUMBER | {"unit": "$"}, ["€12", "12 EUR", "$$1"]),
    (NUMBER | {"decimal": "."}, ["1,5", "1.234,5"]),
    (NUMBER | {"decimal": ","}, ["1.5", "1,234.5"]),
    (INTEGER, ["1.5", "9223372036854775808", "1e300", "1e17", "1e-3", "x", "nan", "inf"]),
    (INTEGER, [1.5, 2.0**53 + 2, float("nan"), float("inf")]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "received"), UNREAD)
def test_what_is_no_number_is_quarantined_as_received(column: dict[str, Any], received: list[Any]) -> None:
    found = read(column, received)
    assert found.valid.is_empty(), found.valid
    assert found.quarantined["rule"].to_list() == ["type"] * len(received)
    if isinstance(received[0], str):
        assert found.quarantined["value"].to_list() == received


def test_an_unknown_number_says_what_was_expected() -> None:
    found = read(INTEGER | {"decimal": ",", "unit": "kWh"}, ["x"])
    assert found.quarantined["expected"].to_list() == ["a whole number with the decimal mark ',', with or without kWh"]


ASKED: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (NUMBER, ["7", "1,234", "5,678"], ["column x: 2 numbers such as '1,234' (b.csv, line 3)",
                                       "Set decimal: '.' or ','"]),
    (NUMBER, ["1.5", "1,5"], ["'1.5' (b.csv, line 2) has a decimal point, '1,5' (b.csv, line 3) a decimal comma",
                              "Set decimal: '.' or ','"]),
    (NUMBER, ["1,234.5", "1.234,5"], ["'1,234.5'", "'1.234,5'"]),
    (INTEGER, ["7.000"], ["1 number such as '7.000' (b.csv, line 2)"]),
    (INTEGER, ["7,000", "7.000"], ["2 numbers"]),
    (NUMBER, ["$1", "€2", "$3"], ["expected one currency, found '$1' (b.csv, line 2) and '€2' (b.csv, line 3)",
                                 "Set unit: '$' or '€'"]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "received", "told"), ASKED)
def test_what_has_two_readings_is_asked_for(column: dict[str, Any], received: list[str], told: list[str]) -> None:
    rows = len(received)
    frame = pl.DataFrame({
        "id": [f"c{i}" for i in range(rows)], "x": received, "_file": ["b.csv"] * rows, "_line": range(2, rows + 2),
    })  # fmt: skip
    with pytest.raises(QualityError) as error:
        validate(frame, schema({"name": "x", **column}))
    assert all(t in str(error.value) for t in told), str(error.value)
    with pytest.raises(QualityError, match=r"\(row \d\)"):
        validate(frame.drop("_file", "_line"), schema({"name": "x", **column}))


def test_a_declaration_answers_the_question() -> None:
    assert judged(NUMBER | {"decimal": "."}, ["1.5", "1,5", "1,234"]) == ([1.5, 1234.0], [(2, "type")])
    assert judged(NUMBER | {"unit": "$"}, ["$1", "€2"]) == ([1.0], [(2, "type")])


def test_a_text_that_stands_for_nothing_is_no_number_in_any_convention() -> None:
    found = read(NUMBER | {"nullable": True, "missing": ["1.234"]}, ["1.234", "0,5", "2.345"])
    assert found.valid["x"].to_list() == [None, 0.5, 2345.0]


def test_repairs_and_conventions_are_told() -> None:
    found = read(NUMBER, ["1.234,5 €", "0,5 €", " 7", "1.234"])
    assert found.repairs == {
        "x": {"blanks trimmed": 1, "decimal comma read": 2, "thousands marks dropped": 2, "unit dropped": 2}
    }
    assert found.conventions == {"x": "decimal ',', proven by 2 values; in €"}
    assert read(NUMBER, ["1.5", "1,234"]).conventions == {"x": "decimal '.', proven by values such as '1.5' (row 1)"}
    assert read(NUMBER | {"decimal": ","}, ["1,234"]).conventions == {"x": "decimal ',', declared"}
    assert read(NUMBER, ["1.5", "2"]).conventions == {}


def test_a_proof_in_the_last_row_is_taken_for_the_first() -> None:
    rows = ["1.234"] * 3000 + ["0,5"]
    found = read(NUMBER, rows)
    assert found.valid["x"].sum() == 3000 * 1234 + 0.5
    with pytest.raises(QualityError, match=r"'1.5' \(row 3001\) has a decimal point"):
        read(NUMBER, ["1,5"] * 3000 + ["1.5"])


def styled(number: int, decimals: int, style: tuple[str, str], unit: str) -> str:
    group, mark = style
    whole, rest = divmod(abs(number), 10**decimals)
    text = f"{whole:,}".replace(",", group) + (f"{mark}{rest:0{decimals}d}" if decimals else "")
    return ("-" if number < 0 else "") + text + unit


STYLES = [("", "."), ("", ","), (",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("'", "."), (" ", ".")]


@settings(max_examples=250, deadline=None)
@given(
    st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=6),
    st.integers(0, 4),
    st.sampled_from(STYLES),
    st.sampled_from(["", " €", "$"]),
    st.sampled_from(["number", "integer"]),
    st.booleans(),
)
@example([1234], 0, (".", ","), "", "integer", False)
@example([1234], 0, (",", "."), "", "number", False)
def test_a_number_in_any_style_is_read_back_or_asked_for(
    numbers: list[int], decimals: int, style: tuple[str, str], unit: str, kind: str, declared: bool
) -> None:
    texts = [styled(n, decimals, style, unit) for n in numbers]
    column = {"type": kind} | ({"decimal": style[1]} if declared else {})
    found = answered(raw(texts), schema({"name": "x", **column}))
    if isinstance(found, str):
        assert "Set decimal" in found and not declared
        return
    meant = [float(f"{n}e-{decimals}") for n in numbers]
    any_comma = any("," in t or t.count(".") > 1 for t in texts)
    kept = dict(zip(found.valid["id"], found.valid["x"], strict=True))
    for i, value in enumerate(meant):
        if f"c{i}" in kept:
            # Alone, 1.234 is in machine format, whatever was meant.
            plain = style[0] == "." and not declared and not unit and re.fullmatch(r"-?\d{1,3}\.\d{3}", texts[i])
            assert kept[f"c{i}"] == (float(texts[i]) if plain and kind == "number" and not any_comma else value), texts
        else:
            assert kind == "integer" and not value.is_integer(), (texts[i], "was refused")
