"""What the month took of the machine, and what that costs."""

from __future__ import annotations

import polars as pl

from churn_assets.monitoring.report import Section, Table
from churn_assets.reporting.recorded import BEFORE, Recorded
from churn_assets.reporting.wording import number
from churn_assets.spec.operation import CostsSpec
from churn_assets.usage import Usage


def section(of: Recorded) -> Section:
    """Time, processor, memory and money by stage, as the stages that stand were made."""
    used = {stage: Usage(**found) for stage in BEFORE if (found := of.facts(stage).get("usage"))}
    if not used:
        return Section("cost", "Cost", "What the month took of the machine wasn't recorded.")
    rates, every = of.pipeline.spec.costs, list(used.values())
    whole = Usage(
        sum(u.seconds for u in every), sum(u.cpu_seconds for u in every), max(u.peak_mib for u in every), True
    )
    money = sum(u.cost(rates) for u in every)
    lines = [*(_line(stage, u, u.cost(rates)) for stage, u in used.items()), _line("all of them", whole, money)]
    columns = ("stage", "seconds", "cpu seconds", "peak memory (MiB)", f"cost ({rates.currency})")
    frame = pl.DataFrame(lines, dict.fromkeys(columns, pl.String), orient="row")
    shown = frame if rates.any else frame.drop(columns[-1])
    table = Table("By stage; monitoring, which made this report, isn't counted", shown, ("stage",))
    return Section("cost", "Cost", _lead(whole, money, rates), (table,))


def _line(stage: str, used: Usage, money: float) -> tuple[str, ...]:
    return (
        stage.replace("_", " "), number(used.seconds, 1), number(used.cpu_seconds, 1), number(used.peak_mib),
        _paid(money),
    )  # fmt: skip


def _lead(whole: Usage, money: float, rates: CostsSpec) -> str:
    told = (
        f"To make the month took {number(whole.seconds, 1)} seconds, {number(whole.cpu_seconds, 1)} of processor time, "
        f"and {number(whole.peak_mib)} MiB of memory at the most."
    )
    if not rates.any:
        return f"{told} It has no price: the specification gives no rates (costs)."
    return f"{told} At the given rates that costs {_paid(money)} {rates.currency}."


def _paid(money: float) -> str:
    return "less than 0.01" if 0 < money < 0.01 else number(money, 2)
