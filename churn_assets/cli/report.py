"""churn report: a month on one page, for people who don't look at the Dagster UI."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.months import Month


def report(
    month: Annotated[str, typer.Option(help="The month, YYYY-MM; the newest one if not given.")] = "",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Write a month's report from what was recorded of it, also of a month that was stopped; say where it is."""
    from churn_assets.reporting import export_report, report_file
    from churn_assets.staleness import made_so_far

    found = open_pipeline(pipeline)
    made = made_so_far(found)
    chosen = Month.parse(month) if month else (made[-1] if made else found.calendar.start)
    content = export_report(found, found.calendar.check(chosen))
    console.print(f"{content.month}: {content.verdict[0].lower()}{content.verdict[1:]}.", highlight=False)
    path = report_file(found, chosen)
    console.print(str(path), highlight=False, soft_wrap=True)
    if open_it and not webbrowser.open(path.resolve().as_uri()):
        console.print("No browser could be opened; open the file yourself.", highlight=False)
