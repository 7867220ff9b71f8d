"""From a frame of features to the matrix a learner takes: numbers as they are, categories as codes, NaN for missing.

The levels of categories are learned once, from the rows a model is fitted on, and frozen with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError

Levels = Mapping[str, tuple[str, ...]]
"""Feature -> its levels, ascending, for every feature that is a category."""

MOST_LEVELS = 100
"""Levels kept per category, most frequent first: a column of keys must not become a column of weights per customer."""


def kind_of(dtype: pl.DataType) -> str:
    """What a column is to a learner: ``category``, ``number``, ``missing`` (nulls only) or, if unusable, its own type.

    >>> kind_of(pl.String()), kind_of(pl.Boolean()), kind_of(pl.Date())
    ('category', 'number', 'Date')
    """
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "category"
    if dtype.is_numeric() or dtype == pl.Boolean:
        return "number"
    return "missing" if dtype == pl.Null else str(dtype)


def learn_levels(frame: pl.DataFrame, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The levels of every feature that is a category, ascending; at most ``MOST_LEVELS``, the most frequent ones.

    Raises:
        LearningError: a feature isn't in the frame, or is neither number, boolean nor string.
    """
    require_columns(frame, features)
    wrong = {f: str(frame.schema[f]) for f in features if kind_of(frame.schema[f]) not in _USABLE}
    if wrong:
        raise LearningError(
            f"features can't be learned from: expected numbers, booleans or strings, found {_listed(wrong)}. "
            "Derive a number or a category from them, or leave them out."
        )
    return {f: _levels(frame[f]) for f in features if kind_of(frame.schema[f]) == "category"}


def require_columns(frame: pl.DataFrame, features: Sequence[str]) -> None:
    """Checks that ``frame`` has every feature.

    Raises:
        LearningError: some are absent.
    """
    absent = [f for f in features if f not in frame.columns]
    if absent:
        raise LearningError(
            f"features are missing: expected columns {', '.join(absent)}, found {', '.join(frame.columns) or 'none'}. "
            "Compute the features with the specification that the model was trained with."
        )


def require_kinds(frame: pl.DataFrame, features: Sequence[str], levels: Levels) -> None:
    """Checks that every feature has the kind that it was learned with; a column of nulls passes as either.

    Raises:
        LearningError: some have another kind.
    """
    expected = {f: "category" if f in levels else "number" for f in features}
    found = {f: kind_of(frame.schema[f]) for f in features}
    wrong = [f for f in features if found[f] not in (expected[f], "missing")]
    if wrong:
        raise LearningError(
            f"features have another type than in training: expected {_listed({f: expected[f] for f in wrong})}; "
            f"found {_listed({f: str(frame.schema[f]) for f in wrong})}. Restore their type, or train again."
        )


def to_matrix(frame: pl.DataFrame, features: Sequence[str], levels: Levels, dtype: Any = np.float64) -> NDArray[Any]:
    """The matrix of ``features``: categories as the place of their level, NaN where missing or unseen.

    Numbers too large for 32 bits, infinity among them, count as missing.

    Returns:
        (n, len(features)) floats of ``dtype``, in the order of ``features``.

    Raises:
        LearningError: a feature is absent or has another kind than in training.

    >>> to_matrix(pl.DataFrame({"plan": ["b", "new"], "age": [3, None]}), ["plan", "age"], {"plan": ("a", "b")})
    array([[ 1.,  3.],
           [nan, nan]])
    """
    require_columns(frame, features)
    require_kinds(frame, features, levels)
    to = pl.Float32 if dtype == np.float32 else pl.Float64
    columns = [_codes(f, levels[f], to) if f in levels else _number(f, to) for f in features]
    matrix: NDArray[Any] = frame.select(columns).to_numpy(order="c")
    return matrix.astype(dtype, copy=False)


LARGEST = float(np.finfo(np.float32).max)

_USABLE = ("category", "number", "missing")


def _levels(column: pl.Series) -> tuple[str, ...]:
    text = column.cast(pl.String).drop_nulls().alias("level")
    counted = text.to_frame().group_by("level").len().sort(["len", "level"], descending=[True, False])
    return tuple(sorted(counted["level"].head(MOST_LEVELS)))


def _codes(feature: str, levels: tuple[str, ...], to: type[pl.DataType]) -> pl.Expr:
    if not levels:
        return pl.when(pl.col(feature).is_null()).then(np.nan).otherwise(np.nan).cast(to).alias(feature)
    known = pl.col(feature).cast(pl.String).cast(pl.Enum(levels), strict=False)
    return known.to_physical().cast(to).fill_null(np.nan)


def _number(feature: str, to: type[pl.DataType]) -> pl.Expr:
    value = pl.col(feature).cast(pl.Float64)
    # The bound is that of 32 bits for every learner, so that all of them miss the same values.
    return pl.when(value.abs() < LARGEST).then(value).otherwise(np.nan).cast(to).alias(feature)


def _listed(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in types.items())
