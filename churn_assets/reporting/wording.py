"""Figures, months and models as people read them."""

from __future__ import annotations

import math
from collections.abc import Callable

from churn_assets.months import Month

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SPELT = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}
UNKNOWN = "–"


def month_name(month: Month | str) -> str:
    """A month as it is written.

    >>> month_name("2025-03")
    'March 2025'
    """
    of = Month.parse(month)
    return f"{_MONTHS[of.number - 1]} {of.year}"


def model_name(model: str | None) -> str:
    """A model by what it is and when it was trained, as its id says.

    >>> model_name("2025-03-random_forest-1a2b3c4d")
    'random forest model of March 2025'
    """
    if not model:
        return "none"
    kind = model[8:].rpartition("-")[0]
    return f"{candidate_name(kind)} model of {month_name(model[:7])}" if kind else model


def candidate_name(candidate: str) -> str:
    """A candidate as its kind is spelt.

    >>> candidate_name("xgboost"), candidate_name("random_forest")
    ('XGBoost', 'random forest')
    """
    return _SPELT.get(candidate, candidate.replace("_", " "))


def number(value: float | None, digits: int = 0) -> str:
    """A number with its thousands told apart; a dash for one that isn't known.

    >>> number(12345.6), number(0.5, 2), number(None)
    ('12,346', '0.50', '–')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.{digits}f}".replace("-", "−")


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent.

    >>> percent(0.0123), percent(-0.2)
    ('1.2%', '−20.0%')
    """
    told = number(None if share is None else share * 100, digits)
    return told if told == UNKNOWN else f"{told}%"


def hundredths(value: float) -> str:
    """A number with two digits behind the point."""
    return number(value, 2)


def ranged(
    value: float | None, lower: float | None, upper: float | None, told: Callable[[float], str] = hundredths
) -> str:
    """A figure with its interval, as far as both are known.

    >>> ranged(0.78, 0.75, 0.81), ranged(0.03, 0.02, 0.04, percent), ranged(0.78, None, None)
    ('0.78 (0.75 to 0.81)', '3.0% (2.0% to 4.0%)', '0.78')
    """
    if value is None:
        return UNKNOWN
    return told(value) if lower is None or upper is None else f"{told(value)} ({told(lower)} to {told(upper)})"


def counted(count: int, one: str, many: str = "") -> str:
    """So many of something.

    >>> counted(1, "row"), counted(2, "row"), counted(0, "person", "people")
    ('1 row', '2 rows', 'no people')
    """
    return f"{number(count) if count else 'no'} {one if count == 1 else many or one + 's'}"
