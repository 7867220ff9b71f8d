"""The section ``months``, and how a month stands in a specification."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from churn_assets.months import Month
from churn_assets.spec.base import SpecModel

MonthField = Annotated[
    Month,
    BeforeValidator(lambda value: Month.parse(value)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$", "examples": ["2025-06"]}),
]


class MonthsSpec(SpecModel):
    """The pipeline's months."""

    start: MonthField = Field(description="First month there is data for, YYYY-MM.")
    end: MonthField | None = Field(None, description="Last month; none while the pipeline goes on.")
    lag_days: int = Field(2, ge=0, le=27, description="Days after a month's end until its data is complete.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"expected an end on or after the start {self.start}, found {self.end}.")
        return self
