"""versioned_dataset: which labelled rows the month's model learns from, as a content-addressed version."""

from __future__ import annotations

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.learning.dataset import Dataset
from churn_assets.months import Month, Split
from churn_assets.pipeline import Pipeline
from churn_assets.store.datasets import DatasetVersion


def _make(work: Work) -> Made:
    dataset = Dataset(work.pipeline.lake, work.pipeline.spec, work.month)
    version, split = dataset.version(), dataset.split
    if not version.rows:
        reason = version.reason if split.kind == "none" else "No row of a mature month has a label."
        return Made(None, reason, tuple(Check(c.name, True, reason) for c in STAGE.checks))
    return Made(
        rows=version.parts,
        checks=(_label_rate(work.pipeline, version), _no_leak(work.pipeline, work.month, split)),
        facts={"id": version.id, "split": split.kind, "reason": version.reason},
        metadata={
            "dataset version": version.id,
            "split": f"{split.kind}: {version.reason}",
            "labelled rows": version.rows,
            "churn rate": version.positives / version.rows,
            "parts": version.parts.select("event_month", "part", "rows", "positives", "unknown"),
            "immature months": ", ".join(map(str, split.immature)) or "none",
            "months in the purge gap": ", ".join(map(str, split.purged)) or "none",
        },
    )


def _label_rate(pipeline: Pipeline, version: DatasetVersion) -> Check:
    rate = version.positives / version.rows
    least, most = pipeline.spec.label.plausible
    return Check("label_rate", least <= rate <= most,
                 f"{rate:.2%} of the labelled rows left; plausible is {least:.2%} to {most:.2%}.",
                 figures={"rate": rate})  # fmt: skip


def _no_leak(pipeline: Pipeline, month: Month, split: Split) -> Check:
    calendar = pipeline.calendar
    immature = [j for j in split.months if not calendar.is_mature(j, month)]
    taught = {*split.fit, *split.calibrate}
    late = [j for j in taught if split.kind == "out_of_time" and not calendar.is_mature(j, split.validate[0])]
    wrong = ", ".join(map(str, sorted({*immature, *late})))
    told = "Every label was mature, and every training label was known before the validation month's features."
    return Check("no_leak", not wrong, f"Labels not known in time: {wrong}." if wrong else told)


STAGE = Stage(
    name="versioned_dataset",
    description="The labelled rows that the month's model learns from and is judged on: which months, which part, how "
    "many churners. Equal content gives the equal version; the rows stay in the tables that the manifest names.",
    kinds=frozenset({"deltalake"}),
    after=("feature_store", "validated_data", "quarantined_data"),
    checks=(
        CheckPlan("label_rate", "The share of churners is plausible.", blocking=True),
        CheckPlan("no_leak", "No label was unknown at the time it is used for.", blocking=True),
    ),
    sections=("label", "events", "training", "features"),
    modules=(
        "learning/dataset.py",
        "learning/splits.py",
        "features/labels.py",
        "features/events.py",
        "spec/events.py",
        "store/datasets.py",
        "months.py",
    ),
    make=_make,
)
