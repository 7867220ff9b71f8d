"""Dataset versions: content-addressed manifests of what a model learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from churn_assets.months import Month, SplitKind
from churn_assets.store.content import content_hash, json_hash

PARTS = {
    "event_month": pl.String, "part": pl.String, "rows": pl.Int64, "positives": pl.Int64, "unknown": pl.Int64,
    "features_content": pl.String, "label_content": pl.String,
}  # fmt: skip


@dataclass(frozen=True)
class DatasetVersion:
    """What one month's dataset is made of.

    Attributes:
        id: equal for equal content, whenever and wherever it was made.
        parts: a row for each snapshot month and part: rows, positives, labels unknown, and the content of the
            tables read. The rows themselves stay in those tables.
    """

    id: str
    month: Month
    split: SplitKind
    reason: str
    parts: pl.DataFrame

    @property
    def rows(self) -> int:
        """Labelled rows of all parts."""
        return int(self.parts["rows"].sum())

    @property
    def positives(self) -> int:
        """Rows of customers who left."""
        return int(self.parts["positives"].sum())


def dataset_version(
    month: Month, split: SplitKind, reason: str, parts: pl.DataFrame, recipe: Mapping[str, object]
) -> DatasetVersion:
    """The version that ``parts`` and the ``recipe`` (every part of the specification that decides rows) make."""
    ordered = parts.sort("event_month", "part")
    content = content_hash(ordered)
    identity = json_hash({"parts": content, "split": split, "recipe": dict(recipe)})
    return DatasetVersion(identity[:16], month, split, reason, ordered)
