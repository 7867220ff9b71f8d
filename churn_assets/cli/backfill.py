"""The commands that find months to run, and run many of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline, options_of, run_in_terminal
from churn_assets.errors import SpecError
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.staleness import Gap, State, gaps, made_so_far, states

SYMBOLS = {"present": "[green]●[/]", "empty": "[dim]○[/]", "stale": "[yellow]◐[/]", "missing": "[red]·[/]"}
SHOWN = 10
"""Months of which a reason is shown."""


def backfill(
    months: Annotated[
        list[str] | None, typer.Argument(help="Months in any order, YYYY-MM or YYYY-MM..YYYY-MM.", show_default=False)
    ] = None,
    first: Annotated[str, typer.Option("--from", help="First month, YYYY-MM; the pipeline's start if not given.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last month, YYYY-MM; the pipeline's end if not given.")] = "",
    missing: Annotated[
        bool, typer.Option("--missing", help="Of these only months that are due or missing, stale, or failed.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Compute even what is unchanged.")] = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Run many months, ascending, in one process; a month that fails doesn't stop the others.

    What is unchanged is skipped: after an interruption, the same command goes on where it was. What other processes
    make at the same time is waited for.
    """
    found = open_pipeline(pipeline)
    if months and (first or last):
        raise SpecError("--from, --to: expected months or a range, found both. Write the range as YYYY-MM..YYYY-MM.")
    begin = Month.parse(first) if first else found.spec.months.start
    lacking = {gap.month for gap in _gaps(found)} if missing else set()
    end = Month.parse(last) if last else max({begin, *lacking}) if missing else found.spec.months.end
    wanted = _named(months) if months else _ranged(begin, end)
    if missing:
        wanted &= lacking
    if not wanted:
        console.print("Nothing is missing: what was asked for was made and is up to date.")
        return
    run_in_terminal(pipeline, sorted(wanted), options=options_of(force=force))


def _named(texts: Iterable[str]) -> set[Month]:
    """The months that people name, one by one or as ranges; commas may stand between them."""
    found: set[Month] = set()
    for text in filter(None, ",".join(texts).split(",")):
        first, dots, last = text.partition("..")
        begin, end = Month.parse(first), Month.parse(last if dots else first)
        if end < begin:
            raise SpecError(f"{text}: expected a month on or after {begin} behind the dots, found {end}.")
        found.update(month_range(begin, end))
    return found


def _ranged(begin: Month, end: Month | None) -> set[Month]:
    if end is None:
        raise SpecError("--to: expected the last month as YYYY-MM; the pipeline itself has no end.")
    if end < begin:
        raise SpecError(f"--to: expected a month on or after {begin}, found {end}.")
    return set(month_range(begin, end))


def status(pipeline: PipelineOption = "churn") -> None:
    """Show how every month stands, what is missing, failed, stale or due, and the command that mends it."""
    found = open_pipeline(pipeline)
    _tell_source(found)
    stand = _states(found)
    if not stand:
        option = f"{found.option} --month {found.spec.months.start}"
        console.print(f"Nothing has been made yet. Begin with `churn run{option}`.", highlight=False)
        return
    console.print(_table(found, stand))
    console.print("  ".join(f"{symbol} {name}" for name, symbol in SYMBOLS.items()))
    lacking = _gaps(found, stand)
    for gap in [gap for gap in lacking if gap.kind != "due"][:SHOWN]:
        console.print(f"[yellow]{gap.kind}[/]", Text(f"{gap.month}: {gap.reason}"), highlight=False)
    if (more := sum(gap.kind != "due" for gap in lacking) - SHOWN) > 0:
        console.print(f"and {more} more.")
    if due := [gap.month for gap in lacking if gap.kind == "due"]:
        console.print(f"[yellow]due[/] {_in_words(due)}: never made, although complete by now.", highlight=False)
    if lacking:
        console.print(f"To mend it all: `{found.lake.command} --missing`", highlight=False)


def _table(pipeline: Pipeline, stand: dict[Month, dict[str, State]]) -> Table:
    # Without lines between them, all stages find room in a hundred columns.
    table = Table(title=f"{pipeline.name}: months and stages", title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("month", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage.replace("_", "\n"), justify="center")
    for month, row in stand.items():
        table.add_row(str(month), f"{row['raw_data'].rows:,}", *(SYMBOLS[s.status] for s in row.values()))
    return table


def _states(pipeline: Pipeline) -> dict[Month, dict[str, State]]:
    from churn_assets.assets import ALL

    return states(pipeline, made_so_far(pipeline), {name: stage.code(pipeline) for name, stage in ALL.items()})


def _gaps(pipeline: Pipeline, stand: dict[Month, dict[str, State]] | None = None) -> list[Gap]:
    from churn_assets.instance import failures, open_instance

    with open_instance() as instance:
        failed = failures(instance, pipeline)
    return gaps(pipeline, _states(pipeline) if stand is None else stand, datetime.now(UTC), failed)


def _tell_source(pipeline: Pipeline) -> None:
    """Says that the source couldn't be reached lately, if that is so."""
    from churn_assets.assets.breaker import breaker
    from churn_assets.instance import open_instance

    with open_instance() as instance:
        found = breaker(instance, pipeline, datetime.now(UTC))
    if found.failures:
        console.print(f"[yellow]source {found.status.replace('_', ' ')}[/]", Text(f"{found.reason} {found.error}"))


def _in_words(months: list[Month]) -> str:
    """``months``, ascending, as ranges."""
    runs = [[m for _, m in group] for _, group in groupby(enumerate(months), lambda at: at[1].ordinal - at[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]} ({len(run)} months)" for run in runs)
