"""What runs without a person: the monthly job, its schedule, and the sensor that heals months whose inputs changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from churn_assets.assets.freshness import check_key
from churn_assets.assets.tracking import unreachable
from churn_assets.months import Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.staleness import State, states
from churn_assets.store.content import json_hash

REASON_TAG = "churn/reason"


def partitions(pipeline: Pipeline) -> dg.MonthlyPartitionsDefinition:
    """The pipeline's months; one begins to exist when it has ended."""
    months = pipeline.spec.months
    end = str(months.end + 1) if months.end else None
    return dg.MonthlyPartitionsDefinition(start_date=str(months.start), end_date=end, fmt="%Y-%m")


def monthly_job(pipeline: Pipeline) -> Any:
    """All stages of one month."""
    return dg.define_asset_job(
        f"{pipeline.name}_month",
        selection=dg.AssetSelection.groups(pipeline.name) - dg.AssetSelection.checks(check_key(pipeline)),
        description=f"One month of the pipeline {pipeline.name}, from its source to its list and monitoring.",
        tags={"churn/pipeline": pipeline.name},
    )


def monthly_schedule(pipeline: Pipeline, job: Any) -> Any:
    """Runs the month that has just become complete."""
    spec = pipeline.spec
    return dg.build_schedule_from_partitioned_job(
        job,
        name=f"{pipeline.name}_monthly",
        description=f"Runs a month once its data is complete: day {spec.months.lag_days + 1} of the next, "
        f"{spec.automation.hour:02d}:00 UTC.",
        day_of_month=spec.months.lag_days + 1,
        hour_of_day=spec.automation.hour,
        default_status=dg.DefaultScheduleStatus[spec.automation.schedule.upper()],
    )


def corrections_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Asks the calendar which months were made from something that has changed since, and runs exactly those."""

    @dg.sensor(
        name=f"{pipeline.name}_corrections",
        job=job,
        description="Re-runs months that were made from something that has changed since, in ascending order; each "
        "run carries the reason.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.corrections.upper()],
    )
    def corrections(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        stale = stale_months(pipeline, codes)
        if waits := _waits_for_tracking(pipeline, stale):
            stale = {month: found for month, found in stale.items() if not any(s.pending for s in found)}
        if not stale:
            yield dg.SkipReason(waits or "Every month that was made is up to date.")
        for month, found in stale.items():
            yield dg.RunRequest(
                run_key=f"{month}-{json_hash([(s.stage, s.reason, s.against) for s in found])}",
                partition_key=str(month),
                tags={REASON_TAG: f"{found[0].stage} {month}: {found[0].reason}"[:250]},
            )

    return corrections


def _waits_for_tracking(pipeline: Pipeline, stale: Mapping[Month, list[State]]) -> str | None:
    """Why months that wait for MLflow can't be decided yet; None if they can, or there are none."""
    if not any(state.pending for found in stale.values() for state in found):
        return None
    return unreachable(pipeline.settings)


def incoming_sensor(pipeline: Pipeline, job: Any) -> dg.SensorDefinition:
    """Runs the month of each file that was dropped and has settled; each content once."""
    from churn_assets.sources.incoming import IncomingSource

    source = pipeline.source
    assert isinstance(source, IncomingSource)
    folder = source.folder

    @dg.sensor(
        name=f"{pipeline.name}_incoming",
        job=job,
        description=f"Runs the month of each file that is dropped into {folder}, once it has "
        "stopped changing. A file of a month that is there already replaces it in a new version.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.incoming.upper()],
    )
    def incoming(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        waiting = source.look()
        told = [f"{file.name}: {file.note}" for file in waiting if file.status != "ready"]
        for line in told:
            context.log.warning(line)
        ready = [file for file in waiting if file.status == "ready" and file.month]
        if not ready:
            yield dg.SkipReason("; ".join(told)[:1000] or f"Nothing is waiting in {folder}.")
        for file in sorted(ready, key=lambda f: str(f.month)):
            yield dg.RunRequest(
                # The same content may come again, to take the place of another that came in between.
                run_key=f"{file.month}-{file.sha256}-{(folder / file.name).stat().st_mtime_ns}",
                partition_key=str(file.month),
                tags={REASON_TAG: f"{file.name} was dropped."[:250]},
            )

    return incoming


def stale_months(pipeline: Pipeline, codes: Mapping[str, str]) -> dict[Month, list[State]]:
    """The months with stale stages, ascending, and those stages."""
    made = pipeline.lake.months("raw_data")
    if not made:
        return {}
    every = states(pipeline, month_range(made[0], made[-1]), codes)
    found = {m: [s for s in row.values() if s.status == "stale"] for m, row in every.items()}
    return {m: stale for m, stale in found.items() if stale}
