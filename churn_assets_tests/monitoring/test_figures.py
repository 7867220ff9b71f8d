from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.learning.evaluation import Interval, rate_interval
from churn_assets.monitoring.figures import COLUMNS, Figure, difference, is_kept, table

ends = st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda drawn: Interval(drawn[0], drawn[0] - drawn[1], drawn[0] + drawn[2])
)


@given(ends, ends)
def test_a_difference_is_wider_than_either_figure_and_turns_round_with_them(one: Interval, other: Interval) -> None:
    found, back = difference(one, other), difference(other, one)
    assert found.value == pytest.approx(one.value - other.value)
    assert (found.lower, found.upper) == pytest.approx((-back.upper, -back.lower), abs=1e-9)
    assert found.value - found.lower >= max(one.value - one.lower, other.upper - other.value) - 1e-9


def test_a_difference_of_rates_is_newcombes() -> None:
    # 56 of 70 against 48 of 80: Newcombe (1998), table II, method 10.
    one, other = (Interval(k / n, *(float(end) for end in rate_interval(k, n))) for k, n in ((56, 70), (48, 80)))
    found = difference(one, other)
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_its_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).binomial([400, 60], [0.1, 0.15], (2000, 2))
    held = 0
    for k, j in drawn:
        one, other = (Interval(a / n, *(float(e) for e in rate_interval(a, n))) for a, n in ((k, 400), (j, 60)))
        found = difference(one, other)
        held += found.lower <= -0.05 <= found.upper
    assert 0.93 < held / len(drawn) < 0.98


@pytest.mark.parametrize(
    ("name", "lower_is_kept", "higher_is_kept"),
    [("auc", False, True), ("top_decile_lift", False, True), ("brier", True, False), ("rate", False, False)],
)
def test_a_promise_is_broken_on_the_worse_side_alone_and_not_by_noise(
    name: str, lower_is_kept: bool, higher_is_kept: bool
) -> None:
    promised = Interval(0.5, 0.45, 0.55)
    assert is_kept(name, Interval(0.3, 0.25, 0.35), promised) == lower_is_kept
    assert is_kept(name, Interval(0.7, 0.65, 0.75), promised) == higher_is_kept
    assert is_kept(name, Interval(0.45, 0.4, 0.5), promised) and is_kept(name, Interval(0.55, 0.5, 0.6), promised)


def test_a_table_without_figures_has_their_columns() -> None:
    assert dict(table([]).schema) == COLUMNS
    (row,) = table([Figure("realised_auc", "2024-01", "champion", "m", 0.7)]).to_dicts()
    assert row["value"] == 0.7 and row["lower"] is None and row["kept"] is None
