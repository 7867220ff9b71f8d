"""One pipeline at work: its specification, its tables and its calendar, bound together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from churn_assets.months import Calendar, Month, Window, month_range
from churn_assets.settings import Settings
from churn_assets.sources import Source, open_source
from churn_assets.spec import PipelineSpec
from churn_assets.spec.environment import with_environment
from churn_assets.spec.expressions import dtype_of
from churn_assets.store.content import json_hash
from churn_assets.store.datasets import DatasetShelf
from churn_assets.store.lake import Lake, MonthRecord
from churn_assets.store.models import ModelShelf
from churn_assets.store.offline import OfflineStore
from churn_assets.store.online import OnlineStore, open_online_store
from churn_assets.store.specifications import SpecificationShelf
from churn_assets.turns import Turns

AMENDMENTS = "amendments"
"""The table of what people have mended: months that nobody mended are not in it, and needn't be."""
TREATMENT_LOG = "treatment_log"
"""The table of what was done with listed customers: months of which nobody has told are not in it."""
VERDICTS = "verdicts"
"""The table of what people have said about a month's champion: months without a verdict needn't be in it."""
TRAINING_ORDERS = "training_orders"
"""The table of trainings that were ordered: months in which nobody ordered one needn't be in it."""
OF_SCORES = ("predictions", "shadow_predictions", "list_outcomes")
"""Tables that a month may rightly lack: one in which no model was good enough to score customers."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of this installation. ``spec.name`` is its name everywhere: tables, assets, experiment, exports."""

    spec: PipelineSpec
    settings: Settings

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def option(self) -> str:
        """What a command needs to be about this pipeline."""
        return "" if self.name == "churn" else f" --pipeline {self.name}"

    @property
    def key(self) -> str:
        """The customer's column."""
        return self.spec.schema_.key

    @cached_property
    def calendar(self) -> Calendar:
        return self.spec.calendar

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.settings.lake(self.name), f"churn backfill{self.option}")

    @cached_property
    def turns(self) -> Turns:
        return Turns(self.settings.lake(self.name) / "_turns")

    @cached_property
    def source(self) -> Source:
        return open_source(self.spec, self.settings.data)

    @cached_property
    def models(self) -> ModelShelf:
        return ModelShelf(self.settings.lake(self.name) / "_models")

    @property
    def searches(self) -> Path:
        """Where searches for parameters are kept."""
        return self.settings.lake(self.name) / "_tuning"

    @cached_property
    def datasets(self) -> DatasetShelf:
        return DatasetShelf(self.settings.lake(self.name) / "_datasets")

    @cached_property
    def specifications(self) -> SpecificationShelf:
        return SpecificationShelf(self.settings.lake(self.name) / "_specifications")

    @cached_property
    def online(self) -> OnlineStore:
        given = with_environment(self.spec.online, f"{self.name}: online")
        return open_online_store(given, self.name, self.settings.online(self.name))

    @cached_property
    def offline(self) -> OfflineStore:
        types = {name: dtype_of(kind) for name, kind in self.spec.feature_types.items()}
        return OfflineStore(self.lake, self.calendar, self.key, types)

    @property
    def data(self) -> Path:
        """The installation's data folder."""
        return self.settings.data

    @property
    def exports(self) -> Path:
        return self.settings.exports(self.name)

    def inputs(self, reader: str, month: Month) -> dict[str, str]:
        """What ``reader`` would read to make ``month``: "<table> <month>" -> what that month stands for.

        Raises:
            MissingMonth: a month of a window was never made.
        """
        found = {
            f"{record.table} {record.month}": token(record)
            for window in map(self._scored, self.calendar.windows(reader, month))
            for record in self.lake.records(window)
        }
        if reader == "validated_data" and (mended := self.lake.record(AMENDMENTS, month)):
            found[f"{AMENDMENTS} {month}"] = mended.content
        for table in (VERDICTS, TRAINING_ORDERS) if reader in ("model", "monitoring") else ():
            if (said := self.lake.record(table, month)) and said.files:
                found[f"{table} {month}"] = said.content
        if reader == "predictions" and (other := self.challenger(month)):
            found[f"{other.table} {other.month}"] = str(other.facts["model_id"])
        if reader in ("retention_list", "monitoring") and (log := self.treatments(month)):
            found[f"{TREATMENT_LOG} {log.month}"] = log.content
        if reader == "monitoring" and (listed := self.matured_list(month)):
            found[f"{listed.table} {listed.month}"] = listed.content
        return found

    def window(self, reader: str, month: Month, table: str) -> Window:
        """The months of ``table`` that ``reader`` may read to make ``month``."""
        return self._scored(self.calendar.window(reader, month, table))

    def _scored(self, window: Window) -> Window:
        """``window`` without earlier months in which no model might score customers, if its table comes of scores."""
        if window.table not in OF_SCORES:
            return window
        decided = {month: self.lake.record("promotions", month) for month in window if month != window.month}
        without = {month for month, record in decided.items() if record and not record.facts.get("champion")}
        return replace(window, months=tuple(month for month in window if month not in without))

    def treatments(self, month: Month) -> MonthRecord | None:
        """What was done with the list whose outcome becomes known in ``month``, if anybody has told."""
        listed = self.calendar.matured_by(month) if self.calendar.horizon else None
        record = self.lake.record(TREATMENT_LOG, listed) if listed else None
        return record if record and record.files else None

    def matured_list(self, month: Month) -> MonthRecord | None:
        """The list whose outcome becomes known in ``month``, if it was made: a blocked one stops nothing here."""
        snapshot = self.calendar.matured_by(month) if self.calendar.horizon else None
        return self.lake.record("retention_list", snapshot) if snapshot else None

    def challenger(self, month: Month) -> MonthRecord | None:
        """The record of the newest model up to ``month`` that isn't its champion; None without either of them."""
        champion = self.champion("predictions", month)
        made = (self.lake.record("model", m) for m in reversed(month_range(self.calendar.start, month)))
        others = (r for r in made if r and r.facts.get("model_id") not in (None, champion))
        return next(others, None) if champion else None

    def champion(self, reader: str, month: Month) -> str | None:
        """The model that scores customers, as the decisions that ``reader`` may see in ``month`` have it."""
        records = self.lake.records(self.window(reader, month, "promotions"))
        return str(records[-1].facts["champion"]) if records and records[-1].facts.get("champion") else None


def token(record: MonthRecord) -> str:
    """What others depend on: the champion of a promotion, what monitoring remembers, of anything else all rows."""
    if record.table == "promotions":
        return str(record.facts.get("champion"))
    return json_hash(record.facts.get("remembered")) if record.table == "monitoring" else record.content
