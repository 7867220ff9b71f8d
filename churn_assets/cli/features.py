"""churn features ...: what the features are, what they were at given moments, and their way to Feast."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month
from churn_assets.store.lake import replace_file

if TYPE_CHECKING:
    import polars as pl

features = typer.Typer(help="Features: what they are, and what they were at given moments.", no_args_is_help=True)


@features.command(name="list")
def list_(pipeline: PipelineOption = "churn") -> None:
    """Show every feature: its kind, its type, the months that it looks at, and what it is."""
    from churn_assets.features.profile import definitions

    found = open_pipeline(pipeline)
    told = definitions(found.spec)
    table = Table(title=f"{found.name}: {len(told)} features", title_justify="left")
    for name in ("feature", "kind", "type", "window", "description"):
        table.add_column(name, no_wrap=name == "feature")
    for row in told.iter_rows(named=True):
        table.add_row(*(Text(row[name]) for name in ("feature", "kind", "type", "window", "description")))
    console.print(table)


@features.command()
def page(
    to: Annotated[Path, typer.Option(help="The Markdown file to write.")],
    month: Annotated[str, typer.Option(help="The month, YYYY-MM; the newest one if not given.")] = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Write the feature page: what each feature means, and how it is distributed, drifts and tells who left."""
    from churn_assets.feature_page import feature_page, newest

    found = open_pipeline(pipeline)
    chosen = Month.parse(month) if month else newest(found)
    replace_file(to, feature_page(found, chosen).encode())
    console.print(f"{len(found.spec.feature_names)} features of {chosen}: {to}", highlight=False)


@features.command()
def get(
    entities: Annotated[Path, typer.Argument(help="CSV or Parquet: a customer and a moment in each row.")],
    to: Annotated[Path, typer.Option(help="The file to write, .csv or .parquet.")],
    select: Annotated[str, typer.Option(help="Features, separated by commas; all if not given.")] = "",
    max_age: Annotated[
        int | None,
        typer.Option(min=0, help="How many newer months may be complete; 0: the newest one's features only."),
    ] = None,
    customer: Annotated[str, typer.Option(help="The customer's column, if it isn't called as in the features.")] = "",
    timestamp: Annotated[str, typer.Option(help="The column that says the moment.")] = "timestamp",
    pipeline: PipelineOption = "churn",
) -> None:
    """Put beside each row the features that were known of its customer at its moment, and nothing later."""
    begun = time.perf_counter()
    found = open_pipeline(pipeline)
    _suffix(to)
    names = [n.strip() for n in select.split(",") if n.strip()] or None
    rows = found.offline.get_training_frame(
        _read(entities), names, max_age, customer=customer or None, timestamp=timestamp
    )
    _write(rows, to)
    months = rows["event_month"].drop_nulls().dt.strftime("%Y-%m").unique().sort().to_list()
    told = f", of {months[0]} to {months[-1]}" if months else ""
    console.print(
        f"{rows['event_month'].count():,} of {len(rows):,} rows have features{told}. Written in "
        f"{time.perf_counter() - begun:.1f} s: {to}",
        highlight=False,
    )


@features.command(name="export-feast")
def feast(
    to: Annotated[Path, typer.Option(help="The folder of the Feast repository.")], pipeline: PipelineOption = "churn"
) -> None:
    """Write a Feast repository over the same table; nothing is copied."""
    from churn_assets.feast_export import FEAST, export_feast

    made = export_feast(open_pipeline(pipeline), to)
    copied = f", {', '.join(made.copied)} copied" if made.copied else ""
    console.print(
        f"{made.months[0]} to {made.months[-1]}: {len(made.linked)} months linked{copied}: {made.folder}",
        highlight=False,
    )
    console.print("In an environment of its own, because Feast's pins clash with ours:", highlight=False)
    console.print(f"  pip install '{FEAST}'", markup=False, highlight=False)
    console.print(f"  cd {made.folder} && feast apply", highlight=False)


def _suffix(file: Path) -> str:
    if (suffix := file.suffix.casefold()) not in (".csv", ".parquet"):
        raise SpecError(f"{file}: expected a name that ends with .csv or .parquet, found {suffix or 'neither'}.")
    return suffix


def _read(file: Path) -> pl.DataFrame:
    """The rows of a file; those of a CSV file as texts, so that nothing is lost on their way through."""
    import polars as pl

    try:
        return pl.read_csv(file, infer_schema=False) if _suffix(file) == ".csv" else pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(
            f"{file}: expected rows of customers and moments, found: {str(error).splitlines()[0]}."
        ) from error


def _write(rows: pl.DataFrame, file: Path) -> None:
    """Writes the file in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    if _suffix(file) == ".csv":
        rows.write_csv(part)
    else:
        rows.write_parquet(part)
    part.replace(file)
