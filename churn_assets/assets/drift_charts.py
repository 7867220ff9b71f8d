"""The picture of drift: features and the score over the months."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.charts import Chart, heat_chart
from churn_assets.monitoring.drift import MOVED, SCORE, STABLE

SHOWN_MONTHS, SHOWN_FEATURES = 24, 40

BOUNDS = (STABLE / 2, STABLE, MOVED, 1.0)


def drift_chart(rows: pl.DataFrame, against: str) -> Chart:
    """How far features have moved over the months, as a heat-map of their stability indices.

    The score stands on top, below it the features that had the largest index in any month.

    Args:
        rows: the tables of several months' ``Drift``, with their ``month``.
        against: which of the comparisons is shown.
    """
    shown = rows.filter(against=against).with_columns(pl.col("month").cast(pl.String).str.head(len("2025-01")))
    months = shown["month"].unique().sort().tail(SHOWN_MONTHS).to_list()
    shown = shown.filter(pl.col("month").is_in(months))
    largest = shown.group_by("subject").agg(pl.col("psi").max()).sort("psi", "subject", descending=[True, False])
    features = [name for name in largest["subject"] if name != SCORE]
    return heat_chart(
        f"Drift against the {against}, by stability index (PSI)",
        [*([SCORE] if len(features) < len(largest) else []), *features[:SHOWN_FEATURES]],
        months,
        {(name, month): psi for name, month, psi in shown.select("subject", "month", "psi").iter_rows()},
        BOUNDS,
        set(shown.filter("moved").select("subject", "month").iter_rows()),
        "has moved",
    )
