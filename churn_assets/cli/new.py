"""churn new: a pipeline proposed from the files that are at hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from churn_assets.cli.terminal import console
from churn_assets.errors import SpecError
from churn_assets.months import Month
from churn_assets.proposal import Proposal, as_yaml, propose
from churn_assets.settings import Settings


def new(
    files: Annotated[
        list[Path], typer.Argument(help="A file of customers; or one a month, with its name saying which.")
    ],
    name: Annotated[str, typer.Option(help="Name of the pipeline.")],
    key: Annotated[str, typer.Option(help="The column that names the customer; found if not given.")] = "",
    churned: Annotated[str, typer.Option(help="The column that says who has left; found if not given.")] = "",
    month: Annotated[str, typer.Option(help="The month of one static table, YYYY-MM.")] = "2025-01",
    sheet: Annotated[str, typer.Option(help="The sheet of an Excel file that has several.")] = "",
) -> None:
    """Propose a pipeline for your own files: looks at them, and writes its defs.yaml."""
    begun = time.perf_counter()
    settings = Settings.from_environment()
    place = settings.defs / name / "defs.yaml"
    if place.exists():
        raise SpecError(f"{place}: expected no file, found a pipeline. It stays as it is; give another --name.")
    found = propose(files, name, settings.data, key, churned, Month.parse(month), sheet)
    text = as_yaml(found)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("x", encoding="utf-8") as file:
        file.write(text)
    _tell(found, place, time.perf_counter() - begun)


def _tell(found: Proposal, place: Path, seconds: float) -> None:
    looked = found.looked
    table = Table(title=f"{found.name}: {looked.rows:,} rows, {len(looked.names)} columns", title_justify="left")
    for heading in ("column", "is", "what was seen"):
        table.add_column(heading)
    if found.key.received:
        table.add_row(Text(found.key.received), "key", Text(found.key.seen))
    for column in found.columns:
        role = "who left" if column.given.get("role") == "churned" else "not used" if column.ignored else column.type
        table.add_row(Text(column.name), role, Text(column.seen))
    console.print(table)
    for told in _to_know(found):
        console.print("[yellow]-[/]", Text(told), highlight=False)
    console.print(f"Written in {seconds:.1f} s: {place}", highlight=False)
    where = (
        "in the data folder" if not Path(looked.path).is_absolute() else "by its whole path, outside the data folder"
    )
    console.print(f"It reads {looked.path} ({where}).", markup=False, highlight=False)
    console.print("Read the file, change what is wrong, then:", highlight=False)
    console.print(f"  {found.command}", highlight=False)
    console.print("  dagster dev", highlight=False)


def _to_know(found: Proposal) -> list[str]:
    told = [r for section in ("key", "max_error_rate", "value") for r in found.remarks[section]]
    told += [f"{c.name}: {r}" for c in found.columns for r in c.remarks]
    return told + [f"{name}: validation will stop and ask. {question}" for name, question in found.questions.items()]
