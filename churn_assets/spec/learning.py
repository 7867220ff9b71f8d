"""The sections about learning: training, candidates, evaluation and gates."""

from __future__ import annotations

import json
from math import isfinite
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from churn_assets.errors import LearningError
from churn_assets.months import Month
from churn_assets.spec.base import SpecModel
from churn_assets.spec.months import MonthField


class TrainingSpec(SpecModel):
    """When a model is trained, and which months it learns from."""

    every: int = Field(
        1, ge=1, le=24, description="A model is trained in the pipeline's first month and every so many-th after it, "
        "where one is ordered, and while there is no champion.",
    )  # fmt: skip
    months: int = Field(12, ge=1, le=120, description="Snapshots to train on at the most, newest first.")
    split: Literal["out_of_time", "holdout"] = Field(
        "out_of_time", description="holdout divides the customers of one month, for data without history."
    )
    holdout_share: float = Field(0.25, gt=0, lt=1, description="Share of customers that a holdout keeps back.")
    seed: int = Field(0, ge=0, description="Seed of everything random in training.")


class RangeSpec(SpecModel):
    """Numbers from ``low`` to ``high``, both included; whole ones if both are whole."""

    low: float | int
    high: float | int
    log: bool = Field(False, description="Small values are tried as often as large ones.")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not (isfinite(self.high) and self.low <= self.high) or (self.log and self.low <= 0):
            raise ValueError(
                f"expected low <= high, and above 0 where log is set; found {self.low:g} to {self.high:g}."
            )
        return self


def _recordable(choices: list[Any]) -> list[Any]:
    for choice in choices:
        # What a search chose is recorded as JSON, and must come back as it was.
        if json.loads(json.dumps(choice, default=str)) != choice:
            raise ValueError(f"expected numbers, texts, truth values or lists of them, found {choice!r}.")
    return choices


SearchSpec = Annotated[
    Annotated[RangeSpec, Tag("range")]
    | Annotated[list[Any], Field(min_length=1), AfterValidator(_recordable), Tag("choices")],
    Discriminator(lambda given: "choices" if isinstance(given, list | tuple) else "range"),
]
"""Where one parameter is searched: a range, or a list of choices."""


class TuningSpec(SpecModel):
    """A search for better parameters, on months inside the training window alone."""

    trials: int = Field(30, ge=1, le=10_000, description="Sets of parameters to try.")
    timeout: float | None = Field(None, gt=0, description="Seconds after which no further one is begun.")
    space: dict[str, SearchSpec] = Field(
        {}, description="Parameter -> range, or list of choices; the kind's own space if not given."
    )
    only_ordered: bool = Field(
        False, description="Searches only where a training was ordered with tuning: churn retrain --tuning."
    )


class CandidateSpec(SpecModel):
    """A model that is trained every month; the best one challenges the champion."""

    name: str = Field(min_length=1)
    kind: Literal["logistic", "random_forest", "xgboost", "estimator"]
    path: str | None = Field(
        None, description="kind estimator: a class in scikit-learn's manner, such as lightgbm.LGBMClassifier."
    )
    params: dict[str, Any] = Field({}, description="Parameters of the library's own estimator.")
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        {}, description="kind xgboost: feature -> how P(leave) may change as it grows."
    )
    early_stopping: int = Field(
        30, ge=0, description="kind xgboost: rounds without gain on a month inside the training window; 0 turns it off."
    )
    tuning: TuningSpec | None = Field(None, description="Searches for parameters before each training.")

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "champion":
            raise ValueError("'champion' stands for the model that scores customers. Choose another name.")
        return name

    @field_validator("path")
    @classmethod
    def _dotted(cls, path: str | None) -> str | None:
        if path is not None and (path.count(".") < 1 or not all(p.isidentifier() for p in path.split("."))):
            raise ValueError(f"expected package.module.Class, found {path!r}.")
        return path

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "estimator") != (self.path is not None):
            raise ValueError(f"path is for kind estimator, which needs one; found kind {self.kind}.")
        given = {"early_stopping", "monotone"} & self.model_dump(exclude_defaults=True).keys()
        if self.kind != "xgboost" and given:
            raise ValueError(f"{', '.join(sorted(given))} is for kind xgboost, found kind {self.kind}.")
        return self

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        space = self.tuning.space if self.tuning else {}
        if self.tuning and self.kind == "estimator" and not space:
            raise ValueError(
                "kind estimator has no space of its own: expected tuning.space, such as {max_depth: {low: 2, high: 8}}."
            )
        if space:
            from churn_assets.learning.candidates import effective_params

            try:
                effective_params(self.model_copy(update={"params": {**self.params, **dict.fromkeys(space)}}), seed=0)
            except LearningError as error:
                raise ValueError(f"tuning.space: {error}") from error
        return self


class EvaluationSpec(SpecModel):
    """What the validation month is looked at for, beside the whole."""

    segments: list[str] = Field([], description="Features by whose values the validation customers are divided.")
    min_rows: int = Field(100, ge=10, description="Fewest customers of a segment that is judged.")
    max_gap: float = Field(0.05, gt=0, lt=1, description="How far a segment's AUC may lie below the overall one.")


class GatesSpec(SpecModel):
    """What a challenger must show before it may score customers."""

    metric: Literal["auc", "profit"] = Field("auc", description="What a challenger and a champion are compared in.")
    floor: float = Field(0.6, ge=0, le=1, description="Smallest AUC on the validation rows.")
    margin: float = Field(
        0.02, ge=0, description="How much worse than the champion may not be ruled out; of profit, as a share of it."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of every interval.")
    max_calibration_error: float = Field(0.05, gt=0, le=1, description="Largest expected calibration error.")
    min_lift: float = Field(1.0, ge=0, description="Smallest lift in the top tenth.")
    min_rows: int = Field(200, ge=1, description="Fewest validation rows that count as evidence.")
    min_positives: int = Field(20, ge=1, description="Fewest churners among them.")
    approval: Literal["auto", "person"] = Field(
        "auto", description="person: a challenger that passes every gate waits until somebody promotes or rejects it."
    )
    approval_from: MonthField | None = Field(
        None, description="First month in which it waits; the gates alone decide the months before."
    )

    @model_validator(mode="after")
    def _approval(self) -> Self:
        if self.approval_from and self.approval == "auto":
            raise ValueError(f"approval_from is for approval: person, found {self.approval}.")
        return self

    def waits(self, month: Month) -> bool:
        """Whether a person decides on the challenger of ``month`` that passes every gate."""
        return self.approval == "person" and (self.approval_from is None or month >= self.approval_from)
