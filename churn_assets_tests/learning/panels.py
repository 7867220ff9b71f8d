"""Data that the tests of learning share."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import narwhals as nw
import numpy as np
import polars as pl
import pytest
import yaml
from numpy.typing import NDArray

from churn_assets.features import compute
from churn_assets.sources.simulated import SimulatedSource
from churn_assets.spec import PipelineSpec
from churn_assets.spec.learning import CandidateSpec

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]

BASELINE = CandidateSpec(name="baseline", kind="logistic")
FOREST = CandidateSpec(name="forest", kind="random_forest")
XGBOOST = CandidateSpec(name="xgboost", kind="xgboost")
CANDIDATES = [BASELINE, XGBOOST]
FEATURES = ["tenure", "calls", "contract", "paperless", "usage"]

SHIPPED = Path(__file__).parents[2] / "churn_assets/defs/churn/defs.yaml"
TELCO = Path(__file__).parents[3] / "shared" / "data" / "telco.csv"


def panel(customers: int = 400, months: int = 4, seed: int = 0, base: float = -1.0) -> pl.DataFrame:
    """Months of customers, all of them in every month, with a hazard of leaving that the features explain.

    The last month is ``validate``, the one before ``calibrate``. Profiles never change.
    """
    random = np.random.default_rng(seed)
    profile = pl.DataFrame(
        {
            "customer_id": [f"c{i:05d}" for i in range(customers)],
            "tenure": random.integers(1, 72, customers),
            "calls": random.poisson(1.5, customers).astype(float),
            "contract": random.choice(["monthly", "one year", "two years"], customers, p=[0.5, 0.3, 0.2]),
            "paperless": random.random(customers) < 0.6,
            "usage": np.where(random.random(customers) < 0.1, np.nan, random.normal(10, 3, customers)),
        }
    ).with_columns(pl.col("usage").fill_nan(None))
    hazard = base - 0.5 * np.log1p(profile["tenure"].to_numpy()) + 0.5 * profile["calls"].to_numpy()
    hazard += np.where(profile["contract"].to_numpy() == "monthly", 1.0, -0.5)
    chance = 1 / (1 + np.exp(-hazard))
    parts = ["fit"] * (months - 2) + ["calibrate", "validate"]
    return pl.concat(
        [
            profile.with_columns(
                event_month=pl.lit(date(2025, m + 1, 1)), part=pl.lit(parts[m]),
                label=pl.Series(random.random(customers) < chance),
            )
            for m in range(months)
        ]
    )  # fmt: skip


def telco() -> tuple[pl.DataFrame, list[str]]:
    """IBM Telco as rows to train on, and its features; the test is skipped where the file isn't there."""
    if not TELCO.exists():
        pytest.skip(f"{TELCO} isn't there: the shared data sets lie beside the repository, not in it")
    rows = pl.read_csv(TELCO, null_values=[" ", ""]).rename({"customerID": "customer_id"})
    rows = rows.with_columns(
        pl.col("TotalCharges").cast(pl.Float64, strict=False),
        label=pl.col("Churn") == "Yes", event_month=pl.lit(date(2025, 1, 1)), part=pl.lit("fit"),
    )  # fmt: skip
    return rows, [c for c in rows.columns if c not in ("customer_id", "Churn", "label", "event_month", "part")]


def newest_month_judges(rows: pl.DataFrame) -> Masks:
    """Which rows teach, and which judge."""
    judge = (rows["event_month"] == rows["event_month"].max()).to_numpy()
    return ~judge, judge


def subscribers(customers: int, months: int, seed: int = 7) -> tuple[pl.DataFrame, PipelineSpec]:
    """Months of the simulated base with the features of the shipped pipeline, ``label`` and the true ``hazard``."""
    spec = PipelineSpec.model_validate({**yaml.safe_load(SHIPPED.read_text())["attributes"], "name": "churn"})
    start, key = spec.months.start, spec.schema_.key
    source = SimulatedSource(start, customers, seed)
    received, hazards = [], []
    for i in range(months + 1):
        received.append(pl.from_arrow(source.read(start + i).batches.read_all()))
        hazards.append(source.true_hazard(start + i))
    made = []
    for i in range(months):
        window = {lag: received[i - lag].lazy() for lag in range(min(i, spec.calendar.lookback) + 1)}
        features = compute(window, key, spec.features, keep=~nw.col("churned"), types=spec.observed).collect()
        outcome = received[i + 1].select(key, label="churned")
        month = pl.lit((start + i).first_day)
        made.append(features.join(outcome, on=key).join(hazards[i], on=key).with_columns(event_month=month))
    return pl.concat(made), spec
