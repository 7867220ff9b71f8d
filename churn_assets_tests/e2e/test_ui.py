"""The real UI of a real `dagster dev`, driven by a real browser; what it showed is kept in artefacts/ui.

Two things take their time and go on while others are looked at: a backfill, and a file that was dropped.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from churn_assets.months import STAGES, Month
from churn_assets.settings import PACKAGE
from churn_assets_tests.browser import Dev, Screen, screen, serving
from churn_assets_tests.installation import ASSETS, Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GRAPH = "locations/churn_assets/asset-groups/churn/lineage"
LAUNCHPAD = "locations/churn_assets/jobs/churn_month/playground"
DOUBTFUL = {"label": {"max_rate": 0.001}, "schema": {"expectations": {"churn_rate": "warn"}}}
"""Fewer customers are expected to leave than do, and the month goes on all the same."""


@pytest.fixture(scope="module")
def dev(finished: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    installation = finished.copy(tmp_path_factory.mktemp("ui") / "home")
    installation.declare(
        "dropped", small_spec(source={"type": "incoming"}, automation={"check_seconds": 10}, **DOUBTFUL)
    )
    _monitor_often(installation.home / "dagster_home" / "dagster.yaml")
    with serving(installation) as running:
        yield running


def _monitor_often(file: Path) -> None:
    """Runs whose process is gone are looked for every two seconds, instead of every twenty."""
    config = yaml.safe_load(file.read_text())
    config["run_monitoring"]["poll_interval_seconds"] = 2
    file.write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def ui(dev: Dev) -> Iterator[Screen]:
    with screen(dev) as opened:
        yield opened


@pytest.fixture(scope="module")
def backfill(ui: Screen) -> str:
    """A backfill of three months, launched from the graph; its id."""
    ui.open(GRAPH)
    ui.press(re.compile("Materialize all"))
    ui.choose("[2024-06...2024-08]")
    ui.keep("backfill_dialog")
    ui.press("Launch backfill")
    return ui.launched()


@pytest.fixture(scope="module")
def dropped(ui: Screen) -> str:
    """The run of a file that was dropped, once the sensor for it was turned on; the file has bad rows."""
    rows = ui.dev.installation.received("2024-01").with_columns(
        monthly_charge=pl.when(pl.int_range(pl.len()) < 7).then(-1).otherwise("monthly_charge")
    )
    _turn_on(ui, "sensors", "dropped_incoming")
    folder = ui.dev.installation.home / "data" / "incoming"
    folder.mkdir(exist_ok=True)
    (folder / "2024-01.csv").write_text(rows.write_csv() + "Total;;;\n")
    (run,) = ui.dev.wait(lambda: ui.dev.runs(churn__pipeline="dropped"), "a run of the file that was dropped")
    assert ui.dev.ended(run["runId"]) == "SUCCESS", ui.dev.log.read_text()[-3000:]
    assert not (folder / "2024-01.csv").exists()
    return str(run["runId"])


def _turn_on(ui: Screen, kind: str, name: str) -> None:
    """Clicks the switch on the page of a schedule or sensor."""
    ui.open(f"locations/churn_assets/{kind}/{name}")
    switch = ui.page.locator("input[type=checkbox]")
    assert not switch.is_checked()
    ui.page.locator("[class*=formatSwitch]").click()
    ui.dev.wait(lambda: (kind, name) in _running(ui.dev), f"{name} to be turned on")
    ui.page.wait_for_function("document.querySelector('input[type=checkbox]').checked")
    ui.keep(name)


def _running(dev: Dev) -> set[tuple[str, str]]:
    """The schedules and sensors that are turned on."""
    query = """{repositoriesOrError {... on RepositoryConnection {nodes {
        schedules {name scheduleState {status}} sensors {name sensorState {status}}}}}}"""
    (found,) = dev.ask(query)["repositoriesOrError"]["nodes"]
    states = {"schedules": "scheduleState", "sensors": "sensorState"}
    return {(k, each["name"]) for k, state in states.items() for each in found[k] if each[state]["status"] == "RUNNING"}


def test_the_graph_shows_every_group_and_stage(ui: Screen, backfill: str) -> None:
    ui.open("asset-groups")
    ui.expect("churn", "dropped", exact=True)
    ui.keep("groups")
    ui.open(GRAPH)
    ui.expect(*STAGES, exact=True)
    ui.keep("graph")


def test_every_schedule_and_sensor_says_what_it_does(ui: Screen) -> None:
    query = """{repositoriesOrError {... on RepositoryConnection {nodes {
        schedules {name description} sensors {name description}}}}}"""
    (found,) = ui.dev.ask(query)["repositoriesOrError"]["nodes"]
    described = {each["name"]: each["description"] for each in (*found["schedules"], *found["sensors"])}
    assert len(described) >= 14
    assert all(len(text or "") > 30 for text in described.values()), described
    ui.open("automation")
    ui.expect(*(name for name in described if name.startswith("churn_")), exact=True)
    ui.keep("automation")


def test_a_schedule_is_turned_on_with_its_switch(ui: Screen) -> None:
    _turn_on(ui, "schedules", "dropped_monthly")
    ui.expect(re.compile("Next tick|At 06:00 AM UTC"))


def test_a_file_that_is_dropped_runs_its_month_once_its_sensor_is_turned_on(ui: Screen, dropped: str) -> None:
    (run,) = ui.dev.runs(churn__pipeline="dropped")
    assert run["tags"]["churn/reason"] == "2024-01.csv was dropped."
    ui.open(f"runs/{dropped}")
    ui.press("View tags and config")
    ui.expect("Success", re.compile("2024-01.csv was dropped"))
    ui.keep("run_of_a_dropped_file")
    ui.open("locations/churn_assets/sensors/dropped_incoming")
    ui.page.wait_for_timeout(1500)
    ui.keep("ticks_of_the_sensor")


def test_bad_rows_can_be_read_where_they_were_set_aside(ui: Screen, dropped: str) -> None:
    ui.open("assets/dropped/quarantined_data?view=partitions&partition=2024-01")
    ui.expect("at least 0", "monthly_charge", "2024-01.csv", "churn quarantine export, mend the file")
    ui.keep("quarantine")


def test_checks_that_passed_and_failed_say_why(ui: Screen, dropped: str) -> None:
    ui.open("assets/dropped/validated_data?view=checks&checkDetail=accounting")
    ui.expect("1,501 rows received = 1,493 validated + 8 quarantined.", "Passed")
    ui.keep("check_passed")
    ui.open("assets/dropped/validated_data?view=checks&checkDetail=error_rate")
    ui.expect("most often monthly_charge breaks 'min' (7 rows)")
    assert _drawn(ui, "Quarantined rows by rule")
    ui.keep("check_with_chart")
    ui.open("assets/dropped/validated_data?view=checks&checkDetail=churn_rate")
    ui.expect("left in the month; plausible is 0.00% to 0.10%", "Failed")
    ui.keep("check_failed")


def _drawn(ui: Screen, name: str) -> bool:
    """Opens the first text that has pictures; whether this one is drawn."""
    ui.page.get_by_text("[Show Markdown]").first.click()
    picture = ui.page.get_by_role("img", name=name)
    picture.wait_for()
    return int(picture.evaluate("image => image.naturalWidth")) > 0


def test_the_feature_page_its_checks_and_what_columns_are_made_of_are_seen(ui: Screen) -> None:
    ui.open("assets/churn/feature_store?view=partitions&partition=2024-05")
    ui.expect("call_minutes_mean_4m")
    ui.page.get_by_text("[Show Markdown]").first.click()
    for heading in ("What they are", "How they are distributed in 2024-05"):
        ui.page.get_by_role("heading", name=heading).wait_for()
    ui.keep("feature_page")
    ui.open("assets/churn/feature_store?view=checks&checkDetail=feature_leak")
    ui.expect("No feature tells by itself which")
    assert _drawn(ui, "AUC of single features")
    ui.open("assets/churn/features")
    ui.expect("From validated_data: data_gb.")
    ui.open("assets/churn/retention_list")
    ui.expect("From features: monthly_charge.")
    ui.keep("retention_list")


def test_a_backfill_launched_in_the_ui_ends_with_one_run_a_month_in_ascending_order(ui: Screen, backfill: str) -> None:
    ui.open(f"runs/b/{backfill}")
    ui.expect("Succeeded", "100% completed", exact=True)
    assert ui.page.get_by_text("100% completed").count() == len(ASSETS)
    ui.keep("backfill")
    runs = sorted(ui.dev.runs(dagster__backfill=backfill), key=lambda run: run["startTime"])
    assert [run["status"] for run in runs] == ["SUCCESS"] * 3
    assert [r["tags"]["dagster/asset_partition_range_start"] for r in runs] == ["2024-06", "2024-07", "2024-08"]
    assert runs[0]["endTime"] <= runs[1]["startTime"]
    assert runs[1]["endTime"] <= runs[2]["startTime"]


def test_a_selection_is_materialised_for_one_month_and_skipped_when_asked_for_again(ui: Screen, backfill: str) -> None:
    runs = [_materialise_selected(ui) for _ in range(2)]
    assert [ui.dev.ended(run) for run in runs] == ["SUCCESS", "SUCCESS"]
    record = ui.dev.installation.pipeline().lake.record("validated_data", Month.parse("2024-09"))
    assert record is not None and record.run_id == runs[0]
    assert ui.dev.installation.pipeline().lake.record("features", Month.parse("2024-09")) is None
    ui.open("assets/churn/validated_data?view=partitions&partition=2024-09")
    ui.expect("skipped", exact=True)
    ui.expect(re.compile(f"same inputs.*{runs[0][:8]}", re.IGNORECASE))
    ui.keep("skipped")


def _materialise_selected(ui: Screen) -> str:
    """Selects two assets of the graph and runs them for 2024-09; the run's id."""
    ui.open(GRAPH)
    ui.page.get_by_text("raw_data", exact=True).first.click()
    ui.page.get_by_text("validated_data", exact=True).first.click(modifiers=["Shift"])
    ui.press(re.compile("Materialize selected"))
    ui.expect("Additional assets will be materialized")  # The rows set aside are made in the same step.
    ui.press("Confirm")
    ui.choose("2024-09")
    ui.keep("dialog_of_a_selection")
    ui.press("Launch 1 run")
    run = ui.launched()
    ui.expect("Success", exact=True)
    ui.keep("run_of_a_selection")
    return run


def test_a_month_materialised_in_the_ui_is_in_the_lake(ui: Screen, backfill: str) -> None:
    ui.open(GRAPH)
    run = _materialise_all(ui, "2024-09")
    assert ui.dev.ended(run) == "SUCCESS", ui.dev.log.read_text()[-3000:]
    record = ui.dev.installation.pipeline().lake.record("predictions", Month.parse("2024-09"))
    assert record is not None
    assert record.run_id == run
    ui.open("assets/churn/retention_list?partition=2024-09&view=partitions")
    ui.expect("top of the list", "assumed: 0.15")
    ui.keep("list_of_a_month")


def _materialise_all(ui: Screen, month: str) -> str:
    ui.open(GRAPH)
    ui.press(re.compile("Materialize all"))
    ui.choose(month)
    ui.press("Launch 1 run")
    return ui.launched()


def test_a_month_whose_window_is_missing_fails_with_the_command_that_mends_it(ui: Screen) -> None:
    run = _materialise_all(ui, "2025-06")
    assert ui.dev.ended(run) == "FAILURE"
    ui.expect(re.compile("features 2025-06 needs validated_data .*churn backfill --missing"))
    ui.keep("failed_run")


def test_the_launchpad_offers_documented_options_and_the_run_follows_them(ui: Screen) -> None:
    ui.open(LAUNCHPAD)
    lines = ui.page.locator(".CodeMirror-line")
    for offered in ("candidates: []", "force: nothing", "tuning: as_declared"):
        lines.filter(has_text=offered).first.wait_for()
    lines.filter(has_text="force: nothing").click()
    ui.expect(re.compile("Compute even what is unchanged"), re.compile("Candidates to train, by name"))
    ui.expect("No errors")
    ui.keep("launchpad")
    _configure(ui, candidates="[xgbost]", tuning="sometimes")
    ui.expect("not in enum type Literal['as_declared', 'always', 'never'] got sometimes")
    ui.keep("launchpad_with_an_error")
    _configure(ui, candidates="[xgbost]", tuning="never")
    ui.page.get_by_placeholder("Partition").fill("2024-05")
    ui.page.get_by_placeholder("Partition").press("Enter")
    ui.expect("No errors")
    ui.press("Launch Run")
    ui.page.wait_for_url(re.compile("/runs/[0-9a-f]"))
    assert ui.dev.ended(ui.page.url.split("?")[0].rsplit("/", 1)[-1]) == "FAILURE"
    ui.expect(re.compile("no candidate of churn is called 'xgbost'. Did you mean"))
    ui.keep("misspelt_candidate")


def _configure(ui: Screen, **options: str) -> None:
    lines = "".join(f"      {name}: {value}\n" for name, value in options.items())
    ui.page.locator(".CodeMirror").first.evaluate(
        "(editor, text) => editor.CodeMirror.setValue(text)", f"resources:\n  run_options:\n    config:\n{lines}"
    )


def test_a_run_whose_worker_is_killed_is_ended_and_the_next_one_goes_on(dev: Dev) -> None:
    killed = _force(dev, "2024-05")
    process = dev.wait(lambda: _process(dev, killed), "the run to be at work")
    os.kill(process, signal.SIGKILL)
    assert dev.ended(killed) == "FAILURE"
    assert dev.ended(_force(dev, "2024-05")) == "SUCCESS"


def _force(dev: Dev, month: str) -> str:
    """Launches all of a month, unchanged as it is; the run's id."""
    launch = """mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {
        ... on LaunchRunSuccess {run {runId}}}}"""
    parameters: dict[str, Any] = {
        "mode": "default",
        "selector": {
            "repositoryName": "__repository__", "repositoryLocationName": "churn_assets", "jobName": "churn_month",
        },
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": month}]},
        "runConfigData": {"resources": {"run_options": {"config": {"force": "raw_data"}}}},
    }  # fmt: skip
    return str(dev.ask(launch, p=parameters)["launchRun"]["run"]["runId"])


def _process(dev: Dev, run_id: str) -> int | None:
    """The process of a run that is at work."""
    (run,) = [run for run in dev.runs() if run["runId"] == run_id]
    return int(run["tags"]["churn/process"].split("|")[1]) if run["status"] == "STARTED" else None


def test_the_log_holds_no_warning_of_our_making(dev: Dev) -> None:
    said = [line for line in dev.log.read_text(errors="replace").splitlines() if "Warning" in line]
    ours = str(PACKAGE)
    assert [
        line for line in said if line.startswith(ours) or "site-packages/mlflow" in line or "dagster_mlflow" in line
    ] == []
