"""A search for parameters as a data scientist meets it: in the UI's metadata, in MLflow and in a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.learning.training import load
from churn_assets.months import Month
from churn_assets.replay import replay
from churn_assets_tests.installation import Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

POOR = {"n_estimators": 2, "learning_rate": 0.01, "max_depth": 1}
TRIALS = 5


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Three months of the small pipeline, with a candidate that any search improves."""
    space = {"n_estimators": {"low": 2, "high": 80}, "learning_rate": {"low": 0.01, "high": 0.3}, "max_depth": [1, 3]}
    tuned = {"name": "tuned", "kind": "xgboost", "params": POOR, "tuning": {"trials": TRIALS, "space": space}}
    made = Installation.create(tmp_path_factory.mktemp("searched") / "home", churn=small_spec(candidates=[tuned]))
    results = made.run(["2024-01", "2024-02", "2024-03"])
    assert all(r.success for r in results), [r.problems for r in results]
    return made


def test_a_search_is_shown_with_its_chart_and_its_trials(searched: Installation) -> None:
    with searched.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "model"]))
        run = instance.get_runs(limit=1)[0]
        told = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert "tuned takes trial" in str(shown["tuning of tuned"].value)
    assert str(shown["tuning of tuned: trials"].value).startswith("![Tuning of tuned](data:image/svg")
    table: Any = shown["tuning of tuned: parameters"].value
    rows = [record.data for record in table.records]
    assert len(rows) == TRIALS
    assert [row["auc"] for row in rows] == sorted((row["auc"] for row in rows), reverse=True)
    assert {"trial", "outcome", "n_estimators", "learning_rate", "max_depth"} <= set(rows[0])
    assert any(f"tuning tuned: trial 2 of {TRIALS}, best AUC" in text for text in told)


def test_mlflow_has_the_history_of_a_search(searched: Installation) -> None:
    import mlflow

    found = _decision(searched)
    client = mlflow.MlflowClient(searched.pipeline().settings.mlflow_uri)
    experiment = client.get_experiment_by_name("churn")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.month = '2024-03'")
    history = client.get_metric_history(run.info.run_id, "tuning.tuned.auc")
    assert [metric.step for metric in history] == list(range(1, TRIALS + 1))
    assert max(metric.value for metric in history) == pytest.approx(found["auc"])
    assert history[0].value == pytest.approx(found["own_auc"])
    assert run.data.params["tuned.n_estimators"] == str(found["params"]["n_estimators"])
    files = {Path(artefact.path).name for artefact in client.list_artifacts(run.info.run_id, "plots")}
    assert {"tuning_tuned.csv", "tuning_tuned.svg"} <= files
    table = pl.read_csv(client.download_artifacts(run.info.run_id, "plots/tuning_tuned.csv"))
    assert len(table) == TRIALS


def test_a_search_without_its_journal_or_in_a_replay_makes_the_same_model(
    searched: Installation, tmp_path: Path
) -> None:
    pipeline, month = searched.pipeline(), Month.parse("2024-03")
    record = pipeline.lake.record("model", month)
    assert record is not None
    model_id = str(record.facts["model_id"])
    artefact = pipeline.models.artefact(model_id)
    assert _decision(searched)["params"].items() <= load(artefact).params.items()
    for journal in pipeline.searches.iterdir():
        journal.unlink()
    (forced,) = searched.run([str(month)], stages=["model"], force="model")
    assert forced.success, forced.problems
    assert pipeline.models.artefact(model_id) == artefact
    again = replay(pipeline, pipeline.datasets.get(str(record.facts["dataset"])), tmp_path / "replayed")
    assert {c.name for c in again.compared} >= {f"artefact of {model_id}", f"model {month}"}
    assert again.different == ()
    assert not list((tmp_path / "replayed").rglob("_tuning/*.log"))


def _decision(installation: Installation) -> dict[str, Any]:
    record = installation.pipeline().lake.record("model", Month.parse("2024-03"))
    assert record is not None
    decision: dict[str, Any] = record.facts["tuned"]["tuned"]
    return decision
