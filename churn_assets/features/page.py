"""The feature page: what each feature means and how it is distributed, in Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from churn_assets.features.profile import definitions
from churn_assets.markdown import table
from churn_assets.spec import PipelineSpec

_MEANING = {
    "feature": "feature", "description": "what it is", "type": "type", "window": "months", "made_of": "made of",
    "owner": "owner",
}  # fmt: skip

_FIGURES = {
    "feature": "feature", "missing_share": "missing", "distinct": "distinct", "mean": "mean", "q05": "5%",
    "median": "median", "q95": "95%", "most_frequent": "most frequent", "psi": "PSI", "auc": "AUC",
    "importance": "importance",
}  # fmt: skip

_TEXTS = ("feature", "most frequent")


def page(
    spec: PipelineSpec, month: str, catalogue: pl.DataFrame, champion: str | None, importance: Mapping[str, float]
) -> str:
    """The page of one month.

    Args:
        spec: the pipeline.
        month: the month, in words.
        catalogue: its features in figures, as ``profile`` makes them.
        champion: the model whose importance is shown, if there is one.
        importance: share of each feature in it.
    """
    return "\n\n".join(
        [
            f"# Features of the pipeline {spec.name}",
            f"{spec.description} {len(spec.feature_names)} features, one row per customer and month.",
            "## What they are",
            "*months* are those that a feature looks at, what it is made of included; m is the month itself.",
            meaning(spec),
            f"## How they are distributed in {month}",
            _how_to_read(spec, champion),
            _figures(catalogue, importance),
        ]
    ) + "\n"  # fmt: skip


def meaning(spec: PipelineSpec) -> str:
    """What every feature is, as a table; the part of the page that needs no data."""
    # A window stands in one line.
    defined = definitions(spec).with_columns(pl.col("window").str.replace_all(" ", "\u00a0"))
    titled = defined.select(pl.col(name).alias(title) for name, title in _MEANING.items())
    return table(titled, titled.columns)


def _how_to_read(spec: PipelineSpec, champion: str | None) -> str:
    model = f"the champion, `{champion}`" if champion else "the champion; there is none yet"
    limits = spec.feature_checks
    return "\n".join(
        [
            "- *mean* of a boolean is the share of true; a twentieth of the customers lie below *5%*, and above *95%*.",
            "- *PSI*: population stability index against the month before; above "
            f"{limits.max_psi:g} a distribution has moved.",
            "- *AUC*: how well the feature alone ranks who left, of the newest customers of whom that is known; 0.5 is "
            f"chance, above {limits.max_auc:g} it is suspected to know the outcome.",
            f"- *importance*: share of the feature in {model}.",
        ]
    )


def _figures(catalogue: pl.DataFrame, importance: Mapping[str, float]) -> str:
    shares = pl.Series("importance", [importance.get(name) for name in catalogue["feature"]], pl.Float64)
    figures = catalogue.with_columns(
        _percent(pl.col("missing_share")),
        _percent(shares),
        pl.col("mean", "q05", "median", "q95").round_sig_figs(4).cast(pl.String).str.strip_suffix(".0"),
        _fixed(catalogue["psi"], 3),
        _fixed(catalogue["auc"], 2),
    )
    return table(figures.select(pl.col(name).alias(title) for name, title in _FIGURES.items()), _TEXTS)


def _percent(share: pl.Expr | pl.Series) -> pl.Expr | pl.Series:
    return (share * 100).round(1).cast(pl.String) + "%"


def _fixed(values: pl.Series, digits: int) -> pl.Series:
    return pl.Series(values.name, [None if v is None else f"{v:.{digits}f}" for v in values], pl.String)
