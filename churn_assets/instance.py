"""The Dagster instance of this installation, and months run on it in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import yaml

from churn_assets.assets import ALL
from churn_assets.assets.stage import FORCE_TAG, LISTENER, Listener
from churn_assets.launcher import PROCESS_TAG, worker_is_gone
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity
from churn_assets.settings import checkout

UNENDED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class MonthRun:
    """How one month's run ended; ``problems`` are what its failed steps and blocking checks said."""

    month: Month
    run_id: str
    success: bool
    problems: tuple[str, ...]


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance that the UI shows: of ``DAGSTER_HOME``, or of the checkout's own dagster.yaml."""
    if os.environ.get("DAGSTER_HOME"):
        home = Path(os.environ["DAGSTER_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        with dg.DagsterInstance.get() as instance:
            yield instance
        return
    root = checkout()
    home = root / "data" / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    with _of_checkout(root, home) as instance:
        yield instance


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
    return [run.run_id for run in gone]


def run_months(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    pipeline: Pipeline,
    months: Sequence[Month],
    *,
    stages: Sequence[str] = (),
    force: bool = False,
    listener: Listener | None = None,
    on_month: Callable[[MonthRun], None] | None = None,
) -> list[MonthRun]:
    """Runs months one after the other, ascending; one that fails doesn't stop the others.

    Raises:
        MonthError: the pipeline doesn't have one of the months; nothing is run then.
    """
    for month in months:
        pipeline.calendar.check(month)
    heal(instance)
    job = definitions.resolve_job_def(f"{pipeline.name}_month")
    results = []
    token = LISTENER.set(listener)
    try:
        for month in sorted(months):
            result = _run_month(instance, job, pipeline, month, stages, force)
            results.append(result)
            if on_month:
                on_month(result)
    finally:
        LISTENER.reset(token)
    return results


def _run_month(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    pipeline: Pipeline,
    month: Month,
    stages: Sequence[str],
    force: bool,
) -> MonthRun:
    result = job.execute_in_process(
        instance=instance,
        partition_key=str(month),
        raise_on_error=False,
        asset_selection=[dg.AssetKey([pipeline.name, table]) for s in stages for table in ALL[s].tables] or None,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags={
            PROCESS_TAG: process_identity(),
            ".dagster/repository": "__repository__@churn_assets",
            **({FORCE_TAG: "true"} if force else {}),
        },
    )
    return MonthRun(month, result.run_id, result.success, tuple(_problems(result)))


def _problems(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.event_type_value != "STEP_FAILURE":
            continue
        data = event.step_failure_data
        said = data.user_failure_data
        error = data.error and (data.error.cause or data.error)
        told = said.description if said else None
        yield told or f"{event.step_key}: {error.message.strip() if error else 'failed'}"
