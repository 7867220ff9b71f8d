"""Figures of what became of predictions, each with its interval and what had been promised of it, as rows of a table.

Whether a promise was kept is decided on the difference of two figures that were measured on other rows, realised less
promised. Its interval is made of theirs (Zou, G. and Donner, A. 2008, Construction of confidence limits about effect
measures: a general approach), which needn't be symmetric. A promise counts as broken only where that interval leaves no
room for it: noise on either side breaks none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import hypot

import polars as pl

from churn_assets.learning.evaluation import Interval

COLUMNS = {
    "metric": pl.String, "subject": pl.String, "role": pl.String, "model": pl.String,
    "value": pl.Float64, "lower": pl.Float64, "upper": pl.Float64,
    "promised": pl.Float64, "promised_lower": pl.Float64, "promised_upper": pl.Float64, "kept": pl.Boolean,
}  # fmt: skip
"""A figure's row."""

CHAMPION, CHALLENGER, DIFFERENCE = "champion", "challenger", "difference"
CONTACTED, HELD_OUT, LIST = "contacted", "held out", "list"

LARGER, SMALLER = ("auc", "pr_auc", "top_decile_lift"), ("brier", "log_loss", "calibration_error")
"""Figures that are better the larger, or the smaller, they are; of any other, both sides break a promise."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        metric: its name, such as ``realised_auc``.
        subject: the month whose predictions or list it is about.
        role: whose it is: of the ``champion``, the ``challenger``, their ``difference``, or of the ``list`` or the part
            of it that was ``contacted`` or ``held out``.
        model: id of the model that scored; empty where it is about none.
        value: may come without an interval.
        promised: what it had been said to be, with the promise's own interval.
        kept: whether the value leaves room for the promise; None where nothing was promised.
    """

    metric: str
    subject: str
    role: str
    model: str
    value: float
    lower: float | None = None
    upper: float | None = None
    promised: float | None = None
    promised_lower: float | None = None
    promised_upper: float | None = None
    kept: bool | None = None


def table(figures: Iterable[Figure]) -> pl.DataFrame:
    """A row a figure, with ``COLUMNS``."""
    return pl.DataFrame([asdict(figure) for figure in figures], COLUMNS, orient="row")


def difference(one: Interval, other: Interval) -> Interval:
    """``one`` less ``other``, which were measured on other rows.

    >>> difference(Interval(0.5, 0.4, 0.6), Interval(0.5, 0.5, 0.5))
    Interval(value=0.0, lower=-0.1, upper=0.1)
    """
    value = one.value - other.value
    below = hypot(one.value - one.lower, other.upper - other.value)
    above = hypot(one.upper - one.value, other.value - other.lower)
    return Interval(value, round(value - below, 12), round(value + above, 12))


def is_kept(name: str, realised: Interval, promised: Interval) -> bool:
    """Whether what was realised of the figure ``name`` leaves room for what was promised, or is better."""
    missed = difference(realised, promised)
    if name in LARGER:
        return missed.upper >= 0
    return missed.lower <= 0 if name in SMALLER else missed.lower <= 0 <= missed.upper
