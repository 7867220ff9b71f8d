"""How a stage becomes an asset: reading, skipping, checking, writing and telling are the same for all of them.

It is done in an order that makes a killed run harmless: checks that block come before anything is written, effects
outside the lake (which may be done twice) come before the month's record, and the record, replaced in one step, is what
makes the month exist.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.storage.tags import PRIORITY_TAG

from churn_assets import usage
from churn_assets.assets.charts import Chart
from churn_assets.assets.machines import op_tags
from churn_assets.assets.options import OPTIONS, chosen_options
from churn_assets.assets.showing import check_results, materialized
from churn_assets.assets.stage import LISTENER, Check, Guard, Made, Stage, Work
from churn_assets.errors import ChurnAssetsError
from churn_assets.launcher import PROCESS_TAG
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity
from churn_assets.slots import holding
from churn_assets.staleness import SkipDecision, decide_skip, fingerprint
from churn_assets.store.draft import Draft
from churn_assets.store.lake import Commit, MonthRecord

OUTCOME_TAG = "churn/outcome"
"""Says on a run whether it has ``made`` anything, or found all that it looked at ``unchanged``."""

_SIGNED: set[str] = set()
_OUTCOMES: dict[str, str] = {}


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
        with _patient(), _turn(work):
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
                yield materialized(stage, work, record, own, skip, {}, used)
            _stop_what_follows(stage, work, checks)
            return True
        blocked = _blocked(stage, work, made.checks, about_what_follows=False)
        if blocked:
            if isinstance(made.rows, Draft):
                made.rows.discard()
            yield from check_results(stage, work, (*made.checks, *guard.checks()))
            raise dg.Failure(
                f"{stage.name} {work.month}: {' '.join(c.reason for c in blocked)} Nothing was written; what stood "
                "there before is unchanged.",
                metadata={c.name: c.reason for c in blocked},
                allow_retries=False,
            )
        shown = dict(made.effect() or {}) if made.effect else {}
        records = write(stage, work, made, inputs, used())
    except ChurnAssetsError as error:
        failure = _failure(error, guard)
        if error.transient and guard.retries:
            _try_again(stage, work, failure)
        yield from check_results(stage, work, guard.checks())
        raise failure from error
    _tell(stage, work, records[stage.name].status)
    for name in stage.tables:
        if name == stage.name:
            checks, metadata = (*made.checks, *guard.checks()), {**shown, **made.metadata}
            yield materialized(stage, work, records[name], checks, skip, metadata, used, made.rows)
        else:
            beside = made.also[name]
            yield materialized(stage, work, records[name], (), skip, beside.metadata, used, beside.rows)
    _stop_what_follows(stage, work, made.checks)
    return False


def _decided(
    stage: Stage, work: Work, records: Mapping[str, MonthRecord], inputs: Mapping[str, str | None]
) -> SkipDecision:
    record = records.get(stage.name)
    skip = decide_skip(record, inputs, work.code, work.options.forces(stage.name))
    if (
        skip.skip
        and record
        and stage.takes_options
        and work.options.differs(work.pipeline.spec, chosen_options(record))
    ):
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


def write(
    stage: Stage, work: Work, made: Made, inputs: Mapping[str, str | None], used: usage.Usage
) -> dict[str, MonthRecord]:
    """Writes what a stage has made of a month to the lake, the records last."""
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


def _reads(pipeline: Pipeline, stage: Stage) -> list[str]:
    """The stage's windows in words, as a settled month sees them."""
    settled = pipeline.calendar.start + 240
    windows = type(pipeline.calendar).windows(pipeline.spec.calendar, stage.name, settled)
    return [
        f"{w.table} of m{w.months[0] - settled:+d} to m{w.months[-1] - settled:+d}" if len(w.months) > 1
        else f"{w.table} of m{w.months[0] - settled:+d}"
        for w in windows
    ]  # fmt: skip
