from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from churn_assets.errors import OnlineStoreError
from churn_assets.spec import OnlineSpec
from churn_assets.store.online import OnlineStore, open_online_store
from churn_assets_tests.store.online.places import FEB, JAN, rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a folder #1?" / "shop.sqlite"


@pytest.fixture
def store(file: Path) -> OnlineStore:
    return open_online_store(OnlineSpec(), "shop", file)


def test_a_file_that_is_removed_or_replaced_is_noticed(store: OnlineStore, file: Path) -> None:
    store.publish(JAN, "v1", rows(1, 10), "id")
    assert store.lookup("c0") is not None
    for path in file.parent.glob("*"):
        path.unlink()
    assert store.lookup("c0") is None
    assert store.served() is None
    store.publish(JAN, "v1", rows(2, 20), "id")
    assert store.served() == (JAN, 2)
    assert (store.lookup("c0") or {})["marker"] == 20


def test_a_lookup_neither_makes_a_file_nor_fails_on_an_empty_one(store: OnlineStore, file: Path) -> None:
    assert store.lookup("c0") is None
    assert not file.parent.exists()
    file.parent.mkdir()
    sqlite3.connect(file).close()
    file.touch()
    assert store.served() is None


def test_nothing_but_the_file_is_left_once_all_is_closed(store: OnlineStore, file: Path) -> None:
    store.publish(JAN, "v1", rows(3000, 10), "id")
    store.lookup("c0")
    store.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_that_is_none_of_sqlites_says_what_to_do(store: OnlineStore, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("customers\n" * 1000)
    for use in (store.served, lambda: store.publish(FEB, "v", rows(1, 1), "id")):
        with pytest.raises(
            OnlineStoreError, match=r"found an error: file is not a database\. Remove the file, then"
        ) as error:
            use()
        assert not error.value.transient
    assert file.read_text() == "customers\n" * 1000


def test_a_place_that_cant_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    store = open_online_store(OnlineSpec(attempts=1), "shop", tmp_path / "taken" / "shop.sqlite")
    with pytest.raises(OnlineStoreError, match=r"taken.* Let this process write the file"):
        store.publish(JAN, "v", rows(1, 1), "id")
