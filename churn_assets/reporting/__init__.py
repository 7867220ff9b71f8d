"""The monthly report: what the lake has recorded of a month, told on one page."""

from __future__ import annotations

from pathlib import Path

from churn_assets.errors import MissingMonth
from churn_assets.monitoring.report import ReportContent, render
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.reporting import contacts, cost, data, decisions, drift, headline, quality
from churn_assets.reporting.recorded import Recorded, Watched
from churn_assets.reporting.wording import month_name
from churn_assets.store.lake import replace_file

__all__ = ["Watched", "collect", "export_report", "report_file"]


def collect(pipeline: Pipeline, month: Month, watched: Watched | None = None) -> ReportContent:
    """All that the report of a month tells; what isn't there yet is said to be missing.

    Args:
        pipeline: whose month it is.
        month: the month.
        watched: what monitoring has found, while that isn't recorded yet.

    Raises:
        MissingMonth: nothing of the month was ever made.
    """
    of = Recorded.of(pipeline, month, watched)
    if not of.made:
        raise MissingMonth(
            f"report {month}: expected a month that was run, found nothing of it. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    parts = (data, drift, quality, contacts, decisions, cost)
    return ReportContent(
        pipeline=pipeline.name,
        about=pipeline.spec.description,
        month=month_name(month),
        tiles=headline.tiles(of),
        summary=headline.summary(of),
        concerns=headline.concerns(of),
        sections=tuple(part.section(of) for part in parts),
    )


def export_report(pipeline: Pipeline, month: Month, watched: Watched | None = None) -> ReportContent:
    """Writes the report of a month where people find it, in one step; what it tells.

    Raises:
        MissingMonth: nothing of the month was ever made.
    """
    content = collect(pipeline, month, watched)
    replace_file(report_file(pipeline, month), render(content).encode())
    return content


def report_file(pipeline: Pipeline, month: Month | str) -> Path:
    """Where the report of a month lies."""
    return pipeline.exports / str(month) / "report.html"
