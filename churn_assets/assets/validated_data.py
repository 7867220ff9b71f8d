"""validated_data: rows that keep every rule of the schema; quarantined_data: the others, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from churn_assets.assets.charts import Chart, bar_chart, line_chart
from churn_assets.assets.stage import Also, Beside, Check, CheckPlan, Made, Stage, Work
from churn_assets.division import Division, amendments_of, divide
from churn_assets.features.lineage import of_validated
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.quality import expectations
from churn_assets.quality.expectations import Expectation

SHOWN_ROWS, EXAMPLES = 20, 3


def _make(work: Work) -> Made:
    pipeline, month = work.pipeline, work.month
    raw = pipeline.lake.records(pipeline.window("validated_data", month, "raw_data"))[0]
    if not raw.rows:
        nothing = "The source delivered no rows."
        return Made(None, nothing, tuple(Check(c.name, True, nothing) for c in STAGE.checks),
                    also={"quarantined_data": Also(None, nothing)})  # fmt: skip
    found = divide(pipeline, month, amendments_of(pipeline, month))
    valid, schema = found.validation.valid, pipeline.spec.schema_
    profile = expectations.profile(valid, schema)
    trailing = _trailing(pipeline, month)
    checks = (
        _accounting(found),
        _error_rate(work, found),
        _check("row_volume", expectations.row_change(len(valid), _rows_before(pipeline, month), schema)),
        _check("volume", volume := expectations.volume(len(valid), trailing), _volume_chart(str(month), volume)),
        _check("null_share", expectations.nulls(profile, trailing)),
        _check("category_drift", expectations.categories(profile, trailing)),
        _check("churn_rate", expectations.churn_rate(valid, schema, pipeline.spec.label)),
    )  # fmt: skip
    return Made(
        rows=valid,
        checks=checks,
        facts={
            "repairs": found.validation.repairs, "quarantined": found.aside, "mended": found.mended,
            "profile": profile,
        },
        metadata=_shown(found),
        lineage=of_validated(schema, raw.columns),
        also={"quarantined_data": _quarantine(found)},
    )  # fmt: skip


def _rows_before(pipeline: Pipeline, month: Month) -> int:
    before = pipeline.lake.record("validated_data", month - 1)
    return before.rows if before else 0


def _trailing(pipeline: Pipeline, month: Month) -> dict[str, Mapping[str, Any]]:
    """The profiles of the months before, as far as they were made: what comes is compared with what was usual."""
    months = pipeline.calendar.trailing(month, pipeline.spec.schema_.expectations.trailing)
    records = {str(m): pipeline.lake.record("validated_data", m) for m in months if m < month}
    return {m: r.facts["profile"] for m, r in records.items() if r and r.rows and "profile" in r.facts}


def _accounting(found: Division) -> Check:
    valid = len(found.validation.valid)
    reason = f"{found.received:,} rows received = {valid:,} validated + {found.aside:,} quarantined."
    balanced = found.received == valid + found.aside
    return Check(
        "accounting",
        balanced,
        reason if balanced else reason.replace("=", "≠"),
        figures={"received": found.received, "validated": valid, "quarantined": found.aside},
    )


def _error_rate(work: Work, found: Division) -> Check:
    verdict = found.validation.verdict
    command = f"churn quarantine show --month {work.month}{work.pipeline.option}"
    way = "" if verdict.passed else f" See them with `{command}`."
    figures = {"rows": verdict.rows, "quarantined": verdict.quarantined, **_by_rule(found)}
    return Check("error_rate", verdict.passed, verdict.reason + way, figures=figures)


def _check(name: str, found: Expectation, chart: Chart | None = None) -> Check:
    figures = dict(found.figures)
    if found.table is not None and len(found.table):
        figures["table"] = found.table
    if chart:
        figures["rows by month"] = chart
    return Check(name, found.passed, found.reason, figures=figures)


def _volume_chart(month: str, found: Expectation) -> Chart | None:
    if found.table is None or found.table.is_empty():
        return None
    rows = found.table.get_column("rows").to_list()
    return line_chart(
        f"Rows of {month} and the months before", found.table.get_column("month").to_list(), rows,
        found.figures.get("low"), found.figures.get("high"),
    )  # fmt: skip


def _by_rule(found: Division) -> dict[str, Any]:
    if found.quarantined.is_empty():
        return {}
    counts = _rule_counts(found.quarantined)
    names = [f"{row['column'] or 'row'}: {row['expected']}" for row in counts.iter_rows(named=True)]
    return {
        "rules": counts,
        "rows by rule": bar_chart("Quarantined rows by rule", names[:12], counts["rows"].to_list()[:12]),
        "examples": _examples(found.quarantined),
    }


def _examples(quarantined: pl.DataFrame) -> pl.DataFrame:
    """The first rows of each rule, so that every kind of problem can be seen."""
    return (
        quarantined.filter(pl.int_range(pl.len()).over("rule", "column") < EXAMPLES)
        .head(SHOWN_ROWS)
        .select("rule", "column", "value", "expected", "customer", file="_file", line="_line", row="_row")
    )


def _rule_counts(quarantined: pl.DataFrame) -> pl.DataFrame:
    return (
        quarantined.group_by("rule", "column", "expected")
        .agg(rows=pl.col("_row").n_unique())
        .sort("rows", "rule", "column", descending=[True, False, False])
        .select("rows", "rule", "column", "expected")
    )


def _quarantine(found: Division) -> Also:
    if found.quarantined.is_empty():
        return Also(None, "No row broke a rule.")
    counts = _rule_counts(found.quarantined)
    return Also(
        found.quarantined,
        facts={"rows": found.aside},
        metadata={
            "quarantined rows": found.aside,
            "rows by rule": counts,
            "examples": _examples(found.quarantined),
            "the way back": "churn quarantine export, mend the file, churn quarantine readmit",
        },
    )


def _shown(found: Division) -> dict[str, Any]:
    validation = found.validation
    shown: dict[str, Any] = {
        "received rows": found.received, "quarantined rows": found.aside, "mended rows": found.mended,
    }  # fmt: skip
    if validation.repairs:
        shown["repairs"] = _repairs(validation.repairs)
    if validation.renamed:
        shown["columns found under another name"] = dict(validation.renamed)
    if validation.conventions:
        shown["how numbers and dates were read"] = dict(validation.conventions)
    if validation.undeclared:
        shown["columns that are not declared"] = ", ".join(validation.undeclared)
    if len(found.unmatched):
        shown["amendments whose row was not delivered again"] = len(found.unmatched)
    return shown


def _repairs(repairs: Mapping[str, Mapping[str, int]]) -> pl.DataFrame:
    """How many cells were read as something else than they were written as."""
    lines = [(column, kind, cells) for column, kinds in repairs.items() for kind, cells in kinds.items()]
    return pl.DataFrame(lines, {"column": pl.String, "repair": pl.String, "cells": pl.Int64}, orient="row")


STAGE = Stage(
    name="validated_data",
    description="One row per customer who was active at the start of the month, as known at its end, or the month's "
    "events, in the schema's types. Rows that break a rule are set aside in quarantined_data, with rule and value.",
    kinds=frozenset({"deltalake", "pandera"}),
    after=("raw_data",),
    checks=(
        CheckPlan("accounting", "Every received row is either validated or quarantined.", blocking=True),
        CheckPlan("error_rate", "No more rows are quarantined than the schema's max_error_rate allows.", blocking=True),
        CheckPlan("row_volume", "The month has about as many rows as the one before.", blocking=True),
        CheckPlan(
            "volume", "The number of rows goes on as in the trailing months.", expectation="schema_.expectations.volume"
        ),
        CheckPlan(
            "null_share",
            "No column is missing more often than in the trailing months.",
            expectation="schema_.expectations.nulls",
        ),
        CheckPlan(
            "category_drift",
            "Categories are spread as in the trailing months.",
            expectation="schema_.expectations.categories",
        ),
        CheckPlan(
            "churn_rate", "The share of customers who left is plausible.", expectation="schema_.expectations.churn_rate"
        ),
    ),
    sections=("schema_", "label"),
    repeats_words=True,
    modules=("quality", "division.py", "spec/expressions.py"),
    make=_make,
    beside=(
        Beside(
            "quarantined_data",
            "Rows that broke a rule: which rule, in which column, what was found and what was expected, and in which "
            "line of which file it stands. Mended rows come back with `churn quarantine readmit`.",
        ),
    ),
)
