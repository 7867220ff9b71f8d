"""What a list made by a model would have brought, on customers whose outcome is known.

The customers are those whom the list would reach, on a budget that is scaled to how many of all customers are judged,
and with nobody held back from contact. Each costs a contact and brings, if leaving without one, the share of the kept
value that the save rate promises: outcomes are real, the effect of a contact is the specification's assumption.

Intervals are percentiles of a bootstrap (Efron, B. and Tibshirani, R. 1993, An introduction to the bootstrap, ch. 13):
customers are drawn with replacement, and each draw is listed anew within the same budget, since a profit varies also
because of who competes for the last place. A difference is taken in each draw between two lists of the same drawn
customers, so that what both have in common cancels out. Only customers whom a list may reach in a draw are counted:
their number of draws is binomial, and which of them are drawn is uniform, exactly as in a draw of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning.evaluation import Floats, Interval
from churn_assets.retention.scoring import affordable, kept_value, monthly_value, ranked, within_budget
from churn_assets.spec import ValueSpec

DRAWS = 1000
_LARGEST = 50_000_000
"""Customers counted in all draws together; a list that reaches more than ``_LARGEST / DRAWS`` has fewer draws."""
_FEWEST = 200


@dataclass(frozen=True)
class Profit:
    """What a model's list of ``contacts`` customers would have brought.

    ``precision`` is the share of them who left (None without contacts), ``expected`` the profit that the model
    promised, and ``realised`` the one that came of it.
    """

    contacts: int
    precision: float | None
    expected: float
    realised: Interval

    def as_dict(self) -> dict[str, float]:
        """All figures by name, flat; without the precision where there are no contacts."""
        known = {} if self.precision is None else {"precision_at_budget": self.precision}
        return {
            "contacts": float(self.contacts),
            **known,
            "expected_profit": self.expected,
            "profit": self.realised.value,
            "profit_lower": self.realised.lower,
            "profit_upper": self.realised.upper,
        }


@dataclass(frozen=True)
class Outcomes:
    """Customers with their outcome, and what a contact of theirs is worth.

    Attributes:
        rows: (n, ...) with ``key``, ``label`` (True for those who left) and, if the value names one, the feature of
            the monthly value; every customer once.
        key: the customer's column.
        value: what a contact costs and a kept customer brings.
        customers: how many customers the budget is for; ``rows`` get the share of it that they are.
    """

    rows: pl.DataFrame
    key: str
    value: ValueSpec
    customers: int

    def profit(self, probability: Floats, confidence: float = 0.95, seed: int = 0) -> Profit:
        """What the list made of ``probability`` (n,), P(leave), would have brought.

        Raises:
            LearningError: another number of predictions than of rows.
        """
        made = self._list(probability)
        reached = made.contacted
        return Profit(
            contacts=len(reached),
            precision=float(reached["label"].mean()) if len(reached) else None,  # type: ignore[arg-type]
            expected=float(reached["expected_value"].sum()),
            realised=_interval(float(reached["gain"].sum()), _drawn([made], seed)[:, 0], confidence),
        )

    def difference(self, new: Floats, old: Floats, confidence: float = 0.95, seed: int = 0) -> Interval:
        """Profit by ``new`` minus profit by ``old``, both (n,), with a paired interval.

        Raises:
            LearningError: another number of predictions than of rows.
        """
        lists = [self._list(new), self._list(old)]
        values = [float(made.contacted["gain"].sum()) for made in lists]
        drawn = _drawn(lists, seed)
        return _interval(values[0] - values[1], drawn[:, 0] - drawn[:, 1], confidence)

    def _list(self, probability: Floats) -> _List:
        if len(probability) != len(self.rows):
            raise LearningError(
                f"profit: expected one prediction per customer, found {len(probability)} for {len(self.rows)}."
            )
        share = min(1.0, len(self.rows) / max(self.customers, 1))
        value = self.value.model_copy(update={"budget": self.value.budget * share})
        rows = (
            self.rows.select(self.key, pl.col("label").cast(pl.Boolean), monthly_value(value))
            .with_columns(pl.Series("p_leave", probability))
            # The draws must not depend on the order of the rows.
            .sort(self.key)
            .with_columns(
                pl.int_range(pl.len()).alias("at"),
                (pl.col("label") * value.save_rate * kept_value(value) - value.cost).alias("gain"),
            )
        )
        ranking = ranked(rows, self.key, value)
        gainful = ranking.filter(pl.col("expected_value") > 0)
        return _List(len(rows), gainful, within_budget(ranking, value), affordable(value))


@dataclass(frozen=True)
class _List:
    """The gainful customers out of ``of``, best first, those contacted, and how many may be at the most."""

    of: int
    gainful: pl.DataFrame
    contacted: pl.DataFrame
    most: int | None

    @property
    def reach(self) -> pl.DataFrame:
        """The customers who may be contacted in a draw: six standard deviations further than the list itself."""
        return self.gainful if self.most is None else self.gainful.head(int(self.most + 6 * self.most**0.5 + 20))


def _drawn(lists: Sequence[_List], seed: int) -> Floats:
    """Profit of each list in each draw of the customers, (draws, lists)."""
    rng = np.random.default_rng(seed)
    at = [made.reach["at"].to_numpy() for made in lists]
    gains = [made.reach["gain"].to_numpy() for made in lists]
    union = np.unique(np.concatenate(at))
    places = [np.searchsorted(union, own) for own in at]
    draws = max(_FEWEST, min(DRAWS, _LARGEST // max(len(union), 1)))
    result = np.zeros((draws, len(lists)))
    for i in range(draws if len(union) else 0):
        size = rng.binomial(lists[0].of, len(union) / lists[0].of)
        times = np.bincount(rng.integers(0, len(union), size), minlength=len(union))
        for j, (place, gain, made) in enumerate(zip(places, gains, lists, strict=True)):
            # A product of matrices would depend on how many threads there are.
            result[i, j] = (_contacted(times[place], made.most) * gain).sum()
    return result


def _contacted(times: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    """How often each customer is contacted, who was drawn so many times, best first, until ``most`` are."""
    if most is None:
        return times
    return np.clip(most - (times.cumsum() - times), 0, times)


def _interval(value: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))
