"""How runs asked for in the UI or by a schedule are queued and launched: as Dagster does, with two gaps closed.

A pool that no run has used yet has no limit when Dagster's queue first looks, so the first runs of a pipeline would
start all at once; here a pool has its limit before its first run is queued. And Dagster's own launcher can't tell a run
that goes on from one whose machine went down. Such a run would hold its pipeline's place in the queue for good; with
this launcher the monitoring daemon ends it.
"""

import json
import socket

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import GRPC_INFO_TAG

from churn_assets.processes import is_gone

PROCESS_TAG = "churn/process"


class OrderlyRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, in which a pool's default limit holds from its first run on."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        wanted = context.dagster_run.run_op_concurrency
        storage = self._instance.event_log_storage
        if wanted and wanted.all_pools and self._instance.global_op_concurrency_default_limit:
            for pool in set(wanted.all_pools) - storage.get_concurrency_keys():
                storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, which knows whether a run's process is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if worker_is_gone(run):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The run's process ended without a word.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


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
