"""The monthly report in the UI: exported with the month's monitoring, its headline shown beside the path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from churn_assets.assets.drifting import DRIFT
from churn_assets.assets.stage import Made, Work
from churn_assets.pipeline import Pipeline
from churn_assets.store.lake import MonthRecord


def with_report(work: Work, made: Made) -> Made:
    """What monitoring has ``made``, with the export of the month's report as its effect."""
    return replace(made, effect=lambda: _export(work, made))


def report_is_there(pipeline: Pipeline, record: MonthRecord) -> bool:
    """Whether the report of a recorded month still lies where it was put."""
    from churn_assets.reporting import report_file

    return report_file(pipeline, record.month).exists()


def _export(work: Work, made: Made) -> dict[str, Any]:
    # Imports this package's charts, and Jinja with them.
    from churn_assets.monitoring.report import brief
    from churn_assets.reporting import Watched, export_report, report_file

    also = made.also.get(DRIFT)
    said = tuple({"name": c.name, "passed": c.passed, "reason": c.reason} for c in made.checks)
    rows = made.rows if isinstance(made.rows, pl.DataFrame) else None
    watched = Watched(work.month, rows, also.rows if also else None, made.facts, said, made.reason)
    content = export_report(work.pipeline, work.month, watched)
    return {
        "report in short": dg.MetadataValue.md(brief(content)),
        "report": report_file(work.pipeline, work.month),
        "to open the report": f"churn report --month {work.month} --open{work.pipeline.option}",
    }
