"""What people are told of: an alert, the matter that it is about, and what a channel owes them about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from churn_assets.spec.alerts import ChannelSpec, Kind

Occasion = Literal["begins", "goes_on", "over"]

Key = tuple[str, str]
"""Kind and subject: alerts that have both in common are about one matter."""


@dataclass(frozen=True)
class Alert:
    """Something that a person should know of.

    Attributes:
        kind: what sort of thing it is; a channel may be told of some kinds only.
        subject: what it is about, such as a month.
        title: it in one line. While a matter goes on, another title is news, and told at once.
        text: what happened, in sentences.
        remedy: what to do next.
        link: where to look, as a path in Dagster's UI, such as "/runs/<id>".
    """

    kind: Kind | Literal["test"]
    subject: str
    title: str
    text: str
    remedy: str
    link: str = ""

    @property
    def key(self) -> Key:
        return self.kind, self.subject


@dataclass(frozen=True)
class Telling:
    """A channel's attempt to tell of a matter.

    Attributes:
        title: the alert's at that time.
        error: why it didn't arrive; empty if it did.
        remark: what else is to be known, such as a receiver who was refused.
    """

    channel: str
    at: datetime
    occasion: Occasion
    title: str
    error: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Matter:
    """An alert's matter, from when it was first seen until it is over, with what was told of it."""

    alert: Alert
    since: datetime
    over: datetime | None = None
    tellings: tuple[Telling, ...] = ()

    def arrived(self, channel: str) -> Telling | None:
        """What a channel told of it last."""
        return next((t for t in reversed(self.tellings) if t.channel == channel and not t.error), None)

    def owed(self, channel: ChannelSpec, remind_hours: float, now: datetime) -> Occasion | None:
        """What ``channel`` has to tell of it now; None if nothing.

        That a matter is over is told only to those who were told that it had begun.
        """
        last = self.arrived(channel.name)
        if self.over:
            return "over" if last and last.occasion != "over" else None
        if last is None or last.title != self.alert.title:
            return "begins" if self.alert.kind in channel.kinds else None
        reminds = remind_hours > 0 and now - last.at >= timedelta(hours=remind_hours)
        return "goes_on" if reminds else None


@dataclass(frozen=True)
class Message:
    """What is told of an alert at one moment."""

    pipeline: str
    occasion: Occasion
    alert: Alert
    since: datetime

    @property
    def title(self) -> str:
        """The alert in one line, with what has become of it."""
        before = {"begins": "", "goes_on": "Still: ", "over": "Over: "}[self.occasion]
        return " ".join(f"{before}{self.alert.title}".split())

    @property
    def lines(self) -> list[str]:
        """What happened, and what to do next."""
        began = f"It began on {self.since:%Y-%m-%d at %H:%M} UTC."
        if self.occasion == "over":
            return [f"This is over. {began}"]
        told = f"{self.alert.text} {began}" if self.occasion == "goes_on" else self.alert.text
        return [told, f"What to do: {self.alert.remedy}"]
