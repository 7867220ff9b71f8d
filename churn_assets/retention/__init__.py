"""From probabilities to a list that a retention manager can act on."""

from churn_assets.retention.scoring import score, summary

__all__ = ["score", "summary"]
