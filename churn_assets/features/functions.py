"""Features that people's own functions compute; what a function gives is checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw

from churn_assets.errors import FeatureError
from churn_assets.features.expressions import at, finite
from churn_assets.features.types import DTYPES, fits
from churn_assets.spec import PythonFeature
from churn_assets.spec.base import nearest
from churn_assets.spec.functions import load_function

Frame = nw.LazyFrame[Any]


def settled(frame: Frame) -> Frame:
    """The same rows, computed now and once: what fails, fails here."""
    if frame.implementation.is_polars():
        return frame.collect().lazy()
    kept: Frame = nw.from_native(frame.to_native().localCheckpoint())
    return kept


def call(feature: PythonFeature, table: Frame, key: str) -> Frame:
    """What the function makes of ``table``, which has all months side by side: the key and the declared features.

    Raises:
        FeatureError: the function failed, or gave other names, types or rows than it was declared to.
    """
    values = [nw.col(at(c, lag)).alias(feature.given(c, lag)) for c in feature.columns for lag in feature.lags]
    given = table.select(key, *values)
    try:
        made = settled(_declared(feature, given, load_function(feature.function)(given), key))
    except FeatureError:
        raise
    except Exception as error:
        raise FeatureError(
            f"{feature.function}, which computes {_listed(feature.names)}, failed: {type(error).__name__}: {error}. "
            f"It was given the columns {_listed(given.collect_schema().names())}. Mend the function and run the month "
            "again."
        ) from error
    _require_rows(feature, given, made, key)
    return made


def _declared(feature: PythonFeature, given: Frame, returned: Any, key: str) -> Frame:
    """The key and the declared features of what a function has returned."""
    if not isinstance(returned, nw.LazyFrame) or returned.implementation is not given.implementation:
        raise FeatureError(
            f"{feature.function}: expected a narwhals LazyFrame made of the one that it was given, found "
            f"{type(returned).__module__}.{type(returned).__qualname__}. Return frame.select(...) or the like."
        )
    expected, had, found = [key, *feature.names], given.collect_schema(), returned.collect_schema()
    problems = [f"no column {n!r}. {nearest(n, found.names())}" for n in expected if n not in found]
    problems += [f"a column {n!r} that names doesn't declare" for n in found if n not in expected and n not in had]
    problems += [
        f"{n!r} as {found[n]}" for n, kind in feature.outputs.items() if n in found and not fits(found[n], kind)
    ]
    problems += [f"{key!r} as {found[key]}" for _ in [key] if key in found and found[key] != had[key]]
    if problems:
        wanted = [f"{key} ({had[key]})", *(f"{n} ({kind})" for n, kind in feature.outputs.items())]
        raise FeatureError(f"{feature.function}: expected the columns {_listed(wanted)}; found {'; '.join(problems)}.")
    return returned.select(key, *(_typed(n, DTYPES[kind]) for n, kind in feature.outputs.items()))


def _typed(name: str, dtype: nw.dtypes.DType) -> nw.Expr:
    value = nw.col(name).cast(dtype)
    return (finite(value) if dtype == nw.Float64 else value).alias(name)


def _require_rows(feature: PythonFeature, given: Frame, made: Frame, key: str) -> None:
    wanted, found = (int(f.select(nw.len()).collect().item()) for f in (given, made))
    without = given.select(key).join(made.select(key), on=key, how="anti").sort(key).head(1).collect()
    if wanted == found and not len(without):
        return
    whom = f", and none for {without[key][0]!r}" if len(without) else ", some customers twice"
    raise FeatureError(
        f"{feature.function}: expected one row for each of {wanted:,} customers, found {found:,} rows{whom}. Return a "
        "row for every row that is given, with nulls where nothing is known."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
