"""Feature definitions as narwhals expressions: the same ones on Polars and on any engine that narwhals speaks.

A month's features need only the months of its window. Every month of the window is joined to the snapshot by
customer, one column a lag, so that a customer who is absent in some month has a missing value there and never a
shifted window; statistics over months ignore what is missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import narwhals as nw

from churn_assets.spec import (
    BucketFeature,
    ColumnsFeature,
    DeltaFeature,
    FeatureSpec,
    LagFeature,
    RatioFeature,
    TrailingFeature,
)

MONTHS_OBSERVED = "months_observed"


def compute(months: Mapping[int, Any], key: str, features: Sequence[FeatureSpec], keep: nw.Expr | None = None) -> Any:
    """The features of one month.

    Args:
        months: the window's rows by lag; 0 is the month itself and must be there. Lazy frames of any engine, one row
            a customer and month; lags without an entry are months in which nobody was observed.
        key: the customer's column.
        features: what to compute, in order; a ratio may use features before it.
        keep: which of the month's rows get features; all, if not given.

    Returns:
        A native lazy frame with ``key``, the features, and ``months_observed``: in how many months of the window the
        customer was there.
    """
    table = nw.from_native(months[0])
    if keep is not None:
        table = table.filter(keep)
    needed = _needed_lags(features)
    numeric = {c for f in features if isinstance(f, TrailingFeature | DeltaFeature) for c in f.operands}
    table = table.with_columns(nw.lit(1).alias(_at(MONTHS_OBSERVED, 0)))
    lags = sorted({lag for lag in months if 0 < lag <= max((f.lookback for f in features), default=0)})
    for lag in lags:
        earlier = nw.from_native(months[lag])
        columns = [c for c, depth in needed.items() if lag in depth and c in earlier.collect_schema().names()]
        table = table.join(
            earlier.select(
                key, *(nw.col(c).alias(_at(c, lag)) for c in columns), nw.lit(1).alias(_at(MONTHS_OBSERVED, lag))
            ),
            on=key,
            how="left",
        )
    types = table.collect_schema()
    absent = [(c, lag) for c, depth in needed.items() for lag in depth if _at(c, lag) not in types.names()]
    operands = [nw.col(c).cast(nw.Float64).alias(_at(c, 0)) for c in sorted(numeric)]
    operands += [nw.lit(None, types[c]).alias(_at(c, lag)) for c, lag in absent]
    table = table.with_columns(*operands) if operands else table
    for feature in features:
        if not isinstance(feature, ColumnsFeature):
            table = table.with_columns(_expression(feature).alias(feature.name))
    observed = nw.sum_horizontal(*(nw.col(_at(MONTHS_OBSERVED, lag)) for lag in [0, *lags]))
    names = [name for feature in features for name in feature.names]
    return table.select(key, *names, observed.cast(nw.Int64).alias(MONTHS_OBSERVED)).sort(key).to_native()


def _needed_lags(features: Sequence[FeatureSpec]) -> dict[str, set[int]]:
    needed: dict[str, set[int]] = {}
    for feature in features:
        match feature:
            case LagFeature() | DeltaFeature():
                needed.setdefault(feature.column, set()).add(feature.months)
            case TrailingFeature():
                needed.setdefault(feature.column, set()).update(range(1, feature.months))
            case _:
                pass
    return needed


def _expression(feature: FeatureSpec) -> nw.Expr:
    match feature:
        case LagFeature():
            return nw.col(_at(feature.column, feature.months))
        case DeltaFeature():
            return nw.col(_at(feature.column, 0)) - nw.col(_at(feature.column, feature.months)).cast(nw.Float64)
        case TrailingFeature():
            return _statistic(feature.kind, [nw.col(_at(feature.column, lag)) for lag in range(feature.months)])
        case RatioFeature():
            below = nw.col(feature.denominator).cast(nw.Float64)
            return nw.when(below != 0).then(nw.col(feature.numerator).cast(nw.Float64) / below)
        case BucketFeature():
            return _bucket(nw.col(feature.column), feature.edges)
        case ColumnsFeature():
            raise AssertionError("columns are selected as they stand")


def _statistic(kind: str, values: list[nw.Expr]) -> nw.Expr:
    values = [v.cast(nw.Float64) for v in values]
    match kind:
        case "min":
            return nw.min_horizontal(*values)
        case "max":
            return nw.max_horizontal(*values)
        case "mean":
            return nw.mean_horizontal(*values)
    counts = [(~v.is_null()).cast(nw.Float64) for v in values]
    count = reduce(lambda a, b: a + b, counts)
    total = nw.sum_horizontal(*values)
    if kind == "sum":
        return nw.when(count > 0).then(total)
    mean = total / count
    squares = nw.sum_horizontal(*((v - mean) * (v - mean) for v in values))
    return nw.when(count > 1).then((squares / (count - 1)).sqrt())


def _bucket(value: nw.Expr, edges: Sequence[float]) -> nw.Expr:
    texts = [repr(float(e)).removesuffix(".0") for e in edges]
    names = [f"<{texts[0]}", *(f"{a}-{b}" for a, b in itertools.pairwise(texts)), f">={texts[-1]}"]
    bucket: nw.Expr = nw.lit(names[-1])
    for edge, name in zip(reversed(edges), reversed(names[:-1]), strict=True):
        bucket = nw.when(value < edge).then(nw.lit(name)).otherwise(bucket)
    return nw.when(~value.is_null()).then(bucket)


def _at(column: str, lag: int) -> str:
    return f"{column}@{lag}"
