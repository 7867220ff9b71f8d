"""Measures what Dagster and our layer over it cost: months by the command line, by the UI, and by a plain loop.

    PYTHONPATH=. python benchmarks/machinery.py --months 24 --rounds 3
    PYTHONPATH=. python benchmarks/machinery.py --months 6 --rounds 1 --without-ui

Every way makes the same months of the shipped pipeline, in an installation and a process of its own; rounds are
interleaved, and ratios are of medians. CPU seconds tell more than seconds where the machine is shared.

"loop" is what a script would do: for each month, each stage's own function, the lake's own writing, the effects (files,
online store, MLflow), in one process. It has no instance, events, checks in a UI, locks, metadata or retries, and it
never asks whether something has changed. "backfill" is `churn backfill`. "again" is `churn backfill` of the same
months, with nothing to do. "ui" is a backfill launched through the GraphQL API of a real `dagster dev`, from the
request to the end of the last run; "waited" is the part before its first run began, nearly all of it the built-in 30
seconds between two looks of Dagster's backfill daemon. "run" and "rerun" are `churn run` of one more month, new
and unchanged. "python" is `python -c pass`, and "location" what loading the code location takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from churn_assets.assets import ALL
from churn_assets.months import STAGES, Month, month_range
from churn_assets_tests.installation import ASSETS, ROOT, Installation, shipped_spec

Took = dict[str, float]
PATIENCE = 3600
BEGIN = Month(2024, 1)
LAUNCH = """mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {
    ... on LaunchBackfillSuccess {backfillId}}}"""
RUNS = """query($f: RunsFilter) {runsOrError(filter: $f) {... on Runs {results {status startTime endTime}}}}"""


def loop(installation: Installation, months: list[Month]) -> None:
    """The work alone."""
    import logging

    import dagster as dg

    from churn_assets import usage
    from churn_assets.assets.stage import Work
    from churn_assets.assets.steps import write
    from churn_assets.assets.tracking import tracking_resource

    pipeline = installation.pipeline()
    resource = tracking_resource(pipeline.name, pipeline.settings)
    for month in months:
        # MLflow's resource wants a run of Dagster to be named after.
        run = dg.DagsterRun(job_name="loop")
        with installation.active(), dg.build_resources({"tracker": resource}, dagster_run=run) as resources:
            for name in STAGES:
                stage, log, used = ALL[name], logging.getLogger("loop"), usage.start()
                work = Work(pipeline, month, stage.code(pipeline), run.run_id, log, resources.tracker, name)
                inputs = stage.read(pipeline, month)
                made = stage.make(work)
                if made.effect:
                    made.effect()
                write(stage, work, made, inputs, used())


def timed(command: list[str], installation: Installation) -> Took:
    """A command's seconds, and CPU seconds of it and all that it started."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **installation.environment}, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": time.perf_counter() - begun, "cpu": cpu}


@contextmanager
def dev(installation: Installation) -> Iterator[str]:
    """The address of a running `dagster dev`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, **installation.environment, "DAGSTER_DISABLE_TELEMETRY": "1"}
    with (installation.home / "dev.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/server_info", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)


def ask(url: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def through_ui(installation: Installation, months: list[Month]) -> Took:
    wanted = {"assetSelection": [{"path": ["churn", a]} for a in ASSETS], "partitionNames": [str(m) for m in months]}
    with dev(installation) as url:
        begun = time.time()
        backfill = ask(url, LAUNCH, p=wanted)["launchPartitionBackfill"]["backfillId"]
        of_backfill = {"tags": [{"key": "dagster/backfill", "value": backfill}]}
        while time.time() - begun < PATIENCE:
            runs = ask(url, RUNS, f=of_backfill)["runsOrError"]["results"]
            if len(runs) == len(months) and all(r["endTime"] for r in runs):
                break
            time.sleep(0.5)
    assert {r["status"] for r in runs} == {"SUCCESS"}, installation.home / "dev.log"
    return {"s": max(r["endTime"] for r in runs) - begun, "waited": min(r["startTime"] for r in runs) - begun}


def one_round(folder: Path, months: list[Month], with_ui: bool) -> dict[str, Took]:
    python, churn = [sys.executable, "-c"], [sys.executable, "-m", "churn_assets.cli"]
    ways = ["loop", "backfill", *(["ui"] if with_ui else [])]
    places = {way: Installation.create(folder / way, churn=shipped_spec()) for way in ways}
    span, one_more = ["--from", str(months[0]), "--to", str(months[-1])], ["run", "--month", str(months[-1] + 1)]
    by_cli = places["backfill"]
    took = {
        "python": timed([*python, "pass"], by_cli),
        "location": timed([*python, "from churn_assets.definitions import defs; defs().get_repository_def()"], by_cli),
        "loop": timed([sys.executable, __file__, "--loop", str(folder / "loop"), "--months", str(len(months))], by_cli),
        "backfill": timed([*churn, "backfill", *span], by_cli),
        "again": timed([*churn, "backfill", *span], by_cli),
        "run": timed([*churn, *one_more], by_cli),
        "rerun": timed([*churn, *one_more], by_cli),
    }
    if with_ui:
        took["ui"] = through_ui(places["ui"], months)
    for way in ways[1:]:
        for month in map(str, months):
            assert places[way].contents(month).keys() == places["loop"].contents(month).keys(), (way, month)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-ui", action="store_true")
    parser.add_argument("--loop", type=Path, help="make the months in this installation and say nothing")
    asked = parser.parse_args()
    months = list(month_range(BEGIN, BEGIN + (asked.months - 1)))
    if asked.loop:
        loop(Installation(asked.loop), months)
        return
    rounds = []
    for _ in range(asked.rounds):
        with TemporaryDirectory() as folder:
            rounds.append(one_round(Path(folder), months, not asked.without_ui))
    taken = {way: {k: median(r[way][k] for r in rounds) for k in rounds[0][way]} for way in rounds[0]}
    print(
        f"{asked.months} months of the shipped pipeline, median of {asked.rounds} rounds; load {os.getloadavg()[0]:.1f}"
    )
    for way, took in taken.items():
        ratio = f"{took['s'] / taken['loop']['s']:6.2f}x the loop" if way in ("backfill", "again", "ui") else ""
        shown = "".join(f"{value:9.2f} {name}" for name, value in took.items())
        print(f"  {way:<9}{shown:<28}{ratio}")
    beyond = taken["rerun"]["s"] - taken["python"]["s"]
    share = taken["rerun"]["s"] / taken["run"]["s"]
    print(
        f"  an unchanged month answers {beyond:.2f} s after Python's own start, in {share:.2f}x the time of a new one"
    )


if __name__ == "__main__":
    main()
