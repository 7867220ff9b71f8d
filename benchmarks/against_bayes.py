"""How close the champion comes to the best possible model, on the simulated base whose true hazard is known.

    PYTHONPATH=. python benchmarks/against_bayes.py --customers 7000 --months 24

Runs the shipped pipeline in a temporary installation, month by month through Dagster, then compares, on the same
customers: what the champion as of a month predicted, and the hazard that the simulator really drew from. Both are
judged by who left in the month after.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from churn_assets.learning.evaluation import auc_delong
from churn_assets.months import Month
from churn_assets.sources.simulated import SimulatedSource
from churn_assets_tests.installation import Installation, shipped_spec

LAST = 6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--customers", type=int, default=7000)
    arguments.add_argument("--months", type=int, default=24)
    given = arguments.parse_args()
    spec = shipped_spec()
    spec["source"]["customers"] = given.customers
    start = Month.parse(spec["months"]["start"])
    months = [str(start + i) for i in range(given.months)]
    with tempfile.TemporaryDirectory() as folder:
        installation = Installation.create(Path(folder) / "home", churn=spec)
        begun = time.perf_counter()
        results = installation.run(months)
        seconds = time.perf_counter() - begun
        assert all(r.success for r in results), [r.problems for r in results]
        lake = installation.pipeline().lake
        source = installation.pipeline().source
        assert isinstance(source, SimulatedSource)
        predicted: list[pl.Series] = []
        hazards: list[pl.Series] = []
        left: list[pl.Series] = []
        for month in [start + i for i in range(given.months - 1 - LAST, given.months - 1)]:
            scored, after = lake.record("predictions", month), lake.record("validated_data", month + 1)
            assert scored and after
            rows = (
                lake.scan_record(scored).select("customer_id", "p_leave").collect()
                .join(source.true_hazard(month), on="customer_id")
                .join(lake.scan_record(after).select("customer_id", "churned").collect(), on="customer_id")
            )  # fmt: skip
            for parts, column in ((predicted, "p_leave"), (hazards, "hazard"), (left, "churned")):
                parts.append(rows[column])
        outcome = pl.concat(left).to_numpy()
        print(f"{given.customers:,} customers, {given.months} months in {seconds:.0f} s, "
              f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")  # fmt: skip
        for name, parts in (("champions, out of time", predicted), ("true hazard (Bayes)", hazards)):
            each = [auc_delong(y.to_numpy(), p.to_numpy()).value for y, p in zip(left, parts, strict=True)]
            whole = auc_delong(outcome, np.concatenate([p.to_numpy() for p in parts]))
            print(f"  {name:24} AUC {whole.value:.4f} ({whole.lower:.4f} to {whole.upper:.4f}) over {LAST} months, "
                  f"by month {min(each):.3f} to {max(each):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
