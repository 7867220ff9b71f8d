"""The section ``monitoring``: what counts as moved, and when a new model is wanted."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from churn_assets.spec.base import SpecModel


class DriftSpec(SpecModel):
    """When a feature, or the score, has moved: by more than chance does, and by more than is of any account.

    With many rows it is the bounds that decide, with few rows chance: of some forty features, a distance of .3 is told
    from about 110 customers a month on, a changed unit from ``min_rows`` on.
    """

    alpha: float = Field(
        0.01, gt=0, lt=0.5, description="Share of a month's findings that may be chance (Benjamini and Hochberg)."
    )
    max_distance: float = Field(
        0.25, gt=0, lt=1,
        description="Largest difference between two distribution functions of a number (Kolmogorov and Smirnov); .25 "
        "is a shift by two thirds of a standard deviation.",
    )  # fmt: skip
    max_association: float = Field(
        0.1, gt=0, lt=1,
        description="Largest association of a category with the time (Cramer's V); .1 is from 50% to 60%, or a new "
        "category of 2%.",
    )  # fmt: skip
    max_missing: float = Field(0.05, gt=0, lt=1, description="Largest difference between two shares of missing values.")
    min_rows: int = Field(30, ge=10, description="Fewest rows with a value, on both sides, that are compared.")


class RetrainSpec(SpecModel):
    """When a new model is wanted: what counts as a violation, and in how many months it has to show.

    A figure violates where its whole interval lies beyond the limit. What an earlier champion did, and what was
    predicted of broken data, counts for nothing.
    """

    violations: int = Field(
        2, ge=1, description="Months in which the same rule has to be violated, the month itself being one of them."
    )
    of_months: int = Field(3, ge=1, le=24, description="The newest months, this many, among which they are counted.")
    auc_margin: float = Field(
        0.03, ge=0, lt=0.5,
        description="How far the realised AUC may lie below the one that the champion was promoted with, beyond what "
        "chance explains of both. It may not lie below gates.floor either.",
    )  # fmt: skip
    max_rate_ratio: float = Field(
        1.5, gt=1, le=100,
        description="How many times as many, or as few, may leave as were predicted, beyond what chance explains. The "
        "calibration error has its limit in gates.",
    )  # fmt: skip
    max_jump: float = Field(
        1.3, gt=1, le=100,
        description="How many times as large that ratio may be as in the month before, beyond what chance explains. "
        "Told in the month, as of a shock; by itself it is no reason to train.",
    )  # fmt: skip
    drift_share: float = Field(
        0.3, gt=0, le=1, description="Share of the champion's importance that features which have moved may carry."
    )
    max_age: int = Field(0, ge=0, le=120, description="Months after which a champion is too old; 0: never.")
    cool_down: int = Field(
        3, ge=0, le=24, description="Months without an order after one; in any case until its effect can be seen."
    )
    max_scale: float = Field(
        10, gt=1,
        description="A column whose values are so many times as large or as small as those that the champion learned "
        "from is taken for broken: the source is to be mended, and no model trained.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _can_happen(self) -> Self:
        if self.violations > self.of_months:
            raise ValueError(f"expected {self.of_months} at the most (of_months), found {self.violations} violations.")
        return self


class MonitoringSpec(SpecModel):
    """What is watched, and how much of it is allowed."""

    drift: DriftSpec = DriftSpec()
    retrain: RetrainSpec = RetrainSpec()
