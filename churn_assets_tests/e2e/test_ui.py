"""The real UI of a real `dagster dev`, driven by a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.months import STAGES, Month
from churn_assets_tests.installation import ASSETS, ROOT, Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 90
WATCHING = {"incoming": "running", "check_seconds": 10}


@dataclass(frozen=True)
class Dev:
    """A running `dagster dev`."""

    url: str
    log: Path
    installation: Installation

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def newest_run(self) -> dict[str, Any]:
        runs = self.ask("{runsOrError(limit: 1) {... on Runs {results {runId status tags {key value}}}}}")
        newest: dict[str, Any] = (runs["runsOrError"]["results"] or [{"runId": "", "status": ""}])[0]
        return newest

    def wait_for_run(self, after: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            run = self.newest_run()
            if run["runId"] != after and run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
                return run
            time.sleep(0.3)
        raise AssertionError(f"no run ended in {PATIENCE} s; the log ends:\n{self.log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def dev(finished: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    installation = finished.copy(tmp_path_factory.mktemp("ui") / "home")
    installation.declare("dropped", small_spec(source={"type": "incoming"}, automation=WATCHING))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = installation.home / "dev.log"
    environment = {**os.environ, **installation.environment, "DAGSTER_DISABLE_TELEMETRY": "1"}
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    running = Dev(f"http://127.0.0.1:{port}", log, installation)
    try:
        _wait_until_served(running, process)
        yield running
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_served(dev: Dev, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{dev.url}/server_info", timeout=1)
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"dagster dev didn't start:\n{dev.log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def page(dev: Dev) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        opened = browser.new_context(viewport={"width": 1900, "height": 1000}).new_page()
        opened.set_default_timeout(PATIENCE * 1000)
        yield opened
        browser.close()


def test_months_of_a_backfill_run_one_after_the_other_in_ascending_order(dev: Dev) -> None:
    launch = """mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {
        ... on LaunchBackfillSuccess {backfillId}}}"""
    wanted = {
        "assetSelection": [{"path": ["churn", s]} for s in ASSETS],
        "partitionNames": ["2024-08", "2024-06", "2024-07"],
    }
    backfill = dev.ask(launch, p=wanted)["launchPartitionBackfill"]["backfillId"]
    query = """query($f: RunsFilter) {runsOrError(filter: $f) {... on Runs {results {
        status startTime endTime tags {key value}}}}}"""
    of_backfill = {"tags": [{"key": "dagster/backfill", "value": backfill}]}
    deadline = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < deadline:
        runs = dev.ask(query, f=of_backfill)["runsOrError"]["results"]
        if len(runs) == 3 and all(r["endTime"] for r in runs):
            break
        time.sleep(0.5)
    assert {r["status"] for r in runs} == {"SUCCESS"}, dev.log.read_text()[-3000:]
    runs.sort(key=lambda r: r["startTime"])
    tags = [{t["key"]: t["value"] for t in r["tags"]} for r in runs]
    assert [t["dagster/asset_partition_range_start"] for t in tags] == ["2024-06", "2024-07", "2024-08"]
    assert runs[0]["endTime"] <= runs[1]["startTime"]
    assert runs[1]["endTime"] <= runs[2]["startTime"]


def test_the_graph_shows_every_stage(dev: Dev, page: Any) -> None:
    from playwright.sync_api import expect

    page.goto(f"{dev.url}/locations/churn_assets/asset-groups/churn/lineage")
    for stage in STAGES:
        expect(page.get_by_text(stage, exact=True).first).to_be_visible(timeout=PATIENCE * 1000)


def test_a_month_materialised_in_the_ui_is_in_the_lake(dev: Dev, page: Any) -> None:
    from playwright.sync_api import expect

    before = dev.newest_run()["runId"]
    page.goto(f"{dev.url}/locations/churn_assets/asset-groups/churn/lineage")
    page.get_by_role("button", name=re.compile("Materialize all")).click()
    months = page.get_by_placeholder(re.compile("^ex: "))
    months.fill("2024-09")
    months.press("Tab")
    launch = page.get_by_role("button", name="Launch 1 run")
    expect(launch).to_be_enabled()
    launch.click()
    run = dev.wait_for_run(after=before)
    assert run["status"] == "SUCCESS", dev.log.read_text()[-3000:]
    record = dev.installation.pipeline().lake.record("predictions", Month.parse("2024-09"))
    assert record is not None
    assert record.run_id == run["runId"]
    page.goto(f"{dev.url}/assets/churn/retention_list?partition=2024-09&view=partitions")
    expect(page.get_by_text("top of the list").first).to_be_visible()
    expect(page.get_by_text("assumed: 0.15").first).to_be_visible()


def test_a_dropped_file_runs_its_month_and_its_bad_rows_can_be_read_in_the_ui(dev: Dev, page: Any) -> None:
    from playwright.sync_api import expect

    rows = dev.installation.received("2024-01").with_columns(
        monthly_charge=pl.when(pl.int_range(pl.len()) < 7).then(-1).otherwise("monthly_charge")
    )
    before = dev.newest_run()["runId"]
    folder = dev.installation.home / "data" / "incoming"
    folder.mkdir(exist_ok=True)
    (folder / "2024-01.csv").write_text(rows.write_csv() + "Total;;;\n")
    run = dev.wait_for_run(after=before)
    assert run["status"] == "SUCCESS", dev.log.read_text()[-3000:]
    assert {t["key"]: t["value"] for t in run["tags"]}["churn/reason"] == "2024-01.csv was dropped."
    assert not (folder / "2024-01.csv").exists()
    page.goto(f"{dev.url}/assets/dropped/quarantined_data?view=partitions&partition=2024-01")
    for text in ("at least 0", "monthly_charge", "2024-01.csv", "churn quarantine export, mend the file"):
        expect(page.get_by_text(text).first).to_be_visible()
    page.goto(f"{dev.url}/assets/dropped/validated_data?view=checks&checkDetail=accounting")
    expect(page.get_by_text("1,501 rows received = 1,493 validated + 8 quarantined.").first).to_be_visible()
    page.goto(f"{dev.url}/assets/dropped/validated_data?view=checks&checkDetail=error_rate")
    expect(page.get_by_text("most often monthly_charge breaks 'min' (7 rows)").first).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("img", name="Quarantined rows by rule")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_the_feature_page_its_checks_and_what_columns_are_made_of_are_seen_in_the_ui(dev: Dev, page: Any) -> None:
    from playwright.sync_api import expect

    page.goto(f"{dev.url}/assets/churn/feature_store?view=partitions&partition=2024-05")
    expect(page.get_by_text("call_minutes_mean_4m").first).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    for heading in ("What they are", "How they are distributed in 2024-05"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.goto(f"{dev.url}/assets/churn/feature_store?view=checks&checkDetail=feature_leak")
    expect(page.get_by_text("No feature tells by itself which").first).to_be_visible()
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_role("img", name="AUC of single features")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 0
    page.goto(f"{dev.url}/assets/churn/features")
    expect(page.get_by_text("From validated_data: data_gb.").first).to_be_visible()
    page.goto(f"{dev.url}/assets/churn/retention_list")
    expect(page.get_by_text("From features: monthly_charge.").first).to_be_visible()


def test_a_month_whose_window_is_missing_fails_in_the_ui_with_the_command_that_mends_it(dev: Dev, page: Any) -> None:
    from playwright.sync_api import expect

    before = dev.newest_run()["runId"]
    launched = dev.ask(
        """mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename}}""",
        p={
            "mode": "default",
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "churn_assets",
                "jobName": "churn_month",
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "2025-06"}]},
        },
    )
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess"
    run = dev.wait_for_run(after=before)
    assert run["status"] == "FAILURE"
    page.goto(f"{dev.url}/runs/{run['runId']}")
    expect(page.get_by_text(re.compile("churn backfill --from 2025-03 --to 2025-06")).first).to_be_visible()


def test_a_run_whose_worker_is_killed_is_ended_and_the_next_one_goes_on(dev: Dev) -> None:
    before = dev.newest_run()["runId"]
    launch = (
        """mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {... on LaunchRunSuccess {run {runId}}}}"""
    )
    selector = {"repositoryName": "__repository__", "repositoryLocationName": "churn_assets", "jobName": "churn_month"}
    tags = [{"key": "dagster/partition", "value": "2024-05"}, {"key": "churn/force", "value": "true"}]
    parameters = {"mode": "default", "selector": selector, "executionMetadata": {"tags": tags}}
    dev.ask(launch, p=parameters)
    os.kill(_worker(dev, before), signal.SIGKILL)
    killed = dev.wait_for_run(after=before)
    assert killed["status"] == "FAILURE"
    dev.ask(launch, p=parameters)
    assert dev.wait_for_run(after=killed["runId"])["status"] == "SUCCESS"


def _worker(dev: Dev, before: str) -> int:
    """The process of the newest run, once it says which one that is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        run = dev.newest_run()
        tags = {t["key"]: t["value"] for t in run.get("tags", ())}
        if run["runId"] != before and "churn/process" in tags:
            return int(tags["churn/process"].split("|")[1])
        time.sleep(0.05)
    raise AssertionError("no run began")


def test_the_log_holds_no_warning_of_our_making(dev: Dev) -> None:
    said = [line for line in dev.log.read_text(errors="replace").splitlines() if "Warning" in line]
    assert [line for line in said if "churn_assets" in line or "dagster_mlflow" in line or "mlflow" in line] == []
