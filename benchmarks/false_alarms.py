"""Counts false alarms of monitoring on quiet bases, and says in which month it flags each incident.

    PYTHONPATH=. python benchmarks/false_alarms.py --seeds 20 --workers 2

Every base is lived month by month through the pure parts of the shipped pipeline, with its defaults (see
``churn_assets_tests/monitoring/watched.py``); a model is due in every ``--every`` months, so that a champion meets
months unlike those that it learned from. On quiet bases nothing happens, or usage and leaving swing over the year.
Incidents begin in the third month of the second year. Shares have Wilson's interval at 95%; months of one base aren't
independent, so that those of bases tell more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from churn_assets.learning.evaluation import rate_interval
from churn_assets.monitoring.retraining import Evidence
from churn_assets.months import Month
from churn_assets.spec import PipelineSpec
from churn_assets_tests.installation import shipped_spec
from churn_assets_tests.monitoring.watched import Watch, Watched

BEGINS = "2025-03"
QUIET: dict[str, list[dict[str, Any]]] = {"stable": [], "seasonal": [{"kind": "seasonal"}]}
INCIDENTS: dict[str, list[dict[str, Any]]] = {
    "shock, one month": [{"kind": "competitor_shock", "month": BEGINS}],
    "shock, six months in the north, strength 3": [
        {"kind": "competitor_shock", "month": BEGINS, "months": 6, "region": "north", "strength": 3}
    ],
    "data_gb in megabytes": [{"kind": "broken_column", "month": BEGINS}],
    "data_gb missing": [{"kind": "broken_column", "month": BEGINS, "factor": None}],
    "price rise": [{"kind": "price_rise", "month": BEGINS}],
    "new channel": [{"kind": "new_channel", "month": BEGINS}],
}
SIGNS: dict[str, Callable[[Watched], bool]] = {
    "a new model is wanted": lambda seen: seen.decision.wanted,
    "a training is ordered": lambda seen: seen.decision.acts,
    "columns are broken": lambda seen: bool(seen.broken),
    "more leave all at once": lambda seen: "jump" in seen.violated,
    "the champion violates another": lambda seen: bool({*seen.violated} - {"jump"}),
    "any of these two": lambda seen: bool(seen.violated),
    "its AUC breaks its promise": lambda seen: "auc" in seen.promises_broken,
    "features have moved": lambda seen: bool(seen.moved),
    "scores have moved": lambda seen: seen.score_moved,
}


@dataclass(frozen=True)
class Base:
    """What one base came to.

    Attributes:
        months: how many of them had a champion.
        seen: the months in which each sign was seen.
        words: how often each rule was violated, and each feature had moved.
        reach: month -> rule -> what the limit must lie beyond to see no violation, all of it that chance may explain
            taken off.
    """

    months: int
    seen: dict[str, list[str]]
    words: Counter[str]
    reach: dict[str, dict[str, float]]


def spec_of(scenario: Sequence[dict[str, Any]], seed: int, customers: int, every: int) -> PipelineSpec:
    shipped = shipped_spec()
    shipped["source"] = {"type": "simulated", "customers": customers, "seed": seed, "scenario": list(scenario)}
    shipped["training"]["every"] = every
    return PipelineSpec.model_validate(shipped)


def live(scenario: Sequence[dict[str, Any]], seed: int, asked: argparse.Namespace) -> Base:
    lived = Watch(spec_of(scenario, seed, asked.customers, asked.every)).live(asked.months)
    watched = [month for month in lived if month.champion]
    seen = {sign: [str(month.month) for month in watched if found(month)] for sign, found in SIGNS.items()}
    words = Counter(name for month in watched for name in (*month.violated, *month.moved))
    reach = {str(month.month): reached(month) for month in watched}
    return Base(len(watched), seen, words, reach)


def reached(seen: Watched) -> dict[str, float]:
    """How far the counted rules went: the limit at which each would just be violated."""
    ends: dict[str, Callable[[Evidence], float]] = {
        "jump": lambda e: e.lower or 0.0,
        "rate": lambda e: max(e.lower or 0.0, 1 / e.upper if e.upper else 0.0),
        "auc": lambda e: -(e.upper or 0.0),
        "calibration": lambda e: e.lower or 0.0,
        "drift": lambda e: e.found or 0.0,
    }
    return {e.rule: ends[e.rule](e) for e in seen.decision.evidence if e.rule in ends}


def share(part: int, of: int) -> str:
    low, high = (float(end) for end in rate_interval(part, of, 0.95))
    return f"{part:4d} of {of:4d}  {part / of:7.2%} ({low:.2%} to {high:.2%})"


def report_quiet(name: str, bases: Sequence[Base]) -> None:
    months = sum(base.months for base in bases)
    print(f"{name}: {len(bases)} bases, {months} months with a champion")
    for sign in SIGNS:
        found = [len(base.seen[sign]) for base in bases]
        print(f"  {sign:<30} months {share(sum(found), months)}   bases {share(sum(map(bool, found)), len(bases))}")
    whole = sum((base.words for base in bases), Counter[str]())
    print(f"  by rule and feature: {dict(whole.most_common()) or 'nothing'}")
    for rule in ("jump", "rate", "auc", "calibration", "drift"):
        each = sorted((month[rule] for base in bases for month in base.reach.values() if rule in month), reverse=True)
        print(f"  {rule} would violate a limit below {', '.join(f'{one:.3f}' for one in each[:6])} ...")


def report_incident(name: str, bases: Sequence[Base]) -> None:
    print(f"{name}, from {BEGINS} on: {len(bases)} bases; bases by the first month, from then on")
    for sign in SIGNS:
        firsts = Counter(next((m for m in base.seen[sign] if m >= BEGINS), "never") for base in bases)
        print(f"  {sign:<30} {', '.join(f'{month}: {count}' for month, count in sorted(firsts.items()))}")
    for month in (str(Month.parse(BEGINS) + i) for i in range(3)):
        least = {rule: min(base.reach[month].get(rule, 0.0) for base in bases) for rule in ("jump", "rate", "auc")}
        print(f"  {month}: the least of a base is {', '.join(f'{rule} {value:.3f}' for rule, value in least.items())}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--customers", type=int, default=7000)
    parser.add_argument("--every", type=int, default=12, help="months between two models that are due")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", choices=[*QUIET, *INCIDENTS], action="append", help="these alone")
    asked = parser.parse_args()

    # Workers share the processors; threads that wait for one another would only burn them.
    os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = "1"
    began = time.perf_counter()
    with ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
        for name, scenario in {**QUIET, **INCIDENTS}.items():
            if asked.only and name not in asked.only:
                continue
            lives = [pool.submit(live, scenario, asked.first_seed + i, asked) for i in range(asked.seeds)]
            (report_quiet if name in QUIET else report_incident)(name, [one.result() for one in lives])
            print(f"  after {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
