from __future__ import annotations

import polars as pl

from churn_assets.features.profile import ABOUT, COLUMNS, DEFINED, definitions, known_values, profile
from churn_assets_tests.declared import COLUMNS as DECLARED
from churn_assets_tests.declared import declared

SPEC = declared(
    owner="team:growth",
    schema={
        "key": "customer_id",
        "columns": [*DECLARED, {"name": "bills", "type": "number", "unit": "EUR", "description": "All bills so far."}],
    },
    features=[
        {"kind": "columns", "columns": ["calls", "plan", "bills"]},
        {"kind": "ratio", "numerator": "calls", "denominator": "charge", "description": "Calls a euro."},
        {"kind": "mean", "column": "calls", "months": 4, "owner": "ann@example.org"},
        {"kind": "ratio", "name": "calls_trend", "numerator": "calls", "denominator": "calls_mean_4m"},
    ],
)
ROWS = pl.DataFrame(
    {
        "calls": [1, 2, 3, None],
        "plan": ["plus", "plus", "basic", None],
        "bills": [10.0, 20.0, float("nan"), 30.0],
        "calls_per_charge": [True, False, True, True],
        "calls_mean_4m": [None] * 4,
        "calls_trend": [0.5, 1.0, 1.5, None],
    },
    schema_overrides={"calls_mean_4m": pl.Float64},
)


def test_each_feature_is_told_in_the_order_of_the_specification() -> None:
    told = definitions(SPEC)
    assert told.schema == DEFINED
    assert told.select("feature", "kind", "type", "window", "made_of", "lookback", "owner").rows() == [
        ("calls", "columns", "integer", "m", "calls", 0, "team:growth"),
        ("plan", "columns", "category", "m", "plan", 0, "team:growth"),
        ("bills", "columns", "number", "m", "bills", 0, "team:growth"),
        ("calls_per_charge", "ratio", "number", "m", "calls, charge", 0, "team:growth"),
        ("calls_mean_4m", "mean", "number", "m-3 to m", "calls", 3, "ann@example.org"),
        ("calls_trend", "ratio", "number", "m-3 to m", "calls, calls_mean_4m", 3, "team:growth"),
    ]
    assert told["description"][2] == "All bills so far, in EUR."
    assert told["description"][3] == "Calls a euro."


def test_the_catalogue_is_definitions_and_figures() -> None:
    made = profile(ROWS, SPEC, {"calls": 0.3}, {"plan": 0.7, "calls": None})
    assert made.schema == COLUMNS
    assert list(ABOUT) == list(COLUMNS)
    assert made.select(list(DEFINED)).equals(definitions(SPEC))
    assert made["psi"].to_list() == [0.3, *[None] * 5]
    assert made["auc"].to_list() == [None, 0.7, *[None] * 4]


def test_figures_are_those_of_the_values_that_are_there() -> None:
    calls, plan, bills, flag, empty, _ = profile(ROWS, SPEC, {}, {}).iter_rows(named=True)
    assert (calls["missing_share"], calls["mean"], calls["std"], calls["min"], calls["median"], calls["max"]) == (
        0.25, 2, 1, 1, 2, 3,
    )  # fmt: skip
    assert (plan["missing_share"], plan["distinct"], plan["most_frequent"], plan["mean"]) == (0.25, 2, "plus", None)
    assert (flag["mean"], flag["distinct"], flag["dtype"]) == (0.75, 2, "Boolean")
    assert (empty["missing_share"], empty["distinct"], empty["mean"], empty["most_frequent"]) == (1, 0, None, None)
    assert (bills["missing_share"], bills["mean"], bills["max"]) == (0.25, 20, 30), "NaN is missing"


def test_quantiles_are_those_of_their_names() -> None:
    rows = pl.DataFrame({name: range(101) for name in SPEC.feature_names})
    row = profile(rows, SPEC, {}, {}).row(0, named=True)
    assert [row[q] for q in ("min", "q05", "q25", "median", "q75", "q95", "max")] == [0, 5, 25, 50, 75, 95, 100]


def test_of_equally_frequent_values_the_first_by_name_is_shown() -> None:
    rows = ROWS.head(2).with_columns(plan=pl.Series(["plus", "basic"]))
    assert profile(rows, SPEC, {}, {})["most_frequent"].to_list() == [None, "basic", *[None] * 4]


def test_a_month_without_rows_has_a_profile() -> None:
    made = profile(ROWS.clear(), SPEC, {}, {})
    assert made["missing_share"].to_list() == [0] * 6
    assert made["distinct"].to_list() == [0] * 6


def test_the_order_of_chunks_changes_no_figure() -> None:
    whole = pl.DataFrame({name: [0.1 * i for i in range(999)] for name in SPEC.feature_names})
    parts = pl.concat([whole[:500], whole[500:]], rechunk=False)
    assert profile(parts, SPEC, {}, {}).equals(profile(whole, SPEC, {}, {}))


def test_known_values_are_neither_null_nor_nan() -> None:
    assert known_values(pl.Series([1.0, None, float("nan"), float("inf")])).to_list() == [1.0, float("inf")]
    assert known_values(pl.Series(["a", None])).to_list() == ["a"]
