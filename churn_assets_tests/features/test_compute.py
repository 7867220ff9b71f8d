from __future__ import annotations

import itertools
import math
import operator
import random
import statistics
from functools import reduce
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.features import MONTHS_OBSERVED, compute
from churn_assets.spec.features import types_of
from churn_assets_tests.features.panels import DAY, SCHEMA, Panel, computed, features, frames

DEPTH = 4
NUMBERS = ("x", "n", "flag")
KINDS = ("mean", "sum", "min", "max", "std", "trend")
CONDITIONS = ("months_since", "count", "share")
ALL = features(
    {"kind": "columns", "columns": ["plan", "x"]},
    *({"kind": "lag", "column": c, "months": 3} for c in SCHEMA if c != "id"),
    *({"kind": "delta", "column": c, "months": 2} for c in NUMBERS),
    *({"kind": kind, "column": c, "months": DEPTH} for kind in KINDS for c in NUMBERS),
    *({"kind": kind, "name": f"{kind}_high", "column": "x", "above": 1, "months": DEPTH} for kind in CONDITIONS),
    *({"kind": kind, "name": f"{kind}_b", "column": "plan", "equals": "b", "months": 2} for kind in CONDITIONS),
    *({"kind": kind, "name": f"{kind}_flag", "column": "flag", "months": 3} for kind in CONDITIONS),
    {"kind": "ratio", "name": "ratio", "numerator": "x", "denominator": "x_mean_4m"},
    {"kind": "bucket", "column": "ratio", "edges": [-1, 0, 2.5]},
    {"kind": "interaction", "name": "product", "columns": ["x", "ratio"]},
    {"kind": "interaction", "name": "pair", "columns": ["plan", "flag", "ratio_bucket"]},
    {"kind": "rank", "column": "x_mean_4m"},
    {"kind": "rank", "column": "n", "by": "plan"},
)


def expected(panel: Panel, customer: str) -> dict[str, Any]:
    """The same by plain Python, customer by customer."""

    def value(column: str, lag: int, of: str = customer) -> Any:
        return panel.get(lag, {}).get(of, {}).get(column)

    def window(column: str, months: int, of: str = customer) -> dict[int, Any]:
        return {lag: v for lag in range(months) if (v := value(column, lag, of)) is not None}

    def rank(mine: Any, others: list[Any]) -> Any:
        known = [v for v in others if v is not None]
        if mine is None:
            return None
        return (sum(v < mine for v in known) + (known.count(mine) + 1) / 2) / len(known)

    def mean(of: str) -> Any:
        values = window("x", DEPTH, of).values()
        return reduce(operator.add, values) / len(values) if values else None

    found: dict[str, Any] = {c: value(c, 0) for c in ("plan", "x")}
    found |= {f"{c}_lag_3m": value(c, 3) for c in SCHEMA if c != "id"}
    for c in NUMBERS:
        now, before = value(c, 0), value(c, 2)
        found[f"{c}_delta_2m"] = None if now is None or before is None else float(now - before)
    for kind, c in itertools.product(KINDS, NUMBERS):
        found[f"{c}_{kind}_4m"] = statistic(kind, window(c, DEPTH))
    high, b, flag = window("x", DEPTH), window("plan", 2), window("flag", 3)
    for name, known in {
        "high": {lag: v > 1 for lag, v in high.items()}, "b": {lag: v == "b" for lag, v in b.items()}, "flag": flag,
    }.items():  # fmt: skip
        held = [lag for lag, holds in known.items() if holds]
        found[f"months_since_{name}"] = min(held, default=None)
        found[f"count_{name}"] = len(held) if known else None
        found[f"share_{name}"] = len(held) / len(known) if known else None
    x, average = value("x", 0), mean(customer)
    ratio = None if x is None or not average else x / average
    bucket = None if ratio is None else bucket_of(ratio)
    pair = [value("plan", 0), {True: "true", False: "false"}.get(value("flag", 0)), bucket]
    alike = [value("n", 0, c) for c in panel[0] if value("plan", 0, c) == value("plan", 0)]
    return found | {
        "ratio": ratio,
        "ratio_bucket": bucket,
        "product": None if ratio is None else x * ratio,
        "pair": None if None in pair else " & ".join(pair),
        "x_mean_4m_rank": rank(average, [mean(c) for c in panel[0]]),
        "n_rank_by_plan": None if value("plan", 0) is None else rank(value("n", 0), alike),
        MONTHS_OBSERVED: sum(customer in month for lag, month in panel.items() if 0 <= lag < DEPTH),
    }


def statistic(kind: str, values: dict[int, Any]) -> float | None:
    numbers = [float(v) for v in values.values()]
    if not numbers or (kind in ("std", "trend") and len(numbers) < 2):
        return None
    if kind == "trend":
        return statistics.linear_regression([-lag for lag in values], numbers).slope
    reckoned = {"mean": statistics.fmean, "sum": math.fsum, "min": min, "max": max, "std": statistics.stdev}[kind]
    return float(reckoned(numbers))


def bucket_of(ratio: float) -> str:
    return "<-1" if ratio < -1 else "-1-0" if ratio < 0 else "0-2.5" if ratio < 2.5 else ">=2.5"


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return type(one) is type(other) and bool(one == other)


rows = st.fixed_dictionaries(
    {
        "plan": st.sampled_from(["a", "b", None]),
        "x": st.none() | st.integers(-16, 16).map(lambda n: n / 4),
        "n": st.none() | st.integers(-3, 3),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.just(DAY),
    }
)
snapshots = st.dictionaries(st.sampled_from(["c1", "c2", "c3", "c4"]), rows, max_size=4)
panels = st.dictionaries(st.integers(0, DEPTH - 1), snapshots).map(lambda p: {0: {}, **p})


@settings(max_examples=40, deadline=None)
@given(panels)
def test_features_are_what_plain_python_makes_of_the_window(panel: Panel) -> None:
    found = computed(panel, ALL)
    assert set(found) == set(panel[0])
    for customer, values in found.items():
        wanted = expected(panel, customer)
        assert sorted(values) == sorted(wanted)
        assert {n: (values[n], wanted[n]) for n in wanted if not same(values[n], wanted[n])} == {}


@settings(max_examples=15, deadline=None)
@given(panels, snapshots)
def test_later_months_longer_windows_and_absent_customers_decide_nothing(panel: Panel, poison: Any) -> None:
    found = computed(panel, ALL)
    others = {f"p{customer}": row for customer, row in poison.items()}
    poisoned = {lag: {**month, **others} if lag else month for lag, month in panel.items()}
    assert computed({**poisoned, DEPTH: poison, -1: poison}, ALL) == found


def test_a_rank_is_the_same_to_the_last_bit_each_time() -> None:
    panel: Panel = {0: {f"c{i}": {"x": x} for i, x in enumerate([-0.25, -0.25, -1.5])}, 1: {}}
    wanted = features({"kind": "mean", "column": "x", "months": 2}, {"kind": "rank", "column": "x_mean_2m"})
    first = computed(panel, wanted)
    assert all(computed(panel, wanted) == first for _ in range(60))


@settings(max_examples=10, deadline=None)
@given(panels)
def test_values_have_the_types_that_the_specification_tells(panel: Panel) -> None:
    columns: dict[str, Any] = {"plan": "category", "x": "number", "n": "integer", "flag": "boolean", "day": "date"}
    stored = {"category": pl.String, "number": pl.Float64, "integer": pl.Int64, "boolean": pl.Boolean, "date": pl.Date}
    found = compute(frames(panel), "id", ALL).collect().schema
    assert {n: found[n] for n in types_of(ALL, columns)} == {n: stored[t] for n, t in types_of(ALL, columns).items()}


def test_features_stand_in_the_order_of_the_specification_and_rows_in_that_of_the_key() -> None:
    wanted = features(
        {"kind": "lag", "column": "x"}, {"kind": "columns", "columns": ["x", "plan"]}, {"kind": "max", "column": "x"}
    )
    rows = compute(frames({0: {"b": {}, "a": {}}}), "id", wanted).collect()
    assert rows.columns == ["id", "x_lag_1m", "x", "plan", "x_max_3m", MONTHS_OBSERVED]
    assert rows["id"].to_list() == ["a", "b"]


def test_months_without_anybody_and_columns_that_came_later_are_missing() -> None:
    now = pl.LazyFrame({"id": ["c"], "x": [1.0], "plan": ["a"]})
    before = pl.LazyFrame({"id": ["c"]})
    wanted = features(
        {"kind": "lag", "column": "plan", "months": 1}, {"kind": "mean", "column": "x", "months": 3},
        {"kind": "delta", "column": "x", "months": 2},
    )  # fmt: skip
    rows = compute({0: now, 1: before}, "id", wanted).collect()
    assert rows.row(0) == ("c", None, 1.0, None, 2)
    assert rows.schema["plan_lag_1m"] == pl.String
    assert rows.schema["x_delta_2m"] == pl.Float64


def test_a_column_that_is_missing_in_the_month_has_its_declared_type_and_its_past() -> None:
    now = pl.LazyFrame({"id": ["c"], "plan": [None]}, schema_overrides={"plan": pl.Null})
    before = pl.LazyFrame({"id": ["c"], "x": [1.5], "plan": ["a"]})
    wanted = features(
        {"kind": "columns", "columns": ["x", "plan"]}, {"kind": "lag", "column": "plan"},
        {"kind": "mean", "column": "x"}, {"kind": "interaction", "columns": ["plan", "plan"]},
    )  # fmt: skip
    rows = compute({0: now, 1: before}, "id", wanted, types={"x": "number", "plan": "category"}).collect()
    assert rows.row(0) == ("c", None, None, "a", 1.5, None, 2)
    assert rows.dtypes[1:6] == [pl.Float64, pl.String, pl.String, pl.Float64, pl.String]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Int64, pl.Boolean])
def test_a_column_of_nulls_makes_nulls(dtype: Any) -> None:
    month = pl.LazyFrame({"id": ["a", "b"], "v": [None, None]}, schema_overrides={"v": dtype})
    wanted = features(
        *({"kind": kind, "column": "v", "months": 2} for kind in KINDS),
        *({"kind": kind, "column": "v", "equals": dtype == pl.Boolean, "months": 2} for kind in CONDITIONS),
        {"kind": "ratio", "numerator": "v", "denominator": "v"}, {"kind": "bucket", "column": "v", "edges": [0]},
        {"kind": "interaction", "columns": ["v", "v"]}, {"kind": "rank", "column": "v"},
    )  # fmt: skip
    rows = compute({0: month, 1: month}, "id", wanted).collect()
    assert rows.drop("id", MONTHS_OBSERVED).null_count().sum_horizontal().item() == 2 * len(wanted)


def test_only_kept_customers_get_features_and_ranks() -> None:
    month = pl.LazyFrame({"id": ["a", "b", "c"], "x": [9.0, 2.0, 1.0], "left": [True, False, False]})
    wanted = features({"kind": "columns", "columns": ["x"]}, {"kind": "rank", "column": "x"})
    rows = compute({0: month}, "id", wanted, keep=~nw.col("left")).collect()
    assert rows.rows() == [("b", 2.0, 1.0, 1), ("c", 1.0, 0.5, 1)]


def test_training_and_serving_see_equal_types_with_and_without_history() -> None:
    full: Panel = {lag: {"c": {"plan": "a", "x": 1.0, "n": 1, "flag": True, "day": DAY}} for lag in range(DEPTH)}
    alone = compute(frames({0: full[0]}), "id", ALL).collect()
    assert alone.schema == compute(frames(full), "id", ALL).collect().schema


def test_sums_are_added_up_newest_month_first() -> None:
    chance, months = random.Random(7), 12
    values = [[chance.gauss(0, 1e3) for _ in range(500)] for _ in range(months)]
    ids = [f"c{i:03}" for i in range(500)]
    panel = {lag: pl.LazyFrame({"id": ids, "x": x}) for lag, x in enumerate(values)}
    wanted = features(*({"kind": k, "column": "x", "months": months} for k in ("sum", "mean")))
    rows = compute(panel, "id", wanted).collect()
    sums = [reduce(operator.add, of_one) for of_one in zip(*values, strict=True)]
    assert rows["x_sum_12m"].to_list() == sums
    assert rows["x_mean_12m"].to_list() == [s / months for s in sums]


def in_pieces(rows: pl.DataFrame) -> pl.LazyFrame:
    return pl.concat([rows[i : i + 7] for i in range(0, len(rows), 7)], rechunk=False).lazy()


def test_the_order_and_the_chunks_of_rows_decide_no_digit() -> None:
    chance = random.Random(7)
    panel: Panel = {
        lag: {
            f"c{i:03}": {"x": chance.choice([None, chance.gauss(0, 1e3)]), "plan": chance.choice("ab")}
            for i in range(300)
        }
        for lag in range(12)
    }
    wanted = features(
        *({"kind": k, "column": "x", "months": 12} for k in KINDS), {"kind": "rank", "column": "x", "by": "plan"}
    )
    whole = compute(frames(panel), "id", wanted).collect()
    shuffled = {
        lag: frame.collect().sample(fraction=1.0, shuffle=True, seed=lag) for lag, frame in frames(panel).items()
    }
    pieces = {lag: pl.concat([f[i : i + 7] for i in range(0, 300, 7)], rechunk=False) for lag, f in shuffled.items()}
    for engine in ("in-memory", "streaming"):
        again = compute({lag: f.lazy() for lag, f in pieces.items()}, "id", wanted).collect(engine=engine)  # type: ignore[call-overload]
        assert again.equals(whole)
