"""XGBoost trained on a Spark cluster: rows go from the lake's files to the executors, and only trees come back.

What passes the driver is two columns, customer and label, one month at a time. One worker grows the trees that this
process would. Several differ in where they may cut, which each finds in its share of the rows before they agree, and
in the rows that ``subsample`` draws; the same rows on as many workers give the same trees.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, reduce
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.engines import open_engine
from churn_assets.errors import LearningError
from churn_assets.features.labels import LABEL
from churn_assets.learning.boosting import BoostedLearner, can_judge, constraints, feature_types
from churn_assets.learning.candidates import Fit, Fitted, effective_params, fit_candidate
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.matrix import LARGEST, MOST_LEVELS, Levels, learn_levels
from churn_assets.learning.splits import InnerFold
from churn_assets.months import Month
from churn_assets.spec.learning import CandidateSpec
from churn_assets.store.lake import MONTH, MonthRecord

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from churn_assets.engines.spark import SparkEngine

THREADS = ("n_jobs", "nthread")
"""Parameters that Spark decides: ``spark.task.cpus`` threads a worker, one by default."""

JUDGES = "judges"
"""The column that marks the rows which the number of trees is chosen by."""


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
    slots: Lock = field(default_factory=Lock)

    def __call__(
        self,
        candidate: CandidateSpec,
        frame: pl.DataFrame,
        y: NDArray[np.bool_],
        features: Sequence[str],
        seed: int,
        stop: InnerFold | None = None,
    ) -> Fitted:
        if candidate.kind != "xgboost":
            return fit_candidate(candidate, frame, y, features, seed, stop)
        # Candidates come side by side, and each of them takes all slots at once.
        with self.slots:
            return self._distributed(candidate, frame, features, seed)

    def _distributed(self, candidate: CandidateSpec, frame: pl.DataFrame, features: Sequence[str], seed: int) -> Fitted:
        from churn_assets.engines.spark import explained

        params = effective_params(candidate, seed)
        with explained(f"train {candidate.name}"):
            levels = {f: _levels(self._rows, f) for f in learn_levels(frame, features)}
            params |= constraints(features, levels, candidate.monotone)
            try:
                if candidate.early_stopping:
                    params["n_estimators"] = self._rounds(features, levels, params, candidate.early_stopping)
                native = self._native(self._grown(self._rows, features, levels, params), features, levels, params)
            except (ValueError, TypeError) as error:
                raise LearningError(f"candidate {candidate.name} could not be fitted on Spark: {error}") from error
        return BoostedLearner(native, tuple(features), levels, params), levels

    def _rounds(self, features: Sequence[str], levels: Levels, params: Mapping[str, Any], patience: int) -> int:
        """The number of trees after which the newest fit month was predicted best by the months that may teach it."""
        from pyspark.sql import functions as F

        months = self.dataset.spec.calendar.folds(self.dataset.split)
        if not months:
            return int(params["n_estimators"])
        fold = months[-1]
        judges = F.col(MONTH) == F.lit(fold.judge.first_day)
        rows = self._rows.where(F.col(MONTH).isin([month.first_day for month in (*fold.taught, fold.judge)]))
        left = F.sum(F.col(LABEL).cast("int"))
        counted = {row[0]: row[1:] for row in rows.groupBy(judges).agg(left, F.count("*")).collect()}
        if not can_judge(counted.get(False, (0, 0)), counted.get(True, (0, 0))):
            return int(params["n_estimators"])
        watched = {**params, "early_stopping_rounds": patience, "eval_metric": "logloss"}
        return int(self._grown(rows, features, levels, watched, judges).best_iteration) + 1

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

    def _grown(
        self,
        rows: DataFrame,
        features: Sequence[str],
        levels: Levels,
        params: Mapping[str, Any],
        judges: Column | None = None,
    ) -> Any:
        """The booster that the executors grow on ``rows``, those that ``judges`` marks left out."""
        from pyspark.sql import functions as F
        from xgboost.spark import SparkXGBClassifier

        logging.getLogger("XGBoost-PySpark").setLevel(logging.WARNING)
        key, workers = self.dataset.spec.schema_.key, self.dataset.spec.engine.workers
        names = [f"f{i}" for i in range(len(features))]
        values = [_code(f, levels[f]) if f in levels else _number(f) for f in features]
        # Placed by customer and put in order, so that each worker has the same rows in the same order every time.
        placed = rows.repartition(workers, key).sortWithinPartitions(MONTH, key)
        given = {name: value for name, value in params.items() if name not in THREADS}
        marked = {} if judges is None else {JUDGES: judges}
        learner = SparkXGBClassifier(
            features_col=names, label_col=LABEL, num_workers=workers, feature_types=feature_types(features, levels),
            validation_indicator_col=JUDGES if marked else None, verbose=False, **given,
        )  # fmt: skip
        columns = [value.alias(name) for name, value in zip(names, values, strict=True)]
        columns += [mark.alias(name) for name, mark in marked.items()]
        return learner.fit(placed.select(F.col(LABEL).cast("int").alias(LABEL), *columns)).get_booster()

    @staticmethod
    def _native(booster: Any, features: Sequence[str], levels: Levels, params: Mapping[str, Any]) -> Any:
        """An XGBClassifier with the trees of ``booster``."""
        from xgboost import XGBClassifier

        booster.feature_names = None
        native = XGBClassifier(
            **{**params, "n_jobs": 1}, feature_types=feature_types(features, levels), enable_categorical=True
        )
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
