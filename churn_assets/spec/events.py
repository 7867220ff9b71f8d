"""The section ``events``: what counts as activity, and what is computed of a customer's events in a month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from churn_assets.spec.base import SpecModel, nearest
from churn_assets.spec.data import RESERVED, ColumnSpec, ColumnType, SchemaSpec

Value = bool | float | str
Condition = Annotated[
    dict[str, Value | list[Value]],
    Field(description="Columns and the value, or one of the values, that each must have; all of them must hold."),
]
Finding = tuple[tuple[int | str, ...], str]
"""Where something is wrong within the section, and what."""

_NUMBERS: tuple[ColumnType, ...] = ("integer", "number", "boolean")
_OF_NUMBERS = ("sum", "mean", "min", "max")
_OF_COLUMN = (*_OF_NUMBERS, "distinct", "most_frequent")
_OF_WINDOWS = ("days", "distinct", "most_frequent", "recency", "gap")
_TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(("count", "days", "distinct", "recency"), "integer"),
    **dict.fromkeys((*_OF_NUMBERS, "gap"), "number"),
    "most_frequent": "category",
}
_WORDS = {
    "count": "Events", "days": "Days with an event", "sum": "Sum of {}", "mean": "Mean of {}", "min": "Smallest {}",
    "max": "Largest {}", "distinct": "Distinct values of {}", "most_frequent": "Most frequent {}",
    "recency": "Days from the last event to the month's end", "gap": "Mean days from one day with events to the next",
}  # fmt: skip


class MeasureSpec(SpecModel):
    """A figure of a customer's month, made of the events in it.

    ``count`` of events, ``days`` with an event, ``sum``, ``mean``, ``min`` and ``max`` of a column, ``distinct`` values
    of it, its ``most_frequent`` value (of several the first in order), ``recency`` (days from the last event to the
    month's last day) and ``gap`` (mean of the days between one day with events and the next).

    A measure of one month exists in every month, so that features may look back at it. One of several ``months``, this
    month and those before it, exists at the month itself only.
    """

    name: str = Field(min_length=1, description="What features call it.")
    kind: Literal["count", "days", "sum", "mean", "min", "max", "distinct", "most_frequent", "recency", "gap"]
    column: str | None = Field(None, description="The column of the events that it is made of.")
    where: Condition = {}
    months: int = Field(1, ge=1, le=36, description="How many months it looks at, this one included.")
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind in _OF_COLUMN and self.column is None:
            raise ValueError(f"kind {self.kind} needs column: what it is made of.")
        if self.kind not in _OF_COLUMN and self.column is not None:
            raise ValueError(f"kind {self.kind} is made of whole events: drop column, or use where.")
        if self.kind not in _OF_WINDOWS and self.months > 1:
            raise ValueError(
                f"a {self.kind} of several months is a feature of the monthly one: drop months here, and declare a "
                f"feature such as {{kind: {'sum' if self.kind == 'count' else self.kind}, column: {self.name}, months: "
                f"{self.months}}}."
            )
        return self

    @property
    def type(self) -> ColumnType:
        """The type of its values."""
        return _TYPES[self.kind]

    @property
    def lookback(self) -> int:
        """How many earlier months it reads."""
        return self.months - 1

    def describe(self) -> str:
        """What it is, in words."""
        what = _WORDS[self.kind].format(self.column)
        when = "in the month" if self.months == 1 else f"in {self.months} months"
        return self.description or f"{what} {when}{f', where {told(self.where)}' if self.where else ''}."


class EventsSpec(SpecModel):
    """How events become customers and their months; a column with ``role: time`` says when each happened.

    A customer is active at a month's end if there was an event that counts as activity within ``active_months``, the
    month itself included.
    """

    active_months: int = Field(ge=1, le=36, description="Months within which an active customer has an event.")
    activity: Condition = {}
    measures: list[MeasureSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [m.name for m in self.measures]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"measures declared twice: {', '.join(twice)}.")
        return self

    @property
    def lookback(self) -> int:
        """How many earlier months are needed to know who is active, and for the measures."""
        return max(self.active_months - 1, *(m.lookback for m in self.measures))


def told(condition: Mapping[str, Value | list[Value]]) -> str:
    """A condition in words.

    >>> told({"cancelled": False, "kind": ["order", "renewal"]})
    'cancelled is false and kind is order or renewal'
    """
    return " and ".join(f"{name} is {' or '.join(map(_plain, alternatives(v)))}" for name, v in condition.items())


def alternatives(given: Value | list[Value]) -> list[Value]:
    """The values that a column of a condition may have."""
    return given if isinstance(given, list) else [given]


def problems_of(events: EventsSpec, schema: SchemaSpec) -> Iterator[Finding]:
    """What in the section doesn't fit the columns of the events."""
    columns = {c.name: c for c in schema.columns if c.role != "ignored"}
    yield from ((("activity", name), text) for name, text in _conditions(events.activity, columns))
    for i, measure in enumerate(events.measures):
        place = ("measures", i)
        if measure.name in (schema.key, *RESERVED):
            yield (*place, "name"), f"the tables use the name {measure.name} themselves. Give it another one."
        yield from (((*place, "where", name), text) for name, text in _conditions(measure.where, columns))
        if measure.column is None:
            continue
        if (column := columns.get(measure.column)) is None:
            yield (*place, "column"), f"no column is called {measure.column!r}. {nearest(measure.column, [*columns])}"
        elif measure.kind in _OF_NUMBERS and column.type not in _NUMBERS:
            yield (*place, "column"), f"expected a number, found {measure.column!r} of type {column.type}."
        elif measure.kind == "most_frequent" and column.type not in ("category", "string"):
            yield (*place, "column"), f"expected a category, found {measure.column!r} of type {column.type}."


def _conditions(
    condition: Mapping[str, Value | list[Value]], columns: Mapping[str, ColumnSpec]
) -> Iterator[tuple[str, str]]:
    for name, given in condition.items():
        if (column := columns.get(name)) is None:
            yield name, f"no column is called {name!r}. {nearest(name, [*columns])}"
        elif problem := _unfit(alternatives(given), column):
            yield name, problem


def _unfit(values: list[Value], column: ColumnSpec) -> str:
    """What is wrong with the values that a condition allows a column; empty if nothing is."""
    if column.type in ("date", "timestamp"):
        return (
            f"expected a column of texts, numbers or truth, found {column.name!r} of type {column.type}. Declare a "
            "boolean column with an expression, and name that."
        )
    among = f", one of {', '.join(column.allowed)}" if column.allowed else ""
    wrong = next((v for v in values if not _fits(v, column)), None)
    return "" if wrong is None else f"expected a value of type {column.type}{among}; found {_plain(wrong)!r}."


def _fits(value: Value, column: ColumnSpec) -> bool:
    if column.type == "boolean":
        return isinstance(value, bool)
    if column.type in _NUMBERS:
        return isinstance(value, float) and not isinstance(value, bool)
    return isinstance(value, str) and (column.allowed is None or value in column.allowed)


def _plain(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
