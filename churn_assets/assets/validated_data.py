"""validated_data: rows that keep every rule of the schema; the others go to quarantined_data, with the rule."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.quality import QualityVerdict, Validation, validate
from churn_assets.quality.volume import churn_rate_verdict, volume_verdict


def _make(work: Work) -> Made:
    pipeline, schema = work.pipeline, work.pipeline.spec.schema_
    window = pipeline.window("validated_data", work.month, "raw_data")
    raw = pipeline.lake.scan_month(window, work.month)
    if raw is None:
        nothing = "The source delivered no rows."
        return Made(None, nothing, tuple(Check(c.name, True, nothing) for c in STAGE.checks),
                    also={"quarantined_data": (None, nothing, {})})  # fmt: skip
    found = validate(raw.drop("month").collect(), schema)
    before = pipeline.lake.record("validated_data", work.month - 1)
    checks = (
        _check("error_rate", found.verdict),
        _check("row_volume", volume_verdict(len(found.valid), before.rows if before else 0, schema)),
        _check("churn_rate", churn_rate_verdict(found.valid, schema, pipeline.spec.label)),
    )
    return Made(
        rows=found.valid,
        checks=checks,
        facts={"repairs": found.repairs, "quarantined": found.verdict.quarantined},
        metadata=_shown(found),
        also={"quarantined_data": _quarantine(found)},
    )


def _check(name: str, verdict: QualityVerdict) -> Check:
    return Check(
        name, verdict.passed, verdict.reason, figures={"rows": verdict.rows, "quarantined": verdict.quarantined}
    )


def _quarantine(found: Validation) -> tuple[pl.DataFrame | None, str, dict[str, object]]:
    return (found.quarantined, "", {}) if len(found.quarantined) else (None, "No row broke a rule.", {})


def _shown(found: Validation) -> dict[str, object]:
    shown: dict[str, object] = {"quarantined rows": found.verdict.quarantined, "repairs": found.repairs}
    if found.undeclared:
        shown["undeclared columns"] = ", ".join(found.undeclared)
    if len(found.quarantined):
        shown["quarantine"] = found.quarantined.head(20)
    return shown


STAGE = Stage(
    name="validated_data",
    description="One row per customer who was active at the start of the month, as known at its end, in the schema's "
    "types. Rows that break a rule are set aside in the table quarantined_data, with rule and value.",
    kinds=frozenset({"deltalake", "pandera"}),
    after=("raw_data",),
    checks=(
        CheckPlan("error_rate", "No more rows are quarantined than the schema's max_error_rate allows.", blocking=True),
        CheckPlan("row_volume", "The month has about as many rows as the one before.", blocking=True),
        CheckPlan("churn_rate", "The share of customers who left is plausible.", blocking=True),
    ),
    sections=("schema_", "label"),
    modules=("quality",),
    make=_make,
)
