"""Rules on rows, and the quarantine of those that break them."""

from churn_assets.quality.rules import QualityVerdict, Validation, validate

__all__ = ["QualityVerdict", "Validation", "validate"]
