"""The Dagster instance of this installation, and what its history tells of months."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.events import JobFailureData
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG
from filelock import FileLock

from churn_assets.launcher import worker_is_gone
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import checkout
from churn_assets.slots import free_slots

UNENDED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance that the UI shows: of ``DAGSTER_HOME``, or of the checkout's own dagster.yaml."""
    if os.environ.get("DAGSTER_HOME"):
        home = Path(os.environ["DAGSTER_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        with _whole(home, dg.DagsterInstance.get) as instance:
            yield instance
        return
    root = checkout()
    home = root / "data" / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    with _whole(home, partial(_of_checkout, root, home)) as instance:
        yield instance


def _whole(home: Path, opened: Callable[[], dg.DagsterInstance]) -> dg.DagsterInstance:
    """An instance with its databases made: two processes that make them at once trip over each other."""
    with FileLock(home / "opening.lock"):
        instance = opened()
        for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
            assert storage
        return instance


def _of_checkout(root: Path, home: Path) -> dg.DagsterInstance:
    """The instance that a bare ``dagster dev`` makes in ``root``, from wherever this process was started."""
    from dagster._core.instance import InstanceRef

    config = yaml.safe_load((root / "dagster.yaml").read_text()) if (root / "dagster.yaml").exists() else {}

    def absolute(value: object) -> object:
        if isinstance(value, dict):
            return {k: str(root / v) if k == "base_dir" else absolute(v) for k, v in value.items()}
        return value

    overrides = {key: absolute(value) for key, value in config.items()}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), config_dir=str(root), overrides=overrides))


def heal(instance: dg.DagsterInstance) -> list[str]:
    """Marks runs as failed whose process on this machine is gone (killed, or the machine went down); their ids.

    A run that nobody marks so looks as if it went on, and holds its pipeline's place in the queue.
    """
    gone = [run for run in instance.get_runs(dg.RunsFilter(statuses=list(UNENDED))) if worker_is_gone(run)]
    for run in gone:
        instance.report_run_failed(run, "Its process ended without a word. Nothing half-done was kept; run it again.")
    free_slots(instance)
    return [run.run_id for run in gone]


def failures(instance: dg.DagsterInstance, pipeline: Pipeline, newest: int = 1000) -> dict[Month, str]:
    """Months whose last run failed, and what it said, by the ``newest`` runs of the instance."""
    last: dict[Month, dg.DagsterRun] = {}
    for run in instance.get_runs(limit=newest):
        if run.is_finished and (month := month_of(run, pipeline)):
            last.setdefault(month, run)
    failed = {month: run for month, run in last.items() if run.status == dg.DagsterRunStatus.FAILURE}
    return {month: _said(instance, run) for month, run in sorted(failed.items())}


def month_of(run: dg.DagsterRun, pipeline: Pipeline) -> Month | None:
    """The month of ``pipeline`` that a run is about; None if it is about something else."""
    assets = {key.path[0] for key in run.asset_selection or ()}
    month = run.tags.get(PARTITION_NAME_TAG) or run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    ours = run.job_name == f"{pipeline.name}_month" or pipeline.name in assets
    return Month.parse(month) if month and ours else None


def _said(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    ended = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    events = [e.dagster_event for e in instance.all_logs(run.run_id, of_type=ended) if e.dagster_event]
    told = problems(events)
    return f"{told[0] if told else 'It failed.'} (run {run.run_id[:8]})"


def problems(events: Iterable[dg.DagsterEvent]) -> tuple[str, ...]:
    """What failed steps said; where no step failed, what the run said."""
    told = list(events)
    steps = [_told(event, event.step_failure_data) for event in told if event.is_step_failure]
    runs = [
        _told(event, event.job_failure_data) for event in told if event.event_type == dg.DagsterEventType.RUN_FAILURE
    ]
    return tuple(steps or runs)


def _told(event: dg.DagsterEvent, data: StepFailureData | JobFailureData) -> str:
    said = data.user_failure_data if isinstance(data, StepFailureData) else None
    error = data.error and (data.error.cause or data.error)
    told = error.message.strip() if error else event.message or "failed"
    return (said and said.description) or f"{event.step_key or 'The run'}: {told}"
