"""The sensors that tell people: of runs that failed, and of what the pipeline's state says is the matter.

They decide nothing and run nothing. What was told is remembered by ``churn_assets.alerts``; here is what there is to
tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from churn_assets.alerts import Alert, Report, journal_of, tell
from churn_assets.assets.breaker import breaker
from churn_assets.assets.freshness import due, late, remedy
from churn_assets.assets.jobs import PIPELINE_TAG
from churn_assets.assets.model import STANDS
from churn_assets.errors import ChurnAssetsError
from churn_assets.monitoring.retraining import TOLD
from churn_assets.months import Month
from churn_assets.orders import retrain_command
from churn_assets.pipeline import Pipeline
from churn_assets.retraining import month_to_train, newest, standing, underway
from churn_assets.sources.incoming import IncomingSource
from churn_assets.spec import KINDS
from churn_assets.verdicts import awaiting, decision_of, promote_command, reject_command

MONTH_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")
MOST = 200
"""Failures that are looked at in one tick; the next one goes on."""
FIRST_LOOK = timedelta(days=1)
"""How far back the first look for failed runs goes."""


def failure_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """Tells of this pipeline's failed runs, whoever launched them.

    Dagster's own ``run_failure_sensor`` forgets a run whose alert raised an error, sees five runs a tick, and misses
    those of the command line unless it signs the runs of all pipelines. This one moves on once a failure is remembered.
    """

    @dg.sensor(
        name=f"{pipeline.name}_failures",
        description="Tells people of each month whose run failed, however it was launched: the stage, the error, and "
        "what to do. Channels are in the section `alerts` of the specification.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.alerts.upper()],
    )
    def failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        cursor, failed = _failed_since(context.instance, context.cursor, now)
        own = [run for run in failed if _is_of(pipeline, run) and not _mended(context.instance, pipeline, run.run_id)]
        return _result(context, tell(pipeline, [_alert_of(context.instance, pipeline, r) for r in own], now), cursor)

    return failures


def alerts_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """Looks at the pipeline's state and tells of what begins, goes on and ends."""

    @dg.sensor(
        name=f"{pipeline.name}_alerts",
        description="Tells people of late months, broken columns, predictions that were worse than promised, a new "
        "model that is wanted, a blocked promotion, a challenger that waits for a decision, a source that can't be "
        "reached and files that are refused; reminds them, and says when it is over.",
        minimum_interval_seconds=pipeline.spec.automation.check_seconds,
        default_status=dg.DefaultSensorStatus[pipeline.spec.automation.alerts.upper()],
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        begun = [m.alert for m in journal_of(pipeline.data / "alerts", pipeline.name).matters() if not m.over]
        found, ended = [], []
        for kind in KINDS:
            known = [alert for alert in begun if alert.kind == kind]
            try:
                seen = list(_SENSES[kind](pipeline, context.instance, now, known))
            except ChurnAssetsError as error:
                # What can't be looked at may go on, and keeps nobody from being told of the rest.
                context.log.warning(f"{kind} can't be looked at: {error}")
                continue
            found += seen
            ended += [alert.key for alert in known if alert.key not in {s.key for s in seen}]
        return _result(context, tell(pipeline, found, now, ended))

    return alerts


def _result(context: dg.SensorEvaluationContext, report: Report, cursor: str | None = None) -> dg.SensorResult:
    for name, error in report.failed.items():
        context.log.warning(f"{name}: {error}")
    return dg.SensorResult(skip_reason=report.words[:1000], cursor=cursor)


def _failed_since(
    instance: dg.DagsterInstance, cursor: str | None, now: datetime
) -> tuple[str | None, list[dg.DagsterRun]]:
    """The runs that failed after ``cursor``, and weren't stopped, the oldest first, and the cursor behind them."""
    records = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            event_type=dg.DagsterEventType.RUN_FAILURE,
            after_storage_id=int(cursor) if cursor else None,
            after_timestamp=None if cursor else (now - FIRST_LOOK).timestamp(),
        ),
        limit=MOST,
        ascending=True,
    ).records
    if not records:
        return cursor, []
    ids = list(dict.fromkeys(record.event_log_entry.run_id for record in records))
    failed = dg.RunsFilter(run_ids=ids, statuses=[dg.DagsterRunStatus.FAILURE])
    by_id = {run.run_id: run for run in instance.get_runs(failed)}
    return str(records[-1].storage_id), [by_id[run_id] for run_id in ids if run_id in by_id]


def _is_of(pipeline: Pipeline, run: dg.DagsterRun) -> bool:
    """Whether a run makes assets of the pipeline; those launched by asset carry no tag of ours."""
    checks = {check.asset_key for check in run.asset_check_selection or ()}
    keys = {*(run.asset_selection or ()), *checks}
    return run.tags.get(PIPELINE_TAG) == pipeline.name or any(key.path[0] == pipeline.name for key in keys)


def _alert_of(instance: dg.DagsterInstance, pipeline: Pipeline, run: dg.DagsterRun) -> Alert:
    """What there is to tell of a failed run."""
    month, link = _month_of(run), f"/runs/{run.run_id}"
    failed = _failed_steps(instance, run.run_id)
    text = " ".join(dict.fromkeys(_sentence(data) for data in failed.values())) or _ending(instance, run.run_id)
    if month and any(_is_about_the_decision(data) for data in failed.values()):
        # If the decision is gone by now, the failure is still to be told.
        with suppress(ChurnAssetsError):
            if decision := _of_decision(pipeline, Month.parse(month)):
                return decision
    stages = ", ".join(_stage(step) for step in failed)
    subject = month or run.job_name
    command = f"`{pipeline.lake.remedy.format(first=month, last=month)}`" if month else "it from the UI"
    return Alert(
        "run_failed",
        subject,
        f"{subject} failed{f' at {stages}' if stages else ''}",
        text,
        f"Mend the cause, then run {command} again; what was done is skipped.",
        link,
    )


def _failed_steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """The steps of a run that failed, and how."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    return {str(event.step_key): event.step_failure_data for event in events if event}


def _sentence(data: Any) -> str:
    """What a failed step said: its own words, or the error that nobody had expected."""
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error and (data.error.cause or data.error)
    return str(error.message).strip() if error else "It failed without a word."


def _is_about_the_decision(data: Any) -> bool:
    """Whether a step failed for nothing but that no model may score customers."""
    return bool(data.user_failure_data and STANDS in data.user_failure_data.metadata)


def _ending(instance: dg.DagsterInstance, run_id: str) -> str:
    """What Dagster said of a run that failed beside its steps."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    told = [event.message for record in records if (event := record.event_log_entry.dagster_event)]
    return (told[-1] if told else None) or "The run failed without a word."


def _month_of(run: dg.DagsterRun) -> str:
    return next((run.tags[tag] for tag in MONTH_TAGS if tag in run.tags), "")


def _stage(step: str) -> str:
    return step.rpartition("__")[2]


def _mended(instance: dg.DagsterInstance, pipeline: Pipeline, run_id: str) -> bool:
    """Whether a later run did what a failed one was to do; a run whose history was deleted is no matter any more."""
    record = next(iter(instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))), None)
    if record is None:
        return True
    failed, month = record.dagster_run, _month_of(record.dagster_run)
    wanted = {dg.AssetKey([pipeline.name, _stage(step)]) for step in _failed_steps(instance, run_id)}
    filters = [{tag: month} for tag in MONTH_TAGS] if month else [{}]
    later = [
        run
        for tags in filters
        for run in instance.get_runs(
            dg.RunsFilter(
                job_name=None if month else failed.job_name,
                statuses=[dg.DagsterRunStatus.SUCCESS],
                tags=tags,
                created_after=record.create_timestamp,
            )
        )
    ]
    return any(_is_of(pipeline, run) and wanted <= (run.asset_selection or wanted) for run in later)


def _failures_that_go_on(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    return (alert for alert in known if not _mended(instance, pipeline, alert.link.rpartition("/")[2]))


def _late_months(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    missing = late(pipeline, now.date())
    # A pipeline that was never run isn't late, it hasn't begun.
    if not missing or not pipeline.lake.months("raw_data"):
        return
    first, last = missing[0], missing[-1]
    all_of_them = f" In all, {len(missing)} months are late, from {first} on." if first != last else ""
    yield Alert(
        "late_data", "raw_data",
        # The newest one alone: a backfill that makes one month after the other is no news each time.
        f"{last} is late",
        f"{last} was due on {due(pipeline, last)}, and the lake doesn't have it.{all_of_them}",
        remedy(pipeline, missing), f"/assets/{pipeline.name}/raw_data?view=checks",
    )  # fmt: skip


def _blocked_promotions(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    decided = pipeline.lake.months("promotions")
    for month in sorted({*decided[-1:], *(Month.parse(alert.subject) for alert in known)} & set(decided)):
        found = _of_decision(pipeline, month, newest=month == decided[-1])
        if found and found.kind == "promotion_blocked":
            yield found


def _waiting_challengers(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    if (waits := awaiting(pipeline)) and (found := _of_decision(pipeline, waits[0])):
        yield found


def _of_decision(pipeline: Pipeline, month: Month, newest: bool = True) -> Alert | None:
    """What a person has to do about a month's decision, if anything.

    A decision that lacked evidence, while a champion stays, is settled by the next month's.
    """
    record, decision = pipeline.lake.record("model", month), decision_of(pipeline, month)
    link, reason = f"/assets/{pipeline.name}/model?partition={month}", str(decision["reason"])
    if decision["rule"] == "approval":
        return Alert(
            "challenger_waits", str(month), f"{month}: {decision['challenger']} waits for your decision", reason,
            f"Promote it, `{promote_command(pipeline, month, decision['challenger'])}`, or keep what stood before, "
            f"`{reject_command(pipeline, month)}`.",
            link,
        )  # fmt: skip
    checks = record.facts.get("checks", ()) if record else ()
    failed = [str(check["reason"]) for check in checks if check["name"] == STANDS and not check["passed"]]
    if not failed and not (newest and decision["rule"] in ("evidence", "tracking")):
        return None
    return Alert(
        "promotion_blocked", str(month), f"{month}: no model could be promoted", failed[0] if failed else reason,
        "Mend what the reason names, then run the month again: "
        f"`{pipeline.lake.remedy.format(first=month, last=month)}`. `churn why model {month}{pipeline.option}` shows "
        "all figures.",
        link,
    )  # fmt: skip


def _broken_columns(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    found = newest(pipeline)
    if found and found.outcome == "mend_data":
        yield Alert(
            "columns_broken", found.month, f"{found.month}: a column is broken at the source", found.reason,
            "Ask whoever delivers the data what has changed. A new file, or a mended source, replaces the month.",
            _page(pipeline, found.month),
        )  # fmt: skip


def _fallen_quality(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    found = newest(pipeline)
    told = [e.words for e in found.evidence if e.violated and e.rule in TOLD] if found else []
    if found and told:
        yield Alert(
            "quality_fell", found.month, f"{found.month}: predictions were worse than promised",
            f"Now that it is known who left: {'; '.join(told)}. {found.reason}",
            f"`churn why retrain {found.month}{pipeline.option}` shows all figures, and whether a new model is wanted.",
            _page(pipeline, found.month),
        )  # fmt: skip


def _wanted_trainings(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    found = standing(pipeline)
    if found and not underway(pipeline, found):
        month = month_to_train(pipeline, found)
        yield Alert(
            "retrain_wanted", found.month, f"{found.month}: a new model is wanted", found.reason,
            f"Order it with `{retrain_command(pipeline, month)}`, or switch the sensor {pipeline.name}_retraining on.",
            _page(pipeline, found.month),
        )  # fmt: skip


def _page(pipeline: Pipeline, month: str) -> str:
    return f"/assets/{pipeline.name}/monitoring?partition={month}"


def _unreachable_source(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    found = breaker(instance, pipeline, now)
    if found.status == "closed":
        return
    yield Alert(
        "source_unreachable", "source", "the source can't be reached",
        f"{found.reason} It said: {found.error}" if found.error else found.reason,
        "Look whether the source is up, and whether its address, network and credentials are right. The months wait "
        "for it.",
        f"/assets/{pipeline.name}/raw_data",
    )  # fmt: skip


def _refused_files(
    pipeline: Pipeline, instance: dg.DagsterInstance, now: datetime, known: Sequence[Alert]
) -> Iterator[Alert]:
    # Another source may need an extra, a cluster or a secret just to be opened.
    source = pipeline.source if pipeline.spec.source.type == "incoming" else None
    if not isinstance(source, IncomingSource):
        return
    for file in source.look():
        if file.status in ("conflict", "unnamed"):
            yield Alert(
                "incoming_refused", file.name, f"{file.name} is refused", f"{file.name} in {source.folder} isn't read.",
                file.note, f"/locations/churn_assets/sensors/{pipeline.name}_incoming",
            )  # fmt: skip


_SENSES: Mapping[str, Callable[[Pipeline, dg.DagsterInstance, datetime, Sequence[Alert]], Iterator[Alert]]] = {
    "run_failed": _failures_that_go_on,
    "late_data": _late_months,
    "columns_broken": _broken_columns,
    "quality_fell": _fallen_quality,
    "retrain_wanted": _wanted_trainings,
    "promotion_blocked": _blocked_promotions,
    "challenger_waits": _waiting_challengers,
    "source_unreachable": _unreachable_source,
    "incoming_refused": _refused_files,
}
"""How each kind is looked for: what is the matter now, given what was known to be."""
