"""The command line, in a process of its own, as a user has it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from churn_assets.months import STAGES, Month
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e


def test_status_shows_every_month_and_stage(finished: Installation) -> None:
    told = finished.churn("status")
    assert told.returncode == 0, told.stdout
    months = [line for line in told.stdout.splitlines() if line.strip().startswith("2024-")]
    assert len(months) == 5
    assert months[-1].count("●") == len(STAGES)
    assert months[0].count("○") == 5
    assert "stale" not in told.stdout.split("missing")[-1]


def test_status_says_what_is_stale_and_why(own: Installation) -> None:
    changed = small_spec()
    changed["value"]["budget"] = 400
    own.declare("churn", changed)
    told = own.churn("status")
    assert "stale 2024-03: retention_list: Its code or part of the specification changed" in told.stdout
    assert "features: Its code" not in told.stdout
    assert "predictions: Its code" not in told.stdout
    assert own.churn("run", "--month", "2024-05").returncode == 0
    listed = pl.read_csv(own.home / "data/exports/churn/2024-05/retention_list.csv")
    assert len(listed.filter(action="contact")) == 50


def test_the_list_shows_customers_with_reasons_and_where_all_of_them_are(finished: Installation) -> None:
    told = finished.churn("list", "--top", "3", "--month", "2024-05")
    assert told.returncode == 0, told.stdout
    assert "customers to contact for" in told.stdout
    assert told.stdout.count(" USD │") == 3
    assert "Save rate assumed: 0.15." in told.stdout
    assert str(finished.home / "data/exports/churn/2024-05/retention_list.xlsx") in told.stdout
    reason = finished.pipeline().lake.record("retention_list", Month.parse("2024-05"))
    assert reason is not None
    first = finished.pipeline().lake.scan_record(reason).sort("rank").collect()["reason_1"][0]
    assert first in told.stdout


def test_a_customer_is_looked_up_online(finished: Installation) -> None:
    lake = finished.pipeline().lake
    record = lake.record("features", Month.parse("2024-05"))
    assert record is not None
    customer = lake.scan_record(record).collect()["customer_id"][0]
    told = finished.churn("customer", customer)
    assert '"month": "2024-05"' in told.stdout
    assert '"tenure_months"' in told.stdout
    unknown = finished.churn("customer", "nobody")
    assert unknown.returncode == 1
    assert "customers of 2024-05 are served" in unknown.stdout


def test_one_stage_can_be_run_alone_and_by_force(own: Installation) -> None:
    with own.instance() as instance:
        before = instance.get_runs_count()
    told = own.churn("run", "--month", "2024-05", "--select", "features,feature_store", "--force")
    assert told.returncode == 0, told.stdout
    assert "1 of 1 months done" in told.stdout
    with own.instance() as instance:
        assert instance.get_runs_count() == before + 1
        (run,) = instance.get_runs(limit=1)
        assert {k.path[-1] for k in run.asset_selection or ()} == {"features", "feature_store"}
        assert run.run_config["resources"]["run_options"]["config"] == {"force": "raw_data"}


def test_a_range_goes_on_after_a_month_that_fails_and_ends_with_exit_code_1(tmp_path: Path) -> None:
    spec = small_spec(source={"type": "file", "path": "incoming/{month}.csv"})
    made = Installation.create(tmp_path / "home", churn=spec)
    told = made.churn("backfill", "--from", "2024-01", "--to", "2024-02")
    assert told.returncode == 1
    assert "2024-01 failed" in told.stdout
    assert "2024-02 failed" in told.stdout
    assert "expected the file of 2024-01, found none" in told.stdout
    assert "0 of 2 months done" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--month", "2024-13"), "expected a month as YYYY-MM, such as 2025-06; found '2024-13'"),
        (("run", "--month", "2023-12"), "expected a month from 2024-01 on, found 2023-12"),
        (("run", "--month", "2024-01", "--select", "feature"), "expected stages of raw_data, validated_data"),
        (("run", "--month", "2024-01", "--pipeline", "churm"), "expected one of churn; found 'churm'"),
        (("backfill", "--from", "2024-03", "--to", "2024-01"), "expected a month on or after 2024-03, found 2024-01"),
        (("backfill", "--from", "2024-03"), "expected the last month as YYYY-MM"),
        (("list", "--month", "2031-01"), "expected customers to contact, found none"),
        (("list", "--month", "2024-01"), "Nobody was scored"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_1(
    finished: Installation, arguments: tuple[str, ...], said: str
) -> None:
    told = finished.churn(*arguments)
    assert told.returncode == 1
    assert said in told.stdout
    assert "Traceback" not in told.stdout + told.stderr


def test_clean_removes_what_was_made_and_keeps_what_was_received(own: Installation) -> None:
    kept = own.home / "data/incoming/2024-01.csv"
    kept.parent.mkdir()
    kept.write_text("customer_id\n")
    told = own.churn("clean", "--yes")
    assert told.returncode == 0, told.stdout
    assert sorted(p.name for p in (own.home / "data").iterdir()) == ["incoming"]
    assert kept.exists()
    assert "dagster_home (DAGSTER_HOME) is left alone" in told.stdout
    assert "Nothing has been made yet" in own.churn("status").stdout
    assert own.churn("run", "--month", "2024-01").returncode == 0


def test_the_demo_ends_with_a_summary(tmp_path: Path) -> None:
    made = Installation.create(tmp_path / "home", churn=small_spec())
    told = made.churn("demo", "--months", "3")
    assert told.returncode == 0, told.stdout
    for expected in ("3 of 3 months done", "3 months", "Champion", "baseline", "xgboost", "AUC 0.",
                     "retention_list.xlsx", "mlflow ui", "churn run --month 2024-04"):  # fmt: skip
        assert expected in told.stdout, told.stdout
