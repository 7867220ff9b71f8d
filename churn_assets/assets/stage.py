"""How a stage becomes an asset: reading, skipping, checking, writing and telling are the same for all of them.

A stage is a function from a pipeline and a month to what was ``Made``. The rest is done here, in an order that makes
a killed run harmless: checks that block come before anything is written, effects outside the lake (which may be done
twice) come before the month's record, and the record, replaced in one step, is what makes the month exist.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial, reduce
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any

import dagster as dg
import polars as pl
import polars.selectors as cs
from dagster._core.storage.tags import PRIORITY_TAG
from pydantic_core import to_jsonable_python

from churn_assets import usage
from churn_assets.assets.charts import Chart
from churn_assets.assets.machines import op_tags
from churn_assets.assets.options import OPTIONS, RunOptions
from churn_assets.errors import ChurnAssetsError
from churn_assets.features.lineage import Lineage
from churn_assets.launcher import PROCESS_TAG
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity
from churn_assets.settings import PACKAGE
from churn_assets.slots import Claim, holding
from churn_assets.spec import PipelineSpec, Severity
from churn_assets.spec.base import SpecModel
from churn_assets.staleness import SkipDecision, decide_skip, fingerprint
from churn_assets.store.content import json_hash
from churn_assets.store.draft import Draft
from churn_assets.store.lake import MONTH, Commit, MonthRecord

Listener = Callable[[str, Month, str], None]
LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Told of every stage in this process: stage, month, and ``begins``, how far it has come (``...``), or how it ended."""

OUTCOME_TAG = "churn/outcome"
"""Says on a run whether it has ``made`` anything, or found all that it looked at ``unchanged``."""
PREVIEW_ROWS = 5
NAMED = 6
"""Columns that a description names one by one."""

_SIGNED: set[str] = set()
_OUTCOMES: dict[str, str] = {}


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
    """A check that a stage promises to make. A blocking one keeps a bad month out of the lake.

    Where a check that is ``about_what_follows`` fails, the month stands as it was made; if it blocks, it keeps the
    stages behind from going on with it.

    ``expectation`` names the pipeline's own setting, as a dotted path into the specification, that decides whether it
    blocks, warns or isn't made at all.
    """

    name: str
    description: str
    blocking: bool = False
    about_what_follows: bool = False
    expectation: str = ""

    def severity(self, spec: PipelineSpec) -> Severity:
        """What a failure does in a pipeline."""
        if self.expectation:
            whole: Any = spec
            chosen: Severity = reduce(getattr, self.expectation.split("."), whole)
            return chosen
        return "stop" if self.blocking else "warn"


@dataclass(frozen=True)
class Also:
    """What a stage makes of a month for a further table; no rows need a reason."""

    rows: pl.DataFrame | None
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What a stage made of a month.

    Attributes:
        rows: the month's content, or a draft of it; None, with a ``reason``, if there is none.
        facts: remembered in the month's record (JSON).
        metadata: shown in the UI beside what every stage shows.
        lineage: what its columns are made of.
        also: further tables written with the month, by name.
        effect: done once all checks that block have passed, before the month is recorded; it may be done twice.
    """

    rows: pl.DataFrame | Draft | None
    reason: str = ""
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=dict)
    also: Mapping[str, Also] = field(default_factory=dict)
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
    stage: str = ""
    instance: Any = None
    options: RunOptions = field(default_factory=RunOptions)
    attempt: int = 1

    @property
    def as_chosen(self) -> "Work":
        """The same work by a specification with the candidates and the tuning that the run asks for."""
        if not self.options.chosen:
            return self
        return replace(self, pipeline=replace(self.pipeline, spec=self.options.applied(self.pipeline.spec)))

    def progress(self, what: str) -> None:
        """Says how far long work has come."""
        self.log.info(f"{self.stage} {self.month}: {what}")
        if listener := LISTENER.get():
            listener(self.stage, self.month, f"... {what}")


class Guard:
    """What surrounds a stage's reading and making; as it stands here, nothing."""

    @property
    def retries(self) -> bool:
        """Whether a further attempt within the run makes sense."""
        return True

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def checks(self) -> tuple[Check, ...]:
        """What it has found, as checks that are about the attempt and not about the month."""
        return ()

    def remark(self) -> str:
        """A sentence to add to the error of a run that fails; may be empty."""
        return ""


@dataclass(frozen=True)
class Beside:
    """A further table that a stage makes in the same step, shown as an asset of its own."""

    name: str
    description: str
    kinds: frozenset[str] = frozenset({"deltalake"})


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        sections: parts of the specification that its result depends on, as dotted paths.
        modules: files and folders of this package that its result depends on, besides its own in ``assets``.
        sources: files outside this package that its result depends on: functions of people's own.
        inputs: what it reads, if that is more than its windows in the lake; None where only reading can tell.
        beside: further tables that it makes in the same step.
        about: descriptions of its columns, by name, beyond what the specification says.
        shows: metadata that its rows tell by themselves, also of a month that is skipped.
        chosen_kinds: kinds beside ``kinds`` that the specification decides.
        repeats_words: whether its result repeats what the specification says for people, descriptions and owners.
        intact: whether what a month's effect left outside the lake is still there, if it has one.
        guard: what surrounds its reading and making.
        claims: slots that it takes while it makes a month.
        takes_options: whether candidates and tuning, as a run may choose them, change its result.
        goes_last: whether steps that needn't come before it do so all the same, where the executor can choose.
    """

    name: str
    description: str
    kinds: frozenset[str]
    after: tuple[str, ...]
    checks: tuple[CheckPlan, ...]
    sections: tuple[str, ...]
    modules: tuple[str, ...]
    make: Callable[[Work], Made]
    sources: Callable[[PipelineSpec], Sequence[Path]] = lambda spec: ()
    inputs: Callable[[Pipeline, Month], dict[str, str | None]] | None = None
    beside: tuple[Beside, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    shows: Callable[[Pipeline, Month, pl.DataFrame], Mapping[str, Any]] | None = None
    intact: Callable[[Pipeline, MonthRecord], bool] = lambda pipeline, record: True
    guard: Callable[[Work], Guard] = lambda work: Guard()
    claims: Callable[[Work], tuple[Claim, ...]] = lambda work: ()
    takes_options: bool = False
    tracked: bool = False
    chosen_kinds: Callable[[PipelineSpec], frozenset[str]] = lambda spec: frozenset()
    repeats_words: bool = False
    goes_last: bool = False

    def code(self, pipeline: Pipeline) -> str:
        """A hash of the code and the parts of the specification that the stage's result depends on."""
        spec = {path: self._meaning(reduce(getattr, path.split("."), pipeline.spec)) for path in self.sections}
        modules = (f"assets/{self.name}.py", *self.modules, *map(str, self.sources(pipeline.spec)))
        return json_hash({"spec": spec, "modules": [source_hash(m) for m in modules]})[:12]

    def _meaning(self, section: Any) -> Any:
        """A part of the specification, as far as the stage's result depends on it."""
        if isinstance(section, SpecModel):
            words = () if self.repeats_words else ("description", "owner", "when_missing")
            return {n: self._meaning(getattr(section, n)) for n in type(section).model_fields if n not in words}
        if isinstance(section, list):
            return [self._meaning(one) for one in section]
        return to_jsonable_python(section)

    def read(self, pipeline: Pipeline, month: Month) -> dict[str, str | None]:
        """What the stage would read now: name -> content."""
        return self.inputs(pipeline, month) if self.inputs else {**pipeline.inputs(self.name, month)}

    @property
    def tables(self) -> tuple[str, ...]:
        """The assets that its step makes."""
        return (self.name, *(b.name for b in self.beside))

    def planned(self, spec: PipelineSpec) -> list[CheckPlan]:
        """The checks that a pipeline wants."""
        return [c for c in self.checks if c.severity(spec) != "off"]


def tracker_key(pipeline: str) -> str:
    """The name of the resource that tracks a pipeline's experiments."""
    return f"{pipeline}_mlflow"


def build_asset(stage: Stage, pipeline: Pipeline, months: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset of ``stage``, and those beside it: identity edges, one run a month, checks inside the step."""
    code = stage.code(pipeline)
    key = dg.AssetKey([pipeline.name, stage.name])
    needs = pipeline.spec.resources.stages.get(stage.name)

    def spec(name: str, description: str, kinds: frozenset[str]) -> dg.AssetSpec:
        return dg.AssetSpec(
            dg.AssetKey([pipeline.name, name]),
            group_name=pipeline.name,
            partitions_def=months,
            deps=[dg.AssetKey([pipeline.name, above]) for above in stage.after],
            description=description,
            kinds=set(kinds),
            owners=[pipeline.spec.owner],
            code_version=code,
            metadata={
                "table": dg.MetadataValue.path(str(pipeline.lake.root / name)),
                "reads": ", ".join(_reads(pipeline, stage)) or "the source",
                **({"needs": needs.words} if needs else {}),
            },
            tags={"pipeline": pipeline.name},
        )

    @dg.multi_asset(
        name=f"{pipeline.name}__{stage.name}",
        specs=[
            spec(stage.name, stage.description, stage.kinds | stage.chosen_kinds(pipeline.spec)),
            *(spec(b.name, b.description, b.kinds) for b in stage.beside),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                c.name, asset=key, description=c.description, blocking=c.severity(pipeline.spec) == "stop",
                partitions_def=months,
            )
            for c in stage.planned(pipeline.spec)
        ],
        required_resource_keys={OPTIONS, *([tracker_key(pipeline.name)] if stage.tracked else [])},
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool=pipeline.name,
        op_tags=op_tags(needs) | ({PRIORITY_TAG: "-1"} if stage.goes_last else {}),
    )  # fmt: skip
    def _asset(context: dg.AssetExecutionContext) -> Iterator[Any]:
        tracker = getattr(context.resources, tracker_key(pipeline.name)) if stage.tracked else None
        month = _month(context)
        work = Work(
            pipeline, month, code, context.run.run_id, context.log, tracker, stage.name, context.instance,
            getattr(context.resources, OPTIONS), attempt=context.retry_number + 1,
        )  # fmt: skip
        _sign(context)
        with _interruptible(context), _patient(), _turn(work):
            _tell(stage, work, "begins")
            skipped = yield from _run(stage, work)
        _mark(context, "unchanged" if skipped else "made")

    return _asset


def _month(context: dg.AssetExecutionContext) -> Month:
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "The run has no month: expected one, chosen as the partition, above the configuration in the launchpad. "
            "Choose a month there, or a range of them under Materialize.",
            allow_retries=False,
        )
    return Month.parse(context.partition_key)


def _run(stage: Stage, work: Work) -> Generator[Any, None, bool]:
    """Makes a month or leaves it as it stands; whether it was left."""
    used = usage.start()
    guard = stage.guard(work)
    try:
        work.options.check(work.pipeline.spec)
        work.pipeline.calendar.check(work.month)
        records = _records(stage, work)
        with guard:
            inputs = stage.read(work.pipeline, work.month)
            skip = _decided(stage, work, records, inputs)
            made = None if skip.skip else _made(stage, work)
        if made is None:
            work.log.info(f"{stage.name} {work.month} skipped. {skip.reason}")
            _tell(stage, work, "skipped")
            checks = _kept_checks(records[stage.name])
            for name, record in records.items():
                own = (*checks, *guard.checks()) if name == stage.name else ()
                yield _result(stage, work, record, own, skip, {}, used)
            _stop_what_follows(stage, work, checks)
            return True
        blocked = _blocked(stage, work, made.checks, about_what_follows=False)
        if blocked:
            if isinstance(made.rows, Draft):
                made.rows.discard()
            yield from _check_results(stage, work, (*made.checks, *guard.checks()))
            raise dg.Failure(
                f"{stage.name} {work.month}: {' '.join(c.reason for c in blocked)} Nothing was written; what stood "
                "there before is unchanged.",
                metadata={c.name: c.reason for c in blocked},
                allow_retries=False,
            )
        shown = dict(made.effect() or {}) if made.effect else {}
        records = _write(stage, work, made, inputs, used())
    except ChurnAssetsError as error:
        failure = _failure(error, guard)
        if error.transient and guard.retries:
            _try_again(stage, work, failure)
        yield from _check_results(stage, work, guard.checks())
        raise failure from error
    _tell(stage, work, records[stage.name].status)
    for name in stage.tables:
        if name == stage.name:
            checks, metadata = (*made.checks, *guard.checks()), {**shown, **made.metadata}
            yield _result(stage, work, records[name], checks, skip, metadata, used, made.rows)
        else:
            beside = made.also[name]
            yield _result(stage, work, records[name], (), skip, beside.metadata, used, beside.rows)
    _stop_what_follows(stage, work, made.checks)
    return False


def _decided(
    stage: Stage, work: Work, records: Mapping[str, MonthRecord], inputs: Mapping[str, str | None]
) -> SkipDecision:
    record = records.get(stage.name)
    skip = decide_skip(record, inputs, work.code, work.options.forces(stage.name))
    if skip.skip and record and stage.takes_options and work.options.differs(work.pipeline.spec, _chosen(record)):
        skip = SkipDecision(False, f"The run asks for other models: {work.options.words}.")
    if skip.skip and not _whole(stage, work.pipeline, records):
        skip = SkipDecision(False, "Files that it had made are gone.")
    if not skip.skip:
        work.log.info(f"{stage.name} {work.month}: {skip.reason}")
    return skip


def _made(stage: Stage, work: Work) -> Made:
    claims = stage.claims(work)
    if not claims:
        return stage.make(work.as_chosen)
    with holding(claims, work.instance, work.run_id, stage.name, partial(_say, work)):
        return stage.make(work.as_chosen)


def _chosen(record: MonthRecord) -> Mapping[str, Any]:
    """The options that a month was made with, as far as they change its result."""
    chosen: Mapping[str, Any] = record.facts.get("options", {})
    return chosen


def _failure(error: ChurnAssetsError, guard: Guard) -> dg.Failure:
    told = " ".join(filter(None, [str(error), guard.remark()]))
    return dg.Failure(told, metadata={"error": type(error).__name__, "transient": error.transient}, allow_retries=False)


def _try_again(stage: Stage, work: Work, failure: dg.Failure) -> None:
    """Asks for a further attempt after a while, if one is left.

    The policy isn't declared with the asset: Dagster would also try again what a person has just terminated, and what
    fails by a mistake in the code.
    """
    given = work.pipeline.spec.automation.retries
    if work.attempt >= given.attempts:
        return
    policy = dg.RetryPolicy(given.attempts - 1, given.delay_seconds, dg.Backoff.EXPONENTIAL, dg.Jitter.PLUS_MINUS)
    seconds = policy.calculate_delay(work.attempt)
    told = f"tries again in {seconds:.0f} s: {failure.description}"
    work.log.warning(f"{stage.name} {work.month} {told}")
    _tell(stage, work, told)
    raise dg.RetryRequested(policy.max_retries, seconds) from failure


@contextmanager
def _patient() -> Iterator[None]:
    """Waits here before a further attempt: while Dagster itself waits for one, nobody can stop the run."""
    try:
        yield
    except dg.RetryRequested as wanted:
        time.sleep(wanted.seconds_to_wait or 0)
        wanted.seconds_to_wait = None
        raise


@contextmanager
def _turn(work: Work) -> Iterator[None]:
    """The month for oneself, once those who make earlier months, or this one, are through."""
    tell = partial(_say, work)
    work.pipeline.turns.wait_for_plans(work.month, tell)
    with work.pipeline.turns.alone(work.month, work.run_id, tell):
        yield


def _say(work: Work, what: str) -> None:
    work.log.info(f"{work.stage} {work.month} {what}.")
    if listener := LISTENER.get():
        listener(work.stage, work.month, what)


@contextmanager
def _interruptible(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Lets a run that is stopped in its terminal end as canceled: nothing failed."""
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        if LISTENER.get():
            context.instance.report_run_canceling(context.run, "Stopped in the terminal that had begun it.")
        raise


def _mark(context: dg.AssetExecutionContext, outcome: str) -> None:
    """Says on the run how it came out, as far as it has come."""
    before = _OUTCOMES.get(context.run.run_id) or context.run.tags.get(OUTCOME_TAG)
    if before not in (outcome, "made"):
        context.instance.add_run_tags(context.run.run_id, {OUTCOME_TAG: outcome})
        _OUTCOMES[context.run.run_id] = outcome


def _records(stage: Stage, work: Work) -> dict[str, MonthRecord]:
    found = {name: work.pipeline.lake.record(name, work.month) for name in stage.tables}
    return {name: record for name, record in found.items() if record}


def _sign(context: dg.AssetExecutionContext) -> None:
    """Says which process runs this, so that its death can be noticed."""
    if context.run.run_id not in _SIGNED and PROCESS_TAG not in context.run.tags:
        context.instance.add_run_tags(context.run.run_id, {PROCESS_TAG: process_identity()})
    _SIGNED.add(context.run.run_id)


def _tell(stage: Stage, work: Work, what: str) -> None:
    if listener := LISTENER.get():
        listener(stage.name, work.month, what)


def _blocked(stage: Stage, work: Work, checks: Iterable[Check], about_what_follows: bool) -> list[Check]:
    plans = [c for c in stage.checks if c.about_what_follows == about_what_follows]
    stops = {c.name for c in plans if c.severity(work.pipeline.spec) == "stop"}
    return [c for c in checks if not c.passed and c.name in stops]


def _stop_what_follows(stage: Stage, work: Work, checks: Iterable[Check]) -> None:
    """Ends the run where the month stands, and yet nothing may be made of it."""
    if blocked := _blocked(stage, work, checks, about_what_follows=True):
        raise dg.Failure(
            f"{stage.name} {work.month}: {' '.join(c.reason for c in blocked)}",
            metadata={c.name: c.reason for c in blocked},
            allow_retries=False,
        )


def _whole(stage: Stage, pipeline: Pipeline, records: Mapping[str, MonthRecord]) -> bool:
    """Whether all that was made still lies where it was put."""
    in_lake = not any(pipeline.lake.gone(record) for record in records.values())
    return in_lake and set(records) == set(stage.tables) and stage.intact(pipeline, records[stage.name])


def _write(
    stage: Stage, work: Work, made: Made, inputs: Mapping[str, str | None], used: usage.Usage
) -> dict[str, MonthRecord]:
    lake = work.pipeline.lake
    known = {name: content or "known by reading it" for name, content in inputs.items()}
    commit = Commit(fingerprint(known, work.code), known, work.code, work.run_id)
    spec = {"spec": work.pipeline.specifications.put(work.pipeline.spec)}
    records = {
        table: lake.write(table, work.month, also.rows, commit, reason=also.reason, facts={**also.facts, **spec})
        for table, also in made.also.items()
    }
    kept = [{**vars(c), "figures": {n: v for n, v in c.figures.items() if not isinstance(v, pl.DataFrame | Chart)}}
            for c in made.checks]  # fmt: skip
    chosen = {"options": work.options.chosen} if stage.takes_options and work.options.chosen else {}
    facts = {**made.facts, **spec, **chosen, "checks": kept, "lineage": made.lineage, "usage": asdict(used)}
    records[stage.name] = lake.write(stage.name, work.month, made.rows, commit, reason=made.reason, facts=facts)
    return records


def _kept_checks(record: MonthRecord) -> tuple[Check, ...]:
    return tuple(Check(**check) for check in record.facts.get("checks", ()))


def _result(
    stage: Stage, work: Work, record: MonthRecord, checks: tuple[Check, ...], skip: SkipDecision,
    metadata: Mapping[str, Any], used: Callable[[], usage.Usage], rows: pl.DataFrame | Draft | None = None,
) -> dg.MaterializeResult[Any]:  # fmt: skip
    sample = rows.head if isinstance(rows, Draft) else rows
    shows = stage.shows if record.table == stage.name else None
    if sample is None and record.files:
        sample = _stands(work.pipeline, record, None if shows else PREVIEW_ROWS)
    told = shows(work.pipeline, work.month, sample) if shows and sample is not None else {}
    shown: dict[str, Any] = {
        "dagster/row_count": record.rows,
        "outcome": "skipped" if skip.skip else record.status,
        "why": skip.reason,
        **{name: _shown(value) for name, value in {**told, **metadata}.items()},
        **used().told(work.pipeline.spec.costs),
        "table version": record.version,
        "content": record.content,
    }
    if record.reason:
        shown["reason"] = record.reason
    if chosen := _chosen(record):
        shown["options"] = RunOptions(**chosen).words
    if record.inputs:
        shown["read from"] = dg.MetadataValue.json(dict(record.inputs))
    if sample is not None and len(sample):
        lineage = record.facts.get("lineage", {})
        shown["dagster/column_schema"] = _column_schema(work.pipeline, stage, lineage, sample.schema)
        if lineage:
            shown["dagster/column_lineage"] = _column_lineage(work.pipeline, lineage)
        shown["preview"] = _shown(sample.head(PREVIEW_ROWS))
    return dg.MaterializeResult(
        asset_key=dg.AssetKey([work.pipeline.name, record.table]),
        metadata={**(_shown_when_made(work, record) if skip.skip else {}), **shown},
        data_version=dg.DataVersion(record.content),
        check_results=_check_results(stage, work, checks),
    )


def _shown_when_made(work: Work, record: MonthRecord) -> Mapping[str, Any]:
    """What was shown of a month that is left as it stands: the UI shows and plots what its newest run tells."""
    key = dg.AssetKey([work.pipeline.name, record.table])
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[str(work.month)])
    for found in work.instance.fetch_materializations(wanted, limit=1).records:
        shown = found.asset_materialization.metadata
        if "content" in shown and shown["content"].value == record.content:
            return dict(shown)
    return {}


def _stands(pipeline: Pipeline, record: MonthRecord, rows: int | None) -> pl.DataFrame:
    """The first rows that a record stands for; all of them if no number is given."""
    scanned = pipeline.lake.scan_record(record).drop(MONTH)
    return (scanned if rows is None else scanned.head(rows)).collect()


def _check_results(stage: Stage, work: Work, checks: Iterable[Check]) -> list[dg.AssetCheckResult]:
    spec = work.pipeline.spec
    plans = {plan.name: plan for plan in stage.planned(spec)}
    key = dg.AssetKey([work.pipeline.name, stage.name])
    return [_check_result(key, c, plans[c.name].severity(spec) == "warn" and bool(c.warn or plans[c.name].expectation))
            for c in checks if c.name in plans]  # fmt: skip


def _check_result(key: dg.AssetKey, check: Check, warns: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=bool(check.passed),
        description=check.reason,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        metadata={"reason": check.reason, **{name: _shown(value) for name, value in check.figures.items()}},
    )


def _shown(value: Any) -> Any:
    if isinstance(value, Chart):
        return dg.MetadataValue.md(value.markdown)
    if isinstance(value, pl.DataFrame):
        return _table(value)
    if isinstance(value, Path):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return round(value, 5) if isinstance(value, float) else value


def _column_schema(pipeline: Pipeline, stage: Stage, lineage: Lineage, columns: pl.Schema) -> dg.TableSchema:
    spec = pipeline.spec
    about = {**{c.name: c.description for c in spec.schema_.columns}, **spec.feature_descriptions, **stage.about}
    told = {name: " ".join(filter(None, [about.get(name), _made_of(lineage.get(name, ()))])) for name in columns}
    return dg.TableSchema([dg.TableColumn(n, str(t), description=told[n] or None) for n, t in columns.items()])


def _made_of(columns: Sequence[tuple[str, str]]) -> str:
    """What a column is made of, in words: the free UI draws no lineage of columns."""
    names = {table: [name for at, name in columns if at == table] for table, _ in columns}
    return " ".join(
        f"From {table}: {', '.join(own)}." if len(own) <= NAMED else f"From {len(own)} columns of {table}."
        for table, own in names.items()
    )


def _column_lineage(pipeline: Pipeline, lineage: Lineage) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey([pipeline.name, table]), column) for table, column in made_of]
            for name, made_of in lineage.items()
        }
    )


def _table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """``frame`` as a table that is shown in place, its numbers rounded."""
    plain = frame.with_columns(
        # JSON has no infinity.
        pl.when(cs.float().is_finite()).then(cs.float().round_sig_figs(4)).name.keep(),
        (~(cs.integer() | cs.float() | cs.boolean())).cast(pl.String),
    )
    schema = dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in frame.schema.items()])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain.to_dicts()], schema)


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
def source_hash(module: str) -> str:
    """A hash of a source file, or of all source files of a folder, of this package."""
    path = PACKAGE / module
    digest = blake2b(digest_size=8)
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        digest.update(file.read_bytes())
    return digest.hexdigest()
