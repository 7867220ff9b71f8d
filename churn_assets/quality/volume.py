"""Expectations of a whole month: how many rows, and how many of them churned."""

from __future__ import annotations

import polars as pl

from churn_assets.quality.rules import QualityVerdict
from churn_assets.spec import LabelSpec, SchemaSpec


def volume_verdict(rows: int, before: int, schema: SchemaSpec) -> QualityVerdict:
    """Whether a month has enough rows, and about as many as the month before (0 if there is none)."""
    if rows < schema.min_rows:
        return QualityVerdict(False, f"Expected at least {schema.min_rows:,} rows, found {rows:,}.", rows, 0, 0.0)
    if not before:
        return QualityVerdict(True, f"{rows:,} rows; there is no month before to compare with.", rows, 0, 0.0)
    change = rows / before - 1
    limit = schema.max_row_change
    reason = f"{rows:,} rows after {before:,} the month before ({change:+.1%}); the limit is {limit:.0%}."
    # 130 / 100 - 1 is a little more than 0.3.
    passed = round(abs(change), 9) <= limit
    if not passed:
        reason += " If that is right, raise schema.max_row_change."
    return QualityVerdict(passed, reason, rows, 0, 0.0)


def churn_rate_verdict(valid: pl.DataFrame, schema: SchemaSpec, label: LabelSpec) -> QualityVerdict:
    """Whether the share of customers flagged as having left is plausible."""
    flag = schema.churned
    if flag is None or valid.is_empty():
        return QualityVerdict(True, "The source flags nobody as having left.", len(valid), 0, 0.0)
    rate = float(valid[flag].mean() or 0.0)  # type: ignore[arg-type]
    passed = label.min_rate <= rate <= label.max_rate
    reason = f"{rate:.2%} left in the month; plausible is {label.min_rate:.2%} to {label.max_rate:.2%}."
    if not passed:
        reason += " If that is right, mend label.min_rate or label.max_rate."
    return QualityVerdict(passed, reason, len(valid), 0, 0.0)
