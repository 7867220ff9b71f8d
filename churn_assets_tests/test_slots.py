from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import PRIORITY_TAG

from churn_assets import slots
from churn_assets.launcher import PROCESS_TAG
from churn_assets.pipeline import Pipeline
from churn_assets.processes import process_identity
from churn_assets.settings import Settings
from churn_assets.slots import Claim, free_slots, holding, ingest_slots, training_slot
from churn_assets_tests.declared import declared
from churn_assets_tests.installation import Installation, small_spec

ONE = (Claim("training", 1),)


def sql(url: str) -> dict[str, Any]:
    return {"type": "sql", "url": url, "query": "SELECT 1 WHERE :month_start < :month_end"}


def ingest(source: dict[str, Any]) -> list[str]:
    pipeline = Pipeline(declared(source=source, resources={"ingests": 3}), Settings(Path("data"), Path("defs")))
    claims = ingest_slots(pipeline)
    assert {c.limit for c in claims} <= {3}
    return [c.pool for c in claims]


def test_an_ingest_claims_a_slot_of_the_host_that_it_reads_from() -> None:
    assert ingest(sql("postgresql://ann:{{ env.PASSWORD }}@db:5432/shop")) == ["ingest from db:5432"]
    assert ingest(sql("postgresql://bob:secret@db:5432/other")) == ["ingest from db:5432"]
    assert ingest(sql("{{ env.SHOP }}")) == ["ingest from {{ env.SHOP }}"]
    assert ingest({"type": "http", "url": "https://api.example.com/{month}"}) == ["ingest from api.example.com"]
    assert ingest({"type": "file", "path": "s3://bucket/{month}.csv"}) == ["ingest from bucket"]
    tables = {
        "a": {"source": {"type": "http", "url": "https://b.example.com/{month}"}},
        "b": {"source": {"type": "http", "url": "https://a.example.com/{month}"}},
        "c": {"source": {"type": "file", "path": "c-{month}.csv"}},
    }
    joined = ingest({"type": "joined", "tables": tables})
    assert joined == ["ingest from a.example.com", "ingest from b.example.com"]


def test_the_own_files_of_the_machine_are_read_without_a_slot() -> None:
    assert ingest({"type": "file", "path": "{month}.csv"}) == []
    assert ingest({"type": "incoming"}) == []
    assert ingest(sql("sqlite:///shop.db")) == []


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation.create(tmp_path_factory.mktemp("slots") / "home", churn=small_spec())


@pytest.fixture
def instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    with installation.instance() as found:
        yield found


def begun(instance: dg.DagsterInstance, priority: int = 0, process: str = "") -> str:
    """A run that goes on."""

    @dg.job
    def work() -> None: ...

    tags = {PRIORITY_TAG: str(priority), PROCESS_TAG: process or process_identity()}
    run = instance.create_run_for_job(work, tags=tags, status=dg.DagsterRunStatus.STARTED)
    return run.run_id


def test_as_many_trainings_go_on_as_the_installation_says(installation: Installation) -> None:
    with installation.instance() as instance:
        assert training_slot(instance) == ONE
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert training_slot(elsewhere) == ()


def test_one_works_at_a_time_and_the_most_urgent_is_next(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "PAUSE", 0.02)
    order: list[str] = []
    said: list[str] = []
    runs = {"a backfill": begun(instance, 1), "a live month": begun(instance, 3), "a correction": begun(instance, 2)}

    def work(name: str) -> None:
        with holding(ONE, instance, runs[name], "model", said.append):
            order.append(f"{name} begins")
            time.sleep(0.1)
            order.append(f"{name} ends")

    first = begun(instance)
    with holding(ONE, instance, first, "model", said.append):
        threads = [threading.Thread(target=work, args=[name]) for name in runs]
        for thread in threads:
            thread.start()
        while len(said) < len(runs):
            time.sleep(0.01)
        assert order == []
    for thread in threads:
        thread.join(timeout=20)
    expected = ["a live month", "a correction", "a backfill"]
    assert order == [f"{name} {what}" for name in expected for what in ("begins", "ends")]
    assert said[0] == f"waits for training, 1 at once: run {first[:8]}"


def test_two_may_ingest_at_once(instance: dg.DagsterInstance) -> None:
    two = (Claim("ingest from db", 2),)
    waited: list[str] = []
    first, second = (holding(two, instance, begun(instance), "raw_data", waited.append) for _ in range(2))
    with first, second:
        assert len(instance.event_log_storage.get_concurrency_info("ingest from db").claimed_slots) == 2
    assert waited == []
    assert instance.event_log_storage.get_concurrency_info("ingest from db").claimed_slots == []


def test_work_that_fails_gives_its_slot_back(instance: dg.DagsterInstance) -> None:
    with pytest.raises(ZeroDivisionError), holding(ONE, instance, begun(instance), "model", print):
        _ = 1 / 0
    assert instance.event_log_storage.get_concurrency_info("training").claimed_slots == []


@pytest.mark.slow
def test_the_slot_of_a_killed_process_is_free_for_those_who_wait(installation: Installation) -> None:
    script = textwrap.dedent("""
        import sys, time
        from churn_assets_tests.test_slots import ONE, begun, holding
        from churn_assets.instance import open_instance
        with open_instance() as instance:
            with holding(ONE, instance, begun(instance), "model", print):
                print("holds", flush=True)
                time.sleep(60)
    """)
    environment = {**os.environ, **installation.environment}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline().strip() == "holds"
        other.send_signal(signal.SIGKILL)
        other.wait()
    waited: list[str] = []
    with installation.instance() as instance:
        begin = time.monotonic()
        with holding(ONE, instance, begun(instance), "model", waited.append):
            assert time.monotonic() - begin < 10
        assert len(waited) == 1


def test_what_an_ended_run_still_holds_is_freed(instance: dg.DagsterInstance) -> None:
    storage, run_id = instance.event_log_storage, begun(instance)
    storage.set_concurrency_slots("training", 1)
    assert storage.claim_concurrency_slot("training", run_id, "model 0").is_claimed
    free_slots(instance)
    assert len(storage.get_concurrency_info("training").claimed_slots) == 1
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_failed(run)
    free_slots(instance)
    assert storage.get_concurrency_info("training").claimed_slots == []
