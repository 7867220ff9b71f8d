"""The labelled rows that a month's model learns from and is judged on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_assets.features.labels import LABEL, LaterMonth, label
from churn_assets.learning.splits import holdout_parts, sampled
from churn_assets.months import Month, Split, Window
from churn_assets.spec import PipelineSpec
from churn_assets.spec.expressions import types_of
from churn_assets.store.content import json_hash
from churn_assets.store.datasets import PARTS, DatasetVersion, dataset_version
from churn_assets.store.lake import Lake


@dataclass(frozen=True)
class Dataset:
    """Reads the dataset of one month from the lake.

    ``reader`` is the stage that asks; it names the windows, and stands in the error if a month is missing.
    """

    lake: Lake
    spec: PipelineSpec
    month: Month
    reader: str = "versioned_dataset"

    @property
    def split(self) -> Split:
        """Which months train, calibrate and validate."""
        return self.spec.calendar.split_of(self.month)

    def version(self) -> DatasetVersion:
        """The dataset's version, with the rows and churners of every part counted."""
        split = self.split
        counted = [part for snapshot in split.months for part in self._counted(snapshot)]
        recipe: dict[str, Any] = {
            "label": self.spec.label.model_dump(mode="json"),
            # When a model is due says nothing of its rows.
            "training": self.spec.training.model_dump(mode="json", exclude={"every"}),
            "features": self.spec.feature_names,
        }
        if self.spec.events:
            recipe["activity"] = self.spec.events.activity
        return dataset_version(
            self.month, split.kind, self._reason(split), pl.DataFrame(counted, PARTS, orient="row"), recipe
        )

    def rows(self) -> pl.DataFrame:
        """``event_month``, the customer, ``part``, ``label`` and the features; rows of unknown label are left out.

        Where a cluster trains on the fit rows, about ``engine.driver_rows`` stand for them, by whole customers.
        """
        key = self.spec.schema_.key
        share = self._share()
        frames = [self._snapshot(j, self.spec.feature_names, share) for j in self.split.months] or [self._nothing()]
        return pl.concat(frames, how="diagonal_relaxed").filter(pl.col(LABEL).is_not_null()).sort("event_month", key)

    def known(self, snapshot: Month) -> pl.DataFrame:
        """The customers of ``snapshot`` whose label is known, with it."""
        rows = self.lake.scan_month(self.window("features"), snapshot)
        if rows is None:
            return pl.DataFrame()
        labelled = self.labels(rows.select(self.spec.schema_.key), snapshot)
        return labelled.filter(pl.col(LABEL).is_not_null()).collect()

    def _share(self) -> float:
        """Share of the fit rows that are taken."""
        if self.spec.engine.kind == "polars":
            return 1.0
        records = [self.lake.record("features", j) for j in self.split.fit]
        return min(1.0, self.spec.engine.driver_rows / max(1, sum(r.rows for r in records if r)))

    def _snapshot(self, snapshot: Month, features: list[str], share: float = 1.0) -> pl.DataFrame:
        key = self.spec.schema_.key
        window = self.window("features")
        rows = self.lake.scan_month(window, snapshot)
        if rows is None:
            return self._nothing()
        labelled = self.labels(rows.select(key), snapshot)
        frame = (
            rows.select(pl.col("month").alias("event_month"), key, *features)
            .join(labelled, on=key, how="left")
            .sort(key)
            .collect()
        )
        part = self.split.part_of(snapshot)
        if part == "fit+validate":
            known = frame.filter(pl.col(LABEL).is_not_null())
            parts = holdout_parts(known[key], known[LABEL], self.spec.training.holdout_share)
            return known.with_columns(parts.alias("part"))
        if part == "fit" and share < 1:
            frame = frame.filter(sampled(frame[key], share))
        return frame.with_columns(pl.lit(part).alias("part"))

    def _nothing(self) -> pl.DataFrame:
        schema = self.spec.schema_
        key = types_of(schema)[schema.key]
        return pl.DataFrame(schema={"event_month": pl.Date, schema.key: key, "part": pl.String, LABEL: pl.Boolean})

    def labels(self, customers: pl.LazyFrame, snapshot: Month) -> pl.LazyFrame:
        """``customers`` with the label of ``snapshot``."""
        later = [self._later(month) for month in self.spec.calendar.label_months(snapshot)]
        schema, events = self.spec.schema_, self.spec.events
        activity = events.activity if events else None
        return label(customers, later, self.spec.label, schema.key, schema.churned, activity)

    def _later(self, month: Month) -> LaterMonth:
        return LaterMonth(
            self.lake.scan_month(self.window("validated_data"), month),
            self.lake.scan_month(self.window("quarantined_data"), month),
        )

    def window(self, table: str) -> Window:
        """The months of ``table`` that make the dataset."""
        return self.spec.calendar.window(self.reader, self.month, table)

    def _counted(self, snapshot: Month) -> Iterator[tuple[object, ...]]:
        frame = self._snapshot(snapshot, [])
        record = self.lake.record("features", snapshot)
        later = [
            self.lake.record(table, month)
            for month in self.spec.calendar.label_months(snapshot)
            for table in ("validated_data", "quarantined_data")
        ]
        labels = json_hash([r.content if r else None for r in later])
        for (part,), rows in frame.group_by("part", maintain_order=True):
            known = rows.filter(pl.col(LABEL).is_not_null())
            yield (
                str(snapshot), part, len(known), int(known[LABEL].sum()), len(rows) - len(known),
                record.content if record else "", labels,
            )  # fmt: skip

    def _reason(self, split: Split) -> str:
        match split.kind:
            case "none":
                return f"Not enough history: needs {split.months_needed} more month(s) until the first label is mature."
            case "holdout":
                share = self.spec.training.holdout_share
                return f"Holdout: {share:.0%} of the customers of {split.validate[0]} judge what the others taught."
            case _:
                return (
                    f"Out of time: {split.validate[0]} judges what {split.fit[0]} to "
                    f"{(split.calibrate or split.fit)[-1]} taught."
                )
