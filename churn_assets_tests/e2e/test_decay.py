"""A model decays: a competitor strikes, monitoring wants a new model, and the training is ordered and made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from churn_assets.alerts import journal_of
from churn_assets.cli.app import app
from churn_assets.cli.terminal import console
from churn_assets.component import build_definitions
from churn_assets.monitoring.retraining import RetrainDecision
from churn_assets.months import Month
from churn_assets.orders import order_on, withdraw
from churn_assets.pipeline import Pipeline
from churn_assets.retraining import decided, ordered, require_decided, standing
from churn_assets.verdicts import decision_of
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation, small_spec

if TYPE_CHECKING:
    from churn_assets_tests.conftest import Prepare

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SENSOR = "churn_retraining"
NEXT = "2024-06"
SHOCK = {"kind": "competitor_shock", "month": "2024-04", "months": 3, "strength": 3}


@pytest.fixture(scope="module")
def struck(prepared: Prepare) -> Installation:
    """Five months; the competitor strikes in the fourth, so that what was predicted in the third comes out wrong."""

    def make(home: Path) -> Installation:
        spec = small_spec(
            source={"type": "simulated", "customers": 1500, "seed": 3, "scenario": [SHOCK]},
            candidates=[{"name": "baseline", "kind": "logistic"}],
            training={"every": 24},
            label={"max_rate": 1.0},
        )
        made = Installation.create(home, churn=spec)
        made.run_all(MONTHS)
        return made

    return prepared("struck", make)


@pytest.fixture
def own_struck(struck: Installation, tmp_path: Path) -> Installation:
    """A copy of it, to be changed at will."""
    return struck.copy(tmp_path / "home")


def found(installation: Installation, month: str) -> RetrainDecision:
    return require_decided(installation.pipeline(), Month.parse(month))


def look(installation: Installation, sensor: str = SENSOR) -> tuple[list[Mapping[str, str]], str]:
    """One look of a sensor in a repository that was just loaded: the tags of its requests, or why there are none."""
    with installation.instance() as instance:
        definitions = build_definitions(installation.pipeline())
        with dg.build_sensor_context(instance=instance, definitions=definitions) as context:
            result = definitions.get_sensor_def(sensor).evaluate_tick(context)
    return [dict(r.tags) for r in result.run_requests or []], result.skip_message or ""


def checks(installation: Installation, month: str) -> dict[str, Mapping[str, Any]]:
    record = installation.pipeline().lake.record("monitoring", Month.parse(month))
    assert record is not None
    return {check["name"]: check for check in record.facts["checks"]}


def churn(installation: Installation, *arguments: str) -> str:
    """The command line in this process: what it said, blanks squeezed."""
    with installation.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "width", 400)
        done = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stdout
    return re.sub(r"\s+", " ", done.stdout)


def carried_out(pipeline: Pipeline, month: str) -> str:
    record = pipeline.lake.record("model", Month.parse(month))
    assert record is not None
    return str(record.facts.get("trained_because", ""))


def test_the_shock_is_flagged_at_once_and_a_model_wanted_when_it_shows_twice(struck: Installation) -> None:
    told = {month: found(struck, month) for month in MONTHS}
    assert [d.outcome for d in told.values()] == ["keep", "keep", "keep", "keep", "retrain"]
    assert not checks(struck, "2024-04")["calibrated"]["passed"]
    assert checks(struck, "2024-04")["retrain"]["passed"]
    assert not checks(struck, "2024-05")["retrain"]["passed"]
    april = told["2024-05"]
    # The labels of March tell of the shock; the first model that is fitted on them is June's.
    assert april.learn_in == NEXT
    assert "in 2 of the last 3 months (2024-04, 2024-05)" in april.reason
    assert all(checks(struck, month)["columns_whole"]["passed"] for month in MONTHS)


def test_the_asset_shows_the_decision_its_evidence_and_the_drift(struck: Installation) -> None:
    with struck.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "monitoring"]))
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert shown["decision"].value == "train a new model"
    assert shown["decision reason"].value == found(struck, "2024-05").reason
    assert (shown["new model wanted"].value, shown["to be trained in"].value) == (1, NEXT)
    rules = {str(r.data["rule"]): r.data for r in shown["evidence"].records}  # type: ignore[attr-defined]
    assert rules["rate"]["violated"] and rules["rate"]["lower"] > rules["rate"]["limit"]
    assert set(rules) == {"auc", "floor", "calibration", "rate", "jump", "drift", "age"}
    assert isinstance(shown["importance of what has moved"].value, float)
    assert sum("Drift against" in name and isinstance(v, dg.MarkdownMetadataValue) for name, v in shown.items()) == 2
    record = struck.pipeline().lake.record("drift", Month.parse("2024-05"))
    assert record is not None
    drift = struck.pipeline().lake.scan_record(record).collect()
    assert {"training", "month before"} == set(drift["against"]) and "score" in drift["subject"]


def test_the_order_is_placed_once_and_carried_out_by_its_month(own_struck: Installation) -> None:
    pipeline, june = own_struck.pipeline(), Month.parse(NEXT)
    alerts = {m.alert.kind for m in _told(own_struck)}
    assert {"quality_fell", "retrain_wanted"} <= alerts
    requests, why_not = look(own_struck)
    assert (requests, why_not) == ([], f"A training is ordered for {NEXT}: the month's next run makes it.")
    order = order_on(pipeline, june)
    assert order and order.by == SENSOR and order.why.startswith("Monitoring of 2024-05: ")
    before = pipeline.lake.history("training_orders", june)
    assert look(own_struck) == (requests, why_not)
    assert pipeline.lake.history("training_orders", june) == before
    assert "retrain_wanted" not in {m.alert.kind for m in _told(own_struck) if not m.over}

    own_struck.run_all([NEXT])
    assert carried_out(pipeline, NEXT) == f"{order.words[0].upper()}{order.words[1:]}."
    after = found(own_struck, NEXT)
    assert not after.acts, "the month's decision leaves the ordered model time"
    decision = decision_of(pipeline, june)
    assert look(own_struck)[0] == []

    why = churn(own_struck, "why", "retrain", "2024-05")
    assert f"A training was ordered for {NEXT}, and {decision['challenger']} came of it: {decision['outcome']}." in why
    plain = json.loads(churn(own_struck, "why", "retrain", "2024-05", "--json"))
    assert plain["outcome"] == "retrain" and plain["ordered"]["model"] == decision["challenger"]
    assert {e["rule"] for e in plain["evidence"] if e["violated"]} >= {"rate"}
    assert [one["month"] for one in plain["history"]] == MONTHS


def test_what_a_person_withdraws_is_not_ordered_again(own_struck: Installation) -> None:
    pipeline, june = own_struck.pipeline(), Month.parse(NEXT)
    look(own_struck)
    withdraw(pipeline, june, "ann", "the competitor is bankrupt")
    assert look(own_struck) == ([], f"The order of 2024-05 for {NEXT} was withdrawn.")
    assert order_on(pipeline, june) is None
    came = ordered(pipeline, found(own_struck, "2024-05"))
    assert came and came.month == june and came.order is None


def test_a_month_that_was_made_meanwhile_is_run_anew_for_one_cause(own_struck: Installation) -> None:
    own_struck.run_all([NEXT])
    pipeline, june = own_struck.pipeline(), Month.parse(NEXT)
    assert carried_out(pipeline, NEXT) == ""
    asked, _ = look(own_struck)
    (tags,) = asked
    assert tags["dagster/partition"] == NEXT
    assert tags["churn/reason"].startswith(f"A training is ordered by {SENSOR}: Monitoring of 2024-05: ")
    assert look(own_struck)[0] == []
    monitored = {month: pipeline.lake.record("predictions", Month.parse(month)) for month in MONTHS}
    own_struck.run_all([NEXT])
    assert carried_out(pipeline, NEXT).startswith(f"Ordered by {SENSOR}: Monitoring of 2024-05: ")
    assert {month: pipeline.lake.record("predictions", Month.parse(month)) for month in MONTHS} == monitored
    assert decided(pipeline, june) and standing(pipeline) is not None
    assert look(own_struck)[0] == []


def test_a_broken_column_stops_the_training_and_says_where_to_look(own_struck: Installation) -> None:
    broken = {"kind": "broken_column", "month": NEXT, "column": "data_gb"}
    spec = small_spec(
        source={"type": "simulated", "customers": 1500, "seed": 3, "scenario": [SHOCK, broken]},
        candidates=[{"name": "baseline", "kind": "logistic"}], training={"every": 24}, label={"max_rate": 1.0},
    )  # fmt: skip
    own_struck.declare("churn", spec)
    own_struck.run_all([NEXT])
    decision = found(own_struck, NEXT)
    assert (decision.outcome, decision.wanted) == ("mend_data", False)
    assert decision.reason.startswith("Look at the source first: data_gb is about ")
    assert not checks(own_struck, NEXT)["columns_whole"]["passed"]
    assert look(own_struck) == ([], f"{NEXT}: {decision.reason}"), "what May had wanted waits, too"
    assert order_on(own_struck.pipeline(), Month.parse(NEXT)) is None
    assert "columns_broken" in {m.alert.kind for m in _told(own_struck)}
    assert "mended first" in churn(own_struck, "why", "retrain", NEXT)


def _told(installation: Installation) -> Any:
    look(installation, "churn_alerts")
    pipeline = installation.pipeline()
    return journal_of(pipeline.data / "alerts", pipeline.name).matters()
