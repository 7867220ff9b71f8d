"""Backfills that are disturbed: what is made is what an undisturbed run makes, and nothing is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import PartitionBackfill

from churn_assets.definitions import defs
from churn_assets_tests.installation import ASSETS, ROOT, Installation, small_spec

if TYPE_CHECKING:
    from churn_assets_tests.conftest import Prepare

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

YEAR = [f"2024-{number:02d}" for number in range(1, 13)]
PATIENCE = 240
BACKFILL = "twelve"


def tiny_spec() -> dict[str, Any]:
    """A pipeline of which a month takes little, and in which some model always scores customers."""
    gates = {"floor": 0.5, "margin": 0.3, "max_calibration_error": 0.5, "min_rows": 50, "min_positives": 1}
    return small_spec(source={"type": "simulated", "customers": 400, "seed": 3}, gates=gates)


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepare) -> Installation:
    def make(home: Path) -> Installation:
        made = Installation.create(home, churn=tiny_spec())
        made.run_all(YEAR)
        return made

    return prepared("year", make)


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    return Installation.create(tmp_path / "home", churn=tiny_spec())


def made(installation: Installation) -> Counter[tuple[str, str]]:
    """How often each month of each asset was computed."""
    with installation.instance() as instance:
        return Counter(
            (asset, str(record.partition_key))
            for asset in ASSETS
            for record in instance.fetch_materializations(dg.AssetKey(["churn", asset]), limit=1000).records
            if record.asset_materialization and record.asset_materialization.metadata["outcome"].value != "skipped"
        )


def runs(installation: Installation, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
    with installation.instance() as instance:
        return list(instance.get_runs(dg.RunsFilter(statuses=list(statuses))))


def wait_until(done: Callable[[], bool], log: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, log()[-3000:]
        time.sleep(0.2)


def assert_equal(
    installation: Installation, undisturbed: Installation, months: Sequence[str], but: Sequence[str] = ()
) -> None:
    for month in months:
        assert installation.contents(month) == undisturbed.contents(month), month
        found, wanted = installation.exported(month), undisturbed.exported(month)
        assert found.keys() == wanted.keys(), month
        assert [name for name in wanted if name not in but and found[name] != wanted[name]] == [], month


def once(months: Sequence[str]) -> dict[tuple[str, str], int]:
    return {(asset, month): 1 for asset in ASSETS for month in months}


@contextmanager
def daemon(installation: Installation, name: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A real daemon, with what it starts, and its log."""
    log = installation.home / f"{name}.log"
    environment = {**os.environ, **installation.environment, "DAGSTER_DISABLE_TELEMETRY": "1"}
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(ROOT / "workspace.yaml")]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process, log
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def ask_for(installation: Installation, months: Sequence[str]) -> None:
    """Launches a backfill of all assets, as the UI does."""
    with installation.instance() as instance:
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=BACKFILL,
            asset_graph=defs().get_repository_def().asset_graph,
            partition_names=list(months),
            asset_selection=[dg.AssetKey(["churn", asset]) for asset in ASSETS],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)


def test_a_daemon_killed_in_the_middle_of_a_backfill_and_started_again_makes_every_month_once(
    fresh: Installation, undisturbed: Installation
) -> None:
    ask_for(fresh, YEAR)
    success = dg.DagsterRunStatus.SUCCESS
    with daemon(fresh, "first") as (process, log):
        wait_until(lambda: len(runs(fresh, success)) >= 4, log.read_text)
        process.kill()
        process.wait(timeout=10)
        assert len(runs(fresh, success)) < len(YEAR)
        with daemon(fresh, "second") as (_, second):
            wait_until(lambda: sum(run.is_finished for run in runs(fresh)) >= len(YEAR), second.read_text)
    every = runs(fresh)
    assert Counter(run.status for run in every) == {success: len(YEAR)}
    assert {run.tags["dagster/backfill"] for run in every} == {BACKFILL}
    assert made(fresh) == once(YEAR)
    assert_equal(fresh, undisturbed, YEAR)


def test_two_backfills_over_overlapping_months_at_once_end_and_make_every_month_once(
    fresh: Installation, undisturbed: Installation
) -> None:
    first = fresh.start("backfill", "2024-01..2024-04")
    second = fresh.start("backfill", "2024-06", "2024-05", "2024-03..2024-04")
    told = [process.communicate(timeout=PATIENCE)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), "\n".join(told)
    assert any(" waits for " in text for text in told), "\n".join(told)
    assert "4 of 4 months done" in told[1]
    assert made(fresh) == once(YEAR[:6])
    # A month that was received before the earlier one was there says so in its report: what it was compared with.
    assert_equal(fresh, undisturbed, YEAR[:6], but=["report.html"])


def test_a_killed_backfill_that_is_run_again_skips_what_was_made_and_goes_on(
    fresh: Installation, undisturbed: Installation
) -> None:
    process = fresh.start("backfill", "2024-01..2024-04")
    wait_until(lambda: len(runs(fresh, dg.DagsterRunStatus.SUCCESS)) >= 2)
    process.kill()
    process.communicate(timeout=30)
    again = fresh.churn("backfill", "--to", "2024-04", timeout=PATIENCE)
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("Skipped: same inputs and code as in run") >= 2
    assert "4 of 4 months done" in again.stdout
    assert not runs(fresh, dg.DagsterRunStatus.STARTED)
    # What a killed step had written stands without an event that says so.
    assert not made(fresh) - Counter(once(YEAR[:4]))
    assert_equal(fresh, undisturbed, YEAR[:4])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_backfill_that_is_stopped_ends_with_a_sentence_and_a_canceled_run(
    fresh: Installation, how: signal.Signals
) -> None:
    process = fresh.start("backfill", "2024-01..2024-04")
    wait_until(lambda: bool(runs(fresh, dg.DagsterRunStatus.STARTED)))
    process.send_signal(how)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 130, told + errors
    assert "Run the same command again to go on: it skips what is done." in told
    assert "Traceback" not in told + errors
    assert {run.status for run in runs(fresh)} <= {dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS}
