"""Measures a month's features: ours beside the same features written by hand, in Polars and in DuckDB's SQL.

    python benchmarks/features.py --customers 1000000 --months 12 --rounds 3

Forty features, of every kind but ``columns`` and ``python``, made of months of ``validated_data`` in a lake: each lacks
one customer in twenty, and columns lack values. All read the same Parquet files and hand back one frame,
sorted by customer; the frames are compared, floats to 1e-9. "ours" is what the asset ``features`` does.

By hand the months are joined to the newest one, in each engine the best way of those tried with 1,000,000 customers and
12 months: Polars collects in memory (streaming it needs twice the CPU seconds; a group-by over all months stacked needs
as many, and 1.7 times the memory), and DuckDB joins too (its group-by needs twice the CPU seconds and 10 GB; windows
over the stacked months need as many for five of the features as the joins for all).

Every run is a process of its own that has imported everything before its clock starts; rounds are interleaved, and
ratios are of medians. CPU seconds tell more than seconds where the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
from memory import peak_mib
from polars.testing import assert_frame_equal
from pydantic import TypeAdapter

from churn_assets.engines import PolarsEngine
from churn_assets.features import compute
from churn_assets.months import Month
from churn_assets.spec import FeatureSpec
from churn_assets.store import Commit, Lake

KEY, TABLE, NOW = "customer_id", "validated_data", Month(2024, 12)
CONTRACTS = ["Month-to-month", "One year", "Two year"]
PAYMENTS = ["Bank transfer", "Credit card", "Electronic check", "Mailed check"]
OBSERVED = ("contract", "payment", "paperless", "charge", "data_gb", "minutes", "balance", "calls", "complaints")
TENURES, CHARGES = (6, 12, 24, 48), (60, 90, 120, 150)
CHECK, MONTHLY = PAYMENTS[2], CONTRACTS[0]


def windows(months: int) -> tuple[int, int, int]:
    """How many months the features read: few, half of them, all."""
    return 3, (months + 1) // 2, months


def declared(months: int) -> list[FeatureSpec]:
    few, half, all_ = windows(months)
    of_months = [
        ("lag", "charge", 1, "charge_lag"), ("lag", "data_gb", 1, "data_gb_lag"), ("lag", "calls", 1, "calls_lag"),
        ("lag", "contract", 1, "contract_lag"), ("lag", "minutes", half - 1, "minutes_lag"),
        ("delta", "charge", 1, "charge_delta"), ("delta", "data_gb", few - 1, "data_gb_delta"),
        ("delta", "minutes", 1, "minutes_delta"), ("delta", "calls", half - 1, "calls_delta"),
        ("mean", "charge", few, "charge_mean"), ("mean", "data_gb", half, "data_gb_mean"),
        ("mean", "minutes", all_, "minutes_mean"), ("sum", "calls", few, "calls_sum"),
        ("sum", "complaints", all_, "complaints_sum"), ("sum", "minutes", half, "minutes_sum"),
        ("min", "data_gb", half, "data_gb_min"), ("min", "balance", all_, "balance_min"),
        ("max", "charge", all_, "charge_max"), ("max", "calls", half, "calls_max"),
        ("std", "charge", half, "charge_std"), ("std", "data_gb", all_, "data_gb_std"),
        ("trend", "charge", all_, "charge_trend"), ("trend", "data_gb", half, "data_gb_trend"),
        ("trend", "calls", all_, "calls_trend"), ("count", "paperless", all_, "paperless_months"),
    ]  # fmt: skip
    return TypeAdapter(list[FeatureSpec]).validate_python([
        *({"kind": kind, "column": column, "months": n, "name": name} for kind, column, n, name in of_months),
        {"kind": "count", "column": "complaints", "above": 0, "months": half, "name": "complaints_months"},
        {"kind": "share", "column": "calls", "above": 5, "months": all_, "name": "calls_often"},
        {"kind": "share", "column": "payment", "equals": CHECK, "months": half, "name": "checks_share"},
        {"kind": "months_since", "column": "complaints", "above": 0, "months": all_, "name": "since_complaint"},
        {"kind": "months_since", "column": "contract", "equals": MONTHLY, "months": all_, "name": "since_monthly"},
        {"kind": "ratio", "numerator": "data_gb", "denominator": "data_gb_mean", "name": "data_gb_relative"},
        {"kind": "ratio", "numerator": "charge", "denominator": "charge_max", "name": "charge_relative"},
        {"kind": "ratio", "numerator": "calls", "denominator": "minutes", "name": "calls_per_minute"},
        {"kind": "bucket", "column": "tenure", "edges": TENURES, "name": "tenure_bucket"},
        # Of no mean: the order of adding decides its last digit, and so its ties and on which side of an edge it falls.
        {"kind": "bucket", "column": "charge_max", "edges": CHARGES, "name": "charge_bucket"},
        {"kind": "interaction", "columns": ["contract", "payment"], "name": "contract_payment"},
        {"kind": "interaction", "columns": ["contract", "tenure_bucket"], "name": "contract_tenure"},
        {"kind": "interaction", "columns": ["tenure", "charge"], "name": "tenure_charge"},
        {"kind": "rank", "column": "charge_max", "name": "charge_rank"},
        {"kind": "rank", "column": "data_gb", "by": "contract", "name": "data_gb_rank"},
    ])  # fmt: skip


def table(customers: int, random: np.random.Generator) -> pl.DataFrame:
    """A month of customers, sorted, as validation leaves it."""

    def some(values: Sequence[float] | np.ndarray | pl.Series, share: float = 0.97) -> pl.Expr:
        return pl.when(pl.Series(random.random(customers) < share)).then(pl.Series(values))

    def chosen(texts: Sequence[str]) -> pl.Series:
        return pl.Series(texts).gather(random.integers(0, len(texts), customers))

    def amounts(mean: float) -> np.ndarray:
        return np.round(random.gamma(4.0, mean / 4, customers), 2)

    return pl.select(
        pl.Series(KEY, [f"C{i:08d}" for i in range(customers)]),
        contract=some(chosen(CONTRACTS), 0.99), payment=some(chosen(PAYMENTS), 0.99),
        paperless=pl.Series(random.random(customers) < 0.6), charge=some(amounts(60)), data_gb=some(amounts(20)),
        minutes=some(amounts(300)), balance=some(amounts(40)), calls=some(random.poisson(3.0, customers)),
        complaints=pl.Series(random.poisson(0.1, customers)), tenure=pl.Series(random.integers(0, 72, customers)),
        churned=pl.Series(random.random(customers) < 0.02),
    ).filter(pl.Series(random.random(customers) < 0.95))  # fmt: skip


def fill(folder: Path, customers: int, months: int) -> None:
    random = np.random.default_rng(0)
    for lag in range(months):
        Lake(folder).write(TABLE, NOW - lag, table(customers, random), Commit(""))


def files(folder: Path, months: int) -> list[Path]:
    """The file of each month, the newest first."""
    lake = Lake(folder)
    return [path for lag in range(months) if (record := lake.record(TABLE, NOW - lag)) for path in lake.files(record)]


def ours(folder: Path, months: int) -> pl.LazyFrame:
    lake, engine = Lake(folder), PolarsEngine()
    frames = {lag: engine.scan(lake, record) for lag in range(months) if (record := lake.record(TABLE, NOW - lag))}
    made: pl.LazyFrame = compute(frames, KEY, declared(months), keep=~nw.col("churned"))
    return made


def by_ours(folder: Path, months: int) -> pl.DataFrame:
    return pl.concat(PolarsEngine().pieces(ours(folder, months)))


def by_polars(folder: Path, months: int) -> pl.DataFrame:
    few, half, all_ = windows(months)
    paths = files(folder, months)
    rows = pl.scan_parquet(paths[0], hive_partitioning=False).filter(~pl.col("churned"))
    rows = rows.select(KEY, "tenure", *OBSERVED, *(pl.col(c).alias(f"{c}_0") for c in OBSERVED), there_0=True)
    for lag, path in enumerate(paths[1:], 1):
        names = {c: f"{c}_{lag}" for c in OBSERVED}
        earlier = pl.scan_parquet(path, hive_partitioning=False).select(KEY, *names).rename(names)
        rows = rows.join(earlier.with_columns(pl.lit(True).alias(f"there_{lag}")), on=KEY, how="left")

    def past(name: str, n: int) -> list[pl.Expr]:
        return [pl.col(f"{name}_{lag}") for lag in range(n)]

    def count(values: list[pl.Expr]) -> pl.Expr:
        return pl.sum_horizontal(v.is_not_null() for v in values).cast(pl.Int64)

    def total(values: list[pl.Expr]) -> pl.Expr:
        return pl.when(pl.any_horizontal(v.is_not_null() for v in values)).then(pl.sum_horizontal(values))

    def std(values: list[pl.Expr]) -> pl.Expr:
        mean = pl.mean_horizontal(values)
        squares = pl.sum_horizontal((v - mean) ** 2 for v in values)
        return pl.when(count(values) > 1).then((squares / (count(values) - 1)).sqrt())

    def trend(values: list[pl.Expr]) -> pl.Expr:
        n, y = count(values), pl.sum_horizontal(values)
        x = pl.sum_horizontal(v.is_not_null() * -lag for lag, v in enumerate(values))
        xx = pl.sum_horizontal(v.is_not_null() * lag**2 for lag, v in enumerate(values))
        xy = pl.sum_horizontal(v * -lag for lag, v in enumerate(values))
        return pl.when(n > 1).then((n * xy - x * y) / (n * xx - x * x))

    def since(holds: list[pl.Expr]) -> pl.Expr:
        return pl.coalesce(pl.when(held).then(pl.lit(lag, pl.Int64)) for lag, held in enumerate(holds))

    def over(above: str, below: str) -> pl.Expr:
        return pl.when(pl.col(below) != 0).then(pl.col(above) / pl.col(below))

    def bucket(name: str, edges: Sequence[int]) -> pl.Expr:
        value, limits = pl.col(name), [(high, f"{low}-{high}") for low, high in pairwise(edges)]
        below = [pl.when(value < high).then(pl.lit(text)) for high, text in [(edges[0], f"<{edges[0]}"), *limits]]
        return pl.coalesce(*below, pl.when(value >= edges[-1]).then(pl.lit(f">={edges[-1]}")))

    def rank(name: str) -> pl.Expr:
        return pl.col(name).rank("average") / pl.col(name).count()

    rows = rows.with_columns(
        data_gb_mean=pl.mean_horizontal(past("data_gb", half)), charge_max=pl.max_horizontal(past("charge", all_)),
        tenure_bucket=bucket("tenure", TENURES),
    )  # fmt: skip
    made = rows.select(
        KEY, charge_lag="charge_1", data_gb_lag="data_gb_1", calls_lag="calls_1", contract_lag="contract_1",
        minutes_lag=f"minutes_{half - 1}", charge_delta=pl.col("charge") - pl.col("charge_1"),
        data_gb_delta=pl.col("data_gb") - pl.col(f"data_gb_{few - 1}"),
        minutes_delta=pl.col("minutes") - pl.col("minutes_1"),
        calls_delta=(pl.col("calls") - pl.col(f"calls_{half - 1}")).cast(pl.Float64),
        charge_mean=pl.mean_horizontal(past("charge", few)), data_gb_mean="data_gb_mean",
        minutes_mean=pl.mean_horizontal(past("minutes", all_)),
        calls_sum=total(past("calls", few)).cast(pl.Float64),
        complaints_sum=total(past("complaints", all_)).cast(pl.Float64), minutes_sum=total(past("minutes", half)),
        data_gb_min=pl.min_horizontal(past("data_gb", half)), balance_min=pl.min_horizontal(past("balance", all_)),
        charge_max="charge_max", calls_max=pl.max_horizontal(past("calls", half)).cast(pl.Float64),
        charge_std=std(past("charge", half)), data_gb_std=std(past("data_gb", all_)),
        charge_trend=trend(past("charge", all_)), data_gb_trend=trend(past("data_gb", half)),
        calls_trend=trend(past("calls", all_)), paperless_months=total(past("paperless", all_)).cast(pl.Int64),
        complaints_months=total([v > 0 for v in past("complaints", half)]).cast(pl.Int64),
        calls_often=pl.mean_horizontal(v > 5 for v in past("calls", all_)),
        checks_share=pl.mean_horizontal(v == CHECK for v in past("payment", half)),
        since_complaint=since([v > 0 for v in past("complaints", all_)]),
        since_monthly=since([v == MONTHLY for v in past("contract", all_)]),
        data_gb_relative=over("data_gb", "data_gb_mean"), charge_relative=over("charge", "charge_max"),
        calls_per_minute=over("calls", "minutes"), tenure_bucket="tenure_bucket",
        charge_bucket=bucket("charge_max", CHARGES),
        contract_payment=pl.concat_str("contract", "payment", separator=" & "),
        contract_tenure=pl.concat_str("contract", "tenure_bucket", separator=" & "),
        tenure_charge=pl.col("tenure") * pl.col("charge"), charge_rank=rank("charge_max"),
        data_gb_rank=pl.when(pl.col("contract").is_not_null()).then(rank("data_gb").over("contract")),
        months_observed=count(past("there", all_)),
    )  # fmt: skip
    return made.sort(KEY).collect(engine="in-memory")


def by_duckdb(folder: Path, months: int) -> pl.DataFrame:
    few, half, all_ = windows(months)
    scans = [f"read_parquet('{path}', hive_partitioning = false)" for path in files(folder, months)]
    joins = " ".join(f"left join {scan} m{i} on m0.{KEY} = m{i}.{KEY}" for i, scan in enumerate(scans) if i)

    def past(name: str, n: int) -> list[str]:
        return [f"m{lag}.{name}" for lag in range(n)]

    def summed(values: Sequence[str]) -> str:
        return f"({' + '.join(f'coalesce({v}, 0)' for v in values)})"

    def count(values: Sequence[str]) -> str:
        return summed([f"({v} is not null)::bigint" for v in values])

    def total(values: Sequence[str]) -> str:
        return f"case when coalesce({', '.join(values)}) is not null then {summed(values)} end"

    def mean(values: Sequence[str]) -> str:
        return f"{summed(values)} / nullif({count(values)}, 0)"

    def held(values: Sequence[str], condition: str = "") -> list[str]:
        return [f"({v} {condition})::bigint" for v in values]

    def std(values: Sequence[str], average: str) -> str:
        squares = summed([f"({v} - {average}) * ({v} - {average})" for v in values])
        return f"case when {count(values)} > 1 then sqrt({squares} / ({count(values)} - 1)) end"

    def trend(values: Sequence[str]) -> str:
        n, y = count(values), summed(values)
        x = summed([f"-{lag} * ({v} is not null)::bigint" for lag, v in enumerate(values)])
        xx = summed([f"{lag**2} * ({v} is not null)::bigint" for lag, v in enumerate(values)])
        xy = summed([f"-{lag} * {v}" for lag, v in enumerate(values)])
        return f"case when {n} > 1 then ({n} * {xy} - {x} * {y}) / ({n} * {xx} - {x} * {x}) end"

    def since(values: Sequence[str], condition: str) -> str:
        return f"case {' '.join(f'when {v} {condition} then {lag}::bigint' for lag, v in enumerate(values))} end"

    def bucket(name: str, edges: Sequence[int]) -> str:
        between = " ".join(f"when {name} < {b} then '{a}-{b}'" for a, b in pairwise(edges))
        first, last = f"when {name} < {edges[0]} then '<{edges[0]}'", f"when {name} >= {edges[-1]} then '>={edges[-1]}'"
        return f"case {first} {between} {last} end"

    # Half of the first and the last rank among equal values is the mean of their ranks; one window gives both.
    def rank(name: str, window: str, alike: str = "") -> str:
        ranks = f"(rank() over {window} + cume_dist() over {window} * count(*) over ({alike})) / 2"
        return f"case when {name} is not null then {ranks} / count({name}) over ({alike}) end"

    past_of = f"""
        select m0.{KEY}, m0.contract, m0.payment, m0.charge, m0.data_gb, m0.minutes, m0.calls, m0.tenure,
            m1.charge as charge_lag, m1.data_gb as data_gb_lag, m1.calls as calls_lag, m1.contract as contract_lag,
            m{half - 1}.minutes as minutes_lag, m0.charge - m1.charge as charge_delta,
            m0.data_gb - m{few - 1}.data_gb as data_gb_delta, m0.minutes - m1.minutes as minutes_delta,
            (m0.calls - m{half - 1}.calls)::double as calls_delta, {mean(past("charge", few))} as charge_mean,
            {mean(past("data_gb", half))} as data_gb_mean, {mean(past("minutes", all_))} as minutes_mean,
            ({total(past("calls", few))})::double as calls_sum,
            ({total(past("complaints", all_))})::double as complaints_sum,
            {total(past("minutes", half))} as minutes_sum, least({", ".join(past("data_gb", half))}) as data_gb_min,
            least({", ".join(past("balance", all_))}) as balance_min,
            greatest({", ".join(past("charge", all_))}) as charge_max,
            greatest({", ".join(past("calls", half))})::double as calls_max,
            {mean(past("charge", half))} as charge_half, {std(past("charge", half), "charge_half")} as charge_std,
            {mean(past("data_gb", all_))} as data_gb_all, {std(past("data_gb", all_), "data_gb_all")} as data_gb_std,
            {trend(past("charge", all_))} as charge_trend, {trend(past("data_gb", half))} as data_gb_trend,
            {trend(past("calls", all_))} as calls_trend, {total(held(past("paperless", all_)))} as paperless_months,
            {total(held(past("complaints", half), "> 0"))} as complaints_months,
            {mean(held(past("calls", all_), "> 5"))} as calls_often,
            {mean(held(past("payment", half), f"= '{CHECK}'"))} as checks_share,
            {since(past("complaints", all_), "> 0")} as since_complaint,
            {since(past("contract", all_), f"= '{MONTHLY}'")} as since_monthly,
            {bucket("m0.tenure", TENURES)} as tenure_bucket, {count(past(KEY, all_))} as months_observed
        from {scans[0]} m0 {joins} where not m0.churned
    """
    query = f"""
        select * exclude (contract, payment, charge, data_gb, minutes, calls, tenure, charge_half, data_gb_all),
            data_gb / nullif(data_gb_mean, 0) as data_gb_relative, charge / nullif(charge_max, 0) as charge_relative,
            calls / nullif(minutes, 0) as calls_per_minute, {bucket("charge_max", CHARGES)} as charge_bucket,
            contract || ' & ' || payment as contract_payment, contract || ' & ' || tenure_bucket as contract_tenure,
            tenure * charge as tenure_charge, {rank("charge_max", "everybody")} as charge_rank,
            case when contract is not null then {rank("data_gb", "alike", "partition by contract")} end as data_gb_rank
        from ({past_of})
        window everybody as (order by charge_max nulls last),
            alike as (partition by contract order by data_gb nulls last)
        order by {KEY}
    """
    with duckdb.connect() as db:
        made: pl.DataFrame = db.sql(query).pl()
    return made


WAYS: dict[str, Callable[[Path, int], pl.DataFrame]] = {
    "ours": by_ours,
    "Polars by hand": by_polars,
    "DuckDB by hand": by_duckdb,
}


def go_once(way: str, folder: Path, months: int) -> None:
    """Prints what one way takes; the first time, its frame is left in the folder."""
    began, used = time.perf_counter(), time.process_time()
    made = WAYS[way](folder, months)
    taken = {"s": time.perf_counter() - began, "cpu": time.process_time() - used}
    print(json.dumps(taken | {"mib": peak_mib()}))
    if not (kept := folder / f"{way}.parquet").exists():
        made.write_parquet(kept, compression="uncompressed")


def measure(folder: Path, months: int, rounds: int) -> dict[str, dict[str, float]]:
    """The medians of what each way takes."""
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, runs in taken.items():
            asked = [sys.executable, __file__, "--only", way, "--folder", str(folder), "--months", str(months)]
            runs.append(json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout))
    return {way: {name: median(run[name] for run in runs) for name in runs[0]} for way, runs in taken.items()}


def compare(folder: Path) -> None:
    """Fails unless all ways have made the same, rows in the same order."""
    wanted = pl.read_parquet(folder / "ours.parquet")
    for way in WAYS:
        found = pl.read_parquet(folder / f"{way}.parquet")
        try:
            assert_frame_equal(found, wanted, check_column_order=False, rel_tol=1e-9, abs_tol=1e-9)
        except AssertionError as error:
            raise AssertionError(f"{way}: expected what ours makes, found another frame. {error}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=12, help="how many the features read; at least 3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WAYS, help="do this once and print what it takes")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.months < 3:
        parser.error(f"--months: expected at least 3, found {asked.months}.")

    if asked.only:
        go_once(asked.only, asked.folder, asked.months)
        return
    print(f"{asked.customers:,} customers x {asked.months} months x {len(declared(asked.months))} features")
    with TemporaryDirectory() as folder:
        fill(Path(folder), asked.customers, asked.months)
        taken = measure(Path(folder), asked.months, asked.rounds)
        compare(Path(folder))
    own = taken["ours"]
    for way, took in taken.items():
        print(
            f"  {way:<16}{took['s']:7.2f} s{took['cpu']:7.2f} s CPU{took['mib']:7,.0f} MiB at its peak   "
            f"ours takes {own['s'] / took['s']:.2f}x of its seconds, {own['cpu'] / took['cpu']:.2f}x of its CPU"
        )


if __name__ == "__main__":
    main()
