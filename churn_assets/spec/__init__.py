"""A pipeline's contract as Pydantic models, with errors that a person can act on."""

from churn_assets.spec.data import (
    ColumnSpec,
    FileSourceSpec,
    LabelSpec,
    MonthsSpec,
    SchemaSpec,
    SimulatedSourceSpec,
)
from churn_assets.spec.features import (
    BucketFeature,
    ColumnsFeature,
    DeltaFeature,
    FeatureSpec,
    LagFeature,
    RatioFeature,
    TrailingFeature,
)
from churn_assets.spec.learning import CandidateSpec, GatesSpec, TrainingSpec
from churn_assets.spec.operation import AutomationSpec, ValueSpec
from churn_assets.spec.pipeline import PipelineSpec

__all__ = [
    "AutomationSpec",
    "BucketFeature",
    "CandidateSpec",
    "ColumnSpec",
    "ColumnsFeature",
    "DeltaFeature",
    "FeatureSpec",
    "FileSourceSpec",
    "GatesSpec",
    "LabelSpec",
    "LagFeature",
    "MonthsSpec",
    "PipelineSpec",
    "RatioFeature",
    "SchemaSpec",
    "SimulatedSourceSpec",
    "TrailingFeature",
    "TrainingSpec",
    "ValueSpec",
]
