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
    unit = re.escape(column.unit) if column.unit else r"\p{Sc}"
    layout = (
        rf"^(?P<sign>[+-]?)(?:(?P<before>{unit}){INNER_BLANK}*)?(?P<inner>[+-]?)"
        rf"(?P<body>[0-9.,].*?)(?:{INNER_BLANK}*(?P<after>{unit}))?$"
    )
    plain = texts.text.str.replace("^(\\p{Sc}?)\u2212", "${1}-")
    parts = plain.str.extract_groups(layout).struct.unnest()
    body = parts["body"]
    unit_of = parts["before"].fill_null("") + parts["after"].fill_null("")
    one_each = ((parts["sign"] == "") | (parts["inner"] == "")) & (parts["before"].is_null() | parts["after"].is_null())
    with_dot = (body.str.contains(_grammar(".")) & one_each).fill_null(False)
    with_comma = (body.str.contains(_grammar(",")) & one_each).fill_null(False)
    marked = body.str.contains("[.,]").fill_null(False)
    mark, convention = _decimal_mark(column, texts, (with_dot, with_comma), marked, where, dot)
    readable = with_dot if mark == "." else with_comma
    _require_one_currency(column, texts, unit_of, readable, where)
    digits = body.str.replace_all(rf"{INNER_BLANK}|['\u{{2019}}]|{_MARK[_OTHER[mark]]}", "").str.replace(
        mark, ".", literal=True
    )
    signed = (parts["sign"].fill_null("") + parts["inner"].fill_null("") + digits).set(~readable, None)
    values = whole_numbers(signed) if column.type == "integer" else signed.cast(pl.Float64, strict=False)
    if (readable & (unit_of != "")).any():
        sign = unit_of.filter(readable & (unit_of != ""))[0]
        convention = "; ".join(c for c in (convention, f"in {sign}") if c)
    return Read(
        values=values.alias(column.name),
        expected=pl.repeat(expected_number(column), len(body), dtype=pl.String, eager=True),
        repairs={
            "unit dropped": unit_of != "",
            "thousands marks dropped": body.str.contains(rf"{INNER_BLANK}|['\u{{2019}}]|{_MARK[_OTHER[mark]]}"),
            "decimal comma read": body.str.contains(",", literal=True) & (mark == ","),
            "minus sign read": texts.text.str.contains("\u2212", literal=True),
        },
        convention=convention,
    )


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
        rf"^(?:[0-9]+|{_WHOLE}?{decimal}[0-9]+|(?:{grouped})(?:{decimal}[0-9]+)?"
        rf"|{_WHOLE}(?:{decimal}[0-9]+)?[eE][+-]?[0-9]+)$"
    )


def _decimal_mark(
    column: ColumnSpec,
    texts: Open,
    readings: tuple[pl.Series, pl.Series],
    marked: pl.Series,
    where: Where,
    dot: tuple[int, str] | None,
) -> tuple[str, str]:
    if column.decimal:
        return column.decimal, f"decimal {column.decimal!r}, declared"
    with_dot, with_comma = readings
    dots, commas, either = with_dot & ~with_comma, with_comma & ~with_dot, with_dot & with_comma & marked
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
    column: ColumnSpec, texts: Open, unit_of: pl.Series, readable: pl.Series, where: Where
) -> None:
    signs = unit_of.filter(readable & (unit_of != "")).unique(maintain_order=True).to_list()
    if len(signs) > 1:
        found = " and ".join(example(texts.text, readable & (unit_of == s), texts.at, where) for s in signs[:2])
        raise ask(
            column.name,
            f"expected one currency, found {found}.",
            f"Set unit: {signs[0]!r} or {signs[1]!r} to the one that is meant; the others go to quarantine.",
        )
