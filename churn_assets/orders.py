"""Trainings that are ordered, by people or by automation, and whether a model is trained in a month.

An order is kept in the lake by month; the month's next run carries it out, and every later one finds it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl

from churn_assets.errors import LearningError
from churn_assets.months import Month
from churn_assets.pipeline import TRAINING_ORDERS, Pipeline
from churn_assets.spec.learning import CandidateSpec
from churn_assets.verdicts import put_down, said_of


@dataclass(frozen=True)
class Order:
    """A training that ``by``, a person or a schedule, wants in a month; ``tuning`` asks for searches as well."""

    by: str
    why: str
    tuning: bool = False

    @property
    def words(self) -> str:
        """The order as it stands in a reason."""
        return f"ordered{' with tuning' if self.tuning else ''} by {self.by}: {self.why.strip().rstrip('.')}"


@dataclass(frozen=True)
class TrainingDecision:
    """Whether a model is trained in a month, why, and whether with searches that are made on order alone."""

    train: bool
    reason: str
    tuning: bool = False

    def candidates(self, declared: Sequence[CandidateSpec]) -> list[CandidateSpec]:
        """The candidates as they are trained: without a search that wasn't ordered."""
        return [
            c.model_copy(update={"tuning": None}) if c.tuning and c.tuning.only_ordered and not self.tuning else c
            for c in declared
        ]


def order_on(pipeline: Pipeline, month: Month) -> Order | None:
    """The training that was ordered last for ``month``, if the order wasn't withdrawn."""
    said = said_of(pipeline, TRAINING_ORDERS, month)
    return Order(**said) if said else None


def give(pipeline: Pipeline, month: Month, order: Order) -> None:
    """Records an order in place of an earlier one for the month, which stays in the month's history.

    Raises:
        LearningError: no reason is given, or tuning is ordered and no candidate declares any.
        MonthError: the pipeline doesn't have the month.
    """
    _require_reason(pipeline, month, order.why)
    if order.tuning and not any(c.tuning for c in pipeline.spec.candidates):
        raise LearningError(
            f"order for {month}: expected a candidate with `tuning`, found none. Declare it, or order without tuning."
        )
    put_down(pipeline, TRAINING_ORDERS, month, pl.DataFrame([asdict(order)]), order.by, order.why)


def withdraw(pipeline: Pipeline, month: Month, by: str, why: str) -> None:
    """Takes the order for a month back.

    Raises:
        LearningError: no reason is given, or no training is ordered for the month.
        MonthError: the pipeline doesn't have the month.
    """
    _require_reason(pipeline, month, why)
    if order_on(pipeline, month) is None:
        raise LearningError(f"order for {month}: expected one to withdraw, found none.")
    put_down(pipeline, TRAINING_ORDERS, month, None, by, why)


def training_in(pipeline: Pipeline, month: Month) -> TrainingDecision:
    """Whether a model is trained in ``month``: where it is ordered, where it is due, and while there is no champion.

    Raises:
        MissingMonth: the month before was never decided, and may have left a champion.
    """
    every, order = pipeline.calendar.train_every, order_on(pipeline, month)
    if order:
        return TrainingDecision(True, f"{order.words[0].upper()}{order.words[1:]}.", order.tuning)
    due = pipeline.calendar.due_by(month)
    if due == month:
        return TrainingDecision(True, f"Due every {f'{every} months' if every > 1 else 'month'}.")
    if pipeline.champion("model", month) is None:
        return TrainingDecision(True, "There is no champion yet.")
    following = pipeline.calendar.due_after(month)
    then = f"next in {following}" if following else "and not again before the pipeline ends"
    told = f"Not due: last due in {due}, {then}, or order it with `{retrain_command(pipeline, month)}`."
    return TrainingDecision(False, told)


def retrain_command(pipeline: Pipeline, month: Month) -> str:
    """The command by which a person orders a training."""
    return f'churn retrain --month {month} --why "..."{pipeline.option}'


def _require_reason(pipeline: Pipeline, month: Month, why: str) -> None:
    pipeline.calendar.check(month)
    if not why.strip():
        raise LearningError(f"order for {month}: expected a reason (--why), found none.")
