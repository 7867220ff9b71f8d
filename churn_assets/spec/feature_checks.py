"""The section ``feature_checks``: what is expected of a month's features, and what happens where it isn't so."""

from __future__ import annotations

from pydantic import Field

from churn_assets.spec.base import SpecModel
from churn_assets.spec.data import Severity


class FeatureChecksSpec(SpecModel):
    """Whether a check of the features warns, stops the month, or isn't made.

    A feature that leaks stops the month by default: the model that learns from it looks so good that it would be
    promoted, and knows nothing about customers who haven't left yet.
    """

    nulls: Severity = Field("warn", description="Shares of missing values as in the month before.")
    constant: Severity = Field("warn", description="No feature constant that wasn't in the month before.")
    drift: Severity = Field("warn", description="Distributions as in the month before.")
    leak: Severity = Field("stop", description="No feature that tells by itself who left.")
    max_psi: float = Field(0.25, gt=0, description="Largest population stability index against the month before.")
    max_auc: float = Field(0.95, gt=0.5, lt=1, description="Largest AUC of a single feature.")
