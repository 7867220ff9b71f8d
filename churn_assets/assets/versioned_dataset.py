"""versioned_dataset: which labelled rows the month's model learns from, as a content-addressed version."""

from __future__ import annotations

from typing import Any

import polars as pl

from churn_assets.assets.charts import Chart, timeline_chart
from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.learning.dataset import Dataset
from churn_assets.months import Month, Split
from churn_assets.pipeline import Pipeline
from churn_assets.store.content import content_hash
from churn_assets.store.datasets import DatasetVersion, Manifest, closure, installed
from churn_assets.store.specifications import dumped

SERVE_FOR = ("fit", "calibrate", "validate", "purged", "immature")


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
        metadata=_shown(version, split),
        effect=lambda: {"manifest": work.pipeline.datasets.put(_manifest(work, version, split))},
    )


def _shown(version: DatasetVersion, split: Split) -> dict[str, Any]:
    return {
        "dataset version": version.id,
        "split": f"{split.kind}: {version.reason}",
        "which month serves for what": _timeline(version, split),
        "labelled rows": version.rows,
        "churn rate": version.positives / version.rows,
        "class balance": _balance(version),
        "parts": version.parts.select("event_month", "part", "rows", "positives", "unknown"),
        "immature months": ", ".join(map(str, split.immature)) or "none",
        "months in the purge gap": ", ".join(map(str, split.purged)) or "none",
    }


def _timeline(version: DatasetVersion, split: Split) -> Chart:
    left_out = {**dict.fromkeys(split.purged, "purged"), **dict.fromkeys(split.immature, "immature")}
    drawn = {**{month: split.part_of(month) for month in split.months}, **left_out}
    months = sorted(drawn)
    return timeline_chart(f"Dataset of {version.month}", [str(m) for m in months], [drawn[m] for m in months])


def _balance(version: DatasetVersion) -> pl.DataFrame:
    """Who left and who stayed, of each part."""
    parts = version.parts.group_by("part").agg(
        pl.len().alias("months"), pl.col("rows", "positives", "unknown").sum(), first=pl.col("event_month").min()
    )
    return parts.sort("first", "part").select(
        "part", "months", "rows", left="positives", stayed=pl.col("rows") - pl.col("positives"),
        churn_rate=pl.col("positives") / pl.col("rows"), label_unknown="unknown",
    )  # fmt: skip


def _manifest(work: Work, version: DatasetVersion, split: Split) -> Manifest:
    pipeline = work.pipeline
    read = pipeline.inputs(STAGE.name, work.month)
    scored = pipeline.lake.record("features", work.month)
    read |= {f"features {work.month}": scored.content} if scored else {}
    return Manifest(
        id=version.id,
        pipeline=pipeline.name,
        month=str(work.month),
        kind=split.kind,
        reason=version.reason,
        split={name: tuple(map(str, getattr(split, name))) for name in SERVE_FOR},
        parts=tuple(version.parts.to_dicts()),
        content=content_hash(version.parts),
        features={**pipeline.spec.feature_types},
        reads=read,
        inputs=closure(pipeline.lake, read),
        spec=pipeline.specifications.put(pipeline.spec),
        specification=dumped(pipeline.spec),
        code=work.code,
        libraries=installed(),
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
    sections=(
        "label",
        "events",
        "training.months",
        "training.split",
        "training.holdout_share",
        "training.seed",
        "features",
    ),
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
    intact=lambda pipeline, record: record.status == "empty" or pipeline.datasets.has(str(record.facts["id"])),
)
