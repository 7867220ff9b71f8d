from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.errors import ChurnAssetsError, LearningError
from churn_assets.learning.promotion import PromotionDecision, as_row, stays
from churn_assets.months import Month, month_range
from churn_assets.orders import Order, TrainingDecision, give, order_on, training_in, withdraw
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec import CandidateSpec
from churn_assets.store.lake import Commit
from churn_assets.verdicts import awaiting
from churn_assets_tests.declared import declared

JAN, FEB, MAR, APR = month_range(Month(2024, 1), Month(2024, 4))
ANNA = Order("anna", "the tariffs have changed.")
SEARCHED: dict[str, Any] = {"name": "searched", "kind": "logistic", "tuning": {"trials": 2}}
ORDERED = {"name": "ordered", "kind": "xgboost", "tuning": {"trials": 2, "only_ordered": True}}
PLAIN = {"name": "plain", "kind": "logistic"}


def decide(pipeline: Pipeline, month: Month, decision: PromotionDecision) -> None:
    facts = {"champion": decision.champion, "awaiting": decision.awaiting}
    pipeline.lake.write("promotions", month, as_row(decision), Commit("f"), facts=facts)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A model is due every third month; January has left a champion, February and March keep it."""
    spec = declared(training={"every": 3}, candidates=[PLAIN, ORDERED], months={"start": "2024-01", "end": "2024-05"})
    made = Pipeline(spec, Settings(data=tmp_path, defs=tmp_path))
    for month in (JAN, FEB, MAR):
        decide(made, month, stays("m1", "Not due."))
    return made


def test_a_model_is_trained_where_it_is_due(pipeline: Pipeline) -> None:
    assert training_in(pipeline, JAN) == TrainingDecision(True, "Due every 3 months.")
    assert training_in(pipeline, APR) == TrainingDecision(True, "Due every 3 months.")
    kept = training_in(pipeline, FEB)
    assert not kept.train
    assert kept.reason == (
        'Not due: last due in 2024-01, next in 2024-04, or order it with `churn retrain --month 2024-02 --why "..." '
        "--pipeline shop`."
    )
    decide(pipeline, APR, stays("m1", "Not due."))
    assert "and not again before the pipeline ends" in training_in(pipeline, APR + 1).reason


def test_a_model_is_trained_while_there_is_no_champion(pipeline: Pipeline) -> None:
    decide(pipeline, JAN, PromotionDecision("rejected", "Poor.", "m1", None, None))
    assert training_in(pipeline, FEB) == TrainingDecision(True, "There is no champion yet.")
    assert not training_in(pipeline, MAR).train


def test_an_order_counts_until_it_is_withdrawn_and_all_of_them_are_kept(pipeline: Pipeline) -> None:
    give(pipeline, FEB, ANNA)
    assert order_on(pipeline, FEB) == ANNA
    assert training_in(pipeline, FEB) == TrainingDecision(True, "Ordered by anna: the tariffs have changed.")
    assert not training_in(pipeline, MAR).train, "an order is for its month alone"
    give(pipeline, FEB, replace(ANNA, tuning=True))
    assert training_in(pipeline, FEB).tuning
    withdraw(pipeline, FEB, "ben", "they have not")
    assert order_on(pipeline, FEB) is None and not training_in(pipeline, FEB).train
    history = pipeline.lake.history("training_orders", FEB)
    assert [r.facts["by"] for r in history] == ["anna", "anna", "ben"]


def test_an_order_is_among_the_inputs_of_the_months_model_and_of_nothing_else(pipeline: Pipeline) -> None:
    def read(stage: str) -> set[str]:
        return {name for name in pipeline.inputs(stage, FEB) if name.startswith("training_orders")}

    for table in ("versioned_dataset", "features", "validated_data", "quarantined_data", "predictions"):
        for month in (JAN, FEB):
            pipeline.lake.write(table, month, None, Commit("f"), reason="None.")
    assert read("model") == set()
    give(pipeline, FEB, ANNA)
    assert read("model") == {"training_orders 2024-02"}
    assert read("predictions") == read("versioned_dataset") == set()
    withdraw(pipeline, FEB, "ben", "x")
    assert read("model") == set()


@pytest.mark.parametrize(
    ("order", "month", "said"),
    [
        (replace(ANNA, why=" "), FEB, r"order for 2024-02: expected a reason \(--why\), found none"),
        (ANNA, Month(2023, 12), "expected a month from 2024-01 to 2024-05, found 2023-12"),
        (ANNA, Month(2024, 6), "expected a month from 2024-01 to 2024-05, found 2024-06"),
    ],
)
def test_an_order_that_cant_be_carried_out_is_refused(
    pipeline: Pipeline, order: Order, month: Month, said: str
) -> None:
    with pytest.raises(ChurnAssetsError, match=said):
        give(pipeline, month, order)
    assert not pipeline.lake.months("training_orders")


def test_there_must_be_a_search_to_order_and_an_order_to_withdraw(pipeline: Pipeline) -> None:
    with pytest.raises(LearningError, match="expected one to withdraw, found none"):
        withdraw(pipeline, FEB, "anna", "x")
    plain = Pipeline(declared(candidates=[PLAIN]), pipeline.settings)
    with pytest.raises(LearningError, match="expected a candidate with `tuning`, found none"):
        give(plain, FEB, replace(ANNA, tuning=True))


@given(st.lists(st.sampled_from([SEARCHED, ORDERED, PLAIN]), min_size=1), st.booleans())
def test_searches_that_wait_for_an_order_are_made_on_order_alone(given_: list[dict[str, Any]], tuning: bool) -> None:
    candidates = [CandidateSpec.model_validate(one) for one in given_]
    trained = TrainingDecision(True, "", tuning).candidates(candidates)
    assert [c.name for c in trained] == [c.name for c in candidates]
    searched = [c.name for c in trained if c.tuning]
    assert searched == [c.name for c in candidates if c.name == "searched" or (c.name == "ordered" and tuning)]


def test_a_challenger_waits_until_a_newer_one_comes_or_a_person_decides(pipeline: Pipeline) -> None:
    waits = PromotionDecision("kept", "It waits.", "m2", "m1", "m1", rule="approval")
    decide(pipeline, JAN, waits)
    assert awaiting(pipeline) == (JAN, "m2"), "months in which no model was due change nothing"
    decide(pipeline, MAR, PromotionDecision("kept", "Poor.", "m3", "m1", "m1", rule="floors"))
    assert awaiting(pipeline) is None
    decide(pipeline, MAR, replace(stays("m1", "Rolled back."), decided_by="anna", rule="verdict"))
    assert awaiting(pipeline) is None
    decide(pipeline, MAR, replace(waits, challenger="m3"))
    assert awaiting(pipeline) == (MAR, "m3")
