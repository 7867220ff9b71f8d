"""The same features on a cluster of processes as in this one."""

from __future__ import annotations

import os
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any, get_args

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import TypeAdapter

from churn_assets.engines import Engine, open_engine
from churn_assets.engines.spark import SparkEngine
from churn_assets.errors import EngineError
from churn_assets.features import compute
from churn_assets.months import Month
from churn_assets.spec import EngineSpec, FeatureSpec
from churn_assets.store import Commit, Lake
from churn_assets.store.content import content_hash
from churn_assets_tests.engines.cluster import CLUSTER, needs_spark

OTHER = EngineSpec(kind="spark", master="local[1]", settings={"spark.ui.enabled": "false"})

NOW = Month.parse("2024-06")
DEPTH = 5
GAP = 3
"""A lag at which nobody was observed."""


def calls_twice(frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """A feature of people's own."""
    return frame.select("id", twice=nw.col("calls").fill_null(0) * 2 + nw.col("calls_lag_1").fill_null(0))


FEATURES: list[Any] = TypeAdapter(list[FeatureSpec]).validate_python(
    [
        {"kind": "columns", "columns": ["plan", "calls", "charge", "paperless", "since", "seen", "note"]},
        *({"kind": "lag", "column": c, "months": 2} for c in ("plan", "calls", "charge", "paperless", "since", "seen")),
        {"kind": "delta", "column": "calls", "months": 1},
        {"kind": "delta", "column": "paperless", "months": 4},
        *(
            {"kind": kind, "column": "charge", "months": DEPTH}
            for kind in ("mean", "sum", "min", "max", "std", "trend")
        ),
        *({"kind": kind, "column": "late", "months": 3} for kind in ("std", "trend")),
        {"kind": "mean", "column": "paperless", "months": 3},
        {"kind": "sum", "column": "calls", "months": 2},
        *(
            {"kind": kind, "column": "calls", "above": 3, "months": DEPTH}
            for kind in ("months_since", "count", "share")
        ),
        {"kind": "months_since", "column": "plan", "equals": ["a", "é"], "months": 4},
        {"kind": "share", "column": "paperless", "months": 3},
        {"kind": "ratio", "name": "trend", "numerator": "charge", "denominator": "charge_mean_5m"},
        {"kind": "ratio", "name": "LATE", "numerator": "charge", "denominator": "calls"},
        {"kind": "bucket", "column": "charge", "edges": [-1, 0, 2.5]},
        {"kind": "interaction", "columns": ["plan", "paperless", "charge_bucket"]},
        {"kind": "interaction", "columns": ["charge", "calls", "trend"]},
        {"kind": "interaction", "columns": ["LATE", "late"]},
        {"kind": "rank", "column": "charge"},
        {"kind": "rank", "column": "calls", "by": ["plan", "paperless"]},
        {
            "kind": "python", "function": "churn_assets_tests.engines.test_spark:calls_twice", "columns": ["calls"],
            "months": 2, "names": {"twice": "integer"},
        },
    ]
)  # fmt: skip


def snapshot(random: np.random.Generator, lag: int) -> pl.DataFrame:
    """A month of some of 300 customers, with every kind of column and missing values in most."""
    n = 300

    def some(values: list[Any], dtype: Any, missing: float = 0.2) -> pl.Series:
        chosen = random.integers(0, len(values), n)
        gone = random.random(n) < missing
        return pl.Series([None if g else values[c] for c, g in zip(chosen, gone, strict=True)], dtype=dtype)

    charges = [-7.25, -0.0, 0.0, 0.1, 1e-320, 2.5, 1e15 / 3, *random.normal(0, 3, 60)]
    times = [datetime(1969, 7, 20, 20, 17, 40, 5), datetime(2024, 3, 31, 2, 30), datetime(2024, 12, 1, 23, 59, 59)]
    rows = pl.DataFrame(
        {
            "id": [f"{'cCäß𝔘 '[i % 6]}{i}" for i in range(n)],
            "plan": some(["a", "b", "é", ""], pl.String),
            "calls": some(list(range(8)), pl.Int64),
            "charge": some(charges, pl.Float64),
            "paperless": some([True, False], pl.Boolean),
            "since": some([date(1581, 1, 1), date(2020, 2, 29), date(2024, 1, 1)], pl.Date),
            "seen": some(times, pl.Datetime("us")).dt.replace_time_zone("UTC" if lag % 2 else None),
            "note": pl.Series([None] * n, dtype=pl.String),
            "left": some([True, False, False], pl.Boolean, missing=0),
        }
    ).with_columns(seen=pl.col("seen").dt.replace_time_zone("UTC"))
    if lag < 2:
        rows = rows.with_columns(late=pl.col("charge") / 7)
    return rows.filter(pl.Series(random.random(n) < 0.8)).sample(fraction=1, shuffle=True, seed=lag)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("a lake") / "shop")
    random = np.random.default_rng(5)
    for lag in range(DEPTH):
        if lag != GAP:
            made.write("validated_data", NOW - lag, snapshot(random, lag), Commit("-"))
    return made


@pytest.fixture(scope="module")
def spark() -> SparkEngine:
    return SparkEngine(EngineSpec.model_validate(CLUSTER))


def scanned(engine: Engine, lake: Lake, table: str = "validated_data") -> dict[int, Any]:
    records = {NOW - month: lake.record(table, month) for month in lake.months(table)}
    return {lag: engine.scan(lake, record) for lag, record in records.items() if record}


def features(engine: Engine, lake: Lake) -> pl.DataFrame:
    return pl.concat(engine.pieces(compute(scanned(engine, lake), "id", FEATURES, keep=~nw.col("left"))))


def assert_same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Same rows in the same order, same types, floats within 1e-9 and everything else exactly."""
    assert found.schema == expected.schema
    assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def test_every_kind_of_feature_is_tried() -> None:
    (union, _) = get_args(FeatureSpec)
    kinds = {kind for spec in get_args(union) for kind in get_args(spec.model_fields["kind"].annotation)}
    assert kinds == {f.kind for f in FEATURES}


@pytest.mark.slow
@needs_spark
def test_every_feature_equals_that_of_polars(lake: Lake, spark: SparkEngine) -> None:
    expected = features(open_engine(EngineSpec()), lake)
    assert len(expected) > 100
    assert expected.select(pl.exclude("note").null_count() < len(expected)).row(0) == (True,) * (expected.width - 1)
    found = features(spark, lake)
    assert_same(found, expected)
    assert content_hash(features(spark, lake)) == content_hash(found), "a month computed twice has the same content"


@pytest.mark.slow
@needs_spark
def test_rows_of_every_type_are_read_as_they_were_written(lake: Lake, spark: SparkEngine) -> None:
    rows = pl.DataFrame(
        {
            "text": ["ä𝔘", None], "whole": [2**62, None], "small": pl.Series([1, None], dtype=pl.Int8),
            "number": [float("nan"), None], "single": pl.Series([0.1, None], dtype=pl.Float32), "flag": [True, None],
            "day": [date(1, 1, 1), None], "local": [datetime(1500, 3, 1, 2, 30, 0, 1), None], "nothing": [None, None],
            "price": [Decimal("-1.25"), None], "several": [[1, None], None], "dot.ted `name`": ["x", None],
        }
    ).with_columns(moment=pl.col("local").dt.replace_time_zone("UTC"), month=pl.lit("delivered"))  # fmt: skip
    lake.write("raw_data", NOW, lake.draft(rows), Commit("-"))
    (found,), (expected,) = (
        scanned(engine, lake, "raw_data").values() for engine in (spark, open_engine(EngineSpec()))
    )
    assert_same(pl.concat(spark.pieces(found)), expected.collect())


@pytest.mark.slow
@needs_spark
def test_no_rows_still_have_their_columns(lake: Lake, spark: SparkEngine) -> None:
    pieces = list(spark.pieces(scanned(spark, lake)[0].where("calls > 99")))
    assert pl.concat(pieces).schema == scanned(open_engine(EngineSpec()), lake)[0].collect_schema()


@pytest.mark.slow
@needs_spark
def test_rows_come_in_order_and_in_batches(spark: SparkEngine) -> None:
    pieces = list(spark.pieces(spark.session.range(25_000).sort("id")))
    assert max(map(len, pieces)) <= 10_000
    assert pl.concat(pieces)["id"].equals(pl.Series("id", range(25_000)))


@pytest.mark.slow
@needs_spark
def test_a_file_that_an_executor_misses_is_named(lake: Lake, spark: SparkEngine) -> None:
    record = lake.write("lost", NOW, pl.DataFrame({"a": [1]}), Commit("-"))
    frame = spark.scan(lake, record)
    lake.files(record)[0].unlink()
    with pytest.raises(EngineError, match=r"FileNotFoundException.*lost.*every executor needs") as error:
        list(spark.pieces(frame))
    assert not error.value.transient


@pytest.mark.slow
@needs_spark
def test_what_python_raised_on_an_executor_is_named(lake: Lake, spark: SparkEngine) -> None:
    from pyspark.sql import functions as F

    broken = F.udf(lambda text: int(text), "int")
    with pytest.raises(EngineError, match=r"what it was asked for: ValueError: invalid literal for int\(\)"):
        list(spark.pieces(scanned(spark, lake)[0].select(broken("id"))))


@pytest.mark.slow
@needs_spark
def test_the_process_keeps_its_environment(spark: SparkEngine, lake: Lake) -> None:
    """What PySpark leaves there by other ways makes Arrow drop time zones and drivers listen elsewhere."""
    list(spark.pieces(scanned(spark, lake)[0]))
    assert not {"PYARROW_IGNORE_TIMEZONE", "PYSPARK_PYTHON", "SPARK_LOCAL_IP"} & set(os.environ)


@pytest.mark.slow
@needs_spark
def test_a_session_that_has_died_is_begun_anew(spark: SparkEngine, lake: Lake) -> None:
    begun = scanned(spark, lake)[0]
    spark.session.sparkContext._jsc.sc().stop()
    with pytest.raises(EngineError) as error:
        list(spark.pieces(begun))
    assert error.value.transient
    assert pl.concat(spark.pieces(scanned(spark, lake)[0])).height > 100


def test_missing_java_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(EngineError, match=r"expected Java 17 or later, found none in JAVA_HOME=/nowhere. Install one"):
        scanned(open_engine(OTHER), lake)


def test_missing_pyspark_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(EngineError, match=r"expected PySpark, found none. Run `pip install 'churn-assets\[spark\]'`"):
        scanned(open_engine(OTHER), lake)
