"""An installation of its own for tests: real lake, real Dagster instance, real MLflow, all below one folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import yaml

from churn_assets.assets import ALL
from churn_assets.assets.options import RunOptions
from churn_assets.definitions import defs, pipelines
from churn_assets.instance import open_instance
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.runs import MonthRun, run_months
from churn_assets.settings import Settings
from churn_assets.spec import PLACE
from churn_assets_tests.forks import fork

ROOT = Path(__file__).parents[1]
FIRST = Month.parse("2024-01")
_COST = re.compile(rb'<section id="cost".*?</section>', re.DOTALL)
ASSETS = tuple(table for stage in ALL.values() for table in stage.tables)
"""Every asset of a pipeline: its stages, and the tables beside them."""


def shipped_spec() -> dict[str, Any]:
    """The specification of the shipped pipeline."""
    spec: dict[str, Any] = yaml.safe_load((ROOT / "churn_assets/defs/churn/defs.yaml").read_text())["attributes"]
    return spec


def small_spec(**changes: Any) -> dict[str, Any]:
    """The shipped pipeline on a base small enough for a test; sections of ``changes`` are merged in."""
    spec = shipped_spec()
    spec["source"] = {"type": "simulated", "customers": 1500, "seed": 3}
    spec["gates"] = {"floor": 0.55, "margin": 0.1, "max_calibration_error": 0.1, "min_rows": 200, "min_positives": 5}
    spec["label"] |= {"min_rate": 0.0}
    spec["automation"] = {**spec.get("automation", {}), "retries": {"attempts": 1}}
    for section, value in changes.items():
        merge = isinstance(value, dict) and isinstance(spec.get(section), dict) and section != "source"
        spec[section] = {**spec[section], **value} if merge else value
    return spec


@dataclass(frozen=True)
class Installation:
    """One folder with definitions, data and a Dagster home; ``tracking`` is the address of an MLflow server."""

    home: Path
    tracking: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CHURN_DATA": str(self.home / "data"),
            "CHURN_DEFS": str(self.home / "defs"),
            "DAGSTER_HOME": str(self.home / "dagster_home"),
            "MLFLOW_TRACKING_URI": self.tracking,
        }

    @classmethod
    def create(cls, home: Path, **specs: Mapping[str, Any]) -> Installation:
        """An installation of the pipelines ``specs``, by name."""
        made = cls(home)
        (home / "data").mkdir(parents=True)
        (home / "dagster_home").mkdir()
        config = yaml.safe_load((ROOT / "dagster.yaml").read_text())
        for elsewhere in ("compute_logs", "local_artifact_storage"):
            del config[elsewhere]
        config["storage"]["custom"]["config"]["base_dir"] = {"env": "DAGSTER_HOME"}
        (home / "dagster_home" / "dagster.yaml").write_text(yaml.safe_dump(config))
        for name, spec in specs.items():
            made.declare(name, spec)
        return made

    def declare(self, name: str, spec: Mapping[str, Any]) -> None:
        """Puts a pipeline's ``defs.yaml`` in its folder."""
        folder = self.home / "defs" / name
        folder.mkdir(parents=True, exist_ok=True)
        document = {"type": "churn_assets.ChurnPipeline", "attributes": {**spec, "name": name}}
        (folder / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def copy(self, home: Path) -> Installation:
        """The same installation elsewhere."""
        shutil.copytree(self.home, home)
        return Installation(home)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Makes this the installation that the environment names."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

    def pipeline(self, name: str = "churn") -> Pipeline:
        with self.active():
            return pipelines(Settings.from_environment())[name]

    def run(
        self, months: Sequence[str], name: str = "churn", stages: Sequence[str] = (), **options: Any
    ) -> list[MonthRun]:
        """Runs months in this process, on the real instance, with ``RunOptions`` by name."""
        with self.active(), open_instance() as instance:
            return run_months(
                instance, defs(), self.pipeline(name), [Month.parse(m) for m in months],
                stages=stages, options=RunOptions(**options),
            )  # fmt: skip

    def run_all(self, months: Sequence[str], name: str = "churn") -> None:
        """Runs months, all of which succeed."""
        results = self.run(months, name)
        assert all(r.success for r in results), [r.problems for r in results]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with self.active(), open_instance() as instance:
            yield instance

    def churn(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            process = self.fork(*arguments, out=out, err=err)
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired(arguments, timeout, out.read_text(), err.read_text())
            return subprocess.CompletedProcess(arguments, process.exitcode, out.read_text(), err.read_text())

    def fork(self, *arguments: str, out: Path | None = None, err: Path | None = None) -> BaseProcess:
        """The same, begun and left running; what it says goes to files."""
        return fork(arguments, self._terminal, self.home, out, err)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line as a shell starts it, begun and left running."""
        return subprocess.Popen(
            [sys.executable, "-m", "churn_assets.cli", *arguments],
            env=self._terminal, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.home,
        )  # fmt: skip

    @property
    def _terminal(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "COLUMNS": "200", "NO_COLOR": "1"}

    def received(self, month: str, name: str = "churn") -> pl.DataFrame:
        """The rows that the source sent for ``month``."""
        lake = self.pipeline(name).lake
        record = lake.record("raw_data", Month.parse(month))
        assert record is not None
        return lake.scan_record(record).drop("month", *PLACE, strict=False).collect()

    def deliver(self, month: str, rows: pl.DataFrame | str | bytes) -> Path:
        """Puts the month's file where the pipeline expects it."""
        file = self.home / "data" / "incoming" / f"{month}.csv"
        file.parent.mkdir(exist_ok=True)
        if isinstance(rows, pl.DataFrame):
            rows.write_csv(file)
        else:
            file.write_bytes(rows.encode() if isinstance(rows, str) else rows)
        return file

    def contents(self, month: str, name: str = "churn") -> dict[str, str]:
        """What every table holds in ``month``, as hashes."""
        lake = self.pipeline(name).lake
        tables = [*ASSETS, "promotions"]
        return {t: r.content for t in tables if (r := lake.record(t, Month.parse(month)))}

    def exported(self, month: str, name: str = "churn") -> dict[str, bytes]:
        """The exported files of ``month``, byte by byte; of the report all but what its making took of the machine."""
        folder = self.home / "data" / "exports" / name / month
        return {file.name: _COST.sub(b"", file.read_bytes()) for file in sorted(folder.glob("*"))}
