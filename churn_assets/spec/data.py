"""The sections about data: months, source, schema and label."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from churn_assets.months import Month
from churn_assets.spec.base import SpecModel, nearest

RESERVED = ("month", "event_month", "part", "label", "months_observed")
"""Names that the tables of every pipeline use themselves."""

MonthField = Annotated[
    Month,
    BeforeValidator(lambda value: Month.parse(value)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$", "examples": ["2025-06"]}),
]


class MonthsSpec(SpecModel):
    """The pipeline's months."""

    start: MonthField = Field(description="First month there is data for, YYYY-MM.")
    end: MonthField | None = Field(None, description="Last month; none while the pipeline goes on.")
    lag_days: int = Field(2, ge=0, le=27, description="Days after a month's end until its data is complete.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"expected an end on or after the start {self.start}, found {self.end}.")
        return self


class SimulatedSourceSpec(SpecModel):
    """A simulated telecom subscriber base: no data and no network needed."""

    type: Literal["simulated"]
    customers: int = Field(7000, ge=100, le=20_000_000, description="Active customers at the start.")
    seed: int = Field(7, ge=0)
    shock: MonthField | None = Field(None, description="A month in which a competitor lures customers away.")


class FileSourceSpec(SpecModel):
    """CSV or Parquet files: one or several a month, or one static table for one month."""

    type: Literal["file"]
    path: str = Field(
        description="Path or glob; relative ones start at the data folder. {month} stands for YYYY-MM, {year} and "
        "{number} for its parts. Without any of them, the file is one static table for the pipeline's one month."
    )
    format: Literal["csv", "parquet"] | None = Field(None, description="Told by the file's ending if not given.")
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: str = Field("utf-8", description="Encoding of CSV files.")

    @field_validator("path")
    @classmethod
    def _known_fields(cls, path: str) -> str:
        known = ["month", "year", "number"]
        for _, name, form, conversion in Formatter().parse(path):
            if name is not None and (name not in known or form or conversion):
                raise ValueError(f"the path has an unknown {{{name}}}. {nearest(name, known)}")
        return path

    def path_of(self, month: Month) -> str:
        """The path, or glob, of one month's files."""
        return self.path.format(month=month, year=f"{month.year:04d}", number=f"{month.number:02d}")


SourceSpec = Annotated[SimulatedSourceSpec | FileSourceSpec, Field(discriminator="type")]

ColumnType = Literal["string", "category", "integer", "number", "boolean", "date"]


class ColumnSpec(SpecModel):
    """One column of the source and the rules it keeps."""

    name: str = Field(min_length=1)
    type: ColumnType
    role: Literal["attribute", "churned", "ignored"] = Field(
        "attribute", description="churned: true if the customer left in this month; ignored: not used further."
    )
    description: str = ""
    nullable: bool = Field(False, description="Whether a value may be missing.")
    missing: list[str] = Field([], description="Texts that stand for a missing value, besides the empty one.")
    fill: float | int | bool | str | None = Field(None, description="What a missing value means, if it means one.")
    fill_where: dict[str, bool | float | str] = Field(
        {}, description="Other columns' values that must hold for a missing value to have that meaning."
    )
    allowed: list[str] | None = Field(None, description="The values a category may take.")
    min: float | None = Field(None, description="Smallest value.")
    max: float | None = Field(None, description="Largest value.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.allowed is not None and self.type not in ("category", "string"):
            raise ValueError(f"allowed is for categories and strings, found type {self.type}. Use min and max.")
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "number"):
            raise ValueError(f"min and max are for numbers, found type {self.type}.")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min <= max, found {self.min:g} > {self.max:g}.")
        if self.fill_where and self.fill is None:
            raise ValueError("fill_where needs fill: what the missing value means.")
        if self.role == "churned" and self.type != "boolean":
            raise ValueError(f"a churned column has type boolean, found {self.type}.")
        return self


class SchemaSpec(SpecModel):
    """The customer key and the columns of a snapshot."""

    key: str = Field(description="The column that names the customer.")
    columns: list[ColumnSpec] = Field(min_length=1)
    max_error_rate: float = Field(0.05, ge=0, le=1, description="Share of rows that may be quarantined in a month.")
    min_rows: int = Field(1, ge=0, description="Fewest rows a month may have, unless it was delivered empty.")
    max_row_change: float = Field(0.5, gt=0, description="Largest change in rows to the month before, as a share.")

    @field_validator("columns")
    @classmethod
    def _unique(cls, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        names = [c.name for c in columns]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"columns declared twice: {', '.join(twice)}.")
        if taken := sorted({n for c in columns if c.role != "ignored" for n in [c.name] if n in RESERVED}):
            raise ValueError(
                f"the tables use the name {', '.join(taken)} themselves. Rename the column in the source, or give it "
                "'role: ignored'."
            )
        if len(flags := [c.name for c in columns if c.role == "churned"]) > 1:
            raise ValueError(f"expected at most one column with role churned, found {', '.join(flags)}.")
        return columns

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        """Lets ``columns`` be given as {name: {...}} too."""
        if isinstance(value, dict) and isinstance(columns := value.get("columns"), dict):
            named = [{"name": n, **(c or {})} if isinstance(c or {}, dict) else c for n, c in columns.items()]
            return {**value, "columns": named}
        return value

    @property
    def churned(self) -> str | None:
        """The column that tells who left, if the source has one."""
        return next((c.name for c in self.columns if c.role == "churned"), None)

    @property
    def attributes(self) -> dict[str, ColumnSpec]:
        """The columns that features may be made of, by name."""
        return {c.name: c for c in self.columns if c.role == "attribute" and c.name != self.key}


class LabelSpec(SpecModel):
    """What counts as churn.

    ``flag``: the source flags customers who left in a later month's rows. ``absence``: a customer without a row in a
    later month has left. ``same_row``: the flag stands in the snapshot's own row (one static table).
    """

    kind: Literal["flag", "absence", "same_row"] = "flag"
    horizon: int = Field(1, ge=1, le=24, description="Months after the snapshot in which leaving counts.")
    min_rate: float = Field(0.001, ge=0, le=1, description="A month's smallest plausible churn rate.")
    max_rate: float = Field(0.5, ge=0, le=1, description="A month's largest plausible churn rate.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rate > self.max_rate:
            raise ValueError(f"expected min_rate <= max_rate, found {self.min_rate:g} > {self.max_rate:g}.")
        return self
