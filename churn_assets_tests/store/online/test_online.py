"""The online store on all of its backends, seen from outside."""

from __future__ import annotations

import multiprocessing
import signal
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, datetime
from typing import Any

import polars as pl
import psycopg2
import pytest

from churn_assets.errors import OnlineStoreError
from churn_assets.store.online import identical
from churn_assets_tests.postgres import Postgres
from churn_assets_tests.redis_server import RedisServer
from churn_assets_tests.store.online.places import (
    FEB,
    FEW,
    JAN,
    MANY,
    MAR,
    Place,
    marked,
    publish,
    publish_on_and_on,
    read_on_and_on,
    rows,
    use_in_forks,
    wait_until,
)

PROCESSES = multiprocessing.get_context("spawn")


def table(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


class TestServing:
    def test_nothing_is_served_before_the_first_load(self, place: Place) -> None:
        store = place.open()
        assert store.served() is None
        assert store.lookup("c0") is None
        assert store.lookup_many(["c0", "c1"]) == {}
        assert not place.file.exists()

    def test_a_customer_is_looked_up_with_the_month(self, place: Place) -> None:
        store = place.open()
        given = table(month=["unused"], id=["c0"], calls=[3], plan=["plüs"], flag=[True], gone=[None])
        assert store.publish(JAN, "v1", given, "id")
        assert store.lookup("c0") == {"month": "2024-01", "calls": 3, "plan": "plüs", "flag": True, "gone": None}
        assert list(store.lookup("c0") or {}) == ["month", "calls", "plan", "flag", "gone"]
        assert store.lookup("c1") is None
        assert store.served() == (JAN, 1)

    def test_a_row_is_the_tables_to_the_type_and_the_last_bit(self, place: Place) -> None:
        nan = struct.unpack("d", struct.pack("Q", 0x7FF8DEADBEEF0001))[0]
        given = pl.DataFrame(
            {
                "id": ["a", "b", "c"],
                "whole": [1, 2**62, None],
                "share": [1.0, -0.0, nan],
                "edge": [float("inf"), 5e-324, float("-inf")],
                "flag": [True, False, None],
                "since": [date(2024, 2, 29), None, date(1, 1, 1)],
                "seen": [datetime(2024, 1, 1, 23, 59, 59, 999999), None, datetime(1900, 1, 1)],
                "plan": pl.Series(["x", None, "é"], dtype=pl.Categorical),
                "huge": pl.Series([2**64 - 1, 0, 1], dtype=pl.UInt64),
                "tags": [["a"], [], None],
                "bytes": [b"\0\xff", b"", None],
            }
        )
        store = place.open()
        store.publish(JAN, "v1", given, "id")
        found = store.lookup_many(["a", "b", "c"])
        for row in given.iter_rows(named=True):
            customer = row.pop("id")
            assert identical(found[customer], {"month": "2024-01", **row})
            assert repr(found[customer]) == repr({"month": "2024-01", **row})
        assert struct.pack("d", found["c"]["share"]) == struct.pack("d", nan)

    def test_a_later_month_is_never_overwritten_by_an_older_one(self, place: Place) -> None:
        store = place.open()
        assert store.publish(FEB, "v2", rows(2, 20), "id")
        assert not store.publish(JAN, "v1", rows(1, 10), "id")
        assert store.served() == (FEB, 2)
        assert (store.lookup("c1") or {})["marker"] == 20

    def test_a_later_month_and_a_corrected_one_replace_all_customers(self, place: Place) -> None:
        store, reader = place.open(), place.open()
        store.publish(JAN, "v1", rows(2, 10), "id")
        assert reader.lookup("c1") is not None
        assert store.publish(FEB, "v2", rows(1, 20), "id")
        assert reader.lookup("c1") is None
        assert reader.served() == (FEB, 1)
        assert store.publish(FEB, "v3", rows(1, 30), "id")
        assert (reader.lookup("c0") or {})["marker"] == 30

    def test_equal_content_is_not_loaded_again(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(1, 10), "id")
        assert store.publish(JAN, "v1", rows(2, 99), "id")
        assert (store.lookup("c0") or {})["marker"] == 10
        assert store.served() == (JAN, 1)

    def test_features_may_change_from_month_to_month(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", table(id=["a"], x=[1], y=[2]), "id")
        store.publish(FEB, "v2", table(id=["a"], y=[2.5]), "id")
        assert store.lookup("a") == {"month": "2024-02", "y": 2.5}

    def test_a_month_without_customers_is_served_too(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(3, 10), "id")
        assert store.publish(FEB, "v2", rows(0, 20), "id")
        assert store.served() == (FEB, 0)
        assert store.lookup("c0") is None

    def test_pipelines_live_side_by_side(self, place: Place) -> None:
        one, other, third = (place.of(place.pipeline + more) for more in ("", "_features", "_serving"))
        one.open().publish(FEB, "v", rows(1, 1), "id")
        other.open().publish(JAN, "v", rows(2, 2), "id")
        third.open().publish(MAR, "v", rows(3, 3), "id")
        assert [p.open().served() for p in (one, other, third)] == [(FEB, 1), (JAN, 2), (MAR, 3)]
        assert [(p.open().lookup("c0") or {})["marker"] for p in (one, other, third)] == [1, 2, 3]

    def test_a_store_that_was_closed_can_be_used_on(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(1, 10), "id")
        for _ in range(3):
            assert store.lookup("c0") is not None
            store.close()

    def test_threads_share_one_store(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(FEW, 10).with_columns(own="id"), "id")
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda i: (store.lookup(f"c{i}") or {})["own"], range(FEW)))
        assert found == [f"c{i}" for i in range(FEW)]


class TestKeys:
    def test_integers_may_be_given_as_text(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", table(id=[10, 9, 123], x=[1, 2, 3]), "id")
        assert [store.lookup(c) for c in (123, "123")] == [{"month": "2024-01", "x": 3}] * 2
        assert {c: row["x"] for c, row in store.lookup_many([9, "10", "11"]).items()} == {9: 2, "10": 1}

    def test_texts_that_look_alike_are_different_customers(self, place: Place) -> None:
        odd = [
            "7", "007", "", " ", "é", "e\u0301", "a'b", 'a"b', "a\\b", "{}", "NULL", "1,2", "\t\n", "%s", "x" * 99, "🂡",
        ]  # fmt: skip
        store = place.open()
        store.publish(JAN, "v1", table(id=odd, x=list(range(len(odd)))), "id")
        assert {c: row["x"] for c, row in store.lookup_many(odd).items()} == {c: i for i, c in enumerate(odd)}
        assert [(store.lookup(c) or {})["x"] for c in odd] == list(range(len(odd)))

    def test_of_many_the_unknown_are_left_out(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(FEW, 1), "id")
        found = store.lookup_many([f"c{i}" for i in range(2 * FEW)])
        assert list(found) == [f"c{i}" for i in range(FEW)]
        assert store.lookup_many([]) == {}

    def test_what_can_be_no_key_is_nobodys(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(1, 1), "id")
        assert store.lookup_many(["\ud800", "a\0b", None, "c0"]).keys() == {"c0"}

    @pytest.mark.parametrize(
        ("ids", "found"),
        [(["a", "b", "a"], "2 of 3 rows otherwise, such as id 'a'"), (["a", None], "such as id None"),
         (["a", "b\0"], r"such as id 'b\\x00'"), ([1, None, 1], "3 of 3 rows")],
    )  # fmt: skip
    def test_rows_that_arent_one_a_customer_are_refused(self, place: Place, ids: list[Any], found: str) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(1, 1), "id")
        with pytest.raises(OnlineStoreError, match=found):
            store.publish(FEB, "v2", table(id=ids, x=ids), "id")
        assert store.served() == (JAN, 1)


class TestFailing:
    def test_a_load_that_fails_half_way_leaves_what_was_served(self, place: Place) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(2, 10), "id")
        late = pl.Series("bad", [*range(20_000), object()], dtype=pl.Object)
        with pytest.raises(OnlineStoreError, match="found object"):
            store.publish(FEB, "v2", rows(20_001, 20).with_columns(late), "id")
        assert store.served() == (JAN, 2)
        assert (store.lookup("c1") or {})["marker"] == 10
        assert store.publish(FEB, "v2", rows(1, 20), "id")
        assert store.served() == (FEB, 1)


def loading(place: Place, request: pytest.FixtureRequest) -> bool:
    """Whether part of a load has arrived that isn't served yet."""
    if place.kind == "sqlite":
        log = place.file.with_name(place.file.name + "-wal")
        return log.exists() and log.stat().st_size > 5_000_000
    if place.kind == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        with redis.client() as client:
            return any(client.hlen(k) > 10_000 for k in client.keys(f"churn:online:{place.pipeline}:loading:*"))
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.url.render_as_string(hide_password=False)
    with closing(psycopg2.connect(url)) as database, database.cursor() as cursor:
        cursor.execute("select pg_relation_size(%s)", [f"churn_online_{place.pipeline}_features"])
        return bool(cursor.fetchone()[0] > 5_000_000)


@pytest.mark.slow
class TestBesideOthers:
    def test_readers_always_see_one_whole_month(self, place: Place) -> None:
        place.open().publish(JAN, "v", rows(FEW, marked(JAN)), "id")
        stop, outcome = PROCESSES.Event(), PROCESSES.Queue()
        writer = PROCESSES.Process(target=publish_on_and_on, args=(place, FEW, stop))
        readers = [PROCESSES.Process(target=read_on_and_on, args=(place, 12, outcome)) for _ in range(2)]
        for process in (writer, *readers):
            process.start()
        try:
            assert [outcome.get(timeout=120) for _ in readers] == ["", ""]
        finally:
            stop.set()
            for process in (writer, *readers):
                process.join(60)
        assert [p.exitcode for p in (writer, *readers)] == [0, 0, 0]

    def test_a_killed_load_leaves_what_was_served_and_readers_never_wait(
        self, place: Place, request: pytest.FixtureRequest
    ) -> None:
        store = place.open()
        store.publish(JAN, "v1", rows(FEW, marked(JAN)), "id")
        outcome = PROCESSES.Queue()
        writer = PROCESSES.Process(target=publish, args=(place, FEB, MANY, outcome))
        writer.start()
        wait_until(lambda: loading(place, request) or not writer.is_alive())
        while_loading = [store.lookup(f"c{i}") for i in range(20)]
        writer.kill()
        writer.join(30)
        assert writer.exitcode == -signal.SIGKILL, "the load had ended before"
        assert all(row and row["marker"] == marked(JAN) for row in while_loading)
        assert store.served() == (JAN, FEW)
        assert (place.open().lookup("c5") or {})["marker"] == marked(JAN)
        assert store.publish(FEB, "v2", rows(FEW, marked(FEB)), "id")
        assert store.served() == (FEB, FEW)
        assert (store.lookup("c5") or {})["marker"] == marked(FEB)

    def test_of_publishers_that_race_the_latest_month_wins(self, place: Place) -> None:
        months = [JAN + 4, JAN, JAN + 3, JAN + 1, JAN + 2]
        published = PROCESSES.Queue()
        writers = [PROCESSES.Process(target=publish, args=(place, m, 20_000, published)) for m in months]
        for writer in writers:
            writer.start()
        told = dict(published.get(timeout=100) for _ in writers)
        for writer in writers:
            writer.join(60)
        assert set(told) == {str(m) for m in months}
        assert told[str(JAN + 4)]
        store = place.open()
        assert store.served() == (JAN + 4, 20_000)
        found = store.lookup_many(f"c{i}" for i in range(20_000))
        assert len(found) == 20_000
        assert {row["marker"] for row in found.values()} == {marked(JAN + 4)}

    def test_an_older_month_that_began_first_doesnt_replace_a_later_one(
        self, place: Place, request: pytest.FixtureRequest
    ) -> None:
        place.open().publish(JAN, "v1", rows(FEW, marked(JAN)), "id")
        published = PROCESSES.Queue()
        older = PROCESSES.Process(target=publish, args=(place, FEB, MANY, published))
        older.start()
        wait_until(lambda: loading(place, request) or not older.is_alive())
        assert place.open().publish(MAR, "v3", rows(FEW, marked(MAR)), "id")
        published.get(timeout=60)
        older.join(60)
        assert place.open().served() == (MAR, FEW)
        assert (place.open().lookup("c5") or {})["marker"] == marked(MAR)

    def test_forked_processes_use_connections_of_their_own(self, place: Place) -> None:
        place.open().publish(JAN, "v1", rows(FEW, marked(JAN)), "id")
        outcome = PROCESSES.Queue()
        parent = PROCESSES.Process(target=use_in_forks, args=(place, outcome))
        parent.start()
        assert outcome.get(timeout=60) == ([0, 0], True)
        parent.join(30)
        assert parent.exitcode == 0
