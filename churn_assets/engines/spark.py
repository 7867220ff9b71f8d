"""Spark: executors read the lake's files themselves; what comes back passes the driver batch by batch.

Executors need nothing of this package: Python with pyarrow and, to train, with pandas, scikit-learn and xgboost. They
never write the lake.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from churn_assets.errors import EngineError
from churn_assets.months import Month
from churn_assets.spec import EngineSpec
from churn_assets.store.lake import MONTH, Lake, MonthRecord

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DEFAULTS: Mapping[str, str] = {
    "spark.app.name": "churn_assets",
    "spark.log.level": "ERROR",
    "spark.ui.showConsoleProgress": "false",
    # Of 15 seconds each: how long training waits for as many free slots as it has workers.
    "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "8",
}
"""Settings that a pipeline may replace."""

FIXED: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.ansi.enabled": "true",
}
"""Settings that a pipeline can't replace: times and names mean what they do in the lake, and errors are no nulls."""

PYTHON = "spark.pyspark.python"


class SparkEngine:
    """Lazy frames of PySpark, on the cluster that ``spec`` names. A process has one session, begun at its first use."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    @property
    def session(self) -> SparkSession:
        """The session with the cluster.

        Raises:
            EngineError: PySpark or Java isn't installed, or the cluster can't be reached.
        """
        return _session(self.spec)

    def scan(self, lake: Lake, record: MonthRecord) -> DataFrame:
        stored = self.read(*lake.files(record))  # Before any column, which needs the session that this begins.
        from pyspark.sql import functions as F

        own = [
            (F.lit(None) if place is None else F.col(_quoted(place))).alias(name)
            for name, place in record.columns.items()
            if name != MONTH
        ]
        return stored.select(F.lit(Month.parse(record.month).first_day).alias(MONTH), *own)

    def settled(self, frames: Mapping[int, DataFrame]) -> dict[int, DataFrame]:
        return dict(frames)

    def pieces(self, frame: DataFrame) -> Iterator[pl.DataFrame]:
        with explained("compute what it was asked for"):
            names = frame.columns
            plain = frame.toDF(*(f"c{i}" for i in range(len(names))))  # mapInArrow trips over dots.
            yield _named(pl.from_arrow(plain.limit(0).toArrow()), names)
            # One partition is fetched while the one before it is read: neither side holds the whole.
            for row in plain.mapInArrow(_serialised, "batch binary").toLocalIterator(prefetchPartitions=True):
                yield _named(pl.read_ipc_stream(row.batch), names)

    def read(self, *files: Path) -> DataFrame:
        """The rows of Parquet files that the executors see."""
        session = self.session
        with explained(f"read {files[0]}"):
            # Without the scheme, a cluster would look for them in its default file system.
            return session.read.parquet(*(f"file://{file.absolute()}" for file in files))


def _named(rows: Any, names: list[str]) -> pl.DataFrame:
    return pl.DataFrame(rows).rename(dict(zip(rows.columns, names, strict=True)))


def _quoted(name: str) -> str:
    """A column's name as Spark takes it, which reads a dot as a way into a structure."""
    return f"`{name.replace('`', '``')}`"


def _serialiser() -> Any:
    """A function that puts each batch into one binary value.

    It is made within a function so that it travels to the executors by its code and not by its name, for they haven't
    got this package.
    """

    def serialised(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            yield pa.record_batch({"batch": pa.array([sink.getvalue().to_pybytes()], pa.binary())})

    return serialised


_serialised = _serialiser()


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns what Spark raises within into an ``EngineError``."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise EngineError(
            f"Spark could not {what}: {_cause(error)}. If files or Python packages are missing: every executor needs "
            "them in the same place as the driver (docs/scale.md).",
            transient=_is_lost(error),
        ) from error


def _is_lost(error: Exception) -> bool:
    """Whether the cluster, or a part of it, has gone; the next session may find it again."""
    return _LOST.search(str(error)) is not None or not all(map(_lives, _RUNNING.values()))


_LOST = re.compile(r"ExecutorLostFailure|masters are unresponsive|Connection (?:refused|reset)", re.IGNORECASE)

_CAUSES = (
    re.compile(r"^(?!java|org\.)[\w.]+(?:Error|Exception): .+", re.MULTILINE),
    re.compile(r"(?<=^Caused by: ).+", re.MULTILINE),
    re.compile(r"(?<=^: ).+", re.MULTILINE),
)
"""What Python raised on an executor, the innermost cause in Java, and the outermost."""


def _cause(error: Exception) -> str:
    """The one line that says what happened, of what may be hundreds."""
    told = str(error)
    for cause in _CAUSES:
        if found := cause.findall(told):
            return str(found[-1]).strip().rstrip(".")
    return told.partition("\n")[0].rstrip(".") or type(error).__name__


def _session(spec: EngineSpec) -> SparkSession:
    """This process's session; one that has died, or is for another cluster or other settings, is replaced."""
    wanted = json.dumps([spec.master, spec.settings], sort_keys=True)
    if (running := _RUNNING.get(wanted)) and _lives(running):
        return running
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise EngineError(
            "engine spark: expected PySpark, found none. Run `pip install 'churn-assets[spark]'`, or declare engine: "
            "polars."
        ) from error
    _require_java()
    _end()
    foreign = SparkSession.getActiveSession() is not None
    builder = SparkSession.builder.master(spec.master) if spec.master else SparkSession.builder
    for name, value in {**DEFAULTS, **spec.settings, **FIXED}.items():
        builder = builder.config(name, value)
    with explained(f"reach {spec.master or 'its cluster'}"), _python_of_executors(spec):
        session = builder.getOrCreate()
    if not foreign:
        _RUNNING[wanted] = session
    return session


_RUNNING: dict[str, SparkSession] = {}


def _lives(session: SparkSession) -> bool:
    with suppress(Exception):  # Without its Java process, asking it raises this or that.
        context = session.sparkContext._jsc
        return context is not None and not context.sc().isStopped()
    return False


@atexit.register
def _end() -> None:
    """Ends the session that this process began: executors that lose their driver otherwise complain at length."""
    while _RUNNING:
        with suppress(Exception):  # It may have died.
            _RUNNING.popitem()[1].stop()


@contextmanager
def _python_of_executors(spec: EngineSpec) -> Iterator[None]:
    """Names the executors' Python while the session begins; Spark would take the first on the path."""
    before = os.environ.get("PYSPARK_PYTHON")
    os.environ["PYSPARK_PYTHON"] = spec.settings.get(PYTHON, before or sys.executable)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYSPARK_PYTHON"]
        else:
            os.environ["PYSPARK_PYTHON"] = before


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if not (Path(home, "bin", "java").exists() if home else shutil.which("java")):
        raise EngineError(
            f"engine spark: expected Java 17 or later, found none {f'in JAVA_HOME={home}' if home else 'on the path'}. "
            "Install one (Debian: apt-get install default-jre-headless), or declare engine: polars."
        )
