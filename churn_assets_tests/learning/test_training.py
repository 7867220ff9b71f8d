import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.calibration import expit
from churn_assets.learning.candidates import fit_candidate
from churn_assets.learning.evaluation import auc, calibration_error
from churn_assets.learning.training import Training, choose, dump, load, train
from churn_assets.spec.learning import CandidateSpec
from churn_assets_tests.learning.panels import BASELINE, CANDIDATES, FEATURES, panel


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return panel(customers=800, months=4)


@pytest.fixture(scope="module")
def training(rows: pl.DataFrame) -> Training:
    return train(rows, FEATURES, CANDIDATES, seed=0)


def _same(one: Training, other: Training, rows: pl.DataFrame) -> bool:
    same = [np.array_equal(one.models[n].predict(rows), other.models[n].predict(rows)) for n in one.models]
    return all(same) and one.selection == other.selection and one.challenger == other.challenger


def test_two_trainings_are_equal_bit_for_bit_in_any_order_of_rows(rows: pl.DataFrame, training: Training) -> None:
    again = train(rows.sample(fraction=1, shuffle=True, seed=8), FEATURES, CANDIDATES, seed=0)
    assert _same(training, again, rows)
    assert all(dump(training.models[name]) == dump(again.models[name]) for name in training.models)


def test_validation_rows_leave_no_trace(rows: pl.DataFrame, training: Training) -> None:
    judged = pl.col("part") == "validate"
    poisoned = rows.with_columns(
        label=pl.when(judged).then(~pl.col("label")).otherwise("label"),
        tenure=pl.when(judged).then(-(10**6)).otherwise("tenure"),
        contract=pl.when(judged).then(pl.lit("poison")).otherwise("contract"),
    )
    assert _same(training, train(poisoned, FEATURES, CANDIDATES, seed=0), rows)
    assert _same(training, train(rows.filter(~judged), FEATURES, CANDIDATES, seed=0), rows)


def test_candidates_are_compared_and_calibrated_on_the_calibration_rows(rows: pl.DataFrame, training: Training) -> None:
    later = rows.filter(pl.col("part") == "calibrate")
    for name, model in training.models.items():
        assert training.selection[name] == pytest.approx(auc(later["label"], model.log_odds(later)))
        assert f"{later.height} rows" in model.calibration.reason
        assert model.predict(later).mean() == pytest.approx(later["label"].mean(), abs=0.01)
    assert training.challenger == choose(training.selection)
    assert training.challenger in training.reason and "800 later rows" in training.reason


def test_fitted_models_see_the_fit_rows_only(rows: pl.DataFrame, training: Training) -> None:
    later = pl.col("part") == "calibrate"
    flipped = train(rows.with_columns(usage=pl.when(later).then(0.0).otherwise("usage")), FEATURES, CANDIDATES, seed=0)
    for name, model in training.models.items():
        assert np.array_equal(model.log_odds(rows), flipped.models[name].log_odds(rows))


def test_without_calibration_rows_whole_customers_are_cross_fitted(rows: pl.DataFrame) -> None:
    fit = rows.filter(pl.col("part") == "fit")
    # Each customer has a label that no feature explains: deep trees that saw the customer would know it.
    params = {"max_depth": 20, "min_child_weight": 0, "learning_rate": 1, "subsample": 1, "gamma": 0, "max_bin": 4096}
    learned = fit.with_columns(
        secret=pl.col("customer_id").str.slice(1).cast(pl.Float64),
        label=pl.col("customer_id").hash(3) % 3 == 0,
    )
    learned = learned.filter(pl.col("customer_id") != "c00000")
    trained = train(learned, ["secret"], [CandidateSpec(name="deep", kind="xgboost", params=params)], seed=0)
    assert trained.selection["deep"] < 0.6
    assert auc(learned["label"], trained.models["deep"].log_odds(learned)) > 0.95
    crossed = train(fit, FEATURES, CANDIDATES, seed=0)
    assert "5 folds of the customers in 1600 rows" in crossed.reason
    assert all(model.calibration.fitted for model in crossed.models.values())
    assert calibration_error(fit["label"], crossed.models["baseline"].predict(fit)) < 0.04


def test_fitting_elsewhere_is_for_what_has_rows_to_calibrate_on(rows: pl.DataFrame, training: Training) -> None:
    asked = []

    def elsewhere(candidate: CandidateSpec, *given: Any) -> Any:
        asked.append(candidate.name)
        return fit_candidate(candidate, *given)

    assert _same(training, train(rows, FEATURES, CANDIDATES, 0, elsewhere), rows)
    assert asked == ["baseline", "xgboost"]
    train(rows.filter(pl.col("part") == "fit"), FEATURES, [BASELINE], 0, elsewhere)
    assert asked == ["baseline", "xgboost"]


def test_calibration_rows_of_one_class_are_not_enough(rows: pl.DataFrame) -> None:
    label = pl.when(pl.col("part") == "calibrate").then(False).otherwise("label")
    assert "5 folds" in train(rows.with_columns(label=label), FEATURES, [BASELINE], seed=0).reason


def test_a_tie_goes_to_the_simpler_candidate() -> None:
    assert choose({"baseline": 0.8000, "xgboost": 0.8004}) == "baseline"
    assert choose({"baseline": 0.8000, "xgboost": 0.8006}) == "xgboost"
    assert choose({"baseline": 0.9, "xgboost": 0.8}) == "baseline"


@pytest.mark.parametrize("name", ["baseline", "xgboost"])
def test_contributions_and_bias_add_up_to_the_log_odds(rows: pl.DataFrame, training: Training, name: str) -> None:
    model = training.models[name]
    parts = model.contributions(rows)
    assert parts.shape == (rows.height, len(FEATURES))
    np.testing.assert_allclose(parts.sum(axis=1) + model.bias(), model.log_odds(rows), atol=1e-4)
    np.testing.assert_array_equal(model.predict(rows), model.calibration.apply(expit(model.log_odds(rows))))
    assert np.corrcoef(parts[:, 1], rows["calls"])[0, 1] > 0.7  # more calls, more risk


def test_contributions_of_the_baseline_start_from_the_mean_of_the_fit_rows(
    rows: pl.DataFrame, training: Training
) -> None:
    fit = rows.filter(pl.col("part") == "fit")
    np.testing.assert_allclose(training.models["baseline"].contributions(fit).mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("name", ["baseline", "xgboost"])
def test_importance_is_shared_out(training: Training, name: str) -> None:
    importance = training.models[name].importance()
    assert list(importance) == FEATURES and sum(importance.values()) == pytest.approx(1)
    assert min(importance, key=lambda f: importance[f]) in ("paperless", "usage")


@pytest.mark.parametrize("name", ["baseline", "xgboost"])
def test_a_model_survives_the_lake(rows: pl.DataFrame, training: Training, name: str) -> None:
    model = training.models[name]
    again = load(dump(model))
    assert np.array_equal(again.predict(rows), model.predict(rows))
    assert (again.name, again.features, again.params) == (model.name, model.features, model.params)


def test_damaged_and_foreign_bytes_are_refused() -> None:
    import pickle

    with pytest.raises(LearningError, match="can't be loaded"):
        load(b"damaged")
    with pytest.raises(LearningError, match="expected a TrainedModel, found dict"):
        load(pickle.dumps({}))


def test_predictions_name_what_is_absent_or_of_another_type(rows: pl.DataFrame, training: Training) -> None:
    for model in training.models.values():
        with pytest.raises(LearningError, match="expected columns calls"):
            model.predict(rows.drop("calls"))
        with pytest.raises(LearningError, match=r"contract \(category\); found contract \(Int"):
            model.predict(rows.with_columns(contract=pl.lit(1)))
        assert model.predict(rows[:0]).shape == (0,)


def test_what_cannot_be_trained_is_told(rows: pl.DataFrame) -> None:
    stayed = rows.with_columns(label=pl.lit(False))
    with pytest.raises(LearningError, match="found 0 who left and 1600 who stayed"):
        train(stayed, FEATURES, CANDIDATES, 0)
    with pytest.raises(LearningError, match="found 0 who left and 0 who stayed"):
        train(rows.filter(pl.col("part") == "validate"), FEATURES, CANDIDATES, 0)
    with pytest.raises(LearningError, match="found 2400 without"):
        train(rows.with_columns(label=pl.lit(None, dtype=pl.Boolean)), FEATURES, CANDIDATES, 0)
    with pytest.raises(LearningError, match="found 0 and 5"):
        train(rows, FEATURES, [], 0)
    with pytest.raises(LearningError, match="expected columns absent"):
        train(rows, ["absent"], CANDIDATES, 0)


def test_importing_learning_is_light() -> None:
    heavy = "('sklearn', 'xgboost', 'pandas', 'scipy', 'dagster', 'mlflow', 'fastapi')"
    modules = "training, splits, evaluation, promotion, explanation, reference"
    code = f"import sys; from churn_assets.learning import {modules}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
