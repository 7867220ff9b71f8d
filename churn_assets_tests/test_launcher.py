from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.code_pointer import FileCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun

from churn_assets.launcher import PROCESS_TAG, WatchfulRunLauncher, is_forked
from churn_assets.processes import is_gone
from churn_assets_tests.installation import Installation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone"),
]

JOBS = """
import time
import dagster as dg
from told import WORD

@dg.op
def speak(context) -> None:
    print("said", WORD, "by", context.run.tags["wanted"])

@dg.op
def wait() -> None:
    time.sleep(120)

@dg.job(executor_def=dg.in_process_executor)
def speaking() -> None:
    speak()

@dg.job(executor_def=dg.in_process_executor)
def waiting() -> None:
    wait()
"""


class Launching:
    """A real instance and its launcher, without a daemon that asks it to launch."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.instance, self.home = instance, home
        (home / "jobs.py").write_text(JOBS)
        (home / "told.py").write_text("WORD = 'hello'")

    def launch(self, job: str) -> str:
        pointer = FileCodePointer(str(self.home / "jobs.py"), job, str(self.home))
        wanted = ReconstructableRepository(pointer).get_reconstructable_job(job)
        run = self.instance.create_run_for_job(
            wanted.get_definition(), tags={"wanted": "a person"}, job_code_origin=wanted.get_python_origin()
        )
        self.launcher.launch_run(LaunchRunContext(run, workspace=None))
        return run.run_id

    @property
    def launcher(self) -> WatchfulRunLauncher:
        found = self.instance.run_launcher
        assert isinstance(found, WatchfulRunLauncher)
        return found

    def run(self, run_id: str) -> DagsterRun:
        found = self.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    def ended(self, run_id: str) -> DagsterRun:
        until(lambda: self.run(run_id).is_finished)
        return self.run(run_id)

    def begun(self, run_id: str) -> None:
        until(lambda: any(e.event_type_value == "STEP_START" for e in self.events(run_id)))

    def events(self, run_id: str) -> list[dg.DagsterEvent]:
        return [e.dagster_event for e in self.instance.all_logs(run_id) if e.dagster_event]

    def said(self, run_id: str) -> str:
        """What the UI shows as the run's standard output."""
        captured = [e.logs_captured_data for e in self.events(run_id) if e.event_type_value == "LOGS_CAPTURED"]
        key = [run_id, "compute_logs", captured[0].file_key or ""]
        return (self.instance.compute_log_manager.get_log_data(key).stdout or b"").decode()


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children() -> list[psutil.Process]:
    """The warm processes that this process has started."""
    return [p for p in psutil.Process().children() if "churn_assets.warm" in p.cmdline()]


@pytest.fixture(scope="module")
def launching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launching]:
    installation = Installation.create(tmp_path_factory.mktemp("launching") / "home")
    with pytest.MonkeyPatch.context() as patch, installation.instance() as instance:
        patch.syspath_prepend(str(installation.home))
        launching = Launching(instance, installation.home)
        yield launching
        for run in instance.get_runs():
            until(partial(is_gone, run.tags[PROCESS_TAG]))
    assert children() == []


def test_runs_are_forked_from_one_process_and_what_they_say_is_captured(launching: Launching) -> None:
    run = launching.ended(launching.launch("speaking"))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert launching.said(run.run_id) == "said hello by a person\n"
    warm = children()
    assert len(warm) == 1
    again = launching.ended(launching.launch("speaking"))
    assert again.status is dg.DagsterRunStatus.SUCCESS
    assert children() == warm


def test_a_run_has_the_code_that_is_on_disk_when_it_begins(launching: Launching) -> None:
    (launching.home / "told.py").write_text("WORD = 'good bye, then'")
    run = launching.ended(launching.launch("speaking"))
    assert launching.said(run.run_id) == "said good bye, then by a person\n"


def test_a_run_can_be_terminated_from_another_process_than_the_one_that_launched_it(launching: Launching) -> None:
    run_id = launching.launch("waiting")
    launching.begun(run_id)
    with dg.DagsterInstance.from_config(str(launching.home / "dagster_home")) as webserver:
        assert webserver.run_launcher.terminate(run_id)
    assert launching.ended(run_id).status is dg.DagsterRunStatus.CANCELED
    assert not launching.launcher.terminate(run_id)


def test_a_run_whose_process_was_killed_is_known_to_be_gone(launching: Launching) -> None:
    run_id = launching.launch("waiting")
    launching.begun(run_id)
    assert launching.launcher.check_run_worker_health(launching.run(run_id)).status is WorkerStatus.RUNNING
    os.kill(int(launching.run(run_id).tags[PROCESS_TAG].split("|")[1]), signal.SIGKILL)
    until(lambda: launching.launcher.check_run_worker_health(launching.run(run_id)).status is WorkerStatus.NOT_FOUND)


def test_a_run_goes_on_when_the_warm_process_is_killed_and_the_next_one_gets_a_new_one(launching: Launching) -> None:
    run_id = launching.launch("waiting")
    launching.begun(run_id)
    [warm] = children()
    warm.kill()
    warm.wait(10)
    assert launching.ended(launching.launch("speaking")).status is dg.DagsterRunStatus.SUCCESS
    assert launching.launcher.check_run_worker_health(launching.run(run_id)).status is WorkerStatus.RUNNING
    assert launching.launcher.terminate(run_id)
    assert launching.ended(run_id).status is dg.DagsterRunStatus.CANCELED


def test_code_of_another_python_is_started_as_dagster_starts_it(launching: Launching) -> None:
    origin = launching.ended(launching.launch("speaking")).job_code_origin
    assert origin is not None
    assert is_forked(origin)
    elsewhere = origin.repository_origin._replace(executable_path="/usr/bin/another-python")
    assert not is_forked(origin._replace(repository_origin=elsewhere))
