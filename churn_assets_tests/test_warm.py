from __future__ import annotations

import json
import subprocess
import sys

import pytest

from churn_assets.warm import LIBRARIES, THREADED


@pytest.mark.slow
def test_what_is_shared_with_runs_is_neither_our_code_nor_what_a_fork_may_hang_in() -> None:
    code = "import json, sys; from churn_assets import warm; warm.load(); print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(told.stdout.splitlines()[-1]))
    assert set(LIBRARIES) <= loaded
    assert not loaded & set(THREADED)
    assert {m for m in loaded if m.startswith("churn_assets.")} == {"churn_assets.processes", "churn_assets.warm"}
