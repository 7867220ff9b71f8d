"""What the commands share: the console, the pipeline they are about, and running months with a bar."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from churn_assets.errors import SpecError
from churn_assets.months import STAGES, Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec.base import nearest

if TYPE_CHECKING:
    from churn_assets.assets.options import RunOptions
    from churn_assets.runs import MonthRun

OUTCOMES = {"made": "[green]made[/]", "unchanged": "skipped", "failed": "[red]failed[/]", "stopped": "stopped"}
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


def options_of(
    force: bool = False, force_from: str = "", candidates: str = "", tuning: bool | None = None
) -> RunOptions:
    """What a person asks of a run.

    Raises:
        SpecError: there is no stage called ``force_from``.
    """
    from churn_assets.assets.options import RunOptions

    if force_from and force_from not in STAGES:
        raise SpecError(f"--force-from: no stage is called {force_from!r}. {nearest(force_from, list(STAGES))}")
    given: dict[str, Any] = {"candidates": [name.strip() for name in candidates.split(",") if name.strip()]}
    if force or force_from:
        given["force"] = force_from or STAGES[0]
    if tuning is not None:
        given["tuning"] = "always" if tuning else "never"
    return RunOptions(**given)


def run_in_terminal(
    name: str, months: Sequence[Month], stages: Sequence[str] = (), options: RunOptions | None = None
) -> None:
    """Runs months with a bar that shows how far they have come; says of several how each ended.

    Raises:
        typer.Exit: with code 1 if one of them fails, with 130 if a person or SIGTERM stops it.
    """
    from churn_assets.definitions import defs
    from churn_assets.instance import open_instance
    from churn_assets.runs import run_months

    pipeline = open_pipeline(name)
    with quiet():
        definitions = defs()
    stopped = False
    bar = _Bar(len(months), len(stages or STAGES))
    with open_instance() as instance, bar.progress, quiet():
        try:
            run_months(
                instance, definitions, pipeline, months,
                stages=stages, options=options, listener=bar.on_stage, on_month=bar.on_month,
            )  # fmt: skip
        except KeyboardInterrupt:
            stopped = True
    _conclude(bar, stopped)


class _Bar:
    """How far months have come, in stages, with the time that is left by the months that took some."""

    def __init__(self, months: int, stages: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.months, self.stages = months, stages
        self.results: dict[Month, MonthRun] = {}
        self.begun = time.perf_counter()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console, transient=True,
        )  # fmt: skip
        self.task = self.progress.add_task("", total=months * stages, left="")

    def on_stage(self, stage: str, month: Month, what: str) -> None:
        if what.startswith("waits"):
            self.progress.console.print(f"{month} {what} ...", highlight=False)
        if what.startswith("tries again"):
            self.progress.console.print(f"{month} {stage}", Text(what), highlight=False)
        ended = what in ("skipped", "present", "empty")
        self.progress.update(self.task, description=f"{month} {stage}", advance=1 if ended else 0)

    def on_month(self, result: MonthRun) -> None:
        self.results[result.month] = result
        for problem in result.problems if result.outcome == "failed" else ():
            self.progress.console.print(f"[red]{result.month} failed[/] ", Text(problem), highlight=False)
        self.progress.update(self.task, completed=len(self.results) * self.stages, left=self._left())

    def _left(self) -> str:
        """The time left, as if every month to come had to be made: those that are skipped tell nothing."""
        took = [result.seconds for result in self.results.values() if result.outcome != "unchanged"]
        left = timedelta(seconds=round(mean(took) * (self.months - len(self.results)))) if took else None
        return f"about {left} left" if left else ""


def _conclude(bar: _Bar, stopped: bool) -> None:
    """Says how the months ended, and ends the command where one failed or somebody stopped it."""
    results = [result for _, result in sorted(bar.results.items())]
    done = [r for r in results if r.success]
    failed = [str(r.month) for r in results if r.outcome == "failed"]
    skipped = sum(r.outcome == "unchanged" for r in done)
    if bar.months > 1 and results:
        console.print(_table(results))
    console.print(
        f"{len(done)} of {bar.months} months done in {time.perf_counter() - bar.begun:.1f} s"
        f"{f', {skipped} of them unchanged and skipped' if skipped else ''}.",
        highlight=False,
    )
    if stopped:
        kept = "".join(f" {r.month} isn't whole; what its finished stages made is kept." for r in results if r.stopped)
        console.print(f"Stopped.{kept} Run the same command again to go on: it skips what is done.", highlight=False)
        raise typer.Exit(130)
    if failed:
        console.print(f"Failed: {', '.join(failed)}. Look closer in the UI: `dagster dev`.")
        raise typer.Exit(1)


def _table(results: Sequence[MonthRun]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("month", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for r in results:
        table.add_row(str(r.month), OUTCOMES[r.outcome], f"{r.seconds:.1f}", Text(" ".join(r.problems) or r.reason))
    return table


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps libraries' remarks to developers away from users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
