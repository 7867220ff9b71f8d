from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from churn_assets.errors import ChurnAssetsError, LakeError, LearningError
from churn_assets.learning.promotion import PromotionDecision, Verdict, as_row
from churn_assets.learning.training import TrainedModel, dump, train
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.store.lake import Commit
from churn_assets.verdicts import (
    before_the_present,
    decision_of,
    give,
    newest_decided,
    promote_command,
    verdict_on,
    withdraw,
)
from churn_assets_tests.declared import declared
from churn_assets_tests.learning.panels import BASELINE, panel

JAN, FEB, MAR = Month(2024, 1), Month(2024, 2), Month(2024, 3)
ANNA = Verdict("promote", "m1", "anna", "a pilot")


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return train(panel(customers=300).rename({"usage": "charge"}), ["calls", "charge"], [BASELINE]).models["baseline"]


@pytest.fixture
def pipeline(tmp_path: Path, model: TrainedModel) -> Pipeline:
    """Three months, in which m1, m2 and m2 again are champion; both are on the shelf."""
    made = Pipeline(declared(), Settings(data=tmp_path, defs=tmp_path))
    for name in ("m1", "m2"):
        made.models.put(name, dump(model), {})
    for month, champion, previous in ((JAN, "m1", None), (FEB, "m2", "m1"), (MAR, "m2", "m2")):
        decision = PromotionDecision("promoted", "Because.", champion, champion, previous)
        made.lake.write("promotions", month, as_row(decision), Commit("f"), facts={"champion": champion})
    return made


def test_the_last_verdict_counts_and_all_of_them_are_kept(pipeline: Pipeline) -> None:
    assert verdict_on(pipeline, FEB) is None
    give(pipeline, FEB, ANNA)
    assert verdict_on(pipeline, FEB) == ANNA
    rejected = Verdict("reject", None, "ben", "not yet")
    give(pipeline, FEB, rejected)
    assert verdict_on(pipeline, FEB) == rejected
    withdraw(pipeline, FEB, "anna", "settled")
    assert verdict_on(pipeline, FEB) is None
    history = pipeline.lake.history("verdicts", FEB)
    assert [r.facts["by"] for r in history] == ["anna", "ben", "anna"]
    assert all(r.facts["at"] for r in history) and "settled" in history[-1].reason


def test_the_moment_of_a_verdict_and_saying_it_twice_change_nothing(pipeline: Pipeline) -> None:
    give(pipeline, FEB, ANNA)
    first = pipeline.lake.record("verdicts", FEB)
    give(pipeline, FEB, ANNA)
    again = pipeline.lake.record("verdicts", FEB)
    assert first and again and again.content == first.content
    assert len(pipeline.lake.history("verdicts", FEB)) == 1
    give(pipeline, FEB, replace(ANNA, why="another reason"))
    second = pipeline.lake.record("verdicts", FEB)
    assert second and first.content != second.content
    assert pipeline.lake.scan_record(second).drop("month").collect().columns == ["action", "model", "by", "why"]


def test_the_champion_before_the_present_one(pipeline: Pipeline) -> None:
    assert newest_decided(pipeline) == MAR
    assert before_the_present(pipeline, MAR) == "m1"
    assert before_the_present(pipeline, FEB) == "m1"
    with pytest.raises(LearningError, match="expected an earlier champion than m1, found none"):
        before_the_present(pipeline, JAN)
    give(pipeline, MAR, Verdict("rollback", "m2", "ben", "complaints"))
    assert before_the_present(pipeline, MAR) == "m2", "said again, it goes back to the same"


@pytest.mark.parametrize(
    ("verdict", "month", "said"),
    [
        (
            replace(ANNA, model="m3"),
            FEB,
            r"expected one of 2 models in .*, the newest of them m1, m2; found no such one",
        ),
        (replace(ANNA, why=" "), FEB, r"expected a reason \(--why\), found none"),
        (ANNA, Month(2024, 9), r"promotions 2024-09: expected a decision, found none\. Run `churn backfill --pipeline"),
    ],
)
def test_a_verdict_that_cant_be_carried_out_is_refused(
    pipeline: Pipeline, verdict: Verdict, month: Month, said: str
) -> None:
    with pytest.raises(ChurnAssetsError, match=said):
        give(pipeline, month, verdict)
    assert verdict_on(pipeline, month) is None


def test_a_model_that_cant_be_loaded_or_needs_other_features_is_refused(
    pipeline: Pipeline, tmp_path: Path, model: TrainedModel
) -> None:
    pipeline.models.put("broken", dump(model)[:-9], {})
    with pytest.raises(LearningError, match="can't be loaded"):
        give(pipeline, FEB, replace(ANNA, model="broken"))
    other = Pipeline(
        declared(features=[{"kind": "columns", "columns": ["calls"]}]), Settings(data=tmp_path, defs=tmp_path)
    )
    with pytest.raises(LearningError, match="expected features that the pipeline has, found charge"):
        give(other, FEB, ANNA)


def test_there_must_be_something_to_withdraw_or_to_go_back_from(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(LearningError, match="expected one to withdraw, found none"):
        withdraw(pipeline, FEB, "anna", "x")
    empty = Pipeline(declared(), Settings(data=tmp_path / "empty", defs=tmp_path))
    with pytest.raises(LearningError, match="expected a decided month, found none"):
        newest_decided(empty)
    with pytest.raises(LakeError):
        decision_of(empty, FEB)


def test_the_command_names_the_pipeline_where_it_isnt_the_default(pipeline: Pipeline) -> None:
    assert promote_command(pipeline, FEB, "m1") == 'churn promote m1 --month 2024-02 --why "..." --pipeline shop'


def test_a_decision_is_read_as_it_was_written(pipeline: Pipeline) -> None:
    assert (decision_of(pipeline, FEB)["champion"], decision_of(pipeline, FEB)["previous"]) == ("m2", "m1")
    assert pl.Series([decision_of(pipeline, JAN)["previous"]]).null_count() == 1
