import polars as pl
from pydantic import TypeAdapter

from churn_assets.features.profile import COLUMNS, profile
from churn_assets.spec import FeatureSpec

FEATURES = TypeAdapter(list[FeatureSpec]).validate_python(
    [
        {"kind": "columns", "columns": ["x", "plan"]},
        {"kind": "ratio", "numerator": "x", "denominator": "y", "description": "X over Y"},
        {"kind": "mean", "column": "x", "months": 4},
    ]
)
ROWS = pl.DataFrame(
    {
        "x": [1, 2, 3, None],
        "plan": ["b", "b", "a", None],
        "x_per_y": [True, False, True, True],
        "x_mean_4m": [None] * 4,
    },
    schema_overrides={"x_mean_4m": pl.Float64},
)


def test_each_feature_has_a_row_in_the_order_of_the_specification() -> None:
    made = profile(ROWS, FEATURES)
    assert made.schema == COLUMNS
    assert made.select("feature", "kind", "made_of", "lookback").rows() == [
        ("x", "columns", "x", 0), ("plan", "columns", "plan", 0), ("x_per_y", "ratio", "x, y", 0),
        ("x_mean_4m", "mean", "x", 3),
    ]  # fmt: skip
    assert made["description"][2] == "X over Y"
    assert "4 months" in made["description"][3]


def test_figures_are_those_of_the_values_that_are_there() -> None:
    x, plan, flag, empty = profile(ROWS, FEATURES).iter_rows(named=True)
    assert (x["missing_share"], x["mean"], x["std"], x["min"], x["median"], x["max"]) == (0.25, 2, 1, 1, 2, 3)
    assert (plan["missing_share"], plan["most_frequent"], plan["mean"]) == (0.25, "b", None)
    assert (flag["mean"], flag["distinct"], flag["dtype"]) == (0.75, 2, "Boolean")
    assert (empty["missing_share"], empty["mean"], empty["most_frequent"]) == (1, None, None)


def test_of_equally_frequent_values_the_first_by_name_is_shown() -> None:
    rows = pl.DataFrame({"x": [1, 2], "plan": ["b", "a"], "x_per_y": [1.0, 2.0], "x_mean_4m": [1.0, 2.0]})
    assert profile(rows, FEATURES)["most_frequent"].to_list() == [None, "a", None, None]


def test_a_month_without_rows_has_a_profile() -> None:
    made = profile(ROWS.clear(), FEATURES)
    assert len(made) == 4
    assert made["missing_share"].to_list() == [0] * 4
