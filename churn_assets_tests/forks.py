"""The command line in a process of its own, forked from one that has imported what it needs.

To import it takes longer than most commands do, and tests give hundreds of them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = (
    "churn_assets.coordinator",
    "churn_assets.history",
    "churn_assets.launcher",
    "churn_assets_tests.forks",
    "churn_assets_tests.installation",
    "deltalake",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "pandas",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.linear_model",
    "xgboost",
    "xlsxwriter",
)
"""What the processes share. Not the command line itself: it looks at the terminal when it is imported."""

_CONTEXT = multiprocessing.get_context("forkserver")


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path | None, err: Path | None
) -> BaseProcess:
    """Begins ``churn`` in ``folder``; what it says is added to the files ``out`` and ``err``, or is lost."""
    _CONTEXT.set_forkserver_preload(list(IMPORTED))
    process = _CONTEXT.Process(target=_command, args=(list(arguments), dict(environment), folder, out, err))
    process.start()
    return process


def _command(
    arguments: list[str], environment: dict[str, str], folder: Path, out: Path | None, err: Path | None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, place in ((1, out), (2, err)):
        os.dup2(os.open(place or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.argv = ["churn", *arguments]
    from churn_assets.cli import main

    main()
