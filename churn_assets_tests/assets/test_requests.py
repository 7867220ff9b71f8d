"""What schedules and sensors ask for, on a real instance; months are put into the lake as their stages would."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.assets import ALL, requests
from churn_assets.component import build_definitions
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.staleness import fingerprint
from churn_assets.store.lake import Commit
from churn_assets_tests.api import Answer, running_api
from churn_assets_tests.declared import declared

JAN = Month(2024, 1)
BESIDE = {
    "validated_data": ["quarantined_data"], "model": ["promotions"], "predictions": ["shadow_predictions"],
    "retention_list": ["list_outcomes"],
}  # fmt: skip
PAUSE = {"retries": {"attempts": 1}, "breaker": {"failures": 2, "pause_minutes": 30}}


@dataclass
class Shop:
    """A pipeline from January 2024 to ``end``, on an instance of its own, as a daemon sees it."""

    data: Path
    instance: dg.DagsterInstance
    end: str = "2024-04"
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.load()

    def load(self) -> None:
        """What a start of the daemon does: nothing is remembered but what stands on disk."""
        spec = declared(months={"start": "2024-01", "end": self.end}, **self.changes)
        self.pipeline = Pipeline(spec, Settings(data=self.data, defs=self.data))
        self.definitions = build_definitions(self.pipeline)
        requests._CLAIMED.clear()

    @property
    def lake(self) -> Any:
        return self.pipeline.lake

    def deliver(self, *months: str, rows: int = 1) -> None:
        for month in months:
            file = self.data / "incoming" / f"{month}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("customer_id,plan,calls,charge,left\n" + "c1,basic,1,2,false\n" * rows)
            os.utime(file, (time.time() - 60,) * 2)

    def make(self, *months: str, stages: Sequence[str] = STAGES, value: int = 0) -> None:
        for month in map(Month.parse, months):
            for stage in stages:
                self.put(stage, month, value or month.number)

    def put(self, stage: str, month: Month, value: int, run: str = "") -> None:
        inputs = (
            {f"source {month}": self.pipeline.source.identity(month) or "known by reading it"}
            if stage == "raw_data"
            else self.pipeline.inputs(stage, month)
        )
        code = ALL[stage].code(self.pipeline)
        rows = pl.DataFrame({"x": [value]})
        for table in [*BESIDE.get(stage, []), stage]:
            facts = {"champion": "m1"} if table == "promotions" else {}
            self.lake.write(table, month, rows, Commit(fingerprint(inputs, code), inputs, code, run), facts=facts)

    def tick(self, name: str, at: datetime | None = None) -> tuple[list[dg.RunRequest], str]:
        """What a schedule or a sensor answers."""
        if name in ("shop_monthly", "shop_up_to_date"):
            schedule = self.definitions.resolve_schedule_def(name)
            with dg.build_schedule_context(
                self.instance,
                repository_def=self.definitions.get_repository_def(),
                scheduled_execution_time=at or datetime.now(UTC),
            ) as clock:
                found: Any = schedule.evaluate_tick(clock)
        else:
            sensor = self.definitions.resolve_sensor_def(name)
            with dg.build_sensor_context(self.instance, definitions=self.definitions) as context:
                found = sensor.evaluate_tick(context)
        self.events = getattr(found, "asset_events", [])
        return list(found.run_requests or []), found.skip_message or ""

    def months(self, name: str) -> list[str]:
        return [str(request.partition_key) for request in self.tick(name)[0]]

    def launch(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Dagster's part: the run of a request."""
        job = self.definitions.resolve_job_def("shop_month")
        return job.execute_in_process(
            instance=self.instance, partition_key=request.partition_key, tags=dict(request.tags), raise_on_error=False,
            asset_selection=list(request.asset_selection or []) or None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip

    def note(self, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str) -> str:
        """A run of a request that ended elsewhere, or goes on."""
        own = {"dagster/partition": str(request.partition_key), "churn/pipeline": "shop"}
        run = dg.DagsterRun("shop_month", status=status, tags={**request.tags, **own, **tags})
        return self.instance.add_run(run).run_id


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


@pytest.fixture
def instance(home: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance on which nothing has happened yet."""
    home.wipe()
    return home


@pytest.fixture
def shop(tmp_path: Path, instance: dg.DagsterInstance) -> Shop:
    made = Shop(tmp_path, instance)
    made.deliver("2024-01", "2024-02", "2024-03", "2024-04")
    return made


@pytest.fixture(scope="module")
def four_months(tmp_path_factory: pytest.TempPathFactory, home: dg.DagsterInstance) -> Path:
    made = Shop(tmp_path_factory.mktemp("made") / "data", home)
    made.deliver("2024-01", "2024-02", "2024-03", "2024-04")
    made.make("2024-01", "2024-02", "2024-03", "2024-04")
    return made.data


@pytest.fixture
def finished(four_months: Path, tmp_path: Path, instance: dg.DagsterInstance) -> Shop:
    shutil.copytree(four_months, tmp_path / "data")
    return Shop(tmp_path / "data", instance)


@pytest.fixture
def lacking(finished: Shop) -> Shop:
    """April was delivered, and never made."""
    for record in (finished.lake.root / "_records").glob("*/2024-04.json"):
        record.unlink()
    return finished


def reasons(found: Sequence[dg.RunRequest]) -> list[str]:
    return [request.tags["churn/reason"] for request in found]


EVERY = ["shop_monthly", "shop_up_to_date", "shop_corrections", "shop_source", "shop_labels_matured"]


@pytest.mark.parametrize("name", EVERY)
def test_where_everything_is_up_to_date_nothing_is_asked_for_and_the_tick_says_so(finished: Shop, name: str) -> None:
    found, told = finished.tick(name)
    assert found == []
    assert told


class TestMonthly:
    def test_runs_the_month_that_has_become_complete(self, shop: Shop) -> None:
        (found,), _ = shop.tick("shop_monthly", datetime(2024, 3, 3, 6, tzinfo=UTC))
        assert (found.partition_key, found.asset_selection) == ("2024-02", None)
        assert reasons([found]) == ["2024-02 is complete since 2024-03-03 and was never made."]

    def test_a_missed_hour_is_made_up_for_later_and_once(self, shop: Shop) -> None:
        (late,), _ = shop.tick("shop_monthly", datetime(2024, 3, 9, 11, tzinfo=UTC))
        assert late.partition_key == "2024-02"
        assert shop.tick("shop_monthly", datetime(2024, 3, 9, 11, tzinfo=UTC)) == (
            [], "2024-02 was asked for a moment ago.",
        )  # fmt: skip

    def test_a_month_that_the_source_lacks_is_run_all_the_same_and_fails_visibly_once(self, shop: Shop) -> None:
        (shop.data / "incoming" / "2024-02.csv").unlink()
        (found,), _ = shop.tick("shop_monthly", datetime(2024, 3, 3, 6, tzinfo=UTC))
        assert not shop.launch(found).success
        again, told = shop.tick("shop_monthly", datetime(2024, 3, 3, 7, tzinfo=UTC))
        assert again == []
        assert "asked for by the same cause, failed. Mend what it says, or run the month by hand." in told

    @pytest.mark.parametrize("day", [datetime(2024, 1, 3, 6, tzinfo=UTC), datetime(2024, 6, 3, 6, tzinfo=UTC)])
    def test_months_outside_the_pipeline_are_not_run(self, shop: Shop, day: datetime) -> None:
        assert shop.tick("shop_monthly", day)[0] == []


class TestUpToDate:
    def test_asks_for_every_month_that_is_due_and_missing_ascending_and_no_other(self, shop: Shop) -> None:
        shop.make("2024-01")
        shop.deliver("2024-02")
        (shop.data / "incoming" / "2024-04.csv").unlink()
        found, _ = shop.tick("shop_up_to_date")
        assert [r.partition_key for r in found] == ["2024-02", "2024-03"]
        early, _ = shop.tick("shop_up_to_date", datetime(2024, 2, 2, tzinfo=UTC))
        assert early == [], "February isn't due"

    def test_says_what_the_source_lacks(self, lacking: Shop) -> None:
        (lacking.data / "incoming" / "2024-04.csv").unlink()
        found, told = lacking.tick("shop_up_to_date")
        assert found == []
        assert "2024-04.csv: expected the file of 2024-04, found none" in told

    def test_goes_on_where_a_month_ended_half_way_without_asking_the_source(self, finished: Shop) -> None:
        for stage in ("predictions", "retention_list", "monitoring"):
            (finished.lake.root / "_records" / stage / "2024-04.json").unlink()
        (found,), _ = finished.tick("shop_up_to_date")
        assert reasons([found]) == ["2024-04 ended half-way: predictions was never made."]
        assert dg.AssetKey(["shop", "raw_data"]) not in found.asset_selection
        assert dg.AssetKey(["shop", "validated_data"]) in found.asset_selection

    def test_a_month_that_failed_for_good_is_left_until_something_else_is_there(self, lacking: Shop) -> None:
        (lacking.data / "incoming" / "2024-04.csv").write_text("<<<<<<< HEAD\n")
        (found,), _ = lacking.tick("shop_up_to_date")
        assert not lacking.launch(found).success
        lacking.load()
        assert lacking.months("shop_up_to_date") == []
        assert lacking.months("shop_source") == []
        lacking.deliver("2024-04")
        assert lacking.months("shop_up_to_date") == ["2024-04"]

    def test_of_a_month_only_reading_can_tell_of_there_is_a_try_a_day(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        with running_api(rows=lambda _: Answer(b"not yet", 404)) as api:
            shop = Shop(
                tmp_path,
                instance,
                "2024-01",
                {"source": {"type": "http", "url": f"{api.url}/rows", "paging": {"kind": "page"}}},
            )
            (found,), _ = shop.tick("shop_up_to_date")
            assert not shop.launch(found).success
            shop.load()
            found_again, told = shop.tick("shop_up_to_date")
            assert found_again == []
            assert "it is asked for again after" in told
            tomorrow = datetime.now(UTC) + requests.DAY
            assert len(shop.tick("shop_up_to_date", tomorrow)[0]) == 1

    def test_months_go_ascending_whatever_they_are_asked_for_by(self, lacking: Shop) -> None:
        lacking.put("validated_data", Month(2024, 2), 99)
        found, _ = lacking.tick("shop_up_to_date")
        assert [r.partition_key for r in found] == ["2024-02", "2024-03", "2024-04"]
        assert reasons(found)[2] == "2024-04 is complete since 2024-05-03 and was never made."


class TestCorrections:
    def test_asks_for_exactly_the_months_whose_windows_have_the_corrected_one(self, finished: Shop) -> None:
        finished.put("validated_data", Month(2024, 2), 99)
        found, _ = finished.tick("shop_corrections")
        calendar = finished.pipeline.calendar
        reads = [
            str(m) for m in month_range(JAN, Month(2024, 4))
            if any(Month(2024, 2) in w for s in STAGES for w in calendar.windows(s, m) if w.table == "validated_data")
        ]  # fmt: skip
        assert [r.partition_key for r in found] == reads == ["2024-02", "2024-03", "2024-04"]
        version = finished.lake.record("validated_data", Month(2024, 2)).version
        assert all(told.startswith(f"validated_data 2024-02 became version {version}") for told in reasons(found))
        assert all(dg.AssetKey(["shop", "raw_data"]) not in r.asset_selection for r in found)

    def test_a_month_whose_file_was_removed_is_asked_for_each_time(self, finished: Shop) -> None:
        for loss in range(requests.ATTEMPTS + 1):
            finished.lake.files(finished.lake.record("features", Month(2024, 3)))[0].unlink()
            (request,), _ = finished.tick("shop_corrections")
            assert request.partition_key == "2024-03"
            assert request.tags["churn/reason"].endswith("is gone (removed by hand, or by a vacuum).")
            finished.note(request, dg.DagsterRunStatus.SUCCESS)
            finished.put("features", Month(2024, 3), 3, run=f"run {loss}")
            assert finished.months("shop_corrections") == []

    def test_a_corrected_month_that_nothing_reads_asks_for_nothing(self, finished: Shop) -> None:
        finished.put("monitoring", Month(2024, 2), 99)
        assert finished.months("shop_corrections") == []

    def test_shows_what_is_stale_and_why_as_a_check_and_once(self, finished: Shop) -> None:
        finished.put("validated_data", Month(2024, 4), 99)
        finished.tick("shop_corrections")
        (check,) = finished.events
        assert (check.asset_key.path, check.check_name, check.passed) == (["shop", "monitoring"], "up_to_date", False)
        assert "2024-04 is stale: features: Changed since it was made: validated_data 2024-04" in check.description
        assert "churn backfill --pipeline shop --missing" in check.description
        sensor = finished.definitions.resolve_sensor_def("shop_corrections")
        first = sensor.evaluate_tick(dg.build_sensor_context(finished.instance, definitions=finished.definitions))
        again = dg.build_sensor_context(finished.instance, definitions=finished.definitions, cursor=first.cursor)
        assert sensor.evaluate_tick(again).asset_events == []

    def test_what_is_changed_back_and_forth_is_asked_for_each_time(self, finished: Shop) -> None:
        for value in (99, 3, 99, 3, 99, 3, 99):
            finished.put("validated_data", Month(2024, 3), value)
            found, _ = finished.tick("shop_corrections")
            (april,) = [request for request in found if request.partition_key == "2024-04"]
            finished.note(april, dg.DagsterRunStatus.SUCCESS)
            finished.make("2024-03", "2024-04", stages=STAGES[STAGES.index("features") :])


class TestSource:
    def test_asks_for_newest_months_that_changed_and_new_ones(self, lacking: Shop) -> None:
        lacking.deliver("2024-01", "2024-02", rows=2)
        found, _ = lacking.tick("shop_source")
        assert [r.partition_key for r in found] == ["2024-02", "2024-04"], "January is none of the newest three"
        assert reasons(found)[0] == "The source says something else of 2024-02 than when it was read."
        assert found[0].asset_selection is None

    def test_an_etag_is_enough(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        tags = {"ETag": '"one"'}
        with running_api(rows=lambda _: Answer([{"customer_id": "c1"}], headers=tags)) as api:
            shop = Shop(tmp_path, instance, "2024-01", {"source": {"type": "http", "url": f"{api.url}/rows"}})
            shop.make("2024-01")
            assert shop.months("shop_source") == []
            tags["ETag"] = '"two"'
            assert shop.months("shop_source") == ["2024-01"]
        assert {request.method for request in api.asked} == {"HEAD"}

    def test_a_source_that_is_down_is_tried_by_one_month_until_the_breaker_opens(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        down = {"type": "http", "url": "http://127.0.0.1:1/{month}", "attempts": 1}
        shop = Shop(tmp_path, instance, "2024-03", {"source": down, "automation": PAUSE})
        for _ in range(2):
            shop.load()
            (found,), _told = shop.tick("shop_up_to_date")
            assert found.partition_key == "2024-01"
            assert not shop.launch(found).success
        shop.load()
        found_now, told = shop.tick("shop_up_to_date")
        assert found_now == []
        assert "it is paused until" in told
        monthly, told = shop.tick("shop_monthly", datetime(2024, 2, 3, 6, tzinfo=UTC))
        assert monthly == []
        assert "it is paused until" in told
        later = datetime.now(UTC) + timedelta(minutes=31)
        assert [r.partition_key for r in shop.tick("shop_up_to_date", later)[0]] == ["2024-01"]

    def test_after_the_pause_one_month_tries_a_source_of_which_only_reading_can_tell(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        down = {"type": "http", "url": "http://127.0.0.1:1/{month}", "attempts": 1, "paging": {"kind": "page"}}
        shop = Shop(tmp_path, instance, "2024-03", {"source": down, "automation": PAUSE})
        found, _ = shop.tick("shop_up_to_date")
        assert [r.partition_key for r in found] == ["2024-01", "2024-02", "2024-03"]
        assert not any(shop.launch(request).success for request in found[:2])
        shop.load()
        trial, _ = shop.tick("shop_up_to_date", datetime.now(UTC) + timedelta(minutes=31))
        assert [r.partition_key for r in trial] == ["2024-01"]


class TestLabelsMatured:
    def test_asks_for_exactly_the_stages_that_learn(self, shop: Shop) -> None:
        shop.make("2024-01", "2024-02")
        shop.make("2024-03", stages=STAGES[: STAGES.index("versioned_dataset")])
        (found,), _ = shop.tick("shop_labels_matured")
        assert reasons([found]) == ["The labels of 2024-02 are known in 2024-03, and versioned_dataset was never made."]
        tables = {table for stage in STAGES[STAGES.index("versioned_dataset") :] for table in ALL[stage].tables}
        assert {key.path[-1] for key in found.asset_selection} == tables

    def test_waits_for_the_labels(self, shop: Shop) -> None:
        shop.make("2024-01", "2024-02")
        shop.make("2024-03", stages=STAGES[: STAGES.index("versioned_dataset")])
        (shop.lake.root / "_records" / "validated_data" / "2024-03.json").unlink()
        assert shop.months("shop_labels_matured") == []


class TestIncoming:
    @pytest.fixture
    def dropping(self, tmp_path: Path, instance: dg.DagsterInstance) -> Shop:
        return Shop(
            tmp_path,
            instance,
            "2024-04",
            {"source": {"type": "incoming", "pattern": "{month}*.csv", "settle_seconds": 1}},
        )

    def test_asks_for_the_month_of_each_file_and_two_lookers_ask_once(self, dropping: Shop) -> None:
        dropping.deliver("2024-02", "2024-01")
        found, _ = dropping.tick("shop_incoming")
        assert [r.partition_key for r in found] == ["2024-01", "2024-02"]
        assert reasons(found)[0] == "2024-01.csv was dropped."
        for request in found:
            dropping.note(request, dg.DagsterRunStatus.NOT_STARTED)
        dropping.load()
        assert dropping.months("shop_up_to_date") == []
        assert dropping.months("shop_incoming") == []

    def test_refuses_a_month_that_has_not_ended(self, dropping: Shop) -> None:
        dropping.deliver("2024-05", f"{Month.of(datetime.now(UTC).date())}")
        found, told = dropping.tick("shop_incoming")
        assert found == []
        assert "2024-05.csv: 2024-05 isn't a month of the pipeline that has ended." in told


class TestOnce:
    """One month is missing, and two ways to see it: ``shop_up_to_date`` and ``shop_source``."""

    @pytest.mark.parametrize("second", ["shop_up_to_date", "shop_source"])
    def test_two_looks_at_the_same_time_ask_once(self, lacking: Shop, second: str) -> None:
        assert lacking.months("shop_up_to_date") == ["2024-04"]
        assert lacking.tick(second) == ([], "2024-04 was asked for a moment ago.")

    @pytest.mark.parametrize("second", ["shop_up_to_date", "shop_source"])
    def test_what_is_under_way_is_left_to_its_run_also_after_a_restart(self, lacking: Shop, second: str) -> None:
        run = lacking.note(lacking.tick("shop_up_to_date")[0][0], dg.DagsterRunStatus.NOT_STARTED)
        lacking.load()
        assert lacking.tick(second) == ([], f"2024-04 is left to run {run}.")

    def test_a_run_of_somebody_else_counts_too(self, lacking: Shop) -> None:
        tags = {"dagster/asset_partition_range_start": "2024-03", "dagster/asset_partition_range_end": "2024-04"}
        keys = frozenset({dg.AssetKey(["shop", "raw_data"])})
        lacking.instance.add_run(
            dg.DagsterRun("__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags=tags, asset_selection=keys)
        )
        assert lacking.months("shop_up_to_date") == []

    def test_months_that_a_terminal_is_about_to_make_are_left_to_it(self, lacking: Shop) -> None:
        with lacking.pipeline.turns.planned([Month(2024, 4)]):
            found, told = lacking.tick("shop_up_to_date")
        assert found == []
        assert told.startswith("2024-04 is left to process")

    @pytest.mark.parametrize(
        ("status", "tags", "again"),
        [
            (dg.DagsterRunStatus.CANCELED, {}, 0),
            (dg.DagsterRunStatus.FAILURE, {"dagster/failure_reason": "STEP_FAILURE"}, 0),
            (dg.DagsterRunStatus.FAILURE, {"dagster/failure_reason": "UNEXPECTED_TERMINATION"}, 2),
            (dg.DagsterRunStatus.SUCCESS, {}, 2),
        ],
    )
    def test_how_a_run_ended_decides_how_often_it_is_asked_for_again(
        self, lacking: Shop, status: dg.DagsterRunStatus, tags: dict[str, str], again: int
    ) -> None:
        asked, keys = -1, set()
        while found := lacking.tick("shop_up_to_date")[0]:
            asked += 1
            keys.add(found[0].run_key)
            lacking.note(found[0], status, **tags)
            lacking.load()
            assert asked < 5
        assert asked == again
        assert len(keys) == again + 1, "Dagster makes a run of each key once"

    def test_another_release_may_try_what_failed(self, lacking: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        (found,), _ = lacking.tick("shop_up_to_date")
        lacking.note(found, dg.DagsterRunStatus.FAILURE, **{"dagster/failure_reason": "STEP_FAILURE"})
        lacking.load()
        assert lacking.months("shop_up_to_date") == []
        lacking.changes["training"] = {"months": 7}
        lacking.load()
        assert "2024-04" in lacking.months("shop_up_to_date")
