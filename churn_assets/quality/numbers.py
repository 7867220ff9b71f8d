"""Numbers as people and spreadsheets write them: thousands, decimal commas, currency signs.

A text is read only where it can be read in one way. Which mark is the decimal one is a property of the column: it is
declared, or proven by values that make sense with one mark alone (``1.234,50``, ``0,5``). A minus behind a number and
brackets around it stay unread: ``12-`` may be a range cut off, ``(12)`` a footnote.
"""

from __future__ import annotations

import re

import polars as pl

from churn_assets.quality.conventions import INNER_BLANK, Open, Read, Where, ask, counted, example
from churn_assets.spec import ColumnSpec

EXACT = 2**53
"""Whole numbers up to this one are all distinct in 64-bit floats; a larger one may have been another."""

_MINUS = "\u2212"
_WHOLE, _LEADING = "(?:0|[1-9][0-9]*)", "[1-9][0-9]{0,2}"
_MARK = {".": r"\.", ",": ","}
_OTHER = {".": ",", ",": "."}
AMBIGUOUS_DOT = rf"^[+-]?{_LEADING}\.[0-9]{{3}}$"
"""Texts that are machine format, and would be thousands in a column that has decimal commas."""


def read_numbers(column: ColumnSpec, texts: Open, where: Where, dot: tuple[int, str] | None) -> Read:
    """Reads what isn't plain machine format.

    Args:
        column: what the column is declared to be.
        texts: what is to be read.
        where: names the place of a row.
        dot: position and text of a value, read already, that proves the decimal point.

    Raises:
        QualityError: the decimal mark is neither declared nor proven, two are proven, or currencies differ.
    """
    minus = texts.text.str.contains(_MINUS, literal=True)
    plain = texts.text.str.replace(_MINUS, "-", literal=True) if minus.any() else texts.text
    number, unit = _without_unit(plain, re.escape(column.unit) if column.unit else r"\p{Sc}")
    with_dot, with_comma = (number.str.contains(_grammar(mark)).fill_null(False) for mark in (".", ","))
    either = with_dot & with_comma & number.str.contains("[.,]").fill_null(False)
    kinds = (with_dot & ~with_comma, with_comma & ~with_dot, either)
    mark, convention = _decimal_mark(column, texts, kinds, where, dot)
    readable = with_dot if mark == "." else with_comma
    if (signs := unit.filter(readable).drop_nulls().unique(maintain_order=True)).len():
        _require_one_currency(column, texts, unit, readable, signs.to_list(), where)
        convention = "; ".join(c for c in (convention, f"in {signs[0]}") if c)
    grouping = rf"{INNER_BLANK}|['\u{{2019}}]|{_MARK[_OTHER[mark]]}"
    grouped = number.str.contains(grouping)
    digits = number.str.replace_all(grouping, "") if grouped.any() else number
    machine = digits.str.replace(mark, ".", literal=True).set(~readable, None)
    return Read(
        values=whole_numbers(machine) if column.type == "integer" else machine.cast(pl.Float64, strict=False),
        expected=pl.repeat(expected_number(column), len(number), dtype=pl.String, eager=True),
        repairs={
            "unit dropped": unit.is_not_null(),
            "thousands marks dropped": grouped,
            "decimal comma read": number.str.contains(",", literal=True) & (mark == ","),
            "minus sign read": minus,
        },
        convention=convention,
    )


def _without_unit(texts: pl.Series, unit: str) -> tuple[pl.Series, pl.Series]:
    """Signed numbers without the unit, and the unit; null for texts with two units."""
    rows = texts.str.contains(unit).arg_true()
    units = pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    if rows.is_empty():
        return texts, units
    layout = rf"^([+-]?)(?:({unit}){INNER_BLANK}*)?([+-]?)([0-9.,].*?)(?:{INNER_BLANK}*({unit}))?$"
    sign, before, inner, body, after = texts.gather(rows).str.extract_groups(layout).struct.unnest().get_columns()
    twice = before.is_not_null() & after.is_not_null()
    number = (sign + inner + body).set(twice, None)
    return texts.clone().scatter(rows, number), units.scatter(rows, before.fill_null(after))


def whole_numbers(texts: pl.Series) -> pl.Series:
    """Texts in machine format as 64-bit integers; null where that would change the value."""
    plain = texts.str.extract(r"^([+-]?[0-9]+)(?:\.0*)?$").cast(pl.Int64, strict=False)
    scientific = texts.set(~texts.str.contains("[eE]"), None).cast(pl.Float64, strict=False)
    return plain.fill_null(exact_integers(scientific))


def exact_integers(values: pl.Series, limit: int = EXACT) -> pl.Series:
    """Floats as integers; null where they aren't whole, or so large that neighbours look the same."""
    whole = ((values == values.floor()) & (values.abs() <= limit)).fill_null(False)
    return values.set(~whole, None).cast(pl.Int64, strict=False)


def proves_dot(texts: pl.Series) -> pl.Series:
    """Which texts, all in machine format, make sense with a decimal point alone."""
    return texts.str.contains(".", literal=True) & ~texts.str.contains(AMBIGUOUS_DOT)


def expected_number(column: ColumnSpec) -> str:
    """What should stand in the column, in words."""
    words = "a whole number" if column.type == "integer" else "a number"
    words += f" with the decimal mark {column.decimal!r}" if column.decimal else ""
    return words + (f", with or without {column.unit}" if column.unit else "")


def _grammar(mark: str) -> str:
    """What a number without sign and unit may be if ``mark`` is its decimal mark."""
    group, decimal = _MARK[_OTHER[mark]], _MARK[mark]
    grouped = "|".join(f"{_LEADING}(?:{g}[0-9]{{3}})+" for g in (INNER_BLANK, "['\\u{2019}]", group))
    return (
        rf"^[+-]?(?:[0-9]+|{_WHOLE}?{decimal}[0-9]+|(?:{grouped})(?:{decimal}[0-9]+)?"
        rf"|{_WHOLE}(?:{decimal}[0-9]+)?[eE][+-]?[0-9]+)$"
    )


def _decimal_mark(
    column: ColumnSpec,
    texts: Open,
    kinds: tuple[pl.Series, pl.Series, pl.Series],
    where: Where,
    dot: tuple[int, str] | None,
) -> tuple[str, str]:
    """The column's decimal mark, and why we say so.

    Args:
        column: what the column is declared to be.
        texts: what is to be read.
        kinds: which texts prove a dot, which a comma, and which make sense with either.
        where: names the place of a row.
        dot: a proof of the dot among other texts.
    """
    if column.decimal:
        return column.decimal, f"decimal {column.decimal!r}, declared"
    dots, commas, either = kinds
    proof = f"{dot[1]!r} ({where(dot[0])})" if dot else example(texts.text, dots, texts.at, where) if dots.any() else ""
    if proof and commas.any():
        raise ask(
            column.name,
            f"{proof} has a decimal point, {example(texts.text, commas, texts.at, where)} a decimal comma.",
            "Set decimal: '.' or ',' to the one that is meant; the others go to quarantine.",
        )
    if commas.any():
        return ",", f"decimal ',', proven by {counted(int(commas.sum()), 'value')}"
    if proof:
        return ".", f"decimal '.', proven by values such as {proof}" if either.any() else ""
    if column.type == "number":
        # What is in machine format needs no proof; a whole number with a point, and 1.234 €, may be either.
        either = either & ~texts.text.str.contains(AMBIGUOUS_DOT)
    if either.any():
        raise ask(
            column.name,
            f"{counted(int(either.sum()), 'number')} such as {example(texts.text, either, texts.at, where)} may have "
            "thousands or decimals behind the mark.",
            "Set decimal: '.' or ','.",
        )
    return ".", ""


def _require_one_currency(
    column: ColumnSpec, texts: Open, unit: pl.Series, readable: pl.Series, signs: list[str], where: Where
) -> None:
    if len(signs) > 1:
        found = " and ".join(
            example(texts.text, readable & (unit == sign).fill_null(False), texts.at, where) for sign in signs[:2]
        )
        raise ask(
            column.name,
            f"expected one currency, found {found}.",
            f"Set unit: {signs[0]!r} or {signs[1]!r} to the one that is meant; the others go to quarantine.",
        )
