"""churn: the pipeline from a terminal, on the same Dagster instance that the UI shows."""

from churn_assets.cli.app import main

__all__ = ["main"]
