"""Rules on rows, the quarantine of those that break them, and what is expected of a whole month."""

from churn_assets.quality.validation import QUARANTINED, QualityVerdict, Validation, validate

__all__ = ["QUARANTINED", "QualityVerdict", "Validation", "validate"]
