import pickle
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.candidates import effective_params, fit_candidate
from churn_assets.learning.evaluation import auc
from churn_assets.spec.learning import CandidateSpec
from churn_assets_tests.learning.panels import FEATURES, panel


def _estimator(path: str, **params: Any) -> CandidateSpec:
    return CandidateSpec(name="other", kind="estimator", path=path, params=params)


OTHERS = {
    "lightgbm": _estimator("lightgbm.LGBMClassifier", n_estimators=30, num_leaves=4),
    "catboost": _estimator("catboost.CatBoostClassifier", n_estimators=30, depth=3),
    "histogram": _estimator("sklearn.ensemble.HistGradientBoostingClassifier", max_iter=30, max_leaf_nodes=4),
    "bayes": _estimator("sklearn.naive_bayes.GaussianNB"),
    "logistic": _estimator("sklearn.linear_model.LogisticRegression"),
}


def _fitted(candidate: CandidateSpec, rows: pl.DataFrame, features: list[str] = FEATURES) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # scikit-learn and LightGBM warn of parameters and names that don't fit
        return fit_candidate(candidate, rows, rows["label"].to_numpy(), features, seed=0)[0]


@pytest.mark.parametrize("name", OTHERS)
def test_any_classifier_learns_explains_and_survives_the_lake(name: str) -> None:
    rows, fresh = panel(customers=1000), panel(customers=500, seed=1)
    learner = _fitted(OTHERS[name], rows)
    z, parts = learner.log_odds(fresh), learner.contributions(fresh[:40])
    assert auc(fresh["label"], z) > 0.7
    np.testing.assert_allclose(parts.sum(axis=1) + learner.bias(), z[:40], atol=1e-5)
    assert FEATURES[int(learner.importance().argmax())] in ("calls", "contract")
    assert np.array_equal(pickle.loads(pickle.dumps(learner)).log_odds(fresh), z)
    assert np.array_equal(_fitted(OTHERS[name], rows).log_odds(fresh), z)


@pytest.mark.parametrize("name", OTHERS)
def test_any_classifier_copes_with_what_is_missing_unseen_or_empty(name: str) -> None:
    rows = panel().with_columns(empty=pl.lit(None), blank=pl.lit(None, dtype=pl.String), constant=pl.lit(7))
    learner = _fitted(OTHERS[name], rows, [*FEATURES, "empty", "blank", "constant"])
    unseen = learner.log_odds(rows.with_columns(contract=pl.lit("three years")))
    missing = learner.log_odds(rows.with_columns(contract=pl.lit(None, dtype=pl.String)))
    assert np.array_equal(unseen, missing) and np.isfinite(unseen).all()
    gone = rows.with_columns(pl.lit(None, dtype=rows.schema[c]).alias(c) for c in FEATURES)
    assert np.isfinite(learner.log_odds(gone)).all()


@pytest.mark.parametrize("name", ["bayes", "histogram"])
def test_any_classifier_sees_that_a_value_was_missing(name: str) -> None:
    random = np.random.default_rng(0)
    known = random.random(2000) < 0.5
    rows = pl.DataFrame({"x": np.where(known, random.normal(size=2000), np.nan)})
    left = random.random(2000) < np.where(known, 0.1, 0.5)
    learner, _ = fit_candidate(OTHERS[name], rows, left, ["x"], seed=0)
    assert auc(left, learner.log_odds(rows)) > 0.7


def test_seed_and_one_thread_are_set_under_the_names_of_the_library() -> None:
    found = effective_params(OTHERS["lightgbm"], 5)
    assert (found["random_state"], found["n_jobs"], found["deterministic"]) == (5, 1, True)
    found = effective_params(_estimator("catboost.CatBoostClassifier", random_seed=3), 5)
    assert (found["random_seed"], found["thread_count"], found.get("random_state")) == (3, 1, None)
    found = effective_params(_estimator("lightgbm.LGBMClassifier", num_threads=4), 5)
    assert "n_jobs" not in found and found["num_threads"] == 4
    assert effective_params(OTHERS["bayes"], 5) == {}


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("absent_library.Model", r"candidate other: path absent_library.Model can't be imported.*churn-assets\[light"),
        ("sklearn.naive_bayes.Absent", "expected a class with fit and predict_proba.* found nothing of that name"),
        ("sklearn.linear_model.LinearRegression", "found <class .*LinearRegression.* that gives probabilities"),
        ("sklearn.metrics.roc_auc_score", "expected a class with fit"),
    ],
)
def test_a_path_that_leads_nowhere_says_what_to_do(path: str, told: str) -> None:
    with pytest.raises(LearningError, match=told):
        effective_params(_estimator(path), 0)


def test_what_a_library_refuses_names_candidate_and_path() -> None:
    rows = panel(customers=100)
    with pytest.raises(LearningError, match=r"other: .*GaussianNB, found smoothing\. Known: priors, var_smoothing"):
        _fitted(_estimator("sklearn.naive_bayes.GaussianNB", smoothing=1), rows)
    with pytest.raises(LearningError, match=r"candidate other could not .* catboost.CatBoostClassifier says .*depth"):
        _fitted(_estimator("catboost.CatBoostClassifier", depth=99), rows)
