"""How a stage becomes an asset: reading, skipping, checking, writing and telling are the same for all of them.

A stage is a function from a pipeline and a month to what was ``Made``. The rest is done here, in an order that makes
a killed run harmless: checks that block come before anything is written, effects outside the lake (which may be done
twice) come before the month's record, and the record, replaced in one step, is what makes the month exist.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from churn_assets.errors import ChurnAssetsError
from churn_assets.launcher import PROCESS_TAG
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity
from churn_assets.settings import PACKAGE
from churn_assets.staleness import SkipDecision, decide_skip, fingerprint
from churn_assets.store.content import json_hash
from churn_assets.store.lake import Commit, MonthRecord

Listener = Callable[[str, Month, str], None]
LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Told of every stage that begins or ends in this process: stage, month, and ``begins`` or how it ended."""

FORCE_TAG = "churn/force"
PREVIEW_ROWS = 5
_SIGNED: set[str] = set()


@dataclass(frozen=True)
class Check:
    """The outcome of one check. A failure warns, or is an error; whether it blocks is declared with the stage."""

    name: str
    passed: bool
    reason: str
    warn: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckPlan:
    """A check that a stage promises to make. A blocking one keeps a bad month out of the lake."""

    name: str
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Made:
    """What a stage made of a month.

    Attributes:
        rows: the month's content; None, with a ``reason``, if there is none.
        facts: remembered in the month's record (JSON).
        metadata: shown in the UI beside what every stage shows.
        also: further tables written with the month: name -> (rows, reason if there are none, facts).
        effect: done once all checks that block have passed, before the month is recorded; it may be done twice.
    """

    rows: pl.DataFrame | None
    reason: str = ""
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    also: Mapping[str, tuple[pl.DataFrame | None, str, Mapping[str, Any]]] = field(default_factory=dict)
    effect: Callable[[], Mapping[str, Any] | None] | None = None


@dataclass(frozen=True)
class Work:
    """What a stage may use while it makes a month."""

    pipeline: Pipeline
    month: Month
    code: str
    run_id: str
    log: Any
    tracker: Any = None


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        sections: parts of the specification that its result depends on.
        modules: files and folders of this package that its result depends on, besides its own in ``assets``.
        inputs: what it reads, if that is more than its windows in the lake.
        intact: whether what a month's effect left outside the lake is still there, if it has one.
    """

    name: str
    description: str
    kinds: frozenset[str]
    after: tuple[str, ...]
    checks: tuple[CheckPlan, ...]
    sections: tuple[str, ...]
    modules: tuple[str, ...]
    make: Callable[[Work], Made]
    inputs: Callable[[Pipeline, Month], dict[str, str]] | None = None
    intact: Callable[[Pipeline, MonthRecord], bool] = lambda pipeline, record: True
    tracked: bool = False

    def code(self, pipeline: Pipeline) -> str:
        """A hash of the code and the parts of the specification that the stage's result depends on."""
        spec = pipeline.spec.model_dump(mode="json", include=set(self.sections))
        modules = (f"assets/{self.name}.py", *self.modules)
        return json_hash({"spec": spec, "modules": [_source_hash(m) for m in modules]})[:12]

    def read(self, pipeline: Pipeline, month: Month) -> dict[str, str]:
        """What the stage would read now: name -> content."""
        return self.inputs(pipeline, month) if self.inputs else pipeline.inputs(self.name, month)


def tracker_key(pipeline: str) -> str:
    """The name of the resource that tracks a pipeline's experiments."""
    return f"{pipeline}_mlflow"


def build_asset(stage: Stage, pipeline: Pipeline, months: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset of ``stage``: identity edges, one run a month, checks inside the step."""
    code = stage.code(pipeline)
    key = dg.AssetKey([pipeline.name, stage.name])

    @dg.asset(
        key=key,
        group_name=pipeline.name,
        partitions_def=months,
        deps=[dg.AssetKey([pipeline.name, name]) for name in stage.after],
        description=stage.description,
        kinds=set(stage.kinds),
        owners=[pipeline.spec.owner],
        code_version=code,
        metadata={
            "table": dg.MetadataValue.path(str(pipeline.lake.root / stage.name)),
            "reads": ", ".join(_reads(pipeline, stage)) or "the source",
        },
        tags={"pipeline": pipeline.name},
        check_specs=[
            dg.AssetCheckSpec(c.name, asset=key, description=c.description, blocking=c.blocking, partitions_def=months)
            for c in stage.checks
        ],
        required_resource_keys={tracker_key(pipeline.name)} if stage.tracked else set(),
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool=pipeline.name,
    )
    def _asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        tracker = getattr(context.resources, tracker_key(pipeline.name)) if stage.tracked else None
        work = Work(pipeline, Month.parse(context.partition_key), code, context.run.run_id, context.log, tracker)
        _sign(context)
        _tell(stage, work, "begins")
        yield from _run(stage, work, force=FORCE_TAG in context.run.tags)

    return _asset


def _run(stage: Stage, work: Work, force: bool) -> Iterator[Any]:
    begun = time.perf_counter()
    try:
        work.pipeline.calendar.check(work.month)
        inputs = stage.read(work.pipeline, work.month)
        record = work.pipeline.lake.record(stage.name, work.month)
        skip = decide_skip(record, inputs, work.code, force)
        if skip.skip and record is not None and not _whole(stage, work.pipeline, record):
            skip = SkipDecision(False, "Files that it had made are gone.")
        if skip.skip and record is not None:
            work.log.info(f"{stage.name} {work.month} skipped. {skip.reason}")
            _tell(stage, work, "skipped")
            yield _result(stage, work, record, _kept_checks(record), skip, {}, begun)
            return
        work.log.info(f"{stage.name} {work.month}: {skip.reason}")
        made = stage.make(work)
        blocked = _blocked(stage, made)
        if blocked:
            for check in made.checks:
                yield _check_result(check)
            raise dg.Failure(
                f"{stage.name} {work.month}: {' '.join(c.reason for c in blocked)} Nothing was written; what stood "
                "there before is unchanged.",
                metadata={c.name: c.reason for c in blocked},
                allow_retries=False,
            )
        shown = dict(made.effect() or {}) if made.effect else {}
        record = _write(stage, work, made, inputs)
    except ChurnAssetsError as error:
        raise dg.Failure(str(error), metadata={"error": type(error).__name__}, allow_retries=False) from error
    _tell(stage, work, record.status)
    yield _result(stage, work, record, made.checks, skip, {**made.metadata, **shown}, begun, made.rows)


def _sign(context: dg.AssetExecutionContext) -> None:
    """Says which process runs this, so that its death can be noticed."""
    if context.run.run_id not in _SIGNED and PROCESS_TAG not in context.run.tags:
        context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_identity()})
    _SIGNED.add(context.run.run_id)


def _tell(stage: Stage, work: Work, what: str) -> None:
    if listener := LISTENER.get():
        listener(stage.name, work.month, what)


def _blocked(stage: Stage, made: Made) -> list[Check]:
    blocking = {c.name for c in stage.checks if c.blocking}
    return [c for c in made.checks if not c.passed and c.name in blocking]


def _whole(stage: Stage, pipeline: Pipeline, record: MonthRecord) -> bool:
    in_lake = all((pipeline.lake.root / record.table / name).exists() for name in record.files)
    return in_lake and stage.intact(pipeline, record)


def _write(stage: Stage, work: Work, made: Made, inputs: Mapping[str, str]) -> MonthRecord:
    lake = work.pipeline.lake
    commit = Commit(fingerprint(inputs, work.code), inputs, work.code, work.run_id)
    for table, (rows, reason, facts) in made.also.items():
        lake.write(table, work.month, rows, commit, reason=reason, facts=facts)
    kept = [{**vars(c), "figures": {n: v for n, v in c.figures.items() if not isinstance(v, pl.DataFrame)}}
            for c in made.checks]  # fmt: skip
    return lake.write(
        stage.name, work.month, made.rows, commit, reason=made.reason, facts={**made.facts, "checks": kept}
    )


def _kept_checks(record: MonthRecord) -> tuple[Check, ...]:
    return tuple(Check(**check) for check in record.facts.get("checks", ()))


def _result(
    stage: Stage, work: Work, record: MonthRecord, checks: tuple[Check, ...], skip: SkipDecision,
    metadata: Mapping[str, Any], begun: float, rows: pl.DataFrame | None = None,
) -> dg.MaterializeResult[Any]:  # fmt: skip
    shown: dict[str, Any] = {
        "dagster/row_count": record.rows,
        "outcome": "skipped" if skip.skip else record.status,
        "why": skip.reason,
        **{name: _shown(value) for name, value in metadata.items()},
        "seconds": round(time.perf_counter() - begun, 3),
        "table version": record.version,
        "content": record.content,
    }
    if record.reason:
        shown["reason"] = record.reason
    if record.inputs:
        shown["read from"] = dg.MetadataValue.json(dict(record.inputs))
    if rows is not None and len(rows):
        shown["dagster/column_schema"] = _column_schema(work.pipeline, rows)
        shown["preview"] = _shown(rows.head(PREVIEW_ROWS))
    return dg.MaterializeResult(
        metadata=shown,
        data_version=dg.DataVersion(record.content),
        check_results=[_check_result(c) for c in checks],
    )


def _check_result(check: Check) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=bool(check.passed),
        description=check.reason,
        severity=dg.AssetCheckSeverity.WARN if check.warn else dg.AssetCheckSeverity.ERROR,
        metadata={"reason": check.reason, **{name: _shown(value) for name, value in check.figures.items()}},
    )


def _shown(value: Any) -> Any:
    if isinstance(value, pl.DataFrame):
        return dg.MetadataValue.md(markdown_table(value))
    if isinstance(value, Path):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return round(value, 5) if isinstance(value, float) else value


def _column_schema(pipeline: Pipeline, rows: pl.DataFrame) -> dg.TableSchema:
    about = {c.name: c.description for c in pipeline.spec.schema_.columns}
    about |= {name: f.describe(name) for f in pipeline.spec.features for name in f.names if not about.get(name)}
    return dg.TableSchema(
        columns=[dg.TableColumn(n, str(t), description=about.get(n) or None) for n, t in rows.schema.items()]
    )


def markdown_table(frame: pl.DataFrame) -> str:
    """``frame`` as a Markdown table."""
    texts = frame.with_columns(pl.col(pl.Float32, pl.Float64).round_sig_figs(4)).cast(pl.String).fill_null("")
    lines = [texts.columns, ["---"] * texts.width, *texts.iter_rows()]
    return "\n".join("| " + " | ".join(str(v).replace("|", "\\|") for v in line) + " |" for line in lines)


def _reads(pipeline: Pipeline, stage: Stage) -> list[str]:
    """The stage's windows in words, as a settled month sees them."""
    settled = pipeline.calendar.start + 240
    windows = type(pipeline.calendar).windows(pipeline.spec.calendar, stage.name, settled)
    return [
        f"{w.table} of m{w.months[0] - settled:+d} to m{w.months[-1] - settled:+d}" if len(w.months) > 1
        else f"{w.table} of m{w.months[0] - settled:+d}"
        for w in windows
    ]  # fmt: skip


@cache
def _source_hash(module: str) -> str:
    """A hash of a source file, or of all source files of a folder, of this package."""
    path = PACKAGE / module
    digest = blake2b(digest_size=8)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
