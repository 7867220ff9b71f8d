"""The estimate, against outcomes that are drawn from the very probabilities."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from churn_assets.errors import LearningError
from churn_assets.monitoring.estimate import NAMES, compare, estimate
from churn_assets.monitoring.figures import table
from churn_assets.monitoring.realised import Realised, Scorer, judge

DRAWS = 400


def truths(p: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Every figure in ``DRAWS`` draws of who leaves, (DRAWS,) each, by other means than the estimate's."""
    left = np.random.default_rng(seed).random((DRAWS, len(p))) < p
    top = np.argsort(-p)[: -(-len(p) // 10)]
    right, count = np.where(left, p, 1 - p), left.sum(axis=1)
    return {
        "auc": ((left * stats.rankdata(p)).sum(axis=1) - count * (count + 1) / 2) / (count * (len(p) - count)),
        "top_decile_lift": left[:, top].mean(axis=1) / left.mean(axis=1),
        "brier": ((left - p) ** 2).mean(axis=1),
        "log_loss": -np.log(right).mean(axis=1),
        "rate": left.mean(axis=1),
    }


@pytest.mark.parametrize(("alpha", "beta", "rows"), [(0.6, 9, 800), (2, 5, 400), (5, 60, 3000)])
def test_of_calibrated_scores_it_is_unbiased_and_its_interval_holds_what_comes(
    alpha: float, beta: float, rows: int
) -> None:
    p = np.random.default_rng(rows).beta(alpha, beta, rows)
    found, drawn = estimate(p), truths(p)
    for name in NAMES:
        said, came = getattr(found, name), drawn[name]
        assert abs(came.mean() - said.value) < 4 * came.std() / DRAWS**0.5, name
        assert 0.9 < ((said.lower <= came) & (came <= said.upper)).mean() < 0.99, name


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_the_auc_is_the_chance_of_a_leaver_to_stand_above_a_stayer(p: list[float]) -> None:
    pairs = [(leaves * (1 - stays), leaves, stays) for leaves in p for stays in p]
    rightly = sum(weight * ((leaves > stays) + 0.5 * (leaves == stays)) for weight, leaves, stays in pairs)
    # Of many such customers hardly any pair is one customer, and the number of leavers hardly varies.
    assert estimate(p * 500).auc.value == pytest.approx(rightly / sum(weight for weight, _, _ in pairs), abs=2e-3)


def test_scores_that_tell_nobody_apart_rank_by_chance() -> None:
    found = estimate(np.full(1000, 0.1))
    assert found.auc.value == pytest.approx(0.5)
    assert found.top_decile_lift.value == pytest.approx(1.0, abs=0.01)
    assert found.rate.value == pytest.approx(0.1)


def test_what_has_drifted_in_its_meaning_it_can_not_see() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 9, 5000)
    others = rng.permutation(p)
    found = estimate(p)
    assert metrics.roc_auc_score(rng.random(5000) < others, p) < found.auc.lower


@pytest.mark.parametrize("p", [[], [0.2, float("nan")], [0.2, 1.2], [0.0, 0.0], [1.0, 0.0]])
def test_scores_of_which_nothing_follows_are_refused(p: list[float]) -> None:
    with pytest.raises(LearningError, match="estimate: expected"):
        estimate(p)


def test_the_truth_is_compared_with_the_estimate_of_the_same_model_and_month_alone() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.6, 6, 3000)
    rows = pl.DataFrame({"label": rng.random(3000) < p, "champion": p})
    realised: Realised = judge("2024-01", rows, [Scorer("champion", "one")])
    then = table(estimate(p).figures("2024-01", "champion", "one"))
    found = {f.metric: f for f in compare(then, realised)}
    assert set(found) == {f"estimate_error_{name}" for name in NAMES}
    auc = found["estimate_error_auc"]
    assert auc.value == pytest.approx(metrics.roc_auc_score(rows["label"], p) - estimate(p).auc.value)
    assert auc.kept is True and auc.promised == estimate(p).auc.value
    for other in (("2024-02", "champion", "one"), ("2024-01", "champion", "two"), ("2024-01", "challenger", "one")):
        assert not compare(table(estimate(p).figures(*other)), realised)
    assert not compare(table([]), realised)
