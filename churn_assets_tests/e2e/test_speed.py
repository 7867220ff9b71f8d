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
import json, sys
from churn_assets.cli.app import app
app(["run", "--month", "2024-05"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)))
"""


def test_a_month_that_has_nothing_to_do_loads_nothing_that_it_would_do_it_with(own: Installation) -> None:
    told = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True, text=True, check=True, env={**os.environ, **own.environment},
    )  # fmt: skip
    assert not set(json.loads(told.stdout.splitlines()[-1])) & HEAVY
    with own.instance() as instance:
        [run] = instance.get_runs(limit=1)
        assert run.is_success
        assert run.tags["dagster/partition"] == "2024-05"
