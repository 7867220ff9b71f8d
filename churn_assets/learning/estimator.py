"""Any classifier in scikit-learn's manner, by the path of its class.

It gets one matrix: numbers as they are, and one column a level for a category, so that an unseen level and a missing
one are all zeros. A class that says in its scikit-learn tags that it takes NaN gets missing numbers as NaN. Any other
gets the median of the fit rows in their place, with one more column where values were missing, and numbers of mean 0
and deviation 1. A number without any value in the fit rows is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, isclass, signature
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning.calibration import log_odds as log_odds_of
from churn_assets.learning.matrix import Levels, to_matrix
from churn_assets.learning.shapley import Matrix, Sampling

Floats = NDArray[np.float64]

SEEDS = ("random_state", "random_seed", "seed")
THREADS = ("n_jobs", "thread_count", "num_threads", "nthread")
"""What libraries call their seed, and their number of threads: one, since sums over several depend on chance."""

OF_LIBRARY: dict[str, dict[str, Any]] = {
    # Without these two LightGBM chooses by the clock how it sums.
    "lightgbm": {"verbosity": -1, "deterministic": True, "force_col_wise": True},
    "catboost": {"verbose": False, "allow_writing_files": False},
}
"""Package -> parameters that make its estimators repeatable, and silent."""


@dataclass(frozen=True)
class EstimatorLearner:
    """A fitted classifier; ``native`` is a scikit-learn pipeline from codes of ``to_matrix`` to the classifier."""

    native: Any
    features: tuple[str, ...]
    levels: Levels
    params: Mapping[str, Any]
    sampling: Sampling

    def log_odds(self, frame: pl.DataFrame) -> Floats:
        """Log-odds of leaving before calibration, (n,)."""
        return self._log_odds(self._matrix(frame))

    def contributions(self, frame: pl.DataFrame) -> Floats:
        """Sampled Shapley values on the log-odds, (n, features); see ``shapley``."""
        return self.sampling.contributions(self._log_odds, self._matrix(frame))

    def bias(self) -> float:
        """Mean log-odds of the rows that contributions are measured against."""
        return self.sampling.bias(self._log_odds)

    def importance(self) -> Floats:
        """How far the log-odds move if a feature takes another customer's value, (features,)."""
        return self.sampling.importance(self._log_odds)

    def _matrix(self, frame: pl.DataFrame) -> Matrix:
        return to_matrix(frame, self.features, self.levels, np.float32)

    def _log_odds(self, matrix: Matrix) -> Floats:
        return log_odds_of(self.native.predict_proba(matrix)[:, 1])


def fit_estimator(
    estimator: Any,
    frame: pl.DataFrame,
    y: NDArray[np.bool_],
    features: Sequence[str],
    levels: Levels,
    params: Mapping[str, Any],
    seed: int,
) -> EstimatorLearner:
    """Fits ``estimator``, a classifier not yet fitted, on all rows of ``frame``; ``y`` is (n,) with both classes."""
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    matrix = to_matrix(frame, features, levels, np.float32)
    with threadpool_limits(1, user_api="openmp"):  # for classes of scikit-learn that have no parameter for it
        native = make_pipeline(_columns(estimator, matrix, features, levels), estimator).fit(matrix, y.astype(np.int8))
    return EstimatorLearner(native, tuple(features), levels, dict(params), Sampling.of(matrix, seed))


def estimator_class(name: str, path: str) -> Any:
    """The class at ``path``.

    Raises:
        LearningError: there is none, its package isn't installed, or it gives no probabilities.
    """
    module, _, attribute = path.rpartition(".")
    told = f"candidate {name}: path {path}"
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise LearningError(
            f"{told} can't be imported: {error}. Install its package (LightGBM and CatBoost are the extras "
            "churn-assets[lightgbm] and churn-assets[catboost]), or correct the path."
        ) from error
    if not isclass(found) or not all(hasattr(found, method) for method in ("fit", "predict_proba")):
        what = "nothing of that name" if found is None else repr(found)
        raise LearningError(
            f"{told}: expected a class with fit and predict_proba, as scikit-learn's classifiers have, found {what}. "
            "Name a classifier that gives probabilities."
        )
    return found


def defaults_of(kind: Any, path: str, given: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The parameters that a class gets unless the candidate sets them: its seed, one thread, its library's own."""
    library = path.partition(".")[0]
    # In scikit-learn one job is the default, and some classes that still take n_jobs warn of it.
    wanted: dict[tuple[str, ...], int] = {SEEDS: seed} if library == "sklearn" else {SEEDS: seed, THREADS: 1}
    known = {names: next((n for n in names if n in accepted(kind)), None) for names in wanted}
    common = {name: wanted[names] for names, name in known.items() if name and not given.keys() & set(names)}
    return {**common, **OF_LIBRARY.get(library, {})}


def accepted(kind: Any) -> set[str]:
    """The names of a class's parameters."""
    return {name for name, p in signature(kind).parameters.items() if p.kind != Parameter.VAR_KEYWORD}


def takes_any(kind: Any) -> bool:
    """Whether a class takes parameters beyond those that it names."""
    return any(p.kind == Parameter.VAR_KEYWORD for p in signature(kind).parameters.values())


def _columns(estimator: Any, matrix: Matrix, features: Sequence[str], levels: Levels) -> Any:
    """What makes the estimator's matrix of codes."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    categories = [i for i, f in enumerate(features) if levels.get(f)]
    # Not every class that takes NaN takes a column of nothing else.
    numbers = [i for i, f in enumerate(features) if f not in levels and not np.isnan(matrix[:, i]).all()]
    codes = [np.arange(len(levels[features[i]]), dtype=np.float32) for i in categories]
    one_a_level = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    return ColumnTransformer([("numbers", _numbers(estimator), numbers), ("categories", one_a_level, categories)])


def _numbers(estimator: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils import get_tags

    if get_tags(estimator).input_tags.allow_nan:
        return "passthrough"
    filled = SimpleImputer(strategy="median", add_indicator=True)
    return make_pipeline(filled, StandardScaler())
