"""What the commands share: the console, the pipeline they are about, and running months with a bar."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from churn_assets.errors import SpecError
from churn_assets.months import STAGES, Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings

console = Console(soft_wrap=True)

PipelineOption = Annotated[str, typer.Option("--pipeline", "-p", help="Name of the pipeline.")]


def open_pipeline(name: str) -> Pipeline:
    """The pipeline that is declared under ``name``.

    Raises:
        SpecError: there is none.
    """
    from churn_assets.definitions import pipelines

    with quiet():
        found = pipelines(Settings.from_environment())
    if name not in found:
        raise SpecError(f"--pipeline: expected one of {', '.join(sorted(found)) or 'none'}; found {name!r}.")
    return found[name]


def run_in_terminal(name: str, months: Sequence[Month], stages: Sequence[str] = (), force: bool = False) -> None:
    """Runs months with a bar that shows how far they have come; exit code 1 if one of them fails."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from churn_assets.definitions import defs
    from churn_assets.instance import MonthRun, open_instance, run_months

    pipeline = open_pipeline(name)
    with quiet():
        definitions = defs()
    begun = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with open_instance() as instance, Progress(*columns, console=console, transient=True) as progress, quiet():
        task = progress.add_task(f"{name}", total=len(months) * len(stages or STAGES))

        def on_stage(stage: str, month: Month, what: str) -> None:
            progress.update(task, description=f"{month} {stage}", advance=0 if what == "begins" else 1)

        done = 0

        def on_month(result: MonthRun) -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done * len(stages or STAGES))
            if not result.success:
                for problem in result.problems:
                    progress.console.print(f"[red]{result.month} failed[/]  {problem}", highlight=False)

        results = run_months(
            instance, definitions, pipeline, months, stages=stages, force=force, listener=on_stage, on_month=on_month
        )
    failed = [r for r in results if not r.success]
    console.print(
        f"{len(results) - len(failed)} of {len(results)} months done in {time.perf_counter() - begun:.1f} s.",
        highlight=False,
    )
    if failed:
        console.print(f"Failed: {', '.join(str(r.month) for r in failed)}. Look closer in the UI: `dagster dev`.")
        raise typer.Exit(1)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps libraries' remarks to developers away from users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
