"""A month that fails: what is tried again, what isn't, and what stays as it was."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from churn_assets.assets.breaker import CHECK
from churn_assets_tests.api import Answer, running_api
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

MONTH = "2024-05"


@pytest.fixture
def nowhere() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def http(url: str, **automation: Any) -> dict[str, Any]:
    """The small pipeline on a server that is asked once for all rows of a month, and not whether they have changed."""
    source = {"type": "http", "url": f"{url}/rows?month={{month}}", "attempts": 1, "paging": {"kind": "link"}}
    return small_spec(source=source, automation=automation)


def reachable(made: Installation) -> tuple[bool, dict[str, Any]]:
    """What the newest check of the source says."""
    with made.instance() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["churn", "raw_data"]), CHECK)
        record = instance.get_latest_asset_check_evaluation_record(key)
    assert record is not None
    assert record.event is not None
    assert record.event.dagster_event is not None
    found = record.event.dagster_event.asset_check_evaluation_data
    return found.passed, {name: value.value for name, value in found.metadata.items()}


def waits(made: Installation) -> int:
    """How often the newest run has waited for a further attempt."""
    with made.instance() as instance:
        (run,) = instance.get_runs(limit=1)
        return len(instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source": {"type": "http", "url": "http://{nowhere}/{{month}}", "attempts": 1}}, "found [Errno 111]"),
        ({"online": {"url": "redis://{nowhere}/0", "attempts": 1}}, "Check that the server runs where online.url says"),
    ],
    ids=["source", "online store"],
)
def test_a_month_that_fails_leaves_what_is_served(
    own: Installation, nowhere: str, changes: dict[str, dict[str, Any]], told: str
) -> None:
    contents, exported, served = own.contents(MONTH), own.exported(MONTH), own.pipeline().online.served()
    given = {section: {k: v.format(nowhere=nowhere) if isinstance(v, str) else v for k, v in keys.items()}
             for section, keys in changes.items()}  # fmt: skip
    own.declare("churn", small_spec(**given))
    (result,) = own.run([MONTH])
    assert not result.success
    assert told in str(result.problems)
    own.declare("churn", small_spec())
    assert own.contents(MONTH) == contents
    assert own.exported(MONTH) == exported
    assert own.pipeline().online.served() == served
    (again,) = own.run([MONTH])
    assert again.success, again.problems
    assert own.contents(MONTH) == contents


def test_a_source_that_fails_twice_is_read_within_one_run(tmp_path: Path) -> None:
    with running_api(
        rows=lambda _: Answer(b"busy", 503) if len(api.asked) < 3 else Answer([{"customer_id": "c1"}])
    ) as api:
        made = Installation.create(
            tmp_path / "home", churn=http(api.url, retries={"attempts": 3, "delay_seconds": 0.01})
        )
        told = made.churn("run", "--month", "2024-01", "--select", "raw_data")
        assert told.returncode == 0, told.stdout + told.stderr
        assert told.stdout.count("tries again in 0 s: ") == 2
        assert "found status 503: 'busy'" in told.stdout
        assert len(api.asked) == 3
        assert reachable(made)[0]
        assert waits(made) == 2


def test_a_run_that_waits_can_be_stopped(tmp_path: Path) -> None:
    with running_api(rows=lambda _: Answer(b"busy", 503)) as api:
        made = Installation.create(
            tmp_path / "home", churn=http(api.url, retries={"attempts": 3, "delay_seconds": 3600})
        )
        with made.start("run", "--month", "2024-01", "--select", "raw_data") as process:
            assert process.stdout is not None
            assert "tries again in" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
        with made.instance() as instance:
            (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize(
    ("answer", "told"),
    [(Answer([{"customer_id": "c1"}]), "expected the columns"), (Answer(b"no", 401), "found status 401")],
    ids=["schema", "refusal"],
)
def test_what_waiting_cant_mend_is_asked_for_once(tmp_path: Path, answer: Answer, told: str) -> None:
    with running_api(rows=lambda _: answer) as api:
        made = Installation.create(
            tmp_path / "home", churn=http(api.url, retries={"attempts": 3, "delay_seconds": 0.01})
        )
        (result,) = made.run(["2024-01"], stages=["raw_data", "validated_data"])
        assert not result.success
        assert told in str(result.problems)
        assert len(api.asked) == 1
        assert waits(made) == 0


def test_a_paused_source_is_left_alone_until_one_run_may_try(tmp_path: Path) -> None:
    answers = {"status": 503}
    with running_api(rows=lambda _: Answer([{"customer_id": "c1"}], answers["status"])) as api:
        given = http(api.url, retries={"attempts": 2, "delay_seconds": 0.01}, breaker={"failures": 2})
        made = Installation.create(tmp_path / "home", churn=given)

        def run(**options: Any) -> str:
            (result,) = made.run(["2024-01"], stages=["raw_data"], **options)
            return " ".join(result.problems)

        assert "is paused until" not in run()
        assert len(api.asked) == 2
        assert "2 runs in a row couldn't reach the source; it is paused until" in run()
        assert len(api.asked) == 3, "the attempt that opens it is the last"
        assert waits(made) == 0
        assert "expected an answer, found that it is paused" in run()
        passed, shown = reachable(made)
        assert (passed, shown["state"], shown["runs in a row that failed"]) == (False, "open", 2)
        status = made.churn("status").stdout
        assert "source open Since" in status
        assert "found status 503" in status
        assert len(api.asked) == 3

        given["automation"]["breaker"]["pause_minutes"] = 0.001
        made.declare("churn", given)
        answers["status"] = 200
        time.sleep(0.1)
        assert run() == ""
        assert len(api.asked) == 4
        assert reachable(made)[0]
