"""The features section: what is computed from a snapshot and the months before it.

Every kind says of itself what it is called, what it is made of, which months it reads, which types it gives and what
is wrong with its operands. What it computes stands in ``features/expressions.py``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from churn_assets.spec.base import Owner, SpecModel, nearest
from churn_assets.spec.data import ColumnType
from churn_assets.spec.functions import load_function

NUMBERS: tuple[ColumnType, ...] = ("integer", "number", "boolean")
"""Types that can be reckoned with; true counts as 1."""

TEXTS: tuple[ColumnType, ...] = ("category", "string")

Value = StrictBool | StrictInt | FiniteFloat | StrictStr


class Told(Protocol):
    """What the specification says of a column; some of them have a ``unit`` too."""

    @property
    def description(self) -> str: ...


@dataclass(frozen=True)
class Available:
    """What a feature may be made of.

    Attributes:
        columns: the columns that are observed each month, with their types.
        earlier: the features declared before, with their types.
        allowed: the values that a category may take, where they are declared.
        refused: further columns of the schema, each with the reason why no feature is made of it.
        unsure: whether a feature declared before is invalid, so that its names aren't known.
    """

    columns: Mapping[str, ColumnType]
    earlier: Mapping[str, ColumnType] = field(default_factory=dict)
    allowed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    unsure: bool = False

    @property
    def types(self) -> dict[str, ColumnType]:
        """Columns and features."""
        return {**self.columns, **self.earlier}


class _Feature(SpecModel):
    kind: str
    description: str = Field("", description="What it is, in words; told from its definition if not given.")
    owner: Owner | None = Field(None, description="team:<name> or an e-mail address; the pipeline's if not given.")

    OF_FEATURES: ClassVar[bool] = False
    """Whether it may be made of features declared before it, and not just of columns."""

    KEEPS_UNIT: ClassVar[bool] = False
    """Whether its values have the unit of the column that it is made of."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """What it computes: one column each."""

    @property
    @abstractmethod
    def operands(self) -> list[str]:
        """What it is made of."""

    @property
    def lags(self) -> tuple[int, ...]:
        """The months that it reads of its operands, as distances from the month itself."""
        return (0,)

    @property
    def lookback(self) -> int:
        """How many months back it reads of its operands."""
        return max(self.lags)

    @property
    def window(self) -> str:
        """The months that it reads of its operands, in words."""
        return f"m-{self.lookback} to m" if self.lookback else "m"

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        """The type of each of ``names``, given those of the operands."""
        return dict.fromkeys(self.names, "number")

    def describe(self, name: str, columns: Mapping[str, Told] | None = None) -> str:
        """What ``name`` is, in a sentence; with the schema's ``columns`` also their units and what they say."""
        if self.description:
            return self.description
        of = {n: columns[n] for n in self.operands if columns and n in columns}
        unit = "".join(map(_unit, of.values())) if self.KEEPS_UNIT else ""
        notes = [f"{n}: {c.description}" for n, c in of.items() if c.description]
        return " ".join([f"{self._sentence(name)}{unit}.", *notes])

    def problems(self, available: Available) -> Iterator[str]:
        """What is wrong with its operands, a sentence each."""
        found = [*self._unknown(available)] or self._unfit(available)
        yield from (f"{', '.join(self.names)}: {problem}" for problem in found)

    def _unknown(self, available: Available) -> Iterator[str]:
        usable = available.types if self.OF_FEATURES else available.columns
        for name in self.operands:
            if name in usable or (self.OF_FEATURES and available.unsure and name not in available.refused):
                continue
            reason = available.refused.get(name)
            if name in available.earlier:
                reason = f"it is a feature, and kind {self.kind} is made of columns"
            known = nearest(name, list(usable))
            yield f"no column is called {name!r}{f' here, for {reason}' if reason else ''}. {known}"

    def _unfit(self, available: Available) -> Iterator[str]:
        for name in self.operands:
            found = available.types.get(name, "number")
            if found not in NUMBERS:
                yield f"expected a number, found {name!r} of type {found}."

    @abstractmethod
    def _sentence(self, name: str) -> str:
        """What ``name`` is, by its definition; without a full stop."""


class ColumnsFeature(_Feature):
    """Columns of the snapshot as they stand."""

    KEEPS_UNIT = True

    kind: Literal["columns"]
    columns: list[str] = Field(min_length=1)

    @property
    def names(self) -> list[str]:
        return self.columns

    @property
    def operands(self) -> list[str]:
        return self.columns

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return {name: known.get(name, "number") for name in self.names}

    def describe(self, name: str, columns: Mapping[str, Told] | None = None) -> str:
        column = (columns or {}).get(name)
        own = self.description or (column.description if column else "") or self._sentence(name)
        return f"{own.rstrip('.')}{_unit(column)}."

    def _unfit(self, available: Available) -> Iterator[str]:
        return iter(())

    def _sentence(self, name: str) -> str:
        return f"{name} as the month states it"


class _Named(_Feature):
    name: str = Field("", description="Made of the column, the kind and the months if not given.")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self._own_name)  # The model is frozen, and not yet out of our hands.
        return self

    @property
    def names(self) -> list[str]:
        return [self.name]

    @property
    @abstractmethod
    def _own_name(self) -> str:
        """What it is called if nobody says."""


class _OfColumn(_Named):
    column: str

    @property
    def operands(self) -> list[str]:
        return [self.column]


class LagFeature(_OfColumn):
    """A column's value some months ago."""

    KEEPS_UNIT = True

    kind: Literal["lag"]
    months: int = Field(1, ge=1, le=36)

    @property
    def lags(self) -> tuple[int, ...]:
        return (self.months,)

    @property
    def window(self) -> str:
        return f"m-{self.months}"

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return {self.name: known.get(self.column, "number")}

    @property
    def _own_name(self) -> str:
        return f"{self.column}_lag_{self.months}m"

    def _sentence(self, name: str) -> str:
        return f"{self.column} {_counted(self.months)} before ({self.window})"

    def _unfit(self, available: Available) -> Iterator[str]:
        return iter(())


class DeltaFeature(_OfColumn):
    """A column's change against its value some months ago."""

    KEEPS_UNIT = True

    kind: Literal["delta"]
    months: int = Field(1, ge=1, le=36)

    @property
    def lags(self) -> tuple[int, ...]:
        return (0, self.months)

    @property
    def window(self) -> str:
        return f"m-{self.months} and m"

    @property
    def _own_name(self) -> str:
        return f"{self.column}_delta_{self.months}m"

    def _sentence(self, name: str) -> str:
        return f"Change of {self.column} in {_counted(self.months)}, from m-{self.months} to m"


class TrailingFeature(_OfColumn):
    """A statistic of a column over the month and those before it; months without a value don't count.

    ``trend`` is the slope of the least-squares line through the values, per month.
    """

    KEEPS_UNIT = True

    kind: Literal["mean", "sum", "min", "max", "std", "trend"]
    months: int = Field(3, ge=2, le=36)

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(range(self.months))

    @property
    def _own_name(self) -> str:
        return f"{self.column}_{self.kind}_{self.months}m"

    def _sentence(self, name: str) -> str:
        what = {
            "mean": "Mean", "sum": "Sum", "min": "Smallest value", "max": "Largest value", "std": "Standard deviation",
            "trend": "Change per month, as a straight line fits it,",
        }[self.kind]  # fmt: skip
        return f"{what} of {self.column} over the {_counted(self.months)} {self.window}"


class ConditionFeature(_OfColumn):
    """When a condition on a column last held, or in how many of the months; months without a value don't count.

    ``months_since``: months since it last held, 0 being this month; missing if it never did. ``count``: in how many
    months it held. ``share``: in which share of the months that have a value it held. Without ``above``, ``below`` or
    ``equals`` a boolean column is itself the condition.
    """

    kind: Literal["months_since", "count", "share"]
    above: FiniteFloat | None = None
    below: FiniteFloat | None = None
    equals: Annotated[
        Annotated[list[Value], Field(min_length=1)] | None,
        BeforeValidator(lambda value: value if isinstance(value, list | None) else [value]),
    ] = Field(None, description="A value, or a list of which one must be met.")
    months: int = Field(6, ge=1, le=36)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.equals is not None and (self.above is not None or self.below is not None):
            raise ValueError("expected equals, or above and below, found both. Leave one out.")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"expected above < below, found {self.above:g} >= {self.below:g}: nothing lies between.")
        return self

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(range(self.months))

    @property
    def condition(self) -> str:
        """What must hold, in words: ``above 0``, ``one-year or two-year``, ``true``."""
        if self.equals is not None:
            return " or ".join(map(_worded, self.equals))
        limits = [f"{side} {_worded(v)}" for side, v in (("above", self.above), ("below", self.below)) if v is not None]
        return " and ".join(limits) or "true"

    def values(self, column: ColumnType) -> list[Value]:
        """The values of which one must be met, in the column's type."""
        return [str(v) if column in TEXTS else v for v in self.equals or [True]]

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return {self.name: "number" if self.kind == "share" else "integer"}

    @property
    def _own_name(self) -> str:
        bare = self.above is None and self.below is None and self.equals is None
        condition = "" if bare else f"_{_slug(self.condition)}"
        return f"{self.column}{condition}_{self.kind}_{self.months}m"

    def _sentence(self, name: str) -> str:
        within = f"the {_counted(self.months)} {self.window}"
        what = {
            "months_since": f"Months since %s, as far as it was in {within}; 0 is this month",
            "count": f"In how many of {within} %s",
            "share": f"In which share of {within}, as far as they were observed, %s",
        }[self.kind]
        return what % f"{self.column} was {self.condition}"

    def _unfit(self, available: Available) -> Iterator[str]:
        found = available.columns[self.column]
        if self.above is not None or self.below is not None:
            if found not in ("integer", "number"):
                yield f"above and below need a number, found {self.column!r} of type {found}. Use equals."
        elif found not in (*NUMBERS, *TEXTS):
            yield f"expected a number, a category or a boolean, found {self.column!r} of type {found}."
        elif self.equals is not None:
            yield from self._unequalled(found, available.allowed.get(self.column))
        elif found != "boolean":
            yield f"expected above, below or equals for {self.column!r} of type {found}, found none of them."

    def _unequalled(self, column: ColumnType, allowed: Sequence[str] | None) -> Iterator[str]:
        for value in self.equals or ():
            if (column == "boolean") != isinstance(value, bool) or (column not in TEXTS and isinstance(value, str)):
                wanted = "a text, in quotes," if column in TEXTS else f"a value of type {column}"
                yield f"equals expected {wanted} for {self.column!r}, found {_worded(value)}."
            elif allowed is not None and str(value) not in allowed:
                yield f"equals expected an allowed value of {self.column!r}, found {str(value)!r}. " + nearest(
                    str(value), list(allowed)
                )


class RatioFeature(_Named):
    """One column or earlier feature over another; missing where the denominator is zero."""

    OF_FEATURES = True

    kind: Literal["ratio"]
    numerator: str
    denominator: str

    @property
    def operands(self) -> list[str]:
        return [self.numerator, self.denominator]

    @property
    def _own_name(self) -> str:
        return f"{self.numerator}_per_{self.denominator}"

    def _sentence(self, name: str) -> str:
        return f"{self.numerator} over {self.denominator}; missing where that is zero"


class BucketFeature(_OfColumn):
    """The interval that the value of a column or earlier feature falls in, closed on the left."""

    OF_FEATURES = True

    kind: Literal["bucket"]
    edges: list[FiniteFloat] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"expected ascending edges, found {self.edges}.")
        return self

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return {self.name: "category"}

    @property
    def _own_name(self) -> str:
        return f"{self.column}_bucket"

    def _sentence(self, name: str) -> str:
        return f"Interval of {self.column}, cut at {', '.join(map(_worded, self.edges))}"


class InteractionFeature(_Named):
    """Columns or earlier features taken together: the product of numbers, or categories and booleans as one category.

    Missing where any of them is. A boolean beside a number counts as 0 or 1.
    """

    OF_FEATURES = True

    kind: Literal["interaction"]
    columns: list[str] = Field(min_length=2, max_length=4)

    @property
    def operands(self) -> list[str]:
        return self.columns

    def of_categories(self, known: Mapping[str, ColumnType]) -> bool:
        """Whether it is a combination of categories, and no product."""
        found = {known.get(name, "number") for name in self.columns}
        return not found & {"integer", "number"}

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return {self.name: "category" if self.of_categories(known) else "number"}

    @property
    def _own_name(self) -> str:
        return "_x_".join(self.columns)

    def _sentence(self, name: str) -> str:
        return f"{' and '.join(self.columns)} taken together: the product of numbers, or the pair of categories"

    def _unfit(self, available: Available) -> Iterator[str]:
        found = {name: available.types.get(name) for name in self.columns}
        kinds = {kind for kind in found.values() if kind and kind != "boolean"}
        if not (kinds <= {*NUMBERS} or kinds <= {*TEXTS}):
            listed = ", ".join(f"{name!r} of type {kind}" for name, kind in found.items())
            yield f"expected numbers or categories, found {listed}. A bucket makes a category of a number."


class RankFeature(_OfColumn):
    """The rank of a value among the month's customers, or among those alike, as a share in (0, 1].

    Equal values share the mean of their ranks. Missing where the value, or one of ``by``, is.
    """

    OF_FEATURES = True

    kind: Literal["rank"]
    by: Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)] = Field(
        [], description="A column or earlier feature, or several: whose customers are ranked among themselves."
    )

    @property
    def operands(self) -> list[str]:
        return [self.column, *self.by]

    @property
    def _own_name(self) -> str:
        return "_".join([f"{self.column}_rank", *(["by", *self.by] if self.by else [])])

    def _sentence(self, name: str) -> str:
        alike = f" with the same {' and '.join(self.by)}" if self.by else ""
        return f"Rank of {self.column} among the month's customers{alike}, as a share: 1 is the highest"

    def _unfit(self, available: Available) -> Iterator[str]:
        found = available.types.get(self.column, "number")
        if found not in NUMBERS:
            yield f"expected a number, found {self.column!r} of type {found}."
        for name in self.by:
            if available.types.get(name) == "number":
                yield f"by expected a category, found {name!r} of type number. A bucket makes a category of it."


class PythonFeature(_Feature):
    """What the other kinds can't say: a function from a narwhals lazy frame to a narwhals lazy frame.

    The function is given one row a customer with the key, every column, and its earlier values as
    ``<column>_lag_1`` and so on; a month without the customer is a missing value. It returns the key and the declared
    names, one row for every row that it was given.
    """

    kind: Literal["python"]
    function: str = Field(description="package.module:function")
    columns: list[str] = Field(min_length=1)
    months: int = Field(1, ge=1, le=36, description="How many months it is given, this one among them.")
    outputs: dict[str, ColumnType] = Field(alias="names", min_length=1, description="What it makes: name: type.")

    @field_validator("function")
    @classmethod
    def _exists(cls, function: str) -> str:
        load_function(function)
        return function

    @property
    def names(self) -> list[str]:
        return list(self.outputs)

    @property
    def operands(self) -> list[str]:
        return self.columns

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(range(self.months))

    def types(self, known: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
        return dict(self.outputs)

    def given(self, column: str, lag: int) -> str:
        """What the function finds a column's value of ``lag`` months before under."""
        return f"{column}_lag_{lag}" if lag else column

    def _sentence(self, name: str) -> str:
        return f"What {self.function} makes of {', '.join(self.columns)} in {self.window}"

    def _unfit(self, available: Available) -> Iterator[str]:
        given = [self.given(column, lag) for column in self.columns for lag in self.lags]
        if twice := sorted({n for n in given if given.count(n) > 1}):
            yield f"the function would be given {', '.join(twice)} twice. Name each column once."


FeatureSpec = Annotated[
    ColumnsFeature
    | LagFeature
    | DeltaFeature
    | TrailingFeature
    | ConditionFeature
    | RatioFeature
    | BucketFeature
    | InteractionFeature
    | RankFeature
    | PythonFeature,
    Field(discriminator="kind"),
]


def types_of(features: Sequence[FeatureSpec], columns: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """The type of every feature, made of ``columns`` and of one another."""
    known = dict(columns)
    for feature in features:
        known |= feature.types(known)
    return {name: known[name] for feature in features for name in feature.names}


def _unit(column: Told | None) -> str:
    unit = getattr(column, "unit", None)
    return f", in {unit}" if unit else ""


def _counted(months: int) -> str:
    return f"{months} month" if months == 1 else f"{months} months"


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def _slug(words: str) -> str:
    signed = re.sub(r"(?<![\w.])-(?=\d)", "minus_", words)
    return re.sub(r"\W+", "_", signed).strip("_").lower()
