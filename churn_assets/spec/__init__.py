"""A pipeline's contract as Pydantic models, with errors that a person can act on."""

from churn_assets.spec.data import PLACE, ColumnSpec, ExpectationsSpec, LabelSpec, RuleSpec, SchemaSpec, Severity
from churn_assets.spec.events import EventsSpec, MeasureSpec
from churn_assets.spec.feature_checks import FeatureChecksSpec
from churn_assets.spec.features import (
    BucketFeature,
    ColumnsFeature,
    ConditionFeature,
    DeltaFeature,
    FeatureSpec,
    InteractionFeature,
    LagFeature,
    PythonFeature,
    RankFeature,
    RatioFeature,
    TrailingFeature,
)
from churn_assets.spec.learning import CandidateSpec, GatesSpec, TrainingSpec
from churn_assets.spec.months import MonthsSpec
from churn_assets.spec.operation import AutomationSpec, EngineSpec, OnlineSpec, ValueSpec
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
    "ConditionFeature",
    "DeltaFeature",
    "EngineSpec",
    "EventsSpec",
    "ExpectationsSpec",
    "FeatureChecksSpec",
    "FeatureSpec",
    "FileFormat",
    "FileSourceSpec",
    "GatesSpec",
    "HttpSourceSpec",
    "HuggingFaceSourceSpec",
    "IncomingSourceSpec",
    "InteractionFeature",
    "JoinedSourceSpec",
    "KaggleSourceSpec",
    "LabelSpec",
    "LagFeature",
    "MeasureSpec",
    "MonthsSpec",
    "OnlineSpec",
    "PipelineSpec",
    "PythonFeature",
    "RankFeature",
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
