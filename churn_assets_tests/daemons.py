"""A real Dagster daemon for tests: what schedules and sensors ask for, it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from churn_assets_tests.installation import ROOT, Installation

PATIENCE = 90.0


@contextmanager
def daemon(installation: Installation, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon on an installation; what it says goes to ``log``, and nothing of it outlives the block."""
    environment = {**os.environ, **installation.environment}
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(ROOT / "workspace.yaml")]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(what: Callable[[], bool], log: Path) -> None:
    """Waits until something has come about, with patience."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, f"it didn't come in {PATIENCE} s; the log ends:\n{log.read_text()[-3000:]}"
        time.sleep(0.3)
