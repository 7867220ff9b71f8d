from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from churn_assets.spec import ColumnSpec, FeatureSpec, PipelineSpec
from churn_assets_tests.declared import COLUMNS, declared, document

ONE = TypeAdapter(FeatureSpec)
OWN = "churn_assets_tests.features.own_functions"
SCHEMA = {
    "key": "customer_id",
    "columns": [
        *COLUMNS,
        {"name": "late", "type": "boolean"},
        {"name": "since", "type": "date"},
        {"name": "hidden", "type": "number", "role": "ignored"},
    ],
}
PYTHON = {"kind": "python", "function": f"{OWN}:spread", "columns": ["calls"], "months": 3}


def feature(**given: Any) -> Any:
    return ONE.validate_python(given)


def findings(*features: dict[str, Any]) -> dict[str, str]:
    """Place -> message of every finding."""
    with pytest.raises(ValidationError) as error:
        PipelineSpec.model_validate(document(schema=SCHEMA, features=list(features)))
    found = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.value.errors()]
    assert len(found) == len(dict(found)), found
    return dict(found)


KINDS: list[tuple[dict[str, Any], list[str], int, str, list[str]]] = [
    # given, names, lookback, window, types
    ({"kind": "columns", "columns": ["plan", "since"]}, ["plan", "since"], 0, "m", ["category", "date"]),
    ({"kind": "lag", "column": "since", "months": 2}, ["since_lag_2m"], 2, "m-2", ["date"]),
    ({"kind": "lag", "column": "calls"}, ["calls_lag_1m"], 1, "m-1", ["integer"]),
    ({"kind": "delta", "column": "calls", "months": 6}, ["calls_delta_6m"], 6, "m-6 and m", ["number"]),
    ({"kind": "std", "column": "calls"}, ["calls_std_3m"], 2, "m-2 to m", ["number"]),
    ({"kind": "trend", "column": "late", "months": 6}, ["late_trend_6m"], 5, "m-5 to m", ["number"]),
    ({"kind": "sum", "column": "calls", "name": "all_calls"}, ["all_calls"], 2, "m-2 to m", ["number"]),
    ({"kind": "count", "column": "calls", "above": 0, "months": 1}, ["calls_above_0_count_1m"], 0, "m", ["integer"]),
    ({"kind": "share", "column": "late"}, ["late_share_6m"], 5, "m-5 to m", ["number"]),
    ({"kind": "months_since", "column": "charge", "above": -1.5, "below": 2},
     ["charge_above_minus_1_5_and_below_2_months_since_6m"], 5, "m-5 to m", ["integer"]),
    ({"kind": "count", "column": "plan", "equals": ["basic", "plus"]}, ["plan_basic_or_plus_count_6m"], 5, "m-5 to m",
     ["integer"]),
    ({"kind": "count", "column": "late", "equals": False}, ["late_false_count_6m"], 5, "m-5 to m", ["integer"]),
    ({"kind": "ratio", "numerator": "charge", "denominator": "calls"}, ["charge_per_calls"], 0, "m", ["number"]),
    ({"kind": "bucket", "column": "calls", "edges": [1]}, ["calls_bucket"], 0, "m", ["category"]),
    ({"kind": "interaction", "columns": ["calls", "late"]}, ["calls_x_late"], 0, "m", ["number"]),
    ({"kind": "interaction", "columns": ["plan", "late"]}, ["plan_x_late"], 0, "m", ["category"]),
    ({"kind": "rank", "column": "calls"}, ["calls_rank"], 0, "m", ["number"]),
    ({"kind": "rank", "column": "calls", "by": "plan"}, ["calls_rank_by_plan"], 0, "m", ["number"]),
    ({**PYTHON, "names": {"a": "number", "b": "boolean"}}, ["a", "b"], 2, "m-2 to m", ["number", "boolean"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "names", "lookback", "window", "types"), KINDS)
def test_every_kind_says_what_it_makes_of_which_months(
    given: dict[str, Any], names: list[str], lookback: int, window: str, types: list[str]
) -> None:
    one = feature(**given)
    assert (one.names, one.lookback, one.window) == (names, lookback, window)
    spec = declared(schema=SCHEMA, features=[given])
    assert spec.feature_types == dict(zip(names, types, strict=True))
    assert spec.calendar.lookback == lookback


@pytest.mark.parametrize("given", [given for given, *_ in KINDS])
def test_every_kind_round_trips(given: dict[str, Any]) -> None:
    one = feature(**given)
    assert ONE.validate_python(one.model_dump(mode="json", by_alias=True)) == one
    assert ONE.validate_json(one.model_dump_json(by_alias=True)) == one


def test_types_follow_through_features_of_features() -> None:
    spec = declared(
        schema=SCHEMA,
        features=[
            {"kind": "ratio", "name": "r", "numerator": "charge", "denominator": "calls"},
            {"kind": "bucket", "column": "r", "edges": [1]},
            {"kind": "interaction", "name": "pair", "columns": ["r_bucket", "plan"]},
            {"kind": "interaction", "name": "product", "columns": ["r", "late"]},
            {"kind": "rank", "column": "product", "by": ["pair"]},
        ],
    )
    types = ["number", "category", "category", "number", "number"]
    assert list(spec.feature_types.values()) == types
    assert spec.lookbacks == dict.fromkeys(spec.feature_names, 0)


CHARGE = ColumnSpec(name="charge", type="number", unit="EUR", description="What the month was billed at.")
TOLD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "columns", "columns": ["charge"]}, "What the month was billed at, in EUR."),
    ({"kind": "lag", "column": "charge"},
     "charge 1 month before (m-1), in EUR. charge: What the month was billed at."),
    ({"kind": "delta", "column": "charge", "months": 3},
     "Change of charge in 3 months, from m-3 to m, in EUR. charge: What the month was billed at."),
    ({"kind": "mean", "column": "charge", "months": 4},
     "Mean of charge over the 4 months m-3 to m, in EUR. charge: What the month was billed at."),
    ({"kind": "trend", "column": "charge", "months": 4},
     "Change per month, as a straight line fits it, of charge over the 4 months m-3 to m, in EUR. charge: What the "
     "month was billed at."),
    ({"kind": "months_since", "column": "calls", "above": 0},
     "Months since calls was above 0, as far as it was in the 6 months m-5 to m; 0 is this month."),
    ({"kind": "count", "column": "calls", "above": 0, "below": 9},
     "In how many of the 6 months m-5 to m calls was above 0 and below 9."),
    ({"kind": "share", "column": "plan", "equals": "plus"},
     "In which share of the 6 months m-5 to m, as far as they were observed, plan was plus."),
    ({"kind": "ratio", "numerator": "calls", "denominator": "charge"},
     "calls over charge; missing where that is zero. charge: What the month was billed at."),
    ({"kind": "bucket", "column": "calls", "edges": [1, 2.5]}, "Interval of calls, cut at 1, 2.5."),
    ({"kind": "interaction", "columns": ["calls", "plan"]},
     "calls and plan taken together: the product of numbers, or the pair of categories."),
    ({"kind": "rank", "column": "calls", "by": "plan"},
     "Rank of calls among the month's customers with the same plan, as a share: 1 is the highest."),
    ({**PYTHON, "names": {"a": "number"}}, f"What {OWN}:spread makes of calls in m-2 to m."),
    ({"kind": "rank", "column": "charge", "description": "Who pays most."}, "Who pays most."),
]  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), TOLD)
def test_every_kind_is_told_in_a_sentence(given: dict[str, Any], sentence: str) -> None:
    one = feature(**given)
    assert one.describe(one.names[0], {"charge": CHARGE}) == sentence
    assert one.describe(one.names[0])


def test_an_owner_is_the_pipelines_unless_given() -> None:
    lag = {"kind": "lag", "column": "calls"}
    spec = declared(owner="team:crm", features=[lag, {"kind": "rank", "column": "calls", "owner": "ann@example.com"}])
    assert spec.feature_owners == {"calls_lag_1m": "team:crm", "calls_rank": "ann@example.com"}
    assert findings({**lag, "owner": "ann"}) == {
        "features.0.lag.owner": "expected team:<name> or an e-mail address, found 'ann'."
    }


COUNT = {"kind": "count", "column": "calls"}
WRONG: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"kind": "lag", "column": "cals"}], "lag", "cals_lag_1m: no column is called 'cals'. Did you mean 'calls'?"),
    ([{"kind": "lag", "column": "hidden"}], "lag", "no column is called 'hidden' here, for it has role ignored."),
    ([{"kind": "rank", "column": "left"}], "rank", "no column is called 'left' here, for it has role churned."),
    ([{"kind": "rank", "column": "customer_id"}], "rank", "'customer_id' here, for it is the key."),
    ([{"kind": "lag", "column": "calls"}, {"kind": "mean", "column": "calls_lag_1m"}], "mean",
     "called 'calls_lag_1m' here, for it is a feature, and kind mean is made of columns."),
    ([{"kind": "mean", "column": "plan"}], "mean", "plan_mean_3m: expected a number, found 'plan' of type category."),
    ([{"kind": "trend", "column": "since"}], "trend", "expected a number, found 'since' of type date."),
    ([{"kind": "ratio", "numerator": "calls", "denominator": "plan"}], "ratio", "found 'plan' of type category."),
    ([{"kind": "lag", "column": "plan"}, {"kind": "ratio", "numerator": "plan_lag_1m", "denominator": "calls"}],
     "ratio", "plan_lag_1m_per_calls: expected a number, found 'plan_lag_1m' of type category."),
    ([{"kind": "bucket", "column": "calls", "edges": [1]}, {"kind": "bucket", "column": "calls_bucket", "edges": [1]}],
     "bucket", "found 'calls_bucket' of type category."),
    ([{"kind": "rank", "column": "calls", "by": "charge"}], "rank", "by expected a category, found 'charge' of type"),
    ([{"kind": "rank", "column": "calls", "by": "paln"}], "rank", "called 'paln'. Did you mean 'plan'?"),
    ([{"kind": "interaction", "columns": ["calls", "plan"]}], "interaction",
     "expected numbers or categories, found 'calls' of type integer, 'plan' of type category. A bucket makes"),
    ([{"kind": "interaction", "columns": ["since", "plan"]}], "interaction", "found 'since' of type date, 'plan'"),
    ([COUNT], "count", "expected above, below or equals for 'calls' of type integer, found none of them."),
    ([{**COUNT, "column": "plan", "above": 1}], "count", "above and below need a number, found 'plan' of type"),
    ([{**COUNT, "column": "late", "above": 0}], "count", "need a number, found 'late' of type boolean. Use equals."),
    ([{**COUNT, "column": "since", "equals": "2024-01-01"}], "count", "a category or a boolean, found 'since' of type"),
    ([{**COUNT, "equals": "many"}], "count", "equals expected a value of type integer for 'calls', found many."),
    ([{**COUNT, "equals": True}], "count", "equals expected a value of type integer for 'calls', found true."),
    ([{**COUNT, "column": "late", "equals": 1}], "count", "expected a value of type boolean for 'late', found 1."),
    ([{**COUNT, "column": "plan", "equals": [True]}], "count", "expected a text, in quotes, for 'plan', found true."),
    ([{**COUNT, "column": "plan", "equals": ["plus", "basik"]}], "count",
     "equals expected an allowed value of 'plan', found 'basik'. Did you mean 'basic'?"),
    ([{**COUNT, "above": 1, "equals": 1}], "count", "expected equals, or above and below, found both."),
    ([{**COUNT, "above": 2, "below": 2}], "count", "expected above < below, found 2 >= 2"),
    ([{**COUNT, "equals": []}], "count.equals", "at least 1 item"),
    ([{**COUNT, "abov": 2}], "count.abov", "unknown key 'abov'. Did you mean 'above'?"),
    ([{"kind": "interaction", "columns": ["calls"]}], "interaction.columns", "at least 2 items"),
    ([{**PYTHON, "names": {}}], "python.names", "at least 1 item"),
    ([{**PYTHON, "names": {"a": "numbr"}}], "python.names.a", "'number'"),
    ([{**PYTHON, "names": {"charge": "number"}}], "python.names", "'charge' is a column already."),
    ([{**PYTHON, "columns": ["cals"], "names": {"a": "number"}}], "python", "a: no column is called 'cals'."),
    ([{**PYTHON, "columns": ["calls", "calls"], "names": {"a": "number"}}], "python",
     "a: the function would be given calls, calls_lag_1, calls_lag_2 twice."),
    ([{**PYTHON, "function": f"{OWN}:sprad", "names": {"a": "number"}}], "python.function", "Did you mean 'spread'?"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "place", "text"), WRONG)
def test_what_is_wrong_is_told_with_the_features_name(given: list[dict[str, Any]], place: str, text: str) -> None:
    found = findings(*given)
    last = f"features.{len(given) - 1}.{place}"
    assert next(iter(found)).startswith(last)
    assert text in found[next(iter(found))]


def test_what_may_be_an_invalid_features_name_is_not_called_unknown() -> None:
    broken = {"kind": "mean", "column": "calls", "months": 1}
    for other in (
        {"kind": "rank", "column": "calls_mean_1m"},
        {"kind": "bucket", "column": "calls_mean_1m", "edges": [1]},
        {"kind": "interaction", "columns": ["calls_mean_1m", "plan"]},
    ):
        assert list(findings(broken, other)) == ["features.0.mean.months"]
    assert "features.1.lag" in findings(broken, {"kind": "lag", "column": "calls_mean_1m"})
