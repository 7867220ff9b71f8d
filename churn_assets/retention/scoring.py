"""Scores and what they are worth: the list of customers to contact, within a budget."""

from __future__ import annotations

import polars as pl

from churn_assets.spec import ValueSpec

BANDS = {"very low": 0.02, "low": 0.05, "medium": 0.10, "high": 0.20, "very high": float("inf")}


def score(customers: pl.DataFrame, probability: pl.Series, key: str, value: ValueSpec) -> pl.DataFrame:
    """Every customer with P(leave), expected value of a contact, rank, and whether the budget reaches them.

    Args:
        customers: one row a customer, with ``key`` and, if the value names one, the attribute of the monthly value.
        probability: P(leave within the horizon), same order.

    Returns:
        ``key``, ``p_leave``, ``risk``, ``monthly_value``, ``expected_value``, ``rank`` (1 is the most valuable contact)
        and ``on_list``, sorted by rank. Equal values are ranked by the key, so that the list never depends on chance.
    """
    monthly = pl.col(value.monthly_value) if isinstance(value.monthly_value, str) else pl.lit(value.monthly_value)
    kept = value.save_rate * value.margin * value.lifetime_months
    # Rounded first, because 1 // 0.1 is 9.
    affordable = int(round(value.budget / value.contact_cost, 9)) if value.contact_cost else len(customers)
    gain = pl.col("p_leave") * kept * pl.col("monthly_value").fill_null(0)
    return (
        customers.select(pl.col(key), probability.alias("p_leave"), monthly.cast(pl.Float64).alias("monthly_value"))
        .with_columns(
            _risk(pl.col("p_leave")).alias("risk"),
            (gain - value.contact_cost).alias("expected_value"),
        )
        .sort(["expected_value", key], descending=[True, False])
        .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("rank"))
        .with_columns(((pl.col("expected_value") > 0) & (pl.col("rank") <= affordable)).alias("on_list"))
        .select(key, "p_leave", "risk", "monthly_value", "expected_value", "rank", "on_list")
    )


def _risk(probability: pl.Expr) -> pl.Expr:
    """The band of a probability; each reaches up to its limit, which belongs to the next."""
    return pl.coalesce(pl.when(probability < limit).then(pl.lit(band)) for band, limit in BANDS.items())


def summary(scored: pl.DataFrame) -> dict[str, float]:
    """The list in four figures."""
    listed = scored.filter(pl.col("on_list"))
    return {
        "customers": len(scored),
        "mean_p_leave": float(scored["p_leave"].mean() or 0.0),  # type: ignore[arg-type]
        "on_list": len(listed),
        "expected_value_of_list": float(listed["expected_value"].sum()),
    }
