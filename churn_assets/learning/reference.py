"""Histograms of the features that a model was trained on, to measure later how far new months have drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from churn_assets.learning.matrix import learn_levels, require_columns, require_kinds
from churn_assets.months import Month

Reference = dict[str, dict[str, Any]]
"""Feature -> its histogram, of JSON's types only.

A number has ``edges`` e1 < e2 < ... and the ``shares`` of x <= e1, e1 < x <= e2, ..., x > last edge; a category or
boolean has ``levels``, their ``shares`` and the share of ``other`` levels. Both have the share ``missing``. The shares
of a feature add up to 1.
"""


def reference_of(frame: pl.DataFrame, features: Sequence[str], bins: int = 10) -> Reference:
    """The histograms of ``features`` in ``frame``: deciles of numbers, levels of categories and booleans.

    A value that holds more than one bin's share of the rows has a bin of its own, and the rest have their deciles:
    where most rows are zero, it is the others that tell whether a unit has changed.

    Raises:
        LearningError: a feature is absent, or neither number, boolean nor string.
    """
    levels = _levels(frame, features)
    return {f: _of_levels(frame[f], levels[f]) if f in levels else _of_numbers(frame[f], bins) for f in features}


def settled_reference(rows: pl.DataFrame, lookbacks: Mapping[str, int], start: Month) -> Reference:
    """The histograms of features, each of the months whose window doesn't reach behind the pipeline's start.

    Args:
        rows: with ``event_month`` and the features.
        lookbacks: feature -> how many earlier months it reads.
        start: the pipeline's first month.

    Raises:
        LearningError: as ``reference_of``.
    """
    reference: Reference = {}
    for months in sorted(set(lookbacks.values())):
        whole = rows.filter(pl.col("event_month") >= (start + months).first_day)
        if len(whole):
            reference |= reference_of(whole, [name for name, reach in lookbacks.items() if reach == months])
    return reference


def shares(frame: pl.DataFrame, reference: Reference) -> dict[str, tuple[list[float], list[float]]]:
    """Expected (the reference's) and actual shares of each feature, bin by bin; the last bin holds missing values.

    For a category the last but one bin holds the levels that the reference doesn't list.

    Raises:
        LearningError: a feature is absent or has another type than in the reference.
    """
    require_columns(frame, list(reference))
    listed = {f: tuple(part["levels"]) for f, part in reference.items() if part["kind"] == "category"}
    require_kinds(_without_booleans(frame, listed), list(reference), listed)
    return {f: (_flat(part), _flat(_measured(frame[f], part))) for f, part in reference.items()}


def _measured(column: pl.Series, part: dict[str, Any]) -> dict[str, Any]:
    if part["kind"] == "category":
        return _of_levels(column, tuple(part["levels"]))
    return _in_edges(column, np.array(part["edges"], dtype=np.float64))


def _levels(frame: pl.DataFrame, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    learned = learn_levels(frame, features)
    flags = {f: ("false", "true") for f in features if frame.schema[f] == pl.Boolean}
    return {**learned, **flags}


def _without_booleans(frame: pl.DataFrame, listed: dict[str, tuple[str, ...]]) -> pl.DataFrame:
    """Booleans are levels here, though numbers to a learner."""
    return frame.with_columns(pl.col(f).cast(pl.String) for f in listed if frame.schema[f] == pl.Boolean)


def _of_levels(column: pl.Series, levels: tuple[str, ...]) -> dict[str, Any]:
    text = column.cast(pl.String)
    counted = dict(text.drop_nulls().alias("level").to_frame().group_by("level").len().iter_rows())
    rows = max(len(column), 1)
    known = [counted.get(level, 0) for level in levels]
    return {
        "kind": "category",
        "levels": list(levels),
        "shares": [count / rows for count in known],
        "other": (sum(counted.values()) - sum(known)) / rows,
        "missing": text.null_count() / rows,
    }


def _of_numbers(column: pl.Series, bins: int) -> dict[str, Any]:
    known = _known(column)
    if not len(known):
        return _in_edges(column, np.zeros(0))
    edges, times = np.unique(_quantiles(known, bins), return_counts=True)
    if (times > 1).any():
        frequent = edges[times > 1]
        rest = known[~np.isin(known, frequent)]
        edges = np.unique([*frequent, *np.nextafter(frequent, -np.inf), *_quantiles(rest, bins)])
    if edges[0] == known.min():  # values below the least one need a bin of their own to be noticed
        edges = np.insert(edges, 0, np.nextafter(edges[0], -np.inf))
    return _in_edges(column, edges)


def _quantiles(known: np.ndarray, bins: int) -> np.ndarray:
    if not len(known):
        return known
    quantiles: np.ndarray = np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf")
    return quantiles


def _in_edges(column: pl.Series, edges: np.ndarray) -> dict[str, Any]:
    known, rows = _known(column), max(len(column), 1)
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return {
        "kind": "number",
        "edges": edges.tolist(),
        "shares": (counts / rows).tolist(),
        "missing": (len(column) - len(known)) / rows,
    }


def _known(column: pl.Series) -> np.ndarray:
    values = column.cast(pl.Float64).drop_nulls().to_numpy()
    known: np.ndarray = values[np.isfinite(values)]
    return known


def _flat(part: dict[str, Any]) -> list[float]:
    other = [part["other"]] if part["kind"] == "category" else []
    return [*part["shares"], *other, part["missing"]]
