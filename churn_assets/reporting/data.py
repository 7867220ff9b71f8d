"""Data quality: what was received, what became of it, and what looked wrong."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from churn_assets.assets.charts import bar_chart
from churn_assets.monitoring.report import Picture, Section, Table
from churn_assets.reporting.recorded import Recorded
from churn_assets.reporting.wording import UNKNOWN, counted, month_name, number, percent

RULES_SHOWN = 10


def section(of: Recorded) -> Section:
    """The month's data, from the delivery to the rows that count."""
    return Section("data", "Data quality", _lead(of), tuple(_blocks(of)))


def _lead(of: Recorded) -> str:
    received, aside = of.count("raw_data"), of.facts("validated_data").get("quarantined")
    if received is None:
        return f"Nothing was received for {month_name(of.month)} yet."
    if not received:
        return f"{of.record('raw_data').reason} There is nothing to be judged."  # type: ignore[union-attr]
    told = f"{counted(received, 'row')} {'was' if received == 1 else 'were'} received."
    if aside is None:
        return (
            f"{told} They were not accepted: a check stopped the month, and nothing was made of them. See "
            f"`churn why run {of.month}{of.pipeline.option}` and the run in the Dagster UI."
        )
    valid = of.count("validated_data")
    if not aside:
        return f"{told} All of them kept every rule."
    return f"{told} {number(valid)} kept every rule, {number(aside)} ({percent(aside / received, 2)}) were set aside."


def _blocks(of: Recorded) -> Iterator[str | Table | Picture]:
    if of.facts("validated_data"):
        yield _way(of)
    yield from _rules(of)
    yield from _columns(of)
    if volume := _said(of, "validated_data", "row_volume"):
        yield f"Compared with the month before: {volume}"
    yield from _repairs(of)


def _way(of: Recorded) -> Table:
    facts, received = of.facts("validated_data"), of.count("raw_data") or 0
    rows = {
        "received": received,
        "accepted": of.count("validated_data"),
        "set aside (quarantined)": facts.get("quarantined"),
        "mended by people and accepted": facts.get("mended", 0),
    }
    frame = pl.DataFrame(
        {
            "rows": list(rows),
            "number": [number(n) for n in rows.values()],
            "share": [percent(n / received, 2) if received and n is not None else UNKNOWN for n in rows.values()],
        }
    )
    return Table("What became of the rows", frame, texts=("rows",))


def _rules(of: Recorded) -> Iterator[Table | Picture]:
    rows = of.rows("quarantined_data", "column", "rule", "expected", "_row")
    if rows is None:
        return
    counts = (
        rows.group_by("column", "rule", "expected")
        .agg(rows=pl.col("_row").n_unique())
        .sort("rows", "rule", "column", descending=[True, False, False])
        .head(RULES_SHOWN)
    )
    names = [f"{row['column'] or 'row'}: {row['rule']}" for row in counts.iter_rows(named=True)]
    if len(counts) > 1:
        chart = bar_chart("Rows set aside, by rule", names, counts["rows"].to_list())
        yield Picture(chart.svg, f"Bars: rows set aside by rule, from {names[0]} to {names[-1]}; the table has them.")
    told = counts.select(
        pl.col("column").fill_null("the whole row"), "rule", "expected",
        pl.col("rows").map_elements(number, pl.String),
    )  # fmt: skip
    yield Table("Rows set aside, by the rule that they broke", told, texts=("column", "rule", "expected"))


def _columns(of: Recorded) -> Iterator[str]:
    facts = of.facts("raw_data")
    yield from filter(None, [str(facts.get("changed", ""))])
    yield from map(str, facts.get("doubts", ()))
    if (times := _deliveries(of)) > 1:
        yield f"The month was delivered {times} times with other rows; the newest delivery counts."


def _deliveries(of: Recorded) -> int:
    """How many different deliveries the month has had."""
    if of.record("raw_data") is None:
        return 0
    return len({record.content for record in of.pipeline.lake.history("raw_data", of.month) if record.rows})


def _said(of: Recorded, stage: str, check: str) -> str:
    """What a check of a stage said; empty if it wasn't made."""
    return next((str(c["reason"]) for c in of.facts(stage).get("checks", ()) if c["name"] == check), "")


def _repairs(of: Recorded) -> Iterator[Table]:
    found = of.facts("validated_data").get("repairs") or {}
    lines = [(column, kind, number(cells)) for column, kinds in found.items() for kind, cells in kinds.items()]
    if lines:
        frame = pl.DataFrame(lines, dict.fromkeys(("column", "what was done", "cells"), pl.String), orient="row")
        yield Table("Cells that were read as something else than they were written as", frame,
                    texts=("column", "what was done"))  # fmt: skip
