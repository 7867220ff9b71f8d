"""The catalogue: what each feature is, and a month's features in figures."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from churn_assets.spec import PipelineSpec

DEFINED = {
    "feature": pl.String, "description": pl.String, "type": pl.String, "kind": pl.String, "window": pl.String,
    "made_of": pl.String, "lookback": pl.Int64, "owner": pl.String,
}  # fmt: skip

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}

_MOMENTS = ("mean", "std", "min", *QUANTILES, "max")

COLUMNS = {
    **DEFINED, "dtype": pl.String, "missing_share": pl.Float64, "distinct": pl.Int64,
    **dict.fromkeys(_MOMENTS, pl.Float64), "most_frequent": pl.String, "psi": pl.Float64, "auc": pl.Float64,
}  # fmt: skip

ABOUT = {
    "feature": "Name of the feature, and of its column in the table features.",
    "description": "What it is.",
    "type": "Type of its values: integer, number, boolean, category or string.",
    "kind": "Kind in the specification.",
    "window": "Months that it looks at, m being the month itself, what it is made of included.",
    "made_of": "Columns and features that it is made of.",
    "lookback": "How many months before the month itself it reads, what it is made of included.",
    "owner": "Who answers for it.",
    "dtype": "Type of its column.",
    "missing_share": "Share of customers without a value.",
    "distinct": "Different values, a missing one not counted.",
    "mean": "Mean of the values; of a boolean the share of true.",
    "std": "Standard deviation.",
    "min": "Smallest value.",
    "q05": "A twentieth of the values is at most this.",
    "q25": "A quarter of the values is at most this.",
    "median": "Half of the values is at most this.",
    "q75": "Three quarters of the values are at most this.",
    "q95": "All but a twentieth of the values are at most this.",
    "max": "Largest value.",
    "most_frequent": "Most frequent value of a category; of several the first by name.",
    "psi": "Population stability index against the month before: above 0.25 the distribution has moved.",
    "auc": "How well the feature ranks by itself who left, of the newest customers of whom that is known: 0.5 is "
    "chance, 1 is perfect.",
}


def definitions(spec: PipelineSpec) -> pl.DataFrame:
    """What every feature is, in the order of the specification; it needs no data."""
    types, owners, told, reach = spec.feature_types, spec.feature_owners, spec.feature_descriptions, spec.lookbacks
    lines = [
        (
            name, told[name], types[name], f.kind, f.window if reach[name] <= f.lookback else f"m-{reach[name]} to m",
            ", ".join([name] if f.kind == "columns" else f.operands), reach[name], owners[name],
        )
        for f in spec.features
        for name in f.names
    ]  # fmt: skip
    return pl.DataFrame(lines, DEFINED, orient="row")


def profile(
    rows: pl.DataFrame, spec: PipelineSpec, psi: Mapping[str, float | None], auc: Mapping[str, float | None]
) -> pl.DataFrame:
    """The catalogue of a month: definition and distribution of every feature, in the order of the specification.

    Args:
        rows: the month's features.
        spec: what they are.
        psi: stability index against the month before, of those features for which it is known.
        auc: how well a feature alone ranks who left, likewise.
    """
    # Sums of floats depend on how the rows are divided into chunks, which reading leaves to chance.
    rows = rows.rechunk()
    figures = [(*_figures(rows[name]), psi.get(name), auc.get(name)) for name in spec.feature_names]
    measured = {name: dtype for name, dtype in COLUMNS.items() if name not in DEFINED}
    return pl.concat([definitions(spec), pl.DataFrame(figures, measured, orient="row")], how="horizontal")


def known_values(values: pl.Series) -> pl.Series:
    """The values that are there: neither null nor NaN, which is missing to every learner."""
    return (values.fill_nan(None) if values.dtype.is_float() else values).drop_nulls()


def _figures(values: pl.Series) -> tuple[object, ...]:
    known = known_values(values)
    missing = (len(values) - len(known)) / max(len(values), 1)
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        n = known.cast(pl.Float64)
        quantiles = (n.quantile(q) for q in QUANTILES.values())
        figures = (n.mean(), n.std(), n.min(), *quantiles, n.max(), None)
    else:
        counts = known.value_counts(name="n").sort(["n", values.name], descending=[True, False])
        figures = (*(None,) * len(_MOMENTS), str(counts[values.name][0]) if len(counts) else None)
    return (str(values.dtype), missing, known.n_unique(), *figures)
