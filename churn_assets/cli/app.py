"""The command line as a whole, and the commands that run months and look at them."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from dotenv import load_dotenv
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from churn_assets.cli.dataset import dataset
from churn_assets.cli.features import features
from churn_assets.cli.intake import incoming, quarantine
from churn_assets.cli.new import new
from churn_assets.cli.promotion import promote, reject, rollback, withdraw
from churn_assets.cli.terminal import PipelineOption, console, open_pipeline, run_in_terminal
from churn_assets.cli.treatments import list_, treatments
from churn_assets.cli.why import why
from churn_assets.errors import ChurnAssetsError, SpecError
from churn_assets.months import STAGES, Month, month_range
from churn_assets.settings import Settings, checkout

app = typer.Typer(
    help="Customer churn, month by month: run, backfill, look at what stands, and get the list.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
SYMBOLS = {"present": "[green]●[/]", "empty": "[dim]○[/]", "stale": "[yellow]◐[/]", "missing": "[red]·[/]"}


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
    # Without lines between them, all stages find room in a hundred columns.
    table = Table(title=f"{found.name}: months and stages", title_justify="left", box=SIMPLE_HEAD, padding=0)
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


app.command(name="list")(list_)
for _command in (incoming, new, promote, reject, rollback, withdraw):
    app.command()(_command)
for _name, _commands in {
    "treatments": treatments, "why": why, "dataset": dataset, "features": features, "quarantine": quarantine,
}.items():  # fmt: skip
    app.add_typer(_commands, name=_name)
