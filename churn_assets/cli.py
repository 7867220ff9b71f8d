"""churn: the pipeline from a terminal, on the same Dagster instance that the UI shows."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from dotenv import load_dotenv
from rich.table import Table
from rich.text import Text

from churn_assets.cli_features import features
from churn_assets.cli_intake import incoming
from churn_assets.cli_intake import quarantine as quarantine_app
from churn_assets.cli_new import new
from churn_assets.errors import ChurnAssetsError, SpecError
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings, checkout
from churn_assets.store.lake import MonthRecord
from churn_assets.terminal import PipelineOption, console, open_pipeline, run_in_terminal

app = typer.Typer(
    help="Customer churn, month by month: run, backfill, look at what stands, and get the list.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
SYMBOLS = {"present": "[green]●[/]", "empty": "[dim]○[/]", "stale": "[yellow]◐[/]", "missing": "[red]·[/]"}


app.add_typer(quarantine_app, name="quarantine")
app.add_typer(features, name="features")
app.command()(incoming)
app.command()(new)


def main() -> None:
    """Runs the command line; an expected error is one sentence and exit code 1."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    load_dotenv(Path(".env"))  # as `dagster dev` does
    try:
        app()
    except ChurnAssetsError as error:
        console.print(f"[red]{type(error).__name__}[/]:", Text(str(error)), highlight=False)
        sys.exit(1)


@app.command()
def run(
    month: Annotated[str, typer.Option(help="The month, YYYY-MM.")],
    select: Annotated[str, typer.Option(help="Stages to run, separated by commas; all if not given.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Compute even what is unchanged.")] = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Run one month."""
    stages = [s.strip() for s in select.split(",") if s.strip()]
    if unknown := [s for s in stages if s not in STAGES]:
        raise SpecError(f"--select: expected stages of {', '.join(STAGES)}; found {', '.join(unknown)}.")
    run_in_terminal(pipeline, [Month.parse(month)], stages, force)


@app.command()
def backfill(
    first: Annotated[str, typer.Option("--from", help="First month, YYYY-MM; the pipeline's start if not given.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last month, YYYY-MM.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Compute even what is unchanged.")] = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Run a range of months, ascending; a month that fails doesn't stop the others."""
    spec = open_pipeline(pipeline).spec
    begin = Month.parse(first) if first else spec.months.start
    end = Month.parse(last) if last else spec.months.end
    if end is None:
        raise SpecError("--to: expected the last month as YYYY-MM; the pipeline itself has no end.")
    if end < begin:
        raise SpecError(f"--to: expected a month on or after {begin}, found {end}.")
    run_in_terminal(pipeline, list(month_range(begin, end)), [], force)


@app.command()
def status(pipeline: PipelineOption = "churn") -> None:
    """Show which months of which stages are there, empty, stale or missing, and why."""
    from churn_assets.assets import ALL
    from churn_assets.staleness import states

    found = open_pipeline(pipeline)
    made = [m for stage in STAGES for m in found.lake.months(stage)]
    if not made:
        console.print(f"Nothing has been made yet. Begin with `churn run --month {found.spec.months.start}`.")
        return
    codes = {name: stage.code(found) for name, stage in ALL.items()}
    table = Table(title=f"{found.name}: months and stages", title_justify="left")
    table.add_column("month", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for stage in STAGES:
        table.add_column(stage.replace("_", "\n"), justify="center")
    reasons = []
    for month, row in states(found, month_range(found.spec.months.start, max(made)), codes).items():
        table.add_row(str(month), f"{row['raw_data'].rows:,}", *(SYMBOLS[s.status] for s in row.values()))
        reasons += [f"{s.stage} {month}: {s.reason}" for s in row.values() if s.status == "stale"]
    console.print(table)
    console.print("  ".join(f"{symbol} {name}" for name, symbol in SYMBOLS.items()))
    for reason in reasons[:10]:
        console.print(f"[yellow]stale[/] {reason}", highlight=False)
    if len(reasons) > 10:
        console.print(f"and {len(reasons) - 10} more.")


@app.command(name="list")
def list_(
    month: Annotated[str, typer.Option(help="The month, YYYY-MM; the newest one if not given.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many customers to show.")] = 20,
    pipeline: PipelineOption = "churn",
) -> None:
    """Show the customers that are worth contacting."""
    import polars as pl

    found = open_pipeline(pipeline)
    record = _predictions(found, month)
    rows = found.lake.scan_record(record).filter(pl.col("on_list")).sort("rank").collect()
    table = Table(title=f"{found.name} {record.month}: {len(rows):,} customers worth contacting", title_justify="left")
    for name in ("rank", "customer", "P(leave)", "expected value", "why"):
        table.add_column(name, justify="right" if name in ("rank", "P(leave)", "expected value") else "left")
    for row in rows.head(top).iter_rows(named=True):
        why = "; ".join(row[r] for r in ("reason_1", "reason_2", "reason_3") if row[r])
        value = f"{row['expected_value']:,.2f} {found.spec.value.currency}"
        table.add_row(str(row["rank"]), row[found.key], f"{row['p_leave']:.1%}", value, why)
    console.print(table)
    console.print(f"All of them: {found.exports / record.month / 'contact_list.csv'}", highlight=False)


@app.command()
def customer(
    customer_id: Annotated[str, typer.Argument(help="The customer's id.")], pipeline: PipelineOption = "churn"
) -> None:
    """Look a customer's newest features up, as an application would."""
    found = open_pipeline(pipeline)
    features = found.online.lookup(customer_id)
    if features is None:
        served = found.online.served()
        place = f"{served[1]:,} customers of {served[0]} are served" if served else "no month is served yet"
        raise ChurnAssetsError(f"{customer_id}: expected a customer of {found.online.place}, found none; {place}.")
    console.print_json(data=features, default=str)


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove everything that was made: tables, models, MLflow, exports and Dagster's history. Incoming files stay."""
    settings = Settings.from_environment()
    homes = [settings.data / name for name in ("lake", "mlflow", "exports", "online")]
    if elsewhere := os.environ.get("DAGSTER_HOME"):
        console.print(f"Dagster's history in {elsewhere} (DAGSTER_HOME) is left alone.", highlight=False)
    else:
        homes += [checkout() / "data" / "dagster_home"]
    there = [h for h in homes if h.exists()]
    if not there:
        console.print("There is nothing to remove.")
        return
    for home in there:
        console.print(f"  {home}", highlight=False)
    if yes or typer.confirm("Remove these for good?"):
        for home in there:
            shutil.rmtree(home)
        console.print("Removed.")


@app.command()
def demo(
    months: Annotated[int, typer.Option(min=1, help="How many months.")] = 24, pipeline: PipelineOption = "churn"
) -> None:
    """Run the first months of a pipeline, then sum up what came of them."""
    from churn_assets.summary import summarise

    found = open_pipeline(pipeline)
    start = found.spec.months.start
    run_in_terminal(pipeline, list(month_range(start, start + (months - 1))), [], False)
    console.print(summarise(found))


def _predictions(found: Pipeline, month: str) -> MonthRecord:
    wanted = [Month.parse(month)] if month else list(reversed(found.lake.months("predictions")))
    for candidate in wanted:
        record = found.lake.record("predictions", candidate)
        if record and record.status == "present":
            return record
    named = wanted[0] if wanted else found.spec.months.start
    if made := found.lake.record("predictions", named):
        raise ChurnAssetsError(
            f"predictions {named}: expected scored customers, found none. {made.reason} "
            f"{_newest_decision(found, named)}"
        )
    raise ChurnAssetsError(
        f"predictions {named}: expected scored customers, found none. "
        f"Run `{found.lake.remedy.format(first=found.spec.months.start, last=named)}`."
    )


def _newest_decision(found: Pipeline, month: Month) -> str:
    """What the gate said last, up to a month."""
    records = [found.lake.record("promotions", m) for m in found.lake.months("promotions") if m <= month]
    if not (made := [record for record in records if record and record.files]):
        return ""
    decision = found.lake.scan_record(made[-1]).collect().row(0, named=True)
    return f"The gate of {made[-1].month}, {decision['outcome']}: {decision['reason']}"


if __name__ == "__main__":
    main()
