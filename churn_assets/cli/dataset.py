"""churn dataset ...: what models learned from, what changed between two versions, and making one again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.errors import LakeError, MonthError
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.store.datasets import Manifest

dataset = typer.Typer(help="Dataset versions: what models learned from, made again bit for bit.", no_args_is_help=True)

VersionArgument = Annotated[str, typer.Argument(help="A version, the beginning of one, or a month for its newest.")]


@dataset.command(name="list")
def list_(pipeline: PipelineOption = "churn") -> None:
    """Show every version: what it consists of, the models made from it, and whether it can be made again."""
    found = open_pipeline(pipeline)
    models = _models(found)
    table = Table(title=f"{found.name}: dataset versions", title_justify="left")
    for name in ("version", "month", "split", "rows", "churn rate", "models", "can be made again"):
        table.add_column(name, justify="right" if name in ("rows", "churn rate") else "left", overflow="fold")
    for one in found.datasets.all():
        table.add_row(
            one.id,
            one.month,
            one.kind,
            f"{one.rows:,}",
            f"{one.rate:.2%}",
            ", ".join(models.get(one.id, [])) or "none",
            _again(found, one),
        )
    if table.row_count:
        console.print(table)
    else:
        console.print("There is no dataset yet: the first one is made once a label is mature.")


@dataset.command()
def show(
    version: VersionArgument,
    spec: Annotated[bool, typer.Option("--spec", help="Print the whole specification, as it was, as JSON.")] = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Show a version's manifest: its split, its parts, and every month that it was made from."""
    found = open_pipeline(pipeline)
    manifest = find(found, version)
    if spec:
        console.print_json(data=dict(manifest.specification))
        return
    told = {
        "month": manifest.month, "split": manifest.reason,
        **{part: ", ".join(months) or "none" for part, months in manifest.split.items()},
        "rows": f"{manifest.rows:,}, {manifest.rate:.2%} of them left", "features": str(len(manifest.features)),
        "models": ", ".join(_models(found).get(manifest.id, [])) or "none", "content": manifest.content,
        "specification": manifest.spec, "code": manifest.code,
        "libraries": ", ".join(f"{name} {release}" for name, release in manifest.libraries.items()),
        "can be made again": _again(found, manifest),
    }  # fmt: skip
    console.print(_table(f"{found.name}: dataset {manifest.id}", ("", ""), [tuple(pair) for pair in told.items()]))
    console.print(_table("Parts", ("month", "part", "rows", "left", "churn rate", "label unknown"), [
        (p["event_month"], p["part"], f"{p['rows']:,}", f"{p['positives']:,}",
         f"{p['positives'] / max(1, p['rows']):.2%}", f"{p['unknown']:,}") for p in manifest.parts
    ]))  # fmt: skip
    console.print(_table("Made from", ("month", "table", "rows", "table version", "content", "code", "specification"), [
        (t.month, t.table, f"{t.rows or 0:,}", "gone" if t.version is None else str(t.version), t.content[:12], t.code,
         t.spec) for t in manifest.inputs
    ]))  # fmt: skip


@dataset.command()
def diff(before: VersionArgument, after: VersionArgument, pipeline: PipelineOption = "churn") -> None:
    """Say what changed from one version to another."""
    from churn_assets.learning.versions import differences

    found = open_pipeline(pipeline)
    old, new = find(found, before), find(found, after)
    told = {subject: lines for subject, lines in differences(found.lake, old, new).items() if lines}
    console.print(f"From {old.id} ({old.month}) to {new.id} ({new.month})", highlight=False)
    for subject, lines in told.items():
        console.print(f"\n[bold]{subject}[/]")
        for line in lines:
            console.print("  ", Text(line), sep="", highlight=False)
    if not told:
        console.print("Nothing differs.")


@dataset.command()
def replay(
    version: VersionArgument,
    into: Annotated[
        Path | None, typer.Option(help="An empty folder to make it in, and keep; removed if not given.")
    ] = None,
    pipeline: PipelineOption = "churn",
) -> None:
    """Make features, dataset, model and predictions again from what was received, and compare them bit for bit."""
    from churn_assets.replay import replay as again

    found = open_pipeline(pipeline)
    manifest = find(found, version)
    with _folder(into) as folder, console.status("") as status:

        def on_stage(stage: str, month: Month, what: str) -> None:
            status.update(f"{stage} {month}{' ' + what if what.startswith('...') else ''}")

        made = again(found, manifest, folder, on_stage)
    title = f"{found.name}: dataset {manifest.id} of {manifest.month}, made again"
    console.print(_table(title, ("what", "recorded", "made again", "equal"), [
        (c.name, c.recorded[:16], c.rebuilt[:16], "yes" if c.equal else "NO") for c in made.compared
    ]))  # fmt: skip
    for doubt in made.doubts:
        console.print(Text(doubt, "yellow"))
    for one in made.different:
        console.print(Text(f"{one.name} differs. {one.problem}".rstrip(), "red"))
    if made.different:
        raise typer.Exit(1)
    console.print(f"Equal, bit for bit: all {len(made.compared)}.", highlight=False)


def find(pipeline: Pipeline, text: str) -> Manifest:
    """The dataset that a version, its beginning or a month names.

    Raises:
        LakeError: there is none, or there are several.
    """
    with suppress(MonthError):
        month = Month.parse(text)
        record = pipeline.lake.record("versioned_dataset", month)
        if record is None or not record.facts.get("id"):
            told = record.reason if record else "The month was never made."
            raise LakeError(f"dataset of {month}: expected one, found none. {told} See `churn dataset list`.")
        return pipeline.datasets.get(str(record.facts["id"]))
    return pipeline.datasets.find(text)


def _models(pipeline: Pipeline) -> dict[str, list[str]]:
    """The models that stand on their shelf, by the dataset that they learned from."""
    found: dict[str, list[str]] = {}
    for place in sorted(pipeline.models.root.glob("*/facts.json")):
        facts = json.loads(place.read_text())
        found.setdefault(str(facts["dataset"]), []).append(str(facts["model_id"]))
    return found


def _again(pipeline: Pipeline, manifest: Manifest) -> str:
    from churn_assets.replay import lost, made_by_other_code

    if gone := lost(pipeline, manifest):
        return f"no: {', '.join(gone[:2])}{' and more' if len(gone) > 2 else ''} is gone"
    changed = made_by_other_code(pipeline, manifest)
    return f"made by other code: {', '.join(changed)}" if changed else "yes"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


@contextmanager
def _folder(into: Path | None) -> Iterator[Path]:
    if into is not None:
        yield into.expanduser().resolve()
        return
    with tempfile.TemporaryDirectory(prefix="churn-replay-") as folder:
        yield Path(folder)
