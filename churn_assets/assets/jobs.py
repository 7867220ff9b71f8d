"""What runs as a whole: a pipeline's months, and the job of one of them."""

from __future__ import annotations

from typing import Any

import dagster as dg

from churn_assets.assets import freshness, up_to_date
from churn_assets.pipeline import Pipeline

PIPELINE_TAG = "churn/pipeline"


def partitions(pipeline: Pipeline) -> dg.MonthlyPartitionsDefinition:
    """The pipeline's months; one begins to exist when it has ended."""
    months = pipeline.spec.months
    end = str(months.end + 1) if months.end else None
    return dg.MonthlyPartitionsDefinition(start_date=str(months.start), end_date=end, fmt="%Y-%m")


def monthly_job(pipeline: Pipeline) -> Any:
    """All stages of one month."""
    apart = dg.AssetSelection.checks(freshness.check_key(pipeline), up_to_date.check_key(pipeline))
    return dg.define_asset_job(
        job_name(pipeline),
        selection=dg.AssetSelection.groups(pipeline.name) - apart,
        description=f"One month of the pipeline {pipeline.name}, from its source to its list and monitoring.",
        tags={PIPELINE_TAG: pipeline.name},
    )


def job_name(pipeline: Pipeline) -> str:
    """The name of the job that makes one month."""
    return f"{pipeline.name}_month"
