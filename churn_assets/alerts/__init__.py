"""Telling people what goes wrong, or waits for them: once, again after a while, and when it is over."""

from churn_assets.alerts.channels import open_channel
from churn_assets.alerts.journal import Journal, journal_of
from churn_assets.alerts.matters import Alert, Matter, Message, Telling
from churn_assets.alerts.telling import Report, Subscriber, tell, try_channels

__all__ = [
    "Alert",
    "Journal",
    "Matter",
    "Message",
    "Report",
    "Subscriber",
    "Telling",
    "journal_of",
    "open_channel",
    "tell",
    "try_channels",
]
