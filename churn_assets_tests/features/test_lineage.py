from __future__ import annotations

from typing import Any

import pytest

from churn_assets.errors import QualityError
from churn_assets.features.lineage import of_features, of_predictions, of_retention_list, of_validated
from churn_assets.spec import SchemaSpec
from churn_assets_tests.declared import declared


def features(*given: dict[str, Any], **changes: Any) -> dict[str, list[str]]:
    """Column -> columns of validated_data, of a pipeline with these features."""
    lineage = of_features(declared(features=list(given), **changes))
    assert {table for columns in lineage.values() for table, _ in columns} == {"validated_data"}
    return {name: [column for _, column in columns] for name, columns in lineage.items()}


def test_a_feature_is_made_of_its_columns() -> None:
    found = features(
        {"kind": "columns", "columns": ["plan", "calls"]},
        {"kind": "lag", "column": "plan"},
        {"kind": "ratio", "name": "a_call", "numerator": "charge", "denominator": "calls"},
    )
    assert found == {
        "customer_id": ["customer_id"], "months_observed": ["customer_id"], "plan": ["plan"], "calls": ["calls"],
        "plan_lag_1m": ["plan"], "a_call": ["calls", "charge"],
    }  # fmt: skip


def test_lineage_goes_through_features_of_features() -> None:
    found = features(
        {"kind": "mean", "column": "calls", "months": 4},
        {"kind": "ratio", "name": "trend", "numerator": "calls", "denominator": "calls_mean_4m"},
        {"kind": "ratio", "name": "worth", "numerator": "charge", "denominator": "trend"},
    )
    assert found["trend"] == ["calls"]
    assert found["worth"] == ["calls", "charge"]


EVENTS = {
    "schema": {
        "key": "customer",
        "columns": [
            {"name": "at", "type": "timestamp", "role": "time"}, {"name": "amount", "type": "number"},
            {"name": "kind", "type": "category", "allowed": ["order", "return"]},
        ],
    },
    "events": {
        "active_months": 3,
        "measures": [
            {"name": "orders", "kind": "count", "where": {"kind": "order"}},
            {"name": "spent", "kind": "sum", "column": "amount", "where": {"kind": "order"}},
            {"name": "quiet", "kind": "recency"},
        ],
    },
    "label": {"kind": "inactivity"},
    "value": {"monthly_value": 10},
}  # fmt: skip


def test_features_of_events_are_made_of_what_their_measures_look_at() -> None:
    found = features(
        {"kind": "columns", "columns": ["orders", "spent", "quiet"]},
        {"kind": "mean", "column": "spent", "months": 3},
        {"kind": "ratio", "name": "basket", "numerator": "spent", "denominator": "orders"},
        **EVENTS,
    )
    assert found["spent"] == ["amount", "kind"]
    assert found["spent_mean_3m"] == ["amount", "kind"]
    assert found["orders"] == ["at", "kind"]
    assert found["quiet"] == ["at"]
    assert found["basket"] == ["amount", "at", "kind"]


def schema(*columns: dict[str, Any], **changes: Any) -> SchemaSpec:
    return SchemaSpec.model_validate({"key": "id", "columns": list(columns), **changes})


def validated(given: SchemaSpec, *received: str) -> dict[str, list[str]]:
    lineage = of_validated(given, received)
    assert {table for columns in lineage.values() for table, _ in columns} <= {"raw_data"}
    return {name: [column for _, column in columns] for name, columns in lineage.items()}


def test_validated_columns_are_made_of_those_that_were_found_for_them() -> None:
    declared_as = schema(
        {"name": "plan", "type": "category", "source": "tariff"},
        {"name": "call_failure", "type": "integer"},
        {"name": "note", "type": "string", "role": "ignored"},
        {"name": "fax", "type": "string", "optional": True},
    )
    assert validated(declared_as, "_row", "_file", "ID", "Call  Failure", "tariff", "note", "more") == {
        "id": ["ID"], "plan": ["tariff"], "call_failure": ["Call  Failure"], "fax": [],
    }  # fmt: skip


def test_a_derived_column_is_made_of_what_its_expression_names() -> None:
    derived = schema(
        {"name": "price", "type": "number", "source": "unit price"},
        {"name": "pieces", "type": "integer"},
        {"name": "amount", "type": "number", "expression": "price * pieces"},
        {"name": "large", "type": "boolean", "expression": "amount > 100"},
    )
    found = validated(derived, "id", "unit price", "pieces")
    assert found["amount"] == found["large"] == ["pieces", "unit price"]


def test_a_value_that_is_filled_by_others_is_made_of_them_too() -> None:
    filled = schema(
        {"name": "tenure", "type": "integer"},
        {"name": "bills", "type": "number", "fill": 0, "fill_where": {"tenure": 0}},
    )
    assert validated(filled, "id", "tenure", "bills")["bills"] == ["bills", "tenure"]


@pytest.mark.parametrize(("key_from", "made_of"), [("row", []), ("content", ["a", "b"])])
def test_a_made_key_is_made_of_the_row(key_from: str, made_of: list[str]) -> None:
    made = schema({"name": "a", "type": "string"}, {"name": "b", "type": "string"}, key_from=key_from)
    assert validated(made, "_row", "_line", "a", "b")["id"] == made_of


def test_a_column_that_was_not_delivered_is_refused() -> None:
    with pytest.raises(QualityError, match="'a'"):
        of_validated(schema({"name": "a", "type": "string"}), ["id", "b"])


def test_predictions_are_made_of_the_champions_features() -> None:
    found = of_predictions(declared(), ["plan", "calls"])
    assert found["p_leave"] == found["decile"] == [("features", "calls"), ("features", "plan")]
    assert found["customer_id"] == [("features", "customer_id")]


def test_a_list_is_made_of_predictions_and_the_features_that_tell_value_segment_and_reasons() -> None:
    spec = declared(value={"monthly_value": "charge"}, evaluation={"segments": ["plan"]})
    found = of_retention_list(spec, ["plan", "calls"])
    assert found["customer_id"] == found["action"] == [("predictions", "customer_id")]
    assert found["monthly_value"] == [("features", "charge")]
    assert found["expected_value"] == found["rank"] == [("features", "charge"), ("predictions", "p_leave")]
    assert found["reason_1"] == [("features", "calls"), ("features", "plan")]
    assert found["segment"] == [("features", "plan")]
    assert of_retention_list(declared(value={"monthly_value": 30}), ["plan"])["monthly_value"] == []
