"""What contacts do is measured on simulated lists, whose true save rate is known."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.retention.uplift import CONTACT, HOLD_OUT, Lot, SaveRate, save_rate
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value=20, save_rate=0.15, min_held_out=200, min_leavers=20)


def lists(
    *months: tuple[int, int, int, int], treated: bool | None = True, held_out_treated: bool | None = False
) -> pl.DataFrame:
    """Outcomes of lists, each as contacts, leavers among them, held out, leavers among them."""
    parts = [
        pl.DataFrame({
            "list_month": [date(2024, 1 + i, 1)] * (n1 + n0),
            "action": [CONTACT] * n1 + [HOLD_OUT] * n0,
            "treated": [treated] * n1 + [held_out_treated] * n0,
            "left": [True] * a + [False] * (n1 - a) + [True] * c + [False] * (n0 - c),
        }, {"list_month": pl.Date, "action": pl.String, "treated": pl.Boolean, "left": pl.Boolean})
        for i, (n1, a, n0, c) in enumerate(months)
    ]  # fmt: skip
    empty = {"list_month": pl.Date, "action": pl.String, "treated": pl.Boolean, "left": pl.Boolean}
    return pl.concat([pl.DataFrame(schema=empty), *parts])


def measured(outcomes: pl.DataFrame, **changes: Any) -> SaveRate:
    return save_rate(outcomes, VALUE.model_copy(update=changes), 0.95)


def test_one_list_gives_the_risk_ratio_with_the_interval_of_katz() -> None:
    found = measured(lists((1000, 120, 400, 80)))
    ratio, spread = 0.12 / 0.2, math.sqrt(1 / 120 - 1 / 1000 + 1 / 80 - 1 / 400)
    assert found.measured == pytest.approx(1 - ratio)
    assert found.lower == pytest.approx(1 - ratio * math.exp(1.959964 * spread), abs=1e-6)
    assert found.upper == pytest.approx(1 - ratio * math.exp(-1.959964 * spread), abs=1e-6)
    assert (found.rate, found.source) == (found.measured, "measured")
    assert (found.lists, found.contacted, found.held_out) == (1, 1000, 400)
    assert found.told == "measured on 1 list: 0.40 (0.22 to 0.54)"


def test_lists_are_compared_within_themselves() -> None:
    # Contacts halve the risk in both; the second list is riskier and holds more people out.
    found = measured(lists((1000, 50, 200, 20), (1000, 300, 1000, 600)))
    assert found.measured == pytest.approx(0.5)
    pooled = 1 - (350 / 2000) / (620 / 1200)
    assert abs(pooled - 0.5) > 0.1


def test_the_assumption_stands_until_there_is_evidence_enough() -> None:
    nothing = measured(lists())
    assert (nothing.rate, nothing.source, nothing.measured) == (0.15, "assumed", None)
    few = measured(lists((1000, 120, 199, 60)))
    assert (few.rate, few.source) == (0.15, "assumed")
    assert "199 customers, at least 200" in few.reason
    rare = measured(lists((1000, 120, 400, 19)))
    assert (rare.rate, rare.source) == (0.15, "assumed")
    assert "19 leavers in the smaller group, at least 20" in rare.reason


def test_evidence_that_rules_out_neither_the_assumption_nor_no_effect_changes_nothing() -> None:
    wide = measured(lists((1000, 190, 300, 60)))
    assert wide.lower is not None and wide.lower < 0 and wide.upper is not None and wide.upper > 0.15
    assert (wide.rate, wide.source) == (0.15, "assumed")
    assert "neither" in wide.reason
    # The same evidence tells a bolder assumption from no effect.
    bold = measured(lists((1000, 190, 300, 60)), save_rate=0.5)
    assert (bold.source, bold.rate) == ("measured", pytest.approx(0.05))


def test_an_effect_that_the_evidence_rules_out_ends_contacts_and_says_so() -> None:
    found = measured(lists((20_000, 4400, 4000, 800)))
    assert found.upper is not None and found.upper <= 0
    assert (found.rate, found.source, found.helps) == (0.0, "measured", False)
    assert found.reason.startswith("Contacting doesn't help")
    none = measured(lists((40_000, 8040, 8000, 1600)))
    assert none.measured is not None and none.measured < 0 < (none.upper or 0) < 0.15
    assert (none.rate, none.helps) == (0.0, False)
    assert none.reason.startswith("No effect was found, and the assumed one is ruled out")
    assert measured(lists()).helps


def test_a_list_of_which_nobody_was_contacted_or_held_out_tells_nothing() -> None:
    assert measured(lists((1000, 120, 400, 80), treated=False)).lists == 0
    assert measured(lists((1000, 120, 400, 80), treated=None)).lists == 0
    assert measured(lists((1000, 120, 0, 0))).lists == 0


def test_customers_count_where_the_lot_has_put_them() -> None:
    clean, contaminated = lists((1000, 120, 400, 80)), lists((1000, 120, 400, 80), held_out_treated=True)
    assert measured(clean) == measured(contaminated)


def test_customers_whose_fate_is_unknown_are_left_out() -> None:
    known = lists((1000, 120, 400, 80))
    unknown = lists((50, 0, 50, 0)).with_columns(left=pl.lit(None, pl.Boolean))
    assert measured(pl.concat([known, unknown])) == measured(known)


def simulated(rng: np.random.Generator, true: float, months: int = 9) -> pl.DataFrame:
    """Lists whose contacts keep a share ``true`` of those who would leave; risks differ."""
    parts = []
    for i in range(months):
        p = rng.beta(2, 6, 600) * rng.uniform(0.5, 1.3)
        out = rng.random(600) < 0.15
        left = rng.random(600) < p * np.where(out, 1, 1 - true)
        parts.append(pl.DataFrame({
            "list_month": [date(2024, 1 + i, 1)] * 600, "action": np.where(out, HOLD_OUT, CONTACT).tolist(),
            "treated": (~out).tolist(), "left": left.tolist(),
        }))  # fmt: skip
    return pl.concat(parts)


@pytest.mark.parametrize("true", [0.0, 0.2, 0.5])
def test_the_interval_covers_the_true_save_rate_in_95_of_100_simulations(true: float) -> None:
    rng = np.random.default_rng(5)
    found = [measured(simulated(rng, true)) for _ in range(300)]
    covered = sum(f.lower <= true <= f.upper for f in found if f.lower is not None and f.upper is not None)
    # Four standard deviations of a binomial around 285.
    assert 270 <= covered <= 300
    assert np.mean([f.measured for f in found if f.measured is not None]) == pytest.approx(true, abs=0.02)
    if true == 0:
        assert sum(f.lower > 0 for f in found if f.lower is not None) <= 18
    if true == 0.5:
        assert all(f.source == "measured" for f in found)


customers = pl.Series("id", [f"C{i:07}" for i in range(20_000)])


def test_the_lot_is_stable_and_draws_anew_for_each_month_and_pipeline() -> None:
    drawn = Lot("churn", "2025-06", 0.1).held_out(customers)
    # A release that draws others would spoil every measurement that is under way.
    assert customers.filter(drawn).head(3).to_list() == ["C0000016", "C0000021", "C0000028"]
    shuffled = customers.sample(fraction=1, shuffle=True, seed=1)
    assert sorted(shuffled.filter(Lot("churn", "2025-06", 0.1).held_out(shuffled))) == sorted(customers.filter(drawn))
    for other in (Lot("churn", "2025-07", 0.1).held_out(customers), Lot("mobile", "2025-06", 0.1).held_out(customers)):
        both = int((drawn & other).sum())
        assert both == pytest.approx(200, abs=60)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.5), st.integers(2000, 2099), st.integers(1, 12))
def test_the_lot_takes_its_share_and_takes_no_notice_of_anything_that_is_known(
    share: float, year: int, month: int
) -> None:
    drawn = Lot("churn", f"{year}-{month:02}", share).held_out(customers).to_numpy()
    n = len(customers)
    assert abs(drawn.sum() - n * share) <= 5 * math.sqrt(n * share * (1 - share)) + 1
    # Neither old and new customers, as their numbers run, nor any order of them is told apart.
    first = drawn[: n // 2].mean() - drawn[n // 2 :].mean()
    assert abs(first) <= 5 * math.sqrt(share * (1 - share) * 4 / n) + 1e-3
    more = Lot("churn", f"{year}-{month:02}", min(1, share + 0.1)).held_out(customers).to_numpy()
    assert (more | ~drawn).all()


def test_keys_of_any_type_are_drawn() -> None:
    assert Lot("churn", "2025-06", 1.0).held_out(pl.Series("id", [1, 2, 3])).to_list() == [True] * 3
    assert Lot("churn", "2025-06", 0.0).held_out(pl.Series("id", [1, 2, 3])).to_list() == [False] * 3
    assert Lot("churn", "2025-06", 0.5).held_out(pl.Series("id", [], dtype=pl.String)).to_list() == []
