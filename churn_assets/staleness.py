"""What must be made, what needn't, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from churn_assets.errors import MissingMonth
from churn_assets.months import STAGES, Month
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
    fingerprint of what it would be made from now. ``pending``: nothing has changed, and it waits to be made anew.
    """

    stage: str
    month: Month
    status: Literal["missing", "present", "empty", "stale"]
    reason: str = ""
    rows: int = 0
    against: str = ""
    pending: bool = False


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
        return SkipDecision(True, f"Unchanged: same inputs and code as in run {record.run_id or 'unknown'}.")
    return SkipDecision(False, changes(record, known, code))


def changes(record: MonthRecord, inputs: Mapping[str, str], code: str) -> str:
    """A sentence on what differs from what ``record`` was made from; empty if nothing does."""
    changed = sorted(name for name, content in inputs.items() if record.inputs.get(name) != content)
    gone = sorted(set(record.inputs) - set(inputs))
    if changed or gone:
        shown = ", ".join((changed + gone)[:3]) + (" and more" if len(changed + gone) > 3 else "")
        return f"Changed since it was made: {shown}."
    return "Its code or part of the specification changed since it was made." if record.code != code else ""


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
    return State(stage, month, record.status, record.reason, record.rows)


def states(pipeline: Pipeline, months: tuple[Month, ...], codes: Mapping[str, str]) -> dict[Month, dict[str, State]]:
    """The state of every stage in every one of ``months``."""
    return {m: {s: state_of(pipeline, s, m, codes[s]) for s in STAGES} for m in months}
