"""How many trainings, and how many ingests from one source, go on at once: Dagster's pools, claimed for the work alone.

Dagster's own ``pool=`` on a step holds a slot for a month that is skipped too, and a run that waits for one keeps a
core busy. Here a stage claims a slot once it knows that there is something to do, and sleeps until it is its turn; the
more urgent run comes first. The UI shows slots and who waits for them under Deployment > Concurrency.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRun

from churn_assets.coordinator import OrderlyRunCoordinator, priority_of
from churn_assets.launcher import worker_is_gone
from churn_assets.pipeline import Pipeline
from churn_assets.spec import (
    FileSourceSpec,
    HttpSourceSpec,
    HuggingFaceSourceSpec,
    JoinedSourceSpec,
    KaggleSourceSpec,
    SourceSpec,
    SqlSourceSpec,
)

TRAINING = "training"
"""The pool of all trainings of an installation."""
PAUSE = 0.5
"""Seconds between two looks at whether there is a slot."""
CLEAR_EVERY = 10
"""Looks after which it is asked whether those who hold the slots are still there."""


@dataclass(frozen=True)
class Claim:
    """Work that takes a slot of a pool, of which there are ``limit``."""

    pool: str
    limit: int


def training_slot(instance: DagsterInstance) -> tuple[Claim, ...]:
    """What a training claims: as many go on at once, of all pipelines, as ``dagster.yaml`` says."""
    coordinator = instance.run_coordinator
    return (Claim(TRAINING, coordinator.trainings),) if isinstance(coordinator, OrderlyRunCoordinator) else ()


def ingest_slots(pipeline: Pipeline) -> tuple[Claim, ...]:
    """What an ingest claims: a slot of each host that it reads from; none for the machine's own files."""
    places = sorted(set(_places(pipeline.spec.source)))
    return tuple(Claim(f"ingest from {place}", pipeline.spec.resources.ingests) for place in places)


@contextmanager
def holding(
    claims: tuple[Claim, ...], instance: DagsterInstance, run_id: str, stage: str, tell: Callable[[str], None]
) -> Iterator[None]:
    """Holds a slot of each of ``claims``, having waited for it; ``tell`` learns what is waited for."""
    storage, run = instance.event_log_storage, instance.get_run_by_id(run_id)
    if run is None or not storage.supports_global_concurrency_limits:
        yield
        return
    with ExitStack() as held:
        # All claim in the order of the names, so that no two wait for each other.
        for number, claim in enumerate(claims):
            key = f"{stage} {number}"
            held.callback(storage.free_concurrency_slot_for_step, run_id, key)
            _wait(claim, instance, run, key, tell)
        yield


def free_slots(instance: DagsterInstance) -> None:
    """Frees what is held or waited for by runs that have ended, or whose process on this machine is gone."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished or worker_is_gone(run):
            storage.free_concurrency_slots_for_run(run_id)


def _wait(claim: Claim, instance: DagsterInstance, run: DagsterRun, key: str, tell: Callable[[str], None]) -> None:
    storage = instance.event_log_storage
    if storage.get_concurrency_info(claim.pool).slot_count != claim.limit:
        storage.set_concurrency_slots(claim.pool, claim.limit)
    priority, looks = priority_of(run), 0
    while not storage.claim_concurrency_slot(claim.pool, run.run_id, key, priority).is_claimed:
        if looks == 0:
            holders = sorted(storage.get_concurrency_info(claim.pool).active_run_ids)
            tell(f"waits for {claim.pool}, {claim.limit} at once: run {', '.join(run_id[:8] for run_id in holders)}")
        if looks % CLEAR_EVERY == 0:
            free_slots(instance)
        looks += 1
        time.sleep(PAUSE)


def _places(source: SourceSpec) -> Iterator[str]:
    match source:
        case JoinedSourceSpec():
            for table in source.tables.values():
                yield from _places(table.source)
        case SqlSourceSpec(url=address) | HttpSourceSpec(url=address) | FileSourceSpec(path=address):
            # An address that comes from the environment as a whole stands for its place by its variable's name.
            rest = address.partition("://")[2] if "://" in address else address if "{{" in address else ""
            # A password may stand before the host.
            if host := rest.partition("/")[0].rpartition("@")[2]:
                yield host
        case KaggleSourceSpec() | HuggingFaceSourceSpec():
            yield source.type
