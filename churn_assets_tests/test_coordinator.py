"""The order of queued runs: as a property of places, and as Dagster's own daemon takes runs off a real queue."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, PRIORITY_TAG
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.coordinator import URGENCIES, URGENCY_TAG, Place, priority_of, queued, urgency_of
from churn_assets.months import Month

BACKFILL = {BACKFILL_ID_TAG: "b"}
START = Month.parse("2024-01")
REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("churn_assets"), "__repository__")


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(URGENCIES)), max_size=12))
def test_waiting_months_of_a_pipeline_always_go_in_ascending_order(asked: list[tuple[int, str]]) -> None:
    waiting: dict[str, Place] = {}
    for number, (month, urgency) in enumerate(asked):
        run = Place(str(number), START + month, urgency)
        waiting |= {p.run_id: p for p in queued(run, list(waiting.values()))}
    # Dagster's sort is stable: of equal ones the first that was asked for is next.
    order = sorted(waiting.values(), key=lambda p: p.priority, reverse=True)
    assert all(before.month <= after.month for before, after in pairwise(order))
    assert all(before.rank >= after.rank for before, after in pairwise(order))
    assert len(order) == len(asked)
    assert all(p.rank >= URGENCIES.index(asked[int(p.run_id)][1]) for p in order)


def test_a_run_is_as_urgent_as_what_requested_it() -> None:
    assert urgency_of({}) == "live"
    assert urgency_of({"dagster/schedule_name": "churn_monthly"}) == "live"
    assert urgency_of({"dagster/sensor_name": "churn_corrections"}) == "correction"
    assert urgency_of(BACKFILL) == "backfill"
    assert urgency_of({**BACKFILL, URGENCY_TAG: "correction"}) == "correction"


def test_a_run_of_the_command_line_is_as_urgent_as_a_live_one_of_the_queue() -> None:
    def priority(**tags: str) -> int:
        return priority_of(dg.DagsterRun("churn_month", tags={name.replace("__", "/"): v for name, v in tags.items()}))

    own = priority(dagster__partition="2024-05")
    assert own == Place("", Month.parse("2024-05"), "live").priority
    assert priority(dagster__partition="2024-05", dagster__priority="-7") == -7
    assert priority(dagster__partition="2024-05", dagster__priority="high") == own
    assert priority() == 0


class Queue:
    """Dagster's queue, as this installation sets it up, with one place for a run that goes on."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def submit(self, pipeline: str, month: str, tags: dict[str, str] | None = None) -> str:
        @dg.asset(key=[pipeline, "raw_data"], pool=pipeline)
        def made() -> None: ...

        name = f"{pipeline}_month"
        job = dg.Definitions([made], jobs=[dg.define_asset_job(name)]).resolve_job_def(name)
        run = self.instance.create_run_for_job(
            job, tags={PARTITION_NAME_TAG: month, **(tags or {})}, remote_job_origin=RemoteJobOrigin(REPOSITORY, name)
        )
        self.instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]
        return run.run_id

    def taken(self) -> list[str]:
        """All runs, in the order in which the daemon takes them, each ending before the next look."""
        daemon, order = QueuedRunCoordinatorDaemon(interval_seconds=1), []
        while next_runs := daemon._get_runs_to_dequeue(self.instance, self.instance.get_concurrency_config(), None):
            (run,) = next_runs
            order.append(f"{run.tags[PARTITION_NAME_TAG]} of {run.job_name.removesuffix('_month')}")
            self.instance.report_run_canceled(run)
        return order


@pytest.fixture(scope="module")
def shared() -> Iterator[dg.DagsterInstance]:
    coordinator = {"module": "churn_assets.coordinator", "class": "OrderlyRunCoordinator"}
    overrides = {
        "run_coordinator": {**coordinator, "config": {"max_concurrent_runs": 1}},
        "concurrency": {"pools": {"granularity": "run", "default_limit": 1}},
    }
    with dg.DagsterInstance.local_temp(overrides=overrides) as instance:
        yield instance


@pytest.fixture
def queue(shared: dg.DagsterInstance) -> Queue:
    return Queue(shared)


@pytest.mark.slow
def test_a_live_month_overtakes_the_backfill_of_another_pipeline_and_a_correction_comes_between(queue: Queue) -> None:
    for month in ("2024-03", "2024-02"):
        queue.submit("a", month, BACKFILL)
    queue.submit("b", "2023-12", {"dagster/sensor_name": "b_corrections"})
    queue.submit("c", "2026-10")
    assert queue.taken() == ["2026-10 of c", "2023-12 of b", "2024-02 of a", "2024-03 of a"]


@pytest.mark.slow
def test_a_live_month_never_overtakes_an_earlier_month_of_its_own_but_hurries_it(queue: Queue) -> None:
    queue.submit("a", "2024-01", BACKFILL)
    for month in ("2026-09", "2026-11"):
        queue.submit("b", month, BACKFILL)
    queue.submit("b", "2026-10")
    assert queue.taken() == ["2026-09 of b", "2026-10 of b", "2024-01 of a", "2026-11 of b"]


@pytest.mark.slow
def test_a_priority_that_a_person_gave_stays(queue: Queue) -> None:
    run_id = queue.submit("a", "2024-01", {**BACKFILL, PRIORITY_TAG: "900000"})
    queue.submit("b", "2026-10")
    assert queue.instance.get_run_by_id(run_id).tags[PRIORITY_TAG] == "900000"  # type: ignore[union-attr]
    assert queue.taken() == ["2024-01 of a", "2026-10 of b"]


@pytest.mark.slow
def test_runs_of_one_pipeline_go_one_by_one(queue: Queue) -> None:
    first = queue.submit("a", "2024-01")
    queue.submit("a", "2024-02")
    daemon, config = QueuedRunCoordinatorDaemon(1), queue.instance.get_concurrency_config()
    queue.instance.report_run_canceling(queue.instance.get_run_by_id(first))  # type: ignore[arg-type]
    assert daemon._get_runs_to_dequeue(queue.instance, config, None) == []
    queue.instance.report_run_canceled(queue.instance.get_run_by_id(first))  # type: ignore[arg-type]
    assert queue.taken() == ["2024-02 of a"]
