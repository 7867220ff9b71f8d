"""The list: who is contacted this month, and what an earlier list has brought."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from churn_assets.monitoring.figures import CONTACTED, HELD_OUT, LIST
from churn_assets.monitoring.report import Section, Table
from churn_assets.reporting.recorded import Recorded
from churn_assets.reporting.wording import UNKNOWN, counted, month_name, number, percent
from churn_assets.retention.listing import by_decile


def section(of: Recorded) -> Section:
    """The month's list, and the outcome of the one whose outcome has just become known."""
    return Section("list", "The list", this_list(of), tuple(_blocks(of)))


def this_list(of: Recorded) -> str:
    """The month's list in a sentence."""
    record = of.record("retention_list")
    if record is None:
        return f"There is no list of {month_name(of.month)} yet."
    if not record.files:
        return f"There is no list of {month_name(of.month)}: {record.reason}"
    told = record.facts
    return (
        f"{counted(told['contacts'], 'customer is', 'customers are')} to be contacted and {number(told['held_out'])} "
        f"held out. That costs {of.amount(told['cost'])} and is expected to bring {of.amount(told['expected_value'])} "
        "beyond its cost."
    )


def earlier_list(of: Recorded) -> str:
    """What the list whose outcome has just become known has brought, in a sentence or two."""
    listed = of.pipeline.calendar.matured_by(of.month) if of.pipeline.calendar.horizon else None
    result = of.watched.facts.get("list") if of.watched else None
    if listed is None or not result:
        return "No earlier list's outcome is known yet."
    told = str(result["reason"])
    return told if result["verdict"] == "not known" else f"List of {month_name(listed)}: {told[0].lower()}{told[1:]}"


def _blocks(of: Recorded) -> Iterator[str | Table]:
    rows = of.rows("retention_list")
    if rows is not None:
        yield _deciles(of, rows)
    yield earlier_list(of)
    yield from _outcome(of)
    if saved := of.facts("retention_list").get("save_rate"):
        yield f"Share of leavers that a contact keeps, by which lists are ranked: {saved['told']}. {saved['reason']}"


def _deciles(of: Recorded, rows: pl.DataFrame) -> Table:
    told = by_decile(rows).select(
        pl.col("decile").cast(pl.String).alias("tenth by risk"),
        pl.col("contacts").map_elements(number, pl.String).alias("to contact"),
        pl.col("held_out").map_elements(number, pl.String).alias("held out"),
        pl.col("mean_p_leave").map_elements(percent, pl.String).alias("likely to leave, on average"),
        pl.col("expected_value").map_elements(number, pl.String).alias(f"expected to bring ({of.money})"),
    )
    return Table("Who is on the list; tenth 1 is most at risk", told, texts=("tenth by risk",))


def _outcome(of: Recorded) -> Iterator[Table]:
    """Who left of those to be contacted and of those held out, and what the difference was worth."""
    lines = [
        (f"left, of those {who}", percent(row["value"]), _ends(row["lower"], row["upper"], percent))
        for who, role in (("to be contacted", CONTACTED), ("held out", HELD_OUT))
        if (row := of.figure("list_hit_rate", role))
    ]
    if row := of.figure("list_difference", LIST):
        lines.append(("fewer left because of the contacts", percent(row["value"]),
                      _ends(row["lower"], row["upper"], percent)))  # fmt: skip
    if row := of.figure("list_profit", LIST):
        lines.append(("profit, the cost of the contacts taken off", of.amount(row["value"]),
                      _ends(row["lower"], row["upper"], of.amount)))  # fmt: skip
    if lines:
        columns = ("figure", "value", "interval")
        frame = pl.DataFrame(lines, dict.fromkeys(columns, pl.String), orient="row")
        yield Table("What became of that list", frame, texts=("figure",))


def _ends(lower: float | None, upper: float | None, told: Callable[[float | None], str]) -> str:
    return UNKNOWN if lower is None or upper is None else f"{told(lower)} to {told(upper)}"
