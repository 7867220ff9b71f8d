"""churn list and churn treatments ...: whom to contact, what was done with them, and what came of it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline

MonthOption = Annotated[str, typer.Option(help="The month of the list, YYYY-MM.")]

treatments = typer.Typer(help="What was done with listed customers, and what came of it.", no_args_is_help=True)


def list_(
    month: Annotated[str, typer.Option(help="The month, YYYY-MM; the newest one if not given.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many customers to show.")] = 20,
    to: Annotated[
        Path | None, typer.Option(help="Writes the whole list to this file too: .csv, .parquet or .xlsx.")
    ] = None,
    pipeline: PipelineOption = "churn",
) -> None:
    """Show the customers to contact, with reasons, and those to hold out."""
    from churn_assets.treatments import listed, newest_list, write

    found = open_pipeline(pipeline)
    record = newest_list(found, month)
    rows, facts, money = listed(found, record), record.facts, found.spec.value.currency
    table = Table(
        title=f"{found.name} {record.month}: {facts['contacts']:,} customers to contact for {facts['cost']:,.2f} "
        f"{money}, {facts['held_out']:,} held out",
        title_justify="left",
    )
    right = ("rank", "P(leave)", "decile", "expected value")
    for name in ("rank", "customer", "action", "P(leave)", "decile", "expected value", "why"):
        table.add_column(name, justify="right" if name in right else "left")
    for row in rows.head(top).iter_rows(named=True):
        why = "; ".join(row[r] for r in ("reason_1", "reason_2", "reason_3") if row[r])
        table.add_row(
            str(row["rank"]), str(row[found.key]), row["action"], f"{row['p_leave']:.1%}", str(row["decile"]),
            f"{row['expected_value']:,.2f} {money}", why,
        )  # fmt: skip
    console.print(table)
    console.print(f"Save rate {facts['save_rate']['told']}. {facts['save_rate']['reason']}", highlight=False)
    if to:
        write(rows, to, f"list {record.month}", found, Month.parse(record.month))
    console.print(f"All of them: {to or found.exports / record.month / 'retention_list.xlsx'}", highlight=False)


@treatments.command()
def template(
    month: MonthOption,
    to: Annotated[
        Path | None, typer.Option(help="The file: .xlsx, .csv or .parquet; in the exports if not given.")
    ] = None,
    pipeline: PipelineOption = "churn",
) -> None:
    """Write a sheet of a month's list, with empty columns for what was done."""
    from churn_assets.treatments import template as write

    found = open_pipeline(pipeline)
    place = to or found.exports / "treatments" / f"{month}.xlsx"
    rows = write(found, Month.parse(month), place)
    console.print(f"{rows:,} customers: {place}", highlight=False)
    console.print(
        "Write yes or no into treated, for the held out too; date (2025-06-30), cost, outcome (accepted, declined, "
        f"unreachable) and note as you like. Then: `churn treatments import {place} --month {month}{found.option}`.",
        highlight=False,
    )


@treatments.command(name="import")
def import_(
    sheet: Annotated[Path, typer.Argument(help="The sheet: CSV, Excel or Parquet.")],
    month: MonthOption,
    by: Annotated[str, typer.Option(help="Who tells it.")] = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Take in what was done with a month's list; an earlier log of the month is replaced."""
    from churn_assets.retention.treatment_log import contaminated
    from churn_assets.treatments import import_log

    found = open_pipeline(pipeline)
    listed = Month.parse(month)
    taken = import_log(found, listed, sheet, by or getpass.getuser())
    _show(found, listed)
    if taken.replaced:
        console.print("An earlier log of the month was replaced; it stays as an earlier version.")
    if taken.ignored:
        console.print(f"Columns that a log doesn't have: {', '.join(taken.ignored)}.", highlight=False)
    if wrong := contaminated(taken.log):
        console.print(
            f"[yellow]Held out and contacted all the same: {wrong:,}.[/] They go on counting as held out, which brings "
            "the measured effect nearer to none.",
            highlight=False,
        )
    if not found.calendar.horizon:
        console.print("Its effect can't be measured: no later month tells who left.")
        return
    mature = listed + found.calendar.horizon
    if found.lake.record("retention_list", mature):
        console.print(
            f"{mature} has been made without it: `churn run --month {mature}{found.option}`; `churn status` then "
            "shows which later lists it changes.",
            highlight=False,
        )


@treatments.command()
def show(month: MonthOption, pipeline: PipelineOption = "churn") -> None:
    """Show what was done with a month's list, and who left, once that is known."""
    _show(open_pipeline(pipeline), Month.parse(month))


def _show(found: Pipeline, month: Month) -> None:
    from churn_assets.retention.treatment_log import counted, outcomes
    from churn_assets.treatments import log_of

    log = log_of(found, month)
    table = Table(title=f"{found.name} {month}: what was done with the list", title_justify="left")
    for name in ("action", "customers", "contacted", "not contacted", "not told", "left"):
        table.add_column(name, justify="left" if name == "action" else "right")
    for row in counted(log).iter_rows(named=True):
        left = "not known yet" if row["left"] is None else f"{row['left']:,} of {row['known']:,}"
        table.add_row(row["action"], *(f"{row[n]:,}" for n in ("customers", "treated", "untreated", "untold")), left)
    console.print(table)
    for row in outcomes(log).iter_rows(named=True):
        console.print(f"{row['outcome']}: {row['customers']:,}", highlight=False)
    if log["cost"].count():
        console.print(f"Cost told: {log['cost'].sum():,.2f} {found.spec.value.currency}", highlight=False)
