"""What monitoring has decided on new models, month by month, and the orders that came of it."""

from __future__ import annotations

from dataclasses import dataclass

from churn_assets.errors import LakeError
from churn_assets.monitoring.retraining import RetrainDecision
from churn_assets.months import Month
from churn_assets.orders import Order, order_on
from churn_assets.pipeline import TRAINING_ORDERS, Pipeline
from churn_assets.verdicts import decision_of


@dataclass(frozen=True)
class Ordered:
    """What came of a decision that acts.

    Attributes:
        month: the month that a training was ordered for.
        order: the order as it stands; None if it was withdrawn.
        model: the model that was trained in the month; None if none was, or not yet.
        outcome: what the gate, or a person, made of it: ``promoted``, ``kept`` and so on; empty while that isn't known.
    """

    month: Month
    order: Order | None
    model: str | None
    outcome: str


def orderer(pipeline: Pipeline) -> str:
    """Who orders trainings on behalf of monitoring: its sensor's name."""
    return f"{pipeline.name}_retraining"


def decided(pipeline: Pipeline, month: Month) -> RetrainDecision | None:
    """What monitoring has decided in ``month``; None if it never looked at it."""
    record = pipeline.lake.record("monitoring", month)
    kept = record.facts.get("retrain") if record else None
    return RetrainDecision.from_dict(kept) if kept else None


def newest(pipeline: Pipeline) -> RetrainDecision | None:
    """What monitoring has decided in the newest month that it looked at."""
    seen = pipeline.lake.months("monitoring")
    return decided(pipeline, seen[-1]) if seen else None


def require_decided(pipeline: Pipeline, month: Month) -> RetrainDecision:
    """The same.

    Raises:
        LakeError: nothing was decided.
    """
    found = decided(pipeline, month)
    if found is None:
        raise LakeError(
            f"monitoring {month}: expected a decision on a new model, found none. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    return found


def standing(pipeline: Pipeline) -> RetrainDecision | None:
    """The decision by which a training is to be ordered, or was: the newest that acts, unless its time is over.

    It is over once later months may decide for themselves.
    """
    seen = pipeline.lake.months("monitoring")
    for month in reversed(seen):
        found = decided(pipeline, month)
        if found and found.quiet_until:
            return found if seen[-1] <= Month.parse(found.quiet_until) else None
    return None


def order_for(pipeline: Pipeline, decision: RetrainDecision) -> Order:
    """The order that carries a decision out."""
    return Order(orderer(pipeline), f"{_mark(decision)}{decision.reason}")


def month_to_train(pipeline: Pipeline, decision: RetrainDecision) -> Month:
    """The month that a decision's training is to be ordered for.

    That is where the decision wants it; if months behind were made meanwhile, the newest: lists of earlier months have
    been used, and are left as they were.
    """
    made = pipeline.lake.months("model")
    return max(Month.parse(str(decision.learn_in)), *made[-1:])


def ordered(pipeline: Pipeline, decision: RetrainDecision) -> Ordered | None:
    """What came of a decision; None if nothing was ordered because of it."""
    mark, by = _mark(decision), orderer(pipeline)
    for month in reversed(pipeline.lake.months(TRAINING_ORDERS)):
        said = (record.facts for record in pipeline.lake.history(TRAINING_ORDERS, month))
        if any(one.get("by") == by and str(one.get("why", "")).startswith(mark) for one in said):
            return _came(pipeline, month)
    return None


def underway(pipeline: Pipeline, decision: RetrainDecision) -> bool:
    """Whether the training of a decision was ordered or made, by whomever; one that was withdrawn is settled, too."""
    month = month_to_train(pipeline, decision)
    record = pipeline.lake.record("model", month)
    made = record is not None and "model_id" in record.facts
    return made or order_on(pipeline, month) is not None or ordered(pipeline, decision) is not None


def _mark(decision: RetrainDecision) -> str:
    """What an order's reason begins with, by which it is known again."""
    return f"Monitoring of {decision.month}: "


def _came(pipeline: Pipeline, month: Month) -> Ordered:
    order, record = order_on(pipeline, month), pipeline.lake.record("model", month)
    model = record.facts.get("model_id") if record else None
    return Ordered(month, order, model, str(decision_of(pipeline, month)["outcome"]) if model else "")
