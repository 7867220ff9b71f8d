"""What is said of a feature is true: its numbers are the data's, and its verbs agree with their signs."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.features.words import Words
from churn_assets.spec import PipelineSpec
from churn_assets_tests.declared import COLUMNS, declared
from churn_assets_tests.features.panels import computed, features
from churn_assets_tests.installation import shipped_spec

OBSERVED = {"x": "number", "n": "integer", "flag": "boolean", "plan": "category", "support_calls": "integer"}
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def said(value: Any, *declared: dict[str, Any], name: str = "", **beside: Any) -> str:
    """What is said of one customer's last feature."""
    made = features(*declared)
    name = name or made[-1].names[-1]
    frame = pl.DataFrame({name: [value], **{n: [v] for n, v in beside.items()}})
    phrase = Words(made, OBSERVED).phrase(name, frame.schema)
    return str(frame.select(phrase).item())


def columns(*names: str) -> dict[str, Any]:
    return {"kind": "columns", "columns": list(names)}


@pytest.mark.parametrize(
    ("value", "definition", "beside", "expected"),
    [
        (2, columns("tenure_months"), {}, "tenure of 2 months"),
        (1, columns("tenure_months"), {}, "tenure of 1 month"),
        (3, columns("support_calls"), {}, "3 support calls"),
        (1, columns("support_calls"), {}, "1 support call"),
        (0, columns("support_calls"), {}, "no support calls"),
        (1, columns("contract_months_left"), {}, "1 contract month left"),
        (12.0, columns("days_since_last_login"), {}, "days since last login: 12"),
        (89.5, columns("monthly_charge"), {}, "monthly charge is 89.5"),
        (1234567, columns("total"), {}, "total is 1,235,000"),
        ("month-to-month", columns("contract"), {}, "contract is month-to-month"),
        (True, columns("tech_support"), {}, "tech support: yes"),
        (False, columns("tech_support"), {}, "no tech support"),
        (False, columns("is_senior"), {}, "not senior"),
        (False, columns("no_internet"), {}, "no internet: no"),
        (None, columns("data_gb"), {}, "data gb isn't known"),
        (float("nan"), columns("data_gb"), {}, "data gb isn't known"),
        (None, columns("support_calls"), {}, "support calls aren't known"),
        (3, {"kind": "lag", "column": "support_calls"}, {}, "3 support calls one month ago"),
        ("b", {"kind": "lag", "column": "plan", "months": 2}, {}, "plan two months ago was b"),
        (12.3, {"kind": "delta", "column": "x", "months": 3}, {}, "x rose by 12.3 in three months"),
        (-4.0, {"kind": "delta", "column": "n", "months": 3}, {"n": 1}, "n fell from 5 to 1 in three months"),
        (0.04, {"kind": "delta", "column": "x"}, {"x": 1000.02}, "x rose by 0.04 to 1,000 in one month"),
        (0.0, {"kind": "delta", "column": "x", "months": 3}, {"x": 2.0}, "x unchanged from three months ago"),
        (-1.0, {"kind": "delta", "column": "flag", "months": 2}, {"flag": False}, "no flag now, but two months ago"),
        (3.0, {"kind": "sum", "column": "support_calls"}, {}, "3 support calls in three months"),
        (0.4, {"kind": "mean", "column": "x", "months": 18}, {}, "mean x over 18 months is 0.4"),
        (0.0, {"kind": "std", "column": "x", "months": 4}, {}, "x didn't vary over four months"),
        (-0.25, {"kind": "trend", "column": "x"}, {}, "x fell by 0.25 a month over three months"),
        (7, {"kind": "months_since", "column": "flag", "months": 12}, {}, "months since flag: 7"),
        (0, {"kind": "months_since", "column": "n", "above": 0}, {}, "n above 0 this month"),
        (None, {"kind": "months_since", "column": "n", "above": 0}, {}, "n above 0: not known of any of six months"),
        (2, {"kind": "count", "column": "plan", "equals": "a"}, {}, "plan a in 2 of six months"),
        (0.75, {"kind": "share", "column": "flag", "months": 4}, {},
         "flag in 75% of four months, as far as they are known"),
        ("2-4", {"kind": "bucket", "column": "n", "edges": [2, 4]}, {}, "n from 2 to below 4"),
        ("2-4", {"kind": "bucket", "column": "tenure_months", "edges": [2, 4]}, {}, "tenure from 2 to below 4 months"),
        (0.93, {"kind": "rank", "column": "x", "by": "plan"}, {},
         "rank of x among customers with the same plan is 0.93 (1 is the highest)"),
        ("a & b", {"kind": "interaction", "columns": ["plan", "flag"]}, {}, "combination of plan and flag is a & b"),
        (6.0, {"kind": "interaction", "columns": ["x", "n"]}, {}, "product of x and n is 6"),
    ],
)  # fmt: skip
def test_every_kind_reads_as_a_sentence_part(
    value: Any, definition: dict[str, Any], beside: dict[str, Any], expected: str
) -> None:
    assert said(value, definition, **beside) == expected


def test_a_ratio_to_ones_own_mean_says_so() -> None:
    mean = {"kind": "mean", "column": "x", "months": 4}
    ratio = {"kind": "ratio", "numerator": "x", "denominator": "x_mean_4m"}
    assert said(0.4, mean, ratio) == "x is 0.4 of its four-month mean"
    assert said(1.3, mean, ratio) == "x is 1.3 times its four-month mean"
    assert said(0.5, {"kind": "ratio", "numerator": "x", "denominator": "n"}) == "ratio of x to n is 0.5"


def test_buckets_are_the_intervals_that_were_computed() -> None:
    made = features({"kind": "bucket", "column": "x", "edges": [-1.5, 0, 2]})
    panel = {0: {str(v): {"x": v} for v in (-2.0, -1.5, -0.1, 0.0, 2.0)}}
    rows = pl.DataFrame([row for _, row in sorted(computed(panel, made).items(), key=lambda r: float(r[0]))])
    texts = rows.select(Words(made, OBSERVED).phrase("x_bucket", rows.schema)).to_series().to_list()
    assert texts == ["x below -1.5", "x from -1.5 to below 0", "x from -1.5 to below 0", "x from 0 to below 2",
                     "x 2 or more"]  # fmt: skip


@pytest.mark.parametrize("name", ["Größe", "a b", "{x}", "{}", "100%", "_", 'say "hi"', "x\\1$1"])
@pytest.mark.parametrize("kind", ["columns", "lag", "delta", "mean", "trend", "months_since", "bucket", "rank"])
def test_any_name_is_said_as_it_is(name: str, kind: str) -> None:
    more = {"months_since": {"above": 1}, "bucket": {"edges": [1]}}.get(kind, {})
    definition = columns(name) if kind == "columns" else {"kind": kind, "column": name, **more}
    value = "<1" if kind == "bucket" else 3.5
    assert name.replace("_", " ").strip() in said(value, definition)


def test_a_missing_value_says_what_its_column_declares_of_it() -> None:
    left = [{**c, "nullable": True, "when_missing": "no plan"} if c["name"] == "plan" else c for c in COLUMNS]
    words = Words.of(declared(schema={"key": "customer_id", "columns": left}))
    customers = pl.DataFrame({"plan": ["basic", None], "calls": [None, 2]}, schema_overrides={"calls": pl.Int64})
    told = [customers.select(words.phrase(name, customers.schema)).to_series().to_list() for name in customers.columns]
    assert told == [["plan is basic", "no plan"], ["calls aren't known", "2 calls"]]


def test_a_feature_that_isnt_declared_has_its_name_and_value() -> None:
    assert said(4.30001, columns("x"), name="gone_3m") == "gone_3m = 4.3"
    assert said(None, columns("x"), name="{gone}") == "{gone} = missing"
    assert Words().group("gone") == "gone"


finite = st.one_of(
    st.just(0.0),
    st.floats(1e-6, 1e14).flatmap(lambda v: st.sampled_from([v, -v])),
    st.integers(-(10**6), 10**6).map(float),
)


def numbers(text: str) -> list[float]:
    return [float(n.replace(",", "")) for n in NUMBER.findall(text)]


def near(found: float, value: float) -> bool:
    """Whether ``found`` is ``value`` in four significant digits."""
    return abs(found - value) <= 0.5001e-3 * abs(value)


KINDS: list[tuple[dict[str, Any], Any]] = [
    (columns("x"), lambda v: v),
    (columns("support_calls"), lambda v: v),
    ({"kind": "lag", "column": "x", "months": 3}, lambda v: v),
    ({"kind": "mean", "column": "x"}, lambda v: v),
    ({"kind": "sum", "column": "x"}, lambda v: v),
    ({"kind": "sum", "column": "support_calls"}, lambda v: v),
    ({"kind": "sum", "column": "flag"}, lambda v: v),
    ({"kind": "min", "column": "x"}, lambda v: v),
    ({"kind": "max", "column": "x"}, lambda v: v),
    ({"kind": "std", "column": "x"}, lambda v: v),
    ({"kind": "trend", "column": "x"}, abs),
    ({"kind": "delta", "column": "x", "months": 3}, abs),
    ({"kind": "months_since", "column": "flag"}, lambda v: v),
    ({"kind": "count", "column": "flag"}, lambda v: v),
    ({"kind": "share", "column": "flag"}, lambda v: v * 100),
    ({"kind": "ratio", "numerator": "x", "denominator": "n"}, lambda v: v),
    ({"kind": "interaction", "columns": ["x", "n"]}, lambda v: v),
    ({"kind": "python", "function": "churn_assets_tests.features.own_functions:spread", "columns": ["x"],
      "names": {"own": "number"}}, lambda v: v),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "of"), KINDS, ids=lambda d: d.get("kind") if isinstance(d, dict) else "")
@settings(max_examples=40)
@given(value=finite)
def test_the_number_that_is_said_is_the_datas(definition: dict[str, Any], of: Any, value: float) -> None:
    text = said(value, definition)
    found = [n for n in numbers(text) if "highest" not in text]
    if value == 0 and not found:
        assert re.search(r"\bno |unchanged|didn't vary|without a trend|this month", text)
    else:
        assert len(found) == 1 and near(found[0], of(value)), text
    if definition["kind"] in ("trend", "delta") and value:
        assert (" rose " in text) == (value > 0) and (" fell " in text) == (value < 0)


@settings(max_examples=200)
@given(now=finite, before=finite)
def test_a_change_goes_from_what_was_to_what_is(now: float, before: float) -> None:
    change = now - before
    text = said(change, {"kind": "delta", "column": "x", "months": 3}, x=now)
    found = numbers(text)
    if change == 0:
        assert text == "x unchanged from three months ago"
        return
    assert (" rose " in text) == (change > 0) and (" fell " in text) == (change < 0)
    assert near(found[-1], now)
    if " from " in text:
        assert abs(found[0] - before) <= 0.5001e-3 * abs(before) + 1e-9 * abs(now)
        assert (found[0] < found[1]) == (change > 0)
    else:
        assert near(found[0], abs(change))


def test_made_of_the_same_column_is_one_group() -> None:
    spec = PipelineSpec.model_validate({**shipped_spec(), "name": "churn"})
    words = Words.of(spec)
    groups = {name: words.group(name) for name in spec.feature_names}
    assert groups["support_calls_delta_1m"] == groups["support_calls_sum_3m"] == "support_calls"
    assert groups["data_gb_trend"] == "data_gb" and groups["tenure_months_bucket"] == "tenure_months"
    of_two = Words.of(declared(features=[columns("calls", "charge"), {"kind": "ratio", "name": "per", "numerator":
                                         "charge", "denominator": "calls"}]))  # fmt: skip
    assert of_two.group("per") == "per"


def test_a_measure_in_days_says_so() -> None:
    measures = [{"name": n, "kind": k} for n, k in (("recency", "recency"), ("days_since_order", "recency"))]
    names = ["recency", "days_since_order"]
    spec = declared(
        schema={"key": "customer_id", "columns": [{"name": "at", "type": "timestamp", "role": "time"}]},
        events={"active_months": 3, "measures": measures}, label={"kind": "inactivity"}, features=[columns(*names)],
    )  # fmt: skip
    frame = pl.DataFrame({"recency": [1, 12], "days_since_order": [1, 12]})
    texts = frame.select(Words.of(spec).phrase(n, frame.schema) for n in names).rows()
    assert texts == [("recency of 1 day", "1 day since order"), ("recency of 12 days", "12 days since order")]


def test_every_shipped_feature_is_said_of_every_customer_of_a_month() -> None:
    spec = PipelineSpec.model_validate({**shipped_spec(), "name": "churn"})
    dtypes = {"boolean": pl.Boolean, "integer": pl.Int64, "number": pl.Float64}
    missing = pl.DataFrame(
        {n: pl.Series([None], dtype=dtypes.get(t, pl.String)) for n, t in spec.feature_types.items()}
    )
    words = Words.of(spec)
    texts = missing.select(words.phrase(n, missing.schema) for n in spec.feature_names).row(0)
    declared = set(spec.missing_words.values())
    assert declared == {"no contract term", "no internet"}
    assert all(text and ("known" in text or text in declared) for text in texts)
    assert len(set(texts)) == len(texts), "each says by itself which one it is"
