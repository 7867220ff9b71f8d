from __future__ import annotations

import socket
import sys
from itertools import count
from pathlib import Path

import pytest

from churn_assets.errors import OnlineStoreError
from churn_assets.spec import OnlineSpec
from churn_assets.store.online import OnlineStore, open_online_store
from churn_assets_tests.postgres import PASSWORD, Postgres
from churn_assets_tests.store.online.places import FEB, JAN, rows

pytestmark = pytest.mark.slow
NAMES = (f"p{i}" for i in count())


@pytest.fixture
def name() -> str:
    return next(NAMES)


@pytest.fixture
def store(postgres: Postgres, name: str) -> OnlineStore:
    return opened(address(postgres), name)


def address(postgres: Postgres) -> str:
    return postgres.url.render_as_string(hide_password=False)


def opened(url: str, name: str, attempts: int = 1) -> OnlineStore:
    return open_online_store(OnlineSpec(url=url, attempts=attempts), name, Path("unused"))


def refused(store: OnlineStore) -> str:
    with pytest.raises(OnlineStoreError) as error:
        store.publish(FEB, "v2", rows(10, 2), "id")
    assert error.value.__cause__ is None
    assert PASSWORD not in str(error.value)
    return str(error.value)


def test_rows_of_one_generation_are_all_there_is(store: OnlineStore, postgres: Postgres, name: str) -> None:
    for i, month in enumerate((JAN, FEB, FEB)):
        store.publish(month, f"v{i}", rows(10, i), "id")
    postgres.execute(
        f"DO $$ BEGIN ASSERT (SELECT count(*) FROM churn_online_{name}_features) = 10; "
        f"ASSERT (SELECT count(*) FROM churn_online_{name}_serving) = 1; END $$"
    )


def test_a_reader_goes_on_when_the_server_ends_connections(store: OnlineStore, postgres: Postgres) -> None:
    store.publish(JAN, "v1", rows(3, 1), "id")
    assert store.lookup("c0") is not None
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
    )
    assert store.lookup("c0") is not None


def test_who_may_only_read_can_look_up(store: OnlineStore, postgres: Postgres, name: str) -> None:
    store.publish(JAN, "v1", rows(3, 1), "id")
    reader = opened(postgres.as_reader(), name)
    assert reader.lookup("c0") == store.lookup("c0")
    told = refused(reader)
    assert "permission denied" in told
    assert "Let the user do this" in told
    assert store.served() == (JAN, 3)


def test_who_may_make_no_tables_can_load_into_those_that_are_there(
    store: OnlineStore, postgres: Postgres, name: str
) -> None:
    store.publish(JAN, "v1", rows(3, 1), "id")
    tables = f"churn_online_{name}_features, churn_online_{name}_serving"
    postgres.execute(f"GRANT SELECT, INSERT, DELETE ON {tables} TO reader")
    assert opened(postgres.as_reader(), name).publish(FEB, "v2", rows(2, 2), "id")
    assert store.served() == (FEB, 2)


def test_a_wrong_password_is_told_at_once(postgres: Postgres, name: str, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(postgres.as_reader("wr0ng"), name, attempts=5)
    told = refused(store)
    assert "password authentication failed" in told
    assert "Check the user and the password in online.url" in told
    assert "wr0ng" not in told + str(store.place) + caplog.text
    assert "attempt" not in caplog.text, "waiting doesn't help"


def test_a_database_that_isnt_there(postgres: Postgres, name: str) -> None:
    url = postgres.url.set(database="nowhere").render_as_string(hide_password=False)
    assert "Check the database in online.url" in refused(opened(url, name))


def test_nobody_is_there(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://app:s3cret@127.0.0.1:{taken.getsockname()[1]}/online"
        store = opened(url, name, attempts=2)
        told = refused(store)
        with pytest.raises(OnlineStoreError, match="Connection refused") as error:
            store.lookup("c0")
        assert error.value.transient
    assert "Check that the server runs where online.url says" in told
    assert "attempt 1 of 2 failed (OperationalError)" in caplog.text
    assert "s3cret" not in told + caplog.text


def test_an_address_that_cant_be_read(name: str) -> None:
    with pytest.raises(OnlineStoreError, match=r"^online.url: expected an address such as postgresql://") as error:
        opened("postgresql://app:s3cret@host/online?nonsense=s3cret", name)
    assert "s3cret" not in str(error.value)


def test_a_driver_that_isnt_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(
        OnlineStoreError, match=r"expected the package psycopg2.*pip install 'churn_assets\[postgres\]'"
    ):
        opened("postgresql://app:s3cret@host/online", name)
