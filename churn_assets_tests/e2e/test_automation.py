"""A real daemon, which is killed and started again, heals the months behind a corrected one, each once."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from churn_assets_tests.daemons import daemon, wait_for
from churn_assets_tests.installation import Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOOKING = {"corrections": "running", "source": "running", "up_to_date": "running", "check_seconds": 10}
"""Everything that could ask for the same months, at once."""


@pytest.fixture
def corrected(own_files: Installation) -> Installation:
    """Three months were made, and then the first one was delivered anew and made again."""
    months = {"end": "2024-03"}
    own_files.declare(
        "churn",
        small_spec(source={"type": "file", "path": "incoming/{month}.csv"}, months=months, automation=LOOKING),
    )
    own_files.deliver("2024-01", own_files.received("2024-01").with_columns(data_gb=pl.lit(1.0)))
    assert own_files.run(["2024-01"])[0].success
    return own_files


def test_months_behind_a_correction_are_run_once_ascending_and_with_the_reason_though_the_daemon_is_killed(
    corrected: Installation, tmp_path: Path
) -> None:
    log = tmp_path / "daemon.log"
    with corrected.instance() as instance:

        def asked() -> list[dg.RunRecord]:
            found = instance.get_run_records()
            return sorted((r for r in found if "churn/cause" in r.dagster_run.tags), key=lambda r: r.create_timestamp)

        def looks() -> int:
            ticks = instance.schedule_storage
            assert ticks is not None
            return sum(
                len(ticks.get_ticks(state.instigator_origin_id, state.selector_id))
                for state in instance.all_instigator_state()
                if state.instigator_name == "churn_corrections"
            )

        with daemon(corrected, log) as first:
            wait_for(lambda: len(asked()) >= 2, log)
            first.kill()
            first.wait()
            before = looks()
            with daemon(corrected, log):
                wait_for(lambda: all(r.dagster_run.is_finished for r in asked()) and looks() >= before + 2, log)
        runs = asked()
    assert [r.dagster_run.tags["dagster/partition"] for r in runs] == ["2024-02", "2024-03"]
    assert {r.dagster_run.status for r in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert all(r.dagster_run.tags["churn/reason"].startswith("validated_data 2024-01 became version") for r in runs)
    assert runs[0].end_time is not None
    assert runs[1].start_time is not None
    assert runs[0].end_time <= runs[1].start_time
