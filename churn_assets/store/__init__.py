"""The lake, the online store and dataset versions."""

from churn_assets.store.content import content_hash, json_hash
from churn_assets.store.datasets import DatasetVersion
from churn_assets.store.lake import Commit, Lake, MonthRecord
from churn_assets.store.online import OnlineStore

__all__ = ["Commit", "DatasetVersion", "Lake", "MonthRecord", "OnlineStore", "content_hash", "json_hash"]
