"""Measures the online store: loads and reads of each backend beside a bare loop over the same driver.

    PYTHONPATH=. python benchmarks/online.py --customers 100000 --rounds 3
    PYTHONPATH=. python benchmarks/online.py --customers 1000000 --rounds 1 --backends sqlite

A month of 40 features: 25 numbers, 8 integers, 5 flags, and 2 categories. The bare loops do the least possible: rows as
MessagePack into one table (or hash) with the driver's own bulk command, and one SELECT (or HGET) a customer. They
neither look whether a later month is served, nor whether a customer is there twice, nor give names and a month to what
they read; on Redis they serve what is half loaded. Loads are interleaved; ratios are of medians in one run. Servers are
started for the measurement, on this machine, as the tests do. Peak memory is that of a process of its own, which reads
the month from a Parquet file.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgpack
import numpy as np
import polars as pl
from memory import peak_mib

from churn_assets.months import Month
from churn_assets.spec import OnlineSpec
from churn_assets.store.online import OnlineStore, open_online_store

BACKENDS = ("sqlite", "redis", "postgres")
MONTH = Month(2024, 1)


class Bare(NamedTuple):
    """The least that a driver needs to load a month, and to read a customer of it."""

    load: Callable[[pl.DataFrame], None]
    read: Callable[[str], Any]


def month(customers: int) -> pl.DataFrame:
    random_ = np.random.default_rng(0)
    columns: dict[str, Any] = {"customer_id": [f"C{i:08d}" for i in range(customers)]}
    columns |= {f"number_of_something_{i}": random_.normal(size=customers) * 100 for i in range(25)}
    columns |= {f"count_of_something_{i}": random_.integers(0, 500, customers) for i in range(8)}
    columns |= {f"flag_of_something_{i}": random_.random(customers) < 0.3 for i in range(5)}
    columns |= {f"kind_{i}": random_.choice(["Month-to-month", "One year", "Two year"], customers) for i in range(2)}
    return pl.DataFrame(columns)


def packed(rows: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    pack = msgpack.Packer().pack
    return ((row[0], pack(row[1:])) for row in rows.iter_rows())


def bare_sqlite(file: Path) -> Bare:
    db = sqlite3.connect(file)
    db.execute("create table features (customer text primary key, vector blob) without rowid")

    def load(rows: pl.DataFrame) -> None:
        db.execute("delete from features")
        db.executemany("insert into features values (?, ?)", packed(rows))
        db.commit()

    def read(customer: str) -> Any:
        found = db.execute("select vector from features where customer = ?", (customer,)).fetchone()
        return msgpack.unpackb(found[0])

    return Bare(load, read)


def bare_redis(url: str) -> Bare:
    import redis

    client = redis.Redis.from_url(url)

    def load(rows: pl.DataFrame) -> None:
        client.unlink("bare")
        items: Iterator[Any] = packed(rows)
        with client.pipeline(transaction=False) as commands:
            while part := list(chain.from_iterable(islice(items, 5000))):
                commands.hset("bare", items=part)
                commands.execute()

    def read(customer: str) -> Any:
        return msgpack.unpackb(client.hget("bare", customer))

    return Bare(load, read)


def bare_postgres(url: str) -> Bare:
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("create table bare (customer text primary key, vector bytea)")

    def load(rows: pl.DataFrame) -> None:
        with connection:
            cursor.execute("delete from bare")
            lines = "".join(f"{customer}\t\\\\x{vector.hex()}\n" for customer, vector in packed(rows))
            cursor.copy_expert("copy bare from stdin", BytesIO(lines.encode()))

    def read(customer: str) -> Any:
        cursor.execute("select vector from bare where customer = %s", (customer,))
        return msgpack.unpackb(cursor.fetchone()[0])

    return Bare(load, read)


def seconds(call: Callable[..., object], *arguments: Any) -> float:
    begun = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - begun


def read_times(read: Callable[[str], object], customers: list[str]) -> tuple[float, float]:
    """Median and 99th percentile of single reads, in microseconds."""
    taken = [seconds(read, customer) * 1e6 for customer in customers]
    return median(taken), quantiles(taken, n=100)[98]


def measure(name: str, store: OnlineStore, bare: Bare, rows: pl.DataFrame, rounds: int, reads: int) -> None:
    loads: dict[str, list[float]] = {"ours": [], "bare": []}
    for content in map(str, range(rounds)):
        loads["ours"].append(seconds(store.publish, MONTH, content, rows, "customer_id"))
        loads["bare"].append(seconds(bare.load, rows))
    ours, least = median(loads["ours"]), median(loads["bare"])
    print(f"{name}\n  load    {ours:8.2f} s    bare {least:8.2f} s    ratio {ours / least:.2f}")
    known = rows["customer_id"].to_list()
    some = random.Random(0).choices(known, k=reads)
    (mid, late), (bare_mid, bare_late) = read_times(store.lookup, some), read_times(bare.read, some)
    print(f"  read    {mid:8.1f} us   bare {bare_mid:8.1f} us   ratio {mid / bare_mid:.2f}    (median of {reads:,})")
    print(f"  p99     {late:8.1f} us   bare {bare_late:8.1f} us   ratio {late / bare_late:.2f}")
    many = random.Random(1).sample(known, 1000)
    print(f"  1,000 at once {median(seconds(store.lookup_many, many) for _ in range(5)) * 1000:.1f} ms")


def peak(file: Path, how: str) -> float:
    """Peak memory of reading the month, and of loading it if ``how`` says so, in MiB."""
    asked = [sys.executable, __file__, "--only", how, "--path", str(file)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[-1])


def go_once(how: str, file: Path) -> None:
    rows = pl.read_parquet(file)
    if how == "load":
        store = open_online_store(OnlineSpec(), "churn", file.with_name("peak.sqlite"))
        store.publish(MONTH, "v", rows, "customer_id")
    print(peak_mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reads", type=int, default=10_000)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--only", choices=["read", "load"], help="do this once and print the peak memory")
    parser.add_argument("--path", type=Path)
    asked = parser.parse_args()
    if asked.only:
        go_once(asked.only, asked.path)
        return

    from churn_assets_tests.postgres import running_postgres
    from churn_assets_tests.redis_server import running_redis

    rows = month(asked.customers)
    print(f"{asked.customers:,} customers x {rows.width - 1} features")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for name in asked.backends:
            url: str | None
            if name == "redis":
                url = stack.enter_context(running_redis()).url()
                bare = bare_redis(url)
            elif name == "postgres":
                url = stack.enter_context(running_postgres()).url.render_as_string(hide_password=False)
                bare = bare_postgres(url)
            else:
                url, bare = None, bare_sqlite(folder / "bare.sqlite")
            store = open_online_store(OnlineSpec(url=url), "churn", folder / "churn.sqlite")
            with closing(store):
                measure(name, store, bare, rows, asked.rounds, asked.reads)
        if "sqlite" in asked.backends:
            file = folder / "month.parquet"
            rows.write_parquet(file)
            before, with_load = peak(file, "read"), peak(file, "load")
            print(f"sqlite, peak memory: {with_load:,.0f} MiB; of reading the month alone {before:,.0f} MiB")


if __name__ == "__main__":
    main()
