"""XGBoost trained on a Spark cluster: rows go from the lake's files to the executors, and only trees come back.

What passes the driver is two columns, customer and label, one month at a time. One worker grows the trees that this
process would. Several differ in where they may cut, which each finds in its share of the rows before they agree, and
in the rows that ``subsample`` draws; the same rows on as many workers give the same trees.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.engines import open_engine
from churn_assets.errors import LearningError
from churn_assets.features.labels import LABEL
from churn_assets.learning.boosting import BoostedLearner, feature_types
from churn_assets.learning.candidates import Fit, Learner, effective_params, fit_candidate
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.matrix import LARGEST, MOST_LEVELS, Levels, learn_levels
from churn_assets.months import Month
from churn_assets.spec.learning import CandidateSpec
from churn_assets.store.lake import MONTH, MonthRecord

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from churn_assets.engines.spark import SparkEngine

THREADS = ("n_jobs", "nthread")
"""Parameters that Spark decides: ``spark.task.cpus`` threads a worker, one by default."""


@contextmanager
def fitting(dataset: Dataset) -> Iterator[Fit]:
    """How candidates are fitted on the dataset's fit rows, as the pipeline's engine has it."""
    engine: Any = open_engine(dataset.spec.engine)
    if dataset.spec.engine.kind == "polars":
        yield fit_candidate
        return
    with ExitStack() as stack:
        yield _ClusterFit(dataset, engine, stack)


@dataclass
class _ClusterFit:
    """Fits XGBoost on the executors, and any other candidate here; what it lays out is cleared by ``stack``."""

    dataset: Dataset
    engine: SparkEngine
    stack: ExitStack

    def __call__(
        self, candidate: CandidateSpec, frame: pl.DataFrame, y: NDArray[np.bool_], features: Sequence[str], seed: int
    ) -> tuple[Learner, dict[str, tuple[str, ...]]]:
        if candidate.kind != "xgboost":
            return fit_candidate(candidate, frame, y, features, seed)
        from churn_assets.engines.spark import explained

        params = effective_params(candidate, seed)
        rows = self._rows
        with explained(f"train {candidate.name}"):
            levels = {f: _levels(rows, f) for f in learn_levels(frame, features)}
            try:
                native = self._grown(features, levels, params)
            except (ValueError, TypeError) as error:
                raise LearningError(f"candidate {candidate.name} could not be fitted on Spark: {error}") from error
        return BoostedLearner(native, tuple(features), levels), levels

    @cached_property
    def _rows(self) -> DataFrame:
        """Month, customer, label and features of the fit rows, kept by the executors until the end."""
        window = self.dataset.window("features")
        records = [r for r in self.dataset.lake.records(window) if Month.parse(r.month) in self.dataset.split.fit]
        months = [rows for record in records if (rows := self._labelled(record)) is not None]
        rows = reduce(lambda one, other: one.unionByName(other), months).persist()
        self.stack.callback(_forget, rows)
        return rows

    def _labelled(self, record: MonthRecord) -> DataFrame | None:
        key = self.dataset.spec.schema_.key
        labels = self.dataset.lake.draft(self.dataset.known(Month.parse(record.month)))
        self.stack.callback(labels.discard)
        if labels.path is None:
            return None
        rows = self.engine.scan(self.dataset.lake, record).select(MONTH, key, *self.dataset.spec.feature_names)
        return rows.join(self.engine.read(labels.path), on=key)

    def _grown(self, features: Sequence[str], levels: Levels, params: Mapping[str, Any]) -> Any:
        """An XGBClassifier with trees that the executors grew."""
        from pyspark.sql import functions as F
        from xgboost import XGBClassifier
        from xgboost.spark import SparkXGBClassifier

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        key, workers = self.dataset.spec.schema_.key, self.dataset.spec.engine.workers
        names = [f"f{i}" for i in range(len(features))]
        values = [_code(f, levels[f]) if f in levels else _number(f) for f in features]
        # Placed by customer and put in order, so that each worker has the same rows in the same order every time.
        placed = self._rows.repartition(workers, key).sortWithinPartitions(MONTH, key)
        types = feature_types(features, levels)
        given = {name: value for name, value in params.items() if name not in THREADS}
        learner = SparkXGBClassifier(
            features_col=names, label_col=LABEL, num_workers=workers, feature_types=types, verbose=False, **given
        )
        columns = [value.alias(name) for name, value in zip(names, values, strict=True)]
        booster = learner.fit(placed.select(F.col(LABEL).cast("int").alias(LABEL), *columns)).get_booster()
        booster.feature_names = None
        native = XGBClassifier(**params, feature_types=types, enable_categorical=True)
        native.load_model(booster.save_raw())
        return native


def _forget(rows: DataFrame) -> None:
    with suppress(Exception):  # A cluster that has died has forgotten them already.
        rows.unpersist()


def _levels(rows: DataFrame, feature: str) -> tuple[str, ...]:
    """The levels of a category, as ``learn_levels`` finds them."""
    from pyspark.sql import functions as F

    counted = rows.where(F.col(feature).isNotNull()).groupBy(feature).count()
    frequent = counted.orderBy(F.desc("count"), F.asc(feature)).limit(MOST_LEVELS)
    return tuple(sorted(row[feature] for row in frequent.collect()))


def _code(feature: str, levels: Sequence[str]) -> Column:
    """A category as ``to_matrix`` has it: the place of its level, NaN where missing or unseen."""
    from pyspark.sql import functions as F

    place = F.array_position(F.array(*map(F.lit, levels)), F.col(feature)) if levels else F.lit(0)
    return F.when(place > 0, place - 1).otherwise(float("nan")).cast("double")


def _number(feature: str) -> Column:
    """A number as ``to_matrix`` has it: NaN where missing, or too large for 32 bits."""
    from pyspark.sql import functions as F

    value = F.col(feature).cast("double")
    return F.when(F.abs(value) < LARGEST, value).otherwise(float("nan"))
