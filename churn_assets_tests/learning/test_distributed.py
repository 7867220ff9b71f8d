"""XGBoost on a cluster of processes learns what it learns in this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.candidates import fit_candidate
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.distributed import fitting
from churn_assets.learning.evaluation import auc
from churn_assets.learning.training import Training, dump, load, train
from churn_assets.months import Month, month_range
from churn_assets.spec import CandidateSpec, PipelineSpec
from churn_assets.store.lake import Commit, Lake
from churn_assets_tests.declared import declared
from churn_assets_tests.engines.cluster import CLUSTER, needs_spark

START, LAST = Month(2024, 1), Month(2024, 5)
PARAMS = {"n_estimators": 20, "gamma": 0, "max_depth": 4}
BASELINE = CandidateSpec(name="baseline", kind="logistic")
TREES = CandidateSpec(name="xgboost", kind="xgboost", params=PARAMS)
CUSTOMERS = 400


def snapshot(random: np.random.Generator) -> pl.DataFrame:
    """A month's features with what a matrix has to cope with, and the outcome of the month after."""
    n = CUSTOMERS
    calls, plan = random.poisson(2, n), random.choice(["a", "b", "é"], n)
    gone = random.random(n) < 1 / (1 + np.exp(1.5 - 0.7 * calls - 1.5 * (plan == "b")))
    return pl.DataFrame(
        {
            "customer_id": [f"c{i:03d}" for i in range(n)],
            "calls": pl.Series(calls).cast(pl.Int64),
            "plan": pl.Series(plan),
            "town": [f"t{i}" for i in random.zipf(1.3, n) % 400],
            "paperless": random.random(n) < 0.5,
            "charge": np.where(random.random(n) < 0.1, 1e300, random.normal(50, 9, n)),
            "nothing": pl.Series([None] * n, dtype=pl.String),
            "gone": gone,
        }
    ).with_columns(
        pl.when(pl.Series(random.random(n) < 0.8)).then(pl.col(c)).alias(c) for c in ("calls", "plan", "charge")
    )


FEATURES = ["calls", "plan", "town", "paperless", "charge", "nothing"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Five months; the outcome of some customers isn't known, for their row was set aside."""
    made = Lake(tmp_path_factory.mktemp("lake") / "shop")
    random, before = np.random.default_rng(3), None
    for month in month_range(START, LAST):
        rows = snapshot(random)
        made.write("features", month, rows.drop("gone").sample(fraction=1, shuffle=True, seed=1), Commit("-"))
        flags = (rows if before is None else before).select("customer_id", left="gone")
        made.write("validated_data", month, flags[: CUSTOMERS - month.number], Commit("-"))
        made.write("quarantined_data", month, None, Commit("-"), reason="none")
        before = rows
    return made


def spec(**engine: Any) -> PipelineSpec:
    columns: list[dict[str, Any]] = [
        {"name": "calls", "type": "integer"}, {"name": "plan", "type": "category"},
        {"name": "town", "type": "category"}, {"name": "paperless", "type": "boolean"},
        {"name": "charge", "type": "number"}, {"name": "nothing", "type": "category"},
        {"name": "left", "type": "boolean", "role": "churned"},
    ]  # fmt: skip
    return declared(
        schema={"key": "customer_id", "columns": columns},
        features=[{"kind": "columns", "columns": FEATURES}],
        candidates=[TREES.model_dump()],
        **({"engine": {**CLUSTER, **engine}} if engine else {}),
    )


def trained(lake: Lake, candidates: list[CandidateSpec], **engine: Any) -> tuple[Training, pl.DataFrame]:
    dataset = Dataset(lake, spec(**engine), LAST)
    rows = dataset.rows()
    with fitting(dataset) as fit_on:
        return train(rows, FEATURES, candidates, 0, fit_on, dataset.spec.calendar.folds(dataset.split)), rows


def drafts(lake: Lake) -> list[Path]:
    return [path for path in (lake.root / "_drafts").rglob("*") if path.is_file()]


def test_without_a_cluster_candidates_are_fitted_here(lake: Lake) -> None:
    with fitting(Dataset(lake, spec(), LAST)) as fit_on:
        assert fit_on is fit_candidate


def test_the_driver_takes_a_part_of_the_fit_rows_by_whole_customers(lake: Lake) -> None:
    everything = Dataset(lake, spec(), LAST).rows()
    taken = Dataset(lake, spec(driver_rows=200), LAST).rows()
    fit = pl.col("part") == "fit"
    assert taken.filter(~fit).equals(everything.filter(~fit))
    assert taken.filter(fit).height == pytest.approx(200, abs=60)
    assert everything.filter(fit).join(taken.filter(fit), on="customer_id", how="semi").equals(taken.filter(fit))
    assert Dataset(lake, spec(driver_rows=100_000), LAST).rows().equals(everything)


@pytest.mark.slow
@needs_spark
def test_one_worker_grows_the_very_trees_of_this_process(lake: Lake) -> None:
    here, rows = trained(lake, [TREES])
    there, _ = trained(lake, [TREES], workers=1)
    one, other = here.models["xgboost"], there.models["xgboost"]
    assert other.categories == one.categories
    assert len(other.categories["town"]) == 100
    assert other.estimator.native.get_booster().get_dump() == one.estimator.native.get_booster().get_dump()
    np.testing.assert_array_equal(other.contributions(rows), one.contributions(rows))
    assert other.predict(rows) == pytest.approx(one.predict(rows), abs=1e-12)


@pytest.fixture(scope="module")
def by_two(lake: Lake) -> tuple[Training, pl.DataFrame]:
    return trained(lake, [BASELINE, TREES], workers=2)


@pytest.mark.slow
@needs_spark
def test_two_workers_learn_as_much(lake: Lake, by_two: tuple[Training, pl.DataFrame]) -> None:
    there, rows = by_two
    here, _ = trained(lake, [BASELINE, TREES])
    judged = rows.filter(pl.col("part") == "validate")
    found, known = (auc(judged["label"], t.models["xgboost"].log_odds(judged)) for t in (there, here))
    assert found == pytest.approx(known, abs=0.03)
    assert found > 0.65
    np.testing.assert_array_equal(there.models["baseline"].log_odds(rows), here.models["baseline"].log_odds(rows))


@pytest.mark.slow
@needs_spark
def test_their_trees_serve_like_any_others(lake: Lake, by_two: tuple[Training, pl.DataFrame]) -> None:
    model, rows = by_two[0].models["xgboost"], by_two[1]
    assert np.array_equal(load(dump(model)).predict(rows), model.predict(rows))
    assert model.contributions(rows).sum(axis=1) + model.bias() == pytest.approx(model.log_odds(rows), abs=1e-4)
    assert model.importance()["calls"] > 0.1
    assert drafts(lake) == []


@pytest.mark.slow
@needs_spark
def test_the_trees_learn_from_all_rows_whatever_the_driver_takes(
    lake: Lake, by_two: tuple[Training, pl.DataFrame]
) -> None:
    rows = by_two[1]
    taken = rows.filter((pl.col("part") != "fit") | (pl.col("customer_id") < "c100"))
    with fitting(Dataset(lake, spec(workers=2), LAST)) as fit_on:
        again = train(taken, FEATURES, [TREES], 0, fit_on).models["xgboost"]
    assert dump(again) == dump(by_two[0].models["xgboost"])


@pytest.mark.slow
@needs_spark
def test_parameters_that_cannot_be_distributed_are_told(lake: Lake) -> None:
    exact = TREES.model_copy(update={"params": {"tree_method": "exact"}})
    with pytest.raises(LearningError, match=r"xgboost could not be fitted on Spark: .*exact"):
        trained(lake, [exact], workers=2)


@pytest.mark.slow
@needs_spark
def test_parameters_are_searched_on_the_drivers_rows_and_the_cluster_trains_with_them(lake: Lake) -> None:
    tuning = {"trials": 3, "space": {"max_depth": [3, 4], "gamma": {"low": 0.0, "high": 1.0}}}
    given = {**TREES.model_dump(), "params": {**PARAMS, "gamma": 1e6}, "tuning": tuning}
    searched = CandidateSpec.model_validate(given)
    there, rows = trained(lake, [searched], workers=1, driver_rows=600)
    here = train(rows, FEATURES, [searched], 0, months=spec().calendar.folds(Dataset(lake, spec(), LAST).split))
    assert there.tuned == here.tuned
    assert there.tuned["xgboost"].params.items() <= there.models["xgboost"].params.items()
    assert len(there.tuned["xgboost"].params) == 2
