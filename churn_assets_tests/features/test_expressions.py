"""Each kind of feature against values that were worked out by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from churn_assets_tests.features.panels import DAY, month, one

ABSENT = "absent"


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("x", [5.0, 4.5, 3.0], 3.0),
        ("n", [5, 4, 2**60 + 1], 2**60 + 1),
        ("plan", ["a", "b", "c"], "c"),
        ("flag", [None, None, False], False),
        ("day", [None, None, DAY], date(2024, 2, 29)),
        ("x", [5.0, 4.5, None], None),
        ("x", [5.0, 4.5, ABSENT], None),
        ("x", [5.0, ABSENT, 3.0], 3.0),
        ("x", [5.0], None),
    ],
)
def test_a_lag_is_the_value_of_that_month_in_its_own_type(column: str, values: list[Any], expected: Any) -> None:
    found = one(column, values, {"kind": "lag", "column": column, "months": 2})
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("x", [5.0, 1.0, 2.5], 2.5),
        ("n", [1, 9, 4], -3.0),
        ("flag", [True, None, False], 1.0),
        ("x", [None, 1.0, 2.5], None),
        ("x", [5.0, 1.0, ABSENT], None),
    ],
)
def test_a_delta_is_the_change_against_that_month(column: str, values: list[Any], expected: Any) -> None:
    assert one(column, values, {"kind": "delta", "column": column, "months": 2}) == expected


STATISTICS: list[tuple[list[Any], dict[str, Any]]] = [
    ([6.0, 4.0, 2.0], {"mean": 4, "sum": 12, "min": 2, "max": 6, "std": 2, "trend": 2}),
    ([6.0, ABSENT, 2.0], {"mean": 4, "sum": 8, "min": 2, "max": 6, "std": 8**0.5, "trend": 2}),
    ([None, 4.0, 2.0], {"mean": 3, "sum": 6, "min": 2, "max": 4, "std": 2**0.5, "trend": 2}),
    ([0.1, 0.1, 0.1], {"mean": pytest.approx(0.1), "sum": pytest.approx(0.3), "min": 0.1, "max": 0.1, "std": 0,
                       "trend": 0}),
    ([1.0, 7.0, 1.0], {"mean": 3, "sum": 9, "min": 1, "max": 7, "std": 12**0.5, "trend": 0}),
    ([6.0, ABSENT, ABSENT], {"mean": 6, "sum": 6, "min": 6, "max": 6, "std": None, "trend": None}),
    ([6.0, ABSENT, ABSENT, 1.0], {"mean": 6, "sum": 6, "min": 6, "max": 6, "std": None, "trend": None}),
    ([None, ABSENT, None], dict.fromkeys(("mean", "sum", "min", "max", "std", "trend"))),
]  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), STATISTICS)
def test_statistics_are_of_the_months_that_have_a_value(values: list[Any], expected: dict[str, Any]) -> None:
    assert {k: one("x", values, {"kind": k, "column": "x", "months": 3}) for k in expected} == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("mean", 0.5), ("sum", 1), ("max", 1), ("min", 0), ("std", 0.5**0.5), ("trend", 1)]
)
def test_in_statistics_true_counts_as_one(kind: str, expected: float) -> None:
    assert one("flag", [True, False, None], {"kind": kind, "column": "flag", "months": 3}) == expected


CONDITIONS: list[tuple[str, list[Any], dict[str, Any], Any, Any, Any]] = [
    # column, values, condition, months_since, count, share
    ("n", [3, 0, 1], {"above": 0}, 0, 2, 2 / 3),
    ("n", [0, 0, 1], {"above": 0}, 2, 1, 1 / 3),
    ("n", [0, None, 1], {"above": 0}, 2, 1, 1 / 2),
    ("n", [0, ABSENT, 1], {"above": 0}, 2, 1, 1 / 2),
    ("n", [0, 0, 0, 9], {"above": 0}, None, 0, 0.0),
    ("n", [None, ABSENT, None], {"above": 0}, None, None, None),
    ("n", [5, 3, 4], {"below": 4}, 1, 1, 1 / 3),
    ("x", [5.0, 3.0, 4.0], {"above": 3, "below": 5}, 2, 1, 1 / 3),
    ("n", [5, 3, 4], {"equals": 3}, 1, 1, 1 / 3),
    ("n", [5, 3, 4], {"equals": [4, 5]}, 0, 2, 2 / 3),
    ("plan", ["a", "b", None], {"equals": "b"}, 1, 1, 1 / 2),
    ("plan", ["1", "2", "1"], {"equals": [2, 3]}, 1, 1, 1 / 3),
    ("flag", [False, True, None], {}, 1, 1, 1 / 2),
    ("flag", [False, True, None], {"equals": False}, 0, 1, 1 / 2),
]


@pytest.mark.parametrize(("column", "values", "condition", "since", "count", "share"), CONDITIONS)
def test_a_condition_is_judged_in_the_months_that_have_a_value(
    column: str, values: list[Any], condition: dict[str, Any], since: Any, count: Any, share: Any
) -> None:
    for kind, expected in (("months_since", since), ("count", count), ("share", share)):
        assert one(column, values, {"kind": kind, "column": column, "months": 3, **condition}) == expected, kind


def test_a_condition_of_one_month_flags_that_month() -> None:
    assert month("n", [0, 2, None], {"kind": "count", "column": "n", "above": 0, "months": 1}) == [0, 1, None]


def test_a_ratio_has_columns_and_earlier_features_on_both_sides() -> None:
    found = month("x", [4.0, 4.0, 4.0, 4.0, None], {"kind": "ratio", "numerator": "x", "denominator": "n"},
                  n=[2, 0, None, -1, 1])  # fmt: skip
    assert found == [2.0, None, None, -4.0, None]
    mean = {"kind": "mean", "column": "x", "months": 2}
    assert one("x", [3.0, 1.0], mean, {"kind": "ratio", "numerator": "x", "denominator": "x_mean_2m"}) == 1.5
    again = [mean, {"kind": "ratio", "name": "r", "numerator": "x_mean_2m", "denominator": "x"}]
    assert one("x", [4.0, 2.0], *again, {"kind": "ratio", "numerator": "r", "denominator": "r"}) == 1


def test_buckets_are_closed_on_the_left() -> None:
    edges = {"kind": "bucket", "column": "x", "edges": [0, 1.5, 10]}
    found = month("x", [-0.1, 0.0, 1.4, 1.5, 9.9, 10.0, 11.0, None], edges)
    assert found == ["<0", "0-1.5", "0-1.5", "1.5-10", "1.5-10", ">=10", ">=10", None]


def test_buckets_with_large_edges_do_not_run_into_one_another() -> None:
    edges = {"kind": "bucket", "column": "x", "edges": [1_000_000, 1_000_001, 1_000_002]}
    found = month("x", [999_999.0, 1_000_000.0, 1_000_001.0, 1_000_002.0], edges)
    assert found == ["<1000000", "1000000-1000001", "1000001-1000002", ">=1000002"]


def test_booleans_and_earlier_features_may_be_bucketed() -> None:
    assert month("flag", [True, False], {"kind": "bucket", "column": "flag", "edges": [1]}) == [">=1", "<1"]
    delta = {"kind": "delta", "column": "x", "months": 1}
    assert one("x", [5.0, 2.0], delta, {"kind": "bucket", "column": "x_delta_1m", "edges": [0]}) == ">=0"


def test_an_interaction_of_numbers_is_their_product() -> None:
    found = month("x", [2.0, 2.0, None], {"kind": "interaction", "columns": ["x", "n"]}, n=[3, None, 3])
    assert found == [6.0, None, None]
    found = month("n", [3, 3, 3], {"kind": "interaction", "columns": ["n", "flag"]}, flag=[True, False, None])
    assert found == [3.0, 0.0, None]
    ratio = {"kind": "ratio", "name": "r", "numerator": "x", "denominator": "n"}
    found = month("x", [6.0], ratio, {"kind": "interaction", "columns": ["r", "n", "x"]}, n=[2])
    assert found == [36.0]


def test_an_interaction_of_categories_and_booleans_is_a_text() -> None:
    both = {"kind": "interaction", "columns": ["plan", "flag"]}
    assert month("plan", ["a", "b", "a", None], both, flag=[True, False, None, True]) == [
        "a & true",
        "b & false",
        None,
        None,
    ]
    flags = {"kind": "interaction", "columns": ["flag", "flag"]}
    assert month("flag", [True], flags) == ["true & true"]
    bucket = {"kind": "bucket", "column": "x", "edges": [0]}
    assert month("plan", ["a"], bucket, {"kind": "interaction", "columns": ["plan", "x_bucket"]}, x=[1.0]) == [
        "a & >=0"
    ]


def test_a_rank_is_a_share_of_the_months_customers_with_a_value() -> None:
    rank = {"kind": "rank", "column": "x"}
    assert month("x", [30.0, 10.0, 20.0, 20.0], rank) == [1.0, 0.25, 0.625, 0.625]
    assert month("x", [30.0, None, 10.0, None], rank) == [1.0, None, 0.5, None]
    assert month("x", [None, None], rank) == [None, None]
    assert month("x", [7.0], rank) == [1.0]
    assert month("flag", [True, False, False, None], {"kind": "rank", "column": "flag"}) == [1.0, 0.5, 0.5, None]


def test_a_rank_within_groups_knows_only_the_group() -> None:
    by_plan = {"kind": "rank", "column": "x", "by": "plan"}
    found = month("x", [1.0, 2.0, 3.0, None, 5.0], by_plan, plan=["a", "a", "b", "b", None])
    assert found == [0.5, 1.0, 1.0, None, None]
    both = {"kind": "rank", "column": "n", "by": ["plan", "flag"]}
    found = month("n", [1, 2, 3], both, plan=["a", "a", "a"], flag=[True, True, False])
    assert found == [0.5, 1.0, 1.0]
    delta = {"kind": "delta", "column": "x", "months": 1}
    assert one("x", [5.0, 2.0], delta, {"kind": "rank", "column": "x_delta_1m"}) == 1


def test_what_overflows_is_missing() -> None:
    huge = [1e308, -1e308, 1e308]
    assert one("x", huge[:2], {"kind": "delta", "column": "x"}) is None
    assert one("x", [1e308, 1e308, None], {"kind": "sum", "column": "x"}) is None
    assert one("x", huge, {"kind": "std", "column": "x"}) is None
    assert month("x", [1e308], {"kind": "ratio", "numerator": "x", "denominator": "n"}, n=[1]) == [1e308]
    tiny = [{"kind": "ratio", "name": "r", "numerator": "n", "denominator": "x"}]
    assert month("x", [5e-324], *tiny, n=[2**60]) == [None]
    assert month("x", [1e200], {"kind": "interaction", "columns": ["x", "x"]}) == [None]
    # The bucket is of the missing value, and not of an infinite one.
    assert month("x", [5e-324], *tiny, {"kind": "bucket", "column": "r", "edges": [0]}, n=[2**60]) == [None]
