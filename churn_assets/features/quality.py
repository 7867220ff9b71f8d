"""Whether a month's features are as in the month before: missing as often, as various, and distributed alike.

Everything is computed on columns. What is compared are shares of rows, and a finding takes two things: more than chance
does with so many rows, and more than is of any account, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import asin, isfinite, log, sqrt

import numpy as np
import polars as pl

from churn_assets.features.profile import known_values
from churn_assets.learning.matrix import kind_of
from churn_assets.learning.reference import reference_of, shares
from churn_assets.monitoring.drift import psi
from churn_assets.quality.expectations import SIGMAS, Expectation

OF_ACCOUNT = 0.2
"""Difference of two shares that is of account, as Cohen's h: 0 to 1%, 5 to 10%, 50 to 60% (1988: a small effect).

Between months it is .04 at the most in the simulated base, and .16 in a real shop's after Christmas.
"""

CHANCE = 1 / 30_000
"""Probability below which something isn't chance; that of ``SIGMAS`` standard deviations."""

EXPECTED = 10
"""Rows of a bin below which its index is more than chi-squared by chance; Cochran (1954) asks for five."""

BINS = 10

TOLD, SHOWN = 5, 10
"""Features that a sentence names, and that are shown in detail."""


def null_shares(now: pl.DataFrame, before: pl.DataFrame | None, features: Sequence[str]) -> Expectation:
    """Whether every feature is missing about as often as in the month before.

    Shares are compared by Cohen's h, the difference of their arcsines, whose deviation depends on the numbers of rows
    alone; counts are moved inwards as Anscombe does (1948, Biometrika 35), so that few rows don't cry wolf.

    Args:
        now: the month's features.
        before: those of the month before, if there were any.
        features: those that may be compared: their window is filled in both months.
    """
    if before is None or not (names := _in_both(now, before, features)):
        return _nothing_to_compare("feature_nulls", before)
    deviation = sqrt(1 / len(now) + 1 / len(before))
    lines = []
    for name in names:
        here, there = (len(frame) - len(known_values(frame[name])) for frame in (now, before))
        distance = _arcsine(here, len(now)) - _arcsine(there, len(before))
        lines.append((name, here / len(now), there / len(before), distance))
    table = table_of(lines, ("missing", "missing_before", "effect")).sort(
        pl.col("effect").abs(), "feature", descending=[True, False]
    )
    beyond = table.filter(pl.col("effect").abs() >= max(OF_ACCOUNT, SIGMAS * deviation))
    told = named(f"{r['feature']} ({r['missing']:.1%}, before {r['missing_before']:.1%})" for r in beyond.to_dicts())
    reason = (
        f"Missing more or less often than in the month before: {told}. See whether the columns that they are made of "
        "still arrive as they did."
        if told
        else f"All {len(names)} features are missing about as often as in the month before."
    )
    return Expectation("feature_nulls", beyond.is_empty(), reason, _figures(names, beyond), table)


def constants(now: pl.DataFrame, before: pl.DataFrame | None, features: Sequence[str]) -> Expectation:
    """Whether every feature that had several values in the month before, missing ones aside, still has.

    Where other values were rare they may be absent by chance: if the months were alike, each of the r rows that
    differed would stand in either month according to their sizes, and all of them in the earlier one with probability
    (n_before / (n_before + n_now))^r (Fisher's exact test of r rows against none).

    Args:
        now: the month's features.
        before: those of the month before, if there were any.
        features: those that may be compared: their window is filled in both months.
    """
    if before is None or not (names := _in_both(now, before, features)):
        return _nothing_to_compare("feature_constant", before)
    names = [n for n in names if _kind(now.schema[n], before.schema[n])]
    lines = [(name, *lost) for name in names if (lost := _lost_values(now[name], before[name]))]
    schema = {"feature": pl.String, "value": pl.String, "differed_before": pl.Int64}
    table = pl.DataFrame(lines, schema, orient="row").sort("differed_before", "feature", descending=[True, False])
    told = named(
        f"{name} (nothing but {value}; {rows:,} customers differed before)" for name, value, rows in table.rows()
    )
    reason = (
        f"Constant, and not so in the month before: {told}. A model learns nothing from it: see what its column in "
        "validated_data holds, and restore it at the source."
        if told
        else f"None of {len(names)} features became constant."
    )
    return Expectation("feature_constant", table.is_empty(), reason, _figures(names, table), table)


def drift(now: pl.DataFrame, before: pl.DataFrame | None, features: Sequence[str], limit: float) -> Expectation:
    """Whether the features are distributed as in the month before, by the population stability index (PSI).

    Numbers fall into the deciles of the month before, with a bin of its own for each frequent value; categories are
    compared by value, rare ones together; missing values have their own bin. Above .25 a distribution has moved
    (Siddiqi, Credit Risk Scorecards, 2006). Between two samples of one distribution the index is (1/n + 1/m) times a
    chi-squared variable of (bins - 1) degrees of freedom (Yurdakul and Naranjo, 2020, Journal of Risk Model Validation
    14(4)), so that with few rows more is allowed.

    Args:
        now: the month's features.
        before: those of the month before, if there were any.
        features: those that may be compared: their window is filled in both months.
        limit: the index that is allowed however many rows there are.
    """
    if before is None or not (names := _in_both(now, before, features)):
        return _nothing_to_compare("feature_drift", before)
    kinds = {n: _kind(now.schema[n], before.schema[n]) for n in names}
    changed = [n for n in names if not kinds[n]]
    known = [n for n in names if kinds[n] in _COUNTED]
    chance = 1 / len(now) + 1 / len(before)
    # An empty bin counts as half a row, but with many rows still as next to nothing.
    empty = max(1e-4, 0.5 / min(len(now), len(before)))
    lines: list[tuple[str, float | None, float]] = [
        (name, psi(there, here, empty), max(limit, chance * _chi_squared(len(there) - 1)))
        for name in known
        for there, here in [_gathered(now[name], _typed(before[name], now[name]))]
    ]
    table = table_of([*lines, *((n, None, limit) for n in changed)], ("psi", "limit")).sort(
        "psi", "feature", descending=[True, False], nulls_last=False
    )
    beyond = table.filter(pl.col("psi").is_null() | (pl.col("psi") > pl.col("limit")))
    told = named(
        f"{r['feature']} (now {now.schema[r['feature']]}, before {before.schema[r['feature']]})" if r["psi"] is None
        else f"{r['feature']} ({r['psi']:.2f}; at most {r['limit']:.2f} is allowed)"
        for r in beyond.to_dicts()
    )  # fmt: skip
    reason = (
        f"Distributed otherwise than in the month before (PSI): {told}. A unit, a code or a default has changed at the "
        "source, or the customers have. If that is right, let it pass (`feature_checks: {drift: warn}`): the next "
        "month is compared with this."
        if told
        else f"All {len(table)} features are distributed as in the month before."
    )
    largest = {"largest PSI": float(table["psi"].max() or 0.0)} if known else {}  # type: ignore[arg-type]
    return Expectation("feature_drift", beyond.is_empty(), reason, _figures(names, beyond) | largest, table)


def spread(now: pl.DataFrame, before: pl.DataFrame, feature: str) -> pl.DataFrame:
    """The distribution of one feature in both months: a row a ``bin``, with the shares ``before`` and ``now``."""
    here, there = now[feature], _typed(before[feature], now[feature])
    if not _is_category(there):
        reference = reference_of(there.to_frame(), [feature])
        then, today = shares(here.to_frame(), reference)[feature]
        return pl.DataFrame({"bin": _bins(reference[feature]["edges"]), "before": then, "now": today})
    both = _by_category(here, there).rename({"value": "bin"})
    known = both.filter(pl.col("bin").is_not_null())
    others = known[SHOWN:].select(pl.lit("other").alias("bin"), pl.col("before", "now").sum())
    missing = both.filter(pl.col("bin").is_null()).with_columns(bin=pl.lit("missing"))
    return pl.concat([known[:SHOWN], *([others] if len(known) > SHOWN else []), missing])


def table_of(lines: Sequence[tuple[object, ...]], figures: Sequence[str]) -> pl.DataFrame:
    """Features and their ``figures``, a row each."""
    return pl.DataFrame(lines, {"feature": pl.String, **dict.fromkeys(figures, pl.Float64)}, orient="row")


def named(findings: Iterable[str]) -> str:
    """The first findings in a sentence, and how many more there are."""
    every = list(findings)
    more = f" and {len(every) - TOLD} more" if len(every) > TOLD else ""
    return ", ".join(every[:TOLD]) + more


def _nothing_to_compare(name: str, before: pl.DataFrame | None) -> Expectation:
    nobody = before is None or before.is_empty()
    reason = "There is no month before to compare with." if nobody else "No feature is known of both months yet."
    return Expectation(name, True, reason)


def _lost_values(now: pl.Series, before: pl.Series) -> tuple[str, int] | None:
    """The only value that is left, and how many rows had another one before; None if that is no finding."""
    here, there = known_values(now), known_values(before)
    if here.is_empty():
        value, differed, share = "missing values", len(there), len(before) / (len(before) + len(now))
    elif here.n_unique() > 1 or there.n_unique() <= 1:
        return None
    else:
        value, differed = str(here[0]), int((there != here[0]).sum())
        share = len(there) / (len(there) + len(here))
    return (value, differed) if differed * log(share) < log(CHANCE) else None


def _in_both(now: pl.DataFrame, before: pl.DataFrame, features: Sequence[str]) -> list[str]:
    """Features that both months have: one that was declared just now has no earlier month."""
    return [f for f in features if f in now.columns and f in before.columns and len(now) and len(before)]


_COUNTED = ("number", "boolean", "category", "missing")


def _kind(now: pl.DataType, before: pl.DataType) -> str:
    """What a feature is in both months; empty if that has changed."""
    kinds = {"boolean" if t == pl.Boolean else kind_of(t) for t in (now, before)} - {"missing"}
    return (kinds or {"missing"}).pop() if len(kinds) <= 1 else ""


def _gathered(now: pl.Series, before: pl.Series) -> tuple[list[float], list[float]]:
    """The shares of a feature's bins, earlier month first; bins of few rows are one."""
    fewest = min(len(now), len(before))
    if _is_category(before):
        both = _by_category(now, before)
        there, here = both["before"].to_numpy(), both["now"].to_numpy()
    else:
        reference = reference_of(before.to_frame(), [before.name], max(2, min(BINS, fewest // EXPECTED)))
        there, here = map(np.array, shares(now.to_frame(), reference)[before.name])
    many = there * fewest >= EXPECTED
    rest = [] if many.all() else [~many]
    return [*there[many], *(there[r].sum() for r in rest)], [*here[many], *(here[r].sum() for r in rest)]


def _typed(before: pl.Series, now: pl.Series) -> pl.Series:
    """A column that had no value at all is read as what it is now."""
    return before.cast(now.dtype) if before.dtype == pl.Null else before


def _is_category(values: pl.Series) -> bool:
    return values.dtype == pl.Boolean or kind_of(values.dtype) == "category"


def _by_category(now: pl.Series, before: pl.Series) -> pl.DataFrame:
    """The shares of every ``value`` in both months, the most frequent first."""
    there, here = (
        values.cast(pl.String).alias("value").value_counts(normalize=True, name=month)
        for values, month in ((before, "before"), (now, "now"))
    )
    both = there.join(here, on="value", how="full", coalesce=True, nulls_equal=True)
    return both.with_columns(pl.col("before", "now").fill_null(0.0)).sort(
        pl.col("before") + pl.col("now"), "value", descending=[True, False]
    )


def _arcsine(count: int, rows: int) -> float:
    return 2 * asin(sqrt((count + 3 / 8) / (rows + 3 / 4)))


def _chi_squared(freedom: int) -> float:
    """The quantile of chi-squared at ``SIGMAS``, by Wilson and Hilferty (1931)."""
    part = 2 / (9 * max(freedom, 1))
    return float(max(freedom, 1) * (1 - part + SIGMAS * sqrt(part)) ** 3)


def _bins(edges: Sequence[float]) -> list[str]:
    """The bins of a number in words; that of a single value begins just below it."""
    names = [f"to {_short(e)}" for e in edges]
    for i, (low, high) in enumerate(pairwise(edges)):
        if np.nextafter(low, np.inf) == high:
            names[i], names[i + 1] = f"below {_short(high)}", _short(high)
    return [*names, f"above {_short(edges[-1])}" if edges else "any value", "missing"]


def _short(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else str(value)


def _figures(names: Sequence[str], beyond: pl.DataFrame) -> dict[str, float]:
    return {"features compared": len(names), "features found": len(beyond)}
