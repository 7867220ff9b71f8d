"""What keeps small things fast, told by what is loaded and not by a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

HEAVY = {"mlflow", "sklearn", "xgboost", "scipy", "pandas", "pandera", "matplotlib", "optuna", "deltalake", "grpc"}
CODE = """
import atexit, gc, json, sys
whole = []
gc.callbacks.append(lambda phase, of: whole.append(phase) if of["generation"] == 2 else None)
atexit.register(lambda: print(json.dumps([sorted(sys.modules), len(whole), gc.get_freeze_count()])))
from churn_assets.cli.app import app
app(["run", "--month", "2024-05"], standalone_mode=False)
"""


def test_a_month_that_has_nothing_to_do_loads_no_learner_and_looks_for_no_garbage(own: Installation) -> None:
    told = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True, text=True, check=True, env={**os.environ, **own.environment},
    )  # fmt: skip
    modules, searched, spared = json.loads(told.stdout.splitlines()[-1])
    assert not set(modules) & HEAVY
    assert not searched
    assert spared > 100_000, "nor at its end"
    with own.instance() as instance:
        [run] = instance.get_runs(limit=1)
        assert run.is_success
        assert run.tags["dagster/partition"] == "2024-05"
