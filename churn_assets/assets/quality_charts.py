"""Charts of the quality of predictions over months: what was promised, what was estimated, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from churn_assets.assets.charts import Chart, Line, month_chart
from churn_assets.monitoring.figures import CHALLENGER, CHAMPION

CHARTED = {
    "auc": ("AUC over months", "AUC"),
    "top_decile_lift": ("Lift over months", "lift in the top tenth"),
    "calibration_error": ("Calibration error over months", "calibration error"),
}
"""Figure -> title of its chart, and what its axis measures."""

_LINES = (
    ("realised", CHAMPION, "value", "champion, realised", 0.0),
    ("realised", CHAMPION, "promised", "promised at its validation", 0.0),
    ("realised", CHALLENGER, "value", "challenger in the shadow, realised", 0.12),
    ("estimated", CHAMPION, "value", "estimated before", -0.12),
)
"""Of which rows a line is made, of which column, its name, and by how much of a month it stands aside."""


def figures_over_months(rows: pl.DataFrame) -> Iterator[Chart]:
    """A chart of each figure that is known of two months at least.

    Args:
        rows: figures of several months, as monitoring keeps them.
    """
    for name, (title, axis) in CHARTED.items():
        known = rows.filter(pl.col("metric").is_in([f"realised_{name}", f"estimated_{name}"]))
        months = known["subject"].unique().sort().to_list()
        if len(months) > 1:
            lines = [line for made_of in _LINES if (line := _line(known, name, months, *made_of))]
            yield month_chart(title, months, lines, axis)


def _line(
    rows: pl.DataFrame, name: str, months: list[str], kind: str, role: str, column: str, label: str, aside: float
) -> Line | None:
    """A line of the months that have the figure; None if none has."""
    own = rows.filter(pl.col("metric") == f"{kind}_{name}", pl.col("role") == role, pl.col(column).is_not_null())
    own = own.sort("subject").unique("subject", keep="last", maintain_order=True)
    if own.is_empty():
        return None
    at, measured = [months.index(month) + aside for month in own["subject"]], column == "value"
    low, high = (own[end].to_list() if measured else () for end in ("lower", "upper"))
    return Line(label, at, own[column].to_list(), low, high, dots=measured)
