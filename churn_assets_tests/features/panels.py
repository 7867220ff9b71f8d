"""Small panels of customers and months, given by lag, and the features of them."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from churn_assets.features import compute
from churn_assets.spec import FeatureSpec

Panel = dict[int, dict[str, dict[str, Any]]]
"""Lag -> customer -> the customer's row in that month."""

SCHEMA = {"id": pl.String, "plan": pl.String, "x": pl.Float64, "n": pl.Int64, "flag": pl.Boolean, "day": pl.Date}
DAY = date(2024, 2, 29)


def features(*declared: dict[str, Any]) -> list[FeatureSpec]:
    return TypeAdapter(list[FeatureSpec]).validate_python(list(declared))


def frames(panel: Panel) -> dict[int, pl.LazyFrame]:
    return {
        lag: pl.LazyFrame([{"id": c, **row} for c, row in month.items()], schema=SCHEMA) for lag, month in panel.items()
    }


def computed(panel: Panel, wanted: list[FeatureSpec], **more: Any) -> dict[str, dict[str, Any]]:
    """Customer -> the customer's features."""
    rows = compute(frames(panel), "id", wanted, **more).collect()
    return {row.pop("id"): row for row in rows.iter_rows(named=True)}


def one(column: str, values: list[Any], *wanted: dict[str, Any]) -> Any:
    """The last feature of one customer whose ``column`` was ``values``, newest first; "absent" for a month without."""
    panel = {lag: {} if v == "absent" else {"c": {column: v}} for lag, v in enumerate(values)}
    declared = features(*wanted)
    return computed(panel, declared)["c"][declared[-1].names[-1]]


def month(column: str, values: list[Any], *wanted: dict[str, Any], **others: list[Any]) -> list[Any]:
    """The last feature of customers whose ``column`` is ``values`` in the month."""
    rows = [dict(zip((column, *others), row, strict=True)) for row in zip(values, *others.values(), strict=True)]
    declared = features(*wanted)
    found = computed({0: {f"c{i:03}": row for i, row in enumerate(rows)}}, declared)
    return [found[c][declared[-1].names[-1]] for c in sorted(found)]
