"""Schemas, deliveries and verdicts for the tests of quality."""

from __future__ import annotations

from typing import Any

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.quality import Validation, validate
from churn_assets.spec import SchemaSpec


def schema(*columns: dict[str, Any], **more: Any) -> SchemaSpec:
    return SchemaSpec.model_validate({"key": "id", "columns": list(columns), **more})


def raw(values: list[Any], name: str = "x", **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"c{i}" for i in range(len(values))], name: values, **more}, strict=False)


def read(column: dict[str, Any], values: list[Any], **more: Any) -> Validation:
    """The values of one column, validated."""
    return validate(raw(values), schema({"name": "x", **column}, **more))


def judged(column: dict[str, Any], values: list[Any]) -> tuple[list[Any], list[tuple[int, str]]]:
    """The valid values, and (row, rule) of the others."""
    found = read(column, values)
    return found.valid["x"].to_list(), found.quarantined.select("_row", "rule").rows()


def answered(raw: Any, schema: SchemaSpec, month: Month | None = None, previous: Any = None) -> Validation | str:
    """The validation, or the question that was asked instead."""
    try:
        return validate(raw, schema, month, previous)
    except QualityError as error:
        return str(error)
