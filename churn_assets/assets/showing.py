"""What the UI shows of a month: figures, a preview, columns with what they are made of, and the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import polars.selectors as cs

from churn_assets import usage
from churn_assets.assets.charts import Chart
from churn_assets.assets.options import RunOptions, chosen_options
from churn_assets.assets.stage import Check, Stage, Work
from churn_assets.features.lineage import Lineage
from churn_assets.pipeline import Pipeline
from churn_assets.staleness import SkipDecision
from churn_assets.store.draft import Draft
from churn_assets.store.lake import MONTH, MonthRecord

PREVIEW_ROWS = 5
NAMED = 6
"""Columns that a description names one by one."""


def materialized(
    stage: Stage, work: Work, record: MonthRecord, checks: tuple[Check, ...], skip: SkipDecision,
    metadata: Mapping[str, Any], used: Callable[[], usage.Usage], rows: pl.DataFrame | Draft | None = None,
) -> dg.MaterializeResult[Any]:  # fmt: skip
    """What Dagster is told of a table's month: made now, or left as it stands."""
    sample = rows.head if isinstance(rows, Draft) else rows
    shows = stage.shows if record.table == stage.name else None
    if sample is None and record.files:
        sample = _stands(work.pipeline, record, None if shows else PREVIEW_ROWS)
    told = shows(work.pipeline, work.month, sample) if shows and sample is not None else {}
    shown: dict[str, Any] = {
        "dagster/row_count": record.rows,
        "outcome": "skipped" if skip.skip else record.status,
        "why": skip.reason,
        **{name: _shown(value) for name, value in {**told, **metadata}.items()},
        **used().told(work.pipeline.spec.costs),
        "table version": record.version,
        "content": record.content,
    }
    if record.reason:
        shown["reason"] = record.reason
    if chosen := chosen_options(record):
        shown["options"] = RunOptions(**chosen).words
    if record.inputs:
        shown["read from"] = dg.MetadataValue.json(dict(record.inputs))
    if sample is not None and len(sample):
        lineage = record.facts.get("lineage", {})
        shown["dagster/column_schema"] = _column_schema(work.pipeline, stage, lineage, sample.schema)
        if lineage:
            shown["dagster/column_lineage"] = _column_lineage(work.pipeline, lineage)
        shown["preview"] = _shown(sample.head(PREVIEW_ROWS))
    return dg.MaterializeResult(
        asset_key=dg.AssetKey([work.pipeline.name, record.table]),
        metadata={**(_shown_when_made(work, record) if skip.skip else {}), **shown},
        data_version=dg.DataVersion(record.content),
        check_results=check_results(stage, work, checks),
    )


def _shown_when_made(work: Work, record: MonthRecord) -> Mapping[str, Any]:
    """What was shown of a month that is left as it stands: the UI shows and plots what its newest run tells."""
    key = dg.AssetKey([work.pipeline.name, record.table])
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[str(work.month)])
    for found in work.instance.fetch_materializations(wanted, limit=1).records:
        shown = found.asset_materialization.metadata
        if "content" in shown and shown["content"].value == record.content:
            return dict(shown)
    return {}


def _stands(pipeline: Pipeline, record: MonthRecord, rows: int | None) -> pl.DataFrame:
    """The first rows that a record stands for; all of them if no number is given."""
    scanned = pipeline.lake.scan_record(record).drop(MONTH)
    return (scanned if rows is None else scanned.head(rows)).collect()


def check_results(stage: Stage, work: Work, checks: Iterable[Check]) -> list[dg.AssetCheckResult]:
    """What Dagster is told of those of ``checks`` that the pipeline wants."""
    spec = work.pipeline.spec
    plans = {plan.name: plan for plan in stage.planned(spec)}
    key = dg.AssetKey([work.pipeline.name, stage.name])
    return [_check_result(key, c, plans[c.name].severity(spec) == "warn" and bool(c.warn or plans[c.name].expectation))
            for c in checks if c.name in plans]  # fmt: skip


def _check_result(key: dg.AssetKey, check: Check, warns: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=check.name,
        passed=bool(check.passed),
        description=check.reason,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        metadata={"reason": check.reason, **{name: _shown(value) for name, value in check.figures.items()}},
    )


def _shown(value: Any) -> Any:
    if isinstance(value, Chart):
        return dg.MetadataValue.md(value.markdown)
    if isinstance(value, pl.DataFrame):
        return _table(value)
    if isinstance(value, Path):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return round(value, 5) if isinstance(value, float) else value


def _column_schema(pipeline: Pipeline, stage: Stage, lineage: Lineage, columns: pl.Schema) -> dg.TableSchema:
    spec = pipeline.spec
    about = {**{c.name: c.description for c in spec.schema_.columns}, **spec.feature_descriptions, **stage.about}
    told = {name: " ".join(filter(None, [about.get(name), _made_of(lineage.get(name, ()))])) for name in columns}
    return dg.TableSchema([dg.TableColumn(n, str(t), description=told[n] or None) for n, t in columns.items()])


def _made_of(columns: Sequence[tuple[str, str]]) -> str:
    """What a column is made of, in words: the free UI draws no lineage of columns."""
    names = {table: [name for at, name in columns if at == table] for table, _ in columns}
    return " ".join(
        f"From {table}: {', '.join(own)}." if len(own) <= NAMED else f"From {len(own)} columns of {table}."
        for table, own in names.items()
    )


def _column_lineage(pipeline: Pipeline, lineage: Lineage) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey([pipeline.name, table]), column) for table, column in made_of]
            for name, made_of in lineage.items()
        }
    )


def _table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """``frame`` as a table that is shown in place, its numbers rounded."""
    plain = frame.with_columns(
        # JSON has no infinity.
        pl.when(cs.float().is_finite()).then(cs.float().round_sig_figs(4)).name.keep(),
        (~(cs.integer() | cs.float() | cs.boolean())).cast(pl.String),
    )
    schema = dg.TableSchema([dg.TableColumn(name, str(dtype)) for name, dtype in frame.schema.items()])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain.to_dicts()], schema)
