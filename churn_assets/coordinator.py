"""The order in which queued runs begin.

Runs of one pipeline go one after the other, for its assets form a pool of one place. Where several wait, they go by
month, ascending, whatever asked for them: a month stands on the decisions of all months before it, so that none may
overtake an earlier one of its pipeline. Between pipelines the more urgent run goes first: a live month, then a
correction, then a backfill. What an urgent month waits for is as urgent as itself.

Dagster starts the queued run with the highest ``dagster/priority`` first. That number is given here, when a run is
queued; one that a person has put on a run stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

from dagster import DagsterRun, DagsterRunStatus, Field, IntSource, RunsFilter
from dagster._config.config_schema import UserConfigSchema
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    PRIORITY_TAG,
    SENSOR_NAME_TAG,
)
from dagster._serdes import ConfigurableClassData

from churn_assets.errors import MonthError
from churn_assets.months import Month

Urgency = Literal["backfill", "correction", "live"]
URGENCIES: tuple[Urgency, ...] = get_args(Urgency)
"""The least urgent first."""
URGENCY_TAG = "churn/urgency"
"""What a run says of its urgency. Who requests a run may say it; else it follows from what requested the run."""

_SPAN = 100_000
"""More months than there are between any two runs."""


@dataclass(frozen=True)
class Place:
    """The place of a run among those that wait; the one of the highest ``priority`` is next."""

    run_id: str
    month: Month
    urgency: Urgency

    @property
    def rank(self) -> int:
        """The higher, the more urgent."""
        return URGENCIES.index(self.urgency)

    @property
    def priority(self) -> int:
        """As Dagster compares runs: first by urgency, then by month."""
        return (self.rank + 1) * _SPAN - self.month.ordinal

    @property
    def tags(self) -> dict[str, str]:
        """What says so on the run."""
        return {URGENCY_TAG: self.urgency, PRIORITY_TAG: str(self.priority)}


def queued(run: Place, waiting: Sequence[Place]) -> list[Place]:
    """The places that change when ``run`` joins those of its pipeline that wait: its own, and of what it waits for.

    A run is as urgent as any later month that waits with it.
    """
    own = max([run, *(p for p in waiting if p.month > run.month)], key=lambda p: p.rank)
    raised = [p for p in waiting if p.month < run.month and p.rank < own.rank]
    return [replace(place, urgency=own.urgency) for place in (run, *raised)]


class OrderlyRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, in which the runs of a pipeline wait for their turn, and urgent ones go first.

    A pool that no run has used yet has no limit when Dagster's queue first looks, so that the first runs of a pipeline
    would start all at once; here its limit holds from its first run on.

    Attributes:
        trainings: how many trainings go on at once, of all pipelines.
    """

    trainings: int = 1

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        own: dict[str, Any] = {"trainings": Field(IntSource, default_value=1, description="Trainings at once, of all.")}
        inherited: Any = super().config_type()
        return {**inherited, **own}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        made = super().from_config_value(inst_data, config_value)
        made.trainings = config_value["trainings"]
        return made

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        storage = self._instance.event_log_storage
        if self._instance.global_op_concurrency_default_limit:
            for pool in _pools(run) - storage.get_concurrency_keys():
                storage.initialize_concurrency_limit_to_default(pool)
        self._order(run)
        return super().submit_run(context)

    def _order(self, run: DagsterRun) -> None:
        """Gives ``run`` its place in the queue, and moves those up that it has to wait for."""
        month, pools = month_of(run), _pools(run)
        if month is None or not pools or (PRIORITY_TAG in run.tags and URGENCY_TAG not in run.tags):
            return
        place = Place(run.run_id, month, urgency_of(run.tags))
        for changed in queued(place, list(self._waiting(pools, place.urgency))):
            self._instance.add_run_tags(changed.run_id, changed.tags)

    def _waiting(self, pools: set[str], but: Urgency) -> Iterator[Place]:
        """The runs of the same pipelines that wait, without those of the urgency ``but``: they are in order already."""
        others = {URGENCY_TAG: [urgency for urgency in URGENCIES if urgency != but]}
        for run in self._instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.QUEUED], tags=others)):
            month = month_of(run)
            if month and pools & _pools(run):
                yield Place(run.run_id, month, urgency_of(run.tags))


def urgency_of(tags: Mapping[str, str]) -> Urgency:
    """How urgent a run is: as it says itself, or else by what requested it; by hand or by schedule it is live."""
    for urgency in URGENCIES:
        if tags.get(URGENCY_TAG) == urgency:
            return urgency
    if BACKFILL_ID_TAG in tags:
        return "backfill"
    return "correction" if SENSOR_NAME_TAG in tags else "live"


def priority_of(run: DagsterRun) -> int:
    """The priority of a run: as its tag says, or else, as for one that never was in the queue, by urgency and month."""
    told, month = run.tags.get(PRIORITY_TAG, ""), month_of(run)
    if told.removeprefix("-").isdecimal():
        return int(told)
    return Place(run.run_id, month, urgency_of(run.tags)).priority if month else 0


def month_of(run: DagsterRun) -> Month | None:
    """The month that a run makes; None if it isn't one of a pipeline's months."""
    told = run.tags.get(PARTITION_NAME_TAG) or run.tags.get(ASSET_PARTITION_RANGE_START_TAG)
    try:
        return Month.parse(told) if told else None
    except MonthError:
        return None


def _pools(run: DagsterRun) -> set[str]:
    return set(run.run_op_concurrency.all_pools or ()) if run.run_op_concurrency else set()
