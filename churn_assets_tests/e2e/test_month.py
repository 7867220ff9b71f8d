"""Whole months in a real Dagster instance."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.months import STAGES, Month
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import ASSETS, Installation, small_spec

pytestmark = pytest.mark.e2e


def test_every_stage_of_every_month_is_materialised_with_its_rows_and_version(finished: Installation) -> None:
    with finished.instance() as instance:
        for stage in STAGES:
            key = dg.AssetKey(["churn", stage])
            assert instance.get_materialized_partitions(key) == set(MONTHS)
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.asset_materialization is not None
            shown = event.asset_materialization.metadata
            assert {"dagster/row_count", "seconds", "content", "why", "dagster/column_schema"} <= set(shown)


def test_every_check_was_made_for_every_month(finished: Installation) -> None:
    from churn_assets.assets import ALL

    with finished.instance() as instance:
        keys = [dg.AssetCheckKey(dg.AssetKey(["churn", s.name]), c.name) for s in ALL.values() for c in s.checks]
        for key in keys:
            history = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
            assert len(history) == len(MONTHS), key
    assert all(stage.checks for stage in ALL.values())


def test_the_first_months_say_what_they_wait_for_without_failing(finished: Installation) -> None:
    lake = finished.pipeline().lake
    first = lake.record("versioned_dataset", Month.parse("2024-01"))
    assert first is not None
    assert (first.status, first.rows) == ("empty", 0)
    assert "needs 1 more month" in first.reason
    second = lake.record("versioned_dataset", Month.parse("2024-02"))
    assert second is not None
    assert second.facts["split"] == "holdout"
    third = lake.record("versioned_dataset", Month.parse("2024-03"))
    assert third is not None
    assert third.facts["split"] == "out_of_time"


def test_the_exported_list_is_ranked_and_within_the_budget(finished: Installation) -> None:
    exported = finished.home / "data/exports/churn/2024-05"
    scores, listed = pl.read_parquet(exported / "predictions.parquet"), pl.read_csv(exported / "retention_list.csv")
    features = finished.pipeline().lake.record("features", Month.parse("2024-05"))
    assert features is not None
    assert len(scores) == features.rows
    assert scores["p_leave"].is_between(0, 1).all()
    assert scores["p_leave"].is_sorted(descending=True)
    assert scores["decile"].unique().sort().to_list() == list(range(1, 11))
    assert listed["expected_value"].is_sorted(descending=True)
    assert 0 < len(listed.filter(action="contact")) <= 2400 / 8
    assert set(listed["action"]) == {"contact", "hold out"}
    assert (listed["expected_value"] > 0).all()
    assert listed["reason_1"].null_count() < len(listed)
    assert pl.read_csv(exported / "predictions.csv").height == len(scores)


def test_mlflow_holds_a_finished_run_a_month_and_the_aliases_mirror_the_decisions(
    finished: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    pipeline = finished.pipeline()
    client = mlflow.MlflowClient(pipeline.settings.mlflow_uri)
    experiment = client.get_experiment_by_name("churn")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.data.tags["month"] for r in runs) == MONTHS[1:]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert all({"baseline.auc", "xgboost.auc", "auc_lower"} <= set(r.data.metrics) for r in runs)
    decided = pipeline.lake.record("promotions", Month.parse(MONTHS[-1]))
    assert decided is not None
    champion = client.get_model_version_by_alias("churn", "champion")
    assert champion.tags["model_id"] == decided.facts["champion"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", pipeline.settings.mlflow_uri)  # So that MLflow's own is undone.
    mlflow.set_tracking_uri(pipeline.settings.mlflow_uri)
    served = mlflow.pyfunc.load_model("models:/churn@champion")
    assert served.metadata.signature is not None
    rows = pl.read_parquet(finished.home / "data/exports/churn/2024-05/predictions.parquet").head(50)
    record = pipeline.lake.record("features", Month.parse("2024-05"))
    assert record is not None
    customers = rows.select("customer_id").join(
        pipeline.lake.scan_record(record).collect(), on="customer_id", how="left", maintain_order="left"
    )
    names = [column.name for column in served.metadata.get_input_schema()]
    assert served.predict(customers.select(names).to_pandas()) == pytest.approx(rows["p_leave"].to_list(), abs=1e-12)


def test_an_unchanged_month_is_skipped_with_the_reason_and_still_shows_what_was_made(own: Installation) -> None:
    def shown(run_id: str) -> dict[str, dict[str, Any]]:
        with own.instance() as instance:
            events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [e.dagster_event.step_materialization_data.materialization for e in events if e.dagster_event]
        return {m.asset_key.path[-1]: {name: v.value for name, v in m.metadata.items()} for m in made}

    def of_the_table(metadata: dict[str, Any]) -> dict[str, Any]:
        return {name: v for name, v in metadata.items() if not re.match("outcome|why|.*seconds|peak memory", name)}

    before = own.contents("2024-04")
    forced, result = (own.run(["2024-04"], **how)[0] for how in ({"force": "raw_data"}, {}))
    assert forced.success and result.success
    assert own.contents("2024-04") == before
    made, left = shown(forced.run_id), shown(result.run_id)
    assert [metadata["outcome"] for metadata in left.values()] == ["skipped"] * len(ASSETS)
    assert {metadata["why"] for metadata in left.values()} == {
        f"Skipped: same inputs and code as in run {forced.run_id}."
    }
    assert {name: of_the_table(m) for name, m in left.items()} == {name: of_the_table(m) for name, m in made.items()}
    assert {"charts", "auc"} <= set(left["model"])


def test_a_forced_month_and_a_month_computed_alone_after_later_ones_are_byte_equal(own: Installation) -> None:
    contents, exported = own.contents("2024-03"), own.exported("2024-03")
    versions = {t: own.pipeline().lake.record(t, Month.parse("2024-03")) for t in STAGES}
    (result,) = own.run(["2024-03"], force="raw_data")
    assert result.success, result.problems
    assert own.contents("2024-03") == contents
    assert own.exported("2024-03") == exported
    again = {t: own.pipeline().lake.record(t, Month.parse("2024-03")) for t in STAGES}
    assert {t: r.version for t, r in again.items() if r} == {t: r.version for t, r in versions.items() if r}


def test_months_run_in_two_goes_equal_months_run_in_one(finished: Installation, tmp_path: Path) -> None:
    other = Installation.create(tmp_path / "home", churn=small_spec())
    assert all(r.success for r in other.run(MONTHS[:2]))
    assert all(r.success for r in other.run(MONTHS[2:4]))
    assert other.contents("2024-04") == finished.contents("2024-04")
    assert other.exported("2024-04") == finished.exported("2024-04")


def test_a_month_without_its_window_fails_closed_with_the_command_that_mends_it(own: Installation) -> None:
    (result,) = own.run(["2024-09"])
    assert not result.success
    assert result.problems == (
        "features 2024-09 needs validated_data 2024-06, 2024-07, 2024-08, which isn't there: "
        "run `churn backfill --missing`.",
    )
    assert own.pipeline().lake.record("features", Month.parse("2024-09")) is None


@pytest.mark.slow
def test_a_run_killed_during_each_stage_and_run_again_gives_the_same_tables(own: Installation, tmp_path: Path) -> None:
    undisturbed = own.copy(tmp_path / "undisturbed")
    assert undisturbed.churn("run", "--month", "2024-06").returncode == 0
    killed = []
    for stage in STAGES:
        with own.instance() as instance:
            before = instance.get_runs(limit=1)[0].run_id
            process = own.fork("run", "--month", "2024-06")
            if _begins(instance, stage, before):
                killed.append(stage)
            process.kill()
        process.join(30)
    assert killed == list(STAGES)
    final = own.churn("run", "--month", "2024-06")
    assert final.returncode == 0, final.stdout
    assert own.contents("2024-06") == undisturbed.contents("2024-06")
    assert own.exported("2024-06") == undisturbed.exported("2024-06")
    with own.instance() as instance:
        assert not instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))


def _begins(instance: dg.DagsterInstance, stage: str, before: str) -> bool:
    """Waits until the run after ``before`` has begun ``stage``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = instance.get_runs(limit=1)[0]
        if run.run_id != before:
            begun = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_START)
            if any(e.dagster_event and e.dagster_event.step_key == f"churn__{stage}" for e in begun):
                return True
        time.sleep(0.005)
    return False


def test_what_was_deleted_by_hand_is_made_again(own: Installation) -> None:
    exported = own.exported("2024-05")
    contents = own.contents("2024-05")
    (own.home / "data/exports/churn/2024-05/retention_list.xlsx").unlink()
    (own.home / "data/online/churn.sqlite").unlink()
    pipeline = own.pipeline()
    record = pipeline.lake.record("features", Month.parse("2024-05"))
    assert record is not None
    (pipeline.lake.root / "features" / record.files[0]).unlink()
    told = own.churn("status").stdout
    assert "stale 2024-05: features: " in told and "is gone (removed by hand" in " ".join(told.split())
    (result,) = own.run(["2024-05"])
    assert result.success, result.problems
    assert own.exported("2024-05") == exported
    assert own.contents("2024-05") == contents
    assert pipeline.online.served() == (Month.parse("2024-05"), record.rows)


def test_a_champion_whose_model_is_gone_is_named_and_made_again_by_its_month(own: Installation) -> None:
    import shutil

    pipeline = own.pipeline()
    decided = pipeline.lake.record("promotions", Month.parse("2024-04"))
    assert decided is not None
    champion = str(decided.facts["champion"])
    shutil.rmtree(pipeline.models.root / champion)
    exported = own.exported("2024-04")
    (own.home / "data/exports/churn/2024-04/predictions.csv").unlink()
    (told,) = own.run(["2024-04"], stages=["predictions"])
    assert not told.success
    assert f"model {champion}: expected" in told.problems[0]
    (made,) = own.run([champion[:7]])
    assert made.success, made.problems
    (again,) = own.run(["2024-04"])
    assert again.success, again.problems
    assert own.exported("2024-04") == exported


def test_what_the_pipelines_start_cuts_off_is_neither_called_missing_nor_drift(finished: Installation) -> None:
    lake = finished.pipeline().lake
    for month in MONTHS:
        record = lake.record("features", Month.parse(month))
        assert record is not None
        assert {c["name"]: c["passed"] for c in record.facts["checks"]}["features_have_values"], month
    watched = lake.record("drift", Month.parse("2024-05"))
    assert watched is not None
    compared = lake.scan_record(watched).collect()["subject"].to_list()
    assert "support_calls" in compared
    assert "monthly_charge_delta_3m" not in compared
