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
from rich.text import Text

from churn_assets.cli.alerts import alerts
from churn_assets.cli.backfill import backfill, status
from churn_assets.cli.dataset import dataset
from churn_assets.cli.features import features
from churn_assets.cli.intake import incoming, quarantine
from churn_assets.cli.new import new
from churn_assets.cli.promotion import promote, reject, retrain, rollback, withdraw
from churn_assets.cli.report import report
from churn_assets.cli.terminal import PipelineOption, console, open_pipeline, options_of, run_in_terminal
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
    force_from: Annotated[str, typer.Option(help="Compute even what is unchanged, from this stage on.")] = "",
    candidates: Annotated[
        str, typer.Option(help="Candidates to train besides the baseline, separated by commas; all if not given.")
    ] = "",
    tuning: Annotated[
        bool | None,
        typer.Option("--tuning/--no-tuning", help="Search for better parameters, or don't; as declared if not given."),
    ] = None,
    pipeline: PipelineOption = "churn",
) -> None:
    """Run one month. Which candidates were trained, and how, stays so until the month's inputs change."""
    stages = [s.strip() for s in select.split(",") if s.strip()]
    if unknown := [s for s in stages if s not in STAGES]:
        raise SpecError(f"--select: expected stages of {', '.join(STAGES)}; found {', '.join(unknown)}.")
    options = options_of(force, force_from, candidates, tuning)
    run_in_terminal(pipeline, [Month.parse(month)], stages, options)


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
    homes = [settings.data / name for name in ("lake", "mlflow", "exports", "online", "alerts")]
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
    run_in_terminal(pipeline, list(month_range(start, start + (months - 1))))
    console.print(summarise(found))


app.command(name="list")(list_)
for _command in (alerts, backfill, status, incoming, new, promote, reject, report, retrain, rollback, withdraw):
    app.command()(_command)
for _name, _commands in {
    "treatments": treatments, "why": why, "dataset": dataset, "features": features, "quarantine": quarantine,
}.items():  # fmt: skip
    app.add_typer(_commands, name=_name)
