"""The sections ``schema`` and ``label``: what the rows are, which rules they keep, and what counts as churn."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from churn_assets.spec.base import SpecModel, Text

RESERVED = ("month", "event_month", "part", "label", "months_observed", "available_at", "feature_version", "score")
"""Names that the tables of every pipeline use themselves."""

BESIDE_KEY = (
    *RESERVED, "p_leave", "risk", "decile", "model_id", "monthly_value", "expected_value", "rank", "action", "segment",
    "reason_1", "reason_2", "reason_3", "treated", "date", "cost", "outcome", "note", "left", "list_month",
)  # fmt: skip
"""Names that stand beside the key in some table, so that the key can have none of them."""

PLACE = ("_row", "_file", "_line", "_defect", "_text")
"""Columns that say of a received row where it came from: its number in the month's delivery, its file and line there,
and, if it is no proper row at all, what is wrong with it and its text."""

ColumnType = Literal["string", "category", "integer", "number", "boolean", "date", "timestamp"]


class ColumnSpec(SpecModel):
    """One column of the source and the rules it keeps, or with an ``expression`` one that is made of others.

    A received column is found by its exact name, else by the same letters and digits: ``Call  Failure`` for
    ``call_failure``. What isn't declared here is repaired only where nothing can be lost by it.
    """

    name: str = Field(min_length=1)
    type: ColumnType
    expression: str | None = Field(
        None, min_length=1, description='SQL over the columns as read and those so made before it: "price * pieces".'
    )
    role: Literal["attribute", "churned", "time", "ignored"] = Field(
        "attribute",
        description="churned: true if the customer left in this month; time: when the event happened that the row is; "
        "ignored: not used further.",
    )
    source: str | None = Field(None, description="The column's name in the source, if it is quite another.")
    optional: bool = Field(False, description="Whether the whole column may be missing from a delivery.")
    description: str = ""
    nullable: bool = Field(False, description="Whether a value may be missing.")
    missing: list[Text] = Field([], description="Texts that stand for a missing value, besides the empty one.")
    when_missing: str = Field(
        "", description="What a missing value says of the customer, in words for the list: no contract term."
    )
    fill: float | int | bool | str | None = Field(None, description="What a missing value means, if it means one.")
    fill_where: dict[str, bool | float | str] = Field(
        {}, description="Other columns' values that must hold for a missing value to have that meaning."
    )
    allowed: list[Text] | None = Field(None, description="The values a category may take.")
    pattern: str | None = Field(None, description="A regular expression that a whole text must match.")
    unique: bool = Field(False, description="Whether a value may stand in one row of a month only.")
    min: float | None = Field(None, description="Smallest value.")
    max: float | None = Field(None, description="Largest value.")
    decimal: Literal[".", ","] | None = Field(None, description="The decimal mark, where numbers don't prove it.")
    unit: str | None = Field(None, min_length=1, description="A unit before or after each number: $, EUR, %.")
    format: str | None = Field(
        None, description="Format of dates or times, such as %d/%m/%Y %H:%M, where they don't prove it."
    )
    true: list[Text] = Field([], description="Further texts that mean true.")
    false: list[Text] = Field([], description="Further texts that mean false.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for names, types in _BELONG:
            for name in names:
                given = getattr(self, name)
                if not (given is None or given == [] or given is False) and self.type not in types:
                    raise ValueError(f"{name} is for type {' or '.join(types)}, found type {self.type}.")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"expected min <= max, found {self.min:g} > {self.max:g}.")
        if self.when_missing and not self.nullable:
            raise ValueError("when_missing is for a value that may be missing. Add nullable: true.")
        if self.fill_where and self.fill is None:
            raise ValueError("fill_where needs fill: what the missing value means.")
        for role, types in _TYPES_OF_ROLES.items():
            if self.role == role and self.type not in types:
                raise ValueError(f"a column with role {role} has type {' or '.join(types)}, found {self.type}.")
        if self.role == "time" and (self.nullable or self.optional or self.fill is not None):
            raise ValueError("an event happened at some time: drop nullable, optional and fill from its column.")
        fields = type(self).model_fields
        if self.expression and (reading := [n for n in _READING if getattr(self, n) != fields[n].default]):
            raise ValueError(f"what is made by an expression isn't read: drop {', '.join(reading)}.")
        if both := {t.casefold() for t in self.true} & {t.casefold() for t in self.false}:
            raise ValueError(f"true and false both have {', '.join(sorted(both))}.")
        return self

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}. Put it into single quotes.") from None
        return pattern

    @field_validator("format")
    @classmethod
    def _whole_date(cls, format: str | None) -> str | None:
        # %s is the number of seconds since 1970.
        if format is not None and "%s" not in format and not all(any(p in format for p in ps) for ps in _DATE_PARTS):
            raise ValueError(f"expected day, month and year, such as %d/%m/%Y; found {format!r}.")
        return format


_DATE_PARTS = (("%d", "%e", "%F", "%D", "%j"), ("%m", "%b", "%B", "%F", "%D", "%j"), ("%Y", "%y", "%F", "%D"))
_TYPES_OF_ROLES = {"churned": ("boolean",), "time": ("timestamp", "date")}
_READING = ("source", "optional", "missing", "fill", "decimal", "unit", "format", "true", "false")
_BELONG: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("allowed",), ("category", "string")),
    (("pattern",), ("category", "string")),
    (("min", "max", "decimal", "unit"), ("integer", "number")),
    (("format",), ("date", "timestamp")),
    (("true", "false"), ("boolean",)),
)


class RuleSpec(SpecModel):
    """A rule that several columns, or several months of a customer, keep together.

    The expression is SQL's, over columns in the schema's types; a row breaks the rule where it is false, and keeps it
    where it is unknown. ``previous.<column>`` is the customer's newest valid row of the ``within`` months before;
    ``month_start`` and ``month_end`` are the month's first day and the first day of the next.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the rule, in the quarantine and in checks.")
    expression: str = Field(min_length=1, description='Such as "tenure >= previous.tenure".')
    description: str = Field("", description="The rule in words, for those who read the quarantine.")
    within: int = Field(1, ge=1, le=24, description="How many months back the previous row may stand.")

    @property
    def reads_previous(self) -> bool:
        """Whether the rule compares a row with the customer's earlier one."""
        return "previous." in self.expression


Severity = Literal["off", "warn", "stop"]


class ExpectationsSpec(SpecModel):
    """What is expected of a whole month, and whether it warns or stops the month when it isn't so."""

    volume: Severity = Field("warn", description="Rows within the interval that the trailing months give.")
    nulls: Severity = Field("warn", description="Share of missing values within that of the trailing months.")
    categories: Severity = Field("warn", description="Categories spread as in the trailing months.")
    columns: Severity = Field("warn", description="Received columns and their types as in the month before.")
    duplicate: Severity = Field("stop", description="Other rows than any other month's.")
    churn_rate: Severity = Field("stop", description="Share of leavers within label.min_rate and label.max_rate.")
    trailing: int = Field(12, ge=2, le=60, description="How many months back the comparisons look.")


class SchemaSpec(SpecModel):
    """The customer key and the columns of the source's rows.

    A row is a customer's snapshot in the month, or, if a column has the role ``time``, one of the customer's events.
    """

    key: str = Field(description="The column that names the customer.")
    key_from: Literal["column", "row", "content"] = Field(
        "column", description="Where there is no such column: row numbers each row, content takes equal rows for one."
    )
    missing: list[Text] = Field([], description="Texts that stand for a missing value in any column, such as '?'.")
    columns: list[ColumnSpec] = Field(min_length=1)
    max_error_rate: float = Field(0.05, ge=0, le=1, description="Share of rows that may be quarantined in a month.")
    min_rows: int = Field(1, ge=0, description="Fewest rows a month may have, unless it was delivered empty.")
    max_row_change: float = Field(0.5, gt=0, description="Largest change in rows to the month before, as a share.")
    rules: list[RuleSpec] = Field([], description="Rules that several columns or months keep together.")
    expectations: ExpectationsSpec = ExpectationsSpec()

    @field_validator("key")
    @classmethod
    def _free(cls, key: str) -> str:
        if key in (*BESIDE_KEY, *PLACE):
            raise ValueError(
                f"the tables use the name {key} themselves. Name the key otherwise, and declare a column of that name "
                f"with 'source: {key}'."
            )
        return key

    @field_validator("columns")
    @classmethod
    def _unique(cls, columns: list[ColumnSpec]) -> list[ColumnSpec]:
        names = [c.name for c in columns]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"columns declared twice: {', '.join(twice)}.")
        if taken := sorted({n for c in columns if c.role != "ignored" for n in [c.name] if n in RESERVED}):
            raise ValueError(
                f"the tables use the name {', '.join(taken)} themselves. Give the column another name here and its "
                f"own as 'source: {taken[0]}'."
            )
        for role in _TYPES_OF_ROLES:
            if len(given := [c.name for c in columns if c.role == role]) > 1:
                raise ValueError(f"expected at most one column with role {role}, found {', '.join(given)}.")
        if internal := sorted(set(names) & set(PLACE)):
            raise ValueError(f"the name {', '.join(internal)} is taken. Rename the column in the source.")
        return columns

    @model_validator(mode="after")
    def _key_is_received(self) -> Self:
        if self.key not in (c.name for c in self.received) and self.key in (c.name for c in self.columns):
            raise ValueError(f"the key {self.key!r} must be a column of the source: drop its expression.")
        return self

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
    def time(self) -> str | None:
        """The column that tells when an event happened, if the rows are events."""
        return next((c.name for c in self.columns if c.role == "time"), None)

    @property
    def received(self) -> list[ColumnSpec]:
        """The columns that the source sends, and not those made by an expression."""
        return [c for c in self.columns if c.expression is None]

    @property
    def history(self) -> int:
        """How many earlier months the rules compare a row with."""
        return max((r.within for r in self.rules if r.reads_previous), default=0)

    @property
    def attributes(self) -> dict[str, ColumnSpec]:
        """The columns that features may be made of, by name."""
        return {c.name: c for c in self.columns if c.role == "attribute" and c.name != self.key}


class LabelSpec(SpecModel):
    """What counts as churn.

    ``flag``: the source flags customers who left in a later month's rows. ``absence``: a customer without a row in a
    later month has left. ``inactivity``: a customer without an active event in any of the later months has left.
    ``same_row``: the flag stands in the snapshot's own row (one static table).

    Who comes back is a customer again from that month on; that the customer had left stays true of the snapshots
    before.
    """

    kind: Literal["flag", "absence", "inactivity", "same_row"] = "flag"
    horizon: int = Field(1, ge=1, le=24, description="Months after the snapshot in which leaving counts.")
    min_rate: float = Field(0.001, ge=0, le=1, description="A month's smallest plausible churn rate.")
    max_rate: float = Field(0.5, ge=0, le=1, description="A month's largest plausible churn rate.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rate > self.max_rate:
            raise ValueError(f"expected min_rate <= max_rate, found {self.min_rate:g} > {self.max_rate:g}.")
        return self

    @property
    def plausible(self) -> tuple[float, float]:
        """The smallest and the largest plausible share of leavers among labelled rows."""
        # More months have more leavers, but fewer who were inactive in all of them.
        months = 1 if self.kind == "inactivity" else self.horizon
        return self.min_rate, min(1.0, self.max_rate * months)
