"""churn dataset ..., beside replay, which churn_assets_tests/e2e/test_replay.py looks at."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from churn_assets.cli.dataset import dataset, find
from churn_assets.cli.terminal import console
from churn_assets.errors import LakeError
from churn_assets.spec import PipelineSpec
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


def told(installation: Installation, *arguments: str) -> str:
    with installation.active():
        result = CliRunner().invoke(dataset, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_version_is_listed_with_its_models_and_whether_it_can_be_made_again(finished: Installation) -> None:
    pipeline = finished.pipeline()
    record = pipeline.lake.record("model", max(pipeline.lake.months("model")))
    assert record is not None
    listed = told(finished, "list")
    rows = [line for line in listed.splitlines() if "2024-" in line]
    assert [line.split("│")[2].strip() for line in rows] == ["2024-02", "2024-03", "2024-04", "2024-05"]
    assert "holdout" in rows[0] and "out_of_time" in rows[1]
    assert str(record.facts["model_id"]) in rows[3] and str(record.facts["dataset"]) in rows[3]
    assert all(line.rstrip("│ ").endswith("yes") for line in rows)


def test_a_manifest_names_the_split_and_all_that_was_read(finished: Installation) -> None:
    shown = told(finished, "show", "2024-05")
    for what in ("2024-04 judges what 2024-01 to 2024-03 taught", "purged", "raw_data", "features", "polars"):
        assert what in shown, shown
    manifest = find(finished.pipeline(), "2024-05")
    assert {t.table for t in manifest.inputs} == {"raw_data", "validated_data", "quarantined_data", "features"}
    assert sorted(manifest.of_table("raw_data")) == ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]
    assert all(t.version is not None and t.code and t.spec for t in manifest.inputs)
    whole = PipelineSpec.model_validate(json.loads(told(finished, "show", manifest.id[:6], "--spec")))
    assert whole.model_dump() == finished.pipeline().spec.model_dump()


def test_what_changed_from_one_version_to_another_is_told_in_words(finished: Installation) -> None:
    said = told(finished, "diff", "2024-03", "2024-05")
    assert "2024-04: validate instead of not looked at." in said
    assert "labelled rows instead of" in said
    assert "raw_data of 2024-04, 2024-05 is read now." in said
    assert "population stability index" in said
    assert "Nothing differs." in told(finished, "diff", "2024-03", "2024-03")


def test_a_month_without_a_dataset_says_why(finished: Installation) -> None:
    with pytest.raises(LakeError, match=r"2024-01: expected one, found none\. Not enough history"):
        find(finished.pipeline(), "2024-01")
    with pytest.raises(LakeError, match=r"2030-01: expected one, found none\. The month was never made"):
        find(finished.pipeline(), "2030-01")
