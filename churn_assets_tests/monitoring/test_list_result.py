"""What became of a list, on customers whose reaction to a contact is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from churn_assets.monitoring.list_result import ListResult, judge_list
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value="fee", margin=0.5, lifetime_months=12, contact_cost=10, min_held_out=50, min_leavers=5)
"""A kept customer who pays 20 a month brings 120."""


def listed(customers: int, share: float, stays: float, kept: float, seed: int = 0, told: bool = True) -> pl.DataFrame:
    """A list of whom a third would leave; a contact keeps the share ``kept`` of those, and reaches ``stays``."""
    rng = np.random.default_rng(seed)
    held_out = rng.random(customers) < share
    reached = ~held_out & (rng.random(customers) < stays)
    leaves = (rng.random(customers) < 1 / 3) & ~(reached & (rng.random(customers) < kept))
    return pl.DataFrame({
        "action": np.where(held_out, "hold out", "contact"), "p_leave": np.full(customers, 1 / 3),
        "monthly_value": np.full(customers, 20.0), "label": leaves,
        "treated": pl.Series(reached) if told else pl.Series([None] * customers, dtype=pl.Boolean),
        "cost": pl.Series([None] * customers, dtype=pl.Float64),
    })  # fmt: skip


def figure(found: ListResult, metric: str, role: str) -> tuple[float, float | None, float | None]:
    (one,) = (f for f in found.figures if (f.metric, f.role) == (metric, role))
    return one.value, one.lower, one.upper


def test_rates_and_profit_are_what_plain_arithmetic_says() -> None:
    rows = listed(2000, 0.3, 0.8, 0.5)
    contacted, held_out = rows.filter(action="contact"), rows.filter(action="hold out")
    found = judge_list("2024-01", rows, VALUE)
    for role, group in (("contacted", contacted), ("held out", held_out)):
        ends = stats.binomtest(int(group["label"].sum()), len(group)).proportion_ci(method="wilson")
        assert figure(found, "list_hit_rate", role) == pytest.approx((group["label"].mean(), ends.low, ends.high))
    fewer = held_out["label"].to_numpy().mean() - contacted["label"].to_numpy().mean()
    gain = len(contacted) * fewer * 120 - 10 * contacted["treated"].sum()
    assert found.profit is not None
    assert figure(found, "list_difference", "list")[0] == pytest.approx(fewer)
    assert found.profit.value == pytest.approx(gain)
    assert found.profit.lower < gain < found.profit.upper
    assert (found.contacted, found.held_out) == (len(contacted), len(held_out))
    assert found.treated == contacted["treated"].sum()


def test_told_costs_replace_those_of_the_specification() -> None:
    rows = listed(2000, 0.3, 0.8, 0.5)
    first, dearer = (judge_list("2024-01", r, VALUE) for r in (rows, rows.with_columns(cost=pl.lit(15.0))))
    assert first.profit and dearer.profit and first.treated
    assert first.profit.value - dearer.profit.value == pytest.approx(5 * first.treated)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Of each customer to contact a third times .8 times .5 stay who would have left, and .8 cost 10.
    held, verdicts = 0, set()
    for seed in range(200):
        found = judge_list("2024-01", listed(800, 0.2, 0.8, 0.5, seed), VALUE)
        assert found.profit is not None
        truth = found.contacted * (1 / 3 * 0.8 * 0.5) * 120 - 10 * float(found.treated or 0)
        held += found.profit.lower <= truth <= found.profit.upper
        verdicts.add(found.verdict)
    assert held >= 0.91 * 200
    assert "lost" not in verdicts


def test_the_verdict_is_the_intervals() -> None:
    assert judge_list("2024-01", listed(5000, 0.4, 1, 0.9), VALUE).verdict == "gained"
    assert judge_list("2024-01", listed(5000, 0.4, 1, 0), VALUE).verdict == "lost"
    unsure = judge_list("2024-01", listed(400, 0.4, 1, 0.25, seed=3), VALUE)
    assert (unsure.verdict, unsure.profit is not None) == ("not enough evidence", True)
    assert "not enough evidence that the list gained anything, or lost" in unsure.reason


def test_where_few_were_held_out_nothing_is_claimed() -> None:
    found = judge_list("2024-01", listed(1000, 0.02, 1, 0.9), VALUE)
    assert found.verdict == "not enough evidence"
    assert "(at least 50 and 5 are needed)" in found.reason
    nobody = judge_list("2024-01", listed(300, 0, 1, 0.9), VALUE)
    assert (nobody.held_out, nobody.profit, nobody.verdict) == (0, None, "not known")
    assert "Of nobody held out is it known whether they left" in nobody.reason


def test_what_nobody_has_told_brought_nobody_knows_what() -> None:
    found = judge_list("2024-01", listed(1000, 0.2, 1, 0.5, told=False), VALUE)
    assert (found.treated, found.profit, found.verdict) == (None, None, "not known")
    assert "`churn treatments template --month 2024-01`" in found.reason
    assert {f.metric for f in found.figures} == {"list_hit_rate", "list_difference"}


def test_a_list_of_which_nobody_was_contacted_cost_nothing() -> None:
    found = judge_list("2024-01", listed(1000, 0.2, 0, 0.5), VALUE)
    assert (found.treated, found.profit) == (0, None)
    assert "it brought nothing, and cost nothing" in found.reason


def test_an_empty_list_and_unknown_labels_are_told() -> None:
    empty = judge_list("2024-01", listed(0, 0.2, 1, 0.5), VALUE)
    assert (empty.contacted, empty.verdict, empty.figures) == (0, "not known", ())
    assert empty.reason == "Nobody was on the list of 2024-01."
    rows = listed(1000, 0.2, 1, 0.5).with_columns(label=pl.when(pl.int_range(pl.len()) % 4 > 0).then("label"))
    found, known = judge_list("2024-01", rows, VALUE), rows.drop_nulls("label").filter(action="contact")
    assert found.unknown == 250
    assert figure(found, "list_hit_rate", "contacted")[0] == pytest.approx(known["label"].mean())
