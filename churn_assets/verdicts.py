"""What people say about a month's champion: kept in the lake by month, and carried out by the month's next decision."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from churn_assets.errors import LakeError, LearningError, MissingMonth
from churn_assets.learning.promotion import GATE, Verdict
from churn_assets.learning.training import load
from churn_assets.months import STAGES, Month
from churn_assets.pipeline import OF_SCORES, VERDICTS, Pipeline
from churn_assets.store.content import json_hash
from churn_assets.store.lake import Commit

BEHIND = STAGES[STAGES.index("model") :]
"""The stages that a verdict concerns."""
DECIDED = ("promotions", *OF_SCORES)
"""Tables that come out otherwise where another model is champion."""


def verdict_on(pipeline: Pipeline, month: Month) -> Verdict | None:
    """What a person has said last about ``month``, if it wasn't withdrawn."""
    said = said_of(pipeline, VERDICTS, month)
    return Verdict(**said) if said else None


def give(pipeline: Pipeline, month: Month, verdict: Verdict) -> None:
    """Records a verdict in place of an earlier one on the month, which stays in the month's history.

    Raises:
        LearningError: no reason is given, the month was never decided, or the model can't score customers.
    """
    _require_decided(pipeline, month, verdict.why)
    if verdict.model is not None:
        _require_usable(pipeline, verdict.model)
    rows = pl.DataFrame([asdict(verdict)], schema_overrides={"model": pl.String()})
    put_down(pipeline, VERDICTS, month, rows, verdict.by, verdict.why)


def withdraw(pipeline: Pipeline, month: Month, by: str, why: str) -> None:
    """Takes the verdict on a month back: the gate alone decides it again.

    Raises:
        LearningError: no reason is given, or there is no verdict on the month.
    """
    _require_decided(pipeline, month, why)
    if verdict_on(pipeline, month) is None:
        raise LearningError(f"verdict on {month}: expected one to withdraw, found none.")
    put_down(pipeline, VERDICTS, month, None, by, why)


def said_of(pipeline: Pipeline, table: str, month: Month) -> dict[str, Any] | None:
    """What was said last of ``month``, as ``put_down`` has it; None where nothing was, or it was withdrawn."""
    record = pipeline.lake.record(table, month)
    if record is None or not record.files:
        return None
    return pipeline.lake.scan_record(record).drop("month").collect().row(0, named=True)


def put_down(pipeline: Pipeline, table: str, month: Month, rows: pl.DataFrame | None, by: str, why: str) -> None:
    """Keeps what is said of ``month`` in a table, one row; None takes back what was said before."""
    # The moment is told to people and decides nothing, so it isn't among the rows.
    facts = {"by": by, "why": why, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    reason = "" if rows is not None else f"Withdrawn by {by}: {why}"
    pipeline.lake.write(table, month, rows, Commit(json_hash(facts)), reason=reason, facts=facts)


def promote_command(pipeline: Pipeline, month: Month, model: str) -> str:
    """The command by which a person makes ``model`` the champion of ``month``."""
    return f'churn promote {model} --month {month} --why "..."{pipeline.option}'


def reject_command(pipeline: Pipeline, month: Month) -> str:
    """The command by which a person keeps the champion before ``month``."""
    return f'churn reject --month {month} --why "..."{pipeline.option}'


def awaiting(pipeline: Pipeline) -> tuple[Month, str] | None:
    """The challenger that waits for a person, and its month; a newer challenger or a person's word ends the wait."""
    for month in reversed(pipeline.lake.months("promotions")):
        record = pipeline.lake.record("promotions", month)
        if record and (model := record.facts.get("awaiting")):
            return month, str(model)
        decision = decision_of(pipeline, month)
        if decision["challenger"] or decision["decided_by"] != GATE:
            return None
    return None


def newest_decided(pipeline: Pipeline) -> Month:
    """The newest month with a decision.

    Raises:
        LearningError: there is none.
    """
    decided = pipeline.lake.months("promotions")
    if not decided:
        raise LearningError("promotions: expected a decided month, found none. Run months until a model is trained.")
    return decided[-1]


def before_the_present(pipeline: Pipeline, month: Month) -> str:
    """The champion before the one that stands after ``month``; of a month rolled back already, what it went back to.

    Raises:
        LearningError: no other model was champion before.
    """
    given = verdict_on(pipeline, month)
    if given and given.action == "rollback" and given.model:
        return given.model
    decided = [decision_of(pipeline, m) for m in reversed(pipeline.lake.months("promotions")) if m <= month]
    present = decided[0]["champion"] if decided else None
    earlier = (d["previous"] for d in decided if d["champion"] == present and d["previous"] != present)
    found = next(earlier, None)
    if found is None:
        raise LearningError(
            f"rollback in {month}: expected an earlier champion than {present or 'none'}, found none. Name a model "
            "with --to."
        )
    return str(found)


def decision_of(pipeline: Pipeline, month: Month) -> dict[str, Any]:
    """The decision of a month, as it stands in the table ``promotions``.

    Raises:
        LakeError: the month was never decided.
    """
    record = pipeline.lake.record("promotions", month)
    if record is None or not record.files:
        raise LakeError(
            f"promotions {month}: expected a decision, found none. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    return pipeline.lake.scan_record(record).collect().row(0, named=True)


def concerned(pipeline: Pipeline, after: Month) -> Month | None:
    """The first month later than ``after`` in which something was made of other decisions or scores than stand now."""
    return next((m for m in pipeline.lake.months("model") if m > after and _is_concerned(pipeline, m)), None)


def _is_concerned(pipeline: Pipeline, month: Month) -> bool:
    for stage in BEHIND:
        record = pipeline.lake.record(stage, month)
        # A month that lacks what it reads can't be run, and says so itself.
        with suppress(MissingMonth):
            read = {n: now for n, now in pipeline.inputs(stage, month).items() if n.split()[0] in DECIDED}
            if record and any(record.inputs.get(name) != now for name, now in read.items()):
                return True
    return False


def _require_decided(pipeline: Pipeline, month: Month, why: str) -> None:
    if not why.strip():
        raise LearningError(f"verdict on {month}: expected a reason (--why), found none.")
    decision_of(pipeline, month)


def _require_usable(pipeline: Pipeline, model: str) -> None:
    known = sorted(path.name for path in pipeline.models.root.glob("*") if pipeline.models.has(path.name))
    if model not in known:
        newest = f", the newest of them {', '.join(known[-5:])}" if known else ""
        raise LearningError(
            f"model {model}: expected one of {len(known)} models in {pipeline.models.root}{newest}; found no such one."
        )
    lacking = sorted(set(load(pipeline.models.artefact(model)).features) - set(pipeline.spec.feature_names))
    if lacking:
        raise LearningError(
            f"model {model}: expected features that the pipeline has, found {', '.join(lacking)}, which it hasn't any "
            "more. Declare them again, or choose another model."
        )
