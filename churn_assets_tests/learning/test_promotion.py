from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.learning.evaluation import Evaluation, Interval
from churn_assets.learning.promotion import decide, undecided
from churn_assets.spec.learning import GatesSpec

GATES = GatesSpec()
GOOD = Evaluation(1000, 100, Interval(0.8, 0.75, 0.85), 0.4, 0.3, 0.08, 0.01, 3.0, 0.1, 0.1)
BETTER = Interval(0.01, -0.005, 0.025)
NAN = float("nan")


def test_a_first_champion_needs_the_floors_only() -> None:
    decision = decide(GATES, "new", GOOD, None, None)
    assert (decision.outcome, decision.champion, decision.previous) == ("promoted", "new", None)
    assert "becomes the first champion" in decision.reason and "0.8000" in decision.reason


def test_a_challenger_that_is_not_worse_replaces_the_champion() -> None:
    decision = decide(GATES, "new", GOOD, "old", BETTER)
    assert (decision.outcome, decision.champion, decision.previous) == ("promoted", "new", "old")
    assert "new replaces old" in decision.reason and "+0.0100 (-0.0050 to +0.0250)" in decision.reason


FAILING = [
    ({"auc": Interval(0.59, 0.5, 0.7)}, "AUC of 0.5900 is below the floor of 0.6"),
    ({"calibration_error": 0.051}, "calibration error of 0.0510 is above 0.05"),
    ({"rows": 199}, "199 validation rows are too few"),
    ({"positives": 19}, "19 churners among them are too few"),
]


@pytest.mark.parametrize(("change", "text"), FAILING)
@pytest.mark.parametrize(("champion", "outcome"), [(None, "rejected"), ("old", "kept")])
def test_each_floor_can_block(change: dict[str, Any], text: str, champion: str | None, outcome: str) -> None:
    decision = decide(GATES, "new", replace(GOOD, **change), champion, BETTER)
    assert (decision.outcome, decision.champion) == (outcome, champion)
    assert text in decision.reason


@pytest.mark.parametrize(
    "change", [{"auc": Interval(0.6, 0.5, 0.7)}, {"calibration_error": 0.05}, {"rows": 200}, {"positives": 20}]
)
def test_a_figure_on_its_limit_passes(change: dict[str, Any]) -> None:
    assert decide(GATES, "new", replace(GOOD, **change), "old", BETTER).outcome == "promoted"


@pytest.mark.parametrize(("lower", "outcome"), [(-0.0199, "promoted"), (-0.02, "kept"), (-0.03, "kept")])
def test_the_lower_end_has_to_lie_above_the_margin(lower: float, outcome: str) -> None:
    decision = decide(GATES, "new", GOOD, "old", Interval(0.05, lower, 0.12))
    assert decision.outcome == outcome
    assert f"{lower:+.4f}" in decision.reason


@pytest.mark.parametrize(
    ("difference", "problem", "text"),
    [
        (None, None, "could not be compared"),
        (BETTER, "the champion can't be loaded.", "the champion can't be loaded."),
        (BETTER, "", "can't be trusted"),
        (Interval(NAN, 0.0, 0.1), None, "isn't a number"),
        (Interval(0.05, NAN, 0.1), None, "isn't a number"),
        (Interval(0.05, 0.0, NAN), None, "isn't a number"),
    ],
)
def test_missing_evidence_never_replaces_a_champion(
    difference: Interval | None, problem: str | None, text: str
) -> None:
    decision = decide(GATES, "new", GOOD, "old", difference, problem)
    assert (decision.outcome, decision.champion, decision.previous) == ("kept", "old", "old")
    assert text in decision.reason


@pytest.mark.parametrize("field", [f.name for f in fields(Evaluation)])
@pytest.mark.parametrize(("champion", "outcome"), [(None, "rejected"), ("old", "kept")])
def test_a_nan_blocks_wherever_it_stands(field: str, champion: str | None, outcome: str) -> None:
    value: Any = Interval(NAN, 0.7, 0.9) if field == "auc" else NAN
    decision = decide(GATES, "new", replace(GOOD, **{field: value}), champion, BETTER)
    assert decision.outcome == outcome and field in decision.reason


def test_a_problem_blocks_the_first_champion_too() -> None:
    decision = decide(GATES, "new", GOOD, None, None, "its schema changed")
    assert (decision.outcome, decision.champion) == ("rejected", None)


def test_the_champion_itself_is_kept() -> None:
    decision = decide(GATES, "old", GOOD, "old", Interval(0, 0, 0))
    assert (decision.outcome, decision.champion) == ("kept", "old")


def test_evidence_holds_figures_and_limits() -> None:
    evidence = decide(GATES, "new", GOOD, "old", BETTER).evidence
    assert evidence["auc_lower"] == 0.75 and evidence["difference_lower"] == -0.005
    assert evidence["gate_floor"] == 0.6 and evidence["gate_margin"] == 0.02


def test_without_a_challenger_the_champion_stays() -> None:
    decision = undecided("old", "Not enough history.")
    assert (decision.outcome, decision.challenger, decision.champion) == ("undecided", None, "old")
    assert decision.reason == "Not enough history."


number = st.floats(allow_nan=True, allow_infinity=True)
interval = st.builds(Interval, number, number, number)


@settings(max_examples=200, deadline=None)
@given(
    st.builds(Evaluation, number, number, interval, *[number] * 7),
    st.sampled_from([None, "old", "new"]),
    st.none() | interval,
    st.none() | st.text(),
)
def test_there_is_a_decision_for_everything(
    evaluation: Evaluation, champion: str | None, difference: Interval | None, problem: str | None
) -> None:
    decision = decide(GATES, "new", evaluation, champion, difference, problem)
    assert decision.reason.endswith(".") and decision.previous == champion
    if decision.outcome == "promoted":
        assert problem is None and decision.champion == "new" and evaluation.auc.value >= GATES.floor
        assert champion is None or (difference is not None and difference.lower > -GATES.margin)
    else:
        assert decision.champion == champion
        assert decision.outcome == ("rejected" if champion is None else "kept")
