"""Freshness: whether the months that are due by now were delivered. What is late decides no data, just a warning."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from churn_assets.assets.stage import Check
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline

NAME = "delivered_in_time"


def check_key(pipeline: Pipeline) -> dg.AssetCheckKey:
    """The check of a pipeline's raw_data."""
    return dg.AssetCheckKey(dg.AssetKey([pipeline.name, "raw_data"]), NAME)


def judge(pipeline: Pipeline, today: date) -> Check:
    """Whether every month that was due before ``today`` was made."""
    late = list(_late(pipeline, today))
    newest = max(pipeline.lake.months("raw_data"), default=None)
    figures = {"newest month": str(newest or "none"), "due and not there": [str(m) for m in late]}
    if not late:
        return Check(
            NAME, True, f"Every month that is due has come; the newest is {newest or 'none'}.", figures=figures
        )
    days = (today - due(pipeline, late[0])).days
    more = f", and {len(late) - 1} more after it" if len(late) > 1 else ""
    return Check(
        NAME, False,
        f"{late[0]} is {days:,} days late (due {due(pipeline, late[0])}){more}. Ask the source for it, or run "
        f"`{pipeline.lake.remedy.format(first=late[0], last=late[-1])}`.",
        warn=True, figures=figures,
    )  # fmt: skip


def due(pipeline: Pipeline, month: Month) -> date:
    """The day on which a month's data is complete."""
    return pipeline.calendar.available_from(month).date()


def freshness_check(pipeline: Pipeline) -> dg.AssetChecksDefinition:
    """The check as Dagster shows and runs it, apart from any month's run."""

    @dg.asset_check(
        asset=check_key(pipeline).asset_key,
        name=NAME,
        description="Every month whose data is due by today was received.",
    )
    def delivered_in_time() -> dg.AssetCheckResult:
        found = judge(pipeline, datetime.now(UTC).date())
        metadata: dict[str, Any] = {"reason": found.reason, **found.figures}
        return dg.AssetCheckResult(
            passed=found.passed, description=found.reason, severity=dg.AssetCheckSeverity.WARN, metadata=metadata
        )

    return delivered_in_time


def freshness_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """Looks every day whether a month is late."""
    job: Any = dg.define_asset_job(
        f"{pipeline.name}_freshness",
        selection=dg.AssetSelection.checks(check_key(pipeline)),
        description="Checks that every month which is due was received.",
    )
    return dg.ScheduleDefinition(
        name=f"{pipeline.name}_freshness",
        job=job,
        cron_schedule=f"30 {pipeline.spec.automation.hour} * * *",
        execution_timezone="UTC",
        description="Looks every day whether a month is late.",
        default_status=dg.DefaultScheduleStatus[pipeline.spec.automation.freshness.upper()],
    )


def _late(pipeline: Pipeline, today: date) -> Iterator[Month]:
    month, end = pipeline.spec.months.start, pipeline.spec.months.end
    made = set(pipeline.lake.months("raw_data"))
    while due(pipeline, month) <= today and (end is None or month <= end):
        if month not in made:
            yield month
        month += 1
