"""The features section: what is computed from a snapshot and the months before it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from churn_assets.spec.base import SpecModel


class ColumnsFeature(SpecModel):
    """Columns of the snapshot as they stand."""

    kind: Literal["columns"]
    columns: list[str] = Field(min_length=1)

    @property
    def names(self) -> list[str]:
        return self.columns

    @property
    def lookback(self) -> int:
        return 0

    @property
    def operands(self) -> list[str]:
        return self.columns

    def describe(self, name: str) -> str:
        return f"{name} as the source states it for the month."


class _Named(SpecModel):
    name: str = Field("", description="Made of the column, the kind and the months if not given.")
    description: str = ""

    PATTERN: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if not isinstance(value, dict) or value.get("name"):
            return value
        defaults = {"months": cls.model_fields["months"].default} if "months" in cls.model_fields else {}
        try:
            return {**value, "name": cls.PATTERN.format_map({**defaults, **value})}
        except KeyError:
            return value

    @property
    def names(self) -> list[str]:
        return [self.name]


class _OfColumn(_Named):
    column: str

    @property
    def operands(self) -> list[str]:
        return [self.column]


class LagFeature(_OfColumn):
    """A column's value some months ago."""

    PATTERN: ClassVar[str] = "{column}_lag_{months}m"

    kind: Literal["lag"]
    months: int = Field(1, ge=1, le=36)

    @property
    def lookback(self) -> int:
        return self.months

    def describe(self, name: str) -> str:
        return self.description or f"{self.column} {self.months} month(s) before."


class DeltaFeature(_OfColumn):
    """A column's change against its value some months ago."""

    PATTERN: ClassVar[str] = "{column}_delta_{months}m"

    kind: Literal["delta"]
    months: int = Field(1, ge=1, le=36)

    @property
    def lookback(self) -> int:
        return self.months

    def describe(self, name: str) -> str:
        return self.description or f"Change of {self.column} in {self.months} month(s)."


class TrailingFeature(_OfColumn):
    """A statistic of a column over the month and those before it; months without the customer don't count."""

    PATTERN: ClassVar[str] = "{column}_{kind}_{months}m"

    kind: Literal["mean", "sum", "min", "max", "std"]
    months: int = Field(3, ge=2, le=36)

    @property
    def lookback(self) -> int:
        return self.months - 1

    def describe(self, name: str) -> str:
        return self.description or f"{self.kind} of {self.column} over {self.months} months."


class RatioFeature(_Named):
    """One column or earlier feature over another; missing where the denominator is zero."""

    PATTERN: ClassVar[str] = "{numerator}_per_{denominator}"

    kind: Literal["ratio"]
    numerator: str
    denominator: str

    @property
    def lookback(self) -> int:
        return 0

    @property
    def operands(self) -> list[str]:
        return [self.numerator, self.denominator]

    def describe(self, name: str) -> str:
        return self.description or f"{self.numerator} over {self.denominator}."


class BucketFeature(_OfColumn):
    """The interval that a column's value falls in, closed on the left."""

    PATTERN: ClassVar[str] = "{column}_bucket"

    kind: Literal["bucket"]
    edges: list[FiniteFloat] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"expected ascending edges, found {self.edges}.")
        return self

    @property
    def lookback(self) -> int:
        return 0

    def describe(self, name: str) -> str:
        return self.description or f"Interval of {self.column}, cut at {', '.join(f'{e:g}' for e in self.edges)}."


FeatureSpec = Annotated[
    ColumnsFeature | LagFeature | DeltaFeature | TrailingFeature | RatioFeature | BucketFeature,
    Field(discriminator="kind"),
]
