"""What orders a training by the clock, apart from the months in which a model is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from churn_assets.assets.reasons import Look, Need
from churn_assets.assets.requests import Requests
from churn_assets.months import Month
from churn_assets.orders import Order, give, order_on
from churn_assets.pipeline import Pipeline


def retrain_schedule(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.ScheduleDefinition:
    """Orders a training of the newest month that is complete at the scheduled time, and runs it."""
    automation = pipeline.spec.automation
    name = f"{pipeline.name}_retrain"
    order = Order(name, f"scheduled ({automation.retrain_cron})", automation.retrain_tuning)

    @dg.schedule(
        name=name,
        job=job,
        cron_schedule=automation.retrain_cron,
        execution_timezone="UTC",
        description="Orders a training of the newest complete month, if it has no model of its own yet, and runs it"
        f"{', with a search for better parameters' if order.tuning else ''}. Beside it, a model is due in every "
        f"{f'{pipeline.calendar.train_every} months' if pipeline.calendar.train_every > 1 else 'month'}.",
        default_status=dg.DefaultScheduleStatus[automation.retrain.upper()],
    )
    def retrain(context: dg.ScheduleEvaluationContext) -> Any:
        asking = Requests(context.instance, pipeline, codes, context.scheduled_execution_time)
        if not asking.look.due:
            return dg.SkipReason(f"No month of {pipeline.name} is complete yet.")
        month = asking.look.due[-1]
        if model := _model_of(pipeline, month, order.tuning):
            return dg.SkipReason(f"{month} has a model of its own already: {model}.")
        placed = _place(pipeline, month, order)
        asked = asking.ask(_needs(asking.look, month, placed))
        return asked.skipped(f"The order for {month} was carried out, and no model came of it.") or asked.requests

    return retrain


def _model_of(pipeline: Pipeline, month: Month, tuning: bool) -> str | None:
    """The model that was trained in ``month``, with all searches if ``tuning``; None if there is none."""
    record = pipeline.lake.record("model", month)
    if record is None or "model_id" not in record.facts:
        return None
    searched = {c.name for c in pipeline.spec.candidates if c.tuning} <= set(record.facts.get("tuned", {}))
    return str(record.facts["model_id"]) if searched or not tuning else None


def _place(pipeline: Pipeline, month: Month, order: Order) -> Order:
    """The order that stands for ``month``: one that was placed before counts, unless it lacks the tuning."""
    before = order_on(pipeline, month)
    if before and before.tuning >= order.tuning:
        return before
    give(pipeline, month, order)
    return order


def _needs(look: Look, month: Month, order: Order) -> list[Need]:
    """The run of ``month`` by which its order is carried out."""
    found = (need for kind in (look.completed(month), look.unfinished(), look.stale()) for need in kind)
    return [replace(need, reason=f"A training is {order.words}.") for need in found if need.month == month]
