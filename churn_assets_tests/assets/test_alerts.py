from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.alerts import Alert, journal_of
from churn_assets.assets.alerts import alerts_sensor, failure_sensor
from churn_assets.assets.breaker import Gate
from churn_assets.assets.stage import Work
from churn_assets.definitions import defs
from churn_assets.errors import SourceError
from churn_assets.learning.promotion import PromotionDecision, as_row
from churn_assets.monitoring.retraining import Evidence, RetrainDecision
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.sources.retrying import retrying
from churn_assets.store.lake import Commit
from churn_assets_tests.declared import declared, document
from churn_assets_tests.installation import Installation, small_spec

GOOD = "customer_id,plan,calls,charge,left\n1,basic,3,9.5,false\n"
BAD = "nothing,else\n1,2\n"


def open_matters(pipeline: Pipeline) -> list[Alert]:
    return [m.alert for m in journal_of(pipeline.data / "alerts", pipeline.name).matters() if not m.over]


def told(pipeline: Pipeline) -> list[tuple[str, str]]:
    lines = (pipeline.data / f"alerts/{pipeline.name}.jsonl").read_text().splitlines()
    return [(line["occasion"], line["title"]) for line in map(json.loads, lines) if line["kind"] != "late_data"]


class Looks:
    """The two sensors of a pipeline on an instance, each with its cursor."""

    def __init__(self, pipeline: Pipeline, instance: dg.DagsterInstance) -> None:
        self.pipeline, self.instance = pipeline, instance
        self.cursors: dict[str, str | None] = {}

    def look(self, sensor: dg.SensorDefinition) -> dg.SensorResult:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(sensor.name)) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        self.cursors[sensor.name] = result.cursor
        return result

    def both(self) -> list[Alert]:
        self.look(failure_sensor(self.pipeline))
        self.look(alerts_sensor(self.pipeline))
        return [alert for alert in open_matters(self.pipeline) if alert.kind != "late_data"]


@pytest.mark.e2e
class TestFailures:
    """Real runs on a real instance; the first two stages are enough to fail at."""

    @pytest.fixture
    def shop(self, tmp_path: Path) -> Installation:
        return Installation.create(tmp_path / "home", shop=document(label={"kind": "flag", "min_rate": 0}))

    @pytest.fixture
    def looks(self, shop: Installation) -> Iterator[Looks]:
        with shop.instance() as instance:
            yield Looks(shop.pipeline("shop"), instance)

    def test_a_run_of_the_command_line_is_told_with_stage_error_remedy_and_link(
        self, shop: Installation, looks: Looks
    ) -> None:
        shop.deliver("2024-01", BAD)
        [ran] = shop.run(["2024-01"], name="shop", stages=["raw_data", "validated_data"])
        [alert] = looks.both()
        assert alert.key == ("run_failed", "2024-01")
        assert alert.title == "2024-01 failed at validated_data"
        assert alert.text == ran.problems[0]
        assert "`churn backfill --pipeline shop --from 2024-01 --to 2024-01`" in alert.remedy
        assert alert.link == f"/runs/{ran.run_id}"
        assert looks.both() == [alert]
        assert told(looks.pipeline) == [("begins", alert.title)]

    def test_a_month_that_then_succeeds_is_over_once_the_failed_stage_was_run(
        self, shop: Installation, looks: Looks
    ) -> None:
        shop.deliver("2024-01", BAD)
        shop.run(["2024-01"], name="shop", stages=["raw_data", "validated_data"])
        assert len(looks.both()) == 1
        shop.run(["2024-01"], name="shop", stages=["raw_data"])
        assert len(looks.both()) == 1, "the stage that failed was not run"
        shop.deliver("2024-02", GOOD.replace("9.5", "9.9"))
        shop.run(["2024-02"], name="shop", stages=["raw_data", "validated_data"])
        assert len(looks.both()) == 1, "another month was run"
        shop.deliver("2024-01", GOOD)
        [ran] = shop.run(["2024-01"], name="shop", stages=["raw_data", "validated_data"])
        assert ran.success, ran.problems
        assert looks.both() == []
        title = "2024-01 failed at validated_data"
        assert told(looks.pipeline) == [("begins", title), ("over", title)]

    def test_a_run_launched_by_asset_carries_no_tag_and_is_told_all_the_same(
        self, shop: Installation, looks: Looks
    ) -> None:
        with shop.active():
            job = defs().get_repository_def().get_implicit_global_asset_job_def()
            result = job.execute_in_process(
                instance=looks.instance,
                partition_key="2024-03",
                asset_selection=[dg.AssetKey(["shop", "raw_data"])],
                raise_on_error=False,
            )
        assert "churn/pipeline" not in result.dagster_run.tags
        [alert] = looks.both()
        assert alert.title == "2024-03 failed at raw_data"
        assert "expected the file of 2024-03, found none" in alert.text
        other = Pipeline(declared(name="other"), looks.pipeline.settings)
        assert Looks(other, looks.instance).both() == [], "each pipeline is told of its own runs"

    def test_a_run_whose_process_died_is_told_with_what_dagster_says(self, shop: Installation, looks: Looks) -> None:
        with shop.active():
            job = defs().resolve_job_def("shop_month")
            run = looks.instance.create_run_for_job(job, tags={**job.tags, "dagster/partition": "2024-01"})
        looks.instance.report_run_failed(run, "Its process ended without a word.")
        [alert] = looks.both()
        assert (alert.title, alert.text) == ("2024-01 failed", "Its process ended without a word.")

    def test_a_failure_that_was_mended_before_the_look_is_not_told(self, shop: Installation, looks: Looks) -> None:
        for content in (BAD, GOOD):
            shop.deliver("2024-01", content)
            shop.run(["2024-01"], name="shop", stages=["raw_data", "validated_data"])
        assert looks.both() == []

    def test_a_success_before_the_failure_mends_nothing(self, shop: Installation, looks: Looks) -> None:
        for content in (GOOD, BAD):
            shop.deliver("2024-01", content)
            shop.run(["2024-01"], name="shop", stages=["raw_data", "validated_data"])
        assert [alert.title for alert in looks.both()] == ["2024-01 failed at validated_data"]

    def test_a_restarted_daemon_tells_what_failed_meanwhile_and_nothing_twice(
        self, shop: Installation, looks: Looks
    ) -> None:
        shop.run(["2024-01"], name="shop", stages=["raw_data"])
        looks.both()
        shop.run(["2024-02"], name="shop", stages=["raw_data"])
        again = Looks(looks.pipeline, looks.instance)
        again.both()
        assert [t for _, t in told(looks.pipeline)] == ["2024-01 failed at raw_data", "2024-02 failed at raw_data"]


class TestState:
    """What stands in the lake, and what the alerts sensor says of it."""

    @pytest.fixture
    def looks(self, tmp_path: Path) -> Iterator[Looks]:
        spec = declared(months={"start": "2024-01", "end": "2024-03"}, source={"type": "incoming", "settle_seconds": 0})
        with dg.DagsterInstance.ephemeral() as instance:
            yield Looks(Pipeline(spec, Settings(data=tmp_path / "data", defs=tmp_path)), instance)

    @staticmethod
    def decide(pipeline: Pipeline, month: Month, rule: Any, stands: bool = True, awaiting: str | None = None) -> None:
        """The records of a decided month, as its stage writes them."""
        decision = PromotionDecision(
            "kept", f"Because of {rule}.", awaiting or "new", "old" if stands else None, "old", rule
        )
        facts = {"champion": decision.champion, **({"awaiting": awaiting} if awaiting else {})}
        pipeline.lake.write("promotions", month, as_row(decision), Commit(""), facts=facts)
        check = {"name": "champion_stands", "passed": stands, "reason": f"{month}: below the floor."}
        pipeline.lake.write("model", month, pl.DataFrame({"a": [1]}), Commit(""), facts={"checks": [check]})

    def test_nothing_is_the_matter_with_a_pipeline_that_was_never_run(self, looks: Looks) -> None:
        result = looks.look(alerts_sensor(looks.pipeline))
        assert result.skip_reason is not None
        assert result.skip_reason.skip_message == "Open: nothing."

    def test_late_months_are_one_matter_that_ends_when_they_come(self, looks: Looks) -> None:
        raw = pl.DataFrame({"a": [1]})
        for month, before in ((1, " In all, 2 months are late, from 2024-02 on."), (2, "")):
            looks.pipeline.lake.write("raw_data", Month(2024, month), raw, Commit(""))
            sent = looks.look(alerts_sensor(looks.pipeline)).skip_reason
            [alert] = open_matters(looks.pipeline)
            assert alert.title == "2024-03 is late"
            assert alert.text == f"2024-03 was due on 2024-04-03, and the lake doesn't have it.{before}"
            assert ("told by file" in str(sent)) is (month == 1), "it is no news that there are fewer"
        assert "churn backfill --pipeline shop --from 2024-03 --to 2024-03" in open_matters(looks.pipeline)[0].remedy
        looks.pipeline.lake.write("raw_data", Month(2024, 3), raw, Commit(""))
        looks.look(alerts_sensor(looks.pipeline))
        assert open_matters(looks.pipeline) == []

    @pytest.mark.parametrize(
        ("rule", "stands", "text"),
        [
            ("floors", False, "2024-02: below the floor."),
            ("evidence", True, "Because of evidence."),
            ("tracking", True, "Because of tracking."),
        ],
    )
    def test_a_blocked_promotion_is_told_until_it_is_decided(
        self, rule: Any, stands: bool, text: str, looks: Looks
    ) -> None:
        pipeline = looks.pipeline
        self.decide(pipeline, Month(2024, 1), "margin")
        assert looks.both() == []
        self.decide(pipeline, Month(2024, 2), rule, stands)
        [alert] = looks.both()
        assert (alert.key, alert.text) == (("promotion_blocked", "2024-02"), text)
        assert "churn why model 2024-02 --pipeline shop" in alert.remedy
        self.decide(pipeline, Month(2024, 3), "margin")
        goes_on = [] if stands else [alert]
        assert looks.both() == goes_on, "while a champion stays, the next month settles it"
        self.decide(pipeline, Month(2024, 2), "margin")
        assert looks.both() == []

    @pytest.mark.parametrize("stands", [True, False])
    def test_a_challenger_waits_until_somebody_decides(self, stands: bool, looks: Looks) -> None:
        pipeline = looks.pipeline
        self.decide(pipeline, Month(2024, 1), "approval", stands, awaiting="2024-01-xgboost-1")
        [alert] = looks.both()
        assert alert.kind == "challenger_waits"
        assert 'churn promote 2024-01-xgboost-1 --month 2024-01 --why "..." --pipeline shop' in alert.remedy
        assert 'churn reject --month 2024-01 --why "..." --pipeline shop' in alert.remedy
        assert alert.link == "/assets/shop/model?partition=2024-01"
        self.decide(pipeline, Month(2024, 1), "margin")
        assert looks.both() == []

    @pytest.mark.parametrize(("rule", "told"), [("rate", True), ("jump", True), ("drift", False), ("age", False)])
    def test_predictions_that_came_out_wrong_are_told_in_the_newest_month(
        self, rule: Any, told: bool, looks: Looks
    ) -> None:
        pipeline = looks.pipeline
        for month, violated in ((Month(2024, 1), True), (Month(2024, 2), False)):
            evidence = Evidence(rule, 1.6, 1.3, violated, "m1", "1.6 times as many left as it had predicted")
            decision = RetrainDecision(str(month), "keep", "The champion stays for now.", (evidence,), "m1")
            pipeline.lake.write(
                "monitoring", month, pl.DataFrame({"a": [1]}), Commit(""), facts={"retrain": decision.as_dict()}
            )
            found = looks.both()
            assert [alert.kind for alert in found] == (["quality_fell"] if told and violated else [])
            if found:
                assert "Now that it is known who left: 1.6 times as many left" in found[0].text

    def test_refused_files_are_told_until_they_are_gone(self, looks: Looks) -> None:
        folder = looks.pipeline.data / "incoming"
        folder.mkdir(parents=True)
        (folder / "customers.csv").write_text(GOOD)
        (folder / "2024-01.csv").write_text(GOOD)
        [alert] = looks.both()
        assert alert.key == ("incoming_refused", "customers.csv")
        assert "rename it" in alert.remedy
        (folder / "customers.csv").unlink()
        assert looks.both() == []

    def test_a_paused_source_is_told_until_it_answers(self, looks: Looks) -> None:
        spec = declared(
            source={"type": "http", "url": "http://127.0.0.1:9/{month}"},
            automation={"breaker": {"failures": 2, "pause_minutes": 1e-6}},
        )
        looks.pipeline = Pipeline(spec, looks.pipeline.settings)
        for run in ("first", "second"):
            assert looks.both() == []
            with pytest.raises(SourceError), self.asking(looks, run):
                raise SourceError("No route to host.", transient=True)
        [alert] = looks.both()
        assert alert.kind == "source_unreachable"
        assert "No route to host." in alert.text
        with self.asking(looks, "third"):
            retrying(lambda: "an answer", "the source")
        assert looks.both() == []

    @staticmethod
    def asking(looks: Looks, run: str) -> Gate:
        """What surrounds a run that asks its source."""
        return Gate(Work(looks.pipeline, Month(2024, 1), "", run, logging.getLogger(), instance=looks.instance))

    def test_what_cant_be_looked_at_is_not_over_and_the_rest_is_told(self, looks: Looks) -> None:
        pipeline = looks.pipeline
        self.decide(pipeline, Month(2024, 1), "approval", awaiting="2024-01-xgboost-1")
        looks.both()
        (pipeline.lake.root / "_records/promotions/2024-01.json").write_text("{")
        folder = pipeline.data / "incoming"
        folder.mkdir(parents=True)
        (folder / "customers.csv").write_text(GOOD)
        assert {alert.kind for alert in looks.both()} == {"challenger_waits", "incoming_refused"}


@pytest.mark.e2e
@pytest.mark.slow
def test_a_month_that_fails_for_want_of_a_champion_is_told_as_what_is_to_be_decided(tmp_path: Path) -> None:
    shop = Installation.create(tmp_path / "home", churn=small_spec(gates={"floor": 0.99}))
    results = shop.run(["2024-01", "2024-02", "2024-03"])
    failed = [str(ran.month) for ran in results if not ran.success]
    assert failed
    with shop.instance() as instance:
        looks = Looks(shop.pipeline(), instance)
        looks.look(failure_sensor(looks.pipeline))
        assert [a.key for a in open_matters(looks.pipeline)] == [("promotion_blocked", month) for month in failed]
        shop.declare("churn", small_spec(gates={"approval": "person"}))
        shop.run(failed[-1:])
        looks.pipeline = shop.pipeline()
        waits = [alert for alert in looks.both() if alert.subject == failed[-1]]
        assert [alert.kind for alert in waits] == ["challenger_waits"]
        assert f"churn promote {failed[-1]}-" in waits[0].remedy
