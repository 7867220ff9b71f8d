from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets.spec import LabelSpec, MeasureSpec, PipelineSpec, SchemaSpec
from churn_assets.spec.events import told
from churn_assets.spec.expressions import problem_of_column
from churn_assets_tests.declared import COLUMNS, document

TIME: dict[str, Any] = {"name": "at", "type": "timestamp", "role": "time"}
LINES: list[dict[str, Any]] = [
    TIME,
    {"name": "pieces", "type": "integer"},
    {"name": "price", "type": "number"},
    {"name": "kind", "type": "category", "allowed": ["order", "return"]},
    {"name": "shop", "type": "category"},
    {"name": "note", "type": "string", "role": "ignored"},
    {"name": "amount", "type": "number", "expression": "pieces * price"},
    {"name": "returned", "type": "boolean", "expression": "kind = 'return'"},
]
COUNT = {"name": "lines", "kind": "count"}
SPENT = {"name": "spent", "kind": "sum", "column": "amount", "where": {"returned": False}}
RECENCY = {"name": "last", "kind": "recency", "months": 3}


def schema(*columns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"key": "customer_id", "columns": list(columns or LINES), **more}


def events(*measures: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"active_months": 2, "measures": list(measures or (COUNT, SPENT, RECENCY)), **more}


def shop(**changes: Any) -> dict[str, Any]:
    """A valid pipeline of events as it stands in YAML, with whole sections replaced."""
    return document(**{
        "schema": schema(),
        "events": events(),
        "label": {"kind": "inactivity", "horizon": 2},
        "features": [
            {"kind": "columns", "columns": ["lines", "last"]},
            {"kind": "mean", "column": "spent", "months": 4},
        ],
        "value": {"monthly_value": "spent_mean_4m"},
        **changes,
    })  # fmt: skip


def findings(given: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as error:
        PipelineSpec.model_validate(given)
    return {".".join(map(str, e["loc"])): e["msg"].removeprefix("Value error, ") for e in error.value.errors()}


def test_a_pipeline_of_events_reads_what_its_measures_and_its_activity_need() -> None:
    spec = PipelineSpec.model_validate(shop())
    assert spec.schema_.time == "at"
    assert spec.observed == {"lines": "integer", "spent": "number", "last": "integer"}
    assert spec.calendar.lookback == 3
    assert spec.lookbacks == {"lines": 0, "last": 2, "spent_mean_4m": 3}
    assert spec.feature_descriptions["last"] == "Days from the last event to the month's end in 3 months."
    longer = {"active_months": 6, "measures": [COUNT, SPENT, {**RECENCY, "months": 5}]}
    assert PipelineSpec.model_validate(shop(events=longer)).calendar.lookback == 5
    longer["active_months"] = 7
    assert PipelineSpec.model_validate(shop(events=longer)).calendar.lookback == 6


CONFLICTS: list[tuple[dict[str, Any], str, str]] = [
    ({"schema": schema(*LINES[1:])}, "events", "found none. Give it 'role: time'"),
    ({"schema": schema(*LINES, {"name": "gone", "type": "boolean", "role": "churned"})}, "schema.columns",
     "drop 'role: churned' of 'gone'"),
    ({"label": {"kind": "flag"}}, "label.kind", "leave by inactivity; found kind flag"),
    ({"label": {"kind": "absence"}}, "label.kind", "leave by inactivity; found kind absence"),
    ({"schema": schema(rules=[{"id": "r", "expression": "price >= previous.price"}])},
     "schema.rules.0.expression", "no previous row"),
    ({"schema": schema({**TIME, "type": "category"}, *LINES[1:])}, "schema.columns.0", "has type timestamp or date"),
    ({"schema": schema({**TIME, "nullable": True}, *LINES[1:])}, "schema.columns.0", "drop nullable"),
    ({"schema": schema(*LINES, {**TIME, "name": "when"})}, "schema.columns", "role time, found at, when"),
    ({"events": {"active_months": 1, "measures": []}}, "events.measures", "at least 1"),
    ({"events": {"measures": [COUNT]}}, "events.active_months", "expected a value, found nothing"),
    ({"events": events(COUNT, COUNT)}, "events", "declared twice: lines"),
    ({"events": events({**COUNT, "kind": "cuont"})}, "events.measures.0.kind", "'count'"),
    ({"events": events(COUNT, {**SPENT, "column": None})}, "events.measures.1", "kind sum needs column"),
    ({"events": events({**COUNT, "column": "shop"})}, "events.measures.0", "drop column, or use where"),
    ({"events": events(COUNT, {**SPENT, "months": 3})}, "events.measures.1",
     "a feature such as {kind: sum, column: spent, months: 3}"),
    ({"events": events({**COUNT, "months": 3}, SPENT)}, "events.measures.0", "{kind: sum, column: lines, months: 3}"),
    ({"events": events(COUNT, {**SPENT, "column": "amuont"}, RECENCY)}, "events.measures.1.column",
     "Did you mean 'amount'?"),
    ({"events": events(COUNT, {**SPENT, "column": "note"}, RECENCY)}, "events.measures.1.column", "is called 'note'"),
    ({"events": events(COUNT, {**SPENT, "column": "shop"}, RECENCY)}, "events.measures.1.column",
     "expected a number, found 'shop' of type category"),
    ({"events": events(COUNT, SPENT, RECENCY, {"name": "p", "kind": "most_frequent", "column": "price"})},
     "events.measures.3.column", "expected a category, found 'price'"),
    ({"events": events(COUNT, SPENT, RECENCY, {**COUNT, "name": "customer_id"})}, "events.measures.3.name",
     "use the name customer_id themselves"),
    ({"events": events(COUNT, SPENT, RECENCY, {**COUNT, "name": "month"})}, "events.measures.3.name", "the name month"),
    ({"events": events(activity={"retuned": False})}, "events.activity.retuned", "Did you mean 'returned'?"),
    ({"events": events(activity={"returned": "no"})}, "events.activity.returned", "of type boolean; found 'no'"),
    ({"events": events(activity={"pieces": "one"})}, "events.activity.pieces", "of type integer; found 'one'"),
    ({"events": events(activity={"kind": ["order", "renewal"]})}, "events.activity.kind",
     "one of order, return; found 'renewal'"),
    ({"events": events(activity={"shop": True})}, "events.activity.shop", "of type category; found 'true'"),
    ({"events": events(activity={"at": "2024-01-01"})}, "events.activity.at", "Declare a boolean column"),
    ({"events": events(COUNT, {**SPENT, "where": {"x": 1}}, RECENCY)}, "events.measures.1.where.x", "is called 'x'"),
    ({"value": {"monthly_value": "spent"}}, "value.monthly_value", "no feature is called 'spent'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "place", "text"), CONFLICTS)
def test_each_conflict_is_found_at_its_place(changes: dict[str, Any], place: str, text: str) -> None:
    found = findings(shop(**changes))
    assert list(found) == [place]
    assert text in found[place]


@pytest.mark.parametrize("kind", ["lag", "sum", "mean", "delta"])
def test_a_measure_of_several_months_has_no_earlier_value(kind: str) -> None:
    declared = [*shop()["features"], {"kind": kind, "column": "last", "months": 2}]
    found = findings(shop(features=declared))
    assert "'last' looks at 3 months and exists at the month itself only." in found[f"features.2.{kind}"]
    PipelineSpec.model_validate(shop(features=[*declared[:2], {"kind": "bucket", "column": "last", "edges": [30]}]))


def test_a_feature_is_made_of_measures_and_not_of_the_columns_of_single_events() -> None:
    found = findings(shop(features=[*shop()["features"], {"kind": "sum", "column": "amount"}]))
    assert "amount" in found["features.2.sum"]


def test_a_snapshot_takes_no_time_and_no_inactivity() -> None:
    found = findings(document(schema=schema(*COLUMNS, TIME)))
    assert "'at' has role time, so that rows are events" in found["events"]
    assert "kind inactivity needs events" in findings(document(label={"kind": "inactivity"}))["label.kind"]


def test_a_section_that_is_wrong_in_itself_makes_no_further_findings() -> None:
    given = shop(events=events({**COUNT, "kind": "counts"}))
    assert list(findings(given)) == ["events.measures.0.kind"]


def test_a_condition_may_name_one_value_or_several() -> None:
    condition = {"kind": ["order", "return"], "pieces": 1, "returned": False}
    spec = PipelineSpec.model_validate(shop(events=events(activity=condition)))
    assert spec.events is not None
    assert told(spec.events.activity) == "kind is order or return and pieces is 1 and returned is false"
    assert PipelineSpec.model_validate(shop(events=spec.events.model_dump(mode="json"))).events == spec.events


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (COUNT, "Events in the month."),
        (SPENT, "Sum of amount in the month, where returned is false."),
        ({**SPENT, "description": "Pounds."}, "Pounds."),
        ({"name": "x", "kind": "distinct", "column": "shop", "months": 2}, "Distinct values of shop in 2 months."),
    ],
)
def test_a_measure_is_told_in_words(measure: dict[str, Any], words: str) -> None:
    assert MeasureSpec.model_validate(measure).describe() == words


def made(expression: str, kind: str = "number", **more: Any) -> dict[str, Any]:
    return {"name": "made", "type": kind, "expression": expression, **more}


EXPRESSIONS: list[tuple[dict[str, Any], str]] = [
    (made("pieces * price"), ""),
    (made("pieces"), ""),
    (made("pieces * 2", "integer"), ""),
    (made("amount > 10 OR returned", "boolean"), ""),
    (made("shop || '-' || kind", "category"), ""),
    (made("customer_id LIKE 'C%'", "boolean"), ""),
    (made("at < month_end", "boolean"), ""),
    (made("CAST(at AS DATE)", "date"), ""),
    (made("CASE WHEN returned THEN at END", "timestamp"), ""),
    (made("pieces * pric"), "no column 'pric'. Did you mean 'price'?"),
    (made("later * 2"), "no column 'later'"),
    (made("made * 2"), "no column 'made'"),
    (made("note = 'x'", "boolean"), "column 'note' has 'role: ignored'"),
    (made("price / 2", "integer"), "expected an expression of type integer, found Float64 in 'price / 2'. Use CAST"),
    (made("returned"), "expected an expression of type number, found Boolean"),
    (made("pieces", "boolean"), "expected an expression of type boolean, found Int64"),
    (made("at", "date"), "expected an expression of type date, found Datetime"),
    (made("previous.price"), "previous. is for rules"),
    (made("SUM(price)"), "SUM is no function of single rows"),
    (made("pieces *"), "expected an SQL expression such as 'price * pieces', found 'pieces *'"),
    (made("1 + 1"), "expected a column, found none"),
    (made("month_start", "date"), "expected a column, found none"),
    (made("price + shop"), "the expression can't be evaluated"),
]


@pytest.mark.parametrize(("column", "told"), EXPRESSIONS)
def test_an_expression_must_make_a_value_of_the_columns_type(column: dict[str, Any], told: str) -> None:
    later = {"name": "later", "type": "integer", "expression": "pieces"}
    declared = SchemaSpec.model_validate(schema(*LINES, column, later))
    problem = problem_of_column(declared.columns[-2], declared)
    assert told in problem and bool(told) == bool(problem)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"source": "x"}, "drop source"), ({"optional": True}, "drop optional"), ({"fill": 0}, "drop fill"),
        ({"missing": ["?"], "decimal": ","}, "drop missing, decimal"), ({"unit": "$"}, "drop unit"),
    ],
)  # fmt: skip
def test_what_is_made_is_not_read(more: dict[str, Any], told: str) -> None:
    assert told in findings(shop(schema=schema(*LINES, made("price", **more))))["schema.columns.8"]


def test_a_wrong_expression_is_found_at_its_place_in_snapshots_too() -> None:
    given = document(schema={"key": "customer_id", "columns": [*COLUMNS, made("calls * charg")]})
    assert "Did you mean 'charge'?" in findings(given)["schema.columns.4.expression"]
    given = document(schema={"key": "calls", "columns": [*COLUMNS, made("charge", source=None)]})
    given["schema"]["columns"][1] = {"name": "calls", "type": "integer", "expression": "1"}
    assert "the key 'calls' must be a column of the source" in findings(given)["schema"]


def test_a_made_column_of_a_snapshot_is_an_attribute() -> None:
    given = document(
        schema={"key": "customer_id", "columns": [*COLUMNS, made("calls * charge")]},
        features=[{"kind": "mean", "column": "made", "months": 2}],
        value={"monthly_value": "made_mean_2m"},
    )
    assert PipelineSpec.model_validate(given).feature_names == ["made_mean_2m"]


@pytest.mark.parametrize(("kind", "most"), [("flag", 0.6), ("absence", 0.6), ("inactivity", 0.2)])
def test_a_longer_horizon_has_more_leavers_but_not_by_inactivity(kind: str, most: float) -> None:
    label = LabelSpec.model_validate({"kind": kind, "horizon": 3, "min_rate": 0.1, "max_rate": 0.2})
    assert label.plausible == (0.1, pytest.approx(most))
    assert LabelSpec(horizon=24, max_rate=0.5).plausible[1] == 1.0
