"""Files dropped into a folder: what the sensor asks for, what a run takes in, and what a later file replaces."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from churn_assets.definitions import defs
from churn_assets.months import Month
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e


@pytest.fixture
def dropping(finished: Installation, tmp_path: Path) -> Installation:
    spec = small_spec(source={"type": "incoming", "pattern": "customers_{month}*.csv", "settle_seconds": 1})
    made = Installation.create(tmp_path / "home", churn=spec)
    drop(made, "customers_2024-01.csv", finished.received("2024-01").write_csv())
    return made


def drop(installation: Installation, name: str, text: str, seconds_ago: float = 60) -> Path:
    file = installation.home / "data" / "incoming" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (time.time() - seconds_ago,) * 2)
    return file


def asked(installation: Installation) -> tuple[list[dg.RunRequest], str]:
    with installation.instance() as instance, installation.active():
        context = dg.build_sensor_context(instance=instance, definitions=defs())
        tick = defs().resolve_sensor_def("churn_incoming").evaluate_tick(context)
    return list(tick.run_requests or []), tick.skip_message or ""


def waiting(installation: Installation) -> list[str]:
    return sorted(f.name for f in (installation.home / "data/incoming").iterdir() if not f.name.startswith("."))


def test_a_dropped_file_is_asked_for_taken_in_and_put_away(dropping: Installation) -> None:
    requests, _ = asked(dropping)
    assert [r.partition_key for r in requests] == ["2024-01"]
    assert requests[0].tags["churn/reason"] == "customers_2024-01.csv was dropped."
    told = dropping.churn("incoming").stdout
    assert "ready" in told
    assert "churn run --month 2024-01" in told
    assert all(r.success for r in dropping.run(["2024-01"]))
    assert waiting(dropping) == []
    assert asked(dropping) == ([], f"Nothing is waiting in {dropping.home / 'data' / 'incoming'}.")
    before = dropping.contents("2024-01")
    assert all(r.success for r in dropping.run(["2024-01"])), "the month can be run again without its file"
    assert dropping.contents("2024-01") == before


def test_a_file_that_is_still_being_written_is_left_alone(dropping: Installation, finished: Installation) -> None:
    assert all(r.success for r in dropping.run(["2024-01"]))
    text = finished.received("2024-02").write_csv()
    drop(dropping, "customers_2024-02.csv.part", text)
    drop(dropping, "customers_2024-02.csv", text[:500], seconds_ago=-5)
    requests, told = asked(dropping)
    assert requests == []
    assert "customers_2024-02.csv: It must stay as it is for 1 s" in told
    assert "customers_2024-02.csv.part: Its name says that it is still being written." in told


def test_a_later_file_replaces_the_month_and_an_equal_one_doesnt(dropping: Installation) -> None:
    lake = dropping.pipeline().lake
    assert all(r.success for r in dropping.run(["2024-01"]))
    january = Month.parse("2024-01")
    first = dropping.received("2024-01")
    drop(dropping, "customers_2024-01_again.csv", first.write_csv())
    requests, told = asked(dropping)
    assert requests == []
    assert "2024-01 was ingested with the same content" in told
    corrected = first.with_columns(support_calls=pl.lit("0"))
    drop(dropping, "customers_2024-01_v2.csv", corrected.write_csv())
    (dropping.home / "data/incoming/customers_2024-01_again.csv").unlink()
    assert [r.partition_key for r in asked(dropping)[0]] == ["2024-01"]
    assert all(r.success for r in dropping.run(["2024-01"]))
    earlier, now = lake.history("raw_data", january)
    assert lake.scan_record(earlier).collect()["support_calls"].to_list() == first["support_calls"].to_list()
    assert lake.scan_record(now).collect()["support_calls"].unique().to_list() == ["0"]
    kept = sorted((dropping.home / "data/incoming/.ingested/churn/2024-01").iterdir())
    assert [f.name for f in kept] == ["0001-customers_2024-01.csv", "0002-customers_2024-01_v2.csv"]


def test_a_bad_file_stays_where_it_is_and_what_stood_before_too(dropping: Installation) -> None:
    assert all(r.success for r in dropping.run(["2024-01"]))
    before = dropping.contents("2024-01")
    drop(dropping, "customers_2024-01_v2.csv", "<<<<<<< HEAD\ncustomer_id\n")
    (result,) = dropping.run(["2024-01"])
    assert not result.success
    assert "merge conflict" in result.problems[0]
    assert waiting(dropping) == ["customers_2024-01_v2.csv"]
    assert dropping.contents("2024-01") == before


def test_two_files_for_one_month_are_a_question(dropping: Installation) -> None:
    drop(dropping, "customers_2024-01_other.csv", "customer_id\nc1\n")
    (result,) = dropping.run(["2024-01"])
    assert not result.success
    assert "customers_2024-01.csv" in result.problems[0]
    assert "customers_2024-01_other.csv" in result.problems[0]
    assert len(waiting(dropping)) == 2
