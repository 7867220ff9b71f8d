"""Why a month of a stage stands as it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from churn_assets.errors import MissingMonth, SpecError
from churn_assets.months import STAGES, Month
from churn_assets.pipeline import Pipeline, token
from churn_assets.spec.base import nearest
from churn_assets.staleness import State, changes, state_of
from churn_assets.store.datasets import version_of
from churn_assets.store.lake import MonthRecord


@dataclass(frozen=True)
class Read:
    """A month of a table that was read.

    Attributes:
        content: hash of what was read.
        version: version of the Delta table in which it stands; None where it is no table's month, or no record is left.
        run_id: the run that had made it.
        now: ``same``, ``changed`` since, or ``unknown`` where the lake can't tell.
    """

    name: str
    content: str
    version: int | None
    run_id: str
    now: str


@dataclass(frozen=True)
class Checked:
    """What a check found when the month was made."""

    name: str
    passed: bool
    reason: str


@dataclass(frozen=True)
class Version:
    """One of the contents that the month has had.

    Attributes:
        why: what had changed since the version before; empty for the first.
    """

    run_id: str
    rows: int
    content: str
    code: str
    why: str


@dataclass(frozen=True)
class RunWhy:
    """Why ``month`` of ``stage`` stands as it does.

    Attributes:
        status: ``present``, ``empty``, or ``stale``: made from something that has changed since.
        stale: what has changed since; empty if nothing has.
        next: what a run of the month would do now, and why.
        code: hash of the code and the parts of the specification that it was made by.
        versions: all contents that the month has had, the present one last.
        provenance: of ``raw_data`` where its bytes came from.
    """

    stage: str
    month: str
    status: str
    stale: str
    next: str
    rows: int
    table_version: int | None
    content: str
    code: str
    run_id: str
    reason: str
    read: tuple[Read, ...]
    checks: tuple[Checked, ...]
    versions: tuple[Version, ...]
    provenance: Mapping[str, Any]


def why_run(pipeline: Pipeline, month: Month, stage: str, codes: Mapping[str, str]) -> RunWhy:
    """Why ``month`` of ``stage`` stands as it does.

    Args:
        pipeline: whose month it is.
        month: the month.
        stage: its stage.
        codes: the code of every stage as it is now.

    Raises:
        SpecError: there is no such stage.
        MissingMonth: the month was never made.
    """
    if stage not in STAGES:
        raise SpecError(f"stage {stage!r}: expected one of the pipeline's stages. {nearest(stage, list(STAGES))}")
    record = pipeline.lake.record(stage, month)
    if record is None:
        raise MissingMonth(
            f"{stage} {month}: expected the month to be there, found it was never made. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    state = state_of(pipeline, stage, month, codes[stage])
    return RunWhy(
        stage=stage,
        month=str(month),
        status=state.status,
        stale=state.reason if state.status == "stale" else "",
        next=_next(stage, state),
        rows=record.rows,
        table_version=record.version if record.files else None,
        content=record.content,
        code=record.code,
        run_id=record.run_id,
        reason=record.reason,
        read=tuple(_read(pipeline, name, content) for name, content in record.inputs.items()),
        checks=tuple(Checked(c["name"], c["passed"], c["reason"]) for c in record.facts.get("checks", ())),
        versions=_versions(pipeline.lake.history(stage, month)),
        provenance=record.facts.get("provenance", {}),
    )


def why_runs(pipeline: Pipeline, month: Month, codes: Mapping[str, str]) -> dict[str, RunWhy | None]:
    """The same of every stage; None for those that were never made.

    Raises:
        MissingMonth: none of them was.
    """
    made = {s: pipeline.lake.record(s, month) is not None for s in STAGES}
    if not any(made.values()):
        raise MissingMonth(
            f"{month}: expected a month that was run, found nothing of it. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    return {s: why_run(pipeline, month, s, codes) if made[s] else None for s in STAGES}


def _next(stage: str, state: State) -> str:
    if state.status == "stale":
        return f"A run would compute it. {state.reason}"
    if stage == "raw_data":
        return "A run would ask the source: only that can tell whether it has changed."
    return "A run would skip it: same inputs and code."


def _read(pipeline: Pipeline, name: str, content: str) -> Read:
    table, _, at = name.partition(" ")
    if table == "source":
        return Read(name, content, None, "", "unknown")
    month = Month.parse(at)
    now = pipeline.lake.record(table, month)
    # Of a decision just the champion was read, whatever record says so.
    then = now if table == "promotions" else version_of(pipeline.lake, table, month, content)
    same = "same" if now is not None and token(now) == content else "changed"
    return Read(name, content, then.version if then else None, then.run_id if then else "", same)


def _versions(records: list[MonthRecord]) -> tuple[Version, ...]:
    before = [None, *records[:-1]]
    return tuple(
        Version(r.run_id, r.rows, r.content, r.code, changes(b, r.inputs, r.code) if b else "")
        for b, r in zip(before, records, strict=True)
    )
