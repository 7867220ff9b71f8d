"""What probabilities are worth: bands and tenths of risk, and whom a budget reaches in the order of their value."""

from __future__ import annotations

import polars as pl

from churn_assets.spec import ValueSpec

BANDS = {"very low": 0.02, "low": 0.05, "medium": 0.10, "high": 0.20, "very high": float("inf")}


def score(customers: pl.Series, probability: pl.Series) -> pl.DataFrame:
    """Every customer with P(leave), its band and its tenth.

    Args:
        customers: (n,) keys, each once.
        probability: (n,) P(leave within the horizon), same order.

    Returns:
        The key, ``p_leave``, ``risk`` and ``decile`` (1 is the tenth most at risk), sorted by risk; equal risks by
        the key, so that nothing depends on the order of the rows.
    """
    decile = (pl.int_range(pl.len()) * 10 // pl.len() + 1).cast(pl.Int8)
    return (
        pl.DataFrame([customers, probability.alias("p_leave")])
        .with_columns(_risk(pl.col("p_leave")).alias("risk"))
        .sort("p_leave", customers.name, descending=[True, False])
        .with_columns(decile.alias("decile"))
    )


def _risk(probability: pl.Expr) -> pl.Expr:
    """The band of a probability; each reaches up to its limit, which belongs to the next."""
    return pl.coalesce(pl.when(probability < limit).then(pl.lit(band)) for band, limit in BANDS.items())


def monthly_value(value: ValueSpec) -> pl.Expr:
    """What a customer pays a month, of rows that have the features; nothing where it isn't known."""
    given = value.monthly_value
    amount = pl.col(given) if isinstance(given, str) else pl.lit(given)
    return amount.cast(pl.Float64).fill_nan(None).fill_null(0).alias("monthly_value")


def kept_value(value: ValueSpec) -> pl.Expr:
    """What a customer brings who is kept, of rows with ``monthly_value``."""
    return pl.col("monthly_value") * value.margin * value.lifetime_months


def ranked(rows: pl.DataFrame, key: str, value: ValueSpec, save_rate: float | None = None) -> pl.DataFrame:
    """``rows`` with ``expected_value`` and ``rank``, the most valuable contact first.

    Args:
        rows: one a customer, with ``p_leave`` and ``monthly_value``.
        key: the customer's column; it ranks equal values, so that nothing depends on the order of the rows.
        value: what a contact costs and a kept customer brings.
        save_rate: share of leavers that a contact keeps; the assumption of ``value`` if not given.
    """
    kept = value.save_rate if save_rate is None else save_rate
    gain = pl.col("p_leave") * kept * kept_value(value)
    return (
        # Rounded, because the last digits of a float neither make a gain nor break a tie.
        rows.with_columns((gain - value.cost).round(9).alias("expected_value"))
        .sort("expected_value", key, descending=[True, False])
        .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank"))
    )


def within_budget(ranking: pl.DataFrame, value: ValueSpec, held_out: pl.Expr | None = None) -> pl.DataFrame:
    """The customers of a ranking who bring more than they cost, as far down as the budget pays for contacts.

    Args:
        ranking: rows in the order of their ``expected_value``.
        value: budget and cost of a contact.
        held_out: which rows are reached without being contacted, and so cost nothing; none if not given.

    Whether a customer is reached depends on those above alone, never on being held out: the two groups stay alike.
    """
    gainful, most = ranking.filter(pl.col("expected_value") > 0), affordable(value)
    if most is None:
        return gainful
    above = pl.int_range(pl.len()) if held_out is None else (~held_out).cum_sum().shift(1, fill_value=0)
    return gainful.filter(above < most)


def affordable(value: ValueSpec) -> int | None:
    """How many contacts the budget pays for; None if they cost nothing."""
    # Rounded first, because 1 // 0.1 is 9.
    return int(round(value.budget / value.cost, 9)) if value.cost else None
