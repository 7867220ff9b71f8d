"""ChurnPipeline: a specification in, assets, checks, a job, a schedule and a sensor out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from pydantic import BaseModel

from churn_assets.assets import ALL
from churn_assets.assets.alerts import alerts_sensor, failure_sensor
from churn_assets.assets.freshness import freshness_check, freshness_sensor
from churn_assets.assets.jobs import monthly_job, partitions
from churn_assets.assets.options import OFFERED, OPTIONS
from churn_assets.assets.retraining import retrain_schedule, retraining_sensor
from churn_assets.assets.schedules import monthly_schedule, up_to_date_schedule
from churn_assets.assets.sensors import corrections_sensor, incoming_sensor, labels_matured_sensor, source_sensor
from churn_assets.assets.stage import Stage
from churn_assets.assets.steps import build_asset, tracker_key
from churn_assets.assets.tracking import tracking_resource
from churn_assets.assets.up_to_date import up_to_date_check
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec import PipelineSpec
from churn_assets.spec.environment import names_environment


class ChurnPipeline(PipelineSpec, dg.Component, dg.Model, dg.Resolvable):
    """A churn pipeline, declared in YAML: source, schema, label, features, candidates, gates, value, automation.

    Its assets have the pipeline's name as group and key prefix; tables, experiment, registered model, exports, job,
    schedule and sensor carry it too, so that several pipelines live side by side.
    """

    @classmethod
    def model(cls) -> type[BaseModel]:
        return PipelineSpec

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        return cls.model_validate(_resolved(context, model.model_dump(mode="json", by_alias=True, exclude_unset=True)))

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        component = super().load(attributes, context)
        return component if component.name else component.named(context.component_path.file_path.name)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return build_definitions(self.pipeline(Settings.from_environment()))

    def named(self, name: str) -> Self:
        """The same specification under another pipeline's name."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return self.model_validate({**given, "name": name})

    def pipeline(self, settings: Settings) -> Pipeline:
        """The pipeline at work in an installation."""
        return Pipeline(self, settings)


def _resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """Templates filled in, but for what comes from the environment: that is looked up where it is used."""
    if isinstance(value, dict):
        return {key: _resolved(context, one) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(context, one) for one in value]
    return value if isinstance(value, str) and names_environment(value) else context.resolve_value(value)


def build_definitions(pipeline: Pipeline, stages: Mapping[str, Stage] = ALL) -> dg.Definitions:
    """Everything that Dagster shows and runs of one pipeline."""
    months = partitions(pipeline)
    codes = {name: stage.code(pipeline) for name, stage in stages.items()}
    job = monthly_job(pipeline)
    news = incoming_sensor if pipeline.spec.source.type == "incoming" else source_sensor
    sensors = [
        news(pipeline, job, codes),
        corrections_sensor(pipeline, job, codes),
        labels_matured_sensor(pipeline, job, codes),
        retraining_sensor(pipeline, job, codes),
        freshness_sensor(pipeline),
        failure_sensor(pipeline),
        alerts_sensor(pipeline),
    ]
    return dg.Definitions(
        assets=[build_asset(stage, pipeline, months) for stage in stages.values()],
        asset_checks=[freshness_check(pipeline), up_to_date_check(pipeline, codes)],
        jobs=[job],
        schedules=[
            monthly_schedule(pipeline, job, codes),
            up_to_date_schedule(pipeline, job, codes),
            retrain_schedule(pipeline, job, codes),
        ],
        sensors=sensors,
        resources={
            tracker_key(pipeline.name): tracking_resource(pipeline.name, pipeline.settings),
            OPTIONS: OFFERED,
        },
    )
