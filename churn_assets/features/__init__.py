"""Feature definitions compiled to expressions."""

from churn_assets.features.compute import MONTHS_OBSERVED, compute

__all__ = ["MONTHS_OBSERVED", "compute"]
