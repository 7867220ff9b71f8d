"""Labels: who left in the months after a snapshot, and for whom that isn't known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from churn_assets.features.events import active_customers
from churn_assets.spec import LabelSpec
from churn_assets.spec.events import Condition

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
    customers: pl.LazyFrame,
    later: Sequence[LaterMonth],
    spec: LabelSpec,
    key: str,
    flag: str | None = None,
    activity: Condition | None = None,
) -> pl.LazyFrame:
    """``customers`` with a column ``label``: True for those who left, null where that can't be known.

    A customer has left once any month of the window says so, and has stayed only if every month says so. By
    inactivity it is the other way round: one month with an active event is enough to stay, and all must be known to be
    without any to have left.

    Args:
        customers: one row a customer of the snapshot.
        later: the months of the label window.
        spec: what counts as leaving.
        key: the customer's column.
        flag: the column of the later rows that says who left.
        activity: which of the later rows, if they are events, count as activity.
    """
    outcomes = [f"_{i}" for i in range(len(later))]
    dtype = customers.collect_schema()[key]
    silent = spec.kind in ("absence", "inactivity")
    for name, month in zip(outcomes, later, strict=True):
        if month.rows is None:
            customers = customers.with_columns(pl.lit(None, pl.Boolean).alias(name))
            continue
        there = _outcome(month.rows, spec, key, flag, activity, name)
        customers = customers.join(there, on=key, how="left")
        if silent:
            customers = customers.with_columns(pl.col(name).fill_null(True))
        if silent and month.quarantined is not None:
            unknown = month.quarantined.select(
                pl.col("customer").cast(dtype, strict=False).alias(key), pl.lit(True).alias("_unknown")
            ).unique()
            known = pl.when(pl.col("_unknown").is_null() | ~pl.col(name)).then(pl.col(name))
            customers = customers.join(unknown, on=key, how="left").with_columns(known.alias(name)).drop("_unknown")
    left = pl.all_horizontal(outcomes) if spec.kind == "inactivity" else pl.any_horizontal(outcomes)
    return customers.with_columns(left.alias(LABEL)).drop(outcomes)


def _outcome(
    rows: pl.LazyFrame, spec: LabelSpec, key: str, flag: str | None, activity: Condition | None, name: str
) -> pl.LazyFrame:
    """The customers of whom a month's rows say whether they have left, and what they say."""
    if spec.kind == "inactivity":
        active: pl.LazyFrame = active_customers([rows], key, activity or {})
        return active.select(key, pl.lit(False).alias(name))
    left = pl.lit(False) if spec.kind == "absence" or flag is None else pl.col(flag)
    return rows.select(key, left.alias(name))
