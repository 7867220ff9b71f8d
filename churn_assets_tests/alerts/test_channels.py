from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from churn_assets.alerts import Alert, Message, open_channel
from churn_assets.errors import AlertError, SpecError
from churn_assets_tests.alerts.receivers import mail_server, webhook
from churn_assets_tests.declared import declared

NOW = datetime(2024, 6, 3, 6, 30, tzinfo=UTC)
ALERT = Alert(
    "run_failed", "2024-05", "2024-05 failed at features", "expected a <number> & found\nnone.",
    "Mend it, then `churn run --month 2024-05`.", "/runs/abc",
)  # fmt: skip
MESSAGE = Message("shop", "begins", ALERT, NOW)
UI = "https://dagster.example.com"


def send(channel: dict[str, Any], folder: Path, messages: list[Message] | None = None) -> str:
    given = declared(alerts={"channels": [channel], "ui": UI}).alerts
    opened = open_channel(given.channels[0], "shop", given.ui, folder)
    return opened.send(messages or [MESSAGE], NOW)


class TestWebhook:
    CHANNEL = {"type": "webhook", "url": "{{ env.HOOK }}"}

    def test_a_message_has_what_happened_what_to_do_and_where_to_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with webhook() as hook:
            monkeypatch.setenv("HOOK", hook.url)
            assert send(self.CHANNEL, tmp_path) == ""
        [payload] = hook.taken
        assert payload["text"] == "[shop] 2024-05 failed at features"
        assert [block["type"] for block in payload["blocks"]] == ["header", "section", "section", "section"]
        header, happened, remedy, link = (block["text"]["text"] for block in payload["blocks"])
        assert header == "[shop] 2024-05 failed at features"
        assert happened == "expected a &lt;number&gt; &amp; found\nnone."
        assert remedy == "What to do: Mend it, then `churn run --month 2024-05`."
        assert link == "<https://dagster.example.com/runs/abc|Open it in the UI>"

    def test_many_messages_come_as_one_within_slacks_limits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        long = Message("shop", "goes_on", Alert("late_data", "x", "t" * 500, "a" * 9000, "b", "/x"), NOW)
        with webhook() as hook:
            monkeypatch.setenv("HOOK", hook.url)
            send(self.CHANNEL, tmp_path, [long] * 30)
        [payload] = hook.taken
        assert payload["text"].endswith("(and 29 more)")
        assert "And 20 more" in payload["blocks"][-1]["text"]["text"]
        assert len(payload["blocks"]) <= 50
        assert max(len(b["text"]["text"]) for b in payload["blocks"] if b["type"] == "header") <= 150
        assert max(len(b["text"]["text"]) for b in payload["blocks"]) <= 3000

    @pytest.mark.parametrize(
        ("status", "told"), [(404, "the answer 404 Not Found"), (302, "the answer 302"), (0, "can't be reached")]
    )
    def test_a_failure_never_shows_the_address(
        self, status: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with webhook() as hook:
            hook.status = status
            monkeypatch.setenv("HOOK", hook.url if status else "http://127.0.0.1:9/s3cretpath")
            with pytest.raises(AlertError, match=told) as error:
                send(self.CHANNEL, tmp_path)
        assert "s3cret" not in str(error.value)
        assert error.value.__cause__ is None

    def test_what_the_environment_lacks_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HOOK", raising=False)
        with pytest.raises(SpecError, match=r"shop: alerts\.channels\.webhook: expected the environment variable HOOK"):
            send(self.CHANNEL, tmp_path)
        monkeypatch.setenv("HOOK", "ftp://s3cret")
        with pytest.raises(SpecError, match="begins with https://") as error:
            send(self.CHANNEL, tmp_path)
        assert "s3cret" not in str(error.value)


class TestEmail:
    CHANNEL: dict[str, Any] = {
        "type": "email", "host": "127.0.0.1", "security": "none", "user": "churn", "password": "{{ env.MAIL }}",
        "from": "churn@example.com", "to": ["ann@example.com", "bob@example.com"],
    }  # fmt: skip

    def test_a_mail_is_plain_text_with_a_sensible_subject(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with mail_server() as server:
            monkeypatch.setenv("MAIL", server.password)
            assert send({**self.CHANNEL, "port": server.port}, tmp_path) == ""
        [mail] = server.taken
        assert mail["Subject"] == "[shop] 2024-05 failed at features"
        assert (mail["From"], mail["To"]) == ("churn@example.com", "ann@example.com, bob@example.com")
        assert mail.get_content_type() == "text/plain"
        text = mail.get_content()
        assert "What to do: Mend it, then `churn run --month 2024-05`." in text
        assert "https://dagster.example.com/runs/abc" in text

    def test_a_refused_receiver_is_told_of_and_the_others_get_the_mail(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with mail_server() as server:
            monkeypatch.setenv("MAIL", server.password)
            channel = {**self.CHANNEL, "port": server.port, "to": ["ann@example.com", "nobody@example.com"]}
            assert send(channel, tmp_path) == "1 of 2 receivers were refused."
            assert len(server.taken) == 1
            with pytest.raises(AlertError, match="refuses every receiver"):
                send({**channel, "to": ["nobody@example.com"]}, tmp_path)

    def test_a_failure_never_shows_the_password(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAIL", "wr0ngs3cret")
        with mail_server() as server, pytest.raises(AlertError, match=r"refuses the user \(535\)") as error:
            send({**self.CHANNEL, "port": server.port}, tmp_path)
        assert "s3cret" not in str(error.value)

    def test_a_server_that_speaks_no_tls_gets_no_password(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAIL", "s3cret")
        with mail_server() as server, pytest.raises(AlertError, match="host, port and security"):
            send({**self.CHANNEL, "port": server.port, "security": "starttls"}, tmp_path)

    def test_a_server_that_isnt_there_is_told_of(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAIL", "s3cret")
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(AlertError, match="Connection refused"):
                send({**self.CHANNEL, "port": unused.getsockname()[1]}, tmp_path)


class TestFile:
    def test_each_message_is_a_line_below_the_data_folder(self, tmp_path: Path) -> None:
        over = Message("shop", "over", ALERT, NOW)
        assert send({"type": "file"}, tmp_path) == ""
        assert send({"type": "file"}, tmp_path, [over, over]) == ""
        lines = [json.loads(line) for line in (tmp_path / "alerts/shop.jsonl").read_text().splitlines()]
        assert [line["occasion"] for line in lines] == ["begins", "over", "over"]
        assert lines[0] == {
            "at": NOW.isoformat(), "pipeline": "shop", "occasion": "begins", "kind": "run_failed", "subject": "2024-05",
            "title": ALERT.title, "text": ALERT.text, "remedy": ALERT.remedy, "link": f"{UI}/runs/abc",
            "since": NOW.isoformat(),
        }  # fmt: skip

    def test_a_file_may_lie_elsewhere_and_must_be_writable(self, tmp_path: Path) -> None:
        send({"type": "file", "path": str(tmp_path / "there.jsonl")}, tmp_path / "data")
        assert (tmp_path / "there.jsonl").exists()
        (tmp_path / "folder").mkdir()
        with pytest.raises(AlertError, match="Is a directory"):
            send({"type": "file", "path": "folder"}, tmp_path)
