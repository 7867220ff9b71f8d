"""Labels: who left in the months after a snapshot, and for whom that isn't known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from churn_assets.spec import LabelSpec

LABEL = "label"


@dataclass(frozen=True)
class LaterMonth:
    """One month of the label window.

    ``rows`` is None for a month that was delivered empty: nothing is known of it. ``quarantined`` are customers whose
    rows were set aside, of whom nothing is known either.
    """

    rows: pl.LazyFrame | None
    quarantined: pl.LazyFrame | None = None


def label(
    customers: pl.LazyFrame, later: Sequence[LaterMonth], spec: LabelSpec, key: str, flag: str | None
) -> pl.LazyFrame:
    """``customers`` with a column ``label``: True for those who left, null where that can't be known.

    A customer has left once any month of the window says so; has stayed only if every month says so.
    """
    outcomes = [f"_{i}" for i in range(len(later))]
    dtype = customers.collect_schema()[key]
    for name, month in zip(outcomes, later, strict=True):
        if month.rows is None:
            customers = customers.with_columns(pl.lit(None, pl.Boolean).alias(name))
        else:
            customers = customers.join(_outcome(month.rows, spec, key, flag, name), on=key, how="left")
        if spec.kind == "absence" and month.rows is not None:
            customers = customers.with_columns(pl.col(name).fill_null(True))
        if spec.kind == "absence" and month.rows is not None and month.quarantined is not None:
            unknown = month.quarantined.select(
                pl.col("customer").cast(dtype, strict=False).alias(key), pl.lit(True).alias("_unknown")
            ).unique()
            known = pl.when(pl.col("_unknown").is_null() | ~pl.col(name)).then(pl.col(name))
            customers = customers.join(unknown, on=key, how="left").with_columns(known.alias(name)).drop("_unknown")
    return customers.with_columns(pl.any_horizontal(outcomes).alias(LABEL)).drop(outcomes)


def _outcome(rows: pl.LazyFrame, spec: LabelSpec, key: str, flag: str | None, name: str) -> pl.LazyFrame:
    left = pl.lit(False) if spec.kind == "absence" or flag is None else pl.col(flag)
    return rows.select(key, left.alias(name))
