"""Which columns a column is made of, table by table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from churn_assets.features.compute import MONTHS_OBSERVED
from churn_assets.quality.naming import match_columns
from churn_assets.spec import PLACE, EventsSpec, PipelineSpec, SchemaSpec
from churn_assets.spec.expressions import compiled

Lineage = dict[str, list[tuple[str, str]]]
"""Column -> the columns that its values are made of, each with its table; sorted, none twice."""

_OF_TIME = ("count", "days", "recency", "gap")


def of_validated(schema: SchemaSpec, received: Iterable[str]) -> Lineage:
    """The columns of ``validated_data``, made of those of ``raw_data``.

    Args:
        schema: what was declared.
        received: the columns of ``raw_data``.

    Raises:
        QualityError: a declared column wasn't delivered.
    """
    names = [name for name in received if name not in PLACE]
    found = match_columns(names, schema).received
    made: dict[str, set[str]] = {ours: {theirs} for ours, theirs in found.items()}
    if schema.key_from != "column":
        made[schema.key] = set(names) if schema.key_from == "content" else set()
    for column in schema.columns:
        if column.expression:
            made[column.name] = _through(compiled(column.expression).meta.root_names(), made)
        elif column.fill_where:
            made[column.name] = made.get(column.name, set()) | _through(column.fill_where, made)
    kept = [schema.key, *(c.name for c in schema.columns if c.role != "ignored")]
    return {name: [("raw_data", n) for n in sorted(made.get(name, ()))] for name in kept}


def of_features(spec: PipelineSpec) -> Lineage:
    """The columns of ``features``, made of those of ``validated_data``: through other features, and measures."""
    key = spec.schema_.key
    made = _of_measures(spec.events, spec.schema_) if spec.events else {n: {n} for n in spec.observed}
    lineage: dict[str, set[str]] = {key: {key}, MONTHS_OBSERVED: {key}}
    for feature in spec.features:
        columns = _through(feature.operands, made)
        # A column that is taken as it stands is made of itself alone, whatever stands beside it in the list.
        own = {name: made[name] if feature.kind == "columns" else columns for name in feature.names}
        lineage |= own
        made |= own
    return {name: [("validated_data", n) for n in sorted(columns)] for name, columns in lineage.items()}


def of_predictions(spec: PipelineSpec, model: Sequence[str]) -> Lineage:
    """The columns of ``predictions``, made of those of ``features``.

    Args:
        spec: the pipeline.
        model: the features of the model that scores.
    """
    key = spec.schema_.key
    made = {key: {key}, "p_leave": set(model), "risk": set(model), "decile": set(model)}
    return {name: [("features", n) for n in sorted(columns)] for name, columns in made.items()}


def of_retention_list(spec: PipelineSpec, model: Sequence[str]) -> Lineage:
    """The columns of ``retention_list``, made of those of ``predictions`` and ``features``; ``model`` as above."""
    key, monthly = spec.schema_.key, spec.value.monthly_value
    value = [("features", monthly)] if isinstance(monthly, str) else []
    worth = sorted([("predictions", "p_leave"), *value])
    why = [("features", n) for n in sorted(model)]
    kept = {name: [("predictions", name)] for name in (key, "p_leave", "risk", "decile", "model_id")}
    return {
        **kept, "monthly_value": value, "expected_value": worth, "rank": worth, "action": [("predictions", key)],
        "segment": [("features", n) for n in sorted(spec.evaluation.segments)],
        **dict.fromkeys(("reason_1", "reason_2", "reason_3"), why),
    }  # fmt: skip


def _of_measures(events: EventsSpec, schema: SchemaSpec) -> dict[str, set[str]]:
    """The columns of the events that each measure is made of; the time, where it is that which is measured."""
    time = {schema.time} if schema.time else set()
    return {
        m.name: {*m.where, *({m.column} if m.column else ()), *(time if m.kind in _OF_TIME else ())}
        for m in events.measures
    }


def _through(names: Iterable[str], made: Mapping[str, set[str]]) -> set[str]:
    return {column for name in names for column in made.get(name, ())}
