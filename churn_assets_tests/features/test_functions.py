from __future__ import annotations

from typing import Any

import pytest

from churn_assets.errors import FeatureError
from churn_assets_tests.features.panels import computed, features

HERE = "churn_assets_tests.features.own_functions"
PANEL = {0: {c: {"plan": c, "x": 1.0, "n": i} for i, c in enumerate(["a", "b", "c"])}}


def by(function: str, **changes: Any) -> dict[str, Any]:
    names = {"double": "number"}
    return {"kind": "python", "function": f"{HERE}:{function}", "columns": ["n", "plan"], "names": names, **changes}


def test_a_function_is_given_earlier_values_and_nothing_for_absent_months() -> None:
    (spread,) = features(
        by("spread", columns=["x", "plan"], months=3,
           names={"spread": "number", "known": "integer", "plan_before": "category"})
    )  # fmt: skip
    panel = {
        0: {"a": {"x": 5.0, "plan": "p"}, "b": {"x": None}, "c": {"x": 1.0}},
        2: {"a": {"x": 2.0, "plan": "q"}, "z": {"x": 100.0}},
        3: {"a": {"x": 100.0}},
    }
    found = computed(panel, [spread])
    assert {c: list(row.values()) for c, row in found.items()} == {
        "a": [3.0, 2, "q", 2], "b": [None, 0, None, 1], "c": [0.0, 1, None, 1],
    }  # fmt: skip


def test_other_features_are_made_of_what_a_function_gives_and_stand_in_order() -> None:
    declared = features(
        {"kind": "lag", "column": "n"}, by("keeps_what_it_was_given"), {"kind": "columns", "columns": ["plan"]},
        {"kind": "ratio", "numerator": "double", "denominator": "n"}, by("spread", columns=["x", "plan"], months=3,
        names={"spread": "number", "known": "integer", "plan_before": "category"}),
    )  # fmt: skip
    found = computed(PANEL, declared)
    assert list(found["c"]) == [
        "n_lag_1m", "double", "plan", "double_per_n", "spread", "known", "plan_before", "months_observed",
    ]  # fmt: skip
    assert found["c"]["double"] == 4.0 and found["c"]["double_per_n"] == 2.0
    assert found["a"]["double_per_n"] is None


def test_a_number_that_is_infinite_is_missing() -> None:
    assert [row["double"] for row in computed(PANEL, features(by("by_zero"))).values()] == [-1.0, None, 1.0]


def test_only_customers_who_are_kept_are_given() -> None:
    import narwhals as nw

    found = computed(PANEL, features(by("keeps_what_it_was_given")), keep=nw.col("n") > 0)
    assert list(found) == ["b", "c"]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("misnamed", "expected the columns id (String), double (number); found no column 'double'. Did you mean"),
        ("misnamed", "'dubble'"),
        ("undeclared", "found a column 'treble' that names doesn't declare"),
        ("without_key", "found no column 'id'"),
        ("with_another_key", "expected the columns id (String), double (number); found 'id' as Int"),
        ("a_text", "expected the columns id (String), double (number); found 'double' as String"),
        ("some_rows", "expected one row for each of 3 customers, found 1 rows, and none for 'a'"),
        ("rows_twice", "expected one row for each of 3 customers, found 6 rows, some customers twice"),
        ("other_rows", "expected one row for each of 3 customers, found 3 rows, and none for 'a'"),
        ("eager", "made of the one that it was given, found narwhals.dataframe.DataFrame"),
        ("nothing", "found builtins.NoneType"),
        ("raises", "which computes double, failed: KeyError: 'tariffs'. It was given the columns id, n, plan."),
        ("fails_when_computed", "which computes double, failed: "),
    ],
)
def test_what_a_function_does_wrong_is_told_with_its_name(function: str, text: str) -> None:
    with pytest.raises(FeatureError) as error:
        computed(PANEL, features(by(function)))
    assert str(error.value).startswith(f"{HERE}:{function}")
    assert text in str(error.value)


def test_a_fraction_is_no_integer_but_an_integer_is_a_number() -> None:
    with pytest.raises(FeatureError, match=r"double \(integer\); found 'double' as Float64"):
        computed(PANEL, features(by("a_fraction", names={"double": "integer"})))
    found = computed(PANEL, features(by("keeps_what_it_was_given")))
    assert [type(row["double"]) for row in found.values()] == [float] * 3
