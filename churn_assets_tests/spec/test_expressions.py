from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.spec import SchemaSpec
from churn_assets.spec.data import RuleSpec
from churn_assets.spec.expressions import columns_of, compiled, problem_of

SCHEMA = SchemaSpec.model_validate({
    "key": "id",
    "columns": [
        {"name": "tenure", "type": "integer"}, {"name": "Call Failure", "type": "number"},
        {"name": "plan", "type": "category"}, {"name": "since", "type": "date"},
        {"name": "active", "type": "boolean"}, {"name": "note", "type": "string", "role": "ignored"},
        {"name": "select", "type": "integer"},
    ],
})  # fmt: skip


def rule(expression: str, **more: Any) -> RuleSpec:
    return RuleSpec(id="r", expression=expression, **more)


GOOD: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    ("tenure >= previous.tenure", ("tenure",), ("tenure",)),
    ('"Call Failure" <= 100 AND tenure > 0', ("Call Failure", "tenure"), ()),
    ('tenure > previous."Call Failure"', ("tenure",), ("Call Failure",)),
    ("plan <> 'previous.plan'", ("plan",), ()),
    ("plan = 'it''s previous.x' AND previous.plan IS NOT NULL", ("plan",), ("plan",)),
    ("since < month_end AND since >= previous.month", ("since",), ("month",)),
    ("month_start - since < INTERVAL '3000 days'", ("since",), ()),
    ("plan IN ('a', 'b') AND NOT active", ("plan", "active"), ()),
    ("active", ("active",), ()),
    ("previous.active", (), ("active",)),
    ("id LIKE 'c%'", ("id",), ()),
    ("ABS(tenure - COALESCE(previous.tenure, 0)) <= GREATEST(tenure, 1)", ("tenure",), ("tenure",)),
    ("CASE WHEN active THEN tenure > 1 ELSE tenure IN (0, 1) END", ("active", "tenure"), ()),
    ("EXTRACT(year FROM since) > 1990", ("since",), ()),
    ("tenure BETWEEN 0 AND 100 OR (tenure IS NULL)", ("tenure",), ()),
    ('"select" > 1', ("select",), ()),
    ("since > DATE '2020-01-01'", ("since",), ()),
    ("LENGTH(plan) > 1", ("plan",), ()),
    ("CAST(tenure AS DOUBLE) / 2 < 10", ("tenure",), ()),
]


@pytest.mark.parametrize(("expression", "own", "previous"), GOOD)
def test_a_rule_names_its_columns(expression: str, own: tuple[str, ...], previous: tuple[str, ...]) -> None:
    assert problem_of(rule(expression), SCHEMA) == ""
    found = columns_of(rule(expression), SCHEMA)
    assert (set(found[0]), found[1]) == (set(own), previous)


BAD: list[tuple[str, str]] = [
    ("tenure >", "expected an SQL expression"),
    ("tenure > 1; DROP TABLE x", "expected an SQL expression"),
    ("tenure > 'unclosed", "expected an SQL expression"),
    ("tenur > 1", "no column 'tenur'. Did you mean 'tenure'?"),
    ("tenure > previous.tenur", "no column previous.tenur. Did you mean 'tenure'?"),
    ("note = 'x'", "column 'note' has 'role: ignored'."),
    ("tenure + 1", "expected an expression that is true or false, found Int64"),
    ("plan", "expected an expression that is true or false, found String"),
    ("tenure > 'x'", "the expression can't be evaluated"),
    ("tenure > CAST('x' AS INT)", "the expression can't be evaluated"),
    ("since > '2024-01-01'", "the expression can't be evaluated"),
    ("1 = 1", "expected a column, found none"),
    ("month_start < month_end", "expected a column, found none"),
    ("tenure > AVG(tenure)", "AVG is no function of single rows"),
    ("SUM(tenure) > 1", "SUM is no function of single rows"),
    ("COUNT(*) > 1", "COUNT is no function of single rows"),
    ("LAG(tenure) OVER (ORDER BY since) > 1", "expected an expression on single rows, found OVER"),
    ("tenure IN (SELECT 1)", "expected an expression on single rows, found SELECT"),
    ("EXISTS (SELECT 1)", "expected an expression on single rows"),
    ("tenure > ALL(tenure)", "expected an expression on single rows, found ALL"),
    ("lenght(plan) > 1", "lenght is no function of single rows. Did you mean 'length'?"),
    ("tenure > 1 -- and more", "without comments"),
    ("tenure > /* one */ 1", "without comments"),
    ("tenure > PREVIOUS.tenure", "write previous.<column> in small letters"),
    ("tenure > previous . tenure", "write previous.<column> in small letters"),
    ("tenure > previous", "no column 'previous'"),
    ("tenure.x > 1", ""),
    ("* > 1", ""),
    ("tenure > 1 AS x, plan", ""),
]


@pytest.mark.parametrize(("expression", "told"), BAD)
def test_a_rule_that_is_none_is_told_in_a_sentence(expression: str, told: str) -> None:
    problem = problem_of(rule(expression), SCHEMA)
    assert problem and told in problem
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["month_end", "previous.tenure"])
def test_a_column_may_not_have_a_name_of_the_rules(name: str) -> None:
    taken = SchemaSpec.model_validate(
        {"key": "id", "columns": [{"name": name, "type": "date"}, {"name": "x", "type": "integer"}]}
    )
    assert "Rename it" in problem_of(rule("x > 1"), taken)


def test_an_expression_means_what_it_says() -> None:
    frame = pl.DataFrame({"tenure": [3, 5, None], "previous.tenure": [4, 5, 6], "plan": ["previous.x", "b", None]})
    both = "tenure >= previous.tenure OR plan = 'previous.x'"
    assert frame.select(compiled(both)).to_series().to_list() == [True, True, None]
    bounds = pl.DataFrame({"since": [date(2024, 1, 31)], "month_end": [date(2024, 2, 1)]})
    assert bounds.select(compiled("since < month_end")).item()


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=" abetnurpiovsxl.1'\"()*,;=<>-+_\\%|&~[]{}?", min_size=1, max_size=25) | st.text(min_size=1))
def test_any_text_is_a_rule_or_has_a_problem(text: str) -> None:
    assert isinstance(problem_of(RuleSpec.model_construct(id="r", expression=text, within=1), SCHEMA), str)
