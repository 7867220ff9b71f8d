"""churn promote, reject, rollback, withdraw and retrain: a person decides which model scores customers."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.table import Table

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline, run_in_terminal
from churn_assets.learning.promotion import Verdict
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline

MonthOption = Annotated[str, typer.Option(help="The month, YYYY-MM.")]
NewestOption = Annotated[str, typer.Option(help="The month, YYYY-MM; the newest decided one if not given.")]
WhyOption = Annotated[str, typer.Option(help="Why, for those who ask later.")]
ByOption = Annotated[str, typer.Option(help="Who says so; the user of this machine if not given.")]


def promote(
    model: Annotated[str, typer.Argument(help="Id of the model, such as 2025-06-xgboost-1a2b3c4d.")],
    month: MonthOption,
    why: WhyOption,
    by: ByOption = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Make a model the champion of a month, whatever the gate says of floors and margin."""
    _decide(open_pipeline(pipeline), Month.parse(month), Verdict("promote", model, by or getpass.getuser(), why))


def reject(month: MonthOption, why: WhyOption, by: ByOption = "", pipeline: PipelineOption = "churn") -> None:
    """Keep the champion before a month, even if the gate would replace it."""
    _decide(open_pipeline(pipeline), Month.parse(month), Verdict("reject", None, by or getpass.getuser(), why))


def rollback(
    why: WhyOption,
    month: NewestOption = "",
    to: Annotated[str, typer.Option(help="Id of the model; the champion before the present one if not given.")] = "",
    by: ByOption = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Go back to an earlier champion from a month on, until a later month's gate promotes another one."""
    from churn_assets.verdicts import before_the_present, newest_decided

    found = open_pipeline(pipeline)
    wanted = Month.parse(month) if month else newest_decided(found)
    model = to or before_the_present(found, wanted)
    _decide(found, wanted, Verdict("rollback", model, by or getpass.getuser(), why))


def withdraw(month: MonthOption, why: WhyOption, by: ByOption = "", pipeline: PipelineOption = "churn") -> None:
    """Take a person's verdict on a month back: the gate alone decides it again."""
    from churn_assets.verdicts import withdraw as take_back

    found = open_pipeline(pipeline)
    take_back(found, Month.parse(month), by or getpass.getuser(), why)
    _carry_out(found, Month.parse(month))


def retrain(
    month: MonthOption,
    why: WhyOption,
    tuning: Annotated[
        bool, typer.Option("--tuning", help="With the searches that candidates make on order alone.")
    ] = False,
    take_back: Annotated[bool, typer.Option("--withdraw", help="Take the order back instead.")] = False,
    by: ByOption = "",
    pipeline: PipelineOption = "churn",
) -> None:
    """Order a training in a month, whether or not a model is due, and run the month."""
    from churn_assets.orders import Order, give, withdraw

    found, wanted, who = open_pipeline(pipeline), Month.parse(month), by or getpass.getuser()
    if take_back:
        withdraw(found, wanted, who, why)
    else:
        give(found, wanted, Order(who, why, tuning))
    _carry_out(found, wanted)


def _decide(pipeline: Pipeline, month: Month, verdict: Verdict) -> None:
    from churn_assets.verdicts import give

    give(pipeline, month, verdict)
    _carry_out(pipeline, month)


def _carry_out(pipeline: Pipeline, month: Month) -> None:
    """Decides the month again, then the later ones that had another champion, until one comes out as it was.

    A month that was never made is made from its source on.
    """
    from churn_assets.verdicts import BEHIND, concerned

    decided: list[Month] = []
    following: Month | None = month
    try:
        while following is not None:
            decided.append(following)
            begun = pipeline.lake.record("versioned_dataset", following)
            run_in_terminal(pipeline.name, [following], BEHIND if begun else ())
            following = concerned(pipeline, following)
    finally:
        _tell(pipeline, decided)


def _tell(pipeline: Pipeline, months: list[Month]) -> None:
    from churn_assets.verdicts import decision_of

    table = Table(title=f"{pipeline.name}: decisions", title_justify="left")
    for name in ("month", "outcome", "champion", "decided by", "why"):
        table.add_column(name, no_wrap=name == "month")
    for month in (m for m in months if pipeline.lake.record("promotions", m)):
        decision = decision_of(pipeline, month)
        texts = (decision["outcome"], decision["champion"] or "none", decision["decided_by"], decision["reason"])
        table.add_row(str(month), *texts)
    console.print(table)
