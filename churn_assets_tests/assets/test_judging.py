"""The gate on real models: trained on rows, judged on others, decided by what the judging found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from churn_assets.assets.judging import Judged, carry_out, judge, quality_checks
from churn_assets.learning.promotion import PromotionDecision, Verdict, decide
from churn_assets.learning.training import TrainedModel, Training, dump, load, train
from churn_assets.spec import PipelineSpec
from churn_assets.spec.learning import CandidateSpec
from churn_assets.store.datasets import PARTS
from churn_assets.store.models import ModelShelf
from churn_assets_tests.declared import declared
from churn_assets_tests.learning.panels import BASELINE, FEATURES, XGBOOST, panel

WEAK = ["paperless", "usage"]
"""Features that have nothing to do with leaving."""


class Silent(LogisticRegression):  # type: ignore[misc]
    """Knows nothing of customers beyond those that it has learned from."""

    def fit(self, X: Any, y: Any) -> Silent:
        self.most_ = np.asarray(X).max(axis=0)
        return super().fit(X, y)  # type: ignore[no-any-return]

    def predict_proba(self, X: Any) -> Any:
        found = super().predict_proba(X)
        found[(np.asarray(X) > self.most_).any(axis=1)] = np.nan
        return found


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return panel(customers=1500, months=4)


@pytest.fixture(scope="module")
def strong(rows: pl.DataFrame) -> Training:
    return train(rows, FEATURES, [BASELINE], seed=0)


@pytest.fixture(scope="module")
def weak(rows: pl.DataFrame) -> Training:
    return train(rows, WEAK, [BASELINE], seed=0)


def spec(**gates: Any) -> PipelineSpec:
    limits = {"floor": 0.55, "max_calibration_error": 0.1, **gates}
    return declared(gates=limits, value={"monthly_value": 20, "contact_cost": 1, "budget": 300})


def parts_of(rows: pl.DataFrame) -> pl.DataFrame:
    counted = (str(rows["event_month"][0])[:7], "validate", len(rows), int(rows["label"].sum()), 0, "", "")
    return pl.DataFrame([counted], PARTS, orient="row")


def gate(
    challenger: Training, rows: pl.DataFrame, champion: TrainedModel | Callable[[], TrainedModel] | None, **gates: Any
) -> PromotionDecision:
    """What the gate says of a real challenger and a real champion on the validation rows."""
    asked = spec(**gates)
    judged = judged_on(challenger, rows, champion, asked)
    return decide(asked.gates, "new", "old" if champion else None, judged.evidence)


def judged_on(
    challenger: Training,
    rows: pl.DataFrame,
    champion: TrainedModel | Callable[[], TrainedModel] | None,
    asked: PipelineSpec,
) -> Judged:
    validation = rows.filter(pl.col("part") == "validate")
    taken = (lambda: champion) if isinstance(champion, TrainedModel) else champion
    return judge(challenger, validation, asked, parts_of(validation), taken)


def only(training: Training) -> TrainedModel:
    return training.models[training.challenger]


def changed(rows: pl.DataFrame, **validation: Any) -> pl.DataFrame:
    """``rows`` with other values in the validation month."""
    judged = pl.col("part") == "validate"
    return rows.with_columns(
        pl.when(judged).then(value).otherwise(name).alias(name) for name, value in validation.items()
    )


@pytest.mark.parametrize("metric", ["auc", "profit"])
def test_a_better_challenger_replaces_the_champion(
    rows: pl.DataFrame, strong: Training, weak: Training, metric: str
) -> None:
    decision = gate(strong, rows, only(weak), metric=metric)
    assert (decision.outcome, decision.rule, decision.metric) == ("promoted", "margin", metric)
    assert decision.difference is not None
    assert decision.difference.lower > 0
    assert decision.evidence["auc"] > decision.evidence["champion_auc"] + 0.1


@pytest.mark.parametrize("metric", ["auc", "profit"])
def test_a_worse_challenger_is_blocked_by_the_interval_even_without_floors(
    rows: pl.DataFrame, strong: Training, weak: Training, metric: str
) -> None:
    decision = gate(weak, rows, only(strong), metric=metric, floor=0, min_lift=0)
    assert (decision.outcome, decision.champion, decision.rule) == ("kept", "old", "margin")
    assert decision.difference is not None
    assert decision.difference.upper < 0
    assert "isn't ruled out" in decision.reason


def test_a_worse_challenger_is_blocked_by_the_floors_before_there_is_a_champion(
    rows: pl.DataFrame, weak: Training
) -> None:
    decision = gate(weak, rows, None, floor=0.6)
    assert (decision.outcome, decision.rule) == ("rejected", "floors")
    assert "is below the floor of 0.6" in decision.reason


def test_a_tie_keeps_the_champion_where_being_worse_by_the_margin_isnt_ruled_out(
    rows: pl.DataFrame, strong: Training
) -> None:
    other = train(rows, FEATURES, [XGBOOST], seed=0)
    close = gate(other, rows, only(strong), margin=0.0005)
    assert close.difference is not None
    assert abs(close.difference.value) < 0.03
    assert close.difference.lower <= -0.0005
    assert (close.outcome, close.champion) == ("kept", "old")
    generous = gate(other, rows, only(strong), margin=-close.difference.lower + 0.001)
    assert (generous.outcome, generous.champion) == ("promoted", "new")


def test_a_champion_that_is_gone_or_broken_is_not_replaced(
    tmp_path: Path, rows: pl.DataFrame, strong: Training
) -> None:
    shelf = ModelShelf(tmp_path)
    gone = gate(strong, rows, lambda: load(shelf.artefact("old")))
    assert (gone.outcome, gone.rule) == ("kept", "evidence")
    assert "The champion can't be compared: model old: expected" in gone.reason
    shelf.put("old", dump(only(strong))[:-20], {})
    broken = gate(strong, rows, lambda: load(shelf.artefact("old")))
    assert (broken.outcome, broken.rule) == ("kept", "evidence")
    assert "can't be loaded" in broken.reason


def test_a_champion_that_needs_another_schema_is_not_replaced(rows: pl.DataFrame, strong: Training) -> None:
    without = train(rows.drop("calls"), [f for f in FEATURES if f != "calls"], [BASELINE], seed=0)
    decision = gate(without, rows.drop("calls"), only(strong))
    assert (decision.outcome, decision.rule) == ("kept", "evidence")
    assert "expected columns calls" in decision.reason
    retyped = gate(without, changed(rows, calls=None).with_columns(pl.col("calls").cast(pl.String)), only(strong))
    assert (retyped.outcome, retyped.rule) == ("kept", "evidence")


@pytest.mark.parametrize("champion", [True, False])
def test_a_validation_month_of_one_class_decides_nothing(rows: pl.DataFrame, strong: Training, champion: bool) -> None:
    decision = gate(strong, changed(rows, label=False), only(strong) if champion else None)
    assert (decision.outcome, decision.rule) == ("kept" if champion else "rejected", "evidence")
    assert "found 0 who left and 1500 who stayed" in decision.reason


def test_too_few_churners_are_no_evidence(rows: pl.DataFrame, strong: Training, weak: Training) -> None:
    left = rows.filter((pl.col("part") == "validate") & pl.col("label"))["customer_id"]
    few = rows.filter(
        (pl.col("part") != "validate") | ~pl.col("label") | pl.col("customer_id").is_in(left[:19].implode())
    )
    decision = gate(strong, few, only(weak), margin=1)
    assert (decision.outcome, decision.rule) == ("kept", "floors")
    assert "19 churners among them are too few (at least 20 are needed)" in decision.reason


def test_a_model_that_says_nothing_of_some_customers_is_not_promoted(rows: pl.DataFrame, strong: Training) -> None:
    path = f"{__name__}.Silent"
    silent = train(rows, FEATURES, [CandidateSpec(name="silent", kind="estimator", path=path)], seed=0)
    assert gate(silent, rows, None).outcome == "promoted"
    unseen = changed(rows, tenure=pl.lit(10_000))
    assert np.isnan(only(silent).predict(unseen.filter(pl.col("part") == "validate"))).all()
    for champion, outcome in ((None, "rejected"), (only(strong), "kept")):
        decision = gate(silent, unseen, champion)
        assert (decision.outcome, decision.rule) == (outcome, "evidence")
        assert "1500 of 1500 predictions missing" in decision.reason
    against = gate(strong, unseen, only(silent))
    assert (against.outcome, against.rule) == ("kept", "evidence")
    assert "The champion can't be compared: evaluation: expected numbers, found 1500" in against.reason


def test_shuffled_labels_teach_nothing_and_are_refused(rows: pl.DataFrame, strong: Training) -> None:
    shuffled = rows.with_columns(label=pl.col("label").shuffle(seed=5))
    learned = train(shuffled, FEATURES, [BASELINE, XGBOOST], seed=0)
    for champion, outcome in ((None, "rejected"), (only(strong), "kept")):
        decision = gate(learned, shuffled, champion)
        assert decision.outcome == outcome
        assert decision.evidence["auc_lower"] < 0.5 < decision.evidence["auc_upper"]


def test_a_person_promotes_what_the_gate_refused_but_nothing_that_cant_be_judged(
    tmp_path: Path, rows: pl.DataFrame, strong: Training, weak: Training
) -> None:
    asked, validation = spec(floor=0.99), rows.filter(pl.col("part") == "validate")
    judged = judged_on(strong, rows, only(weak), asked)
    kept = decide(asked.gates, "new", "old", judged.evidence)
    assert kept.outcome == "kept"
    shelf = ModelShelf(tmp_path)
    shelf.put("older", dump(only(weak)), {})

    def said(model: str, action: Any = "promote", on: pl.DataFrame = validation) -> PromotionDecision:
        verdict = Verdict(action, model, "anna", "we know why")
        return carry_out(verdict, kept, judged, lambda: load(shelf.artefact(model)), on, 0.95)

    own = said("new")
    assert (own.outcome, own.champion, own.decided_by) == ("promoted", "new", "anna")
    back = said("older", "rollback")
    assert (back.outcome, back.champion) == ("promoted", "older")
    assert back.evidence["verdict_auc"] == pytest.approx(judged.evaluations["champion"].auc.value)
    for refused in (said("unknown"), said("older", on=validation.with_columns(label=False)),
                    said("older", on=validation.drop("usage"))):  # fmt: skip
        assert (refused.outcome, refused.champion, refused.decided_by) == ("kept", "old", "gate")
        assert "can't be carried out" in refused.reason


def test_the_checks_tell_how_good_the_challenger_is_and_warn_where_that_isnt_known(
    rows: pl.DataFrame, strong: Training
) -> None:
    asked = spec(floor=0.9)
    found = {c.name: c for c in quality_checks(asked.gates, judged_on(strong, rows, None, asked))}
    assert not found["auc_above_floor"].passed and found["calibrated"].passed
    assert "the floor is 0.9" in found["auc_above_floor"].reason
    unknown = quality_checks(asked.gates, judged_on(strong, changed(rows, label=False), None, asked))
    assert len(unknown) == len(found) and not any(c.passed for c in unknown)
    assert all(c.warn and "who stayed" in c.reason for c in unknown)
