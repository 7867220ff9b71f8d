"""churn quarantine ... and churn incoming: what came in, what was set aside, and the way back."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline, run_in_terminal
from churn_assets.errors import SpecError
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline

MonthOption = Annotated[str, typer.Option(help="The month, YYYY-MM.")]

quarantine = typer.Typer(help="Rows that broke a rule: list them, mend them, take them back.", no_args_is_help=True)


@quarantine.command(name="list")
def list_(pipeline: PipelineOption = "churn") -> None:
    """Show how many rows are in quarantine, by month and rule."""
    from churn_assets.quarantine import counts, unsettled

    found = open_pipeline(pipeline)
    table = Table(title=f"{found.name}: rows in quarantine", title_justify="left")
    for name in ("month", "rule", "column", "rows", "expected"):
        table.add_column(name, justify="right" if name == "rows" else "left", no_wrap=name == "month")
    for row in (told := counts(found)).iter_rows(named=True):
        table.add_row(row["month"], row["rule"], row["column"], f"{row['rows']:,}", row["expected"])
    if told.is_empty():
        console.print("No row is in quarantine.")
    else:
        console.print(table)
        _see(found, told["month"][-1])
    for month in unsettled(found):
        console.print(f"[yellow]{month}[/] was received and isn't validated. ", end="", highlight=False)
        _see(found, month)


@quarantine.command()
def show(
    month: MonthOption,
    top: Annotated[int, typer.Option(min=1, help="How many lines to show.")] = 20,
    pipeline: PipelineOption = "churn",
) -> None:
    """Show a month's quarantined rows: who, where in which file, which rule, and what was found."""
    from churn_assets.quarantine import lines

    found = open_pipeline(pipeline)
    told = lines(found, Month.parse(month))
    if told.is_empty():
        console.print(f"No row of {month} is in quarantine.")
        return
    table = Table(title=f"{found.name} {month}: {told['_row'].n_unique():,} rows in quarantine", title_justify="left")
    for name in ("row", "customer", "file and line", "rule", "column", "found", "expected"):
        table.add_column(name)
    for row in told.head(top).iter_rows(named=True):
        place = f"{row['_file'] or ''}{':' + str(row['_line']) if row['_line'] else ''}"
        texts = (row["customer"], place, row["rule"], row["column"], row["value"], row["expected"])
        table.add_row(str(row["_row"]), *("" if text is None else str(text) for text in texts))
    console.print(table)
    if len(told) > top:
        console.print(f"and {len(told) - top:,} lines more.")
    console.print(
        f"Mend them: `churn quarantine export --month {month}{found.option}`, change the file, then "
        f"`churn quarantine readmit FILE --month {month}{found.option}`.",
        highlight=False,
    )


@quarantine.command()
def export(
    month: MonthOption,
    to: Annotated[Path | None, typer.Option(help="The file; in the exports if not given.")] = None,
    pipeline: PipelineOption = "churn",
) -> None:
    """Write a month's quarantined rows, as received, to a CSV file that can be mended in place."""
    from churn_assets.quarantine import export as write

    found = open_pipeline(pipeline)
    place = to or found.exports / "quarantine" / f"{month}.csv"
    rows = write(found, Month.parse(month), place)
    console.print(f"{rows:,} rows: {place}", highlight=False)
    console.print(
        "Mend values in place; write discard into churn_action of a row that is no customer's (a total, say); leave "
        f"the others as they are. Then: `churn quarantine readmit {place} --month {month}{found.option}`.",
        highlight=False,
    )


@quarantine.command()
def readmit(
    month: MonthOption,
    sheet: Annotated[Path | None, typer.Argument(help="The mended file; none if the rules were changed.")] = None,
    by: Annotated[str, typer.Option(help="Who mended them.")] = "",
    note: Annotated[str, typer.Option(help="Why, for those who ask later.")] = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Take rows back that were mended in an exported file, or that changed rules now let through."""
    from churn_assets.quarantine import counts
    from churn_assets.quarantine import readmit as take_back

    found = open_pipeline(pipeline)
    wanted = Month.parse(month)
    if sheet is not None:
        outcome = take_back(found, wanted, sheet, by or getpass.getuser(), note)
        console.print(
            f"{outcome.amended:,} rows amended, {outcome.untouched:,} left as they are. Of {outcome.before:,} rows in "
            f"quarantine, {outcome.after:,} will stay once the month is run.",
            highlight=False,
        )
        for row in outcome.broken.head(5).iter_rows(named=True):
            console.print(
                f"[yellow]still broken[/] row {row['_row']}: {row['column']} expected {row['expected']}, found "
                f"{row['value']!r}",
                highlight=False,
            )
    run_in_terminal(found.name, [wanted])
    _heal(found, wanted)
    left = counts(found).filter(month=month)["rows"].sum()
    console.print(f"In quarantine of {month} now: {left:,}.", highlight=False)


def incoming(pipeline: PipelineOption = "churn") -> None:
    """Show what lies in the drop folder, and what will become of it."""
    from churn_assets.sources.incoming import IncomingSource

    found = open_pipeline(pipeline)
    if not isinstance(found.source, IncomingSource):
        raise SpecError(
            f"--pipeline: expected one whose source is of type incoming, found {found.name} with "
            f"{found.spec.source.type}."
        )
    waiting = found.source.look()
    if not waiting:
        console.print("Nothing is waiting.")
        return
    table = Table(title=f"{found.name}: files that wait", title_justify="left")
    for name in ("file", "month", "status", "what it means"):
        table.add_column(name)
    for file in waiting:
        table.add_row(file.name, str(file.month or ""), file.status, file.note)
    console.print(table)
    for ready in sorted({file.month for file in waiting if file.status == "ready" and file.month}):
        console.print(f"Take it in: `churn run --month {ready}{found.option}`.", highlight=False)


def _heal(pipeline: Pipeline, month: Month) -> None:
    """Runs the later months that were made from what has changed."""
    from churn_assets.assets import ALL
    from churn_assets.assets.reasons import stale_months

    codes = {name: stage.code(pipeline) for name, stage in ALL.items()}
    stale = {m: found for m, found in stale_months(pipeline, codes).items() if m > month}
    while stale:
        first = min(stale)
        console.print(f"{first} again: {stale[first][0].stage}: {stale[first][0].reason}", highlight=False)
        run_in_terminal(pipeline.name, [first])
        stale = {m: found for m, found in stale_months(pipeline, codes).items() if m > first}


def _see(pipeline: Pipeline, month: Month | str) -> None:
    console.print(f"Look closer: `churn quarantine show --month {month}{pipeline.option}`.", highlight=False)
