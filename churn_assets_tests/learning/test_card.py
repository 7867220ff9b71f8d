from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from churn_assets.learning.card import Subject, model_card
from churn_assets.learning.evaluation import evaluate
from churn_assets.learning.promotion import Evidence, decide
from churn_assets.learning.segments import by_segment
from churn_assets.learning.training import train
from churn_assets.months import Month
from churn_assets.spec.learning import EvaluationSpec, GatesSpec
from churn_assets.store.datasets import PARTS, dataset_version
from churn_assets_tests.learning.panels import CANDIDATES, FEATURES, panel


@pytest.fixture(scope="module")
def subject() -> Subject:
    rows = panel(customers=1000, months=3)
    training = train(rows, FEATURES, CANDIDATES, seed=4)
    judged = rows.filter(pl.col("part") == "validate")
    left = judged["label"].to_numpy()
    evaluations = {name: evaluate(left, model.predict(judged)) for name, model in training.models.items()}
    counted = [("2025-01", "fit", 1000, 240, 0, "", ""), ("2025-02", "calibrate", 1000, 250, 0, "", ""),
               ("2025-03", "validate", 1000, int(left.sum()), 3, "", "")]  # fmt: skip
    parts = pl.DataFrame(counted, PARTS, orient="row")
    gates, model = GatesSpec(), training.models[training.challenger]
    wanted = EvaluationSpec(segments=["contract"])
    return Subject(
        pipeline="shop",
        horizon=1,
        month=Month(2025, 4),
        model_id="2025-04-x-1a2b",
        model=model,
        seed=4,
        chosen_because=training.reason,
        dataset=dataset_version(Month(2025, 4), "out_of_time", "Out of time.", parts, {}),
        evaluations=evaluations,
        baseline="baseline",
        champion="champion",
        segments=by_segment(judged, model.predict(judged), wanted, gates.confidence),
        gates=gates,
        decision=decide(gates, "2025-04-x-1a2b", None, Evidence(evaluations[training.challenger])),
    )


def test_the_card_tells_what_people_ask_of_a_model(subject: Subject) -> None:
    card = model_card(subject)
    found = subject.evaluations[subject.model.name]
    for expected in (
        "# Model 2025-04-x-1a2b", "within the next month", "## What it is for, and what not", "not who would be kept",
        f"Dataset version `{subject.dataset.id}`: 3,", "| fit | 2025-01 | 2025-01 | 1000 | 240 | 24.0% |", "seed 4",
        "## How good it is in 2025-03", f"{found.auc.value:.4f} ({found.auc.lower:.4f} to {found.auc.upper:.4f})",
        "1,000 customers", "| contract | monthly |", "expected calibration error", "Platt", "## What it looks at",
        f"**{subject.decision.outcome}** (gate): {subject.decision.reason}", "| min_positives | 20 |", "## Limits",
    ):  # fmt: skip
        assert expected in card, expected
    for name in subject.evaluations:
        assert f"| {name}" in card
    assert "| None |" not in card and "nan" not in card
    shares = [line for line in card.split("## What it looks at")[1].split("##")[0].splitlines() if "%" in line]
    assert len(shares) == min(10, len(FEATURES))


def test_equal_models_have_equal_cards(subject: Subject) -> None:
    assert model_card(subject) == model_card(replace(subject))


@pytest.mark.parametrize(("horizon", "said"), [(0, "within the month"), (3, "within the next 3 months")])
def test_the_horizon_is_told(subject: Subject, horizon: int, said: str) -> None:
    assert said in model_card(replace(subject, horizon=horizon))


def test_a_model_that_couldnt_be_judged_has_a_card_too(subject: Subject) -> None:
    problem = "It could not be judged: one class"
    decision = decide(subject.gates, subject.model_id, None, Evidence(None, problem=problem))
    unknown: dict[str, Any] = {"evaluations": {}, "segments": None, "decision": decision}
    card = model_card(replace(subject, **unknown))
    assert "It could not be judged; the decision says why." in card and problem in card
    assert "judged as a whole only" in card
