"""The sections about use: a kept customer's value, what runs by itself, where it is computed and served."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from churn_assets.months import STAGES
from churn_assets.spec.base import SpecModel, Text, nearest

Switch = Literal["running", "stopped"]

_CRON = re.compile(r"[\dA-Za-z*/,\-]+( [\dA-Za-z*/,\-]+){4}")
_MEMORY = re.compile(r"(0\.\d*[1-9]\d*|[1-9]\d*(\.\d+)?)(Mi|Gi)")

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


class RetriesSpec(SpecModel):
    """How often a run tries a stage whose error may pass with nobody doing anything, as of a server that is down."""

    attempts: int = Field(3, ge=1, le=10, description="Attempts of a stage within one run; 1 for no second one.")
    delay_seconds: float = Field(
        30, ge=0, le=3600,
        description="Seconds to wait for the second attempt, three times that for the third, seven times for the "
        "fourth and so on; each with up to delay_seconds more or less, drawn by lot.",
    )  # fmt: skip


class BreakerSpec(SpecModel):
    """When a source that can't be reached is paused, and for how long."""

    failures: int = Field(3, ge=1, description="Runs in a row that couldn't reach the source until it is paused.")
    pause_minutes: float = Field(
        30, gt=0, description="Minutes until one run may try again. Each failed try doubles them, up to 16 times that."
    )


class AutomationSpec(SpecModel):
    """What runs without a person. What requests runs is delivered switched off, what looks and tells switched on."""

    hour: int = Field(6, ge=0, le=23, description="Hour (UTC) at which a complete month is run.")
    schedule: Switch = Field("stopped", description="Runs each month once it is complete.")
    up_to_date: Switch = Field("stopped", description="Runs every ten minutes what is missing or has changed.")
    corrections: Switch = Field("stopped", description="Re-runs months whose inputs have changed.")
    source: Switch = Field("stopped", description="Runs newest months that the source has anew, or tells otherwise.")
    watch_months: int = Field(3, ge=1, le=120, description="How many of the newest months the source is watched for.")
    labels_matured: Switch = Field("stopped", description="Runs the learning stages of months whose labels are known.")
    freshness: Switch = Field("running", description="Looks every hour whether a month is late.")
    alerts: Switch = Field("running", description="Tells people of what goes wrong (section alerts).")
    incoming: Switch = Field("stopped", description="Runs the month of each file that is dropped (source: incoming).")
    retrain: Switch = Field("stopped", description="Orders a training of the newest complete month, by retrain_cron.")
    retrain_cron: str = Field(
        "0 8 4 1,4,7,10 *", description="When that is (UTC), as in cron: minute, hour, day of month, month, weekday."
    )
    retrain_tuning: bool = Field(False, description="Orders it with the searches that are made on order alone.")
    retraining: Switch = Field("stopped", description="Orders a training where monitoring wants one.")
    check_seconds: int = Field(60, ge=10, description="Seconds between two looks for changed inputs and new files.")
    retries: RetriesSpec = RetriesSpec()
    breaker: BreakerSpec = BreakerSpec()

    @field_validator("retrain_cron")
    @classmethod
    def _five_fields(cls, cron: str) -> str:
        if not _CRON.fullmatch(cron):
            raise ValueError(
                f"expected minute, hour, day of month, month and weekday, such as '0 8 4 1,4,7,10 *'; found {cron!r}."
            )
        return cron


class NeedsSpec(SpecModel):
    """What a stage needs of the machine that it runs on, for executors that run each step on a machine of its own."""

    cpu: float | None = Field(None, gt=0, le=1024, description="Processor cores; 0.5 is half of one.")
    memory: str | None = Field(None, description="Memory: a number with Mi or Gi, such as 16Gi.")
    gpu: int = Field(0, ge=0, le=64, description="Graphics processors (NVIDIA's, on Kubernetes).")
    queue: str | None = Field(None, min_length=1, description="Celery's queue, whose workers have all this.")

    @field_validator("memory")
    @classmethod
    def _amount(cls, memory: str | None) -> str | None:
        if memory is not None and not _MEMORY.fullmatch(memory):
            raise ValueError(f"expected a number with Mi or Gi, such as 512Mi or 16Gi; found {memory!r}.")
        return memory

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_defaults=True):
            raise ValueError("expected cpu, memory, gpu or queue; found none of them.")
        return self

    @property
    def mebibytes(self) -> int | None:
        """The memory in MiB."""
        if self.memory is None:
            return None
        return round(float(self.memory[:-2]) * (1024 if self.memory.endswith("Gi") else 1))

    @property
    def words(self) -> str:
        """What is needed, for people."""
        told = (
            f"{self.cpu:g} CPU" if self.cpu else "",
            f"{self.memory} memory" if self.memory else "",
            f"{self.gpu} GPU" if self.gpu else "",
            f"queue {self.queue}" if self.queue else "",
        )
        return ", ".join(filter(None, told))


class ResourcesSpec(SpecModel):
    """What a pipeline may use at once, and what its stages need.

    How many trainings go on at once concerns all pipelines together and stands in ``dagster.yaml``.
    """

    ingests: int = Field(
        2, ge=1, le=100, description="Months that are read at once from one source: database, API or store of files."
    )
    stages: dict[str, NeedsSpec] = Field({}, description="Stage -> what it needs; anything if not given.")

    @field_validator("stages")
    @classmethod
    def _known_stages(cls, stages: dict[str, NeedsSpec]) -> dict[str, NeedsSpec]:
        for name in stages:
            if name not in STAGES:
                raise ValueError(f"no stage is called {name!r}. {nearest(name, list(STAGES))}")
        return stages


class CostsSpec(SpecModel):
    """What computing costs. Without rates no cost is shown."""

    cpu_hour: float = Field(0.0, ge=0, description="Price of an hour of one processor core.")
    gib_hour: float = Field(0.0, ge=0, description="Price of a GiB of memory for an hour.")
    currency: str = Field("USD", min_length=1)

    @property
    def any(self) -> bool:
        """Whether anything costs something."""
        return self.cpu_hour > 0 or self.gib_hour > 0


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
