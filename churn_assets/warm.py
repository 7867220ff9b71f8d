"""A process that has loaded the libraries, and forks itself for each run: loading them is most of what a start takes.

It loads neither this package's own code nor what that code is configured by, so that a run has whatever stands on disk
when it begins; and nothing that works by threads of its own, which a fork wouldn't have (polars, deltalake, and mlflow,
which loads polars). The threads of OpenBLAS and of jemalloc, which importing numpy and pyarrow starts, take care of
forks themselves.

    launcher                         this process                     a run
    ["execute_run", ...]   ->        forks                  ->        dagster api execute_run ...
    its process identity   <-
                                     ends once the launcher has ended; runs go on
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from threading import Lock
from typing import NoReturn

from churn_assets.processes import identity_of

LIBRARIES = (
    "dagster", "dagster._cli.api", "dagster._core.storage.sqlite_storage", "alembic.command", "yaml", "upath",
    "pandas", "pandera", "narwhals", "pyarrow.parquet", "pyarrow.dataset",
    "scipy.stats", "sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline", "sklearn.isotonic", "xgboost",
    "sqlalchemy.orm", "google.protobuf.descriptor_pb2", "opentelemetry.sdk.trace", "fastapi", "git",
    "cryptography.x509", "xlsxwriter", "requests", "fsspec",
)  # fmt: skip
"""What runs load anyway. One that isn't there is left to the run that wants it."""

THREADED = ("polars", "deltalake", "mlflow")
"""What is never loaded here, for a fork of it may hang."""

PATIENCE = 120.0
"""Seconds for the libraries to be loaded on a busy machine."""


class WarmProcess:
    """The launcher's end: starts the process when it is first needed, and anew if it was killed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def run(self, arguments: Sequence[str]) -> str:
        """Runs ``dagster api`` with ``arguments`` in a fork; the identity of its process.

        Raises:
            OSError: the process can't be started, or ended before it answered.
        """
        with self._lock:
            line = self._open()
            line.sendall(json.dumps(list(arguments)).encode() + b"\n")
            answer = line.makefile().readline().strip()
            if not answer:
                self._close()
                raise ConnectionResetError("the process that forks runs ended before it had forked this one")
            return answer

    def close(self) -> None:
        """Ends the process; runs that it has forked go on."""
        with self._lock:
            self._close()

    def _open(self) -> socket.socket:
        if self._line and self._process and self._process.poll() is None:
            return self._line
        self._close()
        self._line, theirs = socket.socketpair()
        self._line.settimeout(PATIENCE)
        with theirs:
            number = str(theirs.fileno())
            command = [sys.executable, "-m", __name__, number]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        return self._line

    def _close(self) -> None:
        if self._line:
            self._line.close()
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._line = self._process = None


def load() -> None:
    """Loads the libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    # So that no run looks for garbage in it, which would also copy what forks share.
    gc.collect()
    gc.freeze()


def serve(line: socket.socket) -> None:
    """Forks a run for each request until the launcher has ended."""
    # Ctrl-C reaches every process of a terminal; it is for the runs and the launcher to end by it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    requests = line.makefile()
    while request := requests.readline():
        number = os.fork()
        if number == 0:
            line.close()
            requests.close()
            _run(json.loads(request))
        line.sendall(identity_of(number).encode() + b"\n")


def _run(arguments: Sequence[str]) -> NoReturn:
    from dagster._cli.api import api_cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        api_cli(list(arguments), standalone_mode=False)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Never back into the loop of the process that this is a copy of.
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as own:
        load()
        serve(own)
