"""What happens to the simulated base: named incidents, and a swing that is none."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from churn_assets.months import Month
from churn_assets.spec.base import SpecModel
from churn_assets.spec.months import MonthField


class _FromAMonth(SpecModel):
    """Begins in a month; the months before are as they would be without it."""

    month: MonthField = Field(description="First month in which it is felt; the pipeline's second at the earliest.")

    def changes(self, month: Month) -> bool:
        """Whether the rows of ``month`` may differ from those of a base without it."""
        return self.month <= month


class CompetitorShock(_FromAMonth):
    """A competitor lures customers away for a while, most easily those without a contract."""

    kind: Literal["competitor_shock"] = "competitor_shock"
    months: int = Field(1, ge=1, description="How many months it lasts.")
    strength: float = Field(1.0, gt=0, le=5, description="1 is the published shock; 2 doubles its log odds.")
    region: Literal["central", "east", "north", "south", "west"] | None = Field(
        None, description="Where the competitor strikes; everywhere if not given."
    )

    def lasts(self, month: Month) -> bool:
        """Whether the competitor strikes in ``month``."""
        return self.month <= month < self.month + self.months


class PriceRise(_FromAMonth):
    """All charges rise at once, newcomers' included, and stay there."""

    kind: Literal["price_rise"] = "price_rise"
    percent: float = Field(10, gt=0, le=100, description="By how much.")


class NewChannel(_FromAMonth):
    """A new way of acquisition brings customers of another profile: young, on fibre, without a contract, soon gone."""

    kind: Literal["new_channel"] = "new_channel"
    share: float = Field(0.08, gt=0, le=1, description="Newcomers a month through it, per customer of the first month.")
    payment_method: Literal["electronic check", "mobile wallet"] = Field(
        "electronic check", description="How they all pay; nobody ever paid by mobile wallet before."
    )


class BrokenColumn(_FromAMonth):
    """A column says something else than it did; the customers behave as ever."""

    kind: Literal["broken_column"] = "broken_column"
    column: Literal[
        "data_gb", "call_minutes", "monthly_charge", "price_change", "total_charges", "days_since_last_login"
    ] = Field("data_gb", description="The column.")
    factor: float | None = Field(
        1024, gt=0, le=100_000,
        description="What its values are multiplied by: 1024 tells GB as MB. null: all its values go missing.",
    )  # fmt: skip
    until: MonthField | None = Field(None, description="Last month in which it is broken; for good if not given.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.until is not None and self.until < self.month:
            raise ValueError(f"expected an 'until' on or after the month {self.month}, found {self.until}.")
        return self

    def changes(self, month: Month) -> bool:
        """Whether the column is broken in ``month``."""
        return self.month <= month and (self.until is None or month <= self.until)


class Seasonal(SpecModel):
    """Usage and leaving swing over the year, in all months alike: nothing really changes."""

    kind: Literal["seasonal"] = "seasonal"
    amplitude: float = Field(0.1, gt=0, lt=1, description="Usage, and the odds of leaving, swing by this share.")
    peak: int = Field(1, ge=1, le=12, description="Month of the year in which both are highest.")

    def changes(self, month: Month) -> bool:
        """Whether the rows of ``month`` may differ from those of a base without it."""
        return True


Scenario = Annotated[
    CompetitorShock | PriceRise | NewChannel | BrokenColumn | Seasonal,
    Field(discriminator="kind"),
]
