"""The list that a retention manager works through: whom to contact, in which order, why, and whom to hold out."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import polars.selectors as cs

from churn_assets.retention.scoring import ranked, within_budget
from churn_assets.retention.uplift import CONTACT, HOLD_OUT, Lot
from churn_assets.spec import ValueSpec


def retention_list(scored: pl.DataFrame, key: str, value: ValueSpec, save_rate: float, lot: Lot) -> pl.DataFrame:
    """The customers whom the budget reaches, and what is to be done with each.

    Args:
        scored: one row a customer, with ``p_leave`` and ``monthly_value``.
        key: the customer's column.
        value: what a contact costs, and a kept customer brings.
        save_rate: share of leavers that a contact keeps.
        lot: draws who is held out.

    Returns:
        ``scored`` with ``expected_value`` (of a contact, its cost taken off), ``rank`` (1 is the most valuable
        contact) and ``action``, in the order of the rank.
    """
    ranking = ranked(scored, key, value, save_rate)
    drawn = ranking.with_columns(lot.held_out(ranking[key]))
    reached = within_budget(drawn, value, pl.col("held_out"))
    action = pl.when("held_out").then(pl.lit(HOLD_OUT)).otherwise(pl.lit(CONTACT))
    return reached.with_columns(action.alias("action")).drop("held_out")


def segments(customers: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """The segment of each customer in words, such as ``contract: one-year, region: south``; (n,) strings."""
    shown = customers.select(cs.float().round_sig_figs(4), ~cs.float())
    told = [pl.format("{}: {}", pl.lit(name), pl.col(name).cast(pl.String).fill_null("missing")) for name in names]
    return shown.select(pl.concat_str(told, separator=", ").alias("segment")).to_series()


def figures(listed: pl.DataFrame, value: ValueSpec) -> dict[str, float]:
    """The list in four figures; the expected value is that of the contacts, their cost taken off."""
    contacts = listed.filter(pl.col("action") == CONTACT)
    return {
        "contacts": len(contacts),
        "held_out": len(listed) - len(contacts),
        "cost": len(contacts) * value.cost,
        "expected_value": float(contacts["expected_value"].sum()),
    }


def by_decile(listed: pl.DataFrame) -> pl.DataFrame:
    """The list by tenths of risk: contacts, held out, mean P(leave) and the expected value of the contacts."""
    contact = pl.col("action") == CONTACT
    return (
        listed.group_by("decile")
        .agg(
            contacts=contact.sum().cast(pl.Int64),
            held_out=(~contact).sum().cast(pl.Int64),
            mean_p_leave=pl.col("p_leave").mean(),
            expected_value=pl.col("expected_value").filter(contact).sum(),
        )
        .sort("decile")
    )
