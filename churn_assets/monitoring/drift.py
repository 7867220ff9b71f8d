"""Drift of features and of the score: a month against what the champion was trained on, and against the month before.

Everything is computed on columns, one at a time. With many rows any difference is more than chance, with few rows any
may be chance; so what has *moved* differs by more than chance does, all tests of a month taken together, and by more
than is of any account.

- Numbers: Kolmogorov and Smirnov's test, with Stephens' correction for few rows (1970, JRSS B 32(1)). Against the month
  before the distance is exact; of the training some hundred points of the distribution function are known, so that it
  may be up to .01 too small, and is never too large. Ties make its p-values too large, never too small.
- Categories and booleans: Pearson's chi-squared of two samples; levels of which fewer than five are expected count
  together (Cochran, 1954). The effect is Cramer's V (1946) of two samples of equal size, since between samples of
  unlike size V would tell the sizes; what many levels have by chance is taken off (Bergsma, 2013).
- Missing values apart, by the two-proportion z test.
- A column that has lost all its values but one: Fisher's exact test, against the month before.
- Chance: q-values of Benjamini and Hochberg (1995, JRSS B 57(1)), which hold for tests that depend on one another as
  these do, too (Benjamini and Yekutieli, 2001).

Most customers of a month stand in the month before and in the training, so that the samples are more alike than
independent ones: p-values are too large rather than too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from churn_assets.learning.reference import (
    Floats,
    Part,
    Reference,
    counted,
    flat,
    in_edges,
    known_numbers,
    of_levels,
    with_fine_bins,
)
from churn_assets.spec.monitoring import DriftSpec

STABLE, MOVED = 0.10, 0.25
"""Stability indices below which a distribution is read as stable, and above which as moved (Siddiqi, 2006)."""

TRAINING, MONTH_BEFORE = "training", "month before"
SCORE = "score"
"""The subject that is no feature: the champion's probability of leaving."""

COLUMNS = {
    "subject": pl.String, "against": pl.String, "psi": pl.Float64, "test": pl.String, "statistic": pl.Float64,
    "p_value": pl.Float64, "q_value": pl.Float64, "effect": pl.Float64, "missing": pl.Float64,
    "missing_before": pl.Float64, "missing_q_value": pl.Float64, "new_categories": pl.String, "moved": pl.Boolean,
    "why": pl.String,
}  # fmt: skip
"""test, p_value, q_value and effect are those of the values that are known; missing ones have a test and a
``missing_q_value`` of their own. new_categories are those that the reference had none of, with their shares."""

UNITS = (7, 10, 12, 24, 60, 100, 1000, 1024, 3600, 10_000, 1_000_000, 1024**2)
"""Factors between units: of time, of money, of data."""

EXPECTED, EXPECTED_OF_MANY = 5, 25
"""Expected rows below which levels count together. Where a reference lists the most frequent levels only, they owe
their place to chance in part: it takes more rows, and the rest count together with those that aren't listed."""

_NAMED = 5
_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_WORK = {
    **{name: COLUMNS[name] for name in COLUMNS if not name.endswith("q_value") and name not in ("moved", "why")},
    "bound": pl.Float64, "missing_p_value": pl.Float64, "shift": pl.String, "gap": pl.String, "note": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class Overall:
    """The drift of all features together.

    Attributes:
        features: how many were compared.
        moved: those that have moved, most important first.
        importance: the share of the champion's importance that these carry.
        psi: mean stability index, weighted by importance.
        score_moved: whether the champion's score has moved.
    """

    features: int
    moved: tuple[str, ...]
    importance: float
    psi: float
    score_moved: bool

    @property
    def share(self) -> float:
        """The share of the features that have moved."""
        return len(self.moved) / max(self.features, 1)


@dataclass(frozen=True)
class Drift:
    """What has moved in a month, and by how much.

    Attributes:
        table: a row for every subject and what it is compared with, in ``COLUMNS``.
        importance: feature -> its share in the champion; equal shares where none are given.
    """

    table: pl.DataFrame
    importance: Mapping[str, float] = field(default_factory=dict)

    def moved(self, against: str = TRAINING) -> tuple[str, ...]:
        """The subjects that have moved, most important first; the score, which has no importance, comes last."""
        found = self.table.filter(pl.col("against") == against, "moved")["subject"]
        return tuple(sorted(found, key=lambda name: (name == SCORE, -self.importance.get(name, 0.0))))

    @cached_property
    def overall(self) -> dict[str, Overall]:
        """All features together, by what they are compared with."""
        return {against: self._overall(against) for against in self.table["against"].unique(maintain_order=True)}

    def _overall(self, against: str) -> Overall:
        rows = self.table.filter(pl.col("against") == against, pl.col("subject") != SCORE)
        moved = self.moved(against)
        weights = [self.importance.get(name, 0.0) if self.importance else 1.0 for name in rows["subject"]]
        weight = dict(zip(rows["subject"], (w / (sum(weights) or 1.0) for w in weights), strict=True))
        return Overall(
            features=len(rows),
            moved=tuple(name for name in moved if name != SCORE),
            importance=math.fsum(weight[name] for name in moved if name != SCORE),
            psi=math.fsum(weight[name] * psi for name, psi in rows.select("subject", "psi").iter_rows()),
            score_moved=SCORE in moved,
        )


def measure(
    rows: pl.DataFrame,
    reference: Reference,
    before: pl.DataFrame | None,
    spec: DriftSpec,
    importance: Mapping[str, float] | None = None,
) -> Drift:
    """How far a month's columns have drifted.

    A column that isn't there counts as missing throughout; one that the month before hasn't got is compared with
    training only. One of another type is read as that of the reference where it can be.

    Args:
        rows: a row a customer, with the features and ``SCORE``.
        reference: what the champion was trained on, as ``full_reference``; its subjects are compared.
        before: the rows of the month before; None if there are none.
        spec: what counts as moved.
        importance: feature -> its share in the champion.
    """
    lines = [line for subject, part in reference.items() for line in _lines(subject, part, rows, before, spec)]
    return Drift(_judged(pl.DataFrame(lines, _WORK), spec), importance or {})


def psi(expected: Sequence[float], actual: Sequence[float], floor: float = 1e-4) -> float:
    """Population stability index of two distributions over the same bins; 0 if they are equal.

    Below 0.10 is read as stable, above 0.25 as moved (Siddiqi, Credit Risk Scorecards, 2006). Empty bins count as
    ``floor``, which bounds what a single new category can add.

    >>> round(psi([0.5, 0.5], [0.5, 0.5]), 3), round(psi([0.5, 0.5], [0.9, 0.1]), 3)
    (0.0, 0.879)
    """
    pairs = [(max(e, floor), max(a, floor)) for e, a in zip(expected, actual, strict=True)]
    return sum((a - e) * math.log(a / e) for e, a in pairs)


def q_values(p_values: pl.Series) -> pl.Series:
    """The share of chance findings among tests with p-values as small (Benjamini and Hochberg, 1995); nulls stay.

    >>> q_values(pl.Series([0.01, 0.04, None, 0.03])).round(3).to_list()
    [0.03, 0.04, None, 0.04]
    """
    tests = max(len(p_values) - p_values.null_count(), 1)
    ranked = p_values * tests / p_values.rank("ordinal")
    order = p_values.arg_sort(nulls_last=True)
    return ranked.gather(order).cum_min(reverse=True).clip(upper_bound=1.0).gather(order.arg_sort())


@dataclass(frozen=True)
class _Found:
    """The outcome of a test; ``bound`` is what its effect must exceed, ``shift`` the difference in words."""

    test: str | None = None
    statistic: float | None = None
    p_value: float | None = None
    effect: float | None = None
    bound: float | None = None
    shift: str = ""


@dataclass(frozen=True)
class _Numbers:
    """A month's column of numbers: those that are known, ascending, of ``rows``."""

    rows: int
    values: Floats
    note: str = ""

    @property
    def known(self) -> int:
        return len(self.values)

    @property
    def single(self) -> str | None:
        """The only value there is; None if there are several, or none."""
        return _short(self.values[0]) if self.known and self.values[0] == self.values[-1] else None

    def other_than(self, one: _Numbers) -> int:
        """Rows with another value than the single one of ``one``; all that are known, if it has none."""
        if not one.known:
            return self.known
        below, upto = (int(np.searchsorted(self.values, one.values[0], side)) for side in ("left", "right"))  # type: ignore[call-overload]
        return self.known - (upto - below)

    def part(self, _: Part) -> Part:
        """What a later month is compared with."""
        return with_fine_bins(self.values, self.rows) | {"sample": self.rows}

    def in_bins(self, part: Part) -> Part:
        return in_edges(self.values, self.rows, np.array(part["edges"], dtype=np.float64))

    def new_in(self, part: Part) -> dict[str, float]:
        return {}

    def tested(self, part: Part, before: _Numbers | None, spec: DriftSpec) -> _Found:
        """Kolmogorov and Smirnov's test against ``before``, and against ``part`` where there is only that."""
        known = part["sample"] * (1 - part["missing"])
        edges, counts = np.array(part["fine_edges"], dtype=np.float64), np.array(part["fine_counts"])
        then = np.cumsum(counts)[:-1] / counts.sum()
        now = np.searchsorted(self.values, edges, side="right") / self.known
        distance = _distance(self.values, before.values) if before else float(np.abs(now - then).max())
        p = _kolmogorov(distance, known * self.known / (known + self.known))
        shift = _shift(*_quantiles(edges, then, self.values)) or _largest(edges, then, now)
        return _Found("Kolmogorov-Smirnov", distance, p, distance, spec.max_distance, shift)


@dataclass(frozen=True)
class _Levels:
    """A month's column of categories or booleans: how many of ``rows`` have each level."""

    rows: int
    counts: Mapping[str, int]
    note: str = ""

    @property
    def known(self) -> int:
        return sum(self.counts.values())

    @property
    def single(self) -> str | None:
        """The only level there is; None if there are several, or none."""
        return next(iter(self.counts)) if len(self.counts) == 1 else None

    def other_than(self, one: _Levels) -> int:
        """Rows with another level than the single one of ``one``; all that are known, if it has none."""
        return self.known if one.single is None else self.known - self.counts.get(one.single, 0)

    def part(self, training: Part) -> Part:
        """What a later month is compared with: the levels that the training had, and all others together."""
        return of_levels(self.counts, self.rows, training["levels"]) | {"sample": self.rows}

    def in_bins(self, part: Part) -> Part:
        return of_levels(self.counts, self.rows, part["levels"])

    def new_in(self, part: Part) -> dict[str, float]:
        """Levels that the reference had none of, with their shares; none, if it doesn't list all that it had."""
        if part["other"]:
            return {}
        had = {level for level, share in zip(part["levels"], part["shares"], strict=True) if share}
        new = {level: count / self.rows for level, count in self.counts.items() if level not in had}
        return dict(sorted(new.items(), key=lambda item: (-item[1], item[0])))

    def tested(self, part: Part, before: _Levels | None, spec: DriftSpec) -> _Found:
        """Pearson's chi-squared against ``part``."""
        mine = self.in_bins(part)
        now = np.array([*mine["shares"], mine["other"]]) * self.rows
        then = np.array([*part["shares"], part["other"]]) * part["sample"]
        shift = _largest_level(part["levels"], then / then.sum(), now / now.sum())
        fewest = EXPECTED_OF_MANY if part["other"] else EXPECTED
        rare = (then + now) * min(then.sum(), now.sum()) / (then.sum() + now.sum()) < fewest
        rare[-1] |= part["other"] > 0
        then, now = (np.array([*c[~rare], c[rare].sum()]) for c in (then, now))
        there = then + now > 0
        statistic, p, effect = _chi_squared(then[there], now[there])
        return _Found("chi-squared", statistic, p, effect, spec.max_association, shift)


_Column = _Numbers | _Levels


def _column(frame: pl.DataFrame, subject: str, part: Part) -> _Column:
    """A month's column, read as what the reference has."""
    there = subject in frame.columns
    column = frame[subject] if there else pl.Series(subject, [None] * len(frame), pl.String)
    note = "" if there else "the column isn't there"
    if part["kind"] == "category":
        return _Levels(len(frame), counted(column), note)
    if there and not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        note = f"it is of type {column.dtype} and was a number"
    return _Numbers(len(frame), known_numbers(column.cast(pl.Float64, strict=False)), note)


def _lines(
    subject: str, part: Part, rows: pl.DataFrame, before: pl.DataFrame | None, spec: DriftSpec
) -> Iterator[dict[str, Any]]:
    now = _column(rows, subject, part)
    yield {"subject": subject, "against": TRAINING, **_compared(now, part, None, spec)}
    if before is not None and len(before) and subject in before.columns:
        then = _column(before, subject, part)
        yield {"subject": subject, "against": MONTH_BEFORE, **_compared(now, then.part(part), then, spec)}


def _compared(now: _Column, part: Part, before: _Column | None, spec: DriftSpec) -> dict[str, Any]:
    """One column and what it is compared with; ``before`` is the month before's column, where that is it."""
    mine, sample = now.in_bins(part), part["sample"]
    fewest = min(now.rows, sample)
    enough = fewest >= spec.min_rows
    lost = _lost(now, before) if before and enough else None
    known = min(now.known, sample * (1 - part["missing"]))
    found = lost or (now.tested(part, before, spec) if known >= spec.min_rows else _Found())  # type: ignore[arg-type]
    here, there = mine["missing"], part["missing"]
    few = f"too few rows to tell: {fewest:,}, and at least {spec.min_rows} are needed"
    gap = f"{here:.1%} are missing, before {there:.1%}"
    return {
        **vars(found),
        "psi": psi(flat(part), flat(mine)),
        "missing": here,
        "missing_before": there,
        "missing_p_value": _two_proportions(here, now.rows, there, sample) if enough else None,
        "gap": gap if now.known else f"no value is left, before {1 - there:.1%} had one",
        "new_categories": _named(now.new_in(part)),
        "note": now.note if enough else few,
    }


def _judged(lines: pl.DataFrame, spec: DriftSpec) -> pl.DataFrame:
    """What has moved, all tests of the month taken together."""
    chance = q_values(pl.concat([lines["p_value"], lines["missing_p_value"]]))
    judged = lines.with_columns(q_value=chance.head(len(lines)), missing_q_value=chance.tail(len(lines)))
    shifted = ((pl.col("q_value") < spec.alpha) & (pl.col("effect") > pl.col("bound"))).fill_null(False)
    gap = (pl.col("missing") - pl.col("missing_before")).abs()
    gone = ((pl.col("missing_q_value") < spec.alpha) & (gap > spec.max_missing)).fill_null(False)
    new = pl.col("new_categories")
    told = [
        pl.when((shifted | gone) | pl.col("test").is_null()).then(_unless_empty("note")),
        pl.when(gone).then(_unless_empty("gap")),
        pl.when(shifted).then(_unless_empty("shift")),
        pl.when(new != "").then(pl.concat_str(pl.lit("new: "), new)),
    ]
    words = pl.concat_str(told, separator="; ", ignore_nulls=True)
    why = pl.when(words != "").then(pl.concat_str("subject", pl.lit(": "), words)).otherwise(pl.lit(""))
    return judged.with_columns(moved=shifted | gone, why=why).select(*COLUMNS)


def _unless_empty(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name))


def _lost(now: _Column, before: _Column) -> _Found | None:
    """The finding that all values but one are gone; None if they aren't, or weren't there in the month before.

    If the months were alike, each of the r rows that had another value would stand in either month according to their
    sizes, and all of them in the earlier one with probability (n_before / (n_before + n_now))^r: Fisher's exact test of
    r rows against none. It takes no effect to be of account, since a column that has become constant is broken or gone.
    """
    if (now.known and now.single is None) or before.single is not None or not before.known:
        return None
    differed = before.other_than(now)  # type: ignore[arg-type]
    size = (before.known, now.known) if now.known else (before.rows, now.rows)
    p = math.exp(differed * math.log(size[0] / sum(size)))
    shift = f"nothing but {now.single}; {differed:,} rows had another value in the month before" if now.known else ""
    return _Found("Fisher", float(differed), p, differed / before.known, 0.0, shift)


def _distance(one: Floats, other: Floats) -> float:
    """Largest difference of the distribution functions of two samples, both ascending."""
    return max(_excess(one, other), _excess(other, one))


def _excess(one: Floats, other: Floats) -> float:
    """The same at the values of ``one``."""
    last = np.flatnonzero(np.append(one[1:] != one[:-1], True))
    there = np.searchsorted(other, one[last], side="right") / len(other)
    return float(np.abs((last + 1) / len(one) - there).max())


def _kolmogorov(distance: float, size: float) -> float:
    """P(a distance as large by chance), where ``size`` is n m / (n + m) of two samples; by Stephens (1970)."""
    from scipy.special import kolmogorov

    root = math.sqrt(size)
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def _chi_squared(then: Floats, now: Floats) -> tuple[float, float, float]:
    """Statistic, P(one as large by chance) and Cramer's V, of two samples' counts in the same bins."""
    from scipy.special import chdtrc

    if len(then) < 2:
        return 0.0, 1.0, 0.0
    p, q = then / then.sum(), now / now.sum()
    expected = (then + now) / (then + now).sum()
    statistic = float((then.sum() * (p - expected) ** 2 / expected + now.sum() * (q - expected) ** 2 / expected).sum())
    by_chance = (len(then) - 1) * (1 / then.sum() + 1 / now.sum()) / 4
    effect = math.sqrt(max(((p - q) ** 2 / (p + q)).sum() / 2 - by_chance, 0.0))
    return statistic, float(chdtrc(len(then) - 1, statistic)), effect


def _two_proportions(here: float, rows: int, there: float, sample: float) -> float | None:
    """P(a difference of shares as large by chance); None where both are 0, or both are 1."""
    pooled = (here * rows + there * sample) / (rows + sample)
    deviation = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / rows + 1 / sample))
    return math.erfc(abs(here - there) / deviation / math.sqrt(2)) if deviation > 1e-12 else None


def _quantiles(edges: Floats, then: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The quantiles ``_QUANTILES`` of a reference, by its distribution function at ``edges``, and of the values."""
    asked = np.array(_QUANTILES)
    old = edges[np.minimum(np.searchsorted(then, asked - 1e-12), len(edges) - 1)]
    return old, values[np.ceil(asked * len(values) - 1e-9).astype(int) - 1]


def _ratios(old: Floats, new: Floats) -> Floats:
    """By what factors quantiles differ, where both are on one side of 0."""
    both = np.sign(old) * np.sign(new) > 0
    return new[both] / old[both]


def _shift(old: Floats, new: Floats) -> str:
    """How far a number's quantiles have shifted: all by the factor of a unit, or its median; empty if neither has."""
    middle = _QUANTILES.index(0.5)
    with np.errstate(over="ignore", invalid="ignore"):
        unit, ratio = _unit(_ratios(old, new)), _ratios(old[[middle]], new[[middle]])
    if unit:
        at = middle if len(ratio) else int(np.flatnonzero(np.sign(old) * np.sign(new) > 0)[-1])
        which = "median" if at == middle else f"{_QUANTILES[at]:.0%} quantile"
        return f"its {which} went from {_short(old[at])} to {_short(new[at])} ({unit} at every quantile, as by a unit)"
    if old[middle] == new[middle]:
        return ""
    times = f" (x {ratio[0]:.3g})" if len(ratio) else ""
    return f"its median went from {_short(old[middle])} to {_short(new[middle])}{times}"


def _unit(ratios: Floats) -> str:
    """The factor between two units, if all quantiles differ by about the same one; else empty."""
    if len(ratios) < 2 or np.ptp(np.log(ratios)) > 2 * math.log(1.1):
        return ""
    factor = float(np.median(ratios))
    near = [unit for unit in UNITS if abs(abs(math.log(factor)) - math.log(unit)) < math.log(1.05)]
    return f"{'x' if factor > 1 else '/'} {' or '.join(f'{unit:,}' for unit in near)}" if near else ""


def _largest(edges: Floats, then: Floats, now: Floats) -> str:
    """Where two distribution functions differ most."""
    most = int(np.abs(now - then).argmax())
    return f"{now[most]:.0%} are at most {_short(edges[most])}, before {then[most]:.0%}"


def _largest_level(levels: Sequence[str], then: Floats, now: Floats) -> str:
    """The level whose share differs most; empty if there are none."""
    if not levels:
        return ""
    most = int(np.abs(now - then)[: len(levels)].argmax())
    return f"{levels[most]} went from {then[most]:.1%} to {now[most]:.1%}"


def _named(shares: Mapping[str, float]) -> str:
    told = [f"{name} ({share:.1%})" for name, share in list(shares.items())[:_NAMED]]
    return ", ".join(told) + (f" and {len(shares) - _NAMED} more" if len(shares) > _NAMED else "")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
