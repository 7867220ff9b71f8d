"""Histograms of the features that a model was trained on, to measure later how far new months have drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.learning.matrix import learn_levels, require_columns, require_kinds
from churn_assets.months import Month

Floats = NDArray[np.float64]

Part = dict[str, Any]
"""The histogram of one feature, of JSON's types only.

A number has ``edges`` e1 < e2 < ... and the ``shares`` of x <= e1, e1 < x <= e2, ..., x > last edge; a category or
boolean has ``levels``, their ``shares`` and the share of ``other`` levels. Both have the share ``missing``. The shares
of a feature add up to 1.

What two-sample tests need besides is there where it was asked for: ``sample``, the number of rows that count as drawn
independently; and of a number ``fine_edges`` and the ``fine_counts`` of rows in the bins that they make.
"""

Reference = dict[str, Part]
"""Feature -> its histogram."""

FINE = 100
"""Bins that a distribution function is kept by; a test on them misses less than 1/100 of a distance."""


def reference_of(frame: pl.DataFrame, features: Sequence[str], bins: int = 10) -> Reference:
    """The histograms of ``features`` in ``frame``: deciles of numbers, levels of categories and booleans.

    A value that holds more than one bin's share of the rows has a bin of its own, and the rest have their deciles:
    where most rows are zero, it is the others that tell whether a unit has changed.

    Raises:
        LearningError: a feature is absent, or neither number, boolean nor string.
    """
    levels = _levels(frame, features)
    return {
        f: of_levels(counted(frame[f]), len(frame), levels[f])
        if f in levels
        else of_numbers(known_numbers(frame[f]), len(frame), bins)
        for f in features
    }


def full_reference(frame: pl.DataFrame, features: Sequence[str], sample: int | None = None) -> Reference:
    """The histograms of ``features`` with all that two-sample tests need.

    Args:
        frame: the rows.
        features: columns of it.
        sample: how many of the rows count as drawn independently; all, if not given.

    Raises:
        LearningError: as ``reference_of``.
    """
    levels, drawn = _levels(frame, features), len(frame) if sample is None else sample
    made: Reference = {}
    for f in features:
        if f in levels:
            made[f] = of_levels(counted(frame[f]), len(frame), levels[f]) | {"sample": drawn}
        else:
            made[f] = with_fine_bins(known_numbers(frame[f]), len(frame)) | {"sample": drawn}
    return made


def settled_reference(rows: pl.DataFrame, lookbacks: Mapping[str, int], start: Month) -> Reference:
    """The histograms of features with what tests need, each of the months whose window doesn't reach behind the start.

    A customer's months are so alike that together they count as one row drawn.

    Args:
        rows: with ``customer_id``, ``event_month`` and the features.
        lookbacks: feature -> how many earlier months it reads.
        start: the pipeline's first month.

    Raises:
        LearningError: as ``reference_of``.
    """
    reference: Reference = {}
    for months in sorted(set(lookbacks.values())):
        whole = rows.filter(pl.col("event_month") >= (start + months).first_day)
        if len(whole):
            features = [name for name, reach in lookbacks.items() if reach == months]
            reference |= full_reference(whole, features, whole["customer_id"].n_unique())
    return reference


def score_reference(p_leave: Floats) -> Part:
    """The histogram of a champion's scores with what tests need; of rows that taught it nothing."""
    return full_reference(pl.DataFrame({"score": p_leave}), ["score"])["score"]


def shares(frame: pl.DataFrame, reference: Reference) -> dict[str, tuple[list[float], list[float]]]:
    """Expected (the reference's) and actual shares of each feature, bin by bin; the last bin holds missing values.

    For a category the last but one bin holds the levels that the reference doesn't list.

    Raises:
        LearningError: a feature is absent or has another type than in the reference.
    """
    require_columns(frame, list(reference))
    listed = {f: tuple(part["levels"]) for f, part in reference.items() if part["kind"] == "category"}
    require_kinds(_without_booleans(frame, listed), list(reference), listed)
    return {f: (flat(part), flat(_measured(frame[f], part))) for f, part in reference.items()}


def known_numbers(column: pl.Series) -> Floats:
    """The finite values of a column of numbers, ascending."""
    values = column.cast(pl.Float64).drop_nulls().to_numpy()
    known: Floats = np.sort(values[np.isfinite(values)])
    return known


def counted(column: pl.Series) -> dict[str, int]:
    """How many rows each value has, as text; missing ones aside."""
    text = column.cast(pl.String).drop_nulls().alias("level")
    return dict(text.to_frame().group_by("level").len().iter_rows())


def of_levels(counts: Mapping[str, int], rows: int, levels: Sequence[str]) -> Part:
    """The histogram of a category that has ``counts`` in ``rows`` rows, the missing ones included."""
    known, whole = [counts.get(level, 0) for level in levels], max(rows, 1)
    return {
        "kind": "category",
        "levels": list(levels),
        "shares": [count / whole for count in known],
        "other": (sum(counts.values()) - sum(known)) / whole,
        "missing": (rows - sum(counts.values())) / whole,
    }


def of_numbers(known: Floats, rows: int, bins: int) -> Part:
    """The histogram of a number with the ``known`` values, ascending, in ``rows`` rows, the missing ones included."""
    return in_edges(known, rows, _edges(known, bins))


def in_edges(known: Floats, rows: int, edges: Floats) -> Part:
    """The same in bins that are given."""
    whole = max(rows, 1)
    return {
        "kind": "number",
        "edges": edges.tolist(),
        "shares": (_counts(known, edges) / whole).tolist(),
        "missing": (rows - len(known)) / whole,
    }


def with_fine_bins(known: Floats, rows: int) -> Part:
    """The same in deciles, and its distribution function in ``FINE`` bins."""
    fine = _edges(known, FINE)
    counts = {"fine_edges": fine.tolist(), "fine_counts": _counts(known, fine).tolist()}
    return of_numbers(known, rows, 10) | counts


def flat(part: Part) -> list[float]:
    """All shares of a histogram; the last one is that of missing values."""
    other = [part["other"]] if part["kind"] == "category" else []
    return [*part["shares"], *other, part["missing"]]


def _measured(column: pl.Series, part: Part) -> Part:
    if part["kind"] == "category":
        return of_levels(counted(column), len(column), part["levels"])
    return in_edges(known_numbers(column), len(column), np.array(part["edges"], dtype=np.float64))


def _levels(frame: pl.DataFrame, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    learned = learn_levels(frame, features)
    flags = {f: ("false", "true") for f in features if frame.schema[f] == pl.Boolean}
    return {**learned, **flags}


def _without_booleans(frame: pl.DataFrame, listed: dict[str, tuple[str, ...]]) -> pl.DataFrame:
    """Booleans are levels here, though numbers to a learner."""
    return frame.with_columns(pl.col(f).cast(pl.String) for f in listed if frame.schema[f] == pl.Boolean)


def _edges(known: Floats, bins: int) -> Floats:
    if not len(known):
        return known
    edges, times = np.unique(_quantiles(known, bins), return_counts=True)
    if (times > 1).any():
        frequent = edges[times > 1]
        rest = _without(known, frequent)
        edges = np.unique([*frequent, *np.nextafter(frequent, -np.inf), *_quantiles(rest, bins)])
    if edges[0] == known[0]:  # values below the least one need a bin of their own to be noticed
        edges = np.insert(edges, 0, np.nextafter(edges[0], -np.inf))
    return edges


def _quantiles(known: Floats, bins: int) -> Floats:
    """The least values that 1/bins, 2/bins, ... of them don't exceed."""
    if not len(known):
        return known
    return known[-(-len(known) * np.arange(1, bins) // bins) - 1]


def _without(known: Floats, values: Floats) -> Floats:
    """``known`` without ``values``; both ascend."""
    begins, ends = (np.searchsorted(known, values, side) for side in ("left", "right"))  # type: ignore[call-overload]
    return np.concatenate([known[a:b] for a, b in zip([0, *ends], [*begins, len(known)], strict=True)])


def _counts(known: Floats, edges: Floats) -> NDArray[np.int64]:
    upto = np.searchsorted(known, edges, side="right")
    return np.diff([0, *upto, len(known)])
