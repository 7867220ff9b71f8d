"""A whole pipeline's specification, and the rules that span its sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Self, get_args, get_origin, get_type_hints

from pydantic import Field, ModelWrapValidatorHandler, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from churn_assets.months import Calendar, month_range
from churn_assets.spec.base import SpecModel, finding, nearest
from churn_assets.spec.data import RESERVED, LabelSpec, SchemaSpec
from churn_assets.spec.features import ColumnsFeature, FeatureSpec
from churn_assets.spec.learning import CandidateSpec, GatesSpec, TrainingSpec
from churn_assets.spec.months import MonthsSpec
from churn_assets.spec.operation import AutomationSpec, ValueSpec
from churn_assets.spec.source import (
    FileSourceSpec,
    HttpSourceSpec,
    HuggingFaceSourceSpec,
    JoinedSourceSpec,
    KaggleSourceSpec,
    SourceSpec,
    SqlSourceSpec,
    filled,
)

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}$")


class PipelineSpec(SpecModel):
    """A churn pipeline, declared.

    Raises:
        pydantic.ValidationError: with every finding at once, each with its place in the document.
    """

    name: str = Field("", description="Name of the pipeline; its folder's name if not given.")
    description: str = "From customer data to a list of customers at risk, month by month."
    owner: str = Field("team:data", description="team:<name> or an e-mail address.")
    months: MonthsSpec
    source: SourceSpec
    schema_: SchemaSpec = Field(alias="schema")
    label: LabelSpec = LabelSpec()
    features: list[FeatureSpec] = Field(min_length=1)
    training: TrainingSpec = TrainingSpec()
    candidates: list[CandidateSpec] = Field(min_length=1)
    gates: GatesSpec = GatesSpec()
    value: ValueSpec
    automation: AutomationSpec = AutomationSpec()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name and not _NAME.match(name):
            raise ValueError(f"expected lower-case letters, digits and _, starting with a letter; found {name!r}.")
        return name

    @field_validator("owner")
    @classmethod
    def _owner(cls, owner: str) -> str:
        if not (owner.startswith("team:") or "@" in owner):
            raise ValueError(f"expected team:<name> or an e-mail address, found {owner!r}.")
        return owner

    @model_validator(mode="wrap")
    @classmethod
    def _across_sections(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, cls):
            return value
        findings: list[InitErrorDetails] = []
        spec = None
        try:
            spec = handler(value)
        except ValidationError as error:
            findings += [finding(e["loc"], e["msg"], e["input"]) for e in error.errors(include_url=False)]
        sections = dict(spec) if spec else cls._valid_sections(value)
        findings += _conflicts(sections)
        if findings or spec is None:
            raise ValidationError.from_exception_data("churn pipeline", findings)
        return spec

    @classmethod
    def _valid_sections(cls, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {}
        hints, valid = get_type_hints(cls, include_extras=True), {}
        for name, info in cls.model_fields.items():
            given = value.get(info.alias or name, info.default)
            if get_origin(hints[name]) is list and isinstance(given, list):
                (item,) = get_args(hints[name])
                valid[name] = [_if_valid(item, one) for one in given]
            else:
                valid[name] = _if_valid(hints[name], given)
        return valid

    @property
    def calendar(self) -> Calendar:
        """What each stage of this pipeline may read."""
        return Calendar(
            start=self.months.start,
            end=self.months.end,
            horizon=0 if self.label.kind == "same_row" else self.label.horizon,
            lookback=max(f.lookback for f in self.features),
            training_months=self.training.months,
            history=self.schema_.history,
            split=self.training.split,
        )

    @property
    def lookbacks(self) -> dict[str, int]:
        """How many earlier months each feature reads, what it is made of included."""
        reach: dict[str, int] = {}
        for feature in self.features:
            inherited = max((reach.get(name, 0) for name in feature.operands), default=0)
            reach |= {name: max(feature.lookback, inherited) for name in feature.names}
        return reach

    @property
    def feature_names(self) -> list[str]:
        """All features, in the order of the specification."""
        return [name for feature in self.features for name in feature.names]


def _if_valid(kind: Any, given: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError:
        return None


def _conflicts(sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    schema: SchemaSpec | None = sections.get("schema_")
    if schema:
        yield from _unknown_operands(schema, sections.get("features") or [])
        yield from _label_without_column(schema, sections.get("label"))
        yield from _unknown_conditions(schema)
        yield from _key_of_rows(schema, sections)
        yield from _rules_without_columns(schema)
        value = sections.get("value")
        if value and isinstance(value.monthly_value, str) and value.monthly_value not in schema.attributes:
            hint = nearest(value.monthly_value, list(schema.attributes))
            yield finding(("value", "monthly_value"), f"no attribute is called {value.monthly_value!r}. {hint}")
        elif value and isinstance(value.monthly_value, str) and value.monthly_value not in _numbers(schema):
            kind = schema.attributes[value.monthly_value].type
            yield finding(
                ("value", "monthly_value"), f"expected a number, found {value.monthly_value!r} of type {kind}."
            )
        yield from _taken_names(schema, sections.get("features") or [])
    yield from _twice(sections)
    yield from _static_source_of_many_months(sections)


def _numbers(schema: SchemaSpec) -> set[str]:
    return {n for n, c in schema.attributes.items() if c.type in ("integer", "number", "boolean")}


def _unknown_operands(schema: SchemaSpec, features: list[Any]) -> Iterator[InitErrorDetails]:
    """Findings on the operands of valid features; None stands for one that is invalid in itself."""
    attributes = schema.attributes
    known = dict.fromkeys(attributes)
    numeric = _numbers(schema)
    for i, feature in enumerate(features):
        if feature is None:
            continue
        for operand in feature.operands:
            place = ("features", i, "columns" if isinstance(feature, ColumnsFeature) else feature.kind)
            if feature.kind == "ratio" and operand not in known and None in features[:i]:
                continue  # It may be the name of the invalid feature.
            if operand not in known or (operand not in attributes and feature.kind != "ratio"):
                yield finding(place, f"no column is called {operand!r}. {nearest(operand, list(known))}", operand)
            elif operand not in numeric and feature.kind not in ("columns", "lag"):
                yield finding(place, f"expected a number, found {operand!r} of type {attributes[operand].type}.")
        known.update(dict.fromkeys(feature.names))
        if feature.kind not in ("columns", "lag", "bucket"):
            numeric.update(feature.names)


def _unknown_conditions(schema: SchemaSpec) -> Iterator[InitErrorDetails]:
    known = [c.name for c in schema.columns if c.role != "ignored"]
    for i, column in enumerate(schema.columns):
        for name in column.fill_where:
            if name not in known:
                place = ("schema", "columns", i, "fill_where")
                yield finding(place, f"no column is called {name!r}. {nearest(name, known)}", name)


def _label_without_column(schema: SchemaSpec, label: LabelSpec | None) -> Iterator[InitErrorDetails]:
    if label and label.kind in ("flag", "same_row") and schema.churned is None:
        yield finding(
            ("label", "kind"),
            f"kind {label.kind} needs a column with role churned, found none. Give one column of the schema "
            "'role: churned', or use kind absence.",
        )


def _twice(sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    names = {
        "features": [n for f in sections.get("features") or [] if f for n in f.names],
        "candidates": [c.name for c in sections.get("candidates") or [] if c],
    }
    for section, given in names.items():
        for name in sorted({n for n in given if given.count(n) > 1}):
            yield finding((section,), f"{name!r} is declared twice. Give one of the two another name.")


def _taken_names(schema: SchemaSpec, features: list[Any]) -> Iterator[InitErrorDetails]:
    taken = {schema.key, *(c.name for c in schema.columns), *RESERVED}
    for i, feature in enumerate(features):
        if feature and not isinstance(feature, ColumnsFeature) and feature.name in taken:
            yield finding(
                ("features", i, feature.kind, "name"),
                f"{feature.name!r} is a column already. Give the feature another name.",
                feature.name,
            )


def _static_source_of_many_months(sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    source, months = sections.get("source"), sections.get("months")
    if not source or not months:
        return
    # The first table of several has the customers; a static one beside it, of regions say, is fine.
    first = next(iter(source.tables.values())).source if isinstance(source, JoinedSourceSpec) else source
    field, text = _naming_the_month(first)
    if text is None or "{{" in text:
        return
    # A path that lacks the year repeats after twelve months, any other that repeats does so at once.
    year = month_range(months.start, min(months.end or months.start + 12, months.start + 12))
    if len({filled(text, month) for month in year}) < len(year):
        yield finding(
            ("source", field),
            f"{text!r} names the same for several of the pipeline's months, {months.start} to "
            f"{months.end or 'open'}. Put {{month}} into it, or set months.end to {months.start}.",
        )


def _naming_the_month(source: Any) -> tuple[str, str | None]:
    """The field of a source that says which month is read, and its text with the month in braces."""
    match source:
        case FileSourceSpec() | KaggleSourceSpec() | HuggingFaceSourceSpec():
            return "path", source.path
        case HttpSourceSpec():
            return "url", " ".join([source.url, *map(str, source.params.values())])
        case SqlSourceSpec():
            return "query", "{month_start}" if ":month_" in source.query else ""
    return "", None


def _key_of_rows(schema: SchemaSpec, sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    label = sections.get("label")
    if schema.key_from != "column" and label and label.kind != "same_row":
        yield finding(
            ("schema", "key_from"),
            f"a key made from the {schema.key_from} names nobody in another month, so that it needs label.kind "
            f"same_row; found {label.kind}. Name the customer's column in schema.key.",
        )


def _rules_without_columns(schema: SchemaSpec) -> Iterator[InitErrorDetails]:
    from churn_assets.spec.expressions import problem_of

    for i, rule in enumerate(schema.rules):
        if found := problem_of(rule, schema):
            yield finding(("schema", "rules", i, "expression"), found, rule.expression)
    ids = [r.id for r in schema.rules]
    for name in sorted({n for n in ids if ids.count(n) > 1}):
        yield finding(("schema", "rules"), f"{name!r} is declared twice. Give one of the two another id.")
