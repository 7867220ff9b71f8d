"""The rules that rows keep: those of single columns, of keys, and of several columns or months together.

Each function returns the failures it found, with the columns of ``FAILURES``; ``_at`` is the row's position.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.spec import ColumnSpec, RuleSpec, SchemaSpec
from churn_assets.spec.expressions import (
    BOUNDS,
    PREVIOUS,
    columns_of,
    compiled,
    dtype_of,
    problem_of,
    problem_of_column,
    types_of,
)

FAILURES = {"_at": pl.Int64, "rule": pl.String, "column": pl.String, "value": pl.String, "expected": pl.String}

_MANGLED = r"^[0-9](?:[.,][0-9]+)?[eE]\+[0-9]+$"


def failures(
    frame: pl.DataFrame, rule: str, column: str | None, value: pl.Expr | pl.Series | None, expected: str | pl.Series
) -> pl.DataFrame:
    """Failures of one rule, for the rows of ``frame``."""
    told = pl.lit(expected) if isinstance(expected, str) else expected
    return frame.select(
        "_at", pl.lit(rule).alias("rule"), pl.lit(column, pl.String).alias("column"),
        (pl.lit(None) if value is None else value).cast(pl.String).alias("value"), told.alias("expected"),
    )  # fmt: skip


def broken_columns(
    frame: pl.DataFrame, columns: Sequence[ColumnSpec], received: Mapping[str, pl.Series]
) -> pl.DataFrame:
    """Values that break a rule of their own column, checked by pandera on the eager frame.

    A lazy frame is checked by pandera for types only.

    Args:
        frame: ``_at`` and the columns in their types.
        columns: the columns to check.
        received: the columns as received, for the rows of ``frame``.

    Raises:
        QualityError: a rule can't be applied.
    """
    checks = {c.name: found for c in columns if (found := _checks(c))}
    if not checks or frame.is_empty():
        return pl.DataFrame(schema=FAILURES)
    pa = _pandera()
    schema = pa.DataFrameSchema({n: pa.Column(checks=c, nullable=True) for n, c in checks.items()})
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return _told(frame, errors.failure_cases, {c.name: expected_of(c) for c in columns}, received)
    return pl.DataFrame(schema=FAILURES)


def expected_of(column: ColumnSpec) -> dict[str, str]:
    """The column's rules by their ids, in words."""
    words = {
        "allowed": f"one of {', '.join(column.allowed)}" if column.allowed is not None else "",
        "pattern": f"the pattern {column.pattern}" if column.pattern is not None else "",
        "min": f"at least {_plain(column.min)}" if column.min is not None else "",
        "max": f"at most {_plain(column.max)}" if column.max is not None else "",
        "finite": "a finite number" if column.type == "number" else "",
    }
    return {rule: text for rule, text in words.items() if text}


def broken_keys(key: str, frame: pl.DataFrame, unreadable: pl.Series) -> pl.DataFrame:
    """A customer stands in a month once. Of equal rows the first is kept; rows that contradict each other all go.

    Args:
        key: the column that names the customer.
        frame: ``_at`` and all columns in their types.
        unreadable: positions of rows with a value that isn't of its type; such a row equals no other.
    """
    keys = frame.get_column(key)
    known = len(frame) - keys.null_count()
    if keys.n_unique() - (keys.null_count() > 0) == known:
        return pl.DataFrame(schema=FAILURES)
    twice = frame.filter(pl.col(key).is_not_null() & pl.col(key).is_duplicated())
    odd = pl.when(pl.col("_at").is_in(unreadable.implode())).then("_at").alias("_odd")
    content = pl.struct(*(c for c in frame.columns if c != "_at"), odd)
    contradicting = content.n_unique().over(key) > 1
    repeated = ~content.is_first_distinct()
    return pl.concat([
        failures(twice.filter(contradicting), "key", key, pl.col(key), "one row for a customer"),
        failures(twice.filter(~contradicting & repeated), "repeated", key, pl.col(key), "each row once"),
    ])  # fmt: skip


def mangled_keys(column: ColumnSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Customer numbers that a spreadsheet has shortened: many customers became one text."""
    if column.type not in ("string", "category"):
        return pl.DataFrame(schema=FAILURES)
    text = pl.col(column.name)
    # Two searches for a fixed text cost less than one for a pattern.
    likely = frame.filter(text.str.contains("E+", literal=True) | text.str.contains("e+", literal=True))
    return failures(
        likely.filter(text.str.contains(_MANGLED)), "mangled", column.name, text,
        "the whole number, not a spreadsheet's short form of it (format the column as text)",
    )  # fmt: skip


def outside_month(column: str, frame: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Events that happened in another month than the one they were delivered for, where they would count twice or not.

    Args:
        column: when each event happened.
        frame: ``_at`` and all columns in their types.
        month: the month of the delivery.
    """
    inside = (pl.col(column) >= month.first_day) & (pl.col(column) < (month + 1).first_day)
    return failures(frame.filter(~inside), "in_month", column, pl.col(column), f"a time in {month}")


def repeated_values(column: str, frame: pl.DataFrame, repeated: pl.Series) -> pl.DataFrame:
    """Values of a column that must be unique and stand in several rows, but for rows that repeat another one."""
    others = frame.filter(pl.col(column).is_not_null() & ~pl.col("_at").is_in(repeated.implode()))
    values = others.get_column(column)
    if values.n_unique() == len(values):
        return pl.DataFrame(schema=FAILURES)
    twice = others.filter(pl.col(column).is_duplicated())
    return failures(twice, "unique", column, pl.col(column), "a value that no other row has")


def broken_expressions(
    frame: pl.DataFrame, schema: SchemaSpec, month: Month | None, previous: pl.DataFrame | None
) -> pl.DataFrame:
    """Rows for which a rule's expression is false; where it is unknown, the row keeps it.

    Args:
        frame: ``_at`` and all columns in their types.
        schema: its rules.
        month: the rows' month; without one, the bounds of the month are unknown and earlier rows are taken as near.
        previous: the newest earlier row of each customer: the key, ``month`` and the columns that rules name.

    Raises:
        QualityError: an expression is none, or can't be evaluated.
    """
    for rule in schema.rules:
        if problem := problem_of(rule, schema):
            raise QualityError(f"rule {rule.id}: {problem}")
    found = [pl.DataFrame(schema=FAILURES)]
    for within in sorted({r.within if r.reads_previous else 0 for r in schema.rules}):
        rules = [r for r in schema.rules if (r.within if r.reads_previous else 0) == within]
        named = {r.id: columns_of(r, schema) for r in rules}
        earlier = sorted({name for _, names in named.values() for name in names})
        rows = _beside(frame, schema, month, previous, earlier, within)
        kept = _evaluated(rows, rules)
        for rule in rules:
            # Polars' format panics on a column that begins with an empty chunk, as filtering leaves behind.
            if not (bad := rows.filter(~kept.get_column(rule.id)).rechunk()).is_empty():
                names = [*named[rule.id][0], *(PREVIOUS + n for n in named[rule.id][1])]
                told = rule.description or rule.expression
                found.append(failures(bad, rule.id, ", ".join(names), _values(names), told))
    return pl.concat(found)


def derived(
    frame: pl.DataFrame, columns: Sequence[ColumnSpec], schema: SchemaSpec, month: Month | None
) -> pl.DataFrame:
    """The rows with the columns that expressions make of others, in the order in which they are declared.

    Args:
        frame: ``_at`` and all received columns in their types.
        columns: those to make.
        schema: all columns.
        month: the rows' month; without one, its bounds are unknown.

    Raises:
        QualityError: an expression is none, or fails on the rows' values.
    """
    rows = _with_bounds(frame, month)
    for column in columns:
        if problem := problem_of_column(column, schema):
            raise QualityError(f"column {column.name}: {problem}")
        try:
            made = compiled(column.expression or "").cast(dtype_of(column.type))
            rows = rows.with_columns(made.alias(column.name))
        except (ValueError, pl.exceptions.PolarsError) as error:
            raise QualityError(
                f"column {column.name}: expected an expression that can be made of any values, found that it fails on "
                f"this month's: {str(error).splitlines()[0]} Mend the expression, such as with TRY_CAST."
            ) from None
    return rows.select(*frame.columns, *(c.name for c in columns))


def _with_bounds(frame: pl.DataFrame, month: Month | None) -> pl.DataFrame:
    bounds = (month.first_day, (month + 1).first_day) if month else (None, None)
    return frame.with_columns(pl.lit(b, pl.Date).alias(n) for n, b in zip(BOUNDS, bounds, strict=True))


def _beside(
    frame: pl.DataFrame,
    schema: SchemaSpec,
    month: Month | None,
    previous: pl.DataFrame | None,
    names: list[str],
    within: int,
) -> pl.DataFrame:
    """The rows with the month's bounds and the columns of the customer's earlier row."""
    rows = _with_bounds(frame, month)
    if not names:
        return rows
    types = types_of(schema) | {"month": pl.Date()}
    if previous is None or schema.key not in previous.columns:
        return rows.with_columns(pl.lit(None, types[n]).alias(PREVIOUS + n) for n in names)
    known = previous
    if "month" in previous.columns:
        known = _near(previous.with_columns(pl.col("month").cast(pl.Date)), month, within)
    key = schema.key
    values = [
        (pl.col(n).cast(types[n], strict=False) if n in known.columns else pl.lit(None, types[n])).alias(PREVIOUS + n)
        for n in names
    ]
    earlier = known.select(pl.col(key).cast(types[key], strict=False).alias("_key"), *values).unique(
        "_key", keep="last", maintain_order=True
    )
    return rows.join(earlier, left_on=key, right_on="_key", how="left", maintain_order="left")


def _near(previous: pl.DataFrame, month: Month | None, within: int) -> pl.DataFrame:
    rows = previous.sort("month")
    if month is None:
        return rows
    return rows.filter(pl.col("month").is_between((month - within).first_day, month.first_day, closed="left"))


def _evaluated(rows: pl.DataFrame, rules: Sequence[RuleSpec]) -> pl.DataFrame:
    """One column a rule: false where a row breaks it."""
    try:
        return rows.select(compiled(r.expression).cast(pl.Boolean).fill_null(True).alias(r.id) for r in rules)
    except pl.exceptions.PolarsError as error:
        for rule in rules:
            try:
                rows.select(compiled(rule.expression).cast(pl.Boolean))
            except pl.exceptions.PolarsError as own:
                raise QualityError(
                    f"rule {rule.id}: expected an expression that holds for any values, found that it fails on this "
                    f"month's: {str(own).splitlines()[0]} Mend the expression, such as with TRY_CAST."
                ) from None
        raise QualityError(f"the rules can't be evaluated: {str(error).splitlines()[0]}") from None


def _values(names: Sequence[str]) -> pl.Expr:
    return pl.concat_str(
        [pl.format("{}={}", pl.lit(n), pl.col(n).cast(pl.String).fill_null("missing")) for n in names], separator=", "
    )


def _told(
    frame: pl.DataFrame,
    cases: pl.DataFrame,
    expected: dict[str, dict[str, str]],
    received: Mapping[str, pl.Series],
) -> pl.DataFrame:
    found = [pl.DataFrame(schema=FAILURES)]
    for (column, rule), part in cases.group_by("column", "check", maintain_order=True):
        if part.get_column("index").null_count():
            raise QualityError(
                f"column {column}: its rule {rule} can't be applied: {part.get_column('failure_case')[0]}"
            )
        rows = part.get_column("index").cast(pl.Int64).sort()
        at = frame.select(pl.col("_at").gather(rows))
        found.append(
            failures(at, str(rule), str(column), received[str(column)].gather(rows), expected[str(column)][str(rule)])
        )
    return pl.concat(found)


def _pandera() -> Any:
    """Pandera, without the settings for PySpark that importing it leaves in the environment.

    They would bind a Spark driver to the loopback address, and make Arrow drop the offsets of times.
    """
    before = dict(os.environ)
    import pandera.polars as pa

    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    return pa


def _checks(column: ColumnSpec) -> list[Any]:
    if not expected_of(column):
        return []
    pa = _pandera()
    checks: list[Any] = []
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed, error="allowed"))
    if column.pattern is not None:
        checks.append(pa.Check(_matching(column.pattern), error="pattern"))
    if column.min is not None:
        checks.append(pa.Check.ge(column.min, error="min"))
    if column.max is not None:
        checks.append(pa.Check.le(column.max, error="max"))
    if column.type == "number":
        # Pandera takes NaN for missing; here it is a number that isn't finite.
        checks.append(pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_finite()), error="finite"))
    return checks


def _matching(pattern: str) -> Callable[[Any], pl.LazyFrame]:
    whole = f"^(?:{pattern})$"
    try:
        pl.select(pl.lit("").str.contains(whole))
    except pl.exceptions.PolarsError:
        # Look-around and back-references are Python's alone; it then looks at each distinct text once.
        known = re.compile(pattern)

        def matches(texts: pl.Series) -> pl.Series:
            distinct = texts.drop_nulls().unique()
            good = [t for t in distinct if known.fullmatch(t)]
            return texts.is_in(pl.Series(good, dtype=pl.String).implode()) | texts.is_null()

        return lambda data: data.lazyframe.select(pl.col(data.key).map_batches(matches, return_dtype=pl.Boolean))
    return lambda data: data.lazyframe.select(pl.col(data.key).str.contains(whole))


def _plain(number: float) -> str:
    return f"{number:.15g}"
