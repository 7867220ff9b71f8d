"""Gradient-boosted trees by XGBoost, with its own categories and missing values, and defaults that need no tuning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning.matrix import Levels, to_matrix
from churn_assets.learning.splits import InnerFold

MANY_ROWS = 200_000
"""Rows above which trees are grown on all cores: fewer gain little, and lose much where the cores are busy."""

FEW_LEAVERS = 30
"""Leavers below which a month's loss says too little to choose a number of trees by."""

DEFAULTS: dict[str, Any] = {
    "n_estimators": 200,
    "max_depth": 3,
    "learning_rate": 0.08,
    "min_child_weight": 10,
    "gamma": 3,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "max_cat_to_onehot": 16,
    "tree_method": "hist",
}
"""Parameters of XGBClassifier.

Shallow trees with heavy leaves, a price on every split and a small step: where the same customer stands in many months
with an unchanged profile, deep trees learn the customer by heart. Out of time on such panels these lose .002 AUC to
the true functional form, without the price (gamma) .008, and the library's own defaults up to .10.
"""

OURS = {"feature_types", "enable_categorical", "early_stopping_rounds"}
"""Parameters of XGBClassifier that the features and ``early_stopping`` decide."""

GRID = 2.0**20
"""Gradients are multiples of 1/GRID: any sum of them, over up to 2^32 rows, is exact in double precision."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoostedLearner:
    """Fitted trees; ``native`` is the XGBClassifier."""

    native: Any
    features: tuple[str, ...]
    levels: Levels
    params: Mapping[str, Any]

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

        # Rows are predicted one by one, so threads change no bit of the result; few rows are faster without.
        figures = len(matrix) * (len(self.features) if "pred_contribs" in what else 1)
        threads = _cores() if figures > MANY_ROWS else 1
        data = xgb.DMatrix(
            matrix, feature_types=feature_types(self.features, self.levels), enable_categorical=True, nthread=threads
        )
        booster = self.native.get_booster()
        booster.set_param({"nthread": threads})
        result: NDArray[Any] = booster.predict(data, **what)
        booster.set_param({"nthread": 1})
        return result.astype(np.float64)


def fit_boosting(
    frame: pl.DataFrame,
    y: NDArray[np.bool_],
    features: Sequence[str],
    levels: Levels,
    params: Mapping[str, Any],
    monotone: Mapping[str, str] | None = None,
    patience: int = 0,
    stop: InnerFold | None = None,
) -> BoostedLearner:
    """Fits the trees on all rows of ``frame``.

    With ``stop`` and ``patience`` the number of trees is chosen first: trees are grown on the rows that teach until
    ``patience`` of them in a row have not lowered the log-loss of those that judge. Then as many as had the lowest
    are grown on all rows. With few leavers among the judges ``n_estimators`` stands, as it does without them.

    Args:
        frame: (n, ...) with the features.
        y: (n,) booleans, both classes.
        features: columns to learn from.
        levels: the levels of each category.
        params: parameters of XGBClassifier; without ``n_jobs`` one thread up to ``MANY_ROWS`` rows, else all cores.
        monotone: feature -> ``increasing`` or ``decreasing``.
        patience: trees without gain before growing ends; 0 grows ``n_estimators``.
        stop: (n,) masks, which rows teach and which judge.

    Raises:
        LearningError: ``monotone`` names a category, or what is no feature.
    """
    given = {**params, **constraints(features, levels, monotone or {})}
    types = feature_types(features, levels)
    matrix, left = to_matrix(frame, features, levels, np.float32), y.astype(np.int8)
    if patience and stop and can_judge(*(_counted(y, rows) for rows in stop)):
        given["n_estimators"] = _rounds(matrix, left, types, given, patience, stop)
    return BoostedLearner(_grown(matrix, left, types, given), tuple(features), levels, given)


def feature_types(features: Sequence[str], levels: Levels) -> list[str]:
    """XGBoost's word for the kind of each feature: category or quantity."""
    return ["c" if levels.get(f) else "q" for f in features]


def _rounds(
    matrix: NDArray[np.float32],
    left: NDArray[np.int8],
    types: list[str],
    params: Mapping[str, Any],
    patience: int,
    stop: InnerFold,
) -> int:
    """The number of trees with the lowest log-loss among the rows that judge."""
    taught, judge = stop
    watched = {**params, "early_stopping_rounds": patience, "eval_metric": "logloss"}
    grown = _grown(matrix[taught], left[taught], types, watched, [(matrix[judge], left[judge])])
    return int(grown.best_iteration) + 1


def can_judge(taught: Sequence[int], judge: Sequence[int]) -> bool:
    """Whether both classes teach, and enough customers who left are among those that judge.

    Either is how many left, and how many rows there are.
    """
    return 0 < taught[0] < taught[1] and FEW_LEAVERS <= judge[0] < judge[1]


def _counted(y: NDArray[np.bool_], rows: NDArray[np.bool_]) -> tuple[int, int]:
    return int(y[rows].sum()), int(rows.sum())


def _grown(
    matrix: NDArray[np.float32],
    left: NDArray[np.int8],
    types: list[str],
    params: Mapping[str, Any],
    watched: Sequence[Any] | None = None,
) -> Any:
    """A fitted XGBClassifier; equal to the bit on any number of threads.

    Few rows are summed by one thread. Many are summed by all, in an order that chance decides: there every gradient is
    rounded first, so that sums are exact, and any order gives the same one. What isn't histograms of the logistic loss
    can't be had so, and stays with one thread.
    """
    import xgboost as xgb

    many, threads = len(left) > MANY_ROWS, {"n_jobs": params.get("n_jobs", 1)}
    exact: dict[str, Any] = {}
    if many and not _OTHER_SUMS & params.keys() and params.get("tree_method") == "hist":
        threads = {"n_jobs": params.get("n_jobs", _cores())}
        exact = {"objective": _rounded_gradients, "base_score": float(left.mean())}
    native = xgb.XGBClassifier(**{**params, **threads, **exact}, feature_types=types, enable_categorical=True)
    native.fit(matrix, left, eval_set=watched, verbose=False)
    native.set_params(n_jobs=1, objective=params.get("objective", "binary:logistic"))
    native.get_booster().set_param({"nthread": 1})
    return native


_OTHER_SUMS = {"objective", "booster", "scale_pos_weight", "base_score"}


def _rounded_gradients(left: Any, log_odds: Any) -> tuple[Any, Any]:
    """First and second derivative of the logistic loss, as multiples of 1/GRID."""
    from scipy.special import expit

    p = expit(log_odds, dtype=np.float32)
    gradient, curvature = p - left, p * (1 - p)
    for values in (gradient, curvature):
        np.multiply(values, GRID, out=values)
        np.rint(values, out=values)
        np.divide(values, GRID, out=values)
    return gradient, curvature


def constraints(features: Sequence[str], levels: Levels, monotone: Mapping[str, str]) -> dict[str, Any]:
    """XGBoost's parameter for ``monotone``; none without.

    Raises:
        LearningError: a name that is a category, or no feature.
    """
    wrong = [name for name in monotone if name not in features or name in levels]
    if wrong:
        raise LearningError(
            f"monotone: expected features that are numbers, found {', '.join(wrong)}. Leave them out of monotone."
        )
    signs = {"increasing": 1, "decreasing": -1}
    return {"monotone_constraints": tuple(signs.get(monotone.get(f, ""), 0) for f in features)} if monotone else {}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
