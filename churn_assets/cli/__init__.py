"""churn: the pipeline from a terminal, on the same Dagster instance that the UI shows."""

import atexit
import gc

# What loading makes stays. To look for garbage among a million objects, again and again and once more at the end, would
# take a third of a short command.
gc.set_threshold(50_000, 10, 10)
atexit.register(gc.freeze)

from churn_assets.cli.app import main  # noqa: E402

__all__ = ["main"]
