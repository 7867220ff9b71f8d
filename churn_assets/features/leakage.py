"""Whether a feature knows the outcome: how well each one alone tells who left.

A feature that is written when somebody leaves makes a model that looks as good as none can be, and knows nothing of
customers who haven't left yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.features.labels import LABEL
from churn_assets.features.quality import SHOWN, named, table_of
from churn_assets.learning.evaluation import Interval, auc_delong
from churn_assets.learning.matrix import MOST_LEVELS, kind_of
from churn_assets.quality.expectations import Expectation

EVIDENCE = 20
"""Customers who left, and who stayed, below which nothing is said."""

FOLDS = 5
PRIOR = 10
"""Rows of the general rate that every value is given on top of its own."""

Counts = NDArray[np.int64]


def leaks(rows: pl.DataFrame, features: Sequence[str], limit: float, snapshot: str) -> Expectation:
    """Whether no feature tells by itself who left: the AUC of each one alone, on a month whose outcome is known.

    The lower end of DeLong's 95% interval decides. A number ranks the customers by itself, in whichever direction, with
    missing values below or above all others. A category, and a number of at most 100 values, ranks them by the rate of
    leaving that its value has among *other* customers (five parts, each judged by the other four), so that a category
    of many values can't learn its own customers by heart.

    Args:
        rows: the features of all customers of the month, with ``label``: whether they left, null if not known.
        features: those to judge.
        limit: the largest AUC.
        snapshot: the month, in words.
    """
    known = rows.filter(pl.col(LABEL).is_not_null())
    left = int(known[LABEL].sum())
    figures = {"customers who left": left, "customers": len(known)}
    if min(left, len(known) - left) < EVIDENCE:
        reason = (
            f"Not enough evidence: of {len(known):,} customers of {snapshot} whose outcome is known {left:,} left; "
            f"{EVIDENCE} who left and {EVIDENCE} who stayed are needed."
        )
        return Expectation("feature_leak", True, reason, figures)
    rankings = sorted(_rankings(known, features), key=lambda r: (-r.auc, r.feature))
    lines = [
        (r.feature, r.auc, *((i.lower, i.upper) if i else (None, None)))
        for place, r in enumerate(rankings)
        for i in [r.interval() if place < SHOWN or r.auc > limit else None]
    ]
    table = table_of(lines, ("auc", "lower", "upper"))
    beyond = table.filter(pl.col("lower") > limit)
    largest = {"largest AUC of a feature": float(table["auc"][0])} if len(table) else {}
    told = named(f"{r['feature']} (AUC {r['auc']:.3f}, at least {r['lower']:.3f})" for r in beyond.to_dicts())
    reason = (
        f"{'Single features tell' if len(beyond) > 1 else 'A single feature tells'} which customers of {snapshot} "
        f"left: {told}; up to {limit:g} is plausible. Such a feature is as a rule written when somebody leaves, or "
        "later: a date or reason of leaving, a closed status, a final bill. Take it out of features, or use its value "
        "of months before (kind: lag). If it is right and was known in time, set feature_checks.leak to warn."
        if told
        else f"No feature tells by itself which {left:,} of {len(known):,} customers of {snapshot} left."
    )
    return Expectation("feature_leak", beyond.is_empty(), reason, figures | largest, table)


@dataclass(frozen=True)
class _Ranking:
    """Customers in the order that a feature puts them in: groups that tie, those most likely to leave last.

    ``left`` and ``stayed`` are (groups,) counts.
    """

    feature: str
    left: Counts
    stayed: Counts

    @property
    def auc(self) -> float:
        below = np.cumsum(self.stayed) - self.stayed / 2
        return float((self.left * below).sum() / (self.left.sum() * self.stayed.sum()))

    def interval(self) -> Interval:
        """The AUC with DeLong's interval."""
        groups = np.arange(len(self.left))
        place = np.concatenate([np.repeat(groups, self.left), np.repeat(groups, self.stayed)])
        return auc_delong(np.arange(len(place)) < self.left.sum(), place)


def _rankings(known: pl.DataFrame, features: Sequence[str]) -> Iterator[_Ranking]:
    """The best ranking by each feature; features that are absent, or of a type that has no order, have none."""
    part = pl.int_range(len(known), eager=True) % FOLDS
    for name in features:
        if name not in known.columns or known.schema[name].is_nested():
            continue
        values = known[name].fill_nan(None) if known.schema[name].is_float() else known[name]
        frame = pl.DataFrame({"value": values, "left": known[LABEL], "part": part})
        found = [] if kind_of(values.dtype) == "category" else list(_by_value(name, frame))
        if not found or len(found[0].left) <= MOST_LEVELS:
            found.append(_by_rate(name, frame))
        yield max(found, key=lambda r: r.auc)


def _by_value(name: str, frame: pl.DataFrame) -> Iterator[_Ranking]:
    """Rankings by a number itself: up and down, missing values at either end."""
    ordered = frame.sort("value", nulls_last=True)
    begins = ordered["value"].ne_missing(ordered["value"].shift(1)).to_numpy().copy()
    begins[:1] = True
    starts = np.flatnonzero(begins)
    left = np.add.reduceat(ordered["left"].to_numpy().astype(np.int64), starts)
    stayed = np.diff([*starts, len(ordered)]) - left
    for missing_first in (0, 1) if frame["value"].null_count() else (0,):
        ranked = _Ranking(name, np.roll(left, missing_first), np.roll(stayed, missing_first))
        yield ranked
        yield _Ranking(name, ranked.left[::-1], ranked.stayed[::-1])


def _by_rate(name: str, frame: pl.DataFrame) -> _Ranking:
    """The ranking by the rate of leaving of a value among the customers of the other parts."""
    cells = frame.group_by("value", "part").agg(_LEFT, _STAYED)
    of_part, of_value = pl.col("left", "stayed").sum().over("part"), pl.col("left", "stayed").sum().over("value")
    others = cells.with_columns(
        (of_value - pl.col("left", "stayed")).name.prefix("value_"),
        (pl.col("left", "stayed").sum() - of_part).name.prefix("all_"),
    )
    prior = pl.col("all_left") / (pl.col("all_left") + pl.col("all_stayed"))
    rate = (pl.col("value_left") + PRIOR * prior) / (pl.col("value_left") + pl.col("value_stayed") + PRIOR)
    ranked = others.group_by(rate.alias("rate")).agg(pl.col("left", "stayed").sum()).sort("rate")
    return _Ranking(name, ranked["left"].to_numpy(), ranked["stayed"].to_numpy())


_LEFT = pl.col("left").cast(pl.Int64).sum()
_STAYED = (~pl.col("left")).cast(pl.Int64).sum().alias("stayed")
