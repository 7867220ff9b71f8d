"""What must be made, what needn't, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from churn_assets.errors import MissingMonth
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.store.content import json_hash
from churn_assets.store.lake import MonthRecord

PENDING = "pending"
"""The fact of a record that says why its month has to be made anew although nothing that it was made from changed."""


@dataclass(frozen=True)
class SkipDecision:
    """Whether a month is computed or left as it stands; ``reason`` says why in one sentence."""

    skip: bool
    reason: str


@dataclass(frozen=True)
class State:
    """How one month of one stage stands.

    ``stale`` means made from something that has changed since; ``reason`` says what, and ``against`` is the
    fingerprint of what it would be made from now. Where nothing has changed, ``against`` is the run that made it:
    ``pending`` waits to be decided anew, and of ``lost`` files are gone.
    """

    stage: str
    month: Month
    status: Literal["missing", "present", "empty", "stale"]
    reason: str = ""
    rows: int = 0
    against: str = ""
    pending: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Gap:
    """A month that isn't as it should be, and why, in one sentence.

    ``missing`` lies before months that were made, or lacks a stage; ``due`` was never made although its data is
    complete; ``failed`` says what its last run said.
    """

    month: Month
    kind: Literal["failed", "missing", "stale", "due"]
    reason: str


def fingerprint(inputs: Mapping[str, str], code: str) -> str:
    """A hash of everything that a month is made from."""
    return json_hash({"inputs": dict(inputs), "code": code})


def decide_skip(record: MonthRecord | None, inputs: Mapping[str, str | None], code: str, force: bool) -> SkipDecision:
    """Whether what stands in the lake is what would be computed; an input of None is known by reading it only."""
    if record is None:
        return SkipDecision(False, "It was never made.")
    if force:
        return SkipDecision(False, "It was asked for by force.")
    if pending := record.facts.get(PENDING):
        return SkipDecision(False, str(pending))
    known = {name: content for name, content in inputs.items() if content is not None}
    if len(known) < len(inputs):
        return SkipDecision(False, "Only reading its source can tell whether it has changed.")
    if record.fingerprint == fingerprint(known, code):
        return SkipDecision(True, f"Skipped: same inputs and code as in run {record.run_id or 'unknown'}.")
    return SkipDecision(False, changes(record, known, code))


def changes(record: MonthRecord, inputs: Mapping[str, str], code: str) -> str:
    """A sentence on what differs from what ``record`` was made from; empty if nothing does."""
    if found := changed(record, inputs):
        shown = ", ".join(found[:3]) + (" and more" if len(found) > 3 else "")
        return f"Changed since it was made: {shown}."
    return "Its code or part of the specification changed since it was made." if record.code != code else ""


def changed(record: MonthRecord, inputs: Mapping[str, str]) -> list[str]:
    """The names of what is read otherwise now than when ``record`` was made; last those that aren't read any more."""
    other = sorted(name for name, content in inputs.items() if record.inputs.get(name) != content)
    return other + sorted(set(record.inputs) - set(inputs))


def state_of(pipeline: Pipeline, stage: str, month: Month, code: str) -> State:
    """How ``month`` of ``stage`` stands, by the lake's records alone; the source itself isn't asked."""
    record = pipeline.lake.record(stage, month)
    if record is None:
        return State(stage, month, "missing", "It was never made.")
    try:
        inputs = dict(record.inputs) if stage == "raw_data" else pipeline.inputs(stage, month)
    except MissingMonth as error:
        return State(stage, month, "stale", str(error), record.rows)
    if pending := record.facts.get(PENDING):
        return State(stage, month, "stale", str(pending), record.rows, record.run_id, pending=True)
    if reason := changes(record, inputs, code):
        return State(stage, month, "stale", reason, record.rows, fingerprint(inputs, code))
    if gone := pipeline.lake.gone(record):
        reason = f"{gone[0].name} is gone (removed by hand, or by a vacuum)."
        return State(stage, month, "stale", reason, record.rows, record.run_id, lost=True)
    return State(stage, month, record.status, record.reason, record.rows)


def states(pipeline: Pipeline, months: tuple[Month, ...], codes: Mapping[str, str]) -> dict[Month, dict[str, State]]:
    """The state of every stage in every one of ``months``."""
    return {m: {s: state_of(pipeline, s, m, codes[s]) for s in STAGES} for m in months}


def made_so_far(pipeline: Pipeline) -> tuple[Month, ...]:
    """The pipeline's months up to the newest of which any stage was made; none if nothing was."""
    newest = max((m for stage in STAGES for m in pipeline.lake.months(stage)), default=None)
    return month_range(pipeline.calendar.start, newest) if newest else ()


def gaps(
    pipeline: Pipeline, found: Mapping[Month, Mapping[str, State]], now: datetime, failed: Mapping[Month, str]
) -> list[Gap]:
    """What has to be run, ascending: a gap a month.

    Args:
        pipeline: whose months they are.
        found: the state of every month that was ``made_so_far``.
        now: the moment up to which months are due.
        failed: months whose last run failed, and what it said.
    """
    newest = max(found, default=pipeline.calendar.start - 1)
    due = month_range(newest + 1, min(filter(None, (pipeline.calendar.complete_at(now), pipeline.calendar.end))))
    known = {month: _gap(month, row, failed.get(month)) for month, row in found.items()}
    late = [Gap(m, "failed", failed[m]) if m in failed else Gap(m, "due", "It was never made.") for m in due]
    return [*filter(None, known.values()), *late]


def _gap(month: Month, row: Mapping[str, State], failure: str | None) -> Gap | None:
    missing = [s for s in row.values() if s.status == "missing"]
    stale = [s for s in row.values() if s.status == "stale"]
    if failure is not None:
        return Gap(month, "failed", failure)
    if missing:
        lacks = "It was never made." if len(missing) == len(row) else f"{missing[0].stage} was never made."
        return Gap(month, "missing", lacks)
    return Gap(month, "stale", f"{stale[0].stage}: {stale[0].reason}") if stale else None
