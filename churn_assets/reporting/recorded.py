"""What a report is made from: the records of one month, as far as there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from churn_assets.monitoring.figures import CHAMPION
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.reporting.wording import number
from churn_assets.store.lake import MONTH, MonthRecord

YEAR = 12
"""Months that a picture shows."""

BEFORE = tuple(stage for stage in STAGES if stage != "monitoring")
"""The stages that a report tells of; monitoring, which writes it, isn't through then."""

Row = Mapping[str, Any]
"""A row of a table: column -> value."""


@dataclass(frozen=True)
class Watched:
    """What monitoring has found in a month.

    Attributes:
        month: the month.
        rows: a row for each figure; None, with a ``reason``, if there are none.
        drift: the findings of ``Drift.table``; None if nothing was compared.
        facts: what its record remembers.
        checks: what its checks said: ``name``, ``passed``, ``reason``.
    """

    month: Month
    rows: pl.DataFrame | None
    drift: pl.DataFrame | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""

    def figure(self, metric: str, role: str = CHAMPION) -> Row | None:
        """The row of a figure, if there is one."""
        if self.rows is None:
            return None
        found = self.rows.filter(pl.col("metric") == metric, pl.col("role") == role)
        return found.row(0, named=True) if len(found) else None


@dataclass(frozen=True)
class Recorded:
    """One month of a pipeline, as the lake has it.

    ``watched`` is what monitoring has found; None where it has never seen the month.
    """

    pipeline: Pipeline
    month: Month
    watched: Watched | None

    @classmethod
    def of(cls, pipeline: Pipeline, month: Month, watched: Watched | None = None) -> Recorded:
        """The month; ``watched`` is what monitoring has in hand, and if not given, what it has recorded."""
        return cls(pipeline, month, watched or _kept(pipeline, month))

    def record(self, table: str) -> MonthRecord | None:
        """What the month of a table holds."""
        return self.pipeline.lake.record(table, self.month)

    def rows(self, table: str, *columns: str) -> pl.DataFrame | None:
        """The rows of the month, with ``columns`` or all of them; None if there are none, whatever the reason."""
        record = self.record(table)
        return _rows(self.pipeline, record, *columns) if record else None

    def count(self, table: str) -> int | None:
        """How many rows the month has; None if it was never made."""
        record = self.record(table)
        return None if record is None else record.rows

    def facts(self, table: str) -> Mapping[str, Any]:
        """What its record remembers; nothing if it was never made."""
        record = self.record(table)
        return record.facts if record else {}

    @cached_property
    def made(self) -> tuple[str, ...]:
        """The stages that were made."""
        return tuple(s for s in BEFORE if self.record(s) is not None)

    @cached_property
    def lacking(self) -> tuple[str, ...]:
        """The stages that weren't."""
        return tuple(s for s in BEFORE if s not in self.made)

    @cached_property
    def decision(self) -> Mapping[str, Any] | None:
        """The month's decision on its model, as it stands in the table ``promotions``."""
        rows = self.rows("promotions")
        return None if rows is None else rows.row(0, named=True)

    @cached_property
    def champion(self) -> str | None:
        """The model that scores the month's customers."""
        found = self.facts("promotions").get("champion")
        return str(found) if found else None

    def figure(self, metric: str, role: str = CHAMPION) -> Row | None:
        """What monitoring has found, as the row of a figure."""
        return self.watched.figure(metric, role) if self.watched else None

    @cached_property
    def year(self) -> tuple[Watched, ...]:
        """What monitoring has found in the months up to this one, ascending; those that it hasn't seen are left out."""
        before = month_range(self.month - (YEAR - 1), self.month - 1)
        found = [*(_kept(self.pipeline, m) for m in before if m >= self.pipeline.calendar.start), self.watched]
        return tuple(watched for watched in found if watched)

    @property
    def previous(self) -> str | None:
        """The champion before the month's decision."""
        return self.decision["previous"] if self.decision else None

    @cached_property
    def leavers(self) -> tuple[int, int] | None:
        """Who left in the month, and of how many; None if that isn't known yet."""
        flag = self.pipeline.spec.schema_.churned
        rows = self.rows("validated_data", flag) if flag else None
        return (int(rows[flag].sum()), len(rows)) if flag and rows is not None else None

    @property
    def drift(self) -> pl.DataFrame | None:
        """What monitoring has compared, a row for each value and what it was compared with."""
        return self.watched.drift if self.watched else None

    def checks(self, stage: str) -> tuple[Mapping[str, Any], ...]:
        """What the checks of a stage said."""
        if stage == "monitoring":
            return self.watched.checks if self.watched else ()
        return tuple(self.facts(stage).get("checks", ()))

    @property
    def retrain(self) -> Mapping[str, Any] | None:
        """The decision whether a new model is wanted, as monitoring has put it down."""
        found: Mapping[str, Any] | None = self.watched.facts.get("retrain") if self.watched else None
        return found

    @property
    def money(self) -> str:
        """The currency of the list."""
        return self.pipeline.spec.value.currency

    def amount(self, value: float | None) -> str:
        """An amount of money of the list."""
        return f"{number(value)} {self.money}"


def _kept(pipeline: Pipeline, month: Month) -> Watched | None:
    record = pipeline.lake.record("monitoring", month)
    if record is None:
        return None
    compared = pipeline.lake.record("drift", month)
    return Watched(
        month=month,
        rows=_rows(pipeline, record),
        drift=_rows(pipeline, compared) if compared else None,
        facts=record.facts,
        checks=tuple(record.facts.get("checks", ())),
        reason=record.reason,
    )


def _rows(pipeline: Pipeline, record: MonthRecord, *columns: str) -> pl.DataFrame | None:
    if not record.files:
        return None
    scanned = pipeline.lake.scan_record(record).drop(MONTH)
    return (scanned.select(columns) if columns else scanned).collect()
