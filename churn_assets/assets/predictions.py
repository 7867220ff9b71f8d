"""predictions: P(leave) of every active customer, by the champion as of the month."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.assets.stage import Also, Beside, Check, CheckPlan, Made, Stage, Work
from churn_assets.features.lineage import of_predictions
from churn_assets.learning.training import TrainedModel, load
from churn_assets.pipeline import Pipeline
from churn_assets.retention.export import to_csv, to_parquet
from churn_assets.retention.scoring import score
from churn_assets.store.lake import MonthRecord, replace_file

SHADOW = "shadow_predictions"


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    champion = pipeline.champion("predictions", work.month)
    scanned = pipeline.lake.scan_month(pipeline.window("predictions", work.month, "features"), work.month)
    if champion is None or scanned is None:
        reason = "No champion yet: no model has passed its gates." if champion is None else "There are no customers."
        checks = tuple(Check(c.name, True, reason) for c in STAGE.checks)
        return Made(None, reason, checks, also={SHADOW: Also(None, reason)})
    model, there = load(pipeline.models.artefact(champion)), _still_there(work, scanned)
    customers, probability = _probability(model, there, pipeline.key)
    rows = score(customers, probability).with_columns(pl.lit(champion).alias("model_id"))
    mean = _mean(probability)
    promised = pipeline.models.facts(champion)["validation"]["rate"]
    return Made(
        rows=rows,
        checks=(_probabilities(rows, len(customers), pipeline.key), _level(mean, promised)),
        metadata={
            "champion": champion,
            "mean P(leave)": mean,
            "customers by risk": _by_risk(rows),
        },
        lineage=of_predictions(pipeline.spec, model.features),
        also={SHADOW: _shadow(work, there)},
        effect=lambda: _export(rows, pipeline.exports / str(work.month)),
    )


def _probability(model: TrainedModel, there: pl.LazyFrame, key: str) -> tuple[pl.Series, pl.Series]:
    """The customers who are ``there``, and what a model says of each."""
    columns = there.collect_schema()
    rows = there.select(key, *(name for name in model.features if name in columns)).collect()
    return rows[key], pl.Series("p_leave", model.predict(rows))


def _shadow(work: Work, there: pl.LazyFrame) -> Also:
    """What the last challenger says of the same customers; why it says nothing, if it doesn't."""
    pipeline, made = work.pipeline, work.pipeline.challenger(work.month)
    if made is None:
        return Also(None, "There is no other model than the champion yet.")
    challenger = str(made.facts["model_id"])
    try:
        customers, probability = _probability(load(pipeline.models.artefact(challenger)), there, pipeline.key)
    except Exception as error:  # Whatever a model does that nobody relies on, customers get their scores.
        work.log.warning(f"The challenger {challenger} scored nobody: {error}")
        return Also(None, f"The challenger {challenger} scored nobody: {error}", {"model_id": challenger})
    rows = pl.DataFrame([customers, probability]).with_columns(pl.lit(challenger).alias("model_id"))
    return Also(
        rows.sort(pipeline.key),
        facts={"model_id": challenger},
        metadata={"challenger": challenger, "mean P(leave)": _mean(probability)},
    )


def _mean(probability: pl.Series) -> float:
    return float(probability.mean() or 0)  # type: ignore[arg-type]


def _by_risk(rows: pl.DataFrame) -> pl.DataFrame:
    by_risk = rows.group_by("risk").agg(customers=pl.len(), mean_p_leave=pl.col("p_leave").mean())
    return by_risk.sort("mean_p_leave", descending=True)


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
    """Puts the scores where other systems find them."""
    replace_file(folder / "predictions.csv", to_csv(rows))
    replace_file(folder / "predictions.parquet", to_parquet(rows))
    return {"all scores": folder / "predictions.parquet"}


def _exports_are_there(pipeline: Pipeline, record: MonthRecord) -> bool:
    names = ("predictions.csv", "predictions.parquet")
    return record.status == "empty" or all((pipeline.exports / record.month / name).exists() for name in names)


STAGE = Stage(
    name="predictions",
    description="P(leave) of every customer active at the month's end, by the champion as of the month. Exported as "
    "CSV and Parquet.",
    kinds=frozenset({"deltalake", "csv", "parquet"}),
    after=("model", "features"),
    checks=(
        CheckPlan("probabilities", "Every active customer has one score, and it lies in [0, 1].", blocking=True),
        CheckPlan("level_plausible", "The mean prediction is near the rate the champion was validated on."),
    ),
    sections=("features",),
    modules=("retention/scoring.py", "retention/export.py", "learning/training.py"),
    make=_make,
    about={
        "p_leave": "Probability that the customer leaves within the horizon, as the model has it.",
        "risk": "The probability in words.",
        "decile": "1 is the tenth of the customers most at risk.",
        "model_id": "The model that scored the customer: the champion, or in the shadow the last challenger.",
    },
    beside=(
        Beside(
            SHADOW,
            "What the last challenger says of the same customers: put down for the day on which the outcome is known, "
            "and used for nothing else.",
        ),
    ),
    intact=_exports_are_there,
)
