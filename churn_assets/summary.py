"""What became of a pipeline's months, in a few lines."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from churn_assets.pipeline import Pipeline


def summarise(pipeline: Pipeline) -> str:
    """Months, rows, the champion with its AUC beside the baseline's, where things are, and what to do next."""
    months = pipeline.lake.months("raw_data")
    if not months:
        return "Nothing has been made yet."
    raw = [r for m in months if (r := pipeline.lake.record("raw_data", m))]
    lines = [
        f"[bold]{pipeline.name}[/]: {months[0]} to {months[-1]}, {len(months)} months, "
        f"{sum(r.rows for r in raw):,} customer-months"
    ]
    lines += _champion(pipeline) + _list(pipeline)
    programs = _programs()
    lines += [
        f"MLflow runs   {_mlflow(pipeline, programs)}",
        "",
        "Next          make dev            the asset graph, month by month, on http://127.0.0.1:3000",
        f"              {programs}churn run --month {months[-1] + 1}",
        f"              {programs}churn status, {programs}churn list --top 10",
    ]
    return "\n".join(lines)


def _mlflow(pipeline: Pipeline, programs: str) -> str:
    settings = pipeline.settings
    return (
        settings.mlflow_address
        if settings.tracking
        else f"{programs}mlflow ui --backend-store-uri {settings.mlflow_uri}"
    )


def _programs() -> str:
    """What must stand before a program's name for the shell to find it."""
    folder = Path(sys.executable).parent
    if shutil.which("churn"):
        return ""
    return f"{folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder}/"


def _champion(pipeline: Pipeline) -> list[str]:
    decided = pipeline.lake.months("promotions")
    record = pipeline.lake.record("promotions", decided[-1]) if decided else None
    champion = record.facts.get("champion") if record else None
    if not champion:
        return ["Champion      none yet: no model has passed its gates"]
    trained = (r for month in reversed(decided) if (r := pipeline.lake.record("model", month)) and r.files)
    judged = next(trained, None)
    if judged is None:
        return [f"Champion      {champion}"]
    scores = pipeline.lake.scan_record(judged).collect()
    lines = [f"Champion      {champion} ({judged.month}: {judged.facts['outcome']})"]
    for row in scores.iter_rows(named=True):
        name = row["candidate"] + {"challenger": " (challenger)", "champion": " before"}.get(row["role"], "")
        lines.append(
            f"              {name:24} AUC {row['auc']:.3f} ({row['auc_lower']:.3f} to {row['auc_upper']:.3f}), "
            f"lift in the top tenth {row['top_decile_lift']:.2f}"
        )
    return lines


def _list(pipeline: Pipeline) -> list[str]:
    for month in reversed(pipeline.lake.months("retention_list")):
        record, scored = pipeline.lake.record("retention_list", month), pipeline.lake.record("predictions", month)
        if record and record.files and scored:
            path = pipeline.exports / str(month) / "retention_list.xlsx"
            return [
                f"List          {record.facts['contacts']:,} of {scored.rows:,} customers of {month} to contact, "
                f"{record.facts['held_out']:,} held out: {path}"
            ]
    return ["List          none yet"]
