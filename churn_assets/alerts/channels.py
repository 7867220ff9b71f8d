"""The ways by which people are told: a webhook, a mail, a file. An error never shows an address or a password."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from churn_assets.alerts.matters import Message
from churn_assets.errors import AlertError
from churn_assets.spec.alerts import ChannelSpec, EmailSpec, FileSpec, WebhookSpec
from churn_assets.spec.environment import with_environment

PATIENCE = 10
"""Seconds that a server may take to answer: whoever tells is a sensor, which has a minute."""
MOST_SHOWN = 10
"""Messages that are shown in full where many are sent at once; a file has all of them."""

_TITLE, _SECTION = 150, 2900
"""Letters that Slack takes for a title, and for a section of text."""
_PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class Channel(Protocol):
    """A way to tell people."""

    def send(self, messages: Sequence[Message], now: datetime) -> str:
        """Sends messages, at least one, as one posting; gives a remark, which is empty if all is well.

        Raises:
            AlertError: they didn't arrive.
        """
        ...


def open_channel(given: ChannelSpec, pipeline: str, ui: str, folder: Path) -> Channel:
    """The channel that a specification declares, with what the environment gives.

    Args:
        given: one of ``alerts.channels``.
        pipeline: whose alerts they are.
        ui: address of Dagster's UI.
        folder: the installation's data folder.

    Raises:
        SpecError: the environment lacks what the channel names.
    """
    found = with_environment(given, f"{pipeline}: alerts.channels.{given.name}")
    match found:
        case WebhookSpec():
            return Webhook(found, ui)
        case EmailSpec():
            return Email(found, ui)
        case FileSpec():
            return Lines(folder / (Path(found.path).expanduser() if found.path else f"alerts/{pipeline}.jsonl"), ui)
    raise AssertionError(f"no channel is of type {type(found).__name__}")


@dataclass(frozen=True)
class Webhook:
    """Slack's incoming webhook, or one that takes the same."""

    given: WebhookSpec
    ui: str

    def send(self, messages: Sequence[Message], now: datetime) -> str:
        import requests

        payload = {"text": _subject(messages), "blocks": _blocks(messages, self.ui)}
        try:
            answer = requests.post(self.given.url, json=payload, timeout=PATIENCE, allow_redirects=False)
        except requests.Timeout:
            raise self._failed(f"no answer within {PATIENCE} s", "It is tried again.") from None
        except requests.ConnectionError:
            raise self._failed("a server that can't be reached", "Check its address, and the network.") from None
        except requests.RequestException as error:
            raise self._failed(f"an address that can't be used ({type(error).__name__})", "Mend it.") from None
        if answer.status_code // 100 != 2:
            found = f"the answer {answer.status_code} {answer.reason}"
            raise self._failed(found, "Check that the webhook still exists and takes Slack's messages.")
        return ""

    def _failed(self, found: str, remedy: str) -> AlertError:
        return AlertError(f"{self.given.name}: expected the webhook to take a message, found {found}. {remedy}")


@dataclass(frozen=True)
class Email:
    """A mail in plain text, to all receivers."""

    given: EmailSpec
    ui: str

    def send(self, messages: Sequence[Message], now: datetime) -> str:
        import smtplib
        import ssl

        given = self.given
        try:
            with self._connected() as server:
                if given.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if given.user is not None and given.password is not None:
                    server.login(given.user, given.password)
                refused = server.send_message(self._mail(messages, now))
        except smtplib.SMTPAuthenticationError as error:
            raise self._failed(f"that it refuses the user ({error.smtp_code})", "Check user and password.") from None
        except smtplib.SMTPRecipientsRefused:
            raise self._failed("that it refuses every receiver", "Check 'to'.") from None
        except smtplib.SMTPSenderRefused as error:
            raise self._failed(f"that it refuses the sender ({error.smtp_code})", "Check 'from'.") from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            code = getattr(error, "smtp_code", None) or getattr(error, "strerror", None) or type(error).__name__
            raise self._failed(f"that it fails ({code})", "Check host, port and security.") from None
        return f"{len(refused)} of {len(given.to)} receivers were refused." if refused else ""

    def _connected(self) -> Any:
        import smtplib
        import ssl

        given = self.given
        port = given.port or _PORTS[given.security]
        if given.security == "ssl":
            return smtplib.SMTP_SSL(given.host, port, timeout=PATIENCE, context=ssl.create_default_context())
        return smtplib.SMTP(given.host, port, timeout=PATIENCE)

    def _mail(self, messages: Sequence[Message], now: datetime) -> Any:
        from email.message import EmailMessage
        from email.utils import format_datetime, make_msgid

        mail = EmailMessage()
        mail["Subject"] = _subject(messages)
        mail["From"], mail["To"] = self.given.sender, ", ".join(self.given.to)
        mail["Date"], mail["Message-ID"] = format_datetime(now), make_msgid(domain=self.given.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # so that nobody's holiday notice answers
        shown = ["\n\n".join([m.title, *m.lines, *_links(m, self.ui)]) for m in messages[:MOST_SHOWN]]
        mail.set_content("\n\n----\n\n".join([*shown, *_more(messages)]) + "\n")
        return mail

    def _failed(self, found: str, remedy: str) -> AlertError:
        given = self.given
        return AlertError(
            f"{given.name}: expected the mail server {given.host} to take a mail, found {found}. {remedy}"
        )


@dataclass(frozen=True)
class Lines:
    """A file that gets a line of JSON for each message."""

    place: Path
    ui: str

    def send(self, messages: Sequence[Message], now: datetime) -> str:
        lines = [
            {"at": now.isoformat(), "pipeline": m.pipeline, "occasion": m.occasion, **asdict(m.alert),
             "link": f"{self.ui}{m.alert.link}" if m.alert.link else "", "since": m.since.isoformat()}
            for m in messages
        ]  # fmt: skip
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            with self.place.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        except OSError as error:
            raise AlertError(
                f"{self.place}: expected a file that alerts can be written to, found: {error.strerror}. Give another "
                "path, or allow this user to write there."
            ) from error
        return ""


def _subject(messages: Sequence[Message]) -> str:
    """All messages in one line."""
    first = messages[0]
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"[{first.pipeline}] {first.title[:_TITLE]}{more}"


def _blocks(messages: Sequence[Message], ui: str) -> list[dict[str, Any]]:
    """Messages as Slack's blocks: a title each, what happened, what to do, and where to look."""
    blocks: list[dict[str, Any]] = []
    for message in messages[:MOST_SHOWN]:
        title = f"[{message.pipeline}] {message.title}"
        blocks.append({"type": "header", "text": {"type": "plain_text", "text": title[:_TITLE]}})
        for text in (*map(_escaped, message.lines), *(f"<{link}|Open it in the UI>" for link in _links(message, ui))):
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}})
    return [*blocks, *({"type": "section", "text": {"type": "mrkdwn", "text": more}} for more in _more(messages))]


def _links(message: Message, ui: str) -> list[str]:
    return [f"{ui}{message.alert.link}"] if message.alert.link else []


def _more(messages: Sequence[Message]) -> list[str]:
    left = len(messages) - MOST_SHOWN
    return [f"And {left} more: `churn alerts` shows all of them."] if left > 0 else []


def _escaped(text: str) -> str:
    """Text in which Slack finds no links and no people to call."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
