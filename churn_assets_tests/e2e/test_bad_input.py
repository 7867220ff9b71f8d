"""What users see when a month's file is bad, empty, late or delivered twice."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest

from churn_assets.definitions import defs
from churn_assets.months import Month
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


def test_text_from_a_file_becomes_the_same_rows_as_the_typed_source(
    filed: Installation, finished: Installation
) -> None:
    assert filed.contents("2024-03")["validated_data"] == finished.contents("2024-03")["validated_data"]
    assert filed.contents("2024-03")["predictions"] == finished.contents("2024-03")["predictions"]


def test_a_merge_conflict_is_named_and_nothing_is_ingested(own_files: Installation) -> None:
    file = own_files.home / "data/incoming/2024-04.csv"
    file.write_text("<<<<<<< HEAD\n" + file.read_text())
    (result,) = own_files.run(["2024-04"])
    assert not result.success
    assert "line 1: expected a line of data" in result.problems[0]
    assert "merge conflict" in result.problems[0]
    assert own_files.pipeline().lake.record("raw_data", Month.parse("2024-04")) is None


def test_a_missing_file_stops_its_month_and_not_the_others(own_files: Installation) -> None:
    (own_files.home / "data/incoming/2024-02.csv").unlink()
    results = own_files.run(["2024-02", "2024-03", "2024-04"])
    assert [r.success for r in results] == [False, True, True]
    assert "expected the file of 2024-02, found none" in results[0].problems[0]


def test_a_month_delivered_empty_is_known_to_be_empty_and_labels_stay_unknown(own_files: Installation) -> None:
    own_files.deliver("2024-04", own_files.received("2024-03").clear())
    (result,) = own_files.run(["2024-04"])
    assert result.success, result.problems
    lake = own_files.pipeline().lake
    for table in ("raw_data", "validated_data", "features", "predictions"):
        record = lake.record(table, Month.parse("2024-04"))
        assert record is not None
        assert record.status == "empty", table
    dataset = lake.record("versioned_dataset", Month.parse("2024-04"))
    assert dataset is not None
    parts = lake.scan_record(dataset).collect()
    validated = parts.filter(pl.col("part") == "validate").row(0, named=True)
    assert (validated["rows"], validated["positives"]) == (0, 0)
    assert validated["unknown"] > 1000


def test_too_many_bad_rows_block_the_month_and_what_stood_before_stays(own_files: Installation) -> None:
    before, exported = own_files.contents("2024-03"), own_files.exported("2024-03")
    served = own_files.pipeline().online.served()
    rows = own_files.received("2024-03")
    spoilt = rows.with_columns(
        contract=pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("forever")).otherwise("contract")
    )
    own_files.deliver("2024-03", spoilt)
    (result,) = own_files.run(["2024-03"])
    assert not result.success
    assert "are quarantined, at most 5.00% may be; most often contract breaks 'allowed" in result.problems[0]
    assert {t: c for t, c in own_files.contents("2024-03").items() if t != "raw_data"} == {
        t: c for t, c in before.items() if t != "raw_data"
    }
    assert own_files.exported("2024-03") == exported
    assert own_files.pipeline().online.served() == served
    with own_files.instance() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["churn", "validated_data"]), "error_rate")
        (newest,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert newest.status.value == "FAILED"
        steps = {e.step_key for e in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)}
    assert steps == {"churn__raw_data", "churn__validated_data"}


def test_a_few_bad_rows_are_set_aside_with_their_reason_and_the_rest_goes_on(own_files: Installation) -> None:
    rows = pl.read_csv(own_files.home / "data/incoming/2024-04.csv")
    spoilt = rows.with_columns(monthly_charge=pl.when(pl.int_range(pl.len()) < 3).then(-1).otherwise("monthly_charge"))
    own_files.deliver("2024-04", spoilt)
    (result,) = own_files.run(["2024-04"])
    assert result.success, result.problems
    lake = own_files.pipeline().lake
    kept, aside = (lake.record(t, Month.parse("2024-04")) for t in ("validated_data", "quarantined_data"))
    assert kept is not None
    assert aside is not None
    assert kept.rows + aside.rows == len(rows)
    found = lake.scan_record(aside).collect()
    assert found["rule"].to_list() == ["min"] * 3
    assert found["_file"].to_list() == ["2024-04.csv"] * 3
    assert found["_row"].to_list() == [1, 2, 3]


def test_a_month_that_arrives_twice_replaces_the_first_and_both_stay_readable(own_files: Installation) -> None:
    lake, march = own_files.pipeline().lake, Month.parse("2024-03")
    first = own_files.received("2024-03")
    corrected = first.with_columns(support_calls=pl.lit(0))
    own_files.deliver("2024-03", corrected)
    (result,) = own_files.run(["2024-03"])
    assert result.success, result.problems
    earlier, now = lake.history("raw_data", march)
    assert lake.scan_record(earlier).collect()["support_calls"].to_list() == first["support_calls"].to_list()
    assert lake.scan_record(now).collect()["support_calls"].unique().to_list() == ["0"]


def test_a_correction_makes_exactly_the_months_stale_that_read_it_and_the_sensor_asks_for_them(
    own_files: Installation,
) -> None:
    from churn_assets.assets import ALL
    from churn_assets.assets.reasons import stale_months

    assert own_files.run(["2024-04"])[0].success
    corrected = own_files.received("2024-02").with_columns(data_gb=pl.lit(1.0))
    own_files.deliver("2024-02", corrected)
    assert own_files.run(["2024-02"])[0].success
    pipeline = own_files.pipeline()
    codes = {name: stage.code(pipeline) for name, stage in ALL.items()}
    stale = stale_months(pipeline, codes)
    assert [str(m) for m in stale] == ["2024-03", "2024-04"]
    assert "validated_data 2024-02" in stale[Month.parse("2024-03")][0].reason
    with own_files.instance() as instance, own_files.active():
        sensor = defs().resolve_sensor_def("churn_corrections")
        context = dg.build_sensor_context(instance=instance, definitions=defs())
        asked = sensor.evaluate_tick(context).run_requests
        assert [r.partition_key for r in asked] == ["2024-03", "2024-04"]
        assert "2024-02 became version" in asked[0].tags["churn/reason"]
        assert sensor.evaluate_tick(context).run_requests == []
    assert all(r.success for r in own_files.run(["2024-03", "2024-04"]))
    assert not stale_months(own_files.pipeline(), codes)
