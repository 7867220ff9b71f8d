"""A whole pipeline's specification, and the rules that span its sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, get_args, get_origin, get_type_hints

from pydantic import Field, ModelWrapValidatorHandler, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails

from churn_assets.months import Calendar, month_range
from churn_assets.spec.alerts import AlertsSpec
from churn_assets.spec.base import Owner, SpecModel, finding, nearest
from churn_assets.spec.data import RESERVED, ColumnType, LabelSpec, SchemaSpec
from churn_assets.spec.events import EventsSpec, problems_of
from churn_assets.spec.feature_checks import FeatureChecksSpec
from churn_assets.spec.features import Available, ColumnsFeature, FeatureSpec, PythonFeature, Told, types_of
from churn_assets.spec.functions import source_of
from churn_assets.spec.learning import CandidateSpec, EvaluationSpec, GatesSpec, TrainingSpec
from churn_assets.spec.monitoring import MonitoringSpec
from churn_assets.spec.months import MonthsSpec
from churn_assets.spec.operation import AutomationSpec, CostsSpec, EngineSpec, OnlineSpec, ResourcesSpec, ValueSpec
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
    owner: Owner = Field("team:data", description="team:<name> or an e-mail address.")
    months: MonthsSpec
    source: SourceSpec
    schema_: SchemaSpec = Field(alias="schema")
    events: EventsSpec | None = Field(None, description="For a source of events; a snapshot has none.")
    label: LabelSpec = LabelSpec()
    features: list[FeatureSpec] = Field(min_length=1)
    feature_checks: FeatureChecksSpec = FeatureChecksSpec()
    training: TrainingSpec = TrainingSpec()
    candidates: list[CandidateSpec] = Field(min_length=1)
    evaluation: EvaluationSpec = EvaluationSpec()
    gates: GatesSpec = GatesSpec()
    value: ValueSpec
    monitoring: MonitoringSpec = MonitoringSpec()
    online: OnlineSpec = OnlineSpec()
    automation: AutomationSpec = AutomationSpec()
    alerts: AlertsSpec = AlertsSpec()
    engine: EngineSpec = EngineSpec()
    resources: ResourcesSpec = ResourcesSpec()
    costs: CostsSpec = CostsSpec()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name and not _NAME.match(name):
            raise ValueError(f"expected lower-case letters, digits and _, starting with a letter; found {name!r}.")
        return name

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
        findings += _conflicts(sections, {f["loc"][0] for f in findings if f.get("loc")})
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
            lookback=max(*(f.lookback for f in self.features), self.events.lookback if self.events else 0),
            training_months=self.training.months,
            history=self.schema_.history,
            lag_days=self.months.lag_days,
            split=self.training.split,
            train_every=self.training.every,
            hindsight=max(self.monitoring.retrain.of_months - 1, self.monitoring.retrain.cool_down),
        )

    @property
    def deciding_value(self) -> ValueSpec | None:
        """What a contact is worth, where promotion depends on it."""
        return self.value if self.gates.metric == "profit" else None

    @property
    def holdout_share(self) -> float:
        """Share of a list that is held out: none where no later month tells who left."""
        return self.value.holdout_share if self.calendar.horizon else 0.0

    @property
    def lookbacks(self) -> dict[str, int]:
        """How many earlier months each feature reads, what it is made of included."""
        reach = {m.name: m.lookback for m in self.events.measures} if self.events else {}
        for feature in self.features:
            for name in feature.names:
                made_of = [name] if isinstance(feature, ColumnsFeature) else feature.operands
                reach[name] = max(feature.lookback, *(reach.get(n, 0) for n in made_of), 0)
        return {name: reach[name] for name in self.feature_names}

    @property
    def observed(self) -> dict[str, ColumnType]:
        """What features are made of, with its type: attributes of a snapshot, or measures of events."""
        return _observed(self.schema_, self.events)

    @property
    def feature_names(self) -> list[str]:
        """All features, in the order of the specification."""
        return [name for feature in self.features for name in feature.names]

    @property
    def feature_types(self) -> dict[str, ColumnType]:
        """The type of every feature."""
        return types_of(self.features, self.observed)

    @property
    def feature_owners(self) -> dict[str, str]:
        """Who answers for every feature."""
        return {name: feature.owner or self.owner for feature in self.features for name in feature.names}

    @property
    def feature_descriptions(self) -> dict[str, str]:
        """Every feature in words, with what is said of the columns that it is made of."""
        given = self.events.measures if self.events else []
        measures = {m.name: m.model_copy(update={"description": m.describe()}) for m in given}
        told: dict[str, Told] = {**self.schema_.attributes, **measures}
        return {name: feature.describe(name, told) for feature in self.features for name in feature.names}

    @property
    def missing_words(self) -> dict[str, str]:
        """What a missing value of a column says of the customer, where that is declared."""
        return {c.name: c.when_missing for c in self.schema_.columns if c.when_missing}

    @property
    def feature_sources(self) -> list[Path]:
        """The files of people's own functions that features are computed by."""
        return sorted({source_of(f.function) for f in self.features if isinstance(f, PythonFeature)})


def _if_valid(kind: Any, given: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError:
        return None


def _conflicts(sections: dict[str, Any], broken: set[int | str]) -> Iterator[InitErrorDetails]:
    """Findings across the sections; those in ``broken`` are wrong in themselves, and None here."""
    schema: SchemaSpec | None = sections.get("schema_")
    if schema and "events" not in broken:
        events = sections.get("events")
        observed = _observed(schema, events)
        yield from _grain(schema, events, sections.get("label"))
        yield from _unknown_operands(schema, observed, sections.get("features") or [])
        yield from _window_measures_in_earlier_months(events, sections.get("features") or [])
        yield from _taken_names(schema, observed, sections.get("features") or [])
        yield from _monthly_value(sections, observed)
    if schema:
        yield from _label_without_column(schema, sections.get("label"))
        yield from _unknown_conditions(schema)
        yield from _expressions(schema)
        yield from _key_of_rows(schema, sections)
        yield from _rules_without_columns(schema)
        yield from _unspoken_by_spark(schema, sections)
    yield from _twice(sections)
    if not {"features", "candidates", "evaluation"} & broken:
        yield from _unknown_features(sections)
    yield from _static_source_of_many_months(sections)
    if "candidates" not in broken:
        yield from _nothing_to_search(sections)


def _observed(schema: SchemaSpec, events: EventsSpec | None) -> dict[str, ColumnType]:
    if events:
        return {m.name: m.type for m in events.measures}
    return {name: column.type for name, column in schema.attributes.items()}


def _grain(schema: SchemaSpec, events: EventsSpec | None, label: LabelSpec | None) -> Iterator[InitErrorDetails]:
    """Findings on a source of events that is declared as one in part only."""
    if events is None:
        if schema.time:
            yield finding(
                ("events",),
                f"{schema.time!r} has role time, so that rows are events: add this section with active_months and "
                "measures, or drop the role.",
            )
        if label and label.kind == "inactivity":
            yield finding(("label", "kind"), "kind inactivity needs events. Use kind flag or absence for snapshots.")
        return
    if schema.time is None:
        yield finding(
            ("events",), "expected a column that tells when an event happened, found none. Give it 'role: time'."
        )
    if schema.churned:
        yield finding(
            ("schema", "columns"), f"an event flags nobody as having left: drop 'role: churned' of {schema.churned!r}."
        )
    if label and label.kind != "inactivity":
        yield finding(("label", "kind"), f"customers of events leave by inactivity; found kind {label.kind}.")
    for i, rule in enumerate(schema.rules):
        if rule.reads_previous:
            told = "an event has no previous row: a customer has many in a month."
            yield finding(("schema", "rules", i, "expression"), told, rule.expression)
    for place, text in problems_of(events, schema):
        yield finding(("events", *place), text)


def _window_measures_in_earlier_months(events: EventsSpec | None, features: list[Any]) -> Iterator[InitErrorDetails]:
    windows = {m.name: m for m in events.measures if m.lookback} if events else {}
    for i, feature in enumerate(features):
        for name in feature.operands if feature and feature.lookback else ():
            if name in windows:
                yield finding(
                    ("features", i, feature.kind),
                    f"{name!r} looks at {windows[name].months} months and exists at the month itself only. Declare a "
                    "measure of one month, and look back at that.",
                    name,
                )


def _monthly_value(sections: dict[str, Any], observed: dict[str, ColumnType]) -> Iterator[InitErrorDetails]:
    value, features = sections.get("value"), sections.get("features") or []
    if not value or not isinstance(value.monthly_value, str):
        return
    name, place = value.monthly_value, ("value", "monthly_value")
    known = [n for f in features if f for n in f.names]
    hint = nearest(name, known)
    # Unless it is a slip of the pen, it may be the name of an invalid feature.
    if name not in known and (None not in features or hint.startswith("Did you mean")):
        yield finding(place, f"no feature is called {name!r}. {hint}")
    elif name in observed and name not in _numbers(observed):
        yield finding(place, f"expected a number, found {name!r} of type {observed[name]}.")


def _numbers(observed: dict[str, ColumnType]) -> set[str]:
    return {name for name, kind in observed.items() if kind in ("integer", "number", "boolean")}


def _unknown_operands(
    schema: SchemaSpec, observed: dict[str, ColumnType], features: list[Any]
) -> Iterator[InitErrorDetails]:
    """Findings on the operands of valid features; None stands for one that is invalid in itself."""
    allowed = {name: c.allowed for name, c in schema.attributes.items() if c.allowed and name in observed}
    refused = {c.name: f"it has role {c.role}" for c in schema.columns if c.name not in observed}
    refused[schema.key] = "it is the key"
    earlier: dict[str, ColumnType] = {}
    for i, feature in enumerate(features):
        if feature is None:
            continue
        available = Available(observed, earlier, allowed, refused, unsure=None in features[:i])
        yield from (finding(("features", i, feature.kind), text) for text in feature.problems(available))
        earlier = {**earlier, **feature.types(available.types)}


def _unknown_conditions(schema: SchemaSpec) -> Iterator[InitErrorDetails]:
    known = [c.name for c in schema.received if c.role != "ignored"]
    for i, column in enumerate(schema.columns):
        for name in column.fill_where:
            if name not in known:
                place = ("schema", "columns", i, "fill_where")
                yield finding(place, f"no column is called {name!r}. {nearest(name, known)}", name)


def _label_without_column(schema: SchemaSpec, label: LabelSpec | None) -> Iterator[InitErrorDetails]:
    if label and label.kind in ("flag", "same_row") and schema.churned is None and schema.time is None:
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


def _unknown_features(sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    """Findings on features that learning and evaluation name."""
    features = [n for f in sections.get("features") or [] for n in f.names]
    for i, candidate in enumerate(sections.get("candidates") or []):
        for name in candidate.monotone:
            if name not in features:
                told = f"no feature is called {name!r}. {nearest(name, features)}"
                yield finding(("candidates", i, "monotone"), told, name)
    for name in sections["evaluation"].segments if sections.get("evaluation") else ():
        if name not in features:
            yield finding(("evaluation", "segments"), f"no feature is called {name!r}. {nearest(name, features)}", name)


def _taken_names(
    schema: SchemaSpec, observed: dict[str, ColumnType], features: list[Any]
) -> Iterator[InitErrorDetails]:
    taken = {schema.key, *(c.name for c in schema.columns), *observed, *RESERVED}
    for i, feature in enumerate(features):
        for name in feature.names if feature and not isinstance(feature, ColumnsFeature) else ():
            if name in taken:
                field = "names" if isinstance(feature, PythonFeature) else "name"
                place = ("features", i, feature.kind, field)
                yield finding(place, f"{name!r} is a column already. Give the feature another name.", name)


def _unspoken_by_spark(schema: SchemaSpec, sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    """Findings on names in which Spark takes a dot for a way into a structure."""
    engine, events = sections.get("engine"), sections.get("events")
    if engine is None or engine.kind != "spark":
        return
    names = [schema.key, *(c.name for c in schema.columns), *(m.name for m in (events.measures if events else ()))]
    names += [n for f in sections.get("features") or [] if f for n in f.names]
    if dotted := [name for name in dict.fromkeys(names) if {".", "`"} & set(name)]:
        yield finding(
            ("engine",),
            f"Spark takes no . or ` in a name, found {', '.join(dotted)}. Give a column another name, with the one it "
            "has at the source under source:.",
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


def _expressions(schema: SchemaSpec) -> Iterator[InitErrorDetails]:
    from churn_assets.spec.expressions import problem_of_column

    for i, column in enumerate(schema.columns):
        if column.expression and (found := problem_of_column(column, schema)):
            yield finding(("schema", "columns", i, "expression"), found, column.expression)


def _rules_without_columns(schema: SchemaSpec) -> Iterator[InitErrorDetails]:
    from churn_assets.spec.expressions import problem_of

    for i, rule in enumerate(schema.rules):
        if found := problem_of(rule, schema):
            yield finding(("schema", "rules", i, "expression"), found, rule.expression)
    ids = [r.id for r in schema.rules]
    for name in sorted({n for n in ids if ids.count(n) > 1}):
        yield finding(("schema", "rules"), f"{name!r} is declared twice. Give one of the two another id.")


def _nothing_to_search(sections: dict[str, Any]) -> Iterator[InitErrorDetails]:
    automation, candidates = sections.get("automation"), sections.get("candidates") or []
    if automation and automation.retrain_tuning and not any(c.tuning for c in candidates):
        yield finding(
            ("automation", "retrain_tuning"), "no candidate declares a search. Give one `tuning: {only_ordered: true}`."
        )
