import numpy as np
import pytest

from churn_assets.learning.calibration import Calibration, expit, fit_calibration, log_odds


def _distorted(rows: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    z = random.normal(-1, 1.5, rows)
    return expit(2 * z + 1), random.random(rows) < expit(z)


def test_a_distortion_of_the_log_odds_is_undone() -> None:
    p, y = _distorted()
    calibration = fit_calibration(p, y)
    assert calibration.fitted
    assert calibration.slope == pytest.approx(0.5, abs=0.03)
    assert calibration.intercept == pytest.approx(-0.5, abs=0.06)
    assert calibration.apply(p).mean() == pytest.approx(y.mean(), abs=1e-3)


def test_it_agrees_with_a_regression_on_the_log_odds() -> None:
    from sklearn.linear_model import LogisticRegression

    p, y = _distorted()
    other = LogisticRegression(C=1e10, tol=1e-10).fit(log_odds(p)[:, None], y)
    calibration = fit_calibration(p, y)
    assert calibration.slope == pytest.approx(other.coef_[0, 0], abs=1e-3)
    assert calibration.intercept == pytest.approx(other.intercept_[0], abs=1e-3)


def test_the_ranking_stays() -> None:
    p, y = _distorted(500)
    assert np.array_equal(np.argsort(fit_calibration(p, y).apply(p)), np.argsort(p))


@pytest.mark.parametrize(("positives", "negatives"), [(9, 500), (500, 9), (0, 100)])
def test_too_few_of_a_class_leave_predictions_as_they_are_and_say_so(positives: int, negatives: int) -> None:
    p = np.linspace(0, 1, positives + negatives)
    calibration = fit_calibration(p, np.arange(positives + negatives) < positives)
    assert not calibration.fitted and "too few" in calibration.reason
    assert np.array_equal(calibration.apply(p), p)


def test_ten_are_enough() -> None:
    p = np.linspace(0.1, 0.9, 300)
    assert fit_calibration(p, np.arange(300) >= 290).fitted


def test_a_reversed_ranking_is_not_turned_round() -> None:
    p, y = _distorted(500)
    calibration = fit_calibration(p, ~y)
    assert not calibration.fitted and "no better than chance" in calibration.reason


def test_constant_and_separating_predictions_are_survived() -> None:
    y = np.arange(200) < 60
    assert np.isfinite(fit_calibration(np.full(200, 0.3), y).apply([0.0, 0.3, 1.0])).all()
    separated = fit_calibration(y.astype(float), y)
    assert separated.fitted and separated.apply([0.0, 1.0]) == pytest.approx([1 / 142, 61 / 62], rel=1e-3)


def test_the_identity_is_the_default() -> None:
    assert Calibration().apply([0.0, 0.25, 1.0]).tolist() == [0.0, 0.25, 1.0]
