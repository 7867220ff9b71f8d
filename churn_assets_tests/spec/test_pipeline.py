from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import churn_assets
from churn_assets.months import Calendar, Month
from churn_assets.spec import PipelineSpec
from churn_assets_tests.declared import COLUMNS, declared, document

SHIPPED = Path(churn_assets.__file__).parent / "defs" / "churn" / "defs.yaml"


def findings(given: Any) -> dict[str, str]:
    """Place -> message of every finding."""
    with pytest.raises(ValidationError) as error:
        PipelineSpec.model_validate(given)
    found = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.value.errors()]
    assert len(found) == len(dict(found)), found
    return dict(found)


def schema(*more: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"key": "customer_id", "columns": [*COLUMNS, *more], **changes}


def test_a_valid_specification_round_trips() -> None:
    spec = declared()
    again = PipelineSpec.model_validate(spec.model_dump(mode="json", by_alias=True))
    assert again == spec
    assert PipelineSpec.model_validate(spec) is spec


def test_the_shipped_pipeline_is_valid() -> None:
    shipped = PipelineSpec.model_validate(yaml.safe_load(SHIPPED.read_text())["attributes"])
    assert shipped.name == "churn"
    assert shipped.label.kind == "flag"
    assert len(shipped.feature_names) == len(set(shipped.feature_names)) == 34
    assert shipped.calendar == Calendar(Month(2024, 1), lookback=3, training_months=12)


UNKNOWN = [
    ((), "featurs", "features"),
    (("months",), "strat", "start"),
    (("source",), "delimeter", "delimiter"),
    (("schema",), "kye", "key"),
    (("schema", "columns", 0), "typ", "type"),
    (("label",), "horizn", "horizon"),
    (("features", 1), "mnths", "months"),
    (("training",), "month", "months"),
    (("candidates", 0), "parms", "params"),
    (("gates",), "flor", "floor"),
    (("value",), "budgt", "budget"),
    (("automation",), "schedul", "schedule"),
]


@pytest.mark.parametrize(("place", "key", "meant"), UNKNOWN)
def test_an_unknown_key_names_the_nearest(place: tuple[Any, ...], key: str, meant: str) -> None:
    given: dict[str, Any] = document(gates={}, automation={}, schema=schema())
    given = yaml.safe_load(yaml.safe_dump(given))
    section: Any = given
    for step in place:
        section = section[step]
    section[key] = 1
    found = findings(given)
    (where,) = found
    assert where.startswith(".".join(map(str, place)))
    assert where.endswith(key)
    assert found[where].startswith(f"unknown key '{key}'. Did you mean '{meant}'?")


@pytest.mark.parametrize(
    ("changes", "place", "text"),
    [
        ({"source": {"type": "fil", "path": "x"}}, "source.type", "type 'fil' isn't known. Did you mean 'file'?"),
        ({"features": [{"kind": "leg", "column": "calls"}]}, "features.0.kind", "Did you mean 'lag'?"),
    ],
)
def test_an_unknown_kind_names_the_nearest(changes: Any, place: str, text: str) -> None:
    assert text in findings(document(**changes))[place]


@pytest.mark.parametrize("section", ["months", "source", "schema", "features", "candidates", "value"])
def test_a_missing_section_is_asked_for(section: str) -> None:
    given = document()
    del given[section]
    assert findings(given)[section] == "expected a value, found nothing. Add this key."


LAG = {"kind": "lag", "column": "calls"}
CONFLICTS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "My Shop"}, "name", "expected lower-case letters"),
    ({"owner": "ann"}, "owner", "team:<name> or an e-mail"),
    ({"months": {"start": "2024-1"}}, "months.start", "expected a month as YYYY-MM"),
    ({"months": {"start": "2024-03", "end": "2024-02"}}, "months", "on or after the start 2024-03, found 2024-02"),
    ({"schema": schema({"name": "plan", "type": "string"})}, "schema.columns", "declared twice: plan"),
    ({"schema": schema({"name": "month", "type": "string"})}, "schema.columns", "the tables use the name month"),
    ({"schema": schema({"name": "b", "type": "boolean", "role": "churned"})}, "schema.columns", "found left, b"),
    ({"schema": schema({"name": "b", "type": "integer", "role": "churned"})}, "schema.columns.4", "type boolean"),
    ({"schema": schema({"name": "b", "type": "number", "allowed": ["a"]})}, "schema.columns.4", "allowed is for type"),
    ({"schema": schema({"name": "b", "type": "string", "min": 0})}, "schema.columns.4", "min is for type integer"),
    ({"schema": schema({"name": "b", "type": "number", "min": 2, "max": 1})}, "schema.columns.4", "found 2 > 1"),
    ({"schema": schema({"name": "b", "type": "string", "pattern": "[a"})}, "schema.columns.4.pattern", "no regular"),
    ({"schema": schema({"name": "b", "type": "date", "format": "%d/%m"})}, "schema.columns.4.format", "day, month and"),
    ({"schema": schema({"name": "b", "type": "string", "format": "%F"})}, "schema.columns.4", "format is for type"),
    ({"schema": schema({"name": "b", "type": "boolean", "true": ["J"], "false": ["j"]})}, "schema.columns.4", "have j"),
    ({"schema": schema({"name": "b", "type": "string", "unit": "$"})}, "schema.columns.4", "unit is for type integer"),
    ({"schema": schema({"name": "_line", "type": "string"})}, "schema.columns", "the name _line is taken"),
    ({"schema": {**schema(), "key_from": "row"}}, "schema.key_from", "needs label.kind same_row; found flag"),
    ({"schema": {**schema(), "rules": [{"id": "r", "expression": "charge > 0"}] * 2}}, "schema.rules", "twice"),
    ({"schema": {**schema(), "expectations": {"volume": "halt"}}}, "schema.expectations.volume", "'off', 'warn' or"),
    ({"label": {"kind": "flag"}, "schema": schema(columns=COLUMNS[:3])}, "label.kind", "role churned, found none"),
    ({"label": {"kind": "same_row"}, "schema": schema(columns=COLUMNS[:3])}, "label.kind", "or use kind absence"),
    ({"label": {"min_rate": 0.5, "max_rate": 0.1}}, "label", "min_rate <= max_rate"),
    ({"features": []}, "features", "at least 1"),
    ({"features": [{**LAG, "column": "cals"}]}, "features.0.lag", "no column is called 'cals'. Did you mean 'calls'?"),
    ({"features": [{"kind": "columns", "columns": ["plan", "x"]}]}, "features.0.columns", "called 'x'"),
    ({"features": [{"kind": "columns", "columns": ["customer_id"]}]}, "features.0.columns", "called 'customer_id'"),
    ({"features": [{"kind": "columns", "columns": ["left"]}]}, "features.0.columns", "called 'left'"),
    ({"features": [{"kind": "mean", "column": "plan"}]}, "features.0.mean", "expected a number, found 'plan'"),
    ({"features": [{"kind": "bucket", "column": "plan", "edges": [1]}]}, "features.0.bucket", "of type category"),
    ({"features": [{"kind": "bucket", "column": "calls", "edges": [2, 2]}]}, "features.0.bucket", "ascending edges"),
    ({"features": [{"kind": "bucket", "column": "calls", "edges": [float("nan")]}]}, "features.0.bucket.edges.0",
     "finite number"),
    ({"features": [{"kind": "ratio", "numerator": "calls", "denominator": "calls_lag_1m"}, LAG]}, "features.0.ratio",
     "no column is called 'calls_lag_1m'"),
    ({"features": [{"kind": "mean", "column": "calls_lag_1m"}]}, "features.0.mean", "called 'calls_lag_1m'"),
    ({"features": [LAG, LAG]}, "features", "'calls_lag_1m' is declared twice"),
    ({"features": [{**LAG, "name": "charge"}]}, "features.0.lag.name", "'charge' is a column already"),
    ({"features": [{**LAG, "name": "customer_id"}]}, "features.0.lag.name", "'customer_id' is a column already"),
    ({"features": [{**LAG, "name": "label"}]}, "features.0.lag.name", "'label' is a column already"),
    ({"candidates": [{"name": "a", "kind": "logistic"}] * 2}, "candidates", "'a' is declared twice"),
    ({"automation": {"retrain_tuning": True}}, "automation.retrain_tuning", "no candidate declares a search"),
    ({"automation": {"retrain_cron": "0 8 4 *"}}, "automation.retrain_cron", "day of month, month and weekday, such"),
    ({"gates": {"approval_from": "2025-01"}}, "gates", "approval_from is for approval: person, found auto"),
    ({"training": {"every": 0}}, "training.every", "greater than or equal to 1"),
    ({"value": {"monthly_value": "chrge"}}, "value.monthly_value", "Did you mean 'charge'?"),
    ({"value": {"monthly_value": "plan"}}, "value.monthly_value", "expected a number, found 'plan' of type category"),
    ({"source": {"type": "file", "path": "a.csv"}}, "source.path", "names the same for several of"),
    ({"source": {"type": "file", "path": "{number}.csv"}}, "source.path", "names the same for"),
    ({"source": {"type": "file", "path": "{year}.csv"}}, "source.path", "names the same for"),
    ({"source": {"type": "file", "path": "{mnth}.csv"}}, "source.file.path", "Did you mean 'month'?"),
    ({"source": {"type": "file", "path": "{month:>9}.csv"}}, "source.file.path", "unknown {month}"),
    ({"source": {"type": "file", "path": "{month.csv"}}, "source.file.path", "expected '}'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "place", "text"), CONFLICTS)
def test_each_conflict_is_found_at_its_place(changes: dict[str, Any], place: str, text: str) -> None:
    found = findings(document(**changes))
    assert list(found) == [place]
    assert text in found[place]


@pytest.mark.parametrize(
    ("path", "months"),
    [
        ("a.csv", {"start": "2024-03", "end": "2024-03"}),
        ("{number}.csv", {"start": "2024-01", "end": "2024-12"}),
        ("{year}/{number}.csv", {"start": "2024-01"}),
        ("{{x}}/{month}.csv", {"start": "2024-01"}),
    ],
)
def test_a_path_that_tells_the_months_apart_is_valid(path: str, months: dict[str, str]) -> None:
    assert declared(source={"type": "file", "path": path}, months=months).months.start == Month.parse(months["start"])


def test_the_key_is_no_attribute_even_if_it_is_a_declared_column() -> None:
    given = document(
        schema=schema({"name": "customer_id", "type": "string"}),
        features=[{"kind": "columns", "columns": ["customer_id"]}],
    )
    assert "no column is called 'customer_id'" in findings(given)["features.0.columns"]


def test_all_errors_are_told_at_once() -> None:
    found = findings(
        document(
            owner="ann",
            months={"start": "2024-13"},
            features=[{"kind": "lag", "column": "cals"}, {"kind": "sum", "column": "plan"}],
            candidates=[{"name": "a", "kind": "logistic"}, {"name": "a", "kind": "xgboost"}],
            value={"monthly_value": "chrge", "budget": -1},
        )
    )
    assert set(found) == {
        "owner", "months.start", "features.0.lag", "features.1.sum", "candidates", "value.budget",
    }  # fmt: skip


def test_an_invalid_feature_hides_no_finding_in_another() -> None:
    found = findings(
        document(
            features=[
                {"kind": "columns", "columns": ["plan", "pln"]},
                {"kind": "lag", "column": "calls", "months": 0},
                {"kind": "mean", "column": "cals"},
                {"kind": "max", "column": "plan"},
            ],
            candidates=[{"name": "a", "kind": "logistc"}, *[{"name": "b", "kind": "logistic"}] * 2],
        )
    )
    assert set(found) == {
        "features.0.columns", "features.1.lag.months", "features.2.mean", "features.3.max", "candidates.0.kind",
        "candidates",
    }  # fmt: skip


def test_a_ratio_of_an_invalid_feature_is_not_called_unknown() -> None:
    broken = {"kind": "mean", "column": "calls", "months": 1}
    ratio = {"kind": "ratio", "numerator": "calls", "denominator": "calls_mean_1m"}
    assert list(findings(document(features=[broken, ratio]))) == ["features.0.mean.months"]


@pytest.mark.parametrize("given", [None, [], "churn", 7])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    assert findings(given)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": {"key": "id", "columns": {"age": "integer"}}},
        {"schema": {"key": "id", "columns": {"age": ["integer"]}}},
        {"schema": {"key": "id", "columns": 7}},
        {"schema": "x"},
        {"features": ["calls"]},
        {"features": {"kind": "lag"}},
        {"features": [{1: 2, "kind": "lag", "column": "calls"}]},
        {"features": [{"kind": "lag", "column": ["calls"]}]},
        {"source": {"path": "x"}},
        {"candidates": [None]},
    ],
)
def test_values_of_the_wrong_shape_are_findings_and_no_crash(changes: dict[str, Any]) -> None:
    (section,) = changes
    assert all(place.split(".")[0] == section for place in findings(document(**changes)))


def test_columns_may_be_given_by_name() -> None:
    columns = {c["name"]: {k: v for k, v in c.items() if k != "name"} for c in COLUMNS}
    assert declared(schema={"key": "customer_id", "columns": columns}).schema_ == declared().schema_


def test_features_are_named_after_what_they_are() -> None:
    spec = declared(
        features=[
            {"kind": "lag", "column": "calls"}, {"kind": "delta", "column": "calls", "months": 6},
            {"kind": "std", "column": "calls"}, {"kind": "bucket", "column": "calls", "edges": [1]},
            {"kind": "ratio", "numerator": "charge", "denominator": "calls_std_3m"},
            {"kind": "sum", "column": "calls", "name": "all_calls"},
        ]
    )  # fmt: skip
    assert spec.feature_names == [
        "calls_lag_1m", "calls_delta_6m", "calls_std_3m", "calls_bucket", "charge_per_calls_std_3m", "all_calls",
    ]  # fmt: skip
    assert spec.calendar.lookback == 6


@pytest.mark.parametrize(
    ("feature", "lookback"),
    [
        ({"kind": "columns", "columns": ["calls"]}, 0),
        ({"kind": "lag", "column": "calls", "months": 4}, 4),
        ({"kind": "delta", "column": "calls", "months": 4}, 4),
        ({"kind": "mean", "column": "calls", "months": 4}, 3),
        ({"kind": "ratio", "numerator": "calls", "denominator": "charge"}, 0),
    ],
)
def test_the_calendar_looks_as_far_back_as_the_features(feature: dict[str, Any], lookback: int) -> None:
    assert declared(features=[feature]).calendar.lookback == lookback


def test_the_calendar_follows_label_and_training() -> None:
    spec = declared(label={"kind": "same_row", "horizon": 3}, training={"months": 4, "split": "holdout"})
    assert (spec.calendar.horizon, spec.calendar.training_months, spec.calendar.split) == (0, 4, "holdout")
    assert declared(label={"kind": "flag", "horizon": 3}).calendar.horizon == 3
    assert declared(training={"every": 3}).calendar.train_every == 3
    ended = declared(months={"start": "2024-01", "end": "2024-06"}).calendar
    assert (ended.start, ended.end) == (Month(2024, 1), Month(2024, 6))


def test_a_specification_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        declared().name = "other"  # type: ignore[misc]


def test_a_feature_reads_as_far_back_as_what_it_is_made_of() -> None:
    document = yaml.safe_load((Path(__file__).parents[2] / "churn_assets/defs/churn/defs.yaml").read_text())
    lookbacks = PipelineSpec.model_validate(document["attributes"]).lookbacks
    assert lookbacks["contract"] == 0
    assert lookbacks["support_calls_lag_1m"] == 1
    assert lookbacks["data_gb_mean_4m"] == lookbacks["data_gb_trend"] == 3


def test_categories_may_be_numbers_and_never_silently_booleans() -> None:
    spec = declared(schema=schema({"name": "band", "type": "category", "allowed": [1, "2", 2.5]}))
    assert spec.schema_.attributes["band"].allowed == ["1", "2", "2.5"]
    told = findings(document(schema=schema({"name": "b", "type": "category", "allowed": [True]})))
    assert told == {"schema.columns.4.allowed.0": "expected a text, found true. Put it into quotes, such as 'Yes'."}
