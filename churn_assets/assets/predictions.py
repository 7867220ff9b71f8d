"""predictions: P(leave) of every active customer, and the list of those worth contacting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.features.lineage import of_predictions
from churn_assets.learning.explanation import reasons
from churn_assets.learning.training import load
from churn_assets.pipeline import Pipeline
from churn_assets.retention import score, summary
from churn_assets.store.lake import MonthRecord, replace_file


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    champion = pipeline.champion("predictions", work.month)
    scanned = pipeline.lake.scan_month(pipeline.window("predictions", work.month, "features"), work.month)
    if champion is None or scanned is None:
        reason = "No champion yet: no model has passed its gates." if champion is None else "There are no customers."
        return Made(None, reason, tuple(Check(c.name, True, reason) for c in STAGE.checks))
    customers = _still_there(work, scanned.drop("month")).collect()
    model = load(pipeline.models.artefact(champion))
    probability = pl.Series("p_leave", model.predict(customers))
    rows = score(customers, probability, pipeline.key, pipeline.spec.value)
    on_list = rows.filter(pl.col("on_list")).select(pipeline.key)
    listed = on_list.join(customers, on=pipeline.key, how="left", maintain_order="left")
    why = pl.concat([on_list, reasons(model, listed)], how="horizontal")
    rows = rows.join(why, on=pipeline.key, how="left", maintain_order="left").with_columns(
        pl.lit(champion).alias("model_id")
    )
    figures = summary(rows)
    promised = pipeline.models.facts(champion)["validation"]["rate"]
    return Made(
        rows=rows,
        checks=(_probabilities(rows, len(customers), pipeline.key), _level(figures["mean_p_leave"], promised)),
        metadata={
            "champion": champion,
            "customers on the list": int(figures["on_list"]),
            "expected value of the list": round(figures["expected_value_of_list"], 2),
            "mean P(leave)": figures["mean_p_leave"],
            "top of the list": rows.head(10).select(pipeline.key, "p_leave", "expected_value", "reason_1", "reason_2"),
        },
        lineage=of_predictions(pipeline.spec, model.features),
        effect=lambda: _export(rows, pipeline.exports / str(work.month)),
    )


def _still_there(work: Work, customers: pl.LazyFrame) -> pl.LazyFrame:
    """``customers`` without those who have left within the snapshot: nobody can be kept who is gone."""
    pipeline, flag = work.pipeline, work.pipeline.spec.schema_.churned
    window = pipeline.window("predictions", work.month, "validated_data")
    snapshot = pipeline.lake.scan_month(window, work.month) if window.months else None
    if snapshot is None or flag is None:
        return customers
    return customers.join(snapshot.filter(pl.col(flag)).select(pipeline.key), on=pipeline.key, how="anti")


def _probabilities(rows: pl.DataFrame, customers: int, key: str) -> Check:
    p = rows["p_leave"]
    wrong = int((~p.is_between(0, 1) | p.is_null() | p.is_nan()).sum())
    distinct = rows[key].n_unique()
    return Check(
        "probabilities",
        wrong == 0 and distinct == len(rows) == customers,
        f"{distinct:,} of {customers:,} customers have one score each; {wrong} lie outside 0 to 1.",
    )


def _level(mean: float, rate: float) -> Check:
    passed = rate / 3 <= mean <= rate * 3
    return Check("level_plausible", passed,
                 f"On average {mean:.2%} are predicted to leave; {rate:.2%} left in the champion's validation month.",
                 warn=True, figures={"mean P(leave)": mean, "validation rate": rate})  # fmt: skip


def _export(rows: pl.DataFrame, folder: Path) -> dict[str, Any]:
    """Puts the scores and the list where other systems and people find them."""
    listed = rows.filter(pl.col("on_list")).drop("on_list")
    for name, frame in (("predictions", rows), ("contact_list", listed)):
        replace_file(folder / f"{name}.csv", frame.write_csv().encode())
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / ".predictions.parquet.part"
    rows.write_parquet(draft)
    draft.replace(folder / "predictions.parquet")
    return {"contact list": folder / "contact_list.csv", "all scores": folder / "predictions.parquet"}


def _exports_are_there(pipeline: Pipeline, record: MonthRecord) -> bool:
    names = ("predictions.csv", "predictions.parquet", "contact_list.csv")
    return record.status == "empty" or all((pipeline.exports / record.month / name).exists() for name in names)


STAGE = Stage(
    name="predictions",
    description="P(leave) of every customer active at the month's end, by the champion as of the month, ranked by the "
    "expected value of a contact; the budget cuts the list. Exported as CSV and Parquet.",
    kinds=frozenset({"deltalake", "csv", "parquet"}),
    after=("model", "features"),
    checks=(
        CheckPlan("probabilities", "Every active customer has one score, and it lies in [0, 1].", blocking=True),
        CheckPlan("level_plausible", "The mean prediction is near the rate the champion was validated on."),
    ),
    sections=("value", "features"),
    modules=("retention", "learning/explanation.py", "learning/training.py"),
    make=_make,
    about={
        "p_leave": "Probability that the customer leaves within the horizon, by the champion.",
        "risk": "The probability in words.",
        "monthly_value": "What the customer pays a month.",
        "expected_value": "What a contact is expected to bring, its cost taken off.",
        "rank": "1 is the most valuable contact.",
        "on_list": "Whether the budget reaches the customer.",
        **{f"reason_{k}": "A feature that raises the probability, with its value." for k in (1, 2, 3)},
        "model_id": "The champion that scored the customer.",
    },
    intact=_exports_are_there,
)
