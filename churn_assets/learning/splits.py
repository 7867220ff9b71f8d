"""Which part of the data a customer belongs to, decided by a stable hash of the customer's key.

A hash, not a random number: the place of a customer depends neither on the order of the rows nor on the machine, and
all rows of one customer go the same way, so that no model is judged on a customer whom it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.months import Fold

InnerFold = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""Which rows teach, and which judge."""

FOLDS = 5


def holdout_parts(customers: pl.Series, labels: pl.Series, share: float) -> pl.Series:
    """Divides customers into those a model is fitted on and those it is judged on, stratified by label.

    Within each class the customers with the smallest hashes are kept back, so that the share is exact to the customer
    and, where a class has at least two customers, neither part is without it. A customer with several rows counts as
    leaving if any of them does.

    Args:
        customers: (n,) keys.
        labels: (n,) booleans, True for those who left.
        share: share of each class that is kept back, between 0 and 1.

    Returns:
        (n,) strings named ``part``: ``fit`` or ``validate``.

    Raises:
        LearningError: the two have different lengths, or ``share`` isn't between 0 and 1.

    >>> parts = holdout_parts(pl.Series(["a", "b", "c", "d"]), pl.Series([True, True, False, False]), 0.5)
    >>> sorted(parts)
    ['fit', 'fit', 'validate', 'validate']
    """
    if len(customers) != len(labels):
        raise LearningError(f"hold-out: expected a label per customer, found {len(labels)} for {len(customers)} rows.")
    if not 0 < share < 1:
        raise LearningError(f"hold-out: expected a share between 0 and 1, found {share}.")
    rows = pl.DataFrame({"customer": customers.cast(pl.String), "left": labels.cast(pl.Boolean)})
    people = _hashed(rows.group_by("customer").agg(pl.col("left").any()))
    size = pl.len().over("left")
    kept_back = (size * share).round().clip(1, pl.max_horizontal(size - 1, 1))
    place = pl.struct("hash", "customer").rank("ordinal").over("left")
    people = people.with_columns(pl.when((place <= kept_back) & (size > 1)).then(pl.lit("validate"))
                                 .otherwise(pl.lit("fit")).alias("part"))  # fmt: skip
    return rows.join(people.select("customer", "part"), on="customer", how="left", nulls_equal=True,
                     maintain_order="left")["part"]  # fmt: skip


def folds(customers: pl.Series, n: int = FOLDS) -> NDArray[np.int64]:
    """Gives each row the fold of its customer; a customer's fold doesn't depend on who else is there.

    Args:
        customers: (rows,) keys.
        n: number of folds.

    Returns:
        (rows,) integers from 0 to n-1.
    """
    rows = pl.DataFrame({"customer": customers.cast(pl.String)})
    people = _hashed(rows.unique()).with_columns((pl.col("hash") % n).cast(pl.Int64).alias("fold"))
    joined = rows.join(people, on="customer", how="left", nulls_equal=True, maintain_order="left")
    result: NDArray[Any] = joined["fold"].to_numpy()
    return result.astype(np.int64)


def inner_folds(rows: pl.DataFrame, months: Sequence[Fold], n: int = 3) -> list[InnerFold]:
    """Divides fit rows into those that teach and those that judge, for what is decided before the real judges are seen.

    Args:
        rows: (rows, ...) with ``event_month`` and ``customer_id``.
        months: the calendar's folds of the fit months; without any, whole customers are divided by their hash.
        n: how many divisions there are without months.

    Returns:
        Pairs of (rows,) masks, taught and judged; months ascend, so that the last pair is the newest.
    """
    if months:
        at = rows["event_month"]
        return [
            (at.is_in([m.first_day for m in fold.taught]).to_numpy(), (at == fold.judge.first_day).to_numpy())
            for fold in months
        ]
    place = folds(rows["customer_id"], FOLDS)
    return [(place != fold, place == fold) for fold in range(min(n, FOLDS))]


def sampled(customers: pl.Series, share: float) -> pl.Series:
    """Which rows belong to a ``share`` of all customers, (rows,); who is in a smaller share is in a larger one too."""
    rows = pl.DataFrame({"customer": customers.cast(pl.String)})
    # Not a part of the range of hashes, nor their rest by the number of folds: both serve other divisions.
    parts = 1_000_003
    return _hashed(rows).select(pl.col("hash") % parts < share * parts).to_series()


def _hashed(people: pl.DataFrame) -> pl.DataFrame:
    """Adds a 64-bit hash of ``customer`` that stays the same from release to release, unlike Polars' own."""
    import pandas as pd

    keys = people["customer"].fill_null("").to_numpy().astype(object)
    return people.with_columns(pl.Series("hash", pd.util.hash_array(keys, encoding="utf8"), dtype=pl.UInt64))
