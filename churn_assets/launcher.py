"""How runs asked for in the UI, by a schedule or by a sensor are started, and how it is known that one is gone.

Dagster's own launcher starts a new Python for each run, which takes longer than most of our stages do, and can't tell a
run that goes on from one whose machine went down. Such a run would hold its pipeline's place in the queue for good;
with this launcher the monitoring daemon ends it.
"""

import json
import socket
import sys
from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterRun
from dagster._core.errors import DagsterLaunchFailedError
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.origin import JobPythonOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData, serialize_value

from churn_assets.processes import interrupt, is_gone
from churn_assets.warm import WarmProcess

PROCESS_TAG = "churn/process"


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, but that runs of this installation's Python are forked from a warm process.

    Other runs, and those on systems where a process can't be forked safely, start as Dagster starts them.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None):
        super().__init__(inst_data)
        self._warm = WarmProcess()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run, origin = context.dagster_run, context.job_code_origin
        if not origin or not is_forked(origin):
            super().launch_run(context)
            return
        from dagster._grpc.types import ExecuteRunArgs

        arguments = ExecuteRunArgs(origin, run.run_id, self._instance.get_ref())
        try:
            process = self._warm.run(["execute_run", serialize_value(arguments)])
        except OSError as error:
            told = f"Run {run.run_id} wasn't started: {error}. Run it again."
            raise DagsterLaunchFailedError(told) from error  # type: ignore[no-untyped-call]
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: process})

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        # A run of the command line has no origin: its process runs other months as well.
        if not run or run.is_finished or not (run.job_code_origin and is_forked(run.job_code_origin)):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        return interrupt(run.tags.get(PROCESS_TAG, ""))

    def dispose(self) -> None:
        self._warm.close()
        super().dispose()

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if worker_is_gone(run):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run's process ended without a word.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def is_forked(origin: JobPythonOrigin) -> bool:
    """Whether a run of such code can be forked from a process of this Python."""
    return sys.platform == "linux" and origin.repository_origin.executable_path == sys.executable


def worker_is_gone(run: DagsterRun) -> bool:
    """Whether the process of ``run`` is known to have ended; before its first step, whether its server has."""
    if process := run.tags.get(PROCESS_TAG):
        return is_gone(process)
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
    return bool(server) and not _answers(server)


def _answers(path: str) -> bool:
    """Whether a server listens at a socket; the file alone outlives a server that was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
