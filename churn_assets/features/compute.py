"""A month's features: one row a customer, from the months of its window and nothing else.

Every month of the window is joined to the month itself by customer, so that a customer who is absent in some month
has a missing value there and never a shifted window. What is then computed are narwhals expressions: the same ones on
Polars and on any engine that narwhals speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw

from churn_assets.features.expressions import at, expression, finite, intermediate
from churn_assets.features.functions import call, settled
from churn_assets.features.types import DTYPES, fits, kind_of
from churn_assets.spec import ColumnsFeature, FeatureSpec, PythonFeature
from churn_assets.spec.data import ColumnType
from churn_assets.spec.features import types_of

MONTHS_OBSERVED = "months_observed"

Frame = nw.LazyFrame[Any]
Types = Mapping[str, ColumnType]


def compute(
    months: Mapping[int, Any],
    key: str,
    features: Sequence[FeatureSpec],
    keep: nw.Expr | None = None,
    types: Types | None = None,
) -> Any:
    """The features of one month.

    Args:
        months: the window's rows by lag; 0 is the month itself and must be there. Lazy frames of any engine, one row
            a customer and month; lags without an entry are months in which nobody was observed.
        key: the customer's column.
        features: what to compute, in order; some kinds may use features before them.
        keep: which of the month's rows get features; all, if not given.
        types: the types of the columns; those that they have in the month itself, if not given.

    Returns:
        A native lazy frame with ``key``, the features, and ``months_observed``: in how many months of the window the
        customer was there. It is sorted by ``key``, and equal inputs give equal bytes.

    Raises:
        FeatureError: a function of people's own failed, or gave something else than declared.
    """
    frames = {lag: nw.from_native(frame) for lag, frame in months.items()}
    needed = _needed(features)
    dtypes = _dtypes(frames[0], needed, types)
    table = _side_by_side(frames, key, needed, dtypes, keep)
    table = _with_functions(table, key, [f for f in features if isinstance(f, PythonFeature)])
    columns = {name: kind_of(dtype) or "number" for name, dtype in dtypes.items()}
    known = {**columns, **types_of(features, columns)}
    for shared in intermediate(features):
        table = table.with_columns(*shared)
    for layer in _layers(features):
        table = _with_layer(table, layer, known)
    names = [name for feature in features for name in feature.names]
    return table.select(key, *names, MONTHS_OBSERVED).sort(key).to_native()


def _needed(features: Sequence[FeatureSpec]) -> dict[str, set[int]]:
    """The columns that features are made of, with the lags at which they are read."""
    made = {name for f in features if not isinstance(f, ColumnsFeature) for name in f.names}
    needed: dict[str, set[int]] = {}
    for feature in features:
        for name in feature.operands:
            if name not in made:
                needed.setdefault(name, {0}).update(feature.lags)
    return needed


def _dtypes(month: Frame, needed: Mapping[str, set[int]], types: Types | None) -> dict[str, nw.dtypes.DType]:
    """What each column is stored as in the month, or as its type wants it if that is another one, or none."""
    found = month.collect_schema()
    dtypes: dict[str, nw.dtypes.DType] = {}
    for name in needed:
        kind = types[name] if types else kind_of(found[name]) or "number"
        dtypes[name] = found[name] if name in found and fits(found[name], kind) else DTYPES[kind]
    return dtypes


def _side_by_side(
    frames: Mapping[int, Frame],
    key: str,
    needed: Mapping[str, set[int]],
    dtypes: Mapping[str, nw.dtypes.DType],
    keep: nw.Expr | None,
) -> Frame:
    """The month's rows, with every earlier value that is needed beside them, and ``months_observed``."""
    table = frames[0] if keep is None else frames[0].filter(keep)
    table = table.select(key, *_values(frames[0], 0, needed, dtypes), nw.lit(1).alias(MONTHS_OBSERVED))
    deepest = max((lag for lags in needed.values() for lag in lags), default=0)
    lags = [lag for lag in range(1, deepest + 1) if lag in frames]
    for lag in lags:
        observed = nw.lit(1).alias(at(MONTHS_OBSERVED, lag))
        earlier = frames[lag].select(key, *_values(frames[lag], lag, needed, dtypes), observed)
        table = table.join(earlier, on=key, how="left")
    observed = nw.sum_horizontal(*(nw.col(at(MONTHS_OBSERVED, lag)) for lag in (0, *lags)))
    absent = [(c, lag) for c in needed for lag in needed[c] if lag not in frames]
    return table.with_columns(
        observed.cast(nw.Int64).alias(MONTHS_OBSERVED),
        *(nw.lit(None, dtypes[c]).alias(at(c, lag)) for c, lag in absent),
    )


def _values(
    frame: Frame, lag: int, needed: Mapping[str, set[int]], dtypes: Mapping[str, nw.dtypes.DType]
) -> Iterator[nw.Expr]:
    found = frame.collect_schema()
    for name in (n for n, lags in needed.items() if lag in lags):
        if name not in found:
            value = nw.lit(None, dtypes[name])
        else:
            value = nw.col(name) if found[name] == dtypes[name] else nw.col(name).cast(dtypes[name])
        yield value.alias(at(name, lag))


def _with_functions(table: Frame, key: str, features: Sequence[PythonFeature]) -> Frame:
    if not features:
        return table
    table = settled(table)
    for feature in features:
        table = table.join(call(feature, table, key), on=key, how="left")
    return table


def _with_layer(table: Frame, layer: Sequence[FeatureSpec], types: Types) -> Frame:
    made = {name: expression(f, types) for f in layer for name in f.names}
    table = table.with_columns(*(value.alias(name) for name, value in made.items()))
    # A step of its own: in one expression an engine that generates code would write out every value twice.
    guarded = [finite(nw.col(name)) for name in made if types[name] == "number"]
    return table.with_columns(*guarded) if guarded else table


def _layers(features: Sequence[FeatureSpec]) -> list[list[FeatureSpec]]:
    """The features that are expressions; those of a layer are made of columns and of the layers before it."""
    depth: dict[str, int] = {}
    layers: dict[int, list[FeatureSpec]] = {}
    for feature in features:
        if isinstance(feature, ColumnsFeature | PythonFeature):
            continue
        depth[feature.name] = 1 + max(depth.get(name, 0) for name in feature.operands)
        layers.setdefault(depth[feature.name], []).append(feature)
    return [layers[level] for level in sorted(layers)]
