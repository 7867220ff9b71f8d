"""Experiment tracking: one MLflow run for each training, through dagster-mlflow, started only when there is one.

dagster-mlflow's own resource starts a run with every Dagster run, leaves failed ones FINISHED or RUNNING, and hands an
active run on to the next Dagster run in the same process. Here its ``MlFlow`` is made when a model is logged, and
ended with the state that the training had.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl
from filelock import FileLock

from churn_assets.errors import TrackingError
from churn_assets.learning.promotion import PromotionDecision
from churn_assets.learning.training import TrainedModel
from churn_assets.months import Month
from churn_assets.settings import Settings
from churn_assets.sources.retrying import transient
from churn_assets.store.datasets import DatasetVersion

MODEL_PATH = "model"
BATCH = 100
"""Most parameters that MLflow takes at once."""
STEPS = 1000
"""Most values of metrics that it takes at once."""

PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""A server that is down is given up within half a minute, unless the environment says otherwise; MLflow's own limits
let a month wait for many minutes."""


@dataclass(frozen=True)
class TrainingLog:
    """Everything of one training that goes to MLflow.

    ``steps`` are metrics with a value a step, ``artefacts`` are texts by file name, ``card`` is the model's
    description, and ``source`` says where the rows of ``dataset`` lie.
    """

    month: Month
    model_id: str
    dataset: DatasetVersion
    source: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    steps: Mapping[str, Mapping[int, float]]
    artefacts: Mapping[str, str]
    model: TrainedModel
    example: pl.DataFrame
    card: str
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

        Raises:
            TrackingError: MLflow can't be reached, or its store can't be used.
        """
        with reaching(self.settings):
            mlflow = self._start(training.month)
            client, run_id = mlflow.tracking_client, mlflow.active_run().info.run_id
            self._log_figures(client, run_id, training)
            with TemporaryDirectory() as folder:
                for name, text in training.artefacts.items():
                    (Path(folder) / name).write_text(text)
                client.log_artifacts(run_id, folder, "plots")
            version = self._version(client, training) or self._register(mlflow, client, run_id, training)
            mlflow.end_run("FINISHED")
            self._open = False
            if training.is_newest:
                self._point(client, version, training.decision.champion)
        return {
            "mlflow run": run_id,
            "mlflow experiment": self.pipeline,
            "registered version": f"{self.pipeline} v{version}",
        }

    def follow(self, champion: str) -> None:
        """Lets the alias ``champion`` mirror the newest month's decision where no training came before it.

        Raises:
            TrackingError: MLflow can't be reached, or its store can't be used.
        """
        with reaching(self.settings):
            import mlflow

            prepare_store(self.settings, self.pipeline)
            self._point_at(mlflow.MlflowClient(), champion)

    def close(self) -> None:
        """Ends what a failed training left open."""
        if self._open:
            import mlflow

            while mlflow.active_run():
                # Where MLflow can't be reached, it can't be told; the month's next training does it then.
                with suppress(TrackingError), reaching(self.settings):
                    mlflow.end_run("FAILED")

    def _start(self, month: Month) -> Any:
        import mlflow

        prepare_store(self.settings, self.pipeline)
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

    def _log_figures(self, client: Any, run_id: str, training: TrainingLog) -> None:
        from mlflow.entities import Metric, Param, RunTag

        tags = {**_tags(training), "pipeline": self.pipeline, "mlflow.runName": f"{self.pipeline} {training.month}"}
        params = [Param(name, str(value)) for name, value in training.params.items()]
        now, step = time.time_ns() // 10**6, training.month.ordinal
        client.log_batch(
            run_id,
            [Metric(name, value, now, step) for name, value in training.metrics.items() if value == value],
            params[:BATCH],
            [RunTag(name, value) for name, value in tags.items()],
        )
        for begin in range(BATCH, len(params), BATCH):
            client.log_batch(run_id, params=params[begin : begin + BATCH])
        stepped = [Metric(name, value, now, i) for name, of in training.steps.items() for i, value in of.items()]
        for begin in range(0, len(stepped), STEPS):
            client.log_batch(run_id, metrics=stepped[begin : begin + STEPS])
        client.log_inputs(run_id, [_dataset(self.pipeline, training)])

    def _version(self, client: Any, training: TrainingLog) -> str | None:
        """The version under which the model is registered already, brought up to date."""
        found = self._registered(client, training.model_id)
        if found is None:
            return None
        for name, value in _tags(training).items():
            if found.tags.get(name) != value:
                client.set_model_version_tag(self.pipeline, found.version, name, value)
        if found.description != training.card:
            client.update_model_version(self.pipeline, found.version, training.card)
        return str(found.version)

    def _registered(self, client: Any, model_id: str) -> Any:
        found = client.search_model_versions(f"name = '{self.pipeline}' and tags.model_id = '{model_id}'")
        return found[0] if found else None

    def _register(self, mlflow: Any, client: Any, run_id: str, training: TrainingLog) -> str:
        from mlflow.models import infer_signature

        example = training.example.to_pandas()
        with _quiet():
            info = mlflow.pyfunc.log_model(
                name=MODEL_PATH,
                python_model=_served(mlflow, training.model),
                signature=infer_signature(example, training.model.predict(training.example)),
                input_example=example,
                pip_requirements=_requirements(),
            )
        given = (self.pipeline, info.model_uri, run_id, _tags(training))
        try:
            made = client.create_model_version(*given, description=training.card, model_id=info.model_id)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            client.create_registered_model(self.pipeline)
            made = client.create_model_version(*given, description=training.card, model_id=info.model_id)
        return str(made.version)

    def _point(self, client: Any, challenger: str, champion: str | None) -> None:
        """Lets the aliases mirror a decision, the champion's last: it is what others act on."""
        client.set_registered_model_alias(self.pipeline, "challenger", challenger)
        if champion is None:
            client.delete_registered_model_alias(self.pipeline, "champion")
        else:
            self._point_at(client, champion)

    def _point_at(self, client: Any, champion: str) -> None:
        if found := self._registered(client, champion):
            client.set_registered_model_alias(self.pipeline, "champion", found.version)


def _tags(training: TrainingLog) -> dict[str, str]:
    """What a run and a version are found by, and what was decided about the model."""
    return {
        "month": str(training.month),
        "model_id": training.model_id,
        "dataset_version": training.dataset.id,
        "decision": training.decision.outcome,
        "reason": training.decision.reason,
        "decided_by": training.decision.decided_by,
    }


def _dataset(pipeline: str, training: TrainingLog) -> Any:
    """The dataset version as MLflow shows it; its rows stay in the lake."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    kinds = {name: _kind(dtype) for name, dtype in training.example.schema.items()}
    parts = training.dataset.parts.group_by("part").agg(pl.col("rows", "positives").sum()).sort("part")
    profile = {"num_rows": training.dataset.rows, "churners": training.dataset.positives, "parts": parts.to_dicts()}
    return DatasetInput(
        Dataset(
            name=f"{pipeline} {training.month}",
            digest=training.dataset.id,
            source_type="delta",
            source=json.dumps({"tables": training.source}),
            schema=json.dumps({"mlflow_colspec": [{"name": name, "type": kind} for name, kind in kinds.items()]}),
            profile=json.dumps(profile),
        ),
        [InputTag("mlflow.data.context", "training")],
    )


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "long"
    return "double" if dtype.is_numeric() else "boolean" if dtype == pl.Boolean else "string"


def _requirements() -> list[str]:
    import sklearn
    import xgboost

    return ["churn-assets", f"scikit-learn=={sklearn.__version__}", f"xgboost=={xgboost.__version__}"]


def _served(mlflow: Any, model: TrainedModel) -> Any:
    """``model`` as MLflow serves it: a pandas frame of features in, P(leave) out."""
    with _quiet():

        class ChurnModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            # Without type hints on purpose: MLflow would take them for the signature.
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                return model.predict(pl.from_pandas(model_input))

    return ChurnModel()


def prepare_store(settings: Settings, experiment: str) -> None:
    """Makes the experiment, and without a server MLflow's database, with its artefacts below the data folder."""
    import mlflow

    place = None
    if not settings.tracking:
        settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        place = (settings.mlflow_artifacts / experiment).as_uri()
    mlflow.set_tracking_uri(settings.mlflow_uri)
    # Two processes that make the database at once trip over each other.
    with _quiet(), nullcontext() if settings.tracking else FileLock(settings.mlflow_artifacts.parent / "opening.lock"):
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment, artifact_location=place)


@contextmanager
def reaching(settings: Settings) -> Iterator[None]:
    """Gives up soon on an MLflow that doesn't answer, and leaves the process's environment as it was.

    Raises:
        TrackingError: MLflow can't be reached, or its store can't be used.
    """
    import sqlite3

    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    # MLflow hands its address on to processes begun later, in which another installation may be at work.
    kept = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", *PATIENCE)}
    os.environ.update({name: value for name, value in PATIENCE.items() if not kept[name]})
    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"MLflow at {settings.mlflow_address} can't be reached: {_cause(error)}", transient=_passes(error)
        ) from error
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def unreachable(settings: Settings) -> str | None:
    """Why MLflow can't be reached; None if it can."""
    try:
        with reaching(settings), _quiet():
            import mlflow

            mlflow.MlflowClient(settings.mlflow_uri).search_experiments(max_results=1)
    except TrackingError as error:
        return str(error)
    return None


def _passes(error: BaseException) -> bool:
    """Whether MLflow, which keeps what it caught as the mere context of its own errors, may answer by and by."""
    below = error.__cause__ or error.__context__
    return transient(error) or (below is not None and _passes(below))


def _cause(error: BaseException) -> str:
    """What lies at the bottom of ``error``, in a line."""
    root = error
    while below := root.__cause__ or root.__context__:
        root = below
    text = re.sub(r"//[^/@\s]*@", "//", str(root)).strip() or type(root).__name__
    return text.splitlines()[0][:200].rstrip(".")


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
