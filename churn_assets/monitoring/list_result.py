"""What became of a list: who left of those who were to be contacted, who of those held out, and what it brought.

Whom to hold out was drawn by lot, so that the two groups differ in nothing but the contacts. They are compared as they
were drawn, whoever was reached in the end (intention to treat): the difference in leaving, times what a contacted
customer is worth if kept, less what the contacts have cost. The interval of the difference is Newcombe's hybrid of two
Wilson intervals (Newcombe, R. 1998, Interval estimation for the difference between independent proportions), which
holds where few or none have left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from churn_assets.learning.evaluation import Interval, rate_interval
from churn_assets.monitoring.figures import CONTACTED, HELD_OUT, LIST, Figure, difference, table
from churn_assets.retention.scoring import kept_value
from churn_assets.retention.uplift import CONTACT
from churn_assets.spec import ValueSpec

Verdict = Literal["gained", "lost", "not enough evidence", "not known"]


@dataclass(frozen=True)
class ListResult:
    """What became of the list of the month ``snapshot``.

    Attributes:
        contacted: how many were to be contacted.
        held_out: how many were held out.
        treated: how many were contacted, as people told; None if nobody has told.
        unknown: of how many it stays unknown whether they left; no rate counts them.
        verdict: ``gained`` and ``lost`` where the profit's interval says so; ``not known`` where there can be none.
        reason: the verdict in a sentence.
        profit: what the list brought more than it cost, in the currency of the value; None if it isn't known.
        figures: rates, their difference, and the profit.
    """

    snapshot: str
    contacted: int
    held_out: int
    treated: int | None
    unknown: int
    verdict: Verdict
    reason: str
    profit: Interval | None
    figures: tuple[Figure, ...]

    @property
    def table(self) -> pl.DataFrame:
        """A row a figure."""
        return table(self.figures)


def judge_list(snapshot: str, listed: pl.DataFrame, value: ValueSpec, confidence: float = 0.95) -> ListResult:
    """Judges the list of the month ``snapshot``.

    Args:
        snapshot: the month that the list was made in.
        listed: (n, ...) its customers: ``action``, ``p_leave``, ``monthly_value``, ``label`` (True for those who left,
            null where it isn't known), ``treated`` and ``cost`` (null where nobody has told).
        value: what a contact costs and a kept customer brings.
        confidence: of the intervals.
    """
    contact = pl.col("action") == CONTACT
    groups = {CONTACTED: listed.filter(contact), HELD_OUT: listed.filter(~contact)}
    rates = {name: rate for name, group in groups.items() if (rate := _rate(group, confidence))}
    told = groups[CONTACTED]["treated"].count() > 0
    treated = int(groups[CONTACTED]["treated"].sum()) if told else None
    effect = difference(rates[HELD_OUT], rates[CONTACTED]) if len(rates) == len(groups) else None
    profit = _profit(groups[CONTACTED], effect, value) if effect and treated else None
    verdict, reason = _judged(snapshot, groups, effect, treated, profit, value)
    figures = [_hit_rate(snapshot, name, groups[name], rate) for name, rate in rates.items()]
    figures += [_of_list(snapshot, "list_difference", effect)] if effect else []
    figures += [_of_list(snapshot, "list_profit", profit)] if profit else []
    return ListResult(
        snapshot=snapshot, contacted=len(groups[CONTACTED]), held_out=len(groups[HELD_OUT]), treated=treated,
        unknown=listed["label"].null_count(), verdict=verdict, reason=reason, profit=profit, figures=tuple(figures),
    )  # fmt: skip


def _rate(group: pl.DataFrame, confidence: float) -> Interval | None:
    """Share of a group who left; None where it is known of nobody."""
    known, left = group["label"].count(), int(group["label"].sum())
    if not known:
        return None
    low, high = rate_interval(left, known, confidence)
    return Interval(left / known, float(low), float(high))


def _profit(contacted: pl.DataFrame, effect: Interval, value: ValueSpec) -> Interval:
    """What the contacts brought, their costs taken off."""
    costs = contacted.filter("treated")["cost"].fill_null(value.cost).sum()
    worth = float(contacted.select(kept_value(value)).to_series().sum())
    low, middle, high = (worth * end - float(costs) for end in (effect.lower, effect.value, effect.upper))
    return Interval(middle, low, high)


def _hit_rate(snapshot: str, role: str, group: pl.DataFrame, rate: Interval) -> Figure:
    """How many left of a group; to be contacted keeps customers, so that the scores promise it of the held out only."""
    promised = float(group.filter(pl.col("label").is_not_null())["p_leave"].mean() or 0)  # type: ignore[arg-type]
    kept = rate.lower <= promised <= rate.upper if role == HELD_OUT else None
    said = (promised, promised, promised, kept) if role == HELD_OUT else ()
    return Figure("list_hit_rate", snapshot, role, "", rate.value, rate.lower, rate.upper, *said)


def _of_list(snapshot: str, metric: str, found: Interval) -> Figure:
    return Figure(metric, snapshot, LIST, "", found.value, found.lower, found.upper)


def _judged(
    snapshot: str, groups: dict[str, pl.DataFrame], effect: Interval | None, treated: int | None,
    profit: Interval | None, value: ValueSpec,
) -> tuple[Verdict, str]:  # fmt: skip
    held_out, leavers = groups[HELD_OUT]["label"].count(), int(groups[HELD_OUT]["label"].sum())
    if not any(map(len, groups.values())):
        return "not known", f"Nobody was on the list of {snapshot}."
    if effect is None:
        lacking = " and ".join(name for name, group in groups.items() if not group["label"].count())
        return "not known", f"Of nobody {lacking} is it known whether they left: there is nothing to compare."
    if treated is None:
        return "not known", (
            f"Nobody has told what was done with the list of {snapshot}, so what it brought isn't known: fill in the "
            f"sheet of `churn treatments template --month {snapshot}`, then `churn treatments import` it."
        )
    if profit is None:
        return "not known", f"Nobody on the list of {snapshot} was contacted: it brought nothing, and cost nothing."
    money = f"{profit.value:,.0f} {value.currency} ({profit.lower:,.0f} to {profit.upper:,.0f})"
    if held_out < value.min_held_out or leavers < value.min_leavers:
        return "not enough evidence", (
            f"{money}, measured against {held_out:,} held-out customers, {leavers:,} of whom left: not enough evidence "
            f"(at least {value.min_held_out:,} and {value.min_leavers:,} are needed)."
        )
    if profit.lower <= 0 <= profit.upper:
        return "not enough evidence", f"{money}: not enough evidence that the list gained anything, or lost."
    verdict: Verdict = "gained" if profit.lower > 0 else "lost"
    return verdict, f"The list {verdict} {money}."
