"""No month knows what comes after it, and the order in which months are computed changes nothing: real runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

BEFORE_LEARNING = ("raw_data", "validated_data", "features")
FILES = {"type": "file", "path": "incoming/{month}.csv"}
FORGIVING = {"max_row_change": 1000, "max_error_rate": 1, "expectations": {"churn_rate": "off", "duplicate": "off"}}
POISONS = st.lists(st.sampled_from(["values", "rows", "labels", "nothing", "twice"]), min_size=4, max_size=4)


@pytest.fixture(scope="module", params=["snapshot", "events"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Five months of either grain, delivered as files and run in order."""
    made = Installation.create(tmp_path_factory.mktemp(request.param) / "home", churn=SPECS[request.param]())
    for number, month in enumerate(MONTHS):
        made.deliver(month, DELIVERIES[request.param](number, month, request))
    results = made.run(MONTHS)
    assert all(r.success for r in results), [r.problems for r in results]
    return made


def _snapshots(number: int, month: str, request: pytest.FixtureRequest) -> pl.DataFrame:
    finished: Installation = request.getfixturevalue("finished")
    return finished.received(month)


def _snapshot_spec() -> dict[str, Any]:
    return small_spec(source=FILES, schema=FORGIVING, label={"max_rate": 1.0})


def _events(number: int, month: str, request: pytest.FixtureRequest) -> pl.DataFrame:
    """Purchases of 400 customers, each of whom buys less and less and then, one after the other, no more."""
    draw, begin = random.Random(number), datetime.fromisoformat(f"{month}-01")
    rows = []
    for customer in range(400):
        for _ in range(draw.randint(0, max(1, 6 - number - customer % 5))):
            time = begin + timedelta(days=draw.randrange(28), seconds=draw.randrange(86_400))
            price = round(draw.uniform(1, 50), 2)
            rows.append((f"C{customer:03d}", time, draw.choice("abcdefgh"), draw.randint(1, 9), price))
    return pl.DataFrame(rows, ["customer", "bought_at", "item", "quantity", "price"], orient="row")


def _events_spec() -> dict[str, Any]:
    return {
        "months": {"start": MONTHS[0]},
        "source": FILES,
        "schema": {
            "key": "customer",
            "columns": {
                "bought_at": {"type": "timestamp", "role": "time"},
                "item": {"type": "category"},
                "quantity": {"type": "integer", "min": 1},
                "price": {"type": "number", "min": 0},
                "amount": {"type": "number", "expression": "quantity * price"},
            },
            **FORGIVING,
        },
        "events": {
            "active_months": 2,
            "measures": [
                {"name": "orders", "kind": "count"},
                {"name": "spend", "kind": "sum", "column": "amount"},
                {"name": "days_since_order", "kind": "recency", "months": 2},
                {"name": "gap", "kind": "gap", "months": 3},
                {"name": "items", "kind": "distinct", "column": "item", "months": 3},
            ],
        },
        "label": {"kind": "inactivity", "max_rate": 1.0, "min_rate": 0.0},
        "features": [
            {"kind": "columns", "columns": ["orders", "spend", "days_since_order", "gap", "items"]},
            {"kind": "trend", "column": "spend", "months": 3},
            {"kind": "sum", "column": "orders", "months": 3},
            {"kind": "rank", "column": "spend"},
        ],
        "candidates": [{"name": "baseline", "kind": "logistic"}, {"name": "xgboost", "kind": "xgboost"}],
        "gates": {
            "floor": 0,
            "margin": 1,
            "max_calibration_error": 1,
            "min_lift": 0,
            "min_rows": 50,
            "min_positives": 5,
        },
        "value": {"monthly_value": "spend", "margin": 0.3, "contact_cost": 1, "budget": 50},
    }


SPECS: dict[str, Callable[[], dict[str, Any]]] = {"snapshot": _snapshot_spec, "events": _events_spec}
DELIVERIES: dict[str, Callable[[int, str, pytest.FixtureRequest], pl.DataFrame]] = {
    "snapshot": _snapshots,
    "events": _events,
}


@settings(max_examples=1, deadline=None, phases=[Phase.generate])
@given(st.integers(2, 3), POISONS, st.integers(0, 99))
def test_nothing_after_a_month_changes_what_it_made(
    told: Installation, tmp_path_factory: pytest.TempPathFactory, at: int, poisons: list[str], seed: int
) -> None:
    own = told.copy(tmp_path_factory.mktemp("poisoned") / "home")
    before = {month: own.contents(month) for month in MONTHS}
    for later, poison in zip(MONTHS[at + 1 :], poisons, strict=False):
        own.deliver(later, poisoned(told.received(later), poison, seed))
        own.run([later], stages=("raw_data", "validated_data"))
        assert own.contents(later)["raw_data"] != before[later]["raw_data"]
    results = own.run(MONTHS[: at + 1], force="raw_data")
    assert all(r.success for r in results), [r.problems for r in results]
    for month in MONTHS[: at + 1]:
        assert own.contents(month) == before[month]
        assert own.exported(month) == told.exported(month)


def poisoned(rows: pl.DataFrame, how: str, seed: int) -> pl.DataFrame:
    """A month's delivery, spoilt beyond recognition."""
    match how:
        case "nothing":
            return rows.clear()
        case "rows":
            return rows.sample(fraction=0.5, seed=seed)
        case "twice":
            return pl.concat([rows, rows])
        case "labels" if "churned" in rows.columns:
            return rows.with_columns((pl.col("churned").cast(pl.String) != "true").alias("churned"))
        case _:
            mixed = [pl.col(name).shuffle(seed + i) for i, name in enumerate(rows.columns[1:])]
            return rows.with_columns(mixed)


@settings(max_examples=1, deadline=None, phases=[Phase.generate])
@given(st.permutations(MONTHS), st.permutations(MONTHS))
def test_months_computed_in_any_order_are_the_same(
    told: Installation, tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str]
) -> None:
    own = Installation(tmp_path_factory.mktemp("order") / "home")
    fresh = Installation.create(own.home, churn={})
    for folder in ("defs", "data/incoming"):
        _copy(told.home / folder, fresh.home / folder)
    assert all(r.success for r in own.run(first, stages=("raw_data", "validated_data")))
    assert all(r.success for r in own.run(second, stages=("features",)))
    for month in MONTHS:
        made, expected = own.contents(month), told.contents(month)
        assert {t: made[t] for t in BEFORE_LEARNING} == {t: expected[t] for t in BEFORE_LEARNING}
    assert all(r.success for r in own.run(MONTHS))
    assert {m: own.contents(m) for m in MONTHS} == {m: told.contents(m) for m in MONTHS}


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target, dirs_exist_ok=True)
