"""Drift: what has moved, against what the champion learned from and against the month before."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from churn_assets.assets.drift_charts import drift_chart
from churn_assets.monitoring.drift import MONTH_BEFORE, SCORE, TRAINING
from churn_assets.monitoring.report import Picture, Section, Table
from churn_assets.reporting.recorded import Recorded
from churn_assets.reporting.wording import counted, month_name, number

SHOWN, CHARTED = 12, 15
AGAINST = {TRAINING: "what the champion learned from", MONTH_BEFORE: "the month before"}


def section(of: Recorded) -> Section:
    """How far the month's customers differ from those that the model knows."""
    return Section("drift", "Drift", _lead(of), tuple(_blocks(of)))


def concern(of: Recorded) -> str:
    """What has moved against the training data, in a sentence; empty if nothing has."""
    moved = _moved(of, TRAINING)
    if moved is None or not len(moved):
        return ""
    names = moved["subject"].to_list()
    return f"{counted(len(names), 'value has', 'values have')} moved away from {AGAINST[TRAINING]}: {_some(names)}."


def _lead(of: Recorded) -> str:
    if of.watched is None:
        return "Monitoring hasn't seen the month."
    moved = _moved(of, TRAINING)
    if moved is None:
        return "There is nothing to compare with yet: no champion scores the month's customers."
    compared = of.drift.filter(against=TRAINING)  # type: ignore[union-attr]
    if moved.is_empty():
        return (
            f"None of {counted(len(compared), 'value')} has moved away from {AGAINST[TRAINING]}: the customers are "
            "like those that the model knows."
        )
    return f"{len(moved)} of {counted(len(compared), 'value')} {_have(len(moved))} moved away from {AGAINST[TRAINING]}."


def _blocks(of: Recorded) -> Iterator[str | Table | Picture]:
    for against, named in AGAINST.items():
        moved = _moved(of, against)
        if moved is None:
            continue
        if moved.is_empty() and against != TRAINING:
            yield f"Against {named}, nothing has moved."
        elif len(moved):
            yield _table(of, moved, f"What has moved against {named}")
    if of.drift is not None:
        yield from _largest(of.drift)
    yield from _over_months(of)


def _moved(of: Recorded, against: str) -> pl.DataFrame | None:
    """The findings that have moved; None if nothing was compared."""
    if of.drift is None:
        return None
    compared = of.drift.filter(against=against)
    return compared.filter("moved").sort("psi", "subject", descending=[True, False]) if len(compared) else None


def _table(of: Recorded, moved: pl.DataFrame, caption: str) -> Table:
    meanings = {**of.pipeline.spec.feature_descriptions, SCORE: "the champion's probability of leaving"}
    shown = moved.head(SHOWN).select(
        pl.col("subject").alias("value"),
        pl.col("subject").replace_strict(meanings, default="").alias("what it is"),
        pl.col("why").str.strip_prefix(pl.col("subject") + ": ").alias("what has changed"),
        _psi(),
    )
    more = f"; {len(moved) - SHOWN} more aren't shown" if len(moved) > SHOWN else ""
    return Table(caption + more, shown, texts=("value", "what it is", "what has changed"))


def _largest(found: pl.DataFrame) -> Iterator[Table]:
    still = found.filter(pl.col("against") == TRAINING, ~pl.col("moved")).sort(
        "psi", "subject", descending=[True, False]
    )
    if len(still):
        shown = still.head(5).select(pl.col("subject").alias("value"), _psi())
        yield Table("The largest changes among what has not moved", shown, texts=("value",))


def _over_months(of: Recorded) -> Iterator[Picture]:
    """The heat-map of the months up to this one."""
    found = [w.drift.with_columns(month=pl.lit(str(w.month))) for w in of.year if w.drift is not None]
    if len(found) < 2:
        return
    rows = pl.concat(found).filter(against=TRAINING)
    far = rows.group_by("subject").agg(pl.col("psi").max()).sort("psi", "subject", descending=[True, False])
    chart = drift_chart(rows.join(far.head(CHARTED), on="subject", how="semi", maintain_order="left"), TRAINING)
    moved = ", ".join(f"{counted(n, 'value')} in {month_name(month)}" for month, n in _moved_by_month(found) if n)
    said = f"What has moved: {moved}." if moved else "Nothing has moved in any of the months."
    yield Picture(chart.svg, f"{chart.title}: a cell for each value and month, darker the further it has moved. {said}")


def _moved_by_month(found: list[pl.DataFrame]) -> list[tuple[str, int]]:
    return [(str(f["month"][0]), int(f.filter(against=TRAINING)["moved"].sum())) for f in found]


def _psi() -> pl.Expr:
    return pl.col("psi").map_elements(lambda value: number(value, 2), pl.String).alias("PSI")


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _have(many: int) -> str:
    return "has" if many == 1 else "have"
