"""Where a test's online store is, for this process and for others that publish and read beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.months import Month
from churn_assets.spec import OnlineSpec
from churn_assets.store.online import OnlineStore, open_online_store

JAN, FEB, MAR = Month(2024, 1), Month(2024, 2), Month(2024, 3)
FEW = 3_000
MANY = 400_000


@dataclass(frozen=True)
class Place:
    """One of the three backends, and a pipeline of one's own there."""

    kind: str
    given: OnlineSpec
    folder: Path
    pipeline: str

    def open(self) -> OnlineStore:
        return open_online_store(self.given, self.pipeline, self.file)

    @property
    def file(self) -> Path:
        return self.folder / "online" / f"{self.pipeline}.sqlite"

    def of(self, pipeline: str) -> Place:
        return replace(self, pipeline=pipeline)


def rows(count: int, marker: int) -> pl.DataFrame:
    """Customers c0, c1, ... who all have the same marker."""
    return pl.select(id=pl.format("c{}", pl.int_range(count)), marker=pl.lit(marker, pl.Int64), text=pl.lit("x" * 200))


def marked(month: Month) -> int:
    return month.ordinal


def publish(place: Place, month: Month, count: int, outcome: Any) -> None:
    """Publishes a month once, and tells whether it is served."""
    outcome.put((str(month), place.open().publish(month, str(month), rows(count, marked(month)), "id")))


def publish_on_and_on(place: Place, count: int, stop: Any) -> None:
    """Publishes month after month."""
    store, month = place.open(), JAN
    while not stop.is_set():
        month = month + 1
        assert store.publish(month, str(month), rows(count, marked(month)), "id")


def read_on_and_on(place: Place, generations: int, outcome: Any) -> None:
    """Looks customers up until so many months were seen; tells the first thing that is wrong, or that nothing is."""
    store, seen = place.open(), set[str]()
    asked = [f"c{i}" for i in range(0, FEW, 7)]
    deadline = time.monotonic() + 100
    while len(seen) < generations and time.monotonic() < deadline:
        found, one, served = store.lookup_many(asked), store.lookup("c1"), store.served()
        held = {(row["month"], row["marker"]) for row in found.values()}
        whole = len(found) == len(asked) and len(held) == 1 and served is not None and served[1] == FEW
        held |= {(one["month"], one["marker"])} if one else set()
        if not (whole and one) or any(marked(Month.parse(month)) != marker for month, marker in held):
            outcome.put(f"{len(found)} of {len(asked)} customers, of {held}; {one}; {served}")
            return
        seen.add(one["month"])
    outcome.put("" if len(seen) >= generations else f"only {len(seen)} months were seen")


def use_in_forks(place: Place, outcome: Any) -> None:
    """Looks up in a process, in two that it forks, which end, and in itself again."""
    store = place.open()
    assert store.lookup("c1") is not None
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            found = [store.lookup(f"c{i}") for i in range(200)]
            store.close()
            os._exit(0 if all(row and row["marker"] == marked(JAN) for row in found) else 1)
        children.append(child)
    mine = [store.lookup(f"c{i}") for i in range(200)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    mine += [store.lookup(f"c{i}") for i in range(200)]
    outcome.put((codes, all(row and row["marker"] == marked(JAN) for row in mine)))


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it didn't happen"
        time.sleep(0.002)
