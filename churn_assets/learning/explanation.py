"""Why a customer is at risk, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from churn_assets.learning.matrix import kind_of, require_columns

if TYPE_CHECKING:
    from churn_assets.learning.training import TrainedModel


def reasons(model: TrainedModel, frame: pl.DataFrame, top: int = 3) -> pl.DataFrame:
    """The features that raise each customer's risk the most, with their values.

    Args:
        model: the model that scores the customers.
        frame: (n, ...) with the model's features.
        top: how many reasons a customer gets.

    Returns:
        (n, top) strings ``reason_1`` to ``reason_<top>`` such as "support_calls_mean_3m = 4.3 (raises)", the strongest
        first, equal ones in the order of the features; null where fewer features raise the risk.

    Raises:
        LearningError: a feature is absent or has another type than in training.
    """
    require_columns(frame, model.features)
    contributions = model.contributions(frame)
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :top]
    raises = np.take_along_axis(contributions, order, axis=1) > 0
    values = frame.select(model.features)
    return pl.DataFrame(
        {
            f"reason_{k + 1}": _reason(values, order[:, k], raises[:, k])
            if k < order.shape[1]
            else pl.Series([None] * frame.height, dtype=pl.String)
            for k in range(top)
        }
    )


def _reason(values: pl.DataFrame, feature: np.ndarray, raises: np.ndarray) -> pl.Series:
    """The text of one reason per row; ``feature`` (n,) is the place of the column it speaks of."""
    at, speaks = pl.Series(feature), pl.Series(raises)
    columns = enumerate(values.schema.items())
    texts = [pl.when((at == i) & speaks).then(_text(name, dtype)) for i, (name, dtype) in columns]
    return values.select(pl.coalesce(texts).cast(pl.String)).to_series()


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if kind_of(dtype) == "number" and dtype != pl.Boolean:
        value = value.cast(pl.Float64).fill_nan(None).round_sig_figs(4).cast(pl.String).str.strip_suffix(".0")
    return pl.format("{} = {} (raises)", pl.lit(name), value.cast(pl.String).fill_null("missing"))
