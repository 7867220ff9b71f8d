"""Why a new model is wanted in a month, or isn't, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from churn_assets.monitoring.retraining import Evidence, Outcome
from churn_assets.months import Month
from churn_assets.orders import retrain_command
from churn_assets.pipeline import Pipeline
from churn_assets.retraining import Ordered, decided, month_to_train, ordered, require_decided

HISTORY = 12
"""Months that are told, the asked one included."""


@dataclass(frozen=True)
class PastDecision:
    """What a month decided on a new model.

    Attributes:
        violated: the rules that its champion, or an earlier one, had violated.
        ordered: what was ordered because of it; None if nothing was.
    """

    month: str
    outcome: Outcome
    reason: str
    champion: str | None
    violated: tuple[str, ...]
    ordered: Ordered | None


@dataclass(frozen=True)
class RetrainWhy:
    """Why a new model is wanted in ``month``, or isn't.

    Attributes:
        champion: the model that is about; None if there was none.
        trained: the month that it was trained in.
        outcome: ``keep``, ``retrain``, ``wait`` or ``mend_data``.
        evidence: every figure that was looked at, with its limit.
        learn_in: the month that a training is wanted in; None if none is.
        quiet_until: the last month that orders no further one; None if this one orders none.
        ordered: what was ordered because of it; None if nothing was.
        command: the command by which a person orders it; empty if the decision doesn't act.
        history: the decisions up to the month's own, ascending.
    """

    pipeline: str
    month: str
    champion: str | None
    trained: str | None
    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...]
    learn_in: str | None
    quiet_until: str | None
    ordered: Ordered | None
    command: str
    history: tuple[PastDecision, ...]


def why_retrain(pipeline: Pipeline, month: Month) -> RetrainWhy:
    """Why a new model is wanted in ``month``, or isn't, from what monitoring recorded.

    Raises:
        LakeError: monitoring never looked at the month.
    """
    found, history = require_decided(pipeline, month), tuple(_history(pipeline, month))
    return RetrainWhy(
        pipeline=pipeline.name, month=str(month), champion=found.champion, trained=found.trained,
        outcome=found.outcome, reason=found.reason, evidence=found.evidence, learn_in=found.learn_in,
        quiet_until=found.quiet_until, ordered=history[-1].ordered,
        command=retrain_command(pipeline, month_to_train(pipeline, found)) if found.acts else "", history=history,
    )  # fmt: skip


def _history(pipeline: Pipeline, month: Month) -> Iterator[PastDecision]:
    for earlier in pipeline.calendar.trailing(month, HISTORY - 1):
        if found := decided(pipeline, earlier):
            violated = dict.fromkeys(str(e.rule) for e in found.evidence if e.violated)
            came = ordered(pipeline, found) if found.acts else None
            yield PastDecision(found.month, found.outcome, found.reason, found.champion, tuple(violated), came)
