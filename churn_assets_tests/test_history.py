from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import yaml

from churn_assets.history import KEPT_RUNS


@dg.asset
def customers() -> None:
    """Nothing."""


def configure(home: Path, storage: dict[str, object] | None) -> Path:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, **(storage or {})}))
    return home


def kept(home: Path) -> Path:
    """A Dagster home whose history is kept open; it lies where Dagster would put its own."""
    custom = {"module": "churn_assets.history", "class": "KeptHistory", "config": {"base_dir": str(home)}}
    return configure(home, {"storage": {"custom": custom}})


@contextmanager
def instance_of(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def opened(home: Path) -> set[str]:
    """The databases of ``home`` that this process has open."""
    files = {Path(f.path) for f in psutil.Process().open_files()}
    return {f.name for f in files if f.suffix == ".db" and home in f.parents}


def test_what_is_kept_open_is_read_by_dagsters_own_storage_and_the_other_way_round(tmp_path: Path) -> None:
    with instance_of(kept(tmp_path)) as instance:
        first = dg.materialize([customers], instance=instance).run_id
    with instance_of(configure(tmp_path, None)) as instance:
        assert {e.dagster_event_type for e in instance.all_logs(first)} >= {dg.DagsterEventType.RUN_SUCCESS}
        second = dg.materialize([customers], instance=instance).run_id
    with instance_of(kept(tmp_path)) as instance:
        assert [r.run_id for r in instance.get_runs()] == [second, first]
        event = instance.get_latest_materialization_event(customers.key)
        assert event is not None
        assert event.run_id == second


def test_few_runs_stay_open_and_none_when_the_instance_is_closed(tmp_path: Path) -> None:
    with instance_of(kept(tmp_path)) as instance:
        runs = [dg.materialize([customers], instance=instance).run_id for _ in range(KEPT_RUNS + 3)]
        open_runs = opened(tmp_path) - {"index.db", "runs.db", "schedules.db"}
        assert open_runs == {f"{run}.db" for run in runs[-KEPT_RUNS:]}
        assert len(instance.all_logs(runs[0])) == len(instance.all_logs(runs[-1]))
    assert opened(tmp_path) == set()


def test_the_ui_is_told_of_an_event_while_the_database_stays_open(tmp_path: Path) -> None:
    told = threading.Event()
    with instance_of(kept(tmp_path)) as instance:
        run = dg.materialize([customers], instance=instance)
        cursor = instance.get_records_for_run(run.run_id).cursor
        instance.watch_event_logs(run.run_id, cursor, lambda entry, at: told.set())
        record = instance.get_run_by_id(run.run_id)
        assert record is not None
        with instance_of(tmp_path) as other:
            other.report_engine_event("Something happened.", record)
            assert told.wait(10)


def test_what_was_noted_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, dagster as dg; from churn_assets_tests.test_history import customers, instance_of\n"
        "with instance_of(sys.argv[1]) as instance:\n"
        "    print(dg.materialize([customers], instance=instance).run_id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", code, kept(tmp_path)], capture_output=True, text=True, check=False)
    assert told.returncode == -signal.SIGKILL, told.stderr
    with instance_of(tmp_path) as instance:
        run = instance.get_run_by_id(told.stdout.strip())
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert instance.get_latest_materialization_event(customers.key) is not None


def test_wiping_closes_what_it_removes(tmp_path: Path) -> None:
    with instance_of(kept(tmp_path)) as instance:
        dg.materialize([customers], instance=instance)
        instance.wipe()
        assert instance.get_runs_count() == 0
        again = dg.materialize([customers], instance=instance)
        assert again.success
        assert len(instance.all_logs(again.run_id)) > 5


def test_threads_may_note_events_at_the_same_time(tmp_path: Path) -> None:
    with instance_of(kept(tmp_path)) as instance:
        found = [instance.get_run_by_id(dg.materialize([customers], instance=instance).run_id) for _ in range(2)]
        runs = [run for run in found if run]
        before = [len(instance.all_logs(run.run_id)) for run in runs]

        def note(run: dg.DagsterRun) -> None:
            for number in range(10):
                instance.report_engine_event(f"Note {number}.", run)

        threads = [threading.Thread(target=note, args=[run], daemon=True) for run in (*runs, *runs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert [len(instance.all_logs(run.run_id)) for run in runs] == [n + 20 for n in before]
