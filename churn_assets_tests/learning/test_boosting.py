import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.boosting import FEW_LEAVERS, MANY_ROWS
from churn_assets.learning.candidates import fit_candidate
from churn_assets.learning.evaluation import auc
from churn_assets.spec.learning import CandidateSpec
from churn_assets_tests.learning.panels import FEATURES, XGBOOST, Masks, newest_month_judges, panel


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return panel(customers=2000, months=4)


def _trees(candidate: CandidateSpec, rows: pl.DataFrame, stop: Masks | None) -> int:
    learner, _ = fit_candidate(candidate, rows, rows["label"].to_numpy(), FEATURES, 0, stop)
    grown = learner.native.get_booster().num_boosted_rounds()
    assert learner.params["n_estimators"] == grown
    return int(grown)


def test_growing_ends_where_the_judges_gain_no_more(rows: pl.DataFrame) -> None:
    stop = newest_month_judges(rows)
    fast = XGBOOST.model_copy(update={"params": {"learning_rate": 0.3, "gamma": 0}})
    assert _trees(fast, rows, stop) < 60
    assert 30 < _trees(XGBOOST, rows, stop) < 200
    assert _trees(XGBOOST.model_copy(update={"early_stopping": 0}), rows, stop) == 200
    assert _trees(XGBOOST, rows, None) == 200


def test_the_judges_decide_on_the_number_alone_and_then_teach(rows: pl.DataFrame) -> None:
    left, stop = rows["label"].to_numpy(), newest_month_judges(rows)
    stopped, _ = fit_candidate(XGBOOST, rows, left, FEATURES, 0, stop)
    fixed = XGBOOST.model_copy(update={"early_stopping": 0, "params": {"n_estimators": stopped.params["n_estimators"]}})
    assert np.array_equal(stopped.log_odds(rows), fit_candidate(fixed, rows, left, FEATURES, 0)[0].log_odds(rows))


def test_judges_whom_nothing_predicts_stop_it_at_once(rows: pl.DataFrame) -> None:
    stop = newest_month_judges(rows)
    shuffled = rows.with_columns(label=pl.when(pl.Series(stop[1])).then(pl.col("label").shuffle(1)).otherwise("label"))
    assert _trees(XGBOOST, shuffled, stop) < 20


def test_with_few_leavers_among_the_judges_the_number_stands(rows: pl.DataFrame) -> None:
    judge = rows["event_month"] == rows["event_month"].max()
    nth = (pl.col("label") & judge).cum_sum()
    few = rows.with_columns(label=pl.col("label") & (~judge | (nth < FEW_LEAVERS)))
    enough = rows.with_columns(label=pl.col("label") & (~judge | (nth <= FEW_LEAVERS)))
    assert _trees(XGBOOST, few, newest_month_judges(rows)) == 200
    assert _trees(XGBOOST, enough, newest_month_judges(rows)) < 200


def test_a_monotone_feature_never_turns_round(rows: pl.DataFrame) -> None:
    free = XGBOOST.model_copy(update={"params": {"max_depth": 5, "gamma": 0, "n_estimators": 60}})
    bound = free.model_copy(update={"monotone": {"calls": "increasing", "usage": "decreasing"}})
    falls = {}
    for name, candidate in (("free", free), ("bound", bound)):
        learner, _ = fit_candidate(candidate, rows, rows["label"].to_numpy(), FEATURES, seed=0)
        by_calls = np.array([learner.log_odds(rows.with_columns(calls=pl.lit(float(n)))) for n in range(7)])
        by_usage = np.array([learner.log_odds(rows.with_columns(usage=pl.lit(float(n)))) for n in range(2, 19)])
        falls[name] = (np.diff(by_calls, axis=0).min(), -np.diff(by_usage, axis=0).max())
    assert min(falls["bound"]) >= 0 > min(falls["free"])


def test_a_category_cannot_be_monotone(rows: pl.DataFrame) -> None:
    candidate = XGBOOST.model_copy(update={"monotone": {"contract": "increasing"}})
    with pytest.raises(LearningError, match=r"candidate xgboost: monotone: .* found contract"):
        fit_candidate(candidate, rows, rows["label"].to_numpy(), FEATURES, 0)


@pytest.fixture(scope="module")
def many() -> pl.DataFrame:
    return panel(customers=MANY_ROWS // 4 + 1, months=4, base=-3.0)


def _grown(rows: pl.DataFrame, **params: object) -> object:
    given = {"n_estimators": 12, "max_depth": 5, "gamma": 0, "learning_rate": 0.5, "max_cat_to_onehot": 1, **params}
    candidate = XGBOOST.model_copy(update={"params": given})
    return fit_candidate(candidate, rows, rows["label"].to_numpy(), FEATURES, 0)[0]


@pytest.mark.slow
def test_many_rows_give_the_same_trees_on_any_number_of_threads(many: pl.DataFrame) -> None:
    saved = [_grown(many, n_jobs=threads).native.get_booster().save_raw() for threads in (1, 2)]
    assert saved[0] == saved[1]


@pytest.mark.slow
def test_rounded_gradients_cost_no_quality(many: pl.DataFrame) -> None:
    fresh = panel(customers=20_000, months=2, base=-3.0, seed=1)
    # A weight of 1 changes nothing but leaves the gradients to the library.
    values = [auc(fresh["label"], _grown(many, **own).log_odds(fresh)) for own in ({}, {"scale_pos_weight": 1})]
    assert values[0] == pytest.approx(values[1], abs=0.001)
    assert values[0] != values[1]
