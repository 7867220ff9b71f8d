"""Measures the as-of join of the offline store: ours beside a bare as-of join by DuckDB and by Polars.

    python benchmarks/as_of.py --rows 1000000 --customers 200000 --rounds 5

Twelve months of 40 features in a lake (34 numbers, 4 whole numbers, 2 texts), each with four customers in five present;
rows that ask for customers and moments at random over the year. The bare ones read the same Parquet files, know when a
month's features may be used from their column available_at, and neither keep the order of the rows (DuckDB) nor look
whether a month is missing, has other types or lacks a feature. All of them hand back a frame in memory. Rounds are
interleaved; ratios are of medians in one run. Peak memory is that of a process of its own that reads the rows from a
Parquet file, goes one way with them, and does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from memory import peak_mib

from churn_assets.months import Calendar, Month
from churn_assets.store import Commit, Lake
from churn_assets.store.offline import AVAILABLE_AT, OfflineStore

MONTHS = 12
CALENDAR = Calendar(Month(2024, 1))
FEATURES = tuple(f"feature_{i}" for i in range(40))


def store(folder: Path) -> OfflineStore:
    return OfflineStore(Lake(folder), CALENDAR, "customer_id", dict.fromkeys(FEATURES, pl.Null()))


def make(folder: Path, rows: int, customers: int) -> None:
    """Fills a lake, and a file of rows that ask for its features."""
    random = np.random.default_rng(0)
    known = pl.Series([f"C{i:08d}" for i in range(customers)])
    for month in (CALENDAR.start + i for i in range(MONTHS)):
        present = np.flatnonzero(random.random(customers) < 0.8)
        columns: dict[str, object] = {"customer_id": known.gather(present)}
        columns |= {name: random.random(len(present)) for name in FEATURES[:34]}
        columns |= {name: random.integers(0, 500, len(present)) for name in FEATURES[34:38]}
        columns |= {name: random.choice(["DSL", "Fiber optic", "No"], len(present)) for name in FEATURES[38:]}
        available = pl.lit(CALENDAR.available_from(month)).alias(AVAILABLE_AT)
        store(folder).lake.write("features", month, pl.DataFrame(columns).with_columns(available), Commit(""))
    begin, end = datetime(2024, 1, 20, tzinfo=UTC), datetime(2025, 1, 20, tzinfo=UTC)
    seconds = random.integers(int(begin.timestamp()), int(end.timestamp()), rows)
    asked = {"customer_id": known.gather(random.integers(0, customers, rows)), "label": random.random(rows) < 0.1}
    moments = pl.from_epoch(pl.Series("timestamp", seconds)).dt.replace_time_zone("UTC")
    pl.DataFrame(asked).with_columns(moments).write_parquet(folder / "rows.parquet")


def files(folder: Path) -> list[str]:
    records = store(folder).lake.records(store(folder).window("benchmark"))
    return [str(folder / record.table / name) for record in records for name in record.files]


def by_ours(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    return store(folder).get_training_frame(rows)


def by_duckdb(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    import duckdb

    with duckdb.connect() as db:
        db.register("asked", rows)
        found: pl.DataFrame = db.sql(
            "select asked.*, known.* exclude (customer_id, available_at) from asked asof left join "
            "read_parquet(?, hive_partitioning = false) known on asked.customer_id = known.customer_id "
            "and asked.timestamp >= known.available_at",
            params=[files(folder)],
        ).pl()
    return found


def by_polars(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    known = pl.scan_parquet(files(folder), hive_partitioning=False, glob=False).sort(AVAILABLE_AT)
    moments = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    asked = rows.lazy().with_columns(moments).with_row_index("row").sort("timestamp")
    joined = asked.join_asof(
        known, left_on="timestamp", right_on=AVAILABLE_AT, by="customer_id", check_sortedness=False
    )
    return joined.sort("row").drop("row").collect()


WAYS: dict[str, Callable[[Path, pl.DataFrame], pl.DataFrame]] = {
    "ours": by_ours,
    "bare DuckDB": by_duckdb,
    "bare Polars": by_polars,
}


def measure(folder: Path, rounds: int) -> None:
    """Prints the median seconds of each way, and ours as a multiple of them."""
    rows = pl.read_parquet(folder / "rows.parquet")
    keys = ["customer_id", "timestamp", "label"]
    answers = [way(folder, rows).sort(keys).select(FEATURES) for way in WAYS.values()]
    assert all(answer.equals(answers[0]) for answer in answers[1:]), "they differ"
    print(f"  {answers[0]['feature_0'].null_count():,} rows find nothing")
    del answers
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            began = time.perf_counter()
            way(folder, rows)
            seconds[name].append(time.perf_counter() - began)
    ours = median(seconds["ours"])
    for name, taken in seconds.items():
        print(f"  {name:<18}{median(taken):7.2f} s   ours takes {ours / median(taken):5.2f}x of it")


def peak(way: str, folder: Path) -> float:
    """Peak memory of reading the rows and going one way with them, in MiB."""
    asked = [sys.executable, __file__, "--only", way, "--folder", str(folder)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[-1])


def go_once(way: str, folder: Path) -> None:
    rows = pl.read_parquet(folder / "rows.parquet")
    if way in WAYS:
        WAYS[way](folder, rows)
    print(peak_mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["reading alone", *WAYS], help="do this once and print the peak memory")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()

    if asked.only:
        go_once(asked.only, asked.folder)
        return
    print(f"{asked.rows:,} rows x {MONTHS} months of {asked.customers * 4 // 5:,} customers x {len(FEATURES)} features")
    with TemporaryDirectory() as folder:
        make(Path(folder), asked.rows, asked.customers)
        measure(Path(folder), asked.rounds)
        for way in ("reading alone", *WAYS):
            print(f"  {way:<18}{peak(way, Path(folder)):7,.0f} MiB at its peak")


if __name__ == "__main__":
    main()
