from __future__ import annotations

import re

import polars as pl

from churn_assets.assets.quality_charts import figures_over_months
from churn_assets.monitoring.figures import Figure, table


def drawn(months: int, challenger: bool = True) -> pl.DataFrame:
    figures = []
    for i in range(1, months + 1):
        month = f"2024-{i:02d}"
        figures.append(Figure("estimated_auc", month, "champion", "one", 0.8, 0.75, 0.85))
        if i < months:
            figures.append(
                Figure("realised_auc", month, "champion", "one", 0.78, 0.7, 0.86, 0.81, 0.78, 0.84, kept=True)
            )
            figures += [Figure("realised_auc", month, "challenger", "two", 0.76, 0.7, 0.82)] if challenger else []
    return table(figures)


def test_promise_estimate_and_truth_stand_side_by_side_over_the_months_of_the_predictions() -> None:
    (chart,) = figures_over_months(drawn(5))
    assert chart.title == "AUC over months"
    for name in ("champion, realised", "promised at its validation", "estimated before", "challenger in the shadow"):
        assert name in chart.svg
    assert "2024-05" in chart.svg
    # Dots: four months of each model's truth, five of the estimate, none of the promise.
    assert len(re.findall("<circle", chart.svg)) == 4 + 4 + 5


def test_what_isnt_known_is_left_out() -> None:
    (chart,) = figures_over_months(drawn(5, challenger=False))
    assert "challenger" not in chart.svg
    assert list(figures_over_months(drawn(1))) == []
    assert list(figures_over_months(table([]))) == []
