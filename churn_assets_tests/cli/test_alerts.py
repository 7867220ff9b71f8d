"""churn alerts, as it is printed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from churn_assets.alerts import Alert, tell
from churn_assets.cli.app import app
from churn_assets.errors import AlertError
from churn_assets_tests.alerts.receivers import webhook
from churn_assets_tests.declared import document
from churn_assets_tests.installation import Installation

NOW = datetime(2024, 6, 3, 6, 30, tzinfo=UTC)
ALERT = Alert("run_failed", "2024-05", "2024-05 failed at features", "It [broke].", "Mend it.", "/runs/abc")


def installation(home: Path, **alerts: Any) -> Installation:
    return Installation.create(home, shop=document(alerts=alerts))


def churn(of: Installation, *arguments: str, exit_code: int = 0) -> str:
    with of.active():
        told = CliRunner().invoke(
            app, ["alerts", "-p", "shop", *arguments], catch_exceptions=False, env={"COLUMNS": "200"}
        )
    assert told.exit_code == exit_code, told.output
    return told.output


def test_what_is_the_matter_is_shown_with_what_was_told(tmp_path: Path) -> None:
    shop = installation(tmp_path / "home")
    assert "Nothing is the matter" in churn(shop)
    tell(shop.pipeline("shop"), [ALERT], NOW)
    told = churn(shop)
    for part in ("2024-05 failed at features", "It [broke].", "What to do: Mend it.", "http://127.0.0.1:3000/runs/abc"):
        assert part in told
    assert "2024-06-03 06:30 UTC" in told
    assert "begun" in told
    tell(shop.pipeline("shop"), [], NOW, ended=[ALERT.key])
    told = churn(shop)
    assert "Nothing is the matter" in told
    assert "over" in told
    assert "What was told" not in churn(shop, "--last", "0")


def test_what_nobody_will_mend_is_taken_as_settled(tmp_path: Path) -> None:
    shop = installation(tmp_path / "home")
    tell(shop.pipeline("shop"), [ALERT], NOW)
    with shop.active(), pytest.raises(AlertError, match="expected what is the matter now, 2024-05; found '2024-04'"):
        CliRunner().invoke(app, ["alerts", "-p", "shop", "--settled", "2024-04"], catch_exceptions=False)
    told = churn(shop, "--settled", "2024-05")
    assert "Nothing is the matter" in told
    assert "over" in told


def test_a_test_says_of_each_channel_whether_it_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channels = [{"type": "webhook", "url": "{{ env.HOOK }}"}, {"type": "file"}]
    shop = installation(tmp_path / "home", channels=channels)
    with webhook() as hook:
        monkeypatch.setenv("HOOK", hook.url)
        assert churn(shop, "--test").splitlines() == ["webhook: it arrived.", "file: it arrived."]
        assert [payload["text"] for payload in hook.taken] == ["[shop] This is a test"]
        hook.status = 404
        told = churn(shop, "--test", exit_code=1)
    assert "webhook: it didn't arrive. webhook: expected the webhook to take a message, found the answer 404" in told
    assert "s3cret" not in told
