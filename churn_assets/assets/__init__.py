"""The Dagster layer: one short file a stage, and what binds them."""

from churn_assets.assets import (
    feature_store,
    features,
    model,
    monitoring,
    predictions,
    raw_data,
    retention_list,
    validated_data,
    versioned_dataset,
)
from churn_assets.assets.stage import Stage
from churn_assets.months import STAGES

ALL: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        raw_data.STAGE, validated_data.STAGE, features.STAGE, feature_store.STAGE, versioned_dataset.STAGE,
        model.STAGE, predictions.STAGE, retention_list.STAGE, monitoring.STAGE,
    )
}  # fmt: skip
assert tuple(ALL) == STAGES
