"""A small pipeline that the tests of several modules declare, each with its own changes."""

from __future__ import annotations

from typing import Any

from churn_assets.spec import PipelineSpec

COLUMNS: list[dict[str, Any]] = [
    {"name": "plan", "type": "category", "allowed": ["basic", "plus"]},
    {"name": "calls", "type": "integer", "min": 0, "nullable": True},
    {"name": "charge", "type": "number", "min": 0},
    {"name": "left", "type": "boolean", "role": "churned"},
]


def document(**changes: Any) -> dict[str, Any]:
    """A valid pipeline as it stands in YAML, with whole sections replaced."""
    return {
        "name": "shop",
        "months": {"start": "2024-01"},
        "source": {"type": "file", "path": "incoming/{month}.csv"},
        "schema": {"key": "customer_id", "columns": COLUMNS},
        "label": {"kind": "flag"},
        "features": [
            {"kind": "columns", "columns": ["plan", "calls", "charge"]},
            {"kind": "lag", "column": "calls", "months": 2},
        ],
        "training": {"months": 6},
        "candidates": [{"name": "baseline", "kind": "logistic"}],
        "value": {"monthly_value": 20},
        **changes,
    }


def declared(**changes: Any) -> PipelineSpec:
    """The same, read."""
    return PipelineSpec.model_validate(document(**changes))
