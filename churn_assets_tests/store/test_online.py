import json
import multiprocessing
import struct
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.months import Month
from churn_assets.store.online import OnlineStore

JAN, FEB = Month(2024, 1), Month(2024, 2)


def rows(*values: float | None) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"c{i}" for i in range(len(values))], "x": values}, schema={"id": str, "x": pl.Float64})


@pytest.fixture
def store(tmp_path: Path) -> OnlineStore:
    return OnlineStore(tmp_path / "online" / "shop.sqlite")


def test_nothing_is_served_before_the_first_load(store: OnlineStore) -> None:
    assert store.served() is None
    assert store.lookup("c0") is None
    assert not store.path.exists()


def test_a_customer_is_looked_up_with_the_month(store: OnlineStore) -> None:
    frame = pl.DataFrame(
        {"month": ["unused"], "id": ["c0"], "calls": [3], "plan": ["plüs"], "flag": [True], "gone": [None]}
    )
    assert store.publish(JAN, "v1", frame, "id")
    assert store.lookup("c0") == {"month": "2024-01", "calls": 3, "plan": "plüs", "flag": True, "gone": None}
    assert store.lookup("c1") is None
    assert store.served() == (JAN, 1)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_floats_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float | None]) -> None:
    store = OnlineStore(tmp_path_factory.mktemp("online") / "x.sqlite")
    store.publish(JAN, "v", rows(*values), "id")
    for i, value in enumerate(values):
        found = store.lookup(f"c{i}")
        assert found is not None
        if value is None:
            assert found["x"] is None
        else:
            assert struct.pack("d", found["x"]) == struct.pack("d", value)


def test_a_later_month_is_never_overwritten_by_an_older_one(store: OnlineStore) -> None:
    assert store.publish(FEB, "v2", rows(2.0, 2.0), "id")
    assert not store.publish(JAN, "v1", rows(1.0), "id")
    assert store.served() == (FEB, 2)
    assert store.lookup("c1") == {"month": "2024-02", "x": 2.0}


def test_a_later_month_and_a_corrected_one_replace_all_customers(store: OnlineStore) -> None:
    store.publish(JAN, "v1", rows(1.0, 1.0), "id")
    assert store.publish(FEB, "v2", rows(2.0), "id")
    assert store.lookup("c1") is None
    assert store.served() == (FEB, 1)
    assert store.publish(FEB, "v3", rows(3.0), "id")
    assert store.lookup("c0") == {"month": "2024-02", "x": 3.0}
    assert store.publish(FEB, "v3", rows(4.0), "id"), "equal content is being served"
    assert store.lookup("c0") == {"month": "2024-02", "x": 3.0}


def test_a_load_that_fails_leaves_what_was_served(store: OnlineStore) -> None:
    store.publish(JAN, "v1", rows(1.0), "id")
    twice = pl.concat([rows(2.0), rows(2.5)])
    with pytest.raises(Exception, match="UNIQUE"):
        store.publish(FEB, "v2", twice, "id")
    assert store.served() == (JAN, 1)
    assert store.lookup("c0") == {"month": "2024-01", "x": 1.0}


def test_a_hundred_thousand_customers_are_loaded_at_once(store: OnlineStore) -> None:
    many = pl.select(id=pl.format("c{}", pl.int_range(100_000)), x=pl.int_range(100_000) / 7)
    store.publish(JAN, "v1", many, "id")
    assert store.served() == (JAN, 100_000)
    assert store.lookup("c99999") == {"month": "2024-01", "x": many["x"][-1]}


def _load(path: Path, started: Any, stop: Any) -> None:
    store, month = OnlineStore(path), JAN
    while not stop.is_set():
        month = month + 1
        store.publish(month, str(month), rows(*[float(month.ordinal)] * 2000), "id")
        started.set()


def test_a_reader_in_another_process_never_sees_half_a_load(store: OnlineStore) -> None:
    import sqlite3

    store.publish(JAN, "v0", rows(*[float(JAN.ordinal)] * 2000), "id")
    context = multiprocessing.get_context("spawn")
    started, stop = context.Event(), context.Event()
    writer = context.Process(target=_load, args=(store.path, started, stop))
    writer.start()
    assert started.wait(60)
    seen = set()
    try:
        while len(seen) < 5 and writer.is_alive():
            found = store.lookup("c7")
            assert found is not None
            assert found["x"] == Month.parse(found["month"]).ordinal
            seen.add(found["month"])
            with sqlite3.connect(store.path, timeout=30) as db:
                vectors = {row[0] for row in db.execute("select vector from features")}
            assert len(vectors) == 1
            assert json.loads(next(iter(vectors)))
    finally:
        stop.set()
        writer.join(60)
    assert writer.exitcode == 0
    assert len(seen) == 5
