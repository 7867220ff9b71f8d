"""Telling what hasn't been told yet: each channel by itself, and again at the next look if one fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from churn_assets.alerts.channels import open_channel
from churn_assets.alerts.journal import Journal, journal_of
from churn_assets.alerts.matters import Alert, Key, Matter, Message, Telling
from churn_assets.errors import ChurnAssetsError
from churn_assets.spec import PipelineSpec
from churn_assets.spec.alerts import ChannelSpec, FileSpec

PAUSE = timedelta(minutes=10)
BURST = 5
"""So many postings a channel makes within ``PAUSE``; what comes then waits for its end, and is told in one."""


class Subscriber(Protocol):
    """Whose alerts they are: a pipeline, and where its installation keeps data."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> PipelineSpec: ...

    @property
    def data(self) -> Path: ...


@dataclass(frozen=True)
class Report:
    """What a look at the alerts came to.

    Attributes:
        open: the matters that go on.
        sent: how many messages arrived, by channel.
        failed: why a channel told nothing, by channel; it is tried again at the next look.
        waiting: how many messages wait for the end of a pause, by channel.
    """

    open: tuple[Matter, ...]
    sent: dict[str, int]
    failed: dict[str, str]
    waiting: dict[str, int]

    @property
    def words(self) -> str:
        """It in a sentence or two."""
        sent = ", ".join(f"{count} told by {name}" for name, count in self.sent.items())
        waits = ", ".join(f"{count} wait for a pause of {name}" for name, count in self.waiting.items())
        titles = "; ".join(matter.alert.title for matter in self.open)
        told = ". ".join(part for part in (f"Open: {titles or 'nothing'}", sent, waits) if part)
        return " ".join([f"{told}.", *(f"Not told by {name}: {error}" for name, error in self.failed.items())])


def tell(pipeline: Subscriber, alerts: Iterable[Alert], now: datetime, ended: Iterable[Key] = ()) -> Report:
    """Tells what no one has been told yet, what has been going on for too long, and what is over.

    What is told is remembered once it has arrived: a process that is killed in between tells it twice, never not at
    all. A matter goes on until it is named in ``ended``.

    Args:
        pipeline: whose alerts they are.
        alerts: what is the matter now; it may have been told before.
        now: the time, with its zone.
        ended: matters that no longer are.
    """
    journal = journal_of(pipeline.data / "alerts", pipeline.name)
    journal.note(alerts, ended, now)
    report = Report(tuple(m for m in journal.matters() if not m.over), {}, {}, {})
    with journal.telling() as may_tell:
        for channel in pipeline.spec.alerts.channels if may_tell else ():
            _tell_by(channel, pipeline, journal, now, report)
    return report


def try_channels(pipeline: Subscriber, now: datetime) -> list[Telling]:
    """Sends a test through every channel, and gives what came of each."""
    alert = Alert(
        "test", "test", "This is a test", "Alerts of this pipeline arrive here.", "Nothing: no answer is needed.", "/"
    )
    messages = [Message(pipeline.name, "begins", alert, now)]
    return [
        Telling(given.name, now, "begins", alert.title, *_sent(given, pipeline, messages, now))
        for given in pipeline.spec.alerts.channels
    ]


def _tell_by(given: ChannelSpec, pipeline: Subscriber, journal: Journal, now: datetime, report: Report) -> None:
    """Tells by one channel what it owes."""
    matters, remind_hours = journal.matters(), pipeline.spec.alerts.remind_hours
    owed = [(m, occasion) for m in matters if (occasion := m.owed(given, remind_hours, now))]
    if not owed:
        return
    if _pauses(given, matters, now):
        report.waiting[given.name] = len(owed)
        return
    messages = [Message(pipeline.name, occasion, matter.alert, matter.since) for matter, occasion in owed]
    error, remark = _sent(given, pipeline, messages, now)
    if error:
        report.failed[given.name] = error
    else:
        report.sent[given.name] = len(owed)
    journal.told([(m, Telling(given.name, now, o, m.alert.title, error, remark)) for m, o in owed])


def _sent(given: ChannelSpec, pipeline: Subscriber, messages: Sequence[Message], now: datetime) -> tuple[str, str]:
    """Why messages didn't arrive, or what else is to be known of them; both empty if all is well."""
    try:
        channel = open_channel(given, pipeline.name, pipeline.spec.alerts.ui, pipeline.data)
        return "", channel.send(messages, now)
    except ChurnAssetsError as error:
        return str(error), ""


def _pauses(given: ChannelSpec, matters: Sequence[Matter], now: datetime) -> bool:
    """Whether a channel has told so much lately that the rest had better come at once."""
    if isinstance(given, FileSpec):
        return False
    tellings = (t for matter in matters for t in matter.tellings if t.channel == given.name and not t.error)
    return len({t.at for t in tellings if now - t.at < PAUSE}) >= BURST
