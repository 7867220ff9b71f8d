"""How good a model is for parts of the customers, and which parts it serves worse than the rest.

A segment stands out if its AUC is lower than the overall one by more than a margin, or if the rate at which its
customers left differs from the predicted one by more than a factor, and chance doesn't explain it: what decides is the
near end of an interval, whose confidence is raised to 1 - (1 - c) / (2 k) for two verdicts on each of k judged segments
(Bonferroni), so that of a model that is equally good everywhere some segment is said to stand out in no more than
1 - c of all months, however many segments there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.learning.evaluation import Flags, Floats, Interval, auc, auc_delong, checked, rate_interval
from churn_assets.spec.learning import EvaluationSpec

FACTOR = 1.25
"""Observed to predicted rate, or the other way round, up to which a segment counts as calibrated."""

FEWEST = 10
"""Rows of either class below which DeLong's interval says nothing."""

_DISTINCT = 6
"""Numbers that are each a segment; more are divided at their quartiles."""

_COLUMNS = {
    "feature": pl.String, "value": pl.String, "rows": pl.Int64, "positives": pl.Int64, "rate": pl.Float64,
    "mean_prediction": pl.Float64, "auc": pl.Float64, "auc_lower": pl.Float64, "auc_upper": pl.Float64,
    "observed_to_predicted": pl.Float64, "observed_to_predicted_lower": pl.Float64,
    "observed_to_predicted_upper": pl.Float64, "judged": pl.Boolean, "worse": pl.Boolean, "miscalibrated": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Segments:
    """A model's figures by segment.

    Attributes:
        table: a row for each value of each feature: ``feature``, ``value``, ``rows``, ``positives``, ``rate``,
            ``mean_prediction``, AUC and observed to predicted rate with the ends of their widened intervals, whether
            the segment was ``judged``, and whether it is ``worse`` or ``miscalibrated``. What isn't judged has neither
            figure.
        reason: which segments stand out, in one sentence.
    """

    table: pl.DataFrame
    reason: str

    @property
    def flagged(self) -> pl.DataFrame:
        """The segments that stand out."""
        return self.table.filter(pl.col("worse") | pl.col("miscalibrated"))


@dataclass(frozen=True)
class _Segment:
    feature: str
    value: str
    left: Flags
    prediction: Floats

    def may_be_judged(self, min_rows: int) -> bool:
        positives = int(self.left.sum())
        return len(self.left) >= min_rows and min(positives, len(self.left) - positives) >= FEWEST


def by_segment(rows: pl.DataFrame, p: Floats, spec: EvaluationSpec, confidence: float = 0.95) -> Segments:
    """Judges predictions by the values of the features that ``spec`` names.

    Numbers of more than a few values are divided at their quartiles; missing values are a segment of their own.

    Args:
        rows: (n, ...) with ``label`` and the features.
        p: (n,) predicted probabilities, same order.
        spec: which features, the fewest rows of a segment that is judged, and how much lower its AUC may be.
        confidence: of all verdicts together.

    Raises:
        LearningError: one class only, another number of predictions than of rows, or one that isn't finite.
    """
    left, prediction = checked(rows["label"].cast(pl.Boolean).to_numpy(), p)
    overall = auc(left, prediction)
    found = [s for feature in spec.segments for s in _divided(feature, rows[feature], left, prediction)]
    judged = sum(s.may_be_judged(spec.min_rows) for s in found)
    wide = 1 - (1 - confidence) / (2 * max(judged, 1))
    table = pl.DataFrame(
        [_row(s, spec.min_rows, overall - spec.max_gap, wide) for s in found], _COLUMNS, orient="row", strict=False
    )
    return Segments(table, _sentence(table, overall))


def _divided(feature: str, column: pl.Series, left: Flags, prediction: Floats) -> Iterator[_Segment]:
    names, at = _values(column)
    order = np.argsort(at, kind="stable")
    ends = np.searchsorted(at[order], np.arange(len(names) + 1))
    for name, (begin, end) in zip(names, pairwise(ends), strict=True):
        if begin < end:
            own = order[begin:end]
            yield _Segment(feature, name, left[own], prediction[own])


def _values(column: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the segments in their order, and which of them each row belongs to."""
    column = column.fill_nan(None) if column.dtype.is_float() else column
    known = column.drop_nulls().unique().sort()
    if column.dtype.is_numeric() and len(known) > _DISTINCT:
        return _quartiles(column)
    if column.dtype != pl.Boolean and not column.dtype.is_numeric():
        known = pl.Series(sorted(known, key=_by_numbers), dtype=column.dtype)
    names = [_name(value) for value in known]
    ordered = pl.DataFrame({"value": known, "at": np.arange(len(known))})
    at = pl.DataFrame({"value": column}).join(ordered, on="value", how="left", maintain_order="left")["at"]
    return [*names, "missing"], at.fill_null(len(known)).to_numpy()


def _quartiles(column: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    numbers = column.cast(pl.Float64).to_numpy()
    edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    ends = [_name(float(edge)) for edge in edges]
    names = [f"<= {ends[0]}", *(f"> {a} to {b}" for a, b in pairwise(ends)), f"> {ends[-1]}"]
    at = np.where(np.isnan(numbers), len(names), np.searchsorted(edges, numbers))
    return [*names, "missing"], at


def _by_numbers(value: Any) -> tuple[list[int], str]:
    """Puts ``<2``, ``2-4``, ``13-25`` in this order."""
    return [int(number) for number in re.findall(r"\d+", str(value))], str(value)


def _name(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _row(segment: _Segment, min_rows: int, least: float, confidence: float) -> tuple[Any, ...]:
    n, positives = len(segment.left), int(segment.left.sum())
    mean = float(segment.prediction.mean())
    head = (segment.feature, segment.value, n, positives, positives / n, mean)
    if not segment.may_be_judged(min_rows):
        return (*head, *[None] * 6, False, False, False)
    area = auc_delong(segment.left, segment.prediction, confidence)
    ratio = _ratio(positives, n, mean, confidence)
    wrong = ratio.lower > FACTOR or ratio.upper < 1 / FACTOR
    return (*head, area.value, area.lower, area.upper, ratio.value, ratio.lower, ratio.upper, True, area.upper < least,
            wrong)  # fmt: skip


def _ratio(positives: int, n: int, mean: float, confidence: float) -> Interval:
    """Observed to predicted rate; the prediction is taken as it is."""
    low, high = rate_interval(positives, n, confidence)
    # Predictions of nothing but 0 are infinitely wrong where someone left.
    predicted = max(mean, float(np.finfo(np.float64).tiny))
    return Interval(positives / n / predicted, float(low) / predicted, float(high) / predicted)


def _sentence(table: pl.DataFrame, overall: float) -> str:
    judged = int(table["judged"].sum())
    small = len(table) - judged
    rest = f"; {small} more are too small or of one kind" if small else ""
    if not len(table):
        return "No segments are declared in evaluation.segments."
    told = [_told(row) for row in table.filter(pl.col("worse") | pl.col("miscalibrated")).iter_rows(named=True)]
    if not told:
        return f"None of {judged} judged segments stands out{rest}."
    stand = "stands" if len(told) == 1 else "stand"
    return (
        f"{len(told)} of {judged} judged segments {stand} out: {_listed(told)}; the overall AUC is {overall:.3f}{rest}."
    )


def _told(row: dict[str, Any]) -> str:
    why = []
    if row["worse"]:
        why.append(f"AUC {row['auc']:.3f}, at most {row['auc_upper']:.3f}")
    if row["miscalibrated"]:
        why.append(f"{row['rate']:.1%} left where {row['mean_prediction']:.1%} were predicted")
    return f"{row['feature']} {row['value']} ({'; '.join(why)})"


def _listed(parts: Sequence[str], most: int = 5) -> str:
    more = [f"{len(parts) - most} more"] if len(parts) > most else []
    return ", ".join([*parts[:most], *more])
