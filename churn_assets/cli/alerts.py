"""churn alerts: what is the matter now, who was told of it, and whether the channels work."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from churn_assets.alerts import Matter, Telling, journal_of, tell, try_channels
from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.errors import AlertError
from churn_assets.pipeline import Pipeline

OCCASIONS = {"begins": "begun", "goes_on": "reminder", "over": "over"}


def alerts(
    test: Annotated[bool, typer.Option("--test", help="Send a test through every channel.")] = False,
    settled: Annotated[
        str, typer.Option(metavar="SUBJECT", help="Take it as settled what failed there, such as a month.")
    ] = "",
    last: Annotated[int, typer.Option(min=0, help="How many matters that are over to show.")] = 10,
    pipeline: PipelineOption = "churn",
) -> None:
    """Show what is the matter now, and what was told of it, when and by which channel."""
    found = open_pipeline(pipeline)
    if test:
        _test(found)
        return
    if settled:
        _settle(found, settled)
    matters = journal_of(found.data / "alerts", found.name).matters()
    going_on = [m for m in matters if not m.over]
    for matter in going_on:
        about = f"{matter.alert.title}  ({matter.alert.kind}, since {_shown(matter.since)})"
        console.print(about, style="bold", highlight=False, markup=False)
        console.print(f"  {matter.alert.text}\n  What to do: {matter.alert.remedy}", highlight=False, markup=False)
        if matter.alert.link:
            console.print(f"  {found.spec.alerts.ui}{matter.alert.link}", highlight=False, markup=False)
    if not going_on:
        console.print("Nothing is the matter, as far as the sensors have seen.")
    ended = sorted((m for m in matters if m.over), key=lambda m: str(m.over))
    _show_tellings([*ended[len(ended) - last :], *going_on] if last else going_on)


def _settle(pipeline: Pipeline, subject: str) -> None:
    """Ends the matters of a subject; what the sensors see at their next look all the same begins anew."""
    begun = [m.alert for m in journal_of(pipeline.data / "alerts", pipeline.name).matters() if not m.over]
    ended = [alert.key for alert in begun if alert.subject == subject]
    if not ended:
        known = ", ".join(sorted({alert.subject for alert in begun})) or "nothing"
        raise AlertError(f"--settled: expected what is the matter now, {known}; found {subject!r}.")
    tell(pipeline, [], datetime.now(UTC), ended)


def _test(pipeline: Pipeline) -> None:
    """Sends a test; exit code 1 if it didn't arrive everywhere."""
    results = try_channels(pipeline, datetime.now(UTC))
    for telling in results:
        came = f"it didn't arrive. {telling.error}" if telling.error else f"it arrived. {telling.remark}".rstrip()
        console.print(f"{telling.channel}: {came}", highlight=False, markup=False)
    if any(telling.error for telling in results):
        raise typer.Exit(1)


def _show_tellings(matters: list[Matter]) -> None:
    told = sorted((telling for matter in matters for telling in matter.tellings), key=lambda telling: telling.at)
    if not told:
        return
    table = Table(title="What was told", title_justify="left")
    for name in ("when", "channel", "what", "matter", "arrived"):
        table.add_column(name, no_wrap=name == "when")
    for telling in told:
        told_of = (OCCASIONS[telling.occasion], escape(telling.title), escape(_arrived(telling)))
        table.add_row(_shown(telling.at), telling.channel, *told_of)
    console.print(table)


def _arrived(telling: Telling) -> str:
    return f"no. {telling.error}" if telling.error else f"yes. {telling.remark}".rstrip(". ")


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
