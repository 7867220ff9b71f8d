from __future__ import annotations

import sys
from pathlib import Path

import pytest

from churn_assets.assets.features import STAGE
from churn_assets.assets.stage import source_hash
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets_tests.declared import declared

MODULE = "own_features_of_a_test"
OWN = {"kind": "python", "function": f"{MODULE}:calls", "columns": ["calls"], "names": {"own": "integer"}}


def code(folder: Path) -> str:
    """The stage's code as a new process would find it."""
    sys.modules.pop(MODULE, None)
    source_hash.cache_clear()
    return STAGE.code(Pipeline(declared(features=[OWN]), Settings(folder, folder)))


def test_a_changed_function_makes_the_features_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / f"{MODULE}.py"
    file.write_text("def calls(frame):\n    return frame.rename({'calls': 'own'})\n")
    before = code(tmp_path)
    assert code(tmp_path) == before
    file.write_text(file.read_text() + "# A word more.\n")
    assert code(tmp_path) != before
