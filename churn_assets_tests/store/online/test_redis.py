from __future__ import annotations

import multiprocessing
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from churn_assets.errors import OnlineStoreError
from churn_assets.spec import OnlineSpec
from churn_assets.store.online import OnlineStore, open_online_store
from churn_assets_tests.redis_server import PASSWORD, RedisServer, running_redis
from churn_assets_tests.store.online.places import FEB, JAN, MANY, Place, publish, rows, wait_until

pytestmark = pytest.mark.slow
FILE = Path("unused")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def store(server: RedisServer) -> OnlineStore:
    return opened(server.url())


def opened(url: str, attempts: int = 1) -> OnlineStore:
    return open_online_store(OnlineSpec(url=url, attempts=attempts), "shop", FILE)


def refused(store: OnlineStore) -> str:
    with pytest.raises(OnlineStoreError) as error:
        store.publish(FEB, "v2", rows(20_000, 2), "id")
    assert error.value.__cause__ is None
    assert PASSWORD not in str(error.value)
    return str(error.value)


class TestKeys:
    def test_one_key_is_all_there_is(self, store: OnlineStore, client: redis.Redis) -> None:
        client.set("others", "1")
        store.publish(JAN, "v1", rows(6000, 1), "id")
        store.publish(FEB, "v2", rows(10, 2), "id")
        assert set(client.keys()) == {b"others", b"churn:online:shop"}
        assert client.ttl("churn:online:shop") == -1
        assert client.hlen("churn:online:shop") == 11

    def test_a_killed_load_is_removed_by_the_server(self, server: RedisServer, client: redis.Redis) -> None:
        processes = multiprocessing.get_context("spawn")
        outcome = processes.Queue()
        place = Place("redis", OnlineSpec(url=server.url()), FILE, "shop")
        writer = processes.Process(target=publish, args=(place, FEB, MANY, outcome))
        writer.start()
        wait_until(lambda: bool(client.keys("*:loading:*")))
        writer.kill()
        writer.join(30)
        (left,) = client.keys()
        assert b":loading:" in left
        assert 0 < client.ttl(left) <= 600

    def test_what_the_server_lost_is_loaded_again(self, store: OnlineStore, client: redis.Redis) -> None:
        store.publish(JAN, "v1", rows(3, 1), "id")
        client.flushall()
        assert store.served() is None
        assert store.publish(JAN, "v1", rows(3, 1), "id")
        assert store.served() == (JAN, 3)

    def test_a_load_that_the_server_lost_part_of_is_not_served(
        self, store: OnlineStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.publish(JAN, "v1", rows(3, 1), "id")
        monkeypatch.setattr("churn_assets.store.online.redis.LOADING_SECONDS", 0)
        assert "of 20000 rows that were loaded, 0 are left" in refused(store)
        assert store.served() == (JAN, 3)
        assert client.keys() == [b"churn:online:shop"]

    def test_databases_of_a_server_are_apart(self, server: RedisServer) -> None:
        one, other = opened(server.url(database=1)), opened(server.url(database=2))
        one.publish(JAN, "v1", rows(1, 1), "id")
        assert other.served() is None
        assert str(other.place).endswith(f":{server.port}/2")


class TestAServerThatComesAndGoes:
    def test_a_load_waits_for_it(self, caplog: pytest.LogCaptureFixture) -> None:
        with running_redis() as server:
            port = server.port
        store = opened(server.url(), attempts=8)
        told: list[bool] = []
        publisher = threading.Thread(target=lambda: told.append(store.publish(JAN, "v1", rows(3, 1), "id")))
        publisher.start()
        wait_until(lambda: "attempt 1 of 8 failed" in caplog.text)
        with running_redis(port):
            publisher.join(60)
            assert told == [True]
            assert store.served() == (JAN, 3)
        assert PASSWORD not in caplog.text
        assert f"online store redis://127.0.0.1:{port}/0" in caplog.text

    def test_a_reader_goes_on_after_a_restart(self, caplog: pytest.LogCaptureFixture) -> None:
        with running_redis() as server:
            store = opened(server.url())
            store.publish(JAN, "v1", rows(3, 1), "id")
            assert store.lookup("c0") is not None
        with pytest.raises(OnlineStoreError, match="Connection refused"):
            store.lookup("c0")
        with running_redis(server.port):
            assert store.lookup("c0") is None
            store.publish(JAN, "v1", rows(3, 1), "id")
            assert store.lookup("c0") is not None


class TestRefusals:
    def test_nobody_is_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            store = opened(f"redis://app:s3cret@127.0.0.1:{port}/0")
            told = refused(store)
            begun = time.monotonic()
            with pytest.raises(OnlineStoreError, match="Connection refused") as error:
                store.lookup("c0")
            assert error.value.transient
            assert time.monotonic() - begun < 1, "an application doesn't wait for a server that is down"
        assert told.startswith(
            f"online store redis://127.0.0.1:{port}/0: expected an answer, found an error: Error 111"
        )
        assert "Check that the server runs where online.url says" in told
        assert "s3cret" not in told and "app" not in told

    def test_a_wrong_password(self, server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        told = refused(opened(server.url("wr0ng"), attempts=5))
        assert "Check the user and the password in online.url" in told
        assert "wr0ng" not in told
        assert "attempt" not in caplog.text, "waiting doesn't help"

    def test_users_need_no_more_than_the_documented_commands(self, server: RedisServer, client: redis.Redis) -> None:
        load = "hmget hget hset hlen expire persist rename unlink watch multi exec"
        for name, commands in (("reader", "hmget"), ("loader", load)):
            allowed = [f"+{command}" for command in commands.split()]
            client.acl_setuser(name, enabled=True, passwords=["+pw"], keys=["churn:online:*"], commands=allowed)
        reader, loader = (opened(f"redis://{name}:pw@127.0.0.1:{server.port}") for name in ("reader", "loader"))
        assert loader.publish(JAN, "v1", rows(3, 1), "id")
        assert reader.served() == (JAN, 3)
        assert (reader.lookup("c0") or {})["marker"] == 1
        assert "Let the user do this" in refused(reader)
        assert loader.publish(FEB, "v2", rows(4, 1), "id")
        assert reader.served() == (FEB, 4)

    def test_a_server_without_room(self, store: OnlineStore, client: redis.Redis) -> None:
        store.publish(JAN, "v1", rows(3, 1), "id")
        client.config_set("maxmemory", "3mb")
        told = refused(store)
        assert "Give it room for two months' rows" in told
        assert "HSET" not in told, "the command would show a customer's data"
        assert store.served() == (JAN, 3)
        client.config_set("maxmemory", "0")
        assert client.keys() == [b"churn:online:shop"]

    def test_a_name_that_is_something_elses(self, store: OnlineStore, client: redis.Redis) -> None:
        client.set("churn:online:shop", "mine")
        assert "WRONGTYPE" in refused(store)

    def test_an_address_that_cant_be_read(self) -> None:
        with pytest.raises(OnlineStoreError, match=r"^online.url: expected an address such as redis://") as error:
            opened("redis://app:s3cret@host:port/0")
        assert "s3cret" not in str(error.value)

    def test_a_driver_that_isnt_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "redis", None)
        with pytest.raises(OnlineStoreError, match=r"expected the package redis.*pip install 'churn_assets\[redis\]'"):
            opened("redis://:s3cret@host/0")
