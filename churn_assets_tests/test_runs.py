"""Months that lack an earlier one while others are at work on it, and months that are stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from churn_assets.definitions import defs
from churn_assets.instance import failures
from churn_assets.launcher import PROCESS_TAG
from churn_assets.months import Month
from churn_assets.processes import process_identity
from churn_assets.runs import MonthRun, run_months
from churn_assets.turns import Plan
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

APRIL, MAY = Month(2024, 4), Month(2024, 5)


class Gap:
    """April's features, which aren't there until somebody puts them back."""

    def __init__(self, installation: Installation) -> None:
        self.file = installation.pipeline().lake.root / "_records" / "features" / f"{APRIL}.json"
        self.kept = self.file.read_bytes()
        self.file.unlink()

    def fill(self) -> None:
        self.file.write_bytes(self.kept)


@contextmanager
def on_its_way(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """A run of April that somebody has begun in the UI."""
    tags = {"dagster/partition": str(APRIL), PROCESS_TAG: process_identity()}
    job = defs().resolve_job_def("churn_month")
    yield instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)


def test_a_month_that_lacks_one_is_tried_again_once_another_process_has_made_that(own: Installation) -> None:
    gap, told = Gap(own), []
    pipeline = own.pipeline()
    pipeline.turns.publish(Plan("other", process_identity(), time.time(), ("2024-09",)))

    def learn(result: MonthRun) -> None:
        told.append(result.outcome)
        gap.fill()

    with own.instance() as instance:
        (result,) = run_months(instance, defs(), pipeline, [MAY], on_month=learn)
        assert MAY not in failures(instance, pipeline)
    assert (told, result.outcome) == (["failed", "unchanged"], "unchanged")


def test_a_month_that_lacks_one_waits_for_a_run_of_the_ui_that_makes_it(own: Installation) -> None:
    gap, told = Gap(own), []
    with own.instance() as instance, on_its_way(instance) as run:

        def listen(stage: str, month: Month, what: str) -> None:
            if what.startswith("waits"):
                told.append(what)
                gap.fill()
                instance.report_run_canceled(run)

        (result,) = run_months(instance, defs(), own.pipeline(), [MAY], listener=listen)
    assert told == [f"waits for run {run.run_id[:8]}, which makes 2024-04"]
    assert result.outcome == "unchanged"


def test_a_month_that_lacks_one_fails_once_where_nobody_makes_that(own: Installation) -> None:
    Gap(own)
    outcomes: list[str] = []
    with own.instance() as instance:
        pipeline = own.pipeline()
        run_months(instance, defs(), pipeline, [MAY], on_month=lambda result: outcomes.append(result.outcome))
        said = failures(instance, pipeline)[MAY]
    assert outcomes == ["failed"]
    assert "needs features 2024-04, which isn't there: run `churn backfill --missing`." in said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["STEP_START", "STEP_SUCCESS", "ASSET_MATERIALIZATION"])
def test_a_run_is_canceled_wherever_in_dagster_it_is_stopped(
    own: Installation, monkeypatch: pytest.MonkeyPatch, moment: str, how: signal.Signals
) -> None:
    told: list[str] = []
    with own.instance() as instance:
        store = instance.event_log_storage.store_event

        def stopping(event: dg.EventLogEntry) -> None:
            store(event)
            if event.dagster_event and event.dagster_event.event_type_value == moment and "sent" not in told:
                told.append("sent")
                os.kill(os.getpid(), how)

        monkeypatch.setattr(instance.event_log_storage, "store_event", stopping)
        with pytest.raises(KeyboardInterrupt):
            run_months(instance, defs(), own.pipeline(), [MAY], on_month=lambda result: told.append(result.outcome))
        (run,) = instance.get_runs(limit=1)
        assert (told, run.status) == (["sent", "stopped"], dg.DagsterRunStatus.CANCELED)
        assert MAY not in failures(instance, own.pipeline())
