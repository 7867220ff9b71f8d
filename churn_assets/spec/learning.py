"""The sections about learning: training, candidates and gates."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from churn_assets.spec.base import SpecModel


class TrainingSpec(SpecModel):
    """Which months a model learns from."""

    months: int = Field(12, ge=1, le=120, description="Snapshots to train on at the most, newest first.")
    split: Literal["out_of_time", "holdout"] = Field(
        "out_of_time", description="holdout divides the customers of one month, for data without history."
    )
    holdout_share: float = Field(0.25, gt=0, lt=1, description="Share of customers that a holdout keeps back.")
    seed: int = Field(0, ge=0, description="Seed of everything random in training.")


class CandidateSpec(SpecModel):
    """A model that is trained every month; the best one challenges the champion."""

    name: str = Field(min_length=1)
    kind: Literal["logistic", "xgboost"]
    params: dict[str, Any] = Field({}, description="Parameters of the library's own estimator.")


class GatesSpec(SpecModel):
    """What a challenger must show before it may score customers."""

    metric: Literal["auc"] = "auc"
    floor: float = Field(0.6, ge=0, le=1, description="Smallest value of the metric on the validation rows.")
    margin: float = Field(0.02, ge=0, description="How much worse than the champion may not be ruled out.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of every interval.")
    max_calibration_error: float = Field(0.05, gt=0, le=1, description="Largest expected calibration error.")
    min_rows: int = Field(200, ge=1, description="Fewest validation rows that count as evidence.")
    min_positives: int = Field(20, ge=1, description="Fewest churners among them.")
