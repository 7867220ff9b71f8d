from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import LearningError
from churn_assets.retention.profit import Outcomes
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value="charge", margin=0.5, lifetime_months=10, save_rate=0.2, contact_cost=5, budget=50)
"""A leaver brings as much as the monthly charge is; 10 contacts are paid for."""


def judged(left: Any, charge: Any = 40.0, value: ValueSpec = VALUE, customers: int = 0, keys: Any = None) -> Outcomes:
    n = len(left)
    rows = pl.DataFrame(
        {
            "id": [f"c{i:06d}" for i in range(n)] if keys is None else keys,
            "label": np.asarray(left, dtype=bool),
            "charge": np.broadcast_to(np.asarray(charge, dtype=float), n),
        }
    )
    return Outcomes(rows, "id", value, customers or n)


def test_profit_is_what_kept_leavers_bring_less_what_all_contacts_cost() -> None:
    base = judged([True, False, True, False], [40.0, 40.0, 10.0, 40.0])
    found = base.profit(np.array([0.9, 0.8, 0.7, 0.01]))
    # c2 promises 0.7 x 10 - 5 = 2 and brings 10 - 5; c3 promises less than a contact costs.
    assert found.contacts == 3 and found.precision == pytest.approx(2 / 3)
    assert found.expected == pytest.approx(36 - 5 + 32 - 5 + 7 - 5)
    assert found.realised.value == pytest.approx(40 - 5 - 5 + 10 - 5)
    assert found.as_dict() == {
        "contacts": 3, "precision_at_budget": found.precision, "expected_profit": found.expected,
        "profit": found.realised.value, "profit_lower": found.realised.lower, "profit_upper": found.realised.upper,
    }  # fmt: skip


def test_the_budget_shrinks_to_the_share_of_customers_who_are_judged() -> None:
    p = np.linspace(0.9, 0.5, 40)
    assert judged([True] * 40).profit(p).contacts == 10
    assert judged([True] * 40, customers=100).profit(p).contacts == 4
    assert judged([True] * 40, customers=20).profit(p).contacts == 10  # it never grows


def test_nobody_is_contacted_who_is_not_worth_it() -> None:
    found = judged([True, False]).profit(np.array([0.01, 0.1]))
    assert found.contacts == 0 and found.precision is None and found.realised.value == 0
    assert (found.realised.lower, found.realised.upper) == (0, 0)
    assert "precision_at_budget" not in found.as_dict()


def test_contacts_that_cost_nothing_are_all_made() -> None:
    free = VALUE.model_copy(update={"contact_cost": 0})
    found = judged(np.arange(30) < 3, value=free).profit(np.full(30, 0.1))
    assert found.contacts == 30 and found.realised.value == pytest.approx(120)


people = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 20), st.integers(0, 80)), min_size=1,
                  max_size=25)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(people, st.integers(0, 20), st.integers(0, 12))
def test_profit_agrees_with_a_loop_over_customers(
    rows: list[tuple[bool, int, int, int]], spend: int, cost: int
) -> None:
    value = VALUE.model_copy(update={"budget": float(spend), "contact_cost": float(cost)})
    left, p, _, charge = map(np.array, zip(*rows, strict=True))
    offers = [(-(p[i] / 20 * charge[i] - cost), f"c{i:06d}", left[i] * charge[i] - cost) for i in range(len(rows))]
    spent, total, contacts = 0, 0.0, 0
    for promise, _, gain in sorted((round(a, 9), b, c) for a, b, c in offers):
        if promise < 0 and spent + cost <= spend:
            spent, total, contacts = spent + cost, total + gain, contacts + 1
    found = judged(left, charge, value).profit(p / 20)
    assert found.contacts == contacts and found.realised.value == pytest.approx(total)


@settings(max_examples=15, deadline=None)
@given(people, st.randoms(use_true_random=False))
def test_nothing_depends_on_the_order_of_rows(rows: list[tuple[bool, int, int, int]], random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    left, p, q, charge = map(np.array, zip(*rows, strict=True))
    keys = np.array([f"c{i}" for i in range(len(rows))])
    one = judged(left, charge, keys=keys)
    other = judged(left[order], charge[order], keys=keys[order])
    assert one.profit(p / 20) == other.profit(p[order] / 20)
    there, back = one.difference(p / 20, q / 20), other.difference(q[order] / 20, p[order] / 20)
    assert (there.value, there.lower, there.upper) == pytest.approx((-back.value, -back.upper, -back.lower))
    assert there.value == pytest.approx(one.profit(p / 20).realised.value - one.profit(q / 20).realised.value)


def _drawn(base: Outcomes, p: np.ndarray, rng: np.random.Generator) -> float:
    """Profit in one draw of all customers, listed anew: the bootstrap as it is defined."""
    rows = base.rows.with_columns(pl.Series("p", p))[rng.integers(0, len(p), len(p))]
    again = Outcomes(rows.with_columns(id=pl.int_range(pl.len())), "id", base.value, base.customers)
    made = again._list(rows["p"].to_numpy())
    return float(made.contacted["gain"].sum())


@pytest.mark.parametrize("budget", [40.0, 5000.0])
def test_draws_are_those_of_a_bootstrap_of_all_customers(budget: float) -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(1, 8, 300)
    base = judged(
        rng.random(300) < p, rng.gamma(4, 12, 300), VALUE.model_copy(update={"budget": budget, "contact_cost": 1.0})
    )
    plain = [_drawn(base, p, rng) for _ in range(600)]
    found = base.profit(p, confidence=0.8).realised
    width = np.quantile(plain, 0.9) - np.quantile(plain, 0.1)
    assert found.lower == pytest.approx(np.quantile(plain, 0.1), abs=0.1 * width)
    assert found.upper == pytest.approx(np.quantile(plain, 0.9), abs=0.1 * width)


def test_in_every_draw_the_whole_budget_is_spent() -> None:
    found = judged([True] * 200).profit(np.linspace(0.5, 0.9, 200)).realised
    assert (found.value, found.lower, found.upper) == (350, 350, 350)  # 10 leavers bring 40 - 5 each


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)

    def month() -> tuple[Outcomes, np.ndarray, np.ndarray]:
        chance = rng.beta(1, 8, 1500)
        noisy = np.clip(chance * rng.lognormal(0, 0.7, 1500), 0, 1)
        return judged(rng.random(1500) < chance, value=VALUE.model_copy(update={"budget": 400.0})), chance, noisy

    months = [month() for _ in range(200)]
    profits = [base.profit(good, 0.9).realised for base, good, _ in months]
    gaps = [base.difference(good, noisy, 0.9) for base, good, noisy in months]
    for found in (profits, gaps):
        truth = np.mean([i.value for i in found])
        assert 0.82 <= np.mean([i.lower <= truth <= i.upper for i in found]) <= 0.97


def test_a_paired_interval_is_narrower_than_two_of_their_own() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(1, 8, 2000)
    base = judged(rng.random(2000) < p)
    similar = np.clip(p * rng.lognormal(0, 0.05, 2000), 0, 1)
    alone, paired = base.profit(p).realised, base.difference(p, similar)
    assert paired.upper - paired.lower < alone.upper - alone.lower
    same = base.difference(p, p)
    assert (same.value, same.lower, same.upper) == (0, 0, 0)


def test_a_better_model_is_shown_to_bring_more() -> None:
    rng = np.random.default_rng(5)
    p = rng.beta(1, 8, 5000)
    base = judged(rng.random(5000) < p, value=VALUE.model_copy(update={"budget": 1000.0}))
    assert base.difference(p, rng.permutation(p)).lower > 0
    assert base.profit(p, seed=1) == base.profit(p, seed=1) != base.profit(p, seed=2)


def test_a_prediction_is_needed_for_every_customer() -> None:
    with pytest.raises(LearningError, match="found 1 for 2"):
        judged([True, False]).profit(np.array([0.5]))
