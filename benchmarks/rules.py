"""Measures the validation of a month: ours beside the same predicates in bare Polars and bare DuckDB.

    python benchmarks/rules.py --rows 1000000 --rounds 5

A table of 20 columns and 25 rules (and that numbers are finite), once as text, as a CSV file gives it, and once typed,
as Parquet gives it; clean but for one row in a thousand. The bare ones cast the columns and evaluate the same
predicates; they neither trim, tell which row broke what, nor look for keys that stand twice. Rounds are interleaved;
ratios are of medians in one run. Peak memory is that of a process of its own that reads the table from a Parquet file,
at once or in pieces, and does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from memory import peak_mib
from pyarrow.parquet import ParquetFile

from churn_assets.quality import validate
from churn_assets.spec import SchemaSpec

CATEGORIES = {
    "contract": ["Month-to-month", "One year", "Two year"],
    "internet": ["DSL", "Fiber optic", "No"],
    "payment": ["Bank transfer", "Credit card", "Electronic check", "Mailed check"],
    "region": ["north", "east", "south", "west"],
    "channel": ["shop", "web", "phone"],
}
FLAGS = ("churned", "paperless", "partner", "streaming")
INTEGERS = {"tenure": 120, "age": 110, "calls": 500, "complaints": 60}
NUMBERS = {"charge": 500.0, "total": 60000.0, "data_gb": 900.0, "minutes": 20000.0}
PIECE = 131_072
START = np.datetime64("2015-01-01")


def table(rows: int) -> pl.DataFrame:
    """A month in its types, of which one row in a thousand breaks a rule."""
    random = np.random.default_rng(0)
    columns: dict[str, object] = {"customer_id": [f"C{i:08d}" for i in random.permutation(rows)]}
    columns |= {name: random.choice(values, rows) for name, values in CATEGORIES.items()}
    columns |= {name: random.random(rows) < 0.3 for name in FLAGS}
    columns |= {name: random.integers(0, top, rows) for name, top in INTEGERS.items()}
    columns |= {name: np.round(random.random(rows) * top, 2) for name, top in NUMBERS.items()}
    columns |= {name: START + random.integers(0, 3300, rows) for name in ("signup", "billed")}
    frame = pl.DataFrame(columns)
    odd = pl.Series(random.random(rows) < 0.001)
    return frame.with_columns(age=pl.when(odd).then(pl.lit(-1)).otherwise("age"))


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same as a CSV file gives it."""
    return frame.select(pl.all().cast(pl.String))


def schema() -> SchemaSpec:
    columns: list[Any] = [
        *({"name": n, "type": "category", "allowed": v} for n, v in CATEGORIES.items()),
        *({"name": n, "type": "boolean"} for n in FLAGS),
        *({"name": n, "type": "integer", "min": 0, "max": top} for n, top in INTEGERS.items()),
        *({"name": n, "type": "number", "min": 0, "max": top} for n, top in NUMBERS.items()),
        {"name": "signup", "type": "date"}, {"name": "billed", "type": "date"},
    ]  # fmt: skip
    rules = [
        {"id": "no_calls", "expression": "calls >= 0 OR complaints = 0"},
        {"id": "begun", "expression": "signup < DATE '2030-01-01'"},
        {"id": "grown_up", "expression": "age * 12 >= 0 OR tenure = 0"},
        {"id": "charged", "expression": "total >= 0 AND charge >= 0"},
    ]  # fmt: skip
    return SchemaSpec.model_validate({"key": "customer_id", "columns": columns, "rules": rules})


def by_ours(frame: pl.DataFrame) -> int:
    return len(validate(frame, schema()).valid)


def by_ours_in_pieces(frame: pl.DataFrame) -> int:
    return len(validate(frame.iter_slices(PIECE), schema()).valid)


def by_polars(frame: pl.DataFrame) -> int:
    """The casts and predicates alone, lazily, sorted by customer as ours are."""
    dtypes: dict[str, type[pl.DataType]] = {
        **dict.fromkeys(INTEGERS, pl.Int64),
        **dict.fromkeys(NUMBERS, pl.Float64),
    }
    casts = [pl.col(n).cast(t, strict=False) for n, t in dtypes.items()]
    if frame.schema["churned"] == pl.String:
        casts += [pl.col(n).str.to_date("%Y-%m-%d", strict=False) for n in ("signup", "billed")]
        casts += [pl.col(n).replace_strict({"true": True, "false": False}, default=None) for n in FLAGS]
    kept = [
        *(pl.col(n).is_in(v) for n, v in CATEGORIES.items()),
        *(pl.col(n).is_between(0, top) for n, top in (INTEGERS | NUMBERS).items()),
        *(pl.col(n).is_finite() for n in NUMBERS),
        pl.sql_expr("calls >= 0 OR complaints = 0"),
        pl.sql_expr("signup < DATE '2030-01-01'"),
        pl.sql_expr("age * 12 >= 0 OR tenure = 0"),
        pl.sql_expr("total >= 0 AND charge >= 0"),
    ]
    return len(frame.lazy().with_columns(casts).filter(pl.all_horizontal(kept)).sort("customer_id").collect())


def by_duckdb(frame: pl.DataFrame) -> int:
    """The same as one query."""
    import duckdb

    types = {
        **dict.fromkeys(INTEGERS, "BIGINT"), **dict.fromkeys(NUMBERS, "DOUBLE"), **dict.fromkeys(FLAGS, "BOOLEAN"),
        "signup": "DATE", "billed": "DATE",
    }  # fmt: skip
    casts = ", ".join(f"try_cast({n} as {t}) as {n}" for n, t in types.items())
    kept = [
        *(f"{n} in ({', '.join(map(repr, v))})" for n, v in CATEGORIES.items()),
        *(f"{n} between 0 and {top}" for n, top in (INTEGERS | NUMBERS).items()),
        *(f"isfinite({n})" for n in NUMBERS),
        "(calls >= 0 or complaints = 0)", "signup < date '2030-01-01'", "(age * 12 >= 0 or tenure = 0)",
        "total >= 0 and charge >= 0",
    ]  # fmt: skip
    query = f"""
        select * from (select customer_id, {", ".join(CATEGORIES)}, {casts} from frame)
        where {" and ".join(kept)} order by customer_id
    """
    connection = duckdb.connect()
    connection.register("frame", frame)
    return len(connection.sql(query).pl())


WAYS: dict[str, Callable[[pl.DataFrame], int]] = {
    "ours": by_ours,
    "ours, in pieces": by_ours_in_pieces,
    "bare Polars": by_polars,
    "bare DuckDB": by_duckdb,
}


def measure(frame: pl.DataFrame, rounds: int) -> None:
    """Prints the median seconds of each way, and ours as a multiple of them."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    counts = {name: way(frame) for name, way in WAYS.items()}
    assert len(set(counts.values())) == 1, counts
    for _ in range(rounds):
        for name, way in WAYS.items():
            began = time.perf_counter()
            way(frame)
            seconds[name].append(time.perf_counter() - began)
    ours = median(seconds["ours"])
    for name, taken in seconds.items():
        print(f"  {name:<18}{median(taken):7.2f} s   ours takes {ours / median(taken):5.2f}x of it")


def peak(way: str, path: Path) -> float:
    """Peak memory of reading the table and going one way with it, in MiB."""
    asked = [sys.executable, __file__, "--only", way, "--path", str(path)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[-1])


def go_once(way: str, path: Path) -> None:
    if way == "ours, in pieces":
        batches = ParquetFile(path).iter_batches(PIECE)
        validate((pl.DataFrame(pl.from_arrow(batch)) for batch in batches), schema())
    else:
        WAYS.get(way, len)(pl.read_parquet(path))
    print(peak_mib())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["reading alone", *WAYS], help="do this once and print the peak memory")
    parser.add_argument("--path", type=Path)
    asked = parser.parse_args()

    if asked.only:
        go_once(asked.only, asked.path)
        return
    print(f"{asked.rows:,} rows x 20 columns, 25 rules")
    for kind in ("text", "typed"):
        print(f" {kind}")
        frame = table(asked.rows)
        frame = as_text(frame) if kind == "text" else frame
        measure(frame, asked.rounds)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "table.parquet"
            frame.write_parquet(path, row_group_size=PIECE)
            del frame
            for way in ("reading alone", *WAYS):
                print(f"  {way:<18}{peak(way, path):7,.0f} MiB at its peak")


if __name__ == "__main__":
    main()
