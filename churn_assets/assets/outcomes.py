"""How a run ended, as far as it matters for asking again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import dagster as dg
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from churn_assets.assets.breaker import CHECK

Outcome = Literal["succeeded", "canceled", "died", "source_down", "passing", "failed"]
"""``died``: its process did. ``source_down`` and ``passing``: failed by what may pass with nobody doing anything."""


def outcome(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Outcome:
    """How ``run`` ended, which isn't going on any more."""
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return "succeeded"
    if run.status == dg.DagsterRunStatus.CANCELED:
        return "canceled"
    failures = list(_events(instance, run, dg.DagsterEventType.STEP_FAILURE))
    if run.tags.get(RUN_FAILURE_REASON_TAG) != "STEP_FAILURE" or any(map(_interrupted, failures)):
        return "died"
    if _source_down(instance, run):
        return "source_down"
    return "passing" if failures and all(map(_passes, failures)) else "failed"


def _interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def _passes(event: dg.DagsterEvent) -> bool:
    """Whether the error said that it may pass."""
    said = event.step_failure_data.user_failure_data
    told = said.metadata.get("transient") if said else None
    return told is not None and bool(told.value)


def _source_down(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run found its source unreachable, or paused."""
    checks = [
        event.asset_check_evaluation_data
        for event in _events(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    ]
    return any(check.check_name == CHECK and not check.passed for check in checks)


def _events(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType) -> Iterator[dg.DagsterEvent]:
    for record in instance.get_records_for_run(run.run_id, of_type=kind).records:
        if event := record.event_log_entry.dagster_event:
            yield event
