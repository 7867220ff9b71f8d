"""A month's features in figures: one row a feature."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from churn_assets.spec import FeatureSpec

COLUMNS = {
    "feature": pl.String, "kind": pl.String, "description": pl.String, "made_of": pl.String, "lookback": pl.Int64,
    "dtype": pl.String, "missing_share": pl.Float64, "distinct": pl.Int64, "mean": pl.Float64, "std": pl.Float64,
    "min": pl.Float64, "median": pl.Float64, "max": pl.Float64, "most_frequent": pl.String,
}  # fmt: skip


def profile(rows: pl.DataFrame, features: Sequence[FeatureSpec]) -> pl.DataFrame:
    """Definition and distribution of every feature, in the order of the specification."""
    # Sums of floats depend on how the rows are divided into chunks, which reading leaves to chance.
    rows = rows.rechunk()
    described = [
        (
            name,
            f.kind,
            f.describe(name),
            ", ".join([name] if f.kind == "columns" else f.operands),
            f.lookback,
            *_figures(rows[name]),
        )
        for f in features
        for name in f.names
    ]
    return pl.DataFrame(described, schema=COLUMNS, orient="row")


def _figures(values: pl.Series) -> tuple[object, ...]:
    missing = values.null_count() / max(len(values), 1)
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        numbers = values.cast(pl.Float64)
        figures = (numbers.mean(), numbers.std(), numbers.min(), numbers.median(), numbers.max(), None)
    else:
        counts = values.drop_nulls().value_counts().sort(["count", values.name], descending=[True, False])
        figures = (None, None, None, None, None, counts[values.name][0] if len(counts) else None)
    return (str(values.dtype), missing, values.n_unique(), *figures)
