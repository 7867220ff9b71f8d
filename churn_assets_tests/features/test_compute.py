from __future__ import annotations

import math
import statistics
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from churn_assets.features import MONTHS_OBSERVED, compute
from churn_assets.spec import FeatureSpec

Panel = dict[int, dict[str, dict[str, Any]]]
KINDS = ("mean", "sum", "min", "max", "std")
DEPTH = 4


def features(*declared: dict[str, Any]) -> list[FeatureSpec]:
    return TypeAdapter(list[FeatureSpec]).validate_python(list(declared))


ALL = features(
    {"kind": "columns", "columns": ["plan", "x"]},
    {"kind": "lag", "column": "x", "months": 1},
    {"kind": "lag", "column": "plan", "months": 3},
    {"kind": "delta", "column": "x", "months": 2},
    *({"kind": kind, "column": "x", "months": DEPTH} for kind in KINDS),
    {"kind": "mean", "column": "flag", "months": 2},
    {"kind": "ratio", "name": "trend", "numerator": "x", "denominator": "x_mean_4m"},
    {"kind": "bucket", "column": "x", "edges": [-1, 0, 2.5]},
)
SCHEMA = {"id": pl.String, "plan": pl.String, "x": pl.Float64, "flag": pl.Boolean}


def frames(panel: Panel) -> dict[int, pl.LazyFrame]:
    return {
        lag: pl.LazyFrame([{"id": c, **row} for c, row in month.items()], schema=SCHEMA) for lag, month in panel.items()
    }


def computed(panel: Panel, wanted: list[FeatureSpec] = ALL) -> dict[str, dict[str, Any]]:
    rows = compute(frames(panel), "id", wanted).collect()
    return {row.pop("id"): row for row in rows.iter_rows(named=True)}


def expected(panel: Panel, customer: str) -> dict[str, Any]:
    """The same by plain Python, customer by customer."""

    def value(column: str, lag: int) -> Any:
        return panel.get(lag, {}).get(customer, {}).get(column)

    now = panel[0][customer]
    xs = [v for lag in range(DEPTH) if (v := value("x", lag)) is not None]
    flags = [float(v) for lag in range(2) if (v := value("flag", lag)) is not None]
    mean = statistics.fmean(xs) if xs else None
    x, before = now["x"], value("x", 2)
    return {
        "plan": now["plan"],
        "x": x,
        "x_lag_1m": value("x", 1),
        "plan_lag_3m": value("plan", 3),
        "x_delta_2m": None if x is None or before is None else x - before,
        "x_mean_4m": mean,
        "x_sum_4m": sum(xs) if xs else None,
        "x_min_4m": min(xs, default=None),
        "x_max_4m": max(xs, default=None),
        "x_std_4m": statistics.stdev(xs) if len(xs) > 1 else None,
        "flag_mean_2m": statistics.fmean(flags) if flags else None,
        "trend": None if x is None or not mean else x / mean,
        "x_bucket": None if x is None else "<-1" if x < -1 else "-1-0" if x < 0 else "0-2.5" if x < 2.5 else ">=2.5",
        MONTHS_OBSERVED: sum(customer in month for lag, month in panel.items() if lag < DEPTH),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


rows = st.fixed_dictionaries(
    {
        "plan": st.sampled_from(["a", "b", None]),
        "x": st.none() | st.integers(-16, 16).map(lambda n: n / 4),
        "flag": st.none() | st.booleans(),
    }
)
snapshots = st.dictionaries(st.sampled_from(["c1", "c2", "c3", "c4"]), rows, max_size=4)
panels = st.dictionaries(st.integers(0, DEPTH - 1), snapshots).map(lambda p: {0: {}, **p})


@settings(max_examples=60, deadline=None)
@given(panels)
def test_features_are_what_plain_python_makes_of_the_window(panel: Panel) -> None:
    found = computed(panel)
    assert set(found) == set(panel[0])
    for customer, values in found.items():
        wanted = expected(panel, customer)
        assert list(values) == list(wanted)
        assert {n: (values[n], wanted[n]) for n in wanted if not same(values[n], wanted[n])} == {}


@settings(max_examples=30, deadline=None)
@given(panels, snapshots)
def test_customers_and_months_outside_the_window_decide_nothing(panel: Panel, poison: Any) -> None:
    others = {f"p{customer}": row for customer, row in poison.items()}
    found = computed(panel)
    poisoned = {lag: {**month, **others} for lag, month in panel.items()}
    assert {c: v for c, v in computed({**poisoned, DEPTH: poison}).items() if c in found} == found


def one(values: list[float | None], wanted: dict[str, Any]) -> Any:
    """The feature of one customer whose x was ``values``, newest first; None where the customer was absent."""
    panel = {
        lag: {} if x is None and lag else {"c": {"plan": None, "x": x, "flag": None}} for lag, x in enumerate(values)
    }
    (declared,) = features(wanted)
    return computed(panel, [declared])["c"][declared.names[0]]


def test_a_lag_is_missing_where_the_customer_was_and_never_shifts() -> None:
    assert one([5, None, 3, 2], {"kind": "lag", "column": "x", "months": 1}) is None
    assert one([5, None, 3, 2], {"kind": "lag", "column": "x", "months": 2}) == 3
    assert one([5, None, 3, 2], {"kind": "delta", "column": "x", "months": 3}) == 3
    assert one([5, 4], {"kind": "lag", "column": "x", "months": 12}) is None


def test_absent_months_do_not_count_in_statistics() -> None:
    assert one([6, None, 3], {"kind": "mean", "column": "x", "months": 3}) == 4.5
    assert one([6, None, 3], {"kind": "sum", "column": "x", "months": 3}) == 9
    assert one([6], {"kind": "std", "column": "x", "months": 3}) is None
    assert one([None], {"kind": "sum", "column": "x", "months": 3}) is None
    assert one([6, 4, 100], {"kind": "max", "column": "x", "months": 2}) == 6


@pytest.mark.parametrize(("below", "expected"), [(2.0, 2.0), (0.0, None), (-0.0, None), (None, None)])
def test_a_ratio_by_zero_is_missing(below: float | None, expected: float | None) -> None:
    month = pl.LazyFrame({"id": ["c"], "a": [4], "b": [below]}, schema_overrides={"b": pl.Float64})
    made = compute({0: month}, "id", features({"kind": "ratio", "numerator": "a", "denominator": "b"})).collect()
    assert made["a_per_b"].to_list() == [expected]


def test_buckets_are_closed_on_the_left() -> None:
    edges = {"kind": "bucket", "column": "x", "edges": [0, 1.5, 10]}
    found = [one([x], edges) for x in (-0.1, 0, 1.4, 1.5, 9.9, 10, 11, None)]
    assert found == ["<0", "0-1.5", "0-1.5", "1.5-10", "1.5-10", ">=10", ">=10", None]


def test_buckets_with_large_edges_do_not_run_into_one_another() -> None:
    edges = {"kind": "bucket", "column": "x", "edges": [1_000_000, 1_000_001, 1_000_002]}
    found = [one([float(x)], edges) for x in (999_999, 1_000_000, 1_000_001, 1_000_002)]
    assert found == ["<1000000", "1000000-1000001", "1000001-1000002", ">=1000002"]


def test_a_boolean_may_be_bucketed() -> None:
    month = pl.LazyFrame({"id": ["a", "b"], "f": [True, False]})
    made = compute({0: month}, "id", features({"kind": "bucket", "column": "f", "edges": [1]})).collect()
    assert made["f_bucket"].to_list() == [">=1", "<1"]


def test_features_stand_in_the_order_of_the_specification() -> None:
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


def test_only_kept_customers_get_features() -> None:
    month = pl.LazyFrame({"id": ["a", "b"], "x": [1.0, 2.0], "left": [True, False]})
    rows = compute({0: month}, "id", features({"kind": "columns", "columns": ["x"]}), keep=~nw.col("left")).collect()
    assert rows.rows() == [("b", 2.0, 1)]


def test_training_and_serving_see_equal_types_with_and_without_history() -> None:
    full: Panel = {lag: {"c": {"plan": "a", "x": 1.0, "flag": True}} for lag in range(DEPTH)}
    alone = compute(frames({0: full[0]}), "id", ALL).collect()
    assert alone.schema == compute(frames(full), "id", ALL).collect().schema
