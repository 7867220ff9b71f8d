import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.learning.evaluation import Evaluation, Interval
from churn_assets.learning.promotion import (
    Evidence,
    PromotionDecision,
    Verdict,
    as_row,
    decide,
    overruled,
    postponed,
    stays,
    undecided,
)
from churn_assets.spec.learning import GatesSpec

GATES = GatesSpec()
BY_PROFIT = GatesSpec(metric="profit", margin=0.1)
GOOD = Evaluation(
    rows=1000, positives=100, auc=Interval(0.8, 0.75, 0.85), pr_auc=0.4, log_loss=0.3, brier=0.08,
    calibration_error=0.01, top_decile_lift=3.0, mean_prediction=0.1, rate=0.1, brier_skill=0.1,
    calibration_error_lower=0.0, calibration_error_upper=0.02,
)  # fmt: skip
BETTER = Interval(0.01, -0.005, 0.025)
NAN = float("nan")
ANNA = Verdict("promote", "new", "anna", "the campaign starts tomorrow.")


def gate(champion: str | None = "old", gates: GatesSpec = GATES, **found: Any) -> PromotionDecision:
    """The gate's decision on ``new``, which is good and better, but for what ``found`` says."""
    evidence = {"challenger": GOOD, "champion": GOOD, "difference": BETTER, **found}
    return decide(gates, "new", champion, Evidence(**evidence))


def test_a_first_champion_needs_the_floors_only() -> None:
    decision = gate(None, difference=None)
    assert (decision.outcome, decision.champion, decision.previous) == ("promoted", "new", None)
    assert decision.rule == "floors"
    assert "becomes the first champion" in decision.reason and "0.8000" in decision.reason


def test_a_challenger_that_is_not_worse_replaces_the_champion() -> None:
    decision = gate()
    assert (decision.outcome, decision.champion, decision.previous) == ("promoted", "new", "old")
    assert (decision.rule, decision.decided_by) == ("margin", "gate")
    assert "new replaces old" in decision.reason and "+0.0100 (-0.0050 to +0.0250), above -0.02" in decision.reason


@pytest.mark.parametrize(("champion", "outcome"), [("old", "kept"), (None, "rejected")])
def test_what_passes_every_gate_may_have_to_wait_for_a_person(champion: str | None, outcome: str) -> None:
    evidence = Evidence(GOOD, GOOD if champion else None, difference=BETTER if champion else None)
    decision = decide(GATES, "new", champion, evidence, waits=True)
    assert (decision.outcome, decision.champion, decision.rule) == (outcome, champion, "approval")
    assert decision.awaiting == "new" and "passes every gate and waits for a person" in decision.reason
    assert "0.8000" in decision.reason, "the person sees by what"
    promoted = overruled(decision, ANNA, GOOD)
    assert (promoted.champion, promoted.awaiting) == ("new", None)
    assert overruled(decision, replace(ANNA, action="reject", model=None), None).awaiting is None
    assert postponed(decision, "MLflow is away.").awaiting is None


def test_what_fails_a_gate_waits_for_nobody() -> None:
    decision = decide(GATES, "new", "old", Evidence(replace(GOOD, rows=9), GOOD, difference=BETTER), waits=True)
    assert (decision.outcome, decision.rule, decision.awaiting) == ("kept", "floors", None)
    assert gate().awaiting is None


def test_where_no_model_is_due_the_champion_stays() -> None:
    decision = stays("old", "Not due.")
    assert (decision.outcome, decision.challenger, decision.champion, decision.previous) == ("kept", None, "old", "old")
    assert (decision.rule, decision.reason, decision.gate) == ("calendar", "Not due.", "kept: Not due.")


FAILING = [
    ({"auc": Interval(0.59, 0.5, 0.7)}, "AUC of 0.5900 is below the floor of 0.6"),
    ({"top_decile_lift": 0.99}, "lift of 0.99 in the top tenth is below 1"),
    ({"calibration_error": 0.051}, "calibration error of 0.0510 is above 0.05"),
    ({"rows": 199}, "199 validation rows are too few"),
    ({"positives": 19}, "19 churners among them are too few"),
]


@pytest.mark.parametrize(("change", "text"), FAILING)
@pytest.mark.parametrize(("champion", "outcome"), [(None, "rejected"), ("old", "kept")])
def test_each_floor_can_block(change: dict[str, Any], text: str, champion: str | None, outcome: str) -> None:
    decision = gate(champion, challenger=replace(GOOD, **change))
    assert (decision.outcome, decision.champion, decision.rule) == (outcome, champion, "floors")
    assert text in decision.reason


@pytest.mark.parametrize(
    "change",
    [{"auc": Interval(0.6, 0.5, 0.7)}, {"calibration_error": 0.05}, {"top_decile_lift": 1.0}, {"rows": 200},
     {"positives": 20}],
)  # fmt: skip
def test_a_figure_on_its_limit_passes(change: dict[str, Any]) -> None:
    assert gate(challenger=replace(GOOD, **change)).outcome == "promoted"


@pytest.mark.parametrize(("lower", "outcome"), [(-0.0199, "promoted"), (-0.02, "kept"), (-0.03, "kept")])
def test_the_lower_end_has_to_lie_above_the_margin(lower: float, outcome: str) -> None:
    decision = gate(difference=Interval(0.05, lower, 0.12))
    assert (decision.outcome, decision.rule) == (outcome, "margin")
    assert f"{lower:+.4f}" in decision.reason


@pytest.mark.parametrize(("lower", "outcome"), [(-99.9, "promoted"), (-100.0, "kept"), (-300.0, "kept")])
def test_the_margin_of_profit_is_a_share_of_the_champions(lower: float, outcome: str) -> None:
    profit = {"challenger": 990.0, "champion": 1000.0}
    decision = gate(gates=BY_PROFIT, difference=Interval(-10.0, lower, 80.0), profit=profit)
    assert (decision.outcome, decision.metric, decision.evidence["gate_margin"]) == (outcome, "profit", 100.0)
    assert f"expected profit differs from the champion's by -10.00 ({lower:+.2f} to +80.00)" in decision.reason


def test_a_champion_that_loses_money_leaves_no_margin() -> None:
    profit = {"challenger": -10.0, "champion": -50.0}
    assert gate(gates=BY_PROFIT, difference=Interval(40.0, 1.0, 80.0), profit=profit).outcome == "promoted"
    assert gate(gates=BY_PROFIT, difference=Interval(40.0, 0.0, 80.0), profit=profit).outcome == "kept"


@pytest.mark.parametrize("profit", [{}, {"challenger": 5.0}, {"challenger": 5.0, "champion": NAN}, {"champion": 5.0}])
def test_profit_that_isnt_known_promotes_nothing(profit: dict[str, float]) -> None:
    decision = gate(gates=BY_PROFIT, difference=Interval(40.0, 30.0, 80.0), profit=profit)
    assert (decision.outcome, decision.rule) == ("kept", "evidence")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"difference": None}, "could not be compared"),
        ({"problem": "the champion can't be loaded."}, "the champion can't be loaded."),
        ({"problem": ""}, "can't be trusted"),
        ({"challenger": None}, "could not be judged"),
        ({"difference": Interval(NAN, 0.0, 0.1)}, "isn't a number"),
        ({"difference": Interval(0.05, NAN, 0.1)}, "isn't a number"),
        ({"difference": Interval(0.05, 0.0, NAN)}, "isn't a number"),
    ],
)
def test_missing_evidence_never_replaces_a_champion(found: dict[str, Any], text: str) -> None:
    decision = gate(**found)
    assert (decision.outcome, decision.champion, decision.previous) == ("kept", "old", "old")
    assert decision.rule == "evidence"
    assert text in decision.reason


@pytest.mark.parametrize("name", [f.name for f in fields(Evaluation)])
@pytest.mark.parametrize(("champion", "outcome"), [(None, "rejected"), ("old", "kept")])
def test_a_nan_blocks_wherever_it_stands(name: str, champion: str | None, outcome: str) -> None:
    value: Any = Interval(NAN, 0.7, 0.9) if name == "auc" else NAN
    decision = gate(champion, challenger=replace(GOOD, **{name: value}))
    assert decision.outcome == outcome and name in decision.reason


def test_a_problem_blocks_the_first_champion_too() -> None:
    decision = gate(None, problem="its schema changed")
    assert (decision.outcome, decision.champion) == ("rejected", None)


def test_the_champion_itself_is_kept() -> None:
    decision = decide(GATES, "old", "old", Evidence(GOOD, GOOD, difference=Interval(0, 0, 0)))
    assert (decision.outcome, decision.champion) == ("kept", "old")


def test_evidence_holds_the_figures_of_all_and_the_limits() -> None:
    found = gate(baseline=replace(GOOD, pr_auc=0.3), profit={"challenger": 5.0, "baseline": 3.0}).evidence
    assert found["auc_lower"] == 0.75 and found["difference_lower"] == -0.005
    assert found["gate_floor"] == 0.6 and found["gate_margin"] == 0.02 and found["gate_min_lift"] == 1.0
    assert (found["champion_auc"], found["baseline_pr_auc"]) == (0.8, 0.3)
    assert (found["profit"], found["baseline_profit"]) == (5.0, 3.0)


def test_a_row_of_the_table_tells_everything_in_plain_types() -> None:
    decision = overruled(gate(challenger=replace(GOOD, pr_auc=NAN)), ANNA, GOOD)
    row = as_row(decision).row(0, named=True)
    assert (row["outcome"], row["champion"], row["previous"], row["rule"]) == ("promoted", "new", "old", "verdict")
    assert (row["difference"], row["difference_lower"], row["difference_upper"]) == (0.01, -0.005, 0.025)
    assert row["decided_by"] == "anna" and row["gate"].startswith("kept: old stays champion")
    evidence = json.loads(row["evidence"])
    assert evidence["pr_auc"] is None and evidence["gate_floor"] == 0.6 and evidence["verdict_auc"] == 0.8
    assert as_row(undecided(None, "Nothing.")).schema == as_row(decision).schema


def test_without_a_challenger_the_champion_stays() -> None:
    decision = undecided("old", "Not enough history.")
    assert (decision.outcome, decision.challenger, decision.champion) == ("undecided", None, "old")
    assert decision.reason == "Not enough history."


def test_a_person_overrules_floors_and_margin_and_both_are_told() -> None:
    kept = gate(challenger=replace(GOOD, top_decile_lift=0.5))
    decision = overruled(kept, ANNA, GOOD)
    assert (decision.outcome, decision.champion, decision.rule) == ("promoted", "new", "verdict")
    assert decision.reason.startswith(
        "Promoted by anna: the campaign starts tomorrow; new is champion. The gate had kept"
    )
    assert "lift of 0.50" in decision.reason and decision.gate == f"kept: {kept.reason}"


def test_a_person_keeps_the_champion_where_the_gate_would_not() -> None:
    decision = overruled(gate(), Verdict("reject", None, "ben", "not before the audit"), GOOD)
    assert (decision.outcome, decision.champion, decision.decided_by) == ("kept", "old", "ben")
    assert "old is champion. The gate had promoted: new replaces old" in decision.reason
    first = overruled(gate(None), Verdict("reject", None, "ben", "not before the audit"), GOOD)
    assert (first.outcome, first.champion) == ("rejected", None)


def test_a_person_goes_back_to_an_earlier_model() -> None:
    decision = overruled(gate(), Verdict("rollback", "older", "ben", "complaints"), GOOD)
    assert (decision.outcome, decision.champion, decision.previous) == ("promoted", "older", "old")
    assert decision.reason.startswith("Rolled back by ben: complaints; older is champion.")


def test_a_person_does_not_overrule_missing_evidence() -> None:
    kept = gate(challenger=None, problem="one class only")
    assert overruled(kept, ANNA, replace(GOOD, pr_auc=NAN)).champion == "old"
    decision = overruled(kept, ANNA, None, "model new: expected a file.")
    assert (decision.outcome, decision.champion, decision.decided_by) == ("kept", "old", "gate")
    assert "can't be carried out: model new: expected a file. The gate decides: old stays" in decision.reason


@pytest.mark.parametrize(("champion", "outcome"), [(None, "rejected"), ("old", "kept")])
def test_what_cant_be_tracked_promotes_nothing(champion: str | None, outcome: str) -> None:
    for decision in (gate(champion), overruled(gate(champion), ANNA, GOOD)):
        waiting = postponed(decision, "MLflow at http://host can't be reached: refused")
        assert (waiting.outcome, waiting.champion, waiting.rule) == (outcome, champion, "tracking")
        assert waiting.pending == "MLflow at http://host can't be reached: refused" and not decision.pending
        assert "can't be reached: refused; it will be decided again on the next run" in waiting.reason


number = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.005, 0.01, 0.7, 0.9, 25.0, 500.0])
interval = st.builds(Interval, number, number, number)
evaluation = st.builds(Evaluation, **{f.name: interval if f.name == "auc" else number for f in fields(Evaluation)})
evidence = st.builds(
    Evidence,
    challenger=st.none() | evaluation | st.just(GOOD),
    champion=st.none() | st.just(GOOD),
    difference=st.none() | interval,
    profit=st.dictionaries(st.sampled_from(["challenger", "champion"]), number),
    problem=st.none() | st.text(),
)


@settings(max_examples=300, deadline=None)
@given(evidence, st.sampled_from([None, "old", "new"]), st.sampled_from([GATES, BY_PROFIT]))
def test_whatever_is_promoted_passed_every_floor_and_the_interval(
    found: Evidence, champion: str | None, gates: GatesSpec
) -> None:
    decision = decide(gates, "new", champion, found)
    assert decision.reason.endswith(".") and decision.previous == champion
    assert as_row(decision).height == 1
    if decision.outcome != "promoted":
        assert decision.champion == champion
        assert decision.outcome == ("rejected" if champion is None else "kept")
        return
    shown = found.challenger
    assert decision.champion == "new" != champion and found.problem is None and shown is not None
    assert shown.auc.value >= gates.floor and shown.top_decile_lift >= gates.min_lift
    assert shown.calibration_error <= gates.max_calibration_error
    assert shown.rows >= gates.min_rows and shown.positives >= gates.min_positives
    if champion is not None:
        assert found.difference is not None
        unit = 1 if gates.metric == "auc" else max(0.0, found.profit["champion"])
        assert found.difference.lower > -gates.margin * unit


@settings(max_examples=100, deadline=None)
@given(evidence, st.sampled_from([None, "old"]), st.sampled_from(["promote", "reject", "rollback"]), st.booleans())
def test_a_verdict_never_makes_a_champion_of_what_wasnt_judged(
    found: Evidence, champion: str | None, action: Any, judged: bool
) -> None:
    decision = decide(GATES, "new", champion, found)
    verdict = Verdict(action, None if action == "reject" else "other", "anna", "why")
    after = overruled(decision, verdict, GOOD if judged else None)
    if after.champion == "other":
        assert judged and after.decided_by == "anna"
    assert postponed(after, "down").champion == champion
