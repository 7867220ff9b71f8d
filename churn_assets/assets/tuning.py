"""What the UI and MLflow are shown of the searches for better parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from churn_assets.assets.charts import history_chart
from churn_assets.learning.tuning import Attempt, Tuned

SHOWN = 100
"""Trials that the UI's table has, the best first; MLflow has all of them."""


def metadata_of(searches: Mapping[str, Tuned]) -> dict[str, Any]:
    """For the UI, of each candidate: what was decided, and where trials were made their chart and their table."""
    shown: dict[str, Any] = {}
    for name, tuned in searches.items():
        shown[f"tuning of {name}"] = tuned.reason
        if tuned.attempts:
            aucs, done = [a.auc for a in tuned.attempts], [a.outcome == "finished" for a in tuned.attempts]
            shown[f"tuning of {name}: trials"] = history_chart(f"Tuning of {name}", aucs, done, "mean AUC")
            best_first = trials(tuned).sort("auc", "trial", descending=[True, False], nulls_last=True)
            shown[f"tuning of {name}: parameters"] = best_first.head(SHOWN)
    return shown


def artefacts_of(searches: Mapping[str, Tuned]) -> dict[str, str]:
    """For MLflow: file name -> text; the chart and the table of each search."""
    files: dict[str, str] = {}
    for name, tuned in searches.items():
        if tuned.attempts:
            files[f"tuning_{name}.svg"] = metadata_of({name: tuned})[f"tuning of {name}: trials"].svg
            files[f"tuning_{name}.csv"] = trials(tuned).write_csv()
    return files


def steps_of(searches: Mapping[str, Tuned]) -> dict[str, dict[int, float]]:
    """For MLflow: metric -> trial -> the mean AUC that it came to."""
    return {
        f"tuning.{name}.auc": {a.number: a.auc for a in tuned.attempts if a.auc is not None}
        for name, tuned in searches.items()
    }


def trials(tuned: Tuned) -> pl.DataFrame:
    """A row a trial: its number, outcome, mean AUC, how many folds judged it, its noise, parameters and reason."""
    names = sorted({name for attempt in tuned.attempts for name in attempt.params})
    return pl.DataFrame(
        {
            "trial": [a.number for a in tuned.attempts],
            "outcome": [a.outcome for a in tuned.attempts],
            "auc": pl.Series([a.auc for a in tuned.attempts], dtype=pl.Float64),
            "folds": [len(a.aucs) for a in tuned.attempts],
            "noise": pl.Series([a.noise for a in tuned.attempts], dtype=pl.Float64),
            **{name: _column(tuned.attempts, name) for name in names},
            "reason": [a.reason for a in tuned.attempts],
        }
    )


def _column(attempts: tuple[Attempt, ...], name: str) -> pl.Series:
    """What was tried of one parameter: numbers where all are, else texts."""
    values = [attempt.params.get(name) for attempt in attempts]
    kinds = {type(attempt.params[name]) for attempt in attempts if name in attempt.params}
    if kinds <= {int, float}:
        return pl.Series(values, strict=False)
    return pl.Series([json.dumps(a.params[name]) if name in a.params else None for a in attempts], dtype=pl.String)
