"""Answers to "why?": why this champion, why this customer, why a new model, why this month of a stage.

They stand on what was recorded when it was decided, in the lake and on the shelf of models, never on logs.
"""

from churn_assets.why.customer import CustomerWhy, why_customer
from churn_assets.why.model import ModelWhy, why_model
from churn_assets.why.retrain import RetrainWhy, why_retrain
from churn_assets.why.run import RunWhy, why_run

__all__ = [
    "CustomerWhy", "ModelWhy", "RetrainWhy", "RunWhy", "why_customer", "why_model", "why_retrain", "why_run",
]  # fmt: skip
