"""churn why, as it is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from churn_assets.cli.app import app
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


def churn(installation: Installation, *arguments: str) -> str:
    with installation.active():
        told = CliRunner().invoke(app, ["why", *arguments], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.output


def as_json(installation: Installation, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(churn(installation, *arguments, "--json"))
    return found


def test_the_model(finished: Installation) -> None:
    found, told = as_json(finished, "model", "2024-05"), churn(finished, "model", "2024-05")
    assert told.startswith(f"churn 2024-05: {found['champion']}\n")
    for expected in ("by the gate", "What the gate looked at", "Models judged on the same rows", "Dataset ", "card.md"):
        assert expected in told
    assert "there is no champion" in churn(finished, "model", "2024-01")


def test_the_customer(finished: Installation) -> None:
    listed = finished.pipeline().lake.scan_record(finished.pipeline().lake.record("retention_list", _may())).collect()
    customer = listed["customer_id"][0]
    found, told = as_json(finished, "customer", customer), churn(finished, "customer", customer, "--month", "2024-05")
    assert found["month"] == "2024-05"
    assert f"P(leave) {found['score']['p_leave']:.1%}" in told
    for expected in ("Expected value", "x save rate", "Outcome: Not known yet", "where the model starts", "made of"):
        assert expected in told
    assert max(map(len, told.splitlines())) <= 100


def test_the_run(finished: Installation) -> None:
    found, told = as_json(finished, "run", "2024-05", "features"), churn(finished, "run", "2024-05", "features")
    assert told.startswith("features 2024-05: present\n") and found["run_id"] in told
    assert "What it was made from" in told and "A run would skip it" in told
    every = churn(finished, "run", "2024-05")
    assert all(stage in every for stage in as_json(finished, "run", "2024-05"))


def _may() -> Any:
    from churn_assets.months import Month

    return Month.parse("2024-05")
