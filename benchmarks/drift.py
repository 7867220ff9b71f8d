"""Measures a month's drift: ours beside the same tests as one writes them with pandas and scipy.

    python benchmarks/drift.py --rows 1000000 --months 24 --rounds 3

40 features: 30 numbers of several shapes, five of them with missing values, six categories and four booleans; and a
score. Every month is compared with the champion's training (a reference made of one month) and with the month before.
The naive way does that with ``scipy.stats.ks_2samp``, ``pandas.qcut``, ``crosstab`` and ``chi2_contingency``, and keeps
the whole training.

Peak memory is that of a process of its own that reads the months from Parquet files, two at a time, and does nothing
else; reading alone stands beside it. CPU seconds tell more than seconds where the machine is shared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from memory import peak_mib

from churn_assets.learning.reference import Reference, full_reference
from churn_assets.monitoring.drift import MONTH_BEFORE, SCORE, TRAINING, measure
from churn_assets.spec.monitoring import DriftSpec

NUMBERS, CATEGORIES, FLAGS = 30, 6, 4
WAYS = ("ours", "naive")

Taken = list[tuple[float, float]]


def month(rows: int, number: int) -> pl.DataFrame:
    """A month's features and scores, of one distribution throughout."""
    random = np.random.default_rng(number)
    columns: dict[str, object] = {}
    for i in range(NUMBERS):
        values = random.normal(size=rows)
        if i % 3 == 1:
            values = np.exp(values)
        elif i % 3 == 2:
            values = random.poisson(0.7, rows).astype(float)
        if i % 6 == 0:
            values[random.random(rows) < 0.1] = np.nan
        columns[f"n{i}"] = values
    for i in range(CATEGORIES):
        columns[f"c{i}"] = pl.Series([f"level {k}" for k in range(8)]).gather(random.integers(0, 8, rows))
    columns |= {f"b{i}": random.random(rows) < 0.3 for i in range(FLAGS)}
    return pl.DataFrame({**columns, SCORE: random.beta(1, 30, rows)}).with_columns(pl.col(pl.Float64).fill_nan(None))


def naive(now: pd.DataFrame, then: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """The p-value, the effect and the stability index of each column, against one other sample."""
    from scipy.stats import chi2_contingency, ks_2samp

    found: dict[str, tuple[float, float, float]] = {}
    shares: list[Any]
    for name in now.columns:
        if now[name].dtype == float:
            test = ks_2samp(now[name].dropna(), then[name].dropna(), method="asymp")
            _, edges = pd.qcut(then[name], 10, retbins=True, duplicates="drop")
            edges[0], edges[-1] = -np.inf, np.inf
            shares = [pd.cut(f[name], list(edges)).value_counts(normalize=True, sort=False) for f in (then, now)]
            p, effect = test.pvalue, test.statistic
        else:
            both = pd.concat([then[name], now[name]], keys=["then", "now"]).reset_index(level=0)
            table = pd.crosstab(both["level_0"], both[name])
            p = chi2_contingency(table, correction=False).pvalue
            shares = [table.loc[s] / table.loc[s].sum() for s in ("then", "now")]
            effect = np.sqrt(((shares[0] - shares[1]) ** 2 / (shares[0] + shares[1])).sum() / 2)
        there, here = (s.to_numpy().clip(1e-4) for s in shares)
        found[name] = float(p), float(effect), float(((here - there) * np.log(here / there)).sum())
    return found


def go(way: str, folder: Path, months: int) -> tuple[Taken, dict[tuple[str, str], float]]:
    """The seconds and CPU seconds of every month, the reading left out, and the effects that the last one found."""
    training = pl.read_parquet(folder / "0.parquet")
    reference: Reference = full_reference(training, training.columns, None) if way == "ours" else {}
    taught, before = training.to_pandas() if way == "naive" else pd.DataFrame(), training
    del training
    taken: Taken = []
    effects = {}
    for number in range(1, months + 1):
        now = pl.read_parquet(folder / f"{number}.parquet")
        if way == "reading":
            before = now
            continue
        began = time.perf_counter(), time.process_time()
        if way == "ours":
            table = measure(now, reference, before, DriftSpec()).table
            effects = {(s, a): e for s, a, e in table.select("subject", "against", "effect").iter_rows()}
        else:
            here, there = now.to_pandas(), before.to_pandas()
            effects = {
                **{(name, TRAINING): e for name, (_, e, _) in naive(here, taught).items()},
                **{(name, MONTH_BEFORE): e for name, (_, e, _) in naive(here, there).items()},
            }
        taken.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        before = now
    return taken, effects


def peak(way: str, folder: Path, months: int) -> float:
    asked = [sys.executable, __file__, "--only", way, "--folder", str(folder), "--months", str(months)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3, help="months that the naive way is measured on")
    parser.add_argument("--only", choices=["reading", *WAYS], help="do this once and print the peak memory")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()

    if asked.only:
        go(asked.only, asked.folder, asked.months)
        print(peak_mib())
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(min(asked.months, 3) + 1):
            month(asked.rows, number).write_parquet(folder / f"{number}.parquet")
        for number in range(4, asked.months + 1):  # a month more is as good as another, and takes no time to make
            (folder / f"{number}.parquet").symlink_to(folder / f"{number % 4}.parquet")
        print(f"{asked.rows:,} rows x {NUMBERS + CATEGORIES + FLAGS} features and the score")
        began = time.perf_counter()
        training = pl.read_parquet(folder / "0.parquet")
        full_reference(training, training.columns, None)
        print(f"  reading and the reference {time.perf_counter() - began:6.1f} s")
        del training
        ours, found = go("ours", folder, asked.months)
        bare, expected = go("naive", folder, asked.rounds)
        for way, taken in zip(WAYS, (ours, bare), strict=True):
            wall, cpu = (list(part) for part in zip(*taken, strict=True))
            whole = f", {sum(wall):.0f} s and {sum(cpu):.0f} s of CPU for {len(taken)} months"
            print(f"  {way:<8}{median(wall):6.2f} s and {median(cpu):6.2f} s of CPU a month{whole}")
        _, found = go("ours", folder, asked.rounds)
        apart = max(abs(expected[key] - effect) for key, effect in found.items())
        print(f"  effects differ by {apart:.4f} at the most")
        for way in ("reading", *WAYS):
            print(f"  {way:<8}{peak(way, folder, asked.rounds):7,.0f} MiB at its peak")


if __name__ == "__main__":
    main()
