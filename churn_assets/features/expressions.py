"""What each kind of feature computes, as narwhals expressions on a table with the window's months side by side.

Numbers are added up in one order, newest month first, for the order decides the last digit: an engine's own sums over
columns divide the work among threads as it comes.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from functools import reduce

import narwhals as nw

from churn_assets.spec import (
    BucketFeature,
    ConditionFeature,
    DeltaFeature,
    FeatureSpec,
    InteractionFeature,
    LagFeature,
    RankFeature,
    RatioFeature,
    TrailingFeature,
)
from churn_assets.spec.data import ColumnType

SEPARATOR = " & "
"""Stands between categories that are taken together."""


def at(column: str, lag: int) -> str:
    """What a column's value of ``lag`` months before is called in the table.

    >>> at("calls", 0), at("calls", 2)
    ('calls', 'calls@m-2')
    """
    return f"{column}@m-{lag}" if lag else column


def intermediate(features: Sequence[FeatureSpec]) -> list[list[nw.Expr]]:
    """What several statistics share, named; each list is made of those before it."""
    trailing = [f for f in features if isinstance(f, TrailingFeature)]
    counted = {(f.column, f.months): f for f in trailing if f.kind not in ("min", "max")}.values()
    centred = {(f.column, f.months): f for f in trailing if f.kind in ("std", "trend")}.values()
    steps = [
        [_count(_values(f)).alias(_shared(f, "count")) for f in counted]
        + [nw.coalesce(*_values(f)).alias(_shared(f, "newest")) for f in centred],
        [_shift(f).alias(_shared(f, "shift")) for f in centred],
    ]
    return [step for step in steps if step]


def expression(feature: FeatureSpec, types: Mapping[str, ColumnType]) -> nw.Expr:
    """What ``feature`` computes of columns and earlier features of ``types``; an overflow isn't caught yet."""
    match feature:
        case LagFeature():
            return nw.col(at(feature.column, feature.months))
        case DeltaFeature():
            return _number(feature.column) - _number(at(feature.column, feature.months))
        case TrailingFeature():
            return _statistic(feature)
        case ConditionFeature():
            return _held(feature, types[feature.column])
        case RatioFeature():
            below = _number(feature.denominator)
            return nw.when(below != 0).then(_number(feature.numerator) / below)
        case BucketFeature():
            return _bucket(_number(feature.column), feature.edges)
        case InteractionFeature():
            if feature.of_categories(types):
                texts = [nw.col(name).cast(nw.String) for name in feature.columns]
                return nw.concat_str(*texts, separator=SEPARATOR)
            return reduce(operator.mul, map(_number, feature.columns))
        case RankFeature():
            return _rank(_number(feature.column), feature.by)
    raise AssertionError(f"features of kind {feature.kind} are no expressions")


def finite(value: nw.Expr) -> nw.Expr:
    """``value``, null where it is infinite or no number."""
    return nw.when(value.is_finite()).then(value)


def _number(name: str) -> nw.Expr:
    return nw.col(name).cast(nw.Float64)


def _values(feature: TrailingFeature) -> list[nw.Expr]:
    return [_number(at(feature.column, lag)) for lag in feature.lags]


def _sum(values: Sequence[nw.Expr]) -> nw.Expr:
    return reduce(operator.add, (v.fill_null(0) for v in values))


def _count(values: Sequence[nw.Expr]) -> nw.Expr:
    return reduce(operator.add, ((~v.is_null()).cast(nw.Int64) for v in values))


def _shared(feature: TrailingFeature, what: str) -> str:
    return f"{feature.column}@{what} of {feature.months}m"


def _shift(feature: TrailingFeature) -> nw.Expr:
    """The mean's distance from the newest value: zero where all values are equal, which a mean itself may miss."""
    newest = nw.col(_shared(feature, "newest"))
    return _sum([v - newest for v in _values(feature)]) / nw.col(_shared(feature, "count"))


def _statistic(feature: TrailingFeature) -> nw.Expr:
    values, count = _values(feature), nw.col(_shared(feature, "count"))
    match feature.kind:
        case "min":
            return reduce(nw.min_horizontal, values)
        case "max":
            return reduce(nw.max_horizontal, values)
        case "sum":
            return nw.when(count > 0).then(_sum(values))
        case "mean":
            return nw.when(count > 0).then(_sum(values) / count)
    newest, shift = nw.col(_shared(feature, "newest")), nw.col(_shared(feature, "shift"))
    deviations = [v - newest - shift for v in values]
    if feature.kind == "std":
        return nw.when(count > 1).then((_sum([d**2 for d in deviations]) / (count - 1)).sqrt())
    along = _sum([d * -lag for d, lag in zip(deviations, feature.lags, strict=True)])
    lags = [((~v.is_null()).cast(nw.Int64), lag) for v, lag in zip(values, feature.lags, strict=True)]
    total, squares = _sum([there * lag for there, lag in lags]), _sum([there * lag * lag for there, lag in lags])
    return nw.when(count > 1).then(along / (squares - total * total / count))


def _held(feature: ConditionFeature, column: ColumnType) -> nw.Expr:
    held = [_holds(feature, nw.col(at(feature.column, lag)), column) for lag in feature.lags]
    if feature.kind == "months_since":
        since: nw.Expr = nw.lit(None, nw.Int64)
        for lag, holds in reversed([*zip(feature.lags, held, strict=True)]):
            since = nw.when(holds).then(nw.lit(lag, nw.Int64)).otherwise(since)
        return since
    known, times = _count(held), _sum([h.cast(nw.Int64) for h in held])
    return nw.when(known > 0).then(times if feature.kind == "count" else times / known)


def _holds(feature: ConditionFeature, value: nw.Expr, column: ColumnType) -> nw.Expr:
    """Whether the condition holds of ``value``; null where that is null."""
    above = [] if feature.above is None else [value > feature.above]
    below = [] if feature.below is None else [value < feature.below]
    if limits := above + below:
        return reduce(operator.and_, limits)
    return reduce(operator.or_, (value == v for v in feature.values(column)))


def _bucket(value: nw.Expr, edges: Sequence[float]) -> nw.Expr:
    texts = [repr(float(e)).removesuffix(".0") for e in edges]
    names = [f"<{texts[0]}", *(f"{a}-{b}" for a, b in itertools.pairwise(texts)), f">={texts[-1]}"]
    bucket: nw.Expr = nw.lit(names[-1])
    for edge, name in zip(reversed(edges), reversed(names[:-1]), strict=True):
        bucket = nw.when(value < edge).then(nw.lit(name)).otherwise(bucket)
    return nw.when(~value.is_null()).then(bucket)


def _rank(value: nw.Expr, by: Sequence[str]) -> nw.Expr:
    # Polars may divide by a number as it multiplies by its reciprocal, and rounds otherwise then: so it always does.
    if not by:
        return value.rank("average") * (1 / value.count())
    share = value.rank("average").over(*by) * (1 / value.count().over(*by))
    return nw.when(reduce(operator.and_, (~nw.col(name).is_null() for name in by))).then(share)
