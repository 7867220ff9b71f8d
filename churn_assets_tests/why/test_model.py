"""Why a model is champion, told from the decisions of a real installation."""

from __future__ import annotations

import pytest

from churn_assets.errors import LakeError
from churn_assets.learning.promotion import Verdict
from churn_assets.months import Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.verdicts import decision_of, give
from churn_assets.why import why_model
from churn_assets_tests.installation import FIRST, Installation

pytestmark = pytest.mark.e2e

NEWEST = Month.parse("2024-05")


@pytest.fixture(scope="module")
def pipeline(finished: Installation) -> Pipeline:
    return finished.pipeline()


def test_the_champion_is_told_with_every_decision_since_it_was_made(pipeline: Pipeline) -> None:
    found = why_model(pipeline, NEWEST)
    rows = {str(m): decision_of(pipeline, m) for m in month_range(FIRST, NEWEST)}
    assert found.champion == rows["2024-05"]["champion"]
    assert found.decision.reason == rows["2024-05"]["reason"] and found.decision.decided_by == "gate"
    first, *others = found.history
    assert first.outcome == "promoted" and first.challenger == found.champion
    assert [d.champion for d in found.history] == [found.champion] * len(found.history)
    assert rows[str(Month.parse(first.month) - 1)]["champion"] != found.champion
    assert [d.month for d in others] == [m for m in rows if m > first.month]


def test_the_gates_figures_stand_beside_their_limits(pipeline: Pipeline) -> None:
    found = why_model(pipeline, NEWEST)
    limits = {one.figure: one for one in found.limits}
    assert limits["AUC"].limit == pipeline.spec.gates.floor
    (challenger,) = (row for row in found.candidates if row["role"] == "challenger")
    assert limits["AUC"].found == challenger["auc"] and limits["AUC"].lower == challenger["auc_lower"]
    assert limits["validation rows"].found == challenger["rows"]
    assert all(one.passed for one in found.limits) == (found.decision.outcome == "promoted")
    difference = limits["AUC, less the champion's"]
    assert difference.limit == -pipeline.spec.gates.margin and difference.passed == (difference.lower > -0.1)


def test_dataset_importance_and_card_are_those_of_the_records(pipeline: Pipeline) -> None:
    found = why_model(pipeline, NEWEST)
    record = pipeline.lake.record("versioned_dataset", NEWEST)
    assert record and found.dataset["version"] == record.facts["id"]
    assert sum(part["rows"] for part in found.dataset["parts"]) == found.dataset["rows"]
    shares = list(found.importance.values())
    assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)
    assert found.card and found.champion in found.card.read_text()


def test_no_champion_yet_is_told_by_the_gates_own_sentence(pipeline: Pipeline) -> None:
    found = why_model(pipeline, FIRST)
    assert found.champion is None and found.decision.outcome == "undecided"
    assert found.decision.reason == decision_of(pipeline, FIRST)["reason"]
    assert found.candidates == found.limits == () and found.folder is None


def test_a_persons_verdict_waits_until_the_month_is_run_and_then_decides(own: Installation) -> None:
    pipeline = own.pipeline()
    before = why_model(pipeline, NEWEST)
    assert before.decision.challenger and before.waiting == ""
    give(pipeline, NEWEST, Verdict("reject", None, "ann", "the offer has changed"))
    assert why_model(pipeline, NEWEST).waiting == "rejected by ann: the offer has changed"
    assert all(r.success for r in own.run(["2024-05"], stages=["model"]))
    found = why_model(pipeline, NEWEST)
    assert (found.decision.decided_by, found.decision.rule, found.waiting) == ("ann", "verdict", "")
    assert found.champion == before.decision.previous
    assert [(d.month, d.decided_by) for d in found.history] == [("2024-04", "gate"), ("2024-05", "ann")]
    give(pipeline, NEWEST, Verdict("promote", before.decision.challenger, "bob", "it is back"))
    assert why_model(pipeline, NEWEST).waiting == "promoted by bob: it is back"


def test_a_month_that_wasnt_decided_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(LakeError, match=r"promotions 2024-06: expected a decision, found none. Run `churn backfill"):
        why_model(pipeline, Month.parse("2024-06"))
