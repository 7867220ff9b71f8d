"""Why a customer is at risk, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.features.words import Words
from churn_assets.learning.matrix import require_columns

if TYPE_CHECKING:
    from churn_assets.learning.training import TrainedModel

DECIMALS = 6
"""Decimals of log-odds that contributions are compared in: less than that is rounding, and counts as equal."""

Floats = NDArray[np.float64]


def reasons(model: TrainedModel, frame: pl.DataFrame, words: Words, top: int = 3) -> pl.DataFrame:
    """What raises each customer's risk the most.

    Features that are made of the same observed column share what they contribute, so that it can't fill all reasons:
    ``support_calls``, its sum and its change are one reason, told by the one that contributes most. Features made of
    several columns stand for themselves.

    Args:
        model: the model that scores the customers.
        frame: (n, ...) with the model's features.
        words: how the features are spoken of.
        top: how many reasons a customer gets.

    Returns:
        (n, top) strings ``reason_1`` to ``reason_<top>`` such as "support calls rose from 1 to 5 in three months", the
        strongest first; contributions that are equal in ``DECIMALS`` decimals in the order of the model's features.
        Null where fewer groups raise the risk.

    Raises:
        LearningError: a feature is absent or has another type than in training.
    """
    require_columns(frame, model.features)
    parts = np.round(model.contributions(frame), DECIMALS)
    groups = grouped(model.features, words)
    sums = np.column_stack([np.round(parts[:, members].sum(axis=1), DECIMALS) for members in groups.values()])
    order = np.argsort(-sums, axis=1, kind="stable")[:, :top]
    raises = np.take_along_axis(sums, order, axis=1) > 0
    told = np.column_stack([_strongest(parts, members) for members in groups.values()])
    features = np.take_along_axis(told, order, axis=1)
    texts = _texts(frame, model.features, words, features, raises)
    empty = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    return pl.DataFrame({f"reason_{k + 1}": texts[k] if k < len(texts) else empty for k in range(top)})


def grouped(features: Sequence[str], words: Words) -> dict[str, list[int]]:
    """The places of the features that are told together, by the column they are made of; in the order of features."""
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(features):
        groups.setdefault(words.group(name), []).append(place)
    return groups


def phrases(frame: pl.DataFrame, features: Sequence[str], words: Words) -> pl.DataFrame:
    """Every feature of every row in words, (n, len(features))."""
    return frame.select(words.phrase(name, frame.schema) for name in features)


def _strongest(parts: Floats, members: Sequence[int]) -> NDArray[np.int64]:
    """The place of the member that contributes most, (n,); of equal ones the first."""
    strongest: NDArray[np.int64] = np.asarray(members)[parts[:, members].argmax(axis=1)]
    return strongest


def _texts(
    frame: pl.DataFrame, features: Sequence[str], words: Words, chosen: NDArray[np.int64], raises: NDArray[np.bool_]
) -> list[pl.Series]:
    """The text of each reason, a series a column of ``chosen`` (n, reasons), the place of the feature it speaks of."""
    rows, reason = np.nonzero(raises)
    wanted = pl.DataFrame({"row": rows, "reason": reason, "place": chosen[raises]})
    said = [
        group.select("row", "reason").with_columns(
            frame[group["row"]].select(words.phrase(features[place], frame.schema)).to_series().alias("text")
        )
        for (place,), group in wanted.group_by("place", maintain_order=True)
    ]
    empty = pl.DataFrame(schema={"row": pl.Int64, "reason": pl.Int64, "text": pl.String})
    found = pl.concat([empty, *said])
    every = pl.DataFrame({"row": np.arange(len(frame))})
    return [
        every.join(found.filter(reason=k), on="row", how="left", maintain_order="left")["text"]
        for k in range(chosen.shape[1])
    ]
