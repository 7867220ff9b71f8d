"""A pipeline's contract as Pydantic models, with errors that a person can act on."""

from churn_assets.spec.data import PLACE, ColumnSpec, ExpectationsSpec, LabelSpec, RuleSpec, SchemaSpec, Severity
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
from churn_assets.spec.months import MonthsSpec
from churn_assets.spec.operation import AutomationSpec, ValueSpec
from churn_assets.spec.pipeline import PipelineSpec
from churn_assets.spec.source import (
    FileFormat,
    FileSourceSpec,
    HttpSourceSpec,
    HuggingFaceSourceSpec,
    IncomingSourceSpec,
    JoinedSourceSpec,
    KaggleSourceSpec,
    SimulatedSourceSpec,
    SingleSourceSpec,
    SourceSpec,
    SqlSourceSpec,
    TableSpec,
)

__all__ = [
    "PLACE",
    "AutomationSpec",
    "BucketFeature",
    "CandidateSpec",
    "ColumnSpec",
    "ColumnsFeature",
    "DeltaFeature",
    "ExpectationsSpec",
    "FeatureSpec",
    "FileFormat",
    "FileSourceSpec",
    "GatesSpec",
    "HttpSourceSpec",
    "HuggingFaceSourceSpec",
    "IncomingSourceSpec",
    "JoinedSourceSpec",
    "KaggleSourceSpec",
    "LabelSpec",
    "LagFeature",
    "MonthsSpec",
    "PipelineSpec",
    "RatioFeature",
    "RuleSpec",
    "SchemaSpec",
    "Severity",
    "SimulatedSourceSpec",
    "SingleSourceSpec",
    "SourceSpec",
    "SqlSourceSpec",
    "TableSpec",
    "TrailingFeature",
    "TrainingSpec",
    "ValueSpec",
]
