from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from churn_assets.errors import LearningError
from churn_assets.learning.evaluation import (
    auc_delong,
    auc_difference,
    average_precision,
    calibration_error,
    evaluate,
    midranks,
    rate_interval,
    top_decile_lift,
)

Z95 = 1.959963984540054


@st.composite
def judged(draw: st.DrawFn, models: int = 1) -> tuple[np.ndarray, ...]:
    """Labels of both classes (at least two each) and predictions with many ties."""
    labels = draw(st.permutations([True, True, False, False, *draw(st.lists(st.booleans(), max_size=30))]))
    value = st.integers(0, 8).map(lambda i: i / 8)
    scores = [draw(st.lists(value, min_size=len(labels), max_size=len(labels))) for _ in range(models)]
    return (np.array(labels), *map(np.array, scores))


def _brute(y: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and their covariance by comparing every pair, straight from DeLong et al. 1988."""
    kernels = [np.sign(p[y][:, None] - p[~y][None, :]) / 2 + 0.5 for p in scores]
    of_left = np.array([k.mean(axis=1) for k in kernels])
    of_stayed = np.array([k.mean(axis=0) for k in kernels])
    covariance = np.cov(of_left) / y.sum() + np.cov(of_stayed) / (~y).sum()
    return np.array([k.mean() for k in kernels]), np.atleast_2d(covariance)


@settings(max_examples=150, deadline=None)
@given(judged())
def test_auc_and_its_interval_agree_with_comparing_every_pair(case: tuple[np.ndarray, ...]) -> None:
    y, p = case
    values, covariance = _brute(y, [p])
    interval = auc_delong(y, p)
    assert interval.value == pytest.approx(metrics.roc_auc_score(y, p)) == pytest.approx(values[0])
    half = Z95 * covariance[0, 0] ** 0.5
    assert interval.lower == pytest.approx(max(0, values[0] - half), abs=1e-9)
    assert interval.upper == pytest.approx(min(1, values[0] + half), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(judged(models=2), st.sampled_from([0.8, 0.95]))
def test_the_difference_agrees_with_comparing_every_pair(case: tuple[np.ndarray, ...], confidence: float) -> None:
    y, new, old = case
    values, cov = _brute(y, [new, old])
    interval = auc_difference(y, new, old, confidence)
    half = {0.8: 1.2815515655446004, 0.95: Z95}[confidence] * max(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], 0) ** 0.5
    assert interval.value == pytest.approx(values[0] - values[1], abs=1e-9)
    assert interval.lower == pytest.approx(max(-1, values[0] - values[1] - half), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(judged(models=2))
def test_the_difference_changes_its_sign_with_the_order_of_models(case: tuple[np.ndarray, ...]) -> None:
    y, new, old = case
    there, back = auc_difference(y, new, old), auc_difference(y, old, new)
    assert (there.value, there.lower, there.upper) == pytest.approx((-back.value, -back.upper, -back.lower))
    same = auc_difference(y, new, new)
    assert (same.value, same.lower, same.upper) == (0, 0, 0)


@settings(max_examples=80, deadline=None)
@given(judged(), st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order_of_rows(case: tuple[np.ndarray, ...], random: Any) -> None:
    y, p = case
    order = list(range(len(y)))
    random.shuffle(order)
    assert evaluate(y[order], p[order]).as_dict() == pytest.approx(evaluate(y, p).as_dict())


@settings(max_examples=80, deadline=None)
@given(judged())
def test_figures_agree_with_scikit_learn(case: tuple[np.ndarray, ...]) -> None:
    y, p = case
    found = evaluate(y, p)
    assert found.pr_auc == pytest.approx(metrics.average_precision_score(y, p)) == average_precision(y, p)
    assert found.log_loss == pytest.approx(metrics.log_loss(y, p))
    assert found.brier == pytest.approx(metrics.brier_score_loss(y, p))
    base = metrics.brier_score_loss(y, np.full(len(y), y.mean()))
    assert found.brier_skill == pytest.approx(1 - found.brier / base)


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    truth = 0.7602499  # AUC of N(1, 1) against N(0, 1): Phi(1 / sqrt 2)
    hits = 0
    for _ in range(400):
        y = np.arange(300) < 90
        interval = auc_delong(y, random.normal(size=300) + y, 0.9)
        hits += interval.lower <= truth <= interval.upper
    assert 0.86 <= hits / 400 <= 0.94


def test_calibration_error_of_a_shifted_forecast_is_the_shift() -> None:
    random = np.random.default_rng(2)
    p = random.uniform(0.2, 0.6, 50000)
    y = random.random(50000) < p
    assert calibration_error(y, p).value < 0.01
    assert calibration_error(y, p + 0.1).value == pytest.approx(0.1, abs=0.005)
    assert calibration_error(y, np.full(50000, 0.4)).value == pytest.approx(abs(y.mean() - 0.4))


def test_bins_hold_equal_numbers_of_rows() -> None:
    p = np.array([0.1] * 10 + [0.2] * 10)
    y = np.array([True] * 5 + [False] * 15)
    assert calibration_error(y, p, bins=2).value == pytest.approx((0.4 + 0.2) / 2)


@settings(max_examples=100, deadline=None)
@given(judged(), st.integers(1, 12))
def test_calibration_error_agrees_with_a_loop_over_bins(case: tuple[np.ndarray, ...], bins: int) -> None:
    y, p = case
    place = stats.rankdata(p) - 0.5  # ties share their middle
    expected = 0.0
    for i in range(bins):
        own = [j for j in range(len(y)) if i * len(y) <= place[j] * bins < (i + 1) * len(y)]
        expected += abs(sum(p[j] for j in own) - sum(y[j] for j in own)) / len(y)
    found = calibration_error(y, p, bins)
    assert found.value == pytest.approx(expected)
    assert 0 <= found.lower <= found.value <= found.upper <= 1


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_interval_of_the_calibration_error_covers_the_truth_for_good_and_for_bad_forecasts(shift: float) -> None:
    random = np.random.default_rng(8)
    hits, point = 0, 0.0
    for seed in range(150):
        z = np.sort(random.normal(-2, 1, 1000))
        chance, p = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z - shift))
        truth = np.abs((p - chance).reshape(10, 100).mean(axis=1)).mean()
        found = calibration_error(random.random(1000) < chance, p, seed=seed)
        hits += found.lower - 1e-12 <= truth <= found.upper
        point += found.value / 150
    assert hits / 150 >= 0.95
    if not shift:
        assert point > 0.015  # which a percentile bootstrap would take for the truth


def test_more_rows_and_less_confidence_make_a_narrower_interval() -> None:
    random = np.random.default_rng(4)
    p = random.uniform(0, 0.3, 20000)
    y = random.random(20000) < p + 0.1
    few, many, unsure = (
        calibration_error(y[:1000], p[:1000]), calibration_error(y, p), calibration_error(y, p, confidence=0.6),
    )  # fmt: skip
    assert few.upper - few.lower > 3 * (many.upper - many.lower) > 3 * (unsure.upper - unsure.lower) > 0
    assert many.lower > 0.08 and calibration_error(y, p) == many != calibration_error(y, p, seed=1)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.999]))
def test_the_interval_of_a_rate_agrees_with_scipy(rows: int, data: st.DataObject, confidence: float) -> None:
    positives = data.draw(st.integers(0, rows))
    low, high = rate_interval(positives, rows, confidence)
    expected = stats.binomtest(positives, rows).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= positives / rows <= high <= 1


def test_lift_of_a_perfect_and_of_a_blind_model() -> None:
    y = np.arange(100) < 10
    assert top_decile_lift(y, y.astype(float)) == pytest.approx(10)
    assert top_decile_lift(y, np.zeros(100)) == pytest.approx(1)  # all tie: the tenth is like the rest


def test_a_tie_at_the_edge_counts_with_its_share() -> None:
    p = np.array([0.9] + [0.5] * 3 + [0.1] * 16)  # the tenth of 20 rows: one row and a third of three
    y = np.array([True, True, False, False] + [False] * 16)
    assert top_decile_lift(y, p) == pytest.approx((1 + 1 / 3) / 2 / (2 / 20))


def test_midranks_share_ties() -> None:
    assert midranks(np.array([2.0, 1.0, 2.0, 3.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_a_single_churner_says_nothing_about_the_auc() -> None:
    y = np.arange(50) < 1
    interval = auc_delong(y, np.linspace(1, 0, 50))
    assert (interval.value, interval.lower, interval.upper) == (1, 0, 1)
    difference = auc_difference(y, np.linspace(1, 0, 50), np.zeros(50))
    assert (difference.lower, difference.upper) == (-1, 1)


def test_figures_are_flat_and_named() -> None:
    found = evaluate([True, False, True, False], [0.9, 0.2, 0.6, 0.4]).as_dict()
    assert list(found)[:3] == ["auc", "auc_lower", "auc_upper"] and found["auc"] == 1
    assert found["rows"] == 4 and found["positives"] == 2 and found["rate"] == 0.5
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([True, True], [0.1, 0.2], "found 2 who left and 0 who stayed"),
        ([], [], "found 0 who left and 0 who stayed"),
        ([True, False], [0.1, float("nan")], "found 1 of 2 predictions missing"),
        ([True, False], [0.1], "found 1 for 2 labels"),
        ([True, False], [0.1, 1.5], "found 0.1 to 1.5"),
    ],
)
def test_what_cannot_be_judged_is_told(y: list[bool], p: list[float], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        evaluate(y, p)
