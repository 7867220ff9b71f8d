"""Freshness: whether the months that are due by now were delivered. What is late decides no data, just a warning."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import dagster as dg

from churn_assets.assets.stage import Check
from churn_assets.months import Month, month_range
from churn_assets.pipeline import Pipeline

NAME = "delivered_in_time"
HOUR = 3600


def check_key(pipeline: Pipeline) -> dg.AssetCheckKey:
    """The check of a pipeline's raw_data."""
    return dg.AssetCheckKey(dg.AssetKey([pipeline.name, "raw_data"]), NAME)


def judge(pipeline: Pipeline, today: date) -> Check:
    """Whether every month that was due before ``today`` was made."""
    missing = late(pipeline, today)
    newest = max(pipeline.lake.months("raw_data"), default=None)
    figures = {"newest month": str(newest or "none"), "due and not there": [str(m) for m in missing]}
    if not missing:
        return Check(
            NAME, True, f"Every month that is due has come; the newest is {newest or 'none'}.", figures=figures
        )
    days = (today - due(pipeline, missing[0])).days
    more = f", and {len(missing) - 1} more after it" if len(missing) > 1 else ""
    told = f"{missing[0]} is {days:,} days late (due {due(pipeline, missing[0])}){more}."
    return Check(NAME, False, f"{told} {remedy(pipeline, missing)}", warn=True, figures=figures)


def late(pipeline: Pipeline, today: date) -> list[Month]:
    """The months that were due before ``today`` and never made, ascending."""
    start, end = pipeline.spec.months.start, pipeline.spec.months.end
    newest = pipeline.calendar.complete_at(datetime.combine(today, time.min, UTC))
    made = set(pipeline.lake.months("raw_data"))
    return [month for month in month_range(start, min(newest, end) if end else newest) if month not in made]


def remedy(pipeline: Pipeline, missing: Sequence[Month]) -> str:
    """What to do about late months."""
    return f"Ask the source for it, or run `{pipeline.lake.remedy.format(first=missing[0], last=missing[-1])}`."


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
        return dg.AssetCheckResult(passed=found.passed, description=found.reason, **_shown(found))

    return delivered_in_time


def freshness_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """Makes the check without a run, once a day and whenever it comes out otherwise."""

    @dg.sensor(
        name=f"{pipeline.name}_freshness",
        description="Looks every hour whether a month is late, without a run: the check delivered_in_time of raw_data "
        "then says so.",
        minimum_interval_seconds=HOUR,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.freshness.upper()],
    )
    def freshness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        today = datetime.now(UTC).date()
        found = judge(pipeline, today)
        seen = json.dumps([today.isoformat(), found.reason])
        key = check_key(pipeline)
        evaluation = dg.AssetCheckEvaluation(
            key.asset_key, key.name, found.passed, description=found.reason, **_shown(found)
        )
        return dg.SensorResult(
            skip_reason=found.reason, cursor=seen, asset_events=[evaluation] if context.cursor != seen else []
        )

    return freshness


def _shown(found: Check) -> dict[str, Any]:
    return {"severity": dg.AssetCheckSeverity.WARN, "metadata": {"reason": found.reason, **found.figures}}
