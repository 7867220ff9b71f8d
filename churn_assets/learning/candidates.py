"""Fitting one candidate, whichever learner it names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning import boosting, estimator, forest, logistic
from churn_assets.learning.matrix import learn_levels
from churn_assets.learning.splits import InnerFold
from churn_assets.spec.learning import CandidateSpec

Floats = NDArray[np.float64]


class Learner(Protocol):
    """A fitted classifier that takes a frame of features and explains itself on the scale of log-odds."""

    @property
    def native(self) -> Any:
        """The library's own estimator."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters that it was fitted with, those that were chosen on the way included."""
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


Fitted = tuple[Learner, dict[str, tuple[str, ...]]]
"""A learner, and the levels of each category."""


class Fit(Protocol):
    """``fit_candidate``, or what does the same elsewhere."""

    def __call__(
        self,
        candidate: CandidateSpec,
        frame: pl.DataFrame,
        y: NDArray[np.bool_],
        features: Sequence[str],
        seed: int,
        stop: InnerFold | None = None,
    ) -> Fitted: ...


def fit_candidate(
    candidate: CandidateSpec,
    frame: pl.DataFrame,
    y: NDArray[np.bool_],
    features: Sequence[str],
    seed: int,
    stop: InnerFold | None = None,
) -> Fitted:
    """Fits ``candidate`` on all rows of ``frame``; the same rows in the same order give the same model, bit for bit.

    Args:
        candidate: kind and parameters; its parameters override the defaults.
        frame: (n, ...) with the features as numbers, booleans or strings (categories).
        y: (n,) booleans, True for those who left; both classes.
        features: columns to learn from.
        seed: seed of the learner, unless the candidate sets ``random_state``.
        stop: which rows teach and which judge how many trees are enough, for a candidate with ``early_stopping``.

    Returns:
        The fitted learner, and the levels of each category.

    Raises:
        LearningError: a feature is absent or of an unusable type, a parameter is unknown, or the library refuses.
    """
    levels = learn_levels(frame, features)
    params = effective_params(candidate, seed)
    given = (frame, y, features, levels)
    try:
        match candidate.kind:
            case "logistic":
                return logistic.fit_logistic(*given, params), levels
            case "random_forest":
                return forest.fit_forest(*given, params), levels
            case "xgboost":
                learner = boosting.fit_boosting(*given, params, candidate.monotone, candidate.early_stopping, stop)
                return learner, levels
            case _:
                made = _class(candidate)(**params)
                return estimator.fit_estimator(made, *given, params, seed), levels
    except LearningError as error:
        raise LearningError(f"candidate {candidate.name}: {error}") from error
    except Exception as error:  # libraries have exceptions of their own
        told = f"candidate {candidate.name} could not be fitted on {len(y)} rows: "
        if candidate.kind == "estimator":
            told += f"{candidate.path} says "
        elif not isinstance(error, ValueError | TypeError):
            raise
        raise LearningError(f"{told}{error}") from error


def effective_params(candidate: CandidateSpec, seed: int) -> dict[str, Any]:
    """The parameters that ``candidate`` is fitted with: defaults of its kind, the seed, and its own on top.

    Raises:
        LearningError: the library's estimator has no such parameter.
    """
    unknown = sorted(set(candidate.params) - set(known)) if (known := _known_params(candidate)) else []
    if unknown:
        raise LearningError(
            f"candidate {candidate.name}: expected parameters of {candidate.path or candidate.kind}, found "
            f"{', '.join(unknown)}. Known: {', '.join(sorted(known))}."
        )
    return {**_defaults(candidate, seed), **candidate.params}


def _defaults(candidate: CandidateSpec, seed: int) -> dict[str, Any]:
    match candidate.kind:
        case "logistic":
            return {**logistic.DEFAULTS, "random_state": seed}
        case "random_forest":
            return {**forest.DEFAULTS, "random_state": seed}
        case "xgboost":
            return {**boosting.DEFAULTS, "random_state": seed}
        case _:
            return estimator.defaults_of(_class(candidate), str(candidate.path), candidate.params, seed)


def _known_params(candidate: CandidateSpec) -> Collection[str]:
    """The names of all parameters; none where a class takes any."""
    match candidate.kind:
        case "logistic":
            from sklearn.linear_model import LogisticRegression

            return set(LogisticRegression().get_params())
        case "random_forest":
            from sklearn.ensemble import RandomForestClassifier

            return set(RandomForestClassifier().get_params())
        case "xgboost":
            from xgboost import XGBClassifier

            return set(XGBClassifier().get_params()) - boosting.OURS
        case _:
            found = _class(candidate)
            return () if estimator.takes_any(found) else estimator.accepted(found)


def _class(candidate: CandidateSpec) -> Any:
    return estimator.estimator_class(candidate.name, str(candidate.path))
