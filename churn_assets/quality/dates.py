"""Dates as people and spreadsheets write them.

Year first is read at once. ``03/04/2024`` is read only if the column proves, with the same separator, which part is
the day; a format can be declared instead. A midnight behind a date is dropped without loss. A time of day isn't: such a
value is unreadable, unless a declared format has the time in it, which says that only its date is wanted.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.quality.conventions import Open, Read, Where, ask, counted, example
from churn_assets.spec import ColumnSpec

DAY_FIRST, MONTH_FIRST = "%d{0}%m{0}%Y", "%m{0}%d{0}%Y"
_MIDNIGHT = r"(?:[T ]00:00(?::00(?:[.,]0+)?)?(?:Z|\+00:?00)?|,? 12:00(?::00)? ?AM)?"
_YEAR_FIRST = rf"^([0-9]{{4}})(?:-([0-9]{{1,2}})-|/([0-9]{{1,2}})/)([0-9]{{1,2}}){_MIDNIGHT}$"
_YEAR_LAST = rf"^([0-9]{{1,2}}S[0-9]{{1,2}}S[0-9]{{4}}){_MIDNIGHT}$"
_SEPARATORS = {"/": "/", "-": "-", ".": r"\."}
_PLAUSIBLE_YEARS = (1800, 2199)


def plain_dates(texts: pl.Expr, format: str | None) -> pl.Expr:
    """Dates in the declared format, or else as YYYY-MM-DD; null for all other texts."""
    if format is None:
        return proper(texts.str.to_date("%Y-%m-%d", strict=False), texts.str.len_bytes() == 10)
    if takes_time(format):
        return proper(texts.str.to_datetime(format, strict=False, ambiguous="earliest").dt.date(), None)
    return proper(texts.str.to_date(format, strict=False), None)


def takes_time(format: str | None) -> bool:
    """Whether a declared format has a time of day in it, of which only the date is wanted."""
    return format is not None and any(part in format for part in ("%H", "%I", "%T", "%R", "%c", "%r", "%s", "%X"))


def proper(dates: pl.Expr, condition: pl.Expr | None) -> pl.Expr:
    """Dates with a year of four digits: a parser takes 24 for the year 24."""
    four = dates.dt.year().is_between(1000, 9999)
    return pl.when(four if condition is None else four & condition).then(dates)


def require_format(column: ColumnSpec) -> None:
    """Tries the declared format, if there is one.

    Raises:
        QualityError: no date can be read in it.
    """
    if column.format is None:
        return
    day = date(2024, 1, 31)
    try:
        text = pl.select(pl.lit(datetime(2024, 1, 31)).dt.strftime(column.format))
        read = text.select(plain_dates(pl.col("literal"), column.format)).item()
        found = f"{day} would be written {text.item()!r} and read as {read}"
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        read, found = None, str(error).splitlines()[0]
    if read != day:
        raise QualityError(
            f"column {column.name}: expected a format such as '%d/%m/%Y', found {column.format!r} ({found}). Mend "
            "format in the schema."
        )


def read_dates(column: ColumnSpec, texts: Open, where: Where) -> Read:
    """Reads what isn't in the plain form of the column.

    Raises:
        QualityError: which part is the day is neither declared nor proven, or both orders are.
    """
    text = texts.text
    if column.format and "%Y" not in column.format[:2] and "%F" not in column.format:
        values, convention = _year_first(text), f"{column.format}, declared"
    elif column.format:
        values, convention = pl.repeat(None, len(text), dtype=pl.Date, eager=True), f"{column.format}, declared"
    else:
        last, convention = _year_last(column, texts, where)
        values = _year_first(text).fill_null(_compact(text)).fill_null(last)
    return Read(
        values=values.alias(column.name),
        expected=expected_date(column, text),
        repairs={"midnight dropped": text.str.contains(":", literal=True)},
        convention=convention,
    )


def _year_first(text: pl.Series) -> pl.Series:
    parts = text.str.extract_groups(_YEAR_FIRST).struct.unnest()
    month = parts["2"].fill_null(parts["3"])
    joined = parts["1"] + "-" + month.str.zfill(2) + "-" + parts["4"].str.zfill(2)
    return _evaluated(proper(pl.lit(joined).str.to_date("%Y-%m-%d", strict=False), None))


def _compact(text: pl.Series) -> pl.Series:
    dates = pl.lit(text.str.extract("^([0-9]{8})$")).str.to_date("%Y%m%d", strict=False)
    return _evaluated(pl.when(dates.dt.year().is_between(*_PLAUSIBLE_YEARS)).then(dates))


def _year_last(column: ColumnSpec, texts: Open, where: Where) -> tuple[pl.Series, str]:
    values = pl.repeat(None, len(texts.text), dtype=pl.Date, eager=True)
    conventions: dict[str, str] = {}
    proofs: dict[str, pl.Series] = {}
    undecided: list[tuple[str, pl.Series]] = []
    for separator, escaped in _SEPARATORS.items():
        text = texts.text.str.extract(_YEAR_LAST.replace("S", escaped))
        if text.null_count() == len(text):
            continue
        day_first, month_first = (
            _evaluated(proper(pl.lit(text).str.to_date(f.format(separator), strict=False), None))
            for f in (DAY_FIRST, MONTH_FIRST)
        )
        days, months = day_first.is_not_null() & month_first.is_null(), month_first.is_not_null() & day_first.is_null()
        for format, proof in ((DAY_FIRST, days), (MONTH_FIRST, months)):
            if proof.any():
                proofs.setdefault(format, proof)
                conventions[separator] = f"{format.format(separator)}, proven by {counted(int(proof.sum()), 'value')}"
        differ = (day_first.is_not_null() & month_first.is_not_null() & (day_first != month_first)).fill_null(False)
        if differ.any() and not days.any() and not months.any():
            undecided.append((separator, differ))
        values = values.fill_null(month_first if months.any() else day_first)
    if len(proofs) > 1:
        first, second = (example(texts.text, proof, texts.at, where) for proof in proofs.values())
        raise ask(
            column.name,
            f"{first} has the {'day' if next(iter(proofs)) == DAY_FIRST else 'month'} first, {second} the other.",
            "Set format: '%d/%m/%Y' or '%m/%d/%Y' to the one that is meant; the others go to quarantine.",
        )
    for separator, differ in undecided:
        raise ask(
            column.name,
            f"{counted(int(differ.sum()), 'date')} such as {example(texts.text, differ, texts.at, where)} may be "
            "day/month or month/day.",
            f"Set format: '{DAY_FIRST.format(separator)}' or '{MONTH_FIRST.format(separator)}'.",
        )
    return values, "; ".join(conventions.values())


def expected_date(column: ColumnSpec, text: pl.Series) -> pl.Series:
    """What should stand in the column in place of each text, in words."""
    usual = column.format or "a date such as 2024-01-31"
    serial = text.str.contains(r"^[2-9][0-9]{4}(?:\.[0-9]+)?$")
    timed = text.str.contains(r"[0-9][T ][0-9]{1,2}:[0-9]{2}")
    return _evaluated(
        pl.when(pl.lit(serial)).then(pl.lit(f"{usual} (a spreadsheet's day number? export the column as dates)"))
        .when(pl.lit(timed)).then(pl.lit(f"{usual}, without a time of day (or a format that has it)"))
        .otherwise(pl.lit(usual))
    )  # fmt: skip


def _evaluated(expression: pl.Expr) -> pl.Series:
    return pl.select(expression).to_series()
