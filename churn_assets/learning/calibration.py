"""Platt scaling: two parameters on the log-odds that make predicted probabilities agree with observed rates.

Platt, J. (1999), Probabilistic outputs for support vector machines; Niculescu-Mizil, A. and Caruana, R. (2005),
Predicting good probabilities with supervised learning; the damped Newton steps are those of Lin, H.-T., Lin, C.-J. and
Weng, R. C. (2007), A note on Platt's probabilistic outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST = 10
"""Rows of either class below which two parameters would fit noise."""

_SMALLEST = 1e-15

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """The map p -> expit(slope * logit(p) + intercept), and why it is what it is.

    >>> Calibration().apply([0.25, 0.5])
    array([0.25, 0.5 ])
    """

    slope: float = 1.0
    intercept: float = 0.0
    fitted: bool = False
    reason: str = "not calibrated."

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities, in the order of ``p`` (n,) and ranked like it."""
        if not self.fitted:
            return np.asarray(p, dtype=np.float64).copy()
        return expit(self.slope * log_odds(p) + self.intercept)


def fit_calibration(p: ArrayLike, y: ArrayLike) -> Calibration:
    """Fits slope and intercept on predictions for rows that the model wasn't fitted on.

    The identity is returned, and its ``reason`` says so, where either class has fewer than ``FEWEST`` rows, or where
    the predictions rank the rows no better than chance (a slope of zero or less would turn their order round).

    Args:
        p: (n,) predicted probabilities.
        y: (n,) booleans, True for those who left.
    """
    z, left = log_odds(p), np.asarray(y, dtype=bool)
    positives, negatives = int(left.sum()), int((~left).sum())
    if min(positives, negatives) < FEWEST:
        return Calibration(reason=f"not calibrated: {positives} who left and {negatives} who stayed are too few "
                                  f"(at least {FEWEST} of each are needed).")  # fmt: skip
    # Platt's targets keep the slope finite where the classes separate.
    target = np.where(left, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, intercept = _newton(z, target, np.log((positives + 1) / (negatives + 1)))
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope > 0):
        return Calibration(reason=f"not calibrated: the slope came out as {slope:.3g}, so the predictions rank these "
                                  f"{len(z)} rows no better than chance.")  # fmt: skip
    return Calibration(slope, intercept, True, f"slope {slope:.3f} and intercept {intercept:+.3f} by Platt scaling on "
                                               f"{len(z)} rows, {positives} of whom left.")  # fmt: skip


def log_odds(p: ArrayLike) -> Floats:
    """log(p / (1 - p)), finite also at 0 and 1."""
    clipped = np.clip(np.asarray(p, dtype=np.float64), _SMALLEST, 1 - _SMALLEST)
    result: Floats = np.log(clipped) - np.log1p(-clipped)
    return result


def expit(z: Any) -> Floats:
    """1 / (1 + exp(-z)) without overflow."""
    z = np.asarray(z, dtype=np.float64)
    small = np.exp(-np.abs(z))
    result: Floats = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return result


def _newton(z: Floats, target: Floats, start: float) -> tuple[float, float]:
    """Slope and intercept with the smallest cross-entropy against ``target``."""
    at = np.array([0.0, start])
    loss = _loss(z, target, at)
    for _ in range(100):
        step = _step(z, target, at)
        size = 1.0
        while size > 1e-10 and not _loss(z, target, at + size * step) <= loss:
            size /= 2
        if size <= 1e-10 or np.abs(size * step).max() < 1e-10:
            break
        at = at + size * step
        loss = _loss(z, target, at)
    return float(at[0]), float(at[1])


def _step(z: Floats, target: Floats, at: Floats) -> Floats:
    p = expit(at[0] * z + at[1])
    error, weight = target - p, p * (1 - p)
    # Sums of products: what BLAS makes of a dot product depends on how many threads there are.
    gradient = np.array([(error * z).sum(), error.sum()])
    cross = (weight * z).sum()
    curvature = np.array([[(weight * z * z).sum(), cross], [cross, weight.sum()]]) + 1e-12 * np.eye(2)
    return np.linalg.solve(curvature, gradient)


def _loss(z: Floats, target: Floats, at: Floats) -> float:
    score = at[0] * z + at[1]
    return float((np.logaddexp(0, score) - target * score).sum())
