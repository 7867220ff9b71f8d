"""Decisions in whole months: what a refusal stops, what people may say, and MLflow that can't be reached."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from churn_assets.assets import ALL
from churn_assets.assets.reasons import stale_months
from churn_assets.assets.tracking import unreachable
from churn_assets.cli.app import app
from churn_assets.cli.terminal import console
from churn_assets.months import Month
from churn_assets.runs import MonthRun
from churn_assets.verdicts import decision_of
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

LAST = Month.parse(MONTHS[-1])


def run(installation: Installation, month: str, **options: Any) -> MonthRun:
    (result,) = installation.run([month], **options)
    return result


def churn(installation: Installation, *arguments: str) -> tuple[int, str]:
    """The command line in this process: its exit code and what it said, blanks squeezed."""
    with installation.active(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "width", 400)
        done = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*arguments], catch_exceptions=True)
    return done.exit_code, re.sub(r"\s+", " ", f"{done.stdout} {done.exception or ''}")


def decided(installation: Installation, month: str) -> dict[str, Any]:
    return decision_of(installation.pipeline(), Month.parse(month))


def scored_by(installation: Installation, month: str) -> str:
    record = installation.pipeline().lake.record("predictions", Month.parse(month))
    assert record is not None
    return str(installation.pipeline().lake.scan_record(record).collect()["model_id"].unique().item())


def begun(installation: Installation, result: MonthRun) -> set[str]:
    """The stages that a run has begun."""
    with installation.instance() as instance:
        events = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_START)
    return {str(e.dagster_event.step_key).split("__")[1] for e in events if e.dagster_event}


def test_a_misspelt_parameter_fails_the_month_and_leaves_what_stands(own: Installation) -> None:
    before = own.contents(MONTHS[-1])
    own.declare("churn", small_spec(candidates=[{"name": "xgboost", "kind": "xgboost", "params": {"max_dept": 3}}]))
    result = run(own, MONTHS[-1])
    assert not result.success
    assert "candidate xgboost: expected parameters of xgboost, found max_dept" in result.problems[0]
    assert own.contents(MONTHS[-1]) == before


def test_without_a_model_that_may_score_nothing_is_made_of_a_month_until_a_person_decides(own: Installation) -> None:
    own.declare("churn", small_spec(gates={"floor": 0.99}))
    assert run(own, "2024-02").success, "history is too short yet to ask for a model"
    refused = run(own, "2024-03")
    assert not refused.success
    assert "monitoring" not in begun(own, refused) and "predictions" not in begun(own, refused)
    decision, lake = decided(own, "2024-03"), own.pipeline().lake
    assert (decision["outcome"], decision["champion"], decision["rule"]) == ("rejected", None, "floors")
    assert own.pipeline().models.has(decision["challenger"])
    (problem,) = refused.problems
    assert "is below the floor of 0.99" in problem and "Change `gates`" in problem
    assert f"`churn promote {decision['challenger']} --month 2024-03" in problem
    assert run(own, "2024-03").problems == (problem,), "what is skipped still stops what follows"
    with own.instance() as instance:
        key = dg.AssetCheckKey(dg.AssetKey(["churn", "model"]), "champion_stands")
        newest = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0]
        assert newest.status.value == "FAILED"
        shown = instance.get_latest_materialization_event(dg.AssetKey(["churn", "model"]))
        assert shown and shown.asset_materialization and shown.asset_materialization.partition == "2024-03"
    code, said = churn(own, "promote", decision["challenger"], "--month", "2024-03", "--why", "a pilot", "--by", "anna")
    assert code == 0, said
    assert "Promoted by anna: a pilot" in said and "The gate had rejected" in said
    assert scored_by(own, "2024-03") == decision["challenger"]
    watched = lake.record("monitoring", Month.parse("2024-03"))
    assert watched and watched.inputs["promotions 2024-03"] == decision["challenger"]


def test_a_verdict_is_carried_out_by_its_month_and_the_later_ones_and_can_be_taken_back(own: Installation) -> None:
    before, models = own.contents("2024-05"), {m: decided(own, m)["champion"] for m in MONTHS[1:]}
    code, said = churn(own, "reject", "--month", "2024-04", "--why", "not before the audit", "--by", "anna")
    assert code == 0, said
    decision = decided(own, "2024-04")
    assert (decision["outcome"], decision["champion"], decision["decided_by"]) == ("kept", models["2024-03"], "anna")
    assert decision["gate"].startswith("promoted: ") and "Rejected by anna: not before the audit" in said
    assert decided(own, "2024-05")["previous"] == models["2024-03"], "the next month was decided again"
    assert scored_by(own, "2024-04") == models["2024-03"]
    assert not stale_months(own.pipeline(), {n: s.code(own.pipeline()) for n, s in ALL.items()})
    again = own.contents("2024-04")
    code, said = churn(own, "reject", "--month", "2024-04", "--why", "not before the audit", "--by", "anna")
    assert code == 0 and own.contents("2024-04") == again, said
    code, said = churn(own, "withdraw", "--month", "2024-04", "--why", "the audit is over", "--by", "anna")
    assert code == 0, said
    assert decided(own, "2024-04")["champion"] == models["2024-04"]
    assert own.contents("2024-05") == before
    history = own.pipeline().lake.history("verdicts", Month.parse("2024-04"))
    assert [r.status for r in history] == ["present", "empty"] and "the audit is over" in history[-1].reason


def test_going_back_to_the_champion_before(own: Installation) -> None:
    before = decided(own, "2024-05")
    code, said = churn(own, "rollback", "--why", "complaints", "--by", "ben")
    assert code == 0, said
    after = decided(own, "2024-05")
    assert (after["champion"], after["decided_by"], after["rule"]) == (before["previous"], "ben", "verdict")
    assert scored_by(own, "2024-05") == before["previous"]
    assert aliased(own) == before["previous"]
    code, said = churn(own, "rollback", "--why", "complaints", "--by", "ben")
    assert code == 0 and decided(own, "2024-05")["champion"] == before["previous"], said
    code, said = churn(own, "rollback", "--month", "2024-02", "--why", "x")
    assert code == 1 and "expected an earlier champion than 2024-02-" in said


def aliased(installation: Installation) -> str:
    import mlflow

    client = mlflow.MlflowClient(installation.pipeline().settings.mlflow_uri)
    return str(client.get_model_version_by_alias("churn", "champion").tags["model_id"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "nobody", "--month", "2024-05", "--why", "x"), "model nobody: expected one of 4 models in"),
        (("promote", "x", "--month", "2024-05", "--why", "  "), "verdict on 2024-05: expected a reason (--why)"),
        (("reject", "--month", "2024-09", "--why", "x"), "promotions 2024-09: expected a decision, found none"),
        (("withdraw", "--month", "2024-05", "--why", "x"), "expected one to withdraw, found none"),
    ],
)
def test_what_cant_be_carried_out_is_not_recorded(
    finished: Installation, arguments: tuple[str, ...], said: str
) -> None:
    code, told = churn(finished, *arguments)
    assert code == 1 and said in told
    assert not finished.pipeline().lake.months("verdicts")


def test_a_champion_that_is_gone_stays_and_the_reason_names_the_way_out(own: Installation) -> None:
    champion = decided(own, "2024-04")["champion"]
    (own.pipeline().models.root / champion / "model.pkl").unlink()
    (told,) = own.run(["2024-05"], stages=["model"], force="model")
    decision = decided(own, "2024-05")
    assert told.success and (decision["outcome"], decision["champion"], decision["rule"]) == (
        "kept",
        champion,
        "evidence",
    )
    assert f"`churn promote {decision['challenger']} --month 2024-05" in decision["reason"]


def test_a_champion_that_needs_a_feature_which_was_removed_gives_way_to_a_person_only(own: Installation) -> None:
    spec = small_spec()
    spec["features"] = [f for f in spec["features"] if f["kind"] != "max"]
    own.declare("churn", spec)
    stuck = run(own, "2024-05")
    decision = decided(own, "2024-05")
    assert not stuck.success, "the old champion can't score the new features"
    assert decision["outcome"] == "kept" and "price_change_max_3m" in decision["reason"]
    code, said = churn(own, "promote", decision["previous"], "--month", "2024-05", "--why", "x")
    assert code == 1 and "expected features that the pipeline has, found price_change_max_3m" in said
    code, said = churn(own, "promote", decision["challenger"], "--month", "2024-05", "--why", "the feature is gone")
    assert code == 0, said
    assert scored_by(own, "2024-05") == decision["challenger"]


def test_what_mlflow_cant_be_told_is_decided_again_once_it_can(own: Installation) -> None:
    before, contents = decided(own, "2024-05"), own.contents("2024-05")
    store = own.home / "data/mlflow/mlflow.db"
    kept = store.read_bytes()
    store.write_bytes(b"no database" * 1000)
    assert run(own, "2024-05", force="model").success, "the month goes on with the champion before"
    waiting, pipeline = decided(own, "2024-05"), own.pipeline()
    assert (waiting["outcome"], waiting["champion"], waiting["rule"]) == ("kept", before["previous"], "tracking")
    assert "can't be reached: file is not a database" in waiting["reason"]
    assert scored_by(own, "2024-05") == before["previous"]
    codes = {name: stage.code(pipeline) for name, stage in ALL.items()}
    (pending,) = stale_months(pipeline, codes)[LAST]
    assert pending.stage == "model" and "can't be reached" in pending.reason
    code, said = churn(own, "status")
    assert code == 0 and "stale 2024-05: model: MLflow at sqlite:" in said
    assert requested(own) == [], "the sensor waits until MLflow answers"
    store.write_bytes(kept)
    assert requested(own) == ["2024-05"]
    assert run(own, "2024-05").success
    assert own.contents("2024-05") == contents
    assert not stale_months(pipeline, codes)


def requested(installation: Installation) -> list[str]:
    """The months that the corrections sensor asks for now."""
    from churn_assets.definitions import defs

    with installation.active(), installation.instance() as instance:
        sensor = defs().resolve_sensor_def("churn_corrections")
        found = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, definitions=defs()))
    return [str(request.partition_key) for request in found.run_requests or []]


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """A real MLflow server, with one worker and no jobs."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "the server didn't start"
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_server_that_is_away_postpones_the_decision_and_one_that_answers_settles_it(
    own: Installation, tmp_path: Path
) -> None:
    import mlflow

    before, port = decided(own, "2024-05"), free_port()
    away = replace(own, tracking=f"http://127.0.0.1:{port}")
    begin = time.monotonic()
    assert run(away, "2024-05", force="model").success
    assert time.monotonic() - begin < 30, "a server that is gone is given up soon"
    waiting = decided(own, "2024-05")
    assert (waiting["outcome"], waiting["champion"]) == ("kept", before["previous"])
    assert f"MLflow at http://127.0.0.1:{port} can't be reached: " in waiting["reason"]
    assert "Connection refused" in waiting["reason"]
    with server(tmp_path / "mlflow", port) as address:
        assert unreachable(away.pipeline().settings) is None
        assert run(away, "2024-05").success
        client = mlflow.MlflowClient(address)
        (version,) = client.search_model_versions("name = 'churn'")
        assert (version.tags["decision"], version.tags["decided_by"]) == ("promoted", "gate")
        assert client.get_model_version_by_alias("churn", "champion").version == version.version
    settled = decided(own, "2024-05")
    assert (settled["outcome"], settled["champion"]) == ("promoted", before["champion"])


def test_mlflow_has_the_dataset_the_plots_the_card_and_what_was_decided(finished: Installation) -> None:
    import mlflow

    pipeline = finished.pipeline()
    client = mlflow.MlflowClient(pipeline.settings.mlflow_uri)
    decision, record = decided(finished, "2024-05"), pipeline.lake.record("model", LAST)
    assert record is not None
    (version,) = client.search_model_versions(f"tags.model_id = '{decision['challenger']}'")
    assert version.tags["reason"] == decision["reason"]
    card = pipeline.models.card(decision["challenger"])
    assert version.description == card and card.startswith(f"# Model {decision['challenger']}\n")
    found = client.get_run(version.run_id)
    (used,) = found.inputs.dataset_inputs
    assert used.dataset.digest == record.facts["dataset"] and '"num_rows"' in used.dataset.profile
    plots = {Path(a.path).name for a in client.list_artifacts(version.run_id, "plots")}
    assert {"roc.svg", "reliability.svg", "segments.json"} <= plots
    with finished.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "model"]))
        assert event and event.asset_materialization
        assert event.asset_materialization.metadata["model card"].value == card


def test_the_table_of_decisions_tells_the_whole_evidence(finished: Installation) -> None:
    import json

    for month in MONTHS[2:]:
        evidence = json.loads(decided(finished, month)["evidence"])
        assert {"auc", "auc_lower", "baseline_auc", "champion_auc", "difference_lower", "profit", "gate_floor"} <= set(
            evidence
        )
        scores = finished.pipeline().lake.record("model", Month.parse(month))
        assert scores is not None
        own = finished.pipeline().lake.scan_record(scores).filter(pl.col("role") == "challenger").collect()
        assert own["auc"].item() == pytest.approx(evidence["auc"])
