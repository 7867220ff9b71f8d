"""Months in which no model is due, trainings that are ordered, and challengers that wait for a person."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from churn_assets.assets import ALL
from churn_assets.cli.app import app
from churn_assets.cli.terminal import console
from churn_assets.component import build_definitions
from churn_assets.months import Month
from churn_assets.orders import Order, order_on
from churn_assets.replay import Replay, replay
from churn_assets.staleness import state_of
from churn_assets.summary import summarise
from churn_assets.verdicts import awaiting, decision_of
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SEARCHED = {"trials": 2, "only_ordered": True}
CANDIDATES = [{"name": "baseline", "kind": "logistic", "tuning": SEARCHED}]
"""One model that costs little; it is searched for parameters where that is ordered."""


@pytest.fixture(scope="module")
def third(finished: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The five months, in every third of which a model is due: January and April."""
    made = finished.copy(tmp_path_factory.mktemp("third") / "home")
    made.declare("churn", small_spec(candidates=CANDIDATES, training={"every": 3}))
    results = made.run(MONTHS)
    assert all(r.success for r in results), [r.problems for r in results]
    return made


@pytest.fixture
def own_third(third: Installation, tmp_path: Path) -> Installation:
    """A copy of it, to be changed at will."""
    return third.copy(tmp_path / "home")


def churn(installation: Installation, *arguments: str) -> str:
    """The command line in this process: what it said, blanks squeezed."""
    with installation.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "width", 400)
        done = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stdout
    return re.sub(r"\s+", " ", done.stdout)


def decided(installation: Installation, month: str) -> dict[str, Any]:
    return decision_of(installation.pipeline(), Month.parse(month))


def scored_by(installation: Installation, month: str) -> str:
    record = installation.pipeline().lake.record("predictions", Month.parse(month))
    assert record is not None
    return str(installation.pipeline().lake.scan_record(record).collect()["model_id"].unique().item())


def stale(installation: Installation) -> list[str]:
    pipeline = installation.pipeline()
    every = (state_of(pipeline, n, Month.parse(m), s.code(pipeline)) for m in MONTHS for n, s in ALL.items())
    return [f"{s.stage} {s.month}: {s.reason}" for s in every if s.status == "stale"]


def aliased(installation: Installation) -> str:
    import mlflow

    client = mlflow.MlflowClient(installation.pipeline().settings.mlflow_uri)
    return str(client.get_model_version_by_alias("churn", "champion").tags["model_id"])


def replayed(installation: Installation, month: str, into: Path) -> Replay:
    pipeline = installation.pipeline()
    record = pipeline.lake.record("versioned_dataset", Month.parse(month))
    assert record is not None
    return replay(pipeline, pipeline.datasets.get(str(record.facts["id"])), into)


def test_where_no_model_is_due_the_champion_stays_and_scores(third: Installation) -> None:
    first, april = decided(third, "2024-02"), decided(third, "2024-04")
    assert first["outcome"] == "promoted", "while there is no champion, every month trains one"
    assert april["outcome"] == "promoted" and april["previous"] == first["champion"]
    for month, champion, last, following in (
        ("2024-03", first["champion"], "2024-01", "2024-04"),
        ("2024-05", april["champion"], "2024-04", "2024-07"),
    ):
        kept, record = decided(third, month), third.pipeline().lake.record("model", Month.parse(month))
        told = f"Not due: last due in {last}, next in {following}, or order it with `churn retrain --month {month} "
        assert (kept["outcome"], kept["rule"], kept["challenger"]) == ("kept", "calendar", None)
        assert kept["champion"] == scored_by(third, month) == champion
        assert record and kept["reason"] == record.reason and kept["reason"].startswith(told)
        assert record.status == "empty" and "model_id" not in record.facts
        assert all(check["passed"] and check["reason"] == record.reason for check in record.facts["checks"])
    assert stale(third) == []
    assert aliased(third) == april["champion"]


def test_such_a_month_is_told_of_like_any_other(third: Installation, tmp_path: Path) -> None:
    champion = decided(third, "2024-05")["champion"]
    why = churn(third, "why", "model", "2024-05")
    assert f"churn 2024-05: {champion} kept by the gate in 2024-05. Not due: last due in 2024-04" in why
    assert "Dataset " not in why and "Models judged" not in why
    assert "Its challenger was trained: Due every 3 months." in churn(third, "why", "model", "2024-04")
    assert f"{champion} (2024-04: promoted)" in summarise(third.pipeline())
    assert champion in churn(third, "dataset", "list")
    again = replayed(third, "2024-05", tmp_path / "again")
    assert again.different == ()
    assert {f"artefact of {champion}", "promotions 2024-05", "predictions 2024-05"} <= {c.name for c in again.compared}


def test_an_order_trains_the_month_and_is_undone_by_its_withdrawal(own_third: Installation, tmp_path: Path) -> None:
    before = {month: own_third.contents(month) for month in MONTHS}
    why = ("--why", "the tariffs have changed", "--by", "anna")
    said = churn(own_third, "retrain", "--month", "2024-03", "--tuning", *why)
    march, april = decided(own_third, "2024-03"), decided(own_third, "2024-04")
    record = own_third.pipeline().lake.record("model", Month.parse("2024-03"))
    assert record and record.facts["trained_because"] == "Ordered with tuning by anna: the tariffs have changed."
    assert march["outcome"] == "promoted" and march["champion"] == record.facts["model_id"] in said
    assert list(record.facts["tuned"]) == ["baseline"], "searches that wait for an order are made"
    assert april["previous"] == march["champion"], "the later months follow"
    assert scored_by(own_third, "2024-03") == march["champion"]
    assert stale(own_third) == []
    assert "training_orders 2024-03" in churn(own_third, "why", "run", "2024-03", "model")
    for month in ("2024-03", "2024-04"):
        again = replayed(own_third, month, tmp_path / month)
        assert again.different == () and f"artefact of {march['champion']}" in {c.name for c in again.compared}
    churn(own_third, "retrain", "--month", "2024-03", "--withdraw", "--why", "they have not", "--by", "anna")
    assert {month: own_third.contents(month) for month in MONTHS} == before


def test_a_person_may_go_back_where_no_model_is_due(own_third: Installation) -> None:
    first = decided(own_third, "2024-02")["champion"]
    said = churn(own_third, "rollback", "--why", "complaints", "--by", "ben")
    after = decided(own_third, "2024-05")
    assert (after["champion"], after["challenger"], after["decided_by"]) == (first, None, "ben")
    assert "The gate had kept: Not due" in said and '"verdict_auc"' in after["evidence"]
    assert scored_by(own_third, "2024-05") == aliased(own_third) == first
    churn(own_third, "withdraw", "--month", "2024-05", "--why", "settled", "--by", "ben")
    assert aliased(own_third) == decided(own_third, "2024-05")["champion"] == decided(own_third, "2024-04")["champion"]


def test_a_challenger_waits_for_a_person(own: Installation) -> None:
    assert decided(own, "2024-05")["outcome"] == "promoted"
    own.declare("churn", small_spec(candidates=CANDIDATES, gates={"approval": "person", "approval_from": "2024-05"}))
    assert own.run(["2024-05"])[0].success
    waits, pipeline = decided(own, "2024-05"), own.pipeline()
    assert (waits["outcome"], waits["rule"], waits["champion"]) == ("kept", "approval", waits["previous"])
    assert "passes every gate and waits for a person" in waits["reason"]
    assert f"`churn promote {waits['challenger']} --month 2024-05" in waits["reason"]
    assert "`churn reject --month 2024-05" in waits["reason"]
    assert awaiting(pipeline) == (Month.parse("2024-05"), waits["challenger"])
    record = pipeline.lake.record("model", Month.parse("2024-05"))
    assert record
    (stands,) = (check for check in record.facts["checks"] if check["name"] == "champion_stands")
    assert stands["passed"] and stands["reason"] == waits["reason"]
    said = churn(own, "promote", waits["challenger"], "--month", "2024-05", "--why", "looks right", "--by", "anna")
    assert "Promoted by anna: looks right" in said and "The gate had kept" in said
    assert scored_by(own, "2024-05") == waits["challenger"] and awaiting(pipeline) is None


def test_the_first_champion_waits_too_and_until_then_there_is_no_list(own: Installation) -> None:
    own.declare("churn", small_spec(candidates=CANDIDATES, gates={"approval": "person"}))
    early, late = own.run(["2024-02", "2024-03"])
    assert early.success, "history is too short yet to ask for a model"
    waits = decided(own, "2024-03")
    assert (waits["outcome"], waits["rule"], waits["champion"]) == ("rejected", "approval", None)
    (problem,) = late.problems
    assert "waits for a person" in problem and f"churn promote {waits['challenger']} --month 2024-03" in problem
    assert "has no predictions and no list" in problem and "Change `gates`" not in problem
    churn(own, "promote", waits["challenger"], "--month", "2024-03", "--why", "a pilot", "--by", "anna")
    assert scored_by(own, "2024-03") == waits["challenger"]


def ticked(installation: Installation, moment: str) -> dg.ScheduleExecutionData:
    """What the retrain schedule comes to at a moment (UTC)."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    whole = build_definitions(installation.pipeline()).get_repository_def()
    with (
        installation.instance() as instance,
        dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=whole) as context,
    ):
        return whole.get_schedule_def("churn_retrain").evaluate_tick(context)


def test_the_schedule_orders_a_training_and_asks_for_its_run_once(own_third: Installation) -> None:
    due = ticked(own_third, "2024-05-04T08:00")
    assert not due.run_requests and "2024-04 has a model of its own already: 2024-04-baseline" in str(due.skip_message)
    assert not own_third.pipeline().lake.months("training_orders")
    assert "No month of churn is complete yet." in str(ticked(own_third, "2024-02-02T08:00").skip_message)
    (request,) = ticked(own_third, "2024-06-04T08:00").run_requests or []
    order = order_on(own_third.pipeline(), Month.parse("2024-05"))
    assert order == Order("churn_retrain", "scheduled (0 8 4 1,4,7,10 *)")
    assert request.partition_key == "2024-05"
    assert request.tags["churn/reason"] == "A training is ordered by churn_retrain: scheduled (0 8 4 1,4,7,10 *)."
    again = ticked(own_third, "2024-06-04T08:00")
    assert not again.run_requests and "2024-05 was asked for a moment ago" in str(again.skip_message)
    assert own_third.run(["2024-05"])[0].success
    assert decided(own_third, "2024-05")["challenger"]
    assert "2024-05 has a model of its own already" in str(ticked(own_third, "2024-06-05T08:00").skip_message)


def test_a_schedule_with_tuning_orders_it_where_a_model_was_trained_without(own_third: Installation) -> None:
    spec = small_spec(candidates=CANDIDATES, training={"every": 3}, automation={"retrain_tuning": True})
    own_third.declare("churn", spec)
    (request,) = ticked(own_third, "2024-05-04T08:00").run_requests or []
    assert "ordered with tuning by churn_retrain" in request.tags["churn/reason"]
    assert own_third.run(["2024-04"])[0].success
    assert "2024-04 has a model of its own already" in str(ticked(own_third, "2024-05-04T08:00").skip_message)
