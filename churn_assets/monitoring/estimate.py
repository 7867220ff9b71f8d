"""How good predictions probably are, before anybody knows who left.

If every probability is right, each customer leaves with just that chance, independent of the others; what a figure will
come out as follows from the scores alone. That is confidence-based performance estimation (Kivimäki, J., Białek, J.,
Kuberski, W. and Nurminen, J. 2025, Performance estimation in binary classification using calibrated confidence; the
method of NannyML). Here the figures' means and variances are in closed form: Brier score, logarithmic loss and rate are
sums of independent terms; AUC and lift are ratios of two such sums, or products of them, taken to the second order (the
delta method).

The interval is where the realised figure falls as often as ``confidence`` says, if the probabilities are right. That
they have become wrong, because customers leave for other reasons than those that the model learned from (concept
drift), no score can tell: the estimate holds its level while the truth falls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from churn_assets.errors import LearningError
from churn_assets.learning.evaluation import Floats, Interval, midranks
from churn_assets.monitoring.figures import Figure
from churn_assets.monitoring.realised import Realised

NAMES = ("auc", "top_decile_lift", "brier", "log_loss", "rate")
"""What is estimated."""


@dataclass(frozen=True)
class Estimate:
    """What the figures of ``rows`` customers will probably be, by their scores alone."""

    rows: int
    auc: Interval
    top_decile_lift: Interval
    brier: Interval
    log_loss: Interval
    rate: Interval

    def figures(self, snapshot: str, role: str, model: str) -> tuple[Figure, ...]:
        """The estimate of the scores that ``model`` gave in the month ``snapshot``."""
        found = {name: getattr(self, name) for name in NAMES}
        return tuple(
            Figure(f"estimated_{name}", snapshot, role, model, one.value, one.lower, one.upper)
            for name, one in found.items()
        )


def estimate(p: ArrayLike, confidence: float = 0.95) -> Estimate:
    """What will probably become of the predictions ``p`` (n,), if they are calibrated; O(n log n).

    Raises:
        LearningError: a prediction is no number from 0 to 1, or nobody, or everybody, is sure to leave.
    """
    said = np.asarray(p, dtype=np.float64)
    if not len(said) or not (np.isfinite(said).all() and said.min() >= 0 and said.max() <= 1):
        raise LearningError(f"estimate: expected probabilities from 0 to 1, found others among {len(said)}, or none.")
    variance = said * (1 - said)
    if not variance.any():
        raise LearningError(f"estimate: expected uncertain outcomes, found {len(said)} predictions of 0 or 1.")
    likely = np.clip(said, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    surprise = np.log(likely) - np.log1p(-likely)
    entropy = -(said * np.log(likely) + (1 - said) * np.log1p(-likely))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return Estimate(
        rows=len(said),
        auc=_interval(*_auc(said, variance), z, 1.0),
        top_decile_lift=_interval(*_lift(said, variance), z, np.inf),
        brier=_interval(*_mean(variance, variance * (1 - 2 * said) ** 2), z, 1.0),
        log_loss=_interval(*_mean(entropy, variance * surprise**2), z, np.inf),
        rate=_interval(*_mean(said, variance), z, 1.0),
    )


def compare(then: pl.DataFrame, realised: Realised) -> tuple[Figure, ...]:
    """What was realised less what had been estimated, of each figure that was.

    Args:
        then: the rows that were put down in the month of the predictions.
        realised: what became of them. Scores that another model gave than the one that was estimated aren't compared.
    """
    estimated = {(row["metric"], row["role"], row["model"]): row for row in then.to_dicts()}
    found = []
    for truth in realised.figures:
        name = truth.metric.removeprefix("realised_")
        said = estimated.get((f"estimated_{name}", truth.role, truth.model))
        if said and said["subject"] == realised.snapshot:
            value, lower, upper = (said[end] for end in ("value", "lower", "upper"))
            ends = truth.value - value, truth.value - upper, truth.value - lower
            kept = lower <= truth.value <= upper
            found.append(
                replace(truth, metric=f"estimate_error_{name}", value=ends[0], lower=ends[1], upper=ends[2],
                        promised=value, promised_lower=lower, promised_upper=upper, kept=kept)
            )  # fmt: skip
    return tuple(found)


def _mean(expected: Floats, variance: Floats) -> tuple[float, float]:
    """Mean and variance of the mean of independent terms."""
    return float(expected.mean()), float(variance.sum()) / len(expected) ** 2


def _auc(p: Floats, variance: Floats) -> tuple[float, float]:
    """Mean and variance of the AUC.

    With N leavers and S the sum of their ranks, it is (S - N(N+1)/2) / (N(n-N)).
    """
    n, ranks = len(p), midranks(p)
    mean, spread = float(p.sum()), float(variance.sum())
    s, s_spread, s_shared = (float((w * v).sum()) for w, v in ((ranks, p), (ranks**2, variance), (ranks, variance)))
    half = mean + 0.5
    above = s - (mean**2 + spread + mean) / 2
    below = n * mean - mean**2 - spread
    return _ratio(
        above, below,
        s_spread - 2 * half * s_shared + half**2 * spread,
        (n - 2 * mean) ** 2 * spread,
        (n - 2 * mean) * (s_shared - half * spread),
    )  # fmt: skip


def _lift(p: Floats, variance: Floats) -> tuple[float, float]:
    """Mean and variance of the rate in the tenth with the highest predictions, divided by the overall rate."""
    size = int(np.ceil(len(p) / 10))
    edge = np.partition(p, len(p) - size)[len(p) - size]
    above, tied = p > edge, p == edge
    weight = above + tied * ((size - above.sum()) / tied.sum())
    scale = len(p) / size
    mean, spread = _ratio(
        float((weight * p).sum()), float(p.sum()),
        float((weight**2 * variance).sum()), float(variance.sum()), float((weight * variance).sum()),
    )  # fmt: skip
    return scale * mean, scale**2 * spread


def _ratio(above: float, below: float, above_spread: float, below_spread: float, shared: float) -> tuple[float, float]:
    """Mean and variance of a ratio, given the means, variances and the covariance of its parts."""
    mean = above / below - shared / below**2 + above * below_spread / below**3
    spread = above_spread / below**2 - 2 * above * shared / below**3 + above**2 * below_spread / below**4
    return mean, max(spread, 0.0)


def _interval(value: float, variance: float, z: float, most: float) -> Interval:
    reach = z * variance**0.5
    return Interval(value, max(0.0, value - reach), min(most, value + reach))
