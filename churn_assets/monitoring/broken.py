"""Columns that are broken at the source, told from those that have changed because customers have.

Customers don't use ten times as much from one month to the next, and no attribute of most of them goes missing or takes
a value that nobody had. Where that is found, a unit, a code or a delivery has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor, log10

import numpy as np
import polars as pl

from churn_assets.learning.reference import Part, Reference, counted, known_numbers

LOST = 0.5
"""Share of the customers whose value is gone, or is one that nobody had, by which a column is taken for broken."""


def broken(
    rows: pl.DataFrame, reference: Reference, features: Sequence[str], max_scale: float, min_rows: int = 30
) -> list[str]:
    """What is broken, as a part of a sentence each.

    Args:
        rows: a row a customer, with the features.
        reference: what the champion was trained on, as ``full_reference``.
        features: those to look at, in the order in which they are told.
        max_scale: how many times as large or as small the values of a number may be.
        min_rows: fewest values that are looked at.
    """
    if len(rows) < min_rows:
        return []
    there = [name for name in features if name in reference]
    return [f"{name} {found}" for name in there for found in _found(rows, name, reference[name], max_scale, min_rows)]


def _found(rows: pl.DataFrame, name: str, part: Part, max_scale: float, min_rows: int) -> Iterator[str]:
    column = rows[name] if name in rows.columns else pl.Series(name, [None] * len(rows), pl.String)
    missing = column.null_count() / len(rows)
    if missing - part["missing"] > LOST:
        yield f"is missing for {missing:.0%} of the customers, and was for {part['missing']:.0%}"
    elif part["kind"] == "category":
        counts = counted(column)
        new = sum(count for level, count in counts.items() if level not in part["levels"]) / len(rows)
        if new - part["other"] > LOST:
            yield f"has values for {new:.0%} of the customers that nobody had"
    elif column.dtype.is_numeric() and (scale := _scale(column, part, min_rows)):
        if scale > max_scale:
            yield f"is about {_round(scale)} times what it was"
        elif scale < 1 / max_scale:
            yield f"is about 1/{_round(1 / scale)} of what it was"


def _scale(column: pl.Series, part: Part, min_rows: int) -> float | None:
    """How many times as large a typical value is, zeros aside; None where too few tell."""
    now = np.abs(known_numbers(column))
    now = now[now > 0]
    edges, counts = np.abs(part["fine_edges"]), np.array(part["fine_counts"])
    if not len(edges) or len(now) < min_rows:
        return None
    # A bin is told by the edge that its largest values reach; above the last one there is none.
    typical = np.append(edges, edges[-1])
    order = np.argsort(typical)
    order = order[typical[order] > np.finfo(np.float64).tiny]
    upto = np.cumsum(counts[order])
    if not len(upto) or upto[-1] < min_rows:
        return None
    return float(np.median(now) / typical[order][np.searchsorted(upto, upto[-1] / 2)])


def _round(number: float) -> str:
    """Two leading digits are as many as are known."""
    return f"{round(number, 1 - floor(log10(number))):,.0f}"
