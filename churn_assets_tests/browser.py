"""A running `dagster dev`, and the browser in which people see it."""

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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from churn_assets_tests.installation import ROOT, Installation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = ROOT / "artefacts" / "ui"
PATIENCE = 90
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


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

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The runs with all these tags, the newest first; ``__`` in a tag's name stands for a slash."""
        query = """query($f: RunsFilter) {runsOrError(filter: $f) {... on Runs {results {
            runId status startTime endTime tags {key value}}}}}"""
        wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        found = self.ask(query, f={"tags": wanted})["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def ended(self, run_id: str) -> str:
        """Waits for the end of a run; how it ended."""
        query = "query($i: ID!) {runOrError(runId: $i) {... on Run {status}}}"
        return str(self.wait(lambda: self._ended(query, run_id), f"run {run_id} to end"))

    def _ended(self, query: str, run_id: str) -> str | None:
        status = str(self.ask(query, i=run_id)["runOrError"]["status"])
        return status if status in ENDED else None

    def wait(self, found: Any, what: str) -> Any:
        """What ``found`` gives, once that is something."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if result := found():
                return result
            time.sleep(0.3)
        raise AssertionError(f"expected {what} within {PATIENCE} s; the log ends:\n{self.log.read_text()[-3000:]}")


@contextmanager
def serving(installation: Installation) -> Iterator[Dev]:
    """`dagster dev` on an installation, until it isn't needed any more."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dev = Dev(f"http://127.0.0.1:{port}", installation.home / "dev.log", installation)
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, **installation.environment, "DAGSTER_DISABLE_TELEMETRY": "1"}
    with dev.log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        dev.wait(lambda: process.poll() is not None or _answers(dev.url), "dagster dev to start")
        assert process.poll() is None, dev.log.read_text()[-3000:]
        yield dev
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/server_info", timeout=1)
    except OSError:
        return False
    return True


@dataclass
class Screen:
    """The browser's window."""

    dev: Dev
    page: Any
    pictures: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.dev.url}/{path}")

    def expect(self, *texts: str | re.Pattern[str], exact: bool = False) -> None:
        """Each of the texts is seen, somewhere."""
        from playwright.sync_api import expect

        for text in texts:
            expect(self.page.get_by_text(text, exact=exact).first).to_be_visible(timeout=PATIENCE * 1000)

    def press(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def choose(self, months: str) -> None:
        """Fills in the months in the dialog that asks for them."""
        field = self.page.get_by_placeholder(re.compile("^ex: "))
        field.fill(months)
        field.press("Tab")

    def launched(self) -> str:
        """Follows the message that something was launched, to its page; the id at its end."""
        self.page.get_by_role("button", name="View", exact=True).or_(
            self.page.get_by_role("link", name="View", exact=True)
        ).last.click()
        self.page.wait_for_url(re.compile("/runs/"))
        return str(self.page.url).split("?")[0].rsplit("/", 1)[-1]

    def keep(self, name: str) -> None:
        """Keeps a picture of what is seen now."""
        self.pictures.append(name)
        self.page.screenshot(path=PICTURES / f"{len(self.pictures):02d}_{name}.png", animations="disabled")


@contextmanager
def screen(dev: Dev) -> Iterator[Screen]:
    """A browser's window on `dagster dev`; pictures kept before are removed."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    shutil.rmtree(PICTURES, ignore_errors=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        opened = browser.new_context(viewport={"width": 1900, "height": 1000}).new_page()
        opened.set_default_timeout(PATIENCE * 1000)
        yield Screen(dev, opened)
        browser.close()
