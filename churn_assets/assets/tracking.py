"""Experiment tracking: one MLflow run for each training, through dagster-mlflow, started only when there is one.

dagster-mlflow's own resource starts a run with every Dagster run, leaves failed ones FINISHED or RUNNING, and hands an
active run on to the next Dagster run in the same process. Here its ``MlFlow`` is made when a model is logged, and
ended with the state that the training had.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from churn_assets.learning.promotion import PromotionDecision
from churn_assets.learning.training import TrainedModel
from churn_assets.months import Month
from churn_assets.settings import Settings

MODEL_PATH = "model"


@dataclass(frozen=True)
class TrainingLog:
    """Everything of one training that goes to MLflow."""

    month: Month
    model_id: str
    dataset_id: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    model: TrainedModel
    example: pl.DataFrame
    decision: PromotionDecision
    is_newest: bool


class Tracker:
    """Logs trainings of one pipeline; made anew for every Dagster run, without cost until it is used."""

    def __init__(self, context: dg.InitResourceContext, pipeline: str, settings: Settings) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self._context = context
        self._open = False

    def log(self, training: TrainingLog) -> dict[str, Any]:
        """Logs a training, registers its model once, and lets the aliases mirror the newest month's decision.

        Returns:
            The MLflow run's id and the registered version, for the UI.
        """
        mlflow = self._start(training.month)
        mlflow.set_tags({
            "month": str(training.month), "pipeline": self.pipeline, "model_id": training.model_id,
            "dataset_version": training.dataset_id, "decision": training.decision.outcome,
            "reason": training.decision.reason, "mlflow.runName": f"{self.pipeline} {training.month}",
        })  # fmt: skip
        mlflow.log_params(dict(training.params))
        mlflow.log_metrics({k: v for k, v in training.metrics.items() if v == v}, step=training.month.ordinal)
        client = mlflow.tracking_client
        version = self._version(client, training.model_id) or self._register(mlflow, client, training)
        if training.is_newest:
            client.set_registered_model_alias(self.pipeline, "challenger", version)
            champion = training.decision.champion and self._version(client, training.decision.champion)
            if champion:
                client.set_registered_model_alias(self.pipeline, "champion", champion)
        run_id = mlflow.active_run().info.run_id
        mlflow.end_run("FINISHED")
        self._open = False
        return {
            "mlflow run": run_id,
            "mlflow experiment": self.pipeline,
            "registered version": f"{self.pipeline} v{version}",
        }

    def close(self) -> None:
        """Ends what a failed training left open."""
        if self._open:
            import mlflow

            while mlflow.active_run():
                mlflow.end_run("FAILED")

    def _start(self, month: Month) -> Any:
        prepare_store(self.settings, self.pipeline)
        import mlflow

        while mlflow.active_run():
            mlflow.end_run("KILLED")
        self._end_killed(mlflow.MlflowClient(), month)
        self._open = True
        with _quiet():
            from dagster_mlflow.resources import MlFlow

            return MlFlow(self._context)

    def _end_killed(self, client: Any, month: Month) -> None:
        """A training that was killed can't say so itself; the next one of its month does."""
        experiment = client.get_experiment_by_name(self.pipeline)
        left = client.search_runs(
            [experiment.experiment_id], f"attributes.status = 'RUNNING' and tags.month = '{month}'"
        )
        for run in left:
            client.set_terminated(run.info.run_id, "KILLED")

    def _version(self, client: Any, model_id: str) -> str | None:
        found = client.search_model_versions(f"name = '{self.pipeline}' and tags.model_id = '{model_id}'")
        return str(found[0].version) if found else None

    def _register(self, mlflow: Any, client: Any, training: TrainingLog) -> str:
        import sklearn
        import xgboost
        from mlflow.models import infer_signature

        example = training.example.to_pandas()
        with _quiet():
            info = mlflow.pyfunc.log_model(
                name=MODEL_PATH,
                python_model=_served(mlflow, training.model),
                signature=infer_signature(example, training.model.predict(training.example)),
                input_example=example,
                pip_requirements=[
                    "churn-assets",
                    f"scikit-learn=={sklearn.__version__}",
                    f"xgboost=={xgboost.__version__}",
                ],
                registered_model_name=self.pipeline,
            )
        version = str(info.registered_model_version)
        tags = {
            "model_id": training.model_id,
            "month": str(training.month),
            "dataset_version": training.dataset_id,
            "decision": training.decision.outcome,
        }
        for key, value in tags.items():
            client.set_model_version_tag(self.pipeline, version, key, value)
        return version


def _served(mlflow: Any, model: TrainedModel) -> Any:
    """``model`` as MLflow serves it: a pandas frame of features in, P(leave) out."""
    with _quiet():

        class ChurnModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            # Without type hints on purpose: MLflow would take them for the signature.
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                return model.predict(pl.from_pandas(model_input))

    return ChurnModel()


def prepare_store(settings: Settings, experiment: str) -> None:
    """Makes MLflow's database and the experiment, with its artefacts below the data folder."""
    import mlflow

    settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(settings.mlflow_uri)
    with _quiet():
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, artifact_location=(settings.mlflow_artifacts / experiment).as_uri())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps MLflow's remarks on its database and on pickling away from the log; errors still come as exceptions."""
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def tracking_resource(pipeline: str, settings: Settings) -> dg.ResourceDefinition:
    """The tracker as a Dagster resource; the configuration is dagster-mlflow's."""

    @dg.resource(
        config_schema=dg.Permissive(),
        description=f"MLflow experiment and registered model {pipeline!r}.",
    )
    def tracker(context: dg.InitResourceContext) -> Iterator[Tracker]:
        made = Tracker(context, pipeline, settings)
        try:
            yield made
        finally:
            made.close()

    return tracker.configured(
        {
            "experiment_name": pipeline,
            "mlflow_tracking_uri": settings.mlflow_uri,
            "env": {},
            "extra_tags": {},
        }
    )
