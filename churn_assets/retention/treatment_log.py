"""What was done with the customers of a list, as people tell it in a sheet."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.retention.uplift import HOLD_OUT
from churn_assets.spec import ColumnSpec, SchemaSpec
from churn_assets.spec.data import ColumnType

TOLD = {"treated": pl.Boolean, "date": pl.Date, "cost": pl.Float64, "outcome": pl.String, "note": pl.String}
"""What a sheet tells of each customer."""

_SHOWN = 5


def sheet_schema(key: str, kind: ColumnType) -> SchemaSpec:
    """What a sheet must be: the customer and ``treated``, yes or no; the rest may be missing."""
    return SchemaSpec(
        key=key,
        max_error_rate=0,
        columns=[
            ColumnSpec(name=key, type=kind),
            ColumnSpec(name="treated", type="boolean", nullable=True),
            ColumnSpec(name="date", type="date", format="%Y-%m-%d", nullable=True, optional=True),
            ColumnSpec(name="cost", type="number", min=0, nullable=True, optional=True),
            ColumnSpec(name="outcome", type="string", nullable=True, optional=True),
            ColumnSpec(name="note", type="string", nullable=True, optional=True),
        ],
    )


def template(listed: pl.DataFrame, key: str) -> pl.DataFrame:
    """The sheet of a list: its customers, what is to be done with them and why, and columns to be filled in."""
    reasons = [name for name in listed.columns if name.startswith("reason_")]
    empty = [pl.lit(None, dtype).alias(name) for name, dtype in TOLD.items()]
    return listed.sort("rank").select(key, "rank", "action", *reasons, *empty)


def logged(told: pl.DataFrame, listed: pl.DataFrame, scored: pl.Series, key: str) -> pl.DataFrame:
    """What a sheet tells of a list, one row a customer of the list.

    Args:
        told: the sheet's rows: the key and the columns of ``TOLD``.
        listed: the list, with ``action``.
        scored: all customers whom the list was chosen from.
        key: the customer's column.

    Returns:
        The key, ``action`` as the list had it, and the columns of ``TOLD``, sorted by the key; ``treated`` is null of
        whom nothing is told.

    Raises:
        QualityError: the sheet has customers who aren't on the list, or tells of nobody.
    """
    others = told.join(listed, on=key, how="anti")[key]
    if len(others):
        unknown = others.filter(~others.is_in(scored.implode()))
        known = others.filter(others.is_in(scored.implode()))
        raise QualityError(
            f"expected customers of the list, found {len(others):,} others: "
            + "; ".join(
                f"{len(some):,} {what} ({_named(some)})"
                for some, what in ((known, "who aren't on it"), (unknown, "whom the month doesn't know"))
                if len(some)
            )
            + ". Take them out, or choose the month whose list they were on; nothing was taken in."
        )
    if not told["treated"].count():
        raise QualityError("treated: expected yes or no for at least one customer, found none. Fill the column in.")
    return listed.select(key, "action").join(told.select(key, *TOLD), on=key, how="left").sort(key)


def counted(log: pl.DataFrame) -> pl.DataFrame:
    """A log by action, those to contact first.

    Args:
        log: rows with ``action``, ``treated`` and ``left``, which is null where it isn't known.

    Returns:
        ``action``, ``customers``, ``treated``, ``untreated``, ``untold``, ``known`` (of how many it is known whether
        they left) and ``left``, null if it is known of none.
    """
    treated, left = pl.col("treated"), pl.col("left")
    return (
        log.group_by("action")
        .agg(
            customers=pl.len(), treated=treated.sum(), untreated=(~treated).sum(), untold=treated.is_null().sum(),
            known=left.count(), left=pl.when(left.count() > 0).then(left.sum()),
        )
        .sort("action")
    )  # fmt: skip


def outcomes(log: pl.DataFrame) -> pl.DataFrame:
    """How often each outcome was told: ``outcome, customers``, the most frequent first."""
    told = log.filter(pl.col("outcome").is_not_null()).group_by("outcome").agg(customers=pl.len())
    return told.sort("customers", "outcome", descending=[True, False])


def contaminated(log: pl.DataFrame) -> int:
    """How many were to be held out, and were contacted all the same."""
    return log.filter((pl.col("action") == HOLD_OUT) & pl.col("treated")).height


def _named(customers: Sequence[object] | pl.Series) -> str:
    return ", ".join(map(str, customers[:_SHOWN])) + (", ..." if len(customers) > _SHOWN else "")
