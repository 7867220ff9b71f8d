"""The decision to retrain, by tables of what a month saw."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.monitoring.figures import Figure
from churn_assets.monitoring.realised import Realised
from churn_assets.monitoring.retraining import Evidence, RetrainDecision, Rules, Seen, decide
from churn_assets.months import Calendar, Month
from churn_assets.spec.learning import GatesSpec
from churn_assets.spec.monitoring import RetrainSpec

START, FIRST = Month(2024, 1), Month(2025, 3)
CALENDAR = Calendar(START, train_every=24)
BROKEN = "data_gb is about 1,000 times what it was"
KEPT, AUC, RATE, CALIBRATION, DRIFT, MENDED = "kept", "auc", "rate", "calibration", "drift", "broken"


def realised(auc: float = 0.80, error: float = 0.005, rate: float = 0.03, **changes: Any) -> Realised:
    """What became of a model's predictions that had promised an AUC of .8, and that 3% would leave."""
    model, known = changes.get("model", "m1"), changes.get("known", 6000)
    figures = (
        Figure("realised_auc", "2025-01", "champion", model, auc, auc - 0.02, auc + 0.02, 0.80, 0.77, 0.83),
        Figure("realised_calibration_error", "2025-01", "champion", model, error, error - 0.004, error + 0.004),
        Figure("realised_rate", "2025-01", "champion", model, rate, rate * 0.85, rate * 1.15),
        Figure("realised_level", "2025-01", "champion", model, 0.03 - rate, 0.0, 0.0),
    )
    return Realised("2025-01", known, known, int(known * rate), figures, {})


def seen(what: str = KEPT, champion: str = "m1", **changes: Any) -> Seen:
    """A month in which one thing is the matter."""
    outcome = {
        AUC: realised(auc=0.65, model=champion),
        RATE: realised(rate=0.06, model=champion),
        CALIBRATION: realised(error=0.09, model=champion),
    }
    month = Seen(champion, Month(2024, 12), realised=outcome.get(what, realised(model=champion)))
    if what == DRIFT:
        month = replace(month, moved={"tenure": 0.25, "plan": 0.2})
    if what == MENDED:
        month = replace(month, broken=[BROKEN], moved={"data_gb": 0.5}, realised=realised(auc=0.5, model=champion))
    return replace(month, **changes)


def live(
    months: Sequence[Seen], calendar: Calendar = CALENDAR, first: Month = FIRST, **spec: Any
) -> list[RetrainDecision]:
    """Decides month after month, each from what its window in the calendar holds of those before."""
    rules = Rules(RetrainSpec(**spec), GatesSpec(), calendar)
    made: dict[Month, RetrainDecision] = {}
    for i, month in enumerate(months):
        window = calendar.window("monitoring", first + i, "monitoring").months
        made[first + i] = decide(first + i, month, [made[m] for m in window if m in made], rules)
    return list(made.values())


def outcomes(*what: str, **spec: Any) -> list[str]:
    return [one.outcome for one in live([seen(w) for w in what], **spec)]


def test_without_a_champion_there_is_nothing_to_retrain() -> None:
    (decision,) = live([Seen()])
    assert (decision.outcome, decision.wanted, decision.acts) == ("keep", False, False)


@pytest.mark.parametrize("what", [AUC, RATE, CALIBRATION, DRIFT])
def test_a_rule_has_to_be_violated_in_two_months_of_three_and_in_the_newest(what: str) -> None:
    assert outcomes(what, KEPT, KEPT, what, KEPT) == ["keep"] * 5
    assert outcomes(what, what)[-1] == "retrain"
    assert outcomes(what, KEPT, what)[-1] == "retrain"
    assert outcomes(what, violations=1)[-1] == "retrain"
    assert outcomes(what, KEPT, what, violations=3) == ["keep"] * 3


def test_far_fewer_leavers_than_predicted_are_as_bad_as_far_more() -> None:
    assert live([seen(realised=realised(rate=0.014))] * 2)[-1].acts
    assert not live([seen(realised=realised(rate=0.019))] * 2)[-1].wanted


def test_one_rule_after_another_is_no_violation_of_either() -> None:
    assert outcomes(AUC, RATE, CALIBRATION, DRIFT) == ["keep"] * 4


@pytest.mark.parametrize(
    "harmless",
    [
        realised(auc=0.745),  # below the promise, and yet within the margin and chance
        realised(rate=0.05),  # more than predicted, and the interval reaches below the limit
        realised(error=0.053),
        realised(auc=0.5, known=150),
        realised(auc=0.95),
    ],
)
def test_what_chance_explains_violates_nothing(harmless: Realised) -> None:
    assert [d.outcome for d in live([seen(realised=harmless)] * 6)] == ["keep"] * 6


def test_more_who_leave_all_at_once_are_told_and_are_no_reason_to_train() -> None:
    def jumps(*rates: float) -> list[bool]:
        decisions = live([seen(realised=realised(rate=rate)) for rate in rates])
        assert [d.outcome for d in decisions] == ["keep"] * len(rates)
        return [any(e.rule == "jump" and e.violated for e in d.evidence) for d in decisions]

    assert jumps(0.025, 0.042, 0.042) == [False, True, False]
    assert jumps(0.042, 0.025, 0.03, 0.036, 0.042) == [False] * 5
    assert jumps(0.042) == [False]
    struck = live([seen(realised=realised(rate=rate)) for rate in (0.025, 0.042)])[-1]
    assert struck.reason == (
        "The champion stays for now: 1.40 times as many left as it had predicted, after 0.83 times in the month "
        "before. Only if it lasts, a new model is wanted."
    )


def test_the_floor_holds_even_where_little_was_promised() -> None:
    low = Figure("realised_auc", "2025-01", "champion", "m1", 0.55, 0.53, 0.57, 0.56, 0.53, 0.59)
    poor = replace(realised(), figures=(low,))
    assert live([seen(realised=poor)] * 2)[-1].acts


def test_a_reason_says_what_was_found_and_when() -> None:
    decision = live([seen(AUC)] * 2)[-1]
    assert decision.reason == (
        "Its AUC came out at 0.650 where 0.800 was promised; the like in 2 of the last 3 months (2025-03, 2025-04). "
        "A new model is to be trained in 2025-05, the first whose model learns from 2025-02."
    )
    assert (decision.champion, decision.trained) == ("m1", "2024-12")


def test_a_training_waits_for_the_labels_of_what_has_changed() -> None:
    # Outcomes tell of the month before; drift of the month itself, whose labels are the later ones.
    assert live([seen(AUC)] * 2)[-1].learn_in == "2025-05"
    assert live([seen(DRIFT)] * 2)[-1].learn_in == "2025-06"
    late = Calendar(START, horizon=3, train_every=24)
    assert live([seen(DRIFT)] * 2, calendar=late)[-1].learn_in == str(FIRST + 9)
    at_once = Calendar(START, split="holdout", train_every=24)
    assert live([seen(AUC)] * 2, calendar=at_once)[-1].learn_in == "2025-04"


def test_what_an_earlier_champion_did_is_settled_by_its_successor() -> None:
    decisions = live([seen(AUC), seen(AUC, champion="m2", realised=realised(auc=0.65, model="m1")), seen(AUC, "m2")])
    assert [d.outcome for d in decisions] == ["keep"] * 3
    assert "its successor has yet to be judged" in decisions[1].reason
    (first,) = live([seen(champion="m2", realised=realised(auc=0.65, model="m1"))], violations=1)
    assert not first.wanted


def test_an_old_champion_is_replaced_at_once_if_age_counts() -> None:
    assert outcomes(KEPT, max_age=0)[0] == "keep"
    (aged,) = live([seen(KEPT)], max_age=3)
    assert aged.acts
    assert aged.learn_in == "2025-03"
    assert "It is too old: it was trained in 2024-12, 3 months ago." in aged.reason


def test_a_broken_column_is_mended_and_teaches_no_model() -> None:
    decisions = live([seen(MENDED)] * 4)
    assert [d.outcome for d in decisions] == ["mend_data"] * 4
    assert not any(d.wanted for d in decisions)
    assert decisions[0].reason.startswith(f"Look at the source first: {BROKEN}. A model that is trained on it would")


def test_what_was_predicted_of_broken_data_is_no_fault_of_the_model() -> None:
    # The outcome of the broken month becomes known a month later, and drift of then counts no more.
    assert outcomes(MENDED, AUC, KEPT) == ["mend_data", "keep", "keep"]
    assert outcomes(MENDED, AUC, AUC) == ["mend_data", "keep", "keep"]
    assert outcomes(MENDED, DRIFT) == ["mend_data", "keep"]
    # Features of the three months after it look back on it.
    assert outcomes(MENDED, *[AUC] * 5) == ["mend_data", *["keep"] * 5]
    assert outcomes(MENDED, *[AUC] * 6)[-1] == "retrain"
    at_once = live([seen(what) for what in (MENDED, AUC, AUC, AUC)], calendar=replace(CALENDAR, lookback=0))
    assert [d.outcome for d in at_once] == ["mend_data", "keep", "keep", "retrain"]


def test_a_pipeline_that_trains_each_month_orders_nothing_and_says_so() -> None:
    decision = live([seen(AUC)] * 2, calendar=replace(CALENDAR, train_every=1))[-1]
    assert (decision.outcome, decision.wanted, decision.acts) == ("wait", True, False)
    assert decision.reason.endswith("A model is trained every month anyway, so none is ordered.")


def test_a_model_that_is_due_when_it_is_wanted_needs_no_order() -> None:
    decision = live([seen(AUC)] * 2, calendar=replace(CALENDAR, train_every=16))[-1]
    assert decision.outcome == "wait"
    assert "A model is trained in 2025-05, the first whose model learns from 2025-02 anyway" in decision.reason


def test_a_pipeline_that_has_ended_has_no_month_to_train_in() -> None:
    decision = live([seen(AUC)] * 2, calendar=replace(CALENDAR, end=Month(2025, 4)))[-1]
    assert decision.outcome == "wait"
    assert "the pipeline ends in 2025-04" in decision.reason


def test_after_an_order_none_follows_until_its_model_has_been_judged() -> None:
    decisions = live([seen(AUC)] * 8)
    assert [d.outcome for d in decisions] == ["keep", "retrain", "wait", "wait", "wait", "retrain", "wait", "wait"]
    assert decisions[1].quiet_until == "2025-07"
    assert (
        "A training was wanted by 2025-04 for 2025-05; none is ordered before 2025-07 is over." in decisions[2].reason
    )
    late = live([seen(DRIFT)] * 8, calendar=Calendar(START, horizon=3, train_every=24), cool_down=0)[1]
    assert (late.learn_in, late.quiet_until) == ("2025-12", "2026-02")
    slow = live([seen(DRIFT)] * 8, cool_down=0)
    assert (slow[1].learn_in, slow[1].quiet_until) == ("2025-06", "2025-06")
    assert [d.outcome for d in slow[:5]] == ["keep", "retrain", "wait", "wait", "retrain"]


def test_a_decision_comes_back_from_json_as_it_was() -> None:
    for what in (KEPT, AUC, DRIFT, MENDED):
        decision = live([seen(what)] * 2)[-1]
        kept = json.loads(json.dumps(decision.as_dict()))
        assert RetrainDecision.from_dict(kept) == decision
        assert (kept["wanted"], kept["acts"]) == (decision.wanted, decision.acts)


months = st.lists(st.sampled_from([KEPT, AUC, RATE, CALIBRATION, DRIFT, MENDED]), max_size=30)
champions = st.lists(st.sampled_from(["m1", "m2"]), min_size=30, max_size=30)
specs = st.fixed_dictionaries(
    {"violations": st.integers(1, 3), "of_months": st.integers(3, 5), "cool_down": st.integers(0, 6)}
)
calendars = st.builds(
    Calendar,
    start=st.just(START),
    horizon=st.integers(0, 3),
    training_months=st.integers(1, 12),
    split=st.sampled_from(["out_of_time", "holdout"]),
    train_every=st.sampled_from([1, 3, 24]),
    hindsight=st.just(6),
)


@settings(max_examples=60, deadline=None)
@given(months, champions, specs, calendars, st.integers(0, 14))
def test_orders_never_come_in_a_loop(
    what: list[str], champions: list[str], spec: dict[str, int], calendar: Calendar, after: int
) -> None:
    first = calendar.start + after
    decisions = live([seen(w, c) for w, c in zip(what, champions, strict=False)], calendar, first, **spec)
    acting = [i for i, decision in enumerate(decisions) if decision.acts]
    for i, j in itertools.pairwise(acting):
        assert j - i > spec["cool_down"]
        assert first + j >= Month.parse(str(decisions[i].learn_in)) + calendar.horizon
    for i, decision in enumerate(decisions):
        assert decision.acts <= decision.wanted
        assert decision.wanted == (decision.learn_in is not None)
        assert decision.acts == (decision.quiet_until is not None)
        if decision.acts:
            ordered = Month.parse(str(decision.learn_in))
            assert ordered >= first + i
            assert calendar.due_by(ordered) < ordered
            assert what[i] not in (KEPT, MENDED)
            assert what[max(0, i - spec["of_months"] + 1) : i + 1].count(what[i]) >= spec["violations"]


@settings(max_examples=60, deadline=None)
@given(months, specs, calendars)
def test_the_calendars_window_holds_every_decision_that_matters(
    what: list[str], spec: dict[str, int], calendar: Calendar
) -> None:
    rules, made = Rules(RetrainSpec(**spec), GatesSpec(), calendar), list[RetrainDecision]()
    for i, one in enumerate(what):
        made.append(decide(calendar.start + i, seen(one), made, rules))
    assert live([seen(one) for one in what], calendar, calendar.start, **spec) == made


def _told_otherwise(evidence: Evidence) -> Evidence:
    """The evidence with other words, and another figure unless the next month compares its own with it."""
    return replace(evidence, words="", found=evidence.found if evidence.rule == "rate" else 0.0)


@settings(max_examples=20, deadline=None)
@given(months)
def test_decisions_that_remember_the_same_are_the_same_to_later_months(what: list[str]) -> None:
    rules = Rules(RetrainSpec(), GatesSpec(), CALENDAR)
    decisions = live([seen(w) for w in what])
    other = [replace(d, reason="otherwise told", evidence=tuple(_told_otherwise(e) for e in d.evidence))
             for d in decisions]  # fmt: skip
    assert [d.remembered for d in other] == [d.remembered for d in decisions]
    then, now = FIRST + len(what), seen(AUC)
    assert decide(then, now, other, rules).remembered == decide(then, now, decisions, rules).remembered


@pytest.mark.parametrize("changed", [{"outcome": "wait"}, {"champion": "m2"}, {"learn_in": "2025-09"},
                                     {"quiet_until": "2025-09"}, {"evidence": ()}])  # fmt: skip
def test_whatever_later_months_look_at_is_remembered(changed: dict[str, Any]) -> None:
    decision = live([seen(AUC)] * 2)[-1]
    assert replace(decision, **changed).remembered != decision.remembered
