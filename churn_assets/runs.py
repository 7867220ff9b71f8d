"""Months run one after the other in this process, each as a run of the instance that the UI shows."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import dagster as dg
from dagster._core.utils import make_new_run_id

from churn_assets.assets import ALL, outcomes
from churn_assets.assets.options import RunOptions, run_config
from churn_assets.assets.stage import LISTENER, Listener
from churn_assets.assets.steps import OUTCOME_TAG
from churn_assets.errors import MissingMonth
from churn_assets.instance import UNENDED, heal, month_of, problems
from churn_assets.launcher import PROCESS_TAG, worker_is_gone
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity

Outcome = Literal["made", "unchanged", "failed", "stopped"]

PAUSE = 1.0
"""Seconds between two looks at whether runs of the UI have ended."""
DAEMON_SILENT = 90.0
"""Seconds without a sign of life after which nobody waits for Dagster's queue any more; it gives one every thirty."""


@dataclass(frozen=True)
class MonthRun:
    """How one month's run ended.

    Attributes:
        outcome: ``unchanged`` if nothing had to be made; ``stopped`` by the person who had begun it.
        problems: what its failed steps and blocking checks said.
        reason: why the first stage that was made was made, or why none was.
        lacked: whether it failed because a month that it reads wasn't there.
    """

    month: Month
    run_id: str
    outcome: Outcome
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    reason: str = ""
    lacked: bool = False

    @property
    def success(self) -> bool:
        return self.outcome in ("made", "unchanged")

    @property
    def stopped(self) -> bool:
        return self.outcome == "stopped"


def run_months(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    pipeline: Pipeline,
    months: Sequence[Month],
    *,
    stages: Sequence[str] = (),
    options: RunOptions | None = None,
    listener: Listener | None = None,
    on_month: Callable[[MonthRun], None] | None = None,
) -> list[MonthRun]:
    """Runs months one after the other, ascending; one that fails doesn't stop the others.

    Where others make months of the pipeline too, the earliest month goes first, whoever has it. Months that failed
    because an earlier one wasn't there are tried once more after the others are through; ``on_month`` learns of both.

    Raises:
        MonthError: the pipeline doesn't have one of the months; nothing is run then.
        SpecError: nor one of the candidates that ``options`` name; likewise.
        KeyboardInterrupt: a person, or SIGTERM, has stopped it; ``on_month`` has learned of the run in hand.
    """
    for month in months:
        pipeline.calendar.check(month)
    options = options or RunOptions()
    options.check(pipeline.spec)
    heal(instance)
    job = definitions.resolve_job_def(f"{pipeline.name}_month")
    with _stoppable() as stopped:
        runner = _Runner(instance, job, pipeline, stages, options, listener or (lambda *what: None), on_month, stopped)
        token = LISTENER.set(runner.tell)
        try:
            runner.run(months)
            runner.try_again()
        finally:
            LISTENER.reset(token)
    return [result for _, result in sorted(runner.results.items())]


@dataclass
class _Runner:
    """Months of one pipeline on their way through Dagster."""

    instance: dg.DagsterInstance
    job: dg.JobDefinition
    pipeline: Pipeline
    stages: Sequence[str]
    options: RunOptions
    listener: Listener
    on_month: Callable[[MonthRun], None] | None
    stopped: Callable[[], bool]
    results: dict[Month, MonthRun] = field(default_factory=dict)
    met: bool = False

    def run(self, months: Sequence[Month]) -> None:
        with self.pipeline.turns.planned(months) as plan:
            for month in sorted(set(months)):
                if self.stopped():
                    raise KeyboardInterrupt
                run_id = make_new_run_id()
                plan.begin(month, run_id, partial(self.listener, "", month))
                result = self.results[month] = self._run_month(month, run_id)
                plan.end(month, made=result.success)
                if self.on_month:
                    self.on_month(result)
                if result.stopped:
                    raise KeyboardInterrupt
        self.met = self.met or plan.met

    def tell(self, stage: str, month: Month, what: str) -> None:
        """Tells how far a stage has come, from within its step, which ends there if somebody wants it to."""
        if self.stopped():
            raise dg.DagsterExecutionInterruptedError
        self.listener(stage, month, what)

    def try_again(self) -> None:
        """Runs months once more that lacked earlier ones, if others were at work on those."""
        lacked = sorted(month for month, result in self.results.items() if result.lacked)
        if lacked and (self._wait_for_queue(lacked[-1]) or self.met):
            self.run(lacked)

    def _wait_for_queue(self, month: Month) -> bool:
        """Waits until Dagster has no run of an earlier month on its way; whether there was one."""
        waited = False
        while run := self._on_its_way(month):
            if not waited:
                self.listener("", month, f"waits for run {run.run_id[:8]}, which makes {month_of(run, self.pipeline)}")
            waited = True
            time.sleep(PAUSE)
        return waited

    def _on_its_way(self, month: Month) -> dg.DagsterRun | None:
        queued = (dg.DagsterRunStatus.QUEUED,) if _daemon_lives(self.instance) else ()
        for run in self.instance.get_runs(dg.RunsFilter(statuses=[*UNENDED, *queued])):
            makes = month_of(run, self.pipeline)
            if makes and makes < month and not worker_is_gone(run):
                return run
        return None

    def _run_month(self, month: Month, run_id: str) -> MonthRun:
        begun = time.perf_counter()
        try:
            result = self._execute(month, run_id)
        except KeyboardInterrupt:
            self._cancel(run_id)
            return MonthRun(month, run_id, "stopped", seconds=time.perf_counter() - begun)
        if self.stopped():
            self._cancel(run_id)
        outcome = _outcome(self.instance, run_id)
        return MonthRun(
            month, run_id, outcome,
            problems=problems(result.all_events) if outcome == "failed" else (),
            seconds=time.perf_counter() - begun,
            reason=_reason(result),
            lacked=any(map(_lacked, result.all_events)),
        )  # fmt: skip

    def _cancel(self, run_id: str) -> None:
        """Marks a run that was stopped as canceled: between two steps, Dagster takes that for its death."""
        run = self.instance.get_run_by_id(run_id)
        if run and (not run.is_finished or outcomes.outcome(self.instance, run) == "died"):
            self.instance.report_run_canceled(run, "Stopped in the terminal that had begun it.")

    def _execute(self, month: Month, run_id: str) -> dg.ExecuteInProcessResult:
        name = self.pipeline.name
        return self.job.execute_in_process(
            instance=self.instance,
            run_id=run_id,
            partition_key=str(month),
            raise_on_error=False,
            asset_selection=[dg.AssetKey([name, table]) for s in self.stages for table in ALL[s].tables] or None,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                **run_config(self.options),
            },
            tags={
                PROCESS_TAG: process_identity(),
                ".dagster/repository": "__repository__@churn_assets",
            },
        )


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Lets SIGTERM stop the work as Ctrl-C does; gives a function that tells whether either has come.

    What a signal's handler raises is lost where it comes while Python collects garbage; that it came is noted here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    noted: set[int] = set()

    def asked() -> bool:
        with suppress(BlockingIOError):
            noted.update(os.read(reader, 64))
        return bool(noted & {signal.SIGINT, signal.SIGTERM})

    def unraisable(lost: Any) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
            hook(lost)

    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield asked
    finally:
        signal.set_wakeup_fd(former)
        signal.signal(signal.SIGTERM, terminate)
        sys.unraisablehook = hook
        os.close(reader)
        os.close(writer)


def _daemon_lives(instance: dg.DagsterInstance) -> bool:
    """Whether somebody takes runs out of Dagster's queue."""
    beat = instance.get_daemon_heartbeats().get("QUEUED_RUN_COORDINATOR")
    return beat is not None and time.time() - beat.timestamp < DAEMON_SILENT


def _outcome(instance: dg.DagsterInstance, run_id: str) -> Outcome:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    if run.status == dg.DagsterRunStatus.CANCELED:
        return "stopped"
    if not run.is_success:
        return "failed"
    return "unchanged" if run.tags.get(OUTCOME_TAG) == "unchanged" else "made"


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """Why the first stage that was made was made; if none was, why."""
    told = [m for m in map(_materialization, result.all_events) if m]
    made = next((m for m in told if m.metadata["outcome"].value != "skipped"), None)
    if made:
        return f"{made.asset_key.path[-1]}: {made.metadata['why'].value}"
    return str(told[0].metadata["why"].value) if told else ""


def _materialization(event: dg.DagsterEvent) -> dg.AssetMaterialization | None:
    made = event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
    return event.step_materialization_data.materialization if made else None


def _lacked(event: dg.DagsterEvent) -> bool:
    said = event.step_failure_data.user_failure_data if event.is_step_failure else None
    error = said.metadata.get("error") if said else None
    return error is not None and error.value == MissingMonth.__name__
