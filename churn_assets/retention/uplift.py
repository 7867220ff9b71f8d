"""What contacts do: whom a lot holds out, and how many fewer leave of those who weren't."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Literal

import polars as pl

from churn_assets.spec import ValueSpec

CONTACT, HOLD_OUT = "contact", "hold out"


@dataclass(frozen=True)
class Lot:
    """The lot of a pipeline's month, which holds out a ``share`` of the customers.

    It is a hash of pipeline, month and customer: it knows nothing of the model or of who else is there, another month
    draws anew, and the same month always draws the same.
    """

    pipeline: str
    month: str
    share: float

    def held_out(self, customers: pl.Series) -> pl.Series:
        """Which of the customers (n,) are held out, (n,) booleans."""
        import pandas as pd

        lots = (f"{self.pipeline} {self.month} " + customers.cast(pl.String)).to_numpy().astype(object)
        drawn = pd.util.hash_array(lots, encoding="utf8") / 2.0**64 < self.share
        return pl.Series("held_out", drawn, dtype=pl.Boolean)


@dataclass(frozen=True)
class SaveRate:
    """The share of leavers that a contact keeps, and where it is known from.

    Attributes:
        rate: what lists are ranked by; never below 0.
        source: ``assumed``, or ``measured``.
        reason: why, in a sentence.
        measured: the measured share, negative if more left of those contacted; None where nothing could be compared.
        lower, upper: its interval.
        lists: how many months' lists it was measured on.
        contacted, held_out: how many customers of theirs.
    """

    rate: float
    source: Literal["assumed", "measured"]
    reason: str
    measured: float | None = None
    lower: float | None = None
    upper: float | None = None
    lists: int = 0
    contacted: int = 0
    held_out: int = 0

    @property
    def helps(self) -> bool:
        """Whether the evidence, if there is enough, leaves room for an effect."""
        return self.source == "assumed" or self.rate > 0

    @property
    def facts(self) -> dict[str, float | int | str | None]:
        """All of it, for a record."""
        return {**asdict(self), "told": self.told}

    @property
    def told(self) -> str:
        """The rate with its source: ``measured on 9 lists: 0.18 (0.09 to 0.26)``."""
        if self.source == "assumed":
            return f"assumed: {self.rate:g}"
        return f"measured on {_lists(self.lists)}: {self.measured:.2f} ({self.lower:.2f} to {self.upper:.2f})"


def save_rate(outcomes: pl.DataFrame, value: ValueSpec, confidence: float) -> SaveRate:
    """The save rate that lists are ranked by: measured, once there is evidence enough, and assumed until then.

    It is enough when both groups are as large as ``value`` asks for, and when the interval tells the assumption from
    no effect, that is, hasn't both of them in it. A measured rate at or below zero counts as 0: no contact is then
    worth its cost, and as lists without contacts measure nothing, the assumption returns once that evidence has aged
    out of the pooled months.

    Customers count where the lot has put them, whatever was done (intention to treat): who was reached, and who
    wasn't, is no accident.

    Args:
        outcomes: one row a customer of earlier lists: ``list_month``, ``action``, ``treated`` (whether the customer was
            contacted; null if nobody has told) and ``left``.
        value: the assumption, and the least evidence.
        confidence: of the interval.
    """
    groups = _strata(outcomes)
    assumed = SaveRate(
        value.save_rate, "assumed", "No list's outcome can be measured yet.",
        lists=len(groups), contacted=_sum(groups, "n1"), held_out=_sum(groups, "n0"),
    )  # fmt: skip
    leavers = min(_sum(groups, "left1"), _sum(groups, "left0"))
    if not assumed.lists:
        return assumed
    if assumed.held_out < value.min_held_out or leavers < value.min_leavers:
        reason = (
            f"Too little was held out so far: {assumed.held_out:,} customers, at least {value.min_held_out:,} are "
            f"needed; {leavers:,} leavers in the smaller group, at least {value.min_leavers:,} are needed."
        )
        return replace(assumed, reason=reason)
    measured, lower, upper = _effect(groups, confidence)
    told = f"{measured:.2f} ({lower:.2f} to {upper:.2f}) on {_lists(assumed.lists)}"
    found = replace(assumed, measured=measured, lower=lower, upper=upper)
    if lower <= 0 and value.save_rate <= upper:
        reason = f"Measured {told}: that rules out neither the assumption nor that contacts do nothing."
        return replace(found, reason=reason)
    if measured > 0:
        return replace(found, rate=measured, source="measured", reason=f"Measured {told}.")
    verdict = "Contacting doesn't help" if upper <= 0 else "No effect was found, and the assumed one is ruled out"
    return replace(found, rate=0.0, source="measured", reason=f"{verdict}: measured {told}.")


def _strata(outcomes: pl.DataFrame) -> pl.DataFrame:
    """One row a list that can be compared: ``n1``, ``left1`` of those to contact, ``n0``, ``left0`` of the held out.

    A list of which nobody was contacted tells nothing of contacts.
    """
    contact, known = pl.col("action") == CONTACT, outcomes.filter(pl.col("left").is_not_null())
    done = outcomes.filter(contact & pl.col("treated")).select("list_month").unique()
    groups = known.join(done, on="list_month", how="semi").group_by("list_month").agg(
        n1=contact.sum(), left1=(contact & pl.col("left")).sum(),
        n0=(~contact).sum(), left0=(~contact & pl.col("left")).sum(),
    )  # fmt: skip
    return groups.filter((pl.col("n1") > 0) & (pl.col("n0") > 0)).sort("list_month")


def _effect(groups: pl.DataFrame, confidence: float) -> tuple[float, float, float]:
    """One minus the risk ratio of contacted and held-out customers, with its interval.

    Mantel and Haenszel's ratio, each list compared within itself, with the variance of Greenland and Robins
    ("Estimation of a common effect parameter from sparse follow-up data", Biometrics 41, 1985).
    """
    n1, n0, left1, left0 = (pl.col(name).cast(pl.Float64) for name in ("n1", "n0", "left1", "left0"))
    n = n1 + n0
    sums = groups.select(
        contacted=(left1 * n0 / n).sum(),
        held_out=(left0 * n1 / n).sum(),
        spread=((n1 * n0 * (left1 + left0) - left1 * left0 * n) / n**2).sum(),
    ).row(0, named=True)
    ratio = sums["contacted"] / sums["held_out"]
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(
        sums["spread"] / (sums["contacted"] * sums["held_out"])
    )
    return 1 - ratio, 1 - ratio * math.exp(reach), 1 - ratio * math.exp(-reach)


def _lists(number: int) -> str:
    return f"{number} list" if number == 1 else f"{number} lists"


def _sum(groups: pl.DataFrame, name: str) -> int:
    return int(groups[name].sum())
