"""How good predicted probabilities are, with intervals that say how sure that is.

DeLong, E., DeLong, D. and Clarke-Pearson, D. (1988), Comparing the areas under two or more correlated receiver
operating characteristic curves; computed by midranks as in Sun, X. and Xu, W. (2014), Fast implementation of DeLong's
algorithm. Every figure is the same for any order of the rows: ties share their rank, their bin and their lift.

The expected calibration error is the mean distance between predicted and observed rate over bins of equal mass
(Naeini, M., Cooper, G. and Hauskrecht, M. 2015, Obtaining well calibrated probabilities using Bayesian binning). What
is computed of a finite number of rows lies above the truth, since noise in a bin counts as distance whatever its sign
(Kumar, A., Liang, P. and Ma, T. 2019, Verified uncertainty calibration; Roelofs, R. et al. 2022, Mitigating bias in
calibration error estimation), and a percentile bootstrap adds the same bias once more. Its interval rests on the
triangle inequality instead. With e_b the noise in the rate of bin b and w_b its share of the rows, the computed error
exceeds the true one by no more than sum(w_b |e_b|), and falls below it by no more than sum(w_b s_b e_b), s_b being the
sign of the bin's distance. Quantiles of both are drawn from binomial noise about the observed rates, given the
predictions, as in Broecker, J. and Smith, L. (2007), Increasing the reliability of reliability diagrams. The interval
therefore always holds the computed value, reaches down to 0 where noise alone explains it, and covers the truth at
least as often as it says; drawing needs a bin's counts and no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churn_assets.errors import LearningError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]

BINS = 10
DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of its confidence interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Evaluation:
    """Predictions for ``rows`` customers, ``positives`` of whom left, against what happened.

    ``rate`` is the share who left and ``mean_prediction`` the share that was predicted; ``top_decile_lift`` is the rate
    in the tenth with the highest predictions, divided by ``rate``; ``brier_skill`` is the part of the Brier score of
    predicting ``rate`` for everyone that the predictions save (1 is perfect, below 0 is worse than that).
    """

    rows: int
    positives: int
    auc: Interval
    pr_auc: float
    log_loss: float
    brier: float
    brier_skill: float
    calibration_error: float
    calibration_error_lower: float
    calibration_error_upper: float
    top_decile_lift: float
    mean_prediction: float
    rate: float

    def as_dict(self) -> dict[str, float]:
        """All figures by name, flat: ``auc``, ``auc_lower``, ``auc_upper``, ``pr_auc`` and so on."""
        figures: dict[str, Any] = {name: float(value) for name, value in vars(self).items() if name != "auc"}
        return {"auc": self.auc.value, "auc_lower": self.auc.lower, "auc_upper": self.auc.upper, **figures}


def evaluate(y: ArrayLike, p: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Evaluation:
    """Judges predicted probabilities.

    Args:
        y: (n,) booleans, True for those who left.
        p: (n,) predicted probabilities of leaving.
        confidence: of the intervals.
        seed: of what is drawn for the interval of the calibration error.

    Raises:
        LearningError: one class only, different lengths, or a prediction that is no number from 0 to 1.
    """
    left, prediction = checked(y, p)
    if prediction.min() < 0 or prediction.max() > 1:
        raise LearningError(
            f"evaluation: expected probabilities from 0 to 1, found {prediction.min():g} to {prediction.max():g}."
        )
    rate, error = float(left.mean()), calibration_error(left, prediction, BINS, confidence, seed)
    brier = float(np.mean((prediction - left) ** 2))
    return Evaluation(
        rows=len(left),
        positives=int(left.sum()),
        auc=auc_delong(left, prediction, confidence),
        pr_auc=average_precision(left, prediction),
        log_loss=_log_loss(left, prediction),
        brier=brier,
        brier_skill=1 - brier / (rate * (1 - rate)),
        calibration_error=error.value,
        calibration_error_lower=error.lower,
        calibration_error_upper=error.upper,
        top_decile_lift=top_decile_lift(left, prediction),
        mean_prediction=float(prediction.mean()),
        rate=rate,
    )


def auc(y: ArrayLike, p: ArrayLike) -> float:
    """Area under the ROC curve: how often one who left was ranked above one who stayed, ties counting half.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = checked(y, p)
    positives, negatives = _counts(left)
    ranks = midranks(prediction)[left].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def auc_delong(y: ArrayLike, p: ArrayLike, confidence: float = 0.95) -> Interval:
    """AUC with DeLong's interval, cut at 0 and 1; with a single row of a class it is all of 0 to 1.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = checked(y, p)
    variance = _variance(*_components(left, prediction))
    return _interval(auc(left, prediction), variance, confidence, 0.0, 1.0)


def auc_difference(y: ArrayLike, p_new: ArrayLike, p_old: ArrayLike, confidence: float = 0.95) -> Interval:
    """AUC of ``p_new`` minus AUC of ``p_old`` on the same rows, with DeLong's interval for correlated curves.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, new = checked(y, p_new)
    _, old = checked(y, p_old)
    new_left, new_stayed = _components(left, new)
    old_left, old_stayed = _components(left, old)
    variance = _variance(new_left - old_left, new_stayed - old_stayed)
    return _interval(auc(left, new) - auc(left, old), variance, confidence, -1.0, 1.0)


def calibration_error(
    y: ArrayLike, p: ArrayLike, bins: int = BINS, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Expected calibration error over bins of equal mass, with the interval that this module's first lines describe.

    Args:
        y: (n,) booleans, True for those who left.
        p: (n,) predicted probabilities of leaving.
        bins: number of bins; equal predictions share one, so that they can differ in size where there are many ties.
        confidence: of the interval, which covers the truth at least as often.
        seed: of the noise that is drawn.
    """
    rows, left, predicted = binned(y, p, bins)
    share, gap = rows / rows.sum(), (predicted - left) / rows
    # Half a row of either kind keeps a bin without leavers from passing for one without noise.
    rate = (left + 0.5) / (rows + 1)
    drawn = np.random.default_rng(seed).binomial(rows, rate, (DRAWS, len(rows))) / rows - rate
    value, tail = float((np.abs(gap) * share).sum()), (1 - confidence) / 2
    excess = np.quantile((np.abs(drawn) * share).sum(axis=1), 1 - tail)
    shortfall = np.quantile((drawn * np.sign(gap) * share).sum(axis=1), 1 - tail)
    return Interval(value, max(0.0, value - float(excess)), min(1.0, value + max(0.0, float(shortfall))))


def binned(y: ArrayLike, p: ArrayLike, bins: int = BINS) -> tuple[Counts, Floats, Floats]:
    """Rows, leavers and sum of predictions of bins of equal mass, by ascending prediction; (k,) each, k <= ``bins``."""
    left, prediction = checked(y, p)
    place = (midranks(prediction) - 0.5) / len(prediction)
    at = np.minimum((place * bins).astype(int), bins - 1)
    rows, filled = np.bincount(at, minlength=bins), np.unique(at)
    leavers = np.bincount(at, weights=left, minlength=bins).astype(np.float64)
    predicted = np.bincount(at, weights=prediction, minlength=bins).astype(np.float64)
    return rows[filled], leavers[filled], predicted[filled]


def rate_interval(positives: ArrayLike, rows: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Ends of the interval of a rate (Wilson, E. B. 1927, Probable inference), for one count or for many.

    >>> low, high = rate_interval(0, 10)
    >>> round(float(low), 3), round(float(high), 3)
    (0.0, 0.278)
    """
    n, z = np.asarray(rows, dtype=np.float64), NormalDist().inv_cdf((1 + confidence) / 2)
    rate = np.asarray(positives, dtype=np.float64) / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding must not push the end beyond the rate itself.
    return np.clip(np.minimum(middle - half, rate), 0, 1), np.clip(np.maximum(middle + half, rate), 0, 1)


def top_decile_lift(y: ArrayLike, p: ArrayLike) -> float:
    """Rate of leaving in the tenth with the highest predictions, divided by the overall rate.

    Rows that tie at the edge of the tenth count with the share of them that fits into it.

    >>> top_decile_lift([True] + [False] * 9, [0.9] + [0.1] * 9)
    10.0
    """
    left, prediction = checked(y, p)
    size = int(np.ceil(len(left) / 10))
    edge = np.partition(prediction, len(left) - size)[len(left) - size]
    above, tied = prediction > edge, prediction == edge
    fits = (size - above.sum()) / tied.sum()
    return float((left[above].sum() + fits * left[tied].sum()) / size / left.mean())


def average_precision(y: ArrayLike, p: ArrayLike) -> float:
    """Area under the precision-recall curve without interpolation: mean precision over those who left."""
    rows, hits = cumulated(*checked(y, p))
    return float((np.diff(hits, prepend=0) * hits / rows).sum() / hits[-1])


def cumulated(left: Flags, prediction: Floats) -> tuple[Floats, Floats]:
    """Rows, and leavers among them, with a prediction at or above each distinct one, by descending prediction."""
    values, at = np.unique(-prediction, return_inverse=True)
    rows = np.bincount(at, minlength=len(values)).astype(np.float64)
    return np.cumsum(rows), np.cumsum(np.bincount(at, weights=left, minlength=len(values)))


def midranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs; O(n log n).

    >>> midranks(np.array([3.0, 1.0, 3.0]))
    array([2.5, 1. , 2.5])
    """
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    result: Floats = (np.cumsum(counts) - (counts - 1) / 2)[at]
    return result


def _components(left: Flags, prediction: Floats) -> tuple[Floats, Floats]:
    """DeLong's structural components: of each who left (m,), and of each who stayed (n,)."""
    positives, negatives = _counts(left)
    overall = midranks(prediction)
    own_left, own_stayed = midranks(prediction[left]), midranks(prediction[~left])
    return (overall[left] - own_left) / negatives, 1 - (overall[~left] - own_stayed) / positives


def _variance(of_left: Floats, of_stayed: Floats) -> float:
    if min(len(of_left), len(of_stayed)) < 2:
        return float("nan")
    return float(of_left.var(ddof=1) / len(of_left) + of_stayed.var(ddof=1) / len(of_stayed))


def _interval(value: float, variance: float, confidence: float, least: float, most: float) -> Interval:
    if not np.isfinite(variance):
        return Interval(value, least, most)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * variance**0.5
    return Interval(value, max(least, value - half), min(most, value + half))


def _log_loss(left: Flags, prediction: Floats) -> float:
    right = np.where(left, prediction, 1 - prediction)
    return float(-np.log(np.maximum(right, np.finfo(np.float64).eps)).mean())


def _counts(left: Flags) -> tuple[int, int]:
    return int(left.sum()), int((~left).sum())


def checked(y: ArrayLike, p: ArrayLike) -> tuple[Flags, Floats]:
    """Labels and predictions as arrays, (n,) each.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = np.asarray(y).astype(bool), np.asarray(p, dtype=np.float64)
    if left.shape != prediction.shape or left.ndim != 1:
        raise LearningError(
            f"evaluation: expected one prediction per label, found {prediction.size} for {left.size} labels."
        )
    positives, negatives = _counts(left)
    if not positives or not negatives:
        raise LearningError(
            f"evaluation: expected customers who left and customers who stayed, found {positives} who left and "
            f"{negatives} who stayed. Judge on more rows."
        )
    wrong = int((~np.isfinite(prediction)).sum())
    if wrong:
        raise LearningError(f"evaluation: expected numbers, found {wrong} of {len(prediction)} predictions missing.")
    return left, prediction
