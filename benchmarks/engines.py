"""Measures a month's features on each engine: the shipped features, from four simulated months, into the lake's file.

    python benchmarks/engines.py --customers 7000 --master 'local-cluster[2,1,1024]'
    python benchmarks/engines.py --customers 1000000 --master 'local[2]' --settings spark.driver.memory=4g

Each engine has a process of its own. ``begin`` is the start of the session with the cluster, ``first`` the first month
in it, ``next`` the median of the months after. Peak memory is that of the driver's Python, and of the Java process
beside it, which in the master ``local`` is the executor too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import narwhals as nw
import polars as pl
import yaml
from memory import peak_mib

from churn_assets.engines import open_engine
from churn_assets.features import compute
from churn_assets.months import Month
from churn_assets.sources import open_source
from churn_assets.spec import EngineSpec, PipelineSpec
from churn_assets.store import Commit, Lake

ROOT = Path(__file__).parents[1]
WINDOW = 4
NOW = Month.parse("2024-06")


def pipeline(customers: int) -> PipelineSpec:
    shipped: dict[str, Any] = yaml.safe_load((ROOT / "churn_assets/defs/churn/defs.yaml").read_text())["attributes"]
    return PipelineSpec.model_validate({**shipped, "source": {"type": "simulated", "customers": customers}})


def fill(lake: Lake, spec: PipelineSpec, folder: Path) -> None:
    """Puts the window's months into the lake as if they had been validated."""
    source = open_source(spec, folder)
    for month in (NOW - lag for lag in range(WINDOW)):
        batches = (pl.DataFrame(pl.from_arrow(batch)) for batch in source.read(month).batches)
        lake.write("validated_data", month, lake.draft(batches), Commit(""))


def make(lake: Lake, spec: PipelineSpec, engine: EngineSpec, rounds: int) -> dict[str, float]:
    """Seconds and gigabytes of one engine."""
    used = open_engine(engine)
    begun = time.perf_counter()
    if engine.kind == "spark":
        _ = used.session  # type: ignore[attr-defined]
    began, taken = time.perf_counter() - begun, []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        frames = {lag: used.scan(lake, lake.record("validated_data", NOW - lag)) for lag in range(WINDOW)}  # type: ignore[arg-type]
        rows = compute(frames, spec.schema_.key, spec.features, ~nw.col("churned"), spec.observed)
        draft = lake.draft(used.pieces(rows))
        taken.append(time.perf_counter() - begun)
        draft.discard()
    found = {"begin s": began, "first s": taken[0], "next s": median(taken[1:]), "python GiB": peak_mib() / 1024}
    return {**found, "java GiB": peak_mib(str(java())) / 1024} if engine.kind == "spark" else found


def java() -> int:
    """The Java process that this one has started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return next(int(c) for c in children if Path(f"/proc/{c}/comm").read_text().strip() == "java")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=7000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["polars", "spark"])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--settings", nargs="*", default=[], help="Spark's, as name=value")
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    spec = pipeline(given.customers)
    if given.lake:
        settings = dict(s.split("=", 1) for s in given.settings)
        chosen = {"kind": "spark", "master": given.master, "settings": settings}
        engine = EngineSpec.model_validate("polars" if given.engines == ["polars"] else chosen)
        print(json.dumps(make(Lake(given.lake), spec, engine, given.rounds)))
        return
    with TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        fill(Lake(lake), spec, Path(folder))
        for engine in given.engines:
            again = [sys.executable, __file__, *sys.argv[1:], "--lake", str(lake), "--engines", engine]
            ran = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
            figures = json.loads(ran.stdout.splitlines()[-1])
            print(f"{engine:>7} " + "  ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
