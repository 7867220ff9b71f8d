from __future__ import annotations

import re

import polars as pl
import pytest

from churn_assets.features.page import meaning, page
from churn_assets.features.profile import profile
from churn_assets.spec import PipelineSpec
from churn_assets_tests.declared import declared
from churn_assets_tests.installation import ROOT, shipped_spec

SPEC = declared(
    description="A shop.",
    features=[
        {"kind": "columns", "columns": ["plan", "calls"]},
        {"kind": "mean", "column": "calls", "months": 4, "description": "Calls |of\nfour months.", "owner": "a@b.org"},
    ],
)
ROWS = pl.DataFrame({"plan": ["plus", "plus", None], "calls": [1, 20, 3], "calls_mean_4m": [1 / 3, 2.0, 4000.0]})
CATALOGUE = profile(ROWS, SPEC, {"calls": 0.12345, "plan": 0.0}, {"calls": 0.6549})


def lines(text: str) -> dict[str, list[str]]:
    """The cells of a page's last table, by the first one."""
    table = [re.split(r" \| ", line[2:-2]) for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in table}


def test_the_page_says_what_each_feature_is() -> None:
    told = lines(meaning(SPEC))
    assert told["feature"] == ["what it is", "type", "months", "made of", "owner"]
    assert told["plan"][1:] == ["category", "m", "plan", "team:data"]
    assert told["calls_mean_4m"] == ["Calls \\|of four months.", "number", "m-3\u00a0to\u00a0m", "calls", "a@b.org"]


def test_the_page_says_how_each_feature_is_distributed_and_what_it_is_worth() -> None:
    made = page(SPEC, "2025-06", CATALOGUE, "2025-06-xgboost-1", {"calls": 0.4567, "plan": 0.0})
    assert made.startswith("# Features of the pipeline shop\n\nA shop. 3 features")
    assert "## How they are distributed in 2025-06" in made
    assert "`2025-06-xgboost-1`" in made
    assert meaning(SPEC) in made
    told = lines(made)
    assert told["feature"] == [
        "missing", "distinct", "mean", "5%", "median", "95%", "most frequent", "PSI", "AUC", "importance",
    ]  # fmt: skip
    assert told["calls"] == ["0.0%", "3", "8", "1", "3", "20", "", "0.123", "0.65", "45.7%"]
    assert told["plan"] == ["33.3%", "1", "", "", "", "", "plus", "0.000", "", "0.0%"]
    assert told["calls_mean_4m"][2] == "1334"
    assert told["calls_mean_4m"][-3:] == ["", "", ""]
    assert made.endswith("|\n")


def test_without_a_champion_the_page_says_so() -> None:
    assert "the champion; there is none yet" in page(SPEC, "2025-06", CATALOGUE, None, {})


def test_the_committed_page_has_the_shipped_pipelines_present_definitions() -> None:
    file = ROOT / "docs/features.md"
    if meaning(PipelineSpec.model_validate(shipped_spec())) not in file.read_text():
        pytest.fail(
            "docs/features.md is stale. Run `churn demo --months 24 && churn features page --to docs/features.md`."
        )
