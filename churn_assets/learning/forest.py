"""A random forest by scikit-learn, with defaults that need no tuning and don't learn customers by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.learning.estimator import EstimatorLearner, fit_estimator
from churn_assets.learning.matrix import Levels

DEFAULTS: dict[str, Any] = {
    "n_estimators": 200,
    "max_features": 0.6,
    "max_samples": 0.3,
    "min_samples_leaf": 0.005,
}
"""Parameters of RandomForestClassifier.

Where the same customer stands in many months, a tree that sees all of them has one customer a leaf. Here each sees
three tenths of the rows, so that few customers come often, and a leaf needs a share of the rows, so that it holds
several.
"""


def fit_forest(
    frame: pl.DataFrame,
    y: NDArray[np.bool_],
    features: Sequence[str],
    levels: Levels,
    params: Mapping[str, Any],
) -> EstimatorLearner:
    """Fits the forest on all rows of ``frame``; ``y`` is (n,) with both classes.

    Trees are seeded one by one, so that they are the same on any number of threads. Their mean isn't, so that the
    fitted forest predicts on one.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(**{"n_jobs": -1, **params})
    learner = fit_estimator(forest, frame, y, features, levels, params, int(params["random_state"]))
    learner.native[-1].set_params(n_jobs=1)
    return learner
