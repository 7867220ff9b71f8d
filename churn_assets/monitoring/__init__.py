"""What became of the data and of the predictions."""

from churn_assets.monitoring.drift import MOVED, STABLE, drift, psi

__all__ = ["MOVED", "STABLE", "drift", "psi"]
