"""The sections about use: a kept customer's value, what runs by itself, where it is computed and served."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from churn_assets.spec.base import SpecModel, Text

Switch = Literal["running", "stopped"]

_SCHEMES = ("redis", "rediss", "unix", "postgresql", "postgres")


class ValueSpec(SpecModel):
    """What it is worth to contact a customer, and what may be spent on it.

    Expected value = P(leave) x save rate x monthly value x margin x lifetime_months - contact_cost - incentive.
    Both costs fall due for every customer who is contacted, also for those who would have stayed anyway.
    """

    monthly_value: str | float = Field(
        description="What a customer pays a month: a number among the features, or one amount for all."
    )
    margin: float = Field(0.5, gt=0, le=1, description="Share of it that is profit.")
    lifetime_months: float = Field(12, gt=0, description="Months that a kept customer stays.")
    save_rate: float = Field(
        0.15, gt=0, le=1, description="Share of leavers that a contact keeps. An assumption, until it is measured."
    )
    contact_cost: float = Field(10.0, ge=0, description="Cost of a contact.")
    incentive: float = Field(
        0.0, ge=0, description="What the offer costs a contact: what it costs if taken, times the share who take it."
    )
    budget: float = Field(2000.0, ge=0, description="What may be spent on contacts and incentives in a month.")
    holdout_share: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the list, drawn by lot, that isn't contacted; with 0 nothing is measured.",
    )
    min_held_out: int = Field(200, ge=1, description="Fewest held-out customers that the save rate is measured on.")
    min_leavers: int = Field(
        20, ge=5, description="Fewest leavers among the held out, and among the contacted, that it is measured on."
    )
    currency: str = "USD"

    @property
    def cost(self) -> float:
        """What one contact costs, its incentive included."""
        return self.contact_cost + self.incentive


class AutomationSpec(SpecModel):
    """What runs without a person. Everything is delivered switched off."""

    hour: int = Field(6, ge=0, le=23, description="Hour (UTC) at which a complete month is run.")
    schedule: Switch = Field("stopped", description="Runs each month once it is complete.")
    corrections: Switch = Field("stopped", description="Re-runs months whose inputs have changed.")
    freshness: Switch = Field("stopped", description="Looks every day whether a month is late.")
    incoming: Switch = Field("stopped", description="Runs the month of each file that is dropped (source: incoming).")
    check_seconds: int = Field(60, ge=10, description="Seconds between two looks for changed inputs and new files.")


class EngineSpec(SpecModel):
    """Where features are computed and XGBoost is trained: in the run's own process, or on a Spark cluster.

    The name alone stands for an engine as it comes: ``engine: spark``.
    """

    kind: Literal["polars", "spark"] = "polars"
    master: str | None = Field(
        None, description="The cluster: yarn, k8s://..., spark://host:7077, local[4]; if not given, as Spark is set up."
    )
    settings: dict[str, Text] = Field({}, description="Spark's settings, such as spark.executor.memory: 8g.")
    workers: int = Field(2, ge=1, description="Executor slots that XGBoost trains on; trees depend on their number.")
    driver_rows: int = Field(
        1_000_000, ge=100,
        description="Training rows that the driver takes, by whole customers, for the other candidates and to describe "
        "the features. The cluster trains on all of them.",
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "polars" and (given := sorted(self.model_dump(exclude_defaults=True))):
            raise ValueError(f"{', '.join(given)} is for kind spark, found kind polars.")
        if self.master and self.master.startswith("sc://"):
            raise ValueError(
                "Spark Connect can't train XGBoost. Give the cluster's own address: spark://, yarn, k8s://."
            )
        return self


class OnlineSpec(SpecModel):
    """Where the newest month's features are served from, customer by customer."""

    url: str | None = Field(
        None,
        description="redis://user:password@host:6379/0 or postgresql://user:password@host:5432/database; secrets as "
        "{{ env.NAME }}. A file of SQLite in the data folder if not given.",
        repr=False,
    )
    attempts: int = Field(5, ge=1, le=20, description="Attempts of a load while the server can't be reached.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        # What the environment gives is looked at once it is there.
        if url is None or "{{" in url:
            return url
        scheme, _, rest = url.partition("://")
        if not rest or scheme not in _SCHEMES:
            found = f"{scheme}://" if rest else "a text without ://"
            raise ValueError(f"expected {', '.join(f'{s}://' for s in _SCHEMES)}; found {found}.")
        if set("/?#[]@") & set(rest.rpartition("@")[0]):
            raise ValueError("its user or password has one of /?#[]@ in it. Write them as %2F %3F %23 %5B %5D %40.")
        return url

    @classmethod
    def _reworded(cls, error: ErrorDetails) -> InitErrorDetails:
        # Pydantic shows what it was given, and an address may hold a password.
        return {**super()._reworded(error), "input": None}
