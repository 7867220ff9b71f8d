"""What runs on an event: a file is dropped, the source changes, a month is corrected, labels become known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from churn_assets.assets import up_to_date
from churn_assets.assets.requests import Asked, Requests
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.store.content import json_hash


def corrections_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Asks the calendar which months were made from something that has changed since, and runs exactly those."""

    @dg.sensor(
        name=f"{pipeline.name}_corrections",
        job=job,
        description="Re-runs the months whose windows have something that changed since they were made, in ascending "
        "order; each run carries the reason. Shows what is stale in the check up_to_date of monitoring.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.corrections.upper()],
    )
    def corrections(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        asking = _requests(context, pipeline, codes)
        asked = asking.ask(asking.look.stale())
        found = up_to_date.judge(pipeline, asking.look.states, asking.now)
        seen = json_hash([found.reason, found.figures])
        return dg.SensorResult(
            run_requests=asked.requests,
            skip_reason=asked.skipped("Every month that was made is up to date."),
            asset_events=[up_to_date.evaluation(pipeline, found)] if context.cursor != seen else [],
            cursor=seen,
        )

    return corrections


def incoming_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Runs the month of each file that was dropped and has settled; each content once."""
    from churn_assets.sources.incoming import IncomingSource

    source = pipeline.source
    assert isinstance(source, IncomingSource)

    @dg.sensor(
        name=f"{pipeline.name}_incoming",
        job=job,
        description=f"Runs the month of each file that is dropped into {source.folder}, once it has "
        "stopped changing. A file of a month that is there already replaces it in a new version.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.incoming.upper()],
    )
    def incoming(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        asking = _requests(context, pipeline, codes)
        waiting = source.look()
        for line in (f"{file.name}: {file.note}" for file in waiting if file.status != "ready"):
            context.log.warning(line)
            asking.look.left.append(line)
        ready = [(file.month, file.name) for file in waiting if file.status == "ready" and file.month]
        asked = asking.ask(need for month, name in ready for need in asking.look.dropped(month, name))
        return _result(asked, f"Nothing is waiting in {source.folder}.")

    return incoming


def source_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Runs the newest months anew that the source tells otherwise, or tells for the first time."""
    watched = pipeline.spec.automation.watch_months

    @dg.sensor(
        name=f"{pipeline.name}_source",
        job=job,
        description=f"Asks the source whether it has the newest {watched} months otherwise than when they were read, "
        "or a new one, and runs those: by SQL's `version`, an API's ETag or Last-Modified, the files' checksums or "
        "their listing. Where only reading the rows can tell, nothing is run.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.source.upper()],
    )
    def source(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        asking = _requests(context, pipeline, codes)
        asked = asking.ask(asking.look.changed_at_source())
        return _result(asked, f"The source has nothing new of {_range(asking.look.newest)}.")

    return source


def labels_matured_sensor(pipeline: Pipeline, job: Any, codes: Mapping[str, str]) -> dg.SensorDefinition:
    """Runs the stages that learn in the months whose labels are known, where they were not run."""

    @dg.sensor(
        name=f"{pipeline.name}_labels_matured",
        job=job,
        description="Runs the stages from versioned_dataset to monitoring, as far as they are missing, in months that "
        "have features and whose labels are known.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.labels_matured.upper()],
    )
    def labels_matured(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        asking = _requests(context, pipeline, codes)
        asked = asking.ask(asking.look.matured())
        return _result(asked, "Nothing is left to learn in any month whose labels are known.")

    return labels_matured


def _requests(context: dg.SensorEvaluationContext, pipeline: Pipeline, codes: Mapping[str, str]) -> Requests:
    return Requests(context.instance, pipeline, codes, datetime.now(UTC))


def _result(asked: Asked, otherwise: str) -> dg.SensorResult:
    return dg.SensorResult(run_requests=asked.requests, skip_reason=asked.skipped(otherwise))


def _range(months: tuple[Month, ...]) -> str:
    return f"{months[0]} to {months[-1]}" if months else "any month"
