"""The sections about use: the value of keeping a customer, and what runs by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from churn_assets.spec.base import SpecModel

Switch = Literal["running", "stopped"]


class ValueSpec(SpecModel):
    """What it is worth to contact a customer.

    Expected value = P(leave) x save_rate x monthly value x margin x lifetime_months - contact_cost.
    """

    monthly_value: str | float = Field(
        description="What a customer pays a month: an attribute's name, or one amount for all."
    )
    margin: float = Field(0.5, gt=0, le=1, description="Share of it that is profit.")
    lifetime_months: float = Field(12, gt=0, description="Months that a kept customer stays.")
    save_rate: float = Field(0.15, gt=0, le=1, description="Share of leavers that a contact keeps. An assumption.")
    contact_cost: float = Field(10.0, ge=0, description="Cost of a contact and its incentive.")
    budget: float = Field(2000.0, ge=0, description="What may be spent on contacts in a month.")
    currency: str = "USD"


class AutomationSpec(SpecModel):
    """What runs without a person. Everything is delivered switched off."""

    hour: int = Field(6, ge=0, le=23, description="Hour (UTC) at which a complete month is run.")
    schedule: Switch = Field("stopped", description="Runs each month once it is complete.")
    corrections: Switch = Field("stopped", description="Re-runs months whose inputs have changed.")
    freshness: Switch = Field("stopped", description="Looks every day whether a month is late.")
    incoming: Switch = Field("stopped", description="Runs the month of each file that is dropped (source: incoming).")
    check_seconds: int = Field(60, ge=10, description="Seconds between two looks for changed inputs and new files.")
