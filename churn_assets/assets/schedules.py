"""What runs by the clock: each month once it is complete, and every ten minutes whatever is missing or has changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from churn_assets.assets.requests import Asked, Requests
from churn_assets.pipeline import Pipeline


def monthly_schedule(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.ScheduleDefinition:
    """Runs the month that has just become complete.

    Dagster makes up for the last tick that a daemon missed, and for no earlier one: what those would have run is due,
    and the ten-minute schedule asks for it.
    """
    spec = pipeline.spec
    day, hour = spec.months.lag_days + 1, spec.automation.hour

    @dg.schedule(
        name=f"{pipeline.name}_monthly",
        job=job,
        cron_schedule=f"0 {hour} {day} * *",
        execution_timezone="UTC",
        description=f"Runs a month once its data is complete: day {day} of the next, {hour:02d}:00 UTC.",
        default_status=dg.DefaultScheduleStatus[spec.automation.schedule.upper()],
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> Any:
        # A tick that is made up for is about its own month; whether the source may be asked is about now.
        asking = Requests(context.instance, pipeline, codes, datetime.now(UTC))
        month = pipeline.calendar.complete_at(context.scheduled_execution_time)
        asked = asking.ask(asking.look.completed(month))
        return _told(asked, f"{month} was made already, or isn't a month of {pipeline.name}.")

    return monthly


def up_to_date_schedule(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.ScheduleDefinition:
    """Runs what is missing or has changed, by records of the lake and the source's word on its newest months."""

    @dg.schedule(
        name=f"{pipeline.name}_up_to_date",
        job=job,
        cron_schedule="*/10 * * * *",
        execution_timezone="UTC",
        description="Every ten minutes, runs the months that are due and were never made, ended half-way, or were made "
        "from something that has changed since; each by its reason, and once.",
        default_status=dg.DefaultScheduleStatus[pipeline.spec.automation.up_to_date.upper()],
    )
    def up_to_date(context: dg.ScheduleEvaluationContext) -> Any:
        asking = Requests(context.instance, pipeline, codes, context.scheduled_execution_time)
        look = asking.look
        asked = asking.ask(look.missing(), look.changed_at_source(), look.stale(), look.unfinished())
        return _told(asked, "Every month that is due is up to date.")

    return up_to_date


def _told(asked: Asked, otherwise: str) -> list[dg.RunRequest] | dg.SkipReason:
    return asked.skipped(otherwise) or asked.requests
