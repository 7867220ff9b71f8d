"""What orders a training apart from the months in which a model is due: the clock, and monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from churn_assets.assets.reasons import Look, Need
from churn_assets.assets.requests import Requests
from churn_assets.months import Month
from churn_assets.orders import Order, give, order_on
from churn_assets.pipeline import Pipeline
from churn_assets.retraining import month_to_train, newest, order_for, ordered, orderer, standing


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


def retraining_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Orders the training that monitoring has decided on, once; runs its month anew if that was made before."""

    @dg.sensor(
        name=orderer(pipeline),
        job=job,
        description="Orders a training where monitoring wants a new model, for the first month that can learn from "
        "what has changed: that month's run carries it out. A month that was made already is run anew. Each decision "
        "is acted on once, and after an order none follows for `monitoring.retrain.cool_down` months. `churn why "
        "retrain MONTH` tells why.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.retraining.upper()],
    )
    def retraining(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        decision = standing(pipeline)
        if decision is None:
            return dg.SensorResult(skip_reason="Monitoring wants no training.")
        found, last = ordered(pipeline, decision), newest(pipeline)
        if last and last.outcome == "mend_data" and not found:
            return dg.SensorResult(skip_reason=f"{last.month}: {last.reason}")
        if found and found.order is None:
            return dg.SensorResult(skip_reason=f"The order of {decision.month} for {found.month} was withdrawn.")
        month = found.month if found else month_to_train(pipeline, decision)
        if model := _model_of(pipeline, month, tuning=False):
            return dg.SensorResult(skip_reason=f"{month} has the model that {decision.month} wanted: {model}.")
        order = _place(pipeline, month, order_for(pipeline, decision))
        asking = Requests(context.instance, pipeline, codes, datetime.now(UTC))
        made = pipeline.lake.record("model", month)
        asked = asking.ask(_needs(asking.look, month, order) if made else ())
        otherwise = f"A training is ordered for {month}: the month's next run makes it."
        return dg.SensorResult(run_requests=asked.requests, skip_reason=asked.skipped(otherwise))

    return retraining


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
