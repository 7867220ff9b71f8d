from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn_assets.errors import MissingMonth
from churn_assets.months import STAGES, Month, Window
from churn_assets.pipeline import VERDICTS, Pipeline, token
from churn_assets.settings import Settings
from churn_assets.staleness import (
    PENDING,
    changes,
    decide_skip,
    fingerprint,
    gaps,
    made_so_far,
    state_of,
    states,
)
from churn_assets.store.lake import Commit, MonthRecord
from churn_assets_tests.declared import declared

JAN, FEB, MAR = Month(2024, 1), Month(2024, 2), Month(2024, 3)
INPUTS = {"raw_data 2024-01": "a", "raw_data 2024-02": "b"}


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(declared(), Settings(data=tmp_path, defs=tmp_path))


def make(pipeline: Pipeline, stage: str, month: Month, value: int = 1, code: str = "v1") -> MonthRecord:
    """Writes a month as its stage would: from what its windows hold now."""
    inputs = {} if stage == "raw_data" else pipeline.inputs(stage, month)
    commit = Commit(fingerprint(inputs, code), inputs, code, "run 1")
    return pipeline.lake.write(stage, month, pl.DataFrame({"x": [value]}), commit)


def record(inputs: dict[str, str] = INPUTS, code: str = "v1") -> MonthRecord:
    return MonthRecord(
        "features", "2024-02", "present", 1, 0, (), "c", fingerprint(inputs, code), code, "run 1", "", inputs
    )


def test_a_fingerprint_is_made_of_inputs_and_code_and_not_of_their_order() -> None:
    assert fingerprint(INPUTS, "v1") == fingerprint(dict(reversed(INPUTS.items())), "v1")
    others = [fingerprint(INPUTS, "v2"), fingerprint({**INPUTS, "raw_data 2024-01": "z"}, "v1"), fingerprint({}, "v1")]
    assert len({fingerprint(INPUTS, "v1"), *others}) == 4


def test_what_is_unchanged_is_skipped_and_anything_else_is_not() -> None:
    assert decide_skip(record(), INPUTS, "v1", force=False).skip
    assert decide_skip(record(), INPUTS, "v1", force=False).reason == "Skipped: same inputs and code as in run run 1."
    never = decide_skip(None, INPUTS, "v1", force=False)
    assert (never.skip, never.reason) == (False, "It was never made.")
    forced = decide_skip(record(), INPUTS, "v1", force=True)
    assert (forced.skip, forced.reason) == (False, "It was asked for by force.")
    for inputs, code in (
        (INPUTS, "v2"),
        ({**INPUTS, "raw_data 2024-02": "z"}, "v1"),
        ({}, "v1"),
        ({**INPUTS, "new": "x"}, "v1"),
    ):
        decision = decide_skip(record(), inputs, code, force=False)
        assert not decision.skip
        assert decision.reason.endswith(".")
        assert len(decision.reason) > 20


def test_the_reason_names_what_changed() -> None:
    assert changes(record(), INPUTS, "v1") == ""
    assert (
        changes(record(), {**INPUTS, "raw_data 2024-02": "z"}, "v2") == "Changed since it was made: raw_data 2024-02."
    )
    assert changes(record(), {"raw_data 2024-01": "a"}, "v1") == "Changed since it was made: raw_data 2024-02."
    assert changes(record(), {**INPUTS, "x": "1"}, "v1") == "Changed since it was made: x."
    assert "code or part of the specification" in changes(record(), INPUTS, "v2")
    many = {f"t{i}": "new" for i in range(5)}
    assert changes(record({}), many, "v1") == "Changed since it was made: t0, t1, t2 and more."


def test_a_month_is_missing_then_present_then_stale_then_present_again(pipeline: Pipeline) -> None:
    assert state_of(pipeline, "validated_data", JAN, "v1").status == "missing"
    make(pipeline, "raw_data", JAN)
    make(pipeline, "validated_data", JAN)
    state = state_of(pipeline, "validated_data", JAN, "v1")
    assert (state.status, state.rows, state.reason) == ("present", 1, "")
    make(pipeline, "raw_data", JAN, value=2)
    state = state_of(pipeline, "validated_data", JAN, "v1")
    assert (state.status, state.reason) == ("stale", "Changed since it was made: raw_data 2024-01.")
    make(pipeline, "validated_data", JAN)
    assert state_of(pipeline, "validated_data", JAN, "v1").status == "present"
    assert state_of(pipeline, "validated_data", JAN, "v2").status == "stale"


def test_a_month_whose_file_was_removed_is_stale_until_it_is_made_again(pipeline: Pipeline) -> None:
    lost = make(pipeline, "raw_data", JAN)
    make(pipeline, "validated_data", JAN)
    (pipeline.lake.root / "raw_data" / lost.files[0]).unlink()
    state = state_of(pipeline, "raw_data", JAN, "v1")
    assert (state.status, state.lost, state.against) == ("stale", True, "run 1")
    assert state.reason == f"{Path(lost.files[0]).name} is gone (removed by hand, or by a vacuum)."
    assert state_of(pipeline, "validated_data", JAN, "v1").status == "present"
    make(pipeline, "raw_data", JAN)
    assert state_of(pipeline, "raw_data", JAN, "v1").status == "present"
    assert state_of(pipeline, "validated_data", JAN, "v1").status == "present"


def test_a_correction_makes_exactly_the_readers_of_its_month_stale(pipeline: Pipeline) -> None:
    months = [JAN + i for i in range(5)]
    for month in months:
        make(pipeline, "raw_data", month)
        make(pipeline, "validated_data", month)
        make(pipeline, "features", month)
    make(pipeline, "validated_data", FEB, value=9)
    stale = {(s, m) for m in months for s in ("validated_data", "features")
             if state_of(pipeline, s, m, "v1").status == "stale"}  # fmt: skip
    assert stale == {("features", FEB + i) for i in range(3)}


def test_a_month_whose_window_has_a_gap_is_stale_and_says_so(pipeline: Pipeline) -> None:
    for month in (JAN, FEB):
        make(pipeline, "raw_data", month)
        make(pipeline, "validated_data", month)
    make(pipeline, "features", FEB)
    (pipeline.lake.root / "_records" / "validated_data" / "2024-01.json").unlink()
    state = state_of(pipeline, "features", FEB, "v1")
    assert state.status == "stale"
    assert "features 2024-02 needs validated_data 2024-01" in state.reason
    assert "churn backfill --pipeline shop --missing" in state.reason
    with pytest.raises(MissingMonth):
        pipeline.inputs("features", FEB)


def test_an_empty_month_is_empty_and_tells_why(pipeline: Pipeline) -> None:
    pipeline.lake.write("raw_data", JAN, None, Commit("f", code="v1"), reason="The source delivered no rows.")
    state = state_of(pipeline, "raw_data", JAN, "v1")
    assert (state.status, state.reason, state.rows) == ("empty", "The source delivered no rows.", 0)


def test_every_stage_of_every_month_has_a_state(pipeline: Pipeline) -> None:
    make(pipeline, "raw_data", JAN)
    found = states(pipeline, (JAN, FEB), dict.fromkeys(STAGES, "v1"))
    assert list(found) == [JAN, FEB]
    assert all(list(of_month) == list(STAGES) for of_month in found.values())
    present = [(m, s) for m, of_month in found.items() for s, state in of_month.items() if state.status == "present"]
    assert present == [(JAN, "raw_data")]


def test_of_a_decision_only_the_champion_counts(pipeline: Pipeline) -> None:
    first = pipeline.lake.write("promotions", JAN, pl.DataFrame({"auc": [0.7]}), Commit("f"), facts={"champion": "m1"})
    again = pipeline.lake.write("promotions", JAN, pl.DataFrame({"auc": [0.8]}), Commit("f"), facts={"champion": "m1"})
    assert first.content != again.content
    assert token(first) == token(again) == "m1"
    other = pipeline.lake.write("promotions", JAN, pl.DataFrame({"auc": [0.8]}), Commit("f"), facts={"champion": "m2"})
    assert token(other) != token(again)
    assert pipeline.champion("predictions", JAN) == "m2"
    assert pipeline.champion("model", FEB) == "m2"
    assert pipeline.champion("model", JAN) is None, "no month before it decided"


def test_without_a_champion_there_is_none(pipeline: Pipeline) -> None:
    pipeline.lake.write("promotions", JAN, pl.DataFrame({"auc": [0.7]}), Commit("f"), facts={"champion": None})
    assert pipeline.champion("predictions", JAN) is None
    with pytest.raises(MissingMonth):
        pipeline.champion("predictions", FEB)


def test_inputs_are_what_the_windows_hold(pipeline: Pipeline) -> None:
    for month in (JAN, FEB, MAR):
        make(pipeline, "raw_data", month)
        make(pipeline, "validated_data", month, value=month.number)
    found = pipeline.inputs("features", MAR)
    assert list(found) == ["validated_data 2024-01", "validated_data 2024-02", "validated_data 2024-03"]
    assert len(set(found.values())) == 3
    assert pipeline.window("features", MAR, "validated_data") == Window(
        "features", MAR, "validated_data", (JAN, FEB, MAR)
    )
    assert pipeline.inputs("raw_data", JAN) == {}


def test_a_month_that_is_pending_is_stale_until_it_is_made_anew(pipeline: Pipeline) -> None:
    make(pipeline, "raw_data", JAN)
    inputs = pipeline.inputs("validated_data", JAN)
    commit = Commit(fingerprint(inputs, "v1"), inputs, "v1", "run 1")
    waiting = pipeline.lake.write("validated_data", JAN, pl.DataFrame({"x": [1]}), commit, facts={PENDING: "It waits."})
    decision = decide_skip(waiting, inputs, "v1", force=False)
    assert (decision.skip, decision.reason) == (False, "It waits.")
    state = state_of(pipeline, "validated_data", JAN, "v1")
    assert (state.status, state.reason, state.pending, state.against) == ("stale", "It waits.", True, "run 1")
    make(pipeline, "validated_data", JAN)
    assert state_of(pipeline, "validated_data", JAN, "v1").status == "present"


def test_a_verdict_is_read_by_the_model_of_its_month_alone(pipeline: Pipeline) -> None:
    for month in (JAN, FEB):
        for table in ("versioned_dataset", "promotions"):
            pipeline.lake.write(table, month, None, Commit("f"), reason="Nothing yet.")
    for table in ("features", "validated_data", "quarantined_data"):
        for month in (JAN, FEB):
            pipeline.lake.write(table, month, None, Commit("f"), reason="Nothing yet.")
    without = {month: pipeline.inputs("model", month) for month in (JAN, FEB)}
    said = pipeline.lake.write(VERDICTS, FEB, pl.DataFrame({"model": ["m1"]}), Commit("f"))
    assert pipeline.inputs("model", JAN) == without[JAN]
    assert pipeline.inputs("model", FEB) == {**without[FEB], "verdicts 2024-02": said.content}
    pipeline.lake.write(VERDICTS, FEB, None, Commit("f"), reason="Withdrawn.")
    assert pipeline.inputs("model", FEB) == without[FEB]


def test_months_in_which_no_model_might_score_are_not_looked_for_among_the_predictions(pipeline: Pipeline) -> None:
    def months() -> tuple[Month, ...]:
        return pipeline.window("monitoring", FEB, "predictions").months

    assert months() == (JAN, FEB), "an undecided month isn't taken for one without a champion"
    pipeline.lake.write("promotions", JAN, None, Commit("f"), reason="Rejected.", facts={"champion": None})
    pipeline.lake.write("promotions", FEB, None, Commit("f"), reason="Rejected.", facts={"champion": None})
    assert months() == (FEB,), "the month itself is always asked for"
    pipeline.lake.write("promotions", JAN, None, Commit("f"), reason="Promoted.", facts={"champion": "m1"})
    assert months() == (JAN, FEB)


def test_gaps_are_what_is_missing_stale_failed_or_due_and_nothing_else(pipeline: Pipeline) -> None:
    now = datetime(2024, 6, 20, tzinfo=UTC)

    def found(failed: dict[Month, str] | None = None) -> list[tuple[str, str, str]]:
        stand = states(pipeline, made_so_far(pipeline), dict.fromkeys(STAGES, "v1"))
        stand = {m: {s: row[s] for s in ("raw_data", "validated_data")} for m, row in stand.items()}
        return [(str(gap.month), gap.kind, gap.reason) for gap in gaps(pipeline, stand, now, failed or {})]

    assert [kind for _, kind, _ in found()] == ["due"] * 5
    for month in (JAN, MAR):
        make(pipeline, "raw_data", month)
    make(pipeline, "validated_data", JAN)
    due = [("2024-04", "due", "It was never made."), ("2024-05", "due", "It was never made.")]
    missing = [("2024-02", "missing", "It was never made."), ("2024-03", "missing", "validated_data was never made.")]
    assert found() == [*missing, *due]
    make(pipeline, "raw_data", JAN, value=2)
    stale = ("2024-01", "stale", "validated_data: Changed since it was made: raw_data 2024-01.")
    assert found() == [stale, *missing, *due]
    assert found({JAN: "No."}) == [("2024-01", "failed", "No."), *missing, *due]
    assert found({MAR + 2: "No."}) == [stale, *missing, due[0], ("2024-05", "failed", "No.")]
