"""Fitting one candidate, whichever learner it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning import boosting, logistic
from churn_assets.learning.matrix import learn_levels
from churn_assets.spec.learning import CandidateSpec

Floats = NDArray[np.float64]


class Learner(Protocol):
    """A fitted classifier that takes a frame of features and explains itself on the scale of log-odds."""

    @property
    def native(self) -> Any:
        """The library's own estimator."""
        ...

    def log_odds(self, frame: pl.DataFrame) -> Floats:
        """Log-odds of leaving before calibration, (n,)."""
        ...

    def contributions(self, frame: pl.DataFrame) -> Floats:
        """What each feature adds to the log-odds, (n, features); with ``bias`` they add up to ``log_odds``."""
        ...

    def bias(self) -> float:
        """The log-odds that contributions start from."""
        ...

    def importance(self) -> Floats:
        """Weight of each feature in the whole model, (features,), not negative."""
        ...


Fit = Callable[
    [CandidateSpec, pl.DataFrame, NDArray[np.bool_], Sequence[str], int], tuple[Learner, dict[str, tuple[str, ...]]]
]
"""``fit_candidate``, or what does the same elsewhere."""


def fit_candidate(
    candidate: CandidateSpec, frame: pl.DataFrame, y: NDArray[np.bool_], features: Sequence[str], seed: int
) -> tuple[Learner, dict[str, tuple[str, ...]]]:
    """Fits ``candidate`` on all rows of ``frame``; the same rows in the same order give the same model, bit for bit.

    Args:
        candidate: kind and parameters; its parameters override the defaults.
        frame: (n, ...) with the features as numbers, booleans or strings (categories).
        y: (n,) booleans, True for those who left; both classes.
        features: columns to learn from.
        seed: seed of the learner, unless the candidate sets ``random_state``.

    Returns:
        The fitted learner, and the levels of each category.

    Raises:
        LearningError: a feature is absent or of an unusable type, a parameter is unknown, or the library refuses.
    """
    levels = learn_levels(frame, features)
    params = effective_params(candidate, seed)
    try:
        if candidate.kind == "logistic":
            return logistic.fit_logistic(frame, y, features, levels, params), levels
        return boosting.fit_boosting(frame, y, features, levels, params), levels
    except (ValueError, TypeError) as error:
        raise LearningError(f"candidate {candidate.name} could not be fitted on {len(y)} rows: {error}") from error


def effective_params(candidate: CandidateSpec, seed: int) -> dict[str, Any]:
    """The parameters that ``candidate`` is fitted with: defaults of its kind, the seed, and its own on top.

    Raises:
        LearningError: the library's estimator has no such parameter.
    """
    defaults = logistic.DEFAULTS if candidate.kind == "logistic" else boosting.DEFAULTS
    known = _known_params(candidate.kind)
    unknown = sorted(set(candidate.params) - set(known))
    if unknown:
        raise LearningError(
            f"candidate {candidate.name}: expected parameters of {candidate.kind}, found {', '.join(unknown)}. "
            f"Known: {', '.join(sorted(known))}."
        )
    return {**defaults, "random_state": seed, **candidate.params}


def _known_params(kind: str) -> Collection[str]:
    if kind == "logistic":
        from sklearn.linear_model import LogisticRegression

        return set(LogisticRegression().get_params())
    from xgboost import XGBClassifier

    return set(XGBClassifier().get_params()) - {"feature_types", "enable_categorical"}
