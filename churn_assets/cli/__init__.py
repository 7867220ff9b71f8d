"""churn: the pipeline from a terminal, on the same Dagster instance that the UI shows."""

import gc

# What loading makes stays: to look for garbage among a million objects again and again takes a fifth of a second.
gc.set_threshold(50_000, 20, 20)

from churn_assets.cli.app import main  # noqa: E402

__all__ = ["main"]
