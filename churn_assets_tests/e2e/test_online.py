"""A pipeline whose newest month is served by Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_assets.months import Month
from churn_assets_tests.installation import Installation, small_spec
from churn_assets_tests.redis_server import PASSWORD, RedisServer, running_redis

pytestmark = pytest.mark.e2e

STAGES = ("raw_data", "validated_data", "features", "feature_store")


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def test_the_newest_month_is_served_by_redis(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = redis_server.url()
    monkeypatch.setenv("ONLINE_STORE", url)
    made = Installation.create(tmp_path / "home", churn=small_spec(online={"url": "{{ env.ONLINE_STORE }}"}))
    results = made.run(["2024-01", "2024-02"], stages=STAGES)
    assert all(r.success for r in results), [r.problems for r in results]

    pipeline = made.pipeline()
    record = pipeline.lake.record("features", Month.parse("2024-02"))
    assert record is not None
    assert pipeline.online.served() == (Month.parse("2024-02"), record.rows)
    customer = pipeline.lake.scan_record(record).collect()["customer_id"][0]
    assert '"month": "2024-02"' in made.churn("customer", customer).stdout
    unknown = made.churn("customer", "nobody")
    assert unknown.returncode == 1
    assert f"expected a customer of redis://127.0.0.1:{redis_server.port}/0, found none" in unknown.stdout

    with redis_server.client() as client:
        client.flushall()
    assert pipeline.online.served() is None
    (again,) = made.run(["2024-02"], stages=STAGES)
    assert again.success, again.problems
    assert pipeline.online.served() == (Month.parse("2024-02"), record.rows)

    secrets = {PASSWORD.encode(), url.partition("@")[0].rpartition(":")[2].encode()}
    assert not [f for f in made.home.rglob("*") if f.is_file() and any(s in f.read_bytes() for s in secrets)]


def test_a_store_that_cant_be_reached_stops_the_month_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_redis() as server:
        monkeypatch.setenv("ONLINE_STORE", server.url())
    online = {"url": "{{ env.ONLINE_STORE }}", "attempts": 1}
    made = Installation.create(tmp_path / "home", churn=small_spec(online=online))
    (result,) = made.run(["2024-01"], stages=STAGES)
    assert not result.success
    assert "Check that the server runs where online.url says" in str(result.problems)
    assert PASSWORD not in str(result.problems)
    monkeypatch.delenv("ONLINE_STORE")
    told = made.churn("customer", "C1")
    assert told.returncode == 1
    assert "churn: online: expected the environment variable ONLINE_STORE" in told.stdout
