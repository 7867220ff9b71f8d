"""How good predicted probabilities are, with intervals that say how sure that is.

DeLong, E., DeLong, D. and Clarke-Pearson, D. (1988), Comparing the areas under two or more correlated receiver
operating characteristic curves; computed by midranks as in Sun, X. and Xu, W. (2014), Fast implementation of DeLong's
algorithm. Every figure is the same for any order of the rows: ties share their rank, their bin and their lift.
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
    in the tenth with the highest predictions, divided by ``rate``.
    """

    rows: int
    positives: int
    auc: Interval
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float
    top_decile_lift: float
    mean_prediction: float
    rate: float

    def as_dict(self) -> dict[str, float]:
        """All figures by name, flat: ``auc``, ``auc_lower``, ``auc_upper``, ``pr_auc`` and so on."""
        figures: dict[str, Any] = {name: float(value) for name, value in vars(self).items() if name != "auc"}
        return {"auc": self.auc.value, "auc_lower": self.auc.lower, "auc_upper": self.auc.upper, **figures}


def evaluate(y: ArrayLike, p: ArrayLike, confidence: float = 0.95) -> Evaluation:
    """Judges predicted probabilities.

    Args:
        y: (n,) booleans, True for those who left.
        p: (n,) predicted probabilities of leaving.
        confidence: of the interval of the AUC.

    Raises:
        LearningError: one class only, different lengths, or a prediction that is no number from 0 to 1.
    """
    left, prediction = _checked(y, p)
    if prediction.min() < 0 or prediction.max() > 1:
        raise LearningError(
            f"evaluation: expected probabilities from 0 to 1, found {prediction.min():g} to {prediction.max():g}."
        )
    return Evaluation(
        rows=len(left),
        positives=int(left.sum()),
        auc=auc_delong(left, prediction, confidence),
        pr_auc=average_precision(left, prediction),
        log_loss=_log_loss(left, prediction),
        brier=float(np.mean((prediction - left) ** 2)),
        calibration_error=calibration_error(left, prediction),
        top_decile_lift=top_decile_lift(left, prediction),
        mean_prediction=float(prediction.mean()),
        rate=float(left.mean()),
    )


def auc(y: ArrayLike, p: ArrayLike) -> float:
    """Area under the ROC curve: how often one who left was ranked above one who stayed, ties counting half.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = _checked(y, p)
    positives, negatives = _counts(left)
    ranks = midranks(prediction)[left].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def auc_delong(y: ArrayLike, p: ArrayLike, confidence: float = 0.95) -> Interval:
    """AUC with DeLong's interval, cut at 0 and 1; with a single row of a class it is all of 0 to 1.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = _checked(y, p)
    variance = _variance(*_components(left, prediction))
    return _interval(auc(left, prediction), variance, confidence, 0.0, 1.0)


def auc_difference(y: ArrayLike, p_new: ArrayLike, p_old: ArrayLike, confidence: float = 0.95) -> Interval:
    """AUC of ``p_new`` minus AUC of ``p_old`` on the same rows, with DeLong's interval for correlated curves.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, new = _checked(y, p_new)
    _, old = _checked(y, p_old)
    new_left, new_stayed = _components(left, new)
    old_left, old_stayed = _components(left, old)
    variance = _variance(new_left - old_left, new_stayed - old_stayed)
    return _interval(auc(left, new) - auc(left, old), variance, confidence, -1.0, 1.0)


def calibration_error(y: ArrayLike, p: ArrayLike, bins: int = 10) -> float:
    """Mean distance between predicted and observed rate over bins of equal mass (ECE; Naeini et al. 2015).

    Equal predictions share a bin, so that bins can differ in size where there are many ties.
    """
    left, prediction = _checked(y, p)
    place = (midranks(prediction) - 0.5) / len(prediction)
    at = np.minimum((place * bins).astype(int), bins - 1)
    gaps = np.bincount(at, weights=prediction, minlength=bins) - np.bincount(at, weights=left, minlength=bins)
    return float(np.abs(gaps).sum() / len(prediction))


def top_decile_lift(y: ArrayLike, p: ArrayLike) -> float:
    """Rate of leaving in the tenth with the highest predictions, divided by the overall rate.

    Rows that tie at the edge of the tenth count with the share of them that fits into it.

    >>> top_decile_lift([True] + [False] * 9, [0.9] + [0.1] * 9)
    10.0
    """
    left, prediction = _checked(y, p)
    size = int(np.ceil(len(left) / 10))
    edge = np.partition(prediction, len(left) - size)[len(left) - size]
    above, tied = prediction > edge, prediction == edge
    fits = (size - above.sum()) / tied.sum()
    return float((left[above].sum() + fits * left[tied].sum()) / size / left.mean())


def average_precision(y: ArrayLike, p: ArrayLike) -> float:
    """Area under the precision-recall curve without interpolation: mean precision over those who left."""
    left, prediction = _checked(y, p)
    values, at = np.unique(-prediction, return_inverse=True)
    rows = np.cumsum(np.bincount(at, minlength=len(values)))
    hits = np.bincount(at, weights=left, minlength=len(values))
    return float((hits * np.cumsum(hits) / rows).sum() / left.sum())


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


def _checked(y: ArrayLike, p: ArrayLike) -> tuple[Flags, Floats]:
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
