"""What monitoring tells of the month's columns: how far they have drifted, and which of them are broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_assets.assets.drift_charts import drift_chart
from churn_assets.assets.stage import Also, Check, Work
from churn_assets.learning.training import load
from churn_assets.monitoring.broken import broken
from churn_assets.monitoring.drift import MONTH_BEFORE, SCORE, TRAINING, Drift, measure
from churn_assets.months import Month

DRIFT = "drift"
"""The table beside monitoring."""
SHOWN_MONTHS = 24
SHOWN_ROWS = 15


@dataclass(frozen=True)
class Drifting:
    """How the month's columns stand beside those that the champion learned from.

    Attributes:
        drift: None, with a reason ``why``, where there is nothing to compare.
        broken: the columns that are broken at the source, as a part of a sentence each.
        history: the drift of earlier months and this one, as ``drift_chart`` takes it.
    """

    drift: Drift | None
    why: str
    broken: tuple[str, ...]
    history: pl.DataFrame

    @property
    def moved(self) -> Mapping[str, float]:
        """Features that have moved away from the training, and their shares of the champion's importance."""
        if self.drift is None:
            return {}
        return {name: self.drift.importance.get(name, 0.0) for name in self.drift.moved(TRAINING) if name != SCORE}


def drift_of(work: Work, champion: str | None) -> Drifting:
    """How far the month's features, and the champion's scores of them, have drifted."""
    pipeline, month = work.pipeline, work.month
    rows = _scored(work, champion, month) if champion else None
    if champion is None or rows is None:
        why = "There is no champion to compare with yet." if champion is None else "There is nobody that it can score."
        return Drifting(None, why, (), _history(work, None))
    facts, watched = pipeline.models.facts(champion), pipeline.spec.monitoring
    reference = {**facts["reference"], SCORE: facts["score_reference"]}
    before = _scored(work, champion, month - 1) if month > pipeline.calendar.start else None
    found = measure(rows, reference, before, watched.drift, facts["importance"])
    features = pipeline.spec.feature_names
    wrong = broken(rows, reference, features, watched.retrain.max_scale, watched.drift.min_rows)
    return Drifting(found, "", tuple(wrong), _history(work, found))


def drift_beside(found: Drifting) -> Also:
    """The table of the month's drift."""
    if found.drift is None:
        return Also(None, found.why)
    return Also(found.drift.table, metadata={"moved": int(found.drift.table["moved"].sum())})


def drift_checks(found: Drifting) -> Iterator[Check]:
    """Whether features and scores are where they were, and the columns what they were."""
    if found.drift is None:
        yield from (Check(name, True, found.why) for name in ("features_stable", "scores_stable", "columns_whole"))
        return
    training = found.drift.table.filter(pl.col("against") == TRAINING, "moved")
    features, scores = (training.filter(of)["why"] for of in (pl.col("subject") != SCORE, pl.col("subject") == SCORE))
    share = found.drift.overall[TRAINING].importance
    told = f"Moved away from what the champion learned from, with {share:.0%} of its importance: {'; '.join(features)}."
    yield Check("features_stable", features.is_empty(), told if len(features) else "No feature has moved.", warn=True,
                figures={"moved": len(features), "their importance": share})  # fmt: skip
    said = f"{'; '.join(scores)}." if len(scores) else "The champion's scores are spread as in its validation."
    yield Check("scores_stable", scores.is_empty(), said, warn=True)
    wrong = f"Look at the source: {'; '.join(found.broken)}." if found.broken else "Every column means what it did."
    yield Check("columns_whole", not found.broken, wrong)


def drift_shown(found: Drifting) -> dict[str, Any]:
    """The figures as people read them."""
    if found.drift is None:
        return {"drift": found.why}
    overall, subjects = found.drift.overall[TRAINING], found.drift.table
    columns = ("subject", "against", "moved", "psi", "effect", "q_value", "missing", "missing_before", "why")
    shown = subjects.sort("moved", "psi", descending=True).head(SHOWN_ROWS).select(columns)
    score = subjects.filter(subject=SCORE, against=TRAINING)["psi"]
    return {
        "features that have moved": len(overall.moved),
        "importance of what has moved": overall.importance,
        "drift of features (PSI by importance)": overall.psi,
        "largest drift (PSI)": float(subjects["psi"].max() or 0),  # type: ignore[arg-type]
        **({"drift of scores (PSI)": score[0]} if len(score) else {}),
        "drift": shown,
        **{chart.title: chart for chart in (drift_chart(found.history, a) for a in (TRAINING, MONTH_BEFORE))},
    }


def _scored(work: Work, champion: str, month: Month) -> pl.DataFrame | None:
    """The month's features with what ``champion`` says of them: as put down, or computed where another model scored.

    None where there are no customers, or a feature isn't there that the champion goes by.
    """
    pipeline, key = work.pipeline, work.pipeline.key
    scanned = pipeline.lake.scan_month(pipeline.window("monitoring", work.month, "features"), month)
    if scanned is None:
        return None
    features, said = scanned.collect(), _said(work, champion, month)
    if said is not None and len(said):
        return features.join(said, on=key)
    model = load(pipeline.models.artefact(champion))
    if not set(model.features) <= set(features.columns):
        return None
    return features.with_columns(pl.Series(SCORE, model.predict(features.select(model.features))))


def _said(work: Work, champion: str, month: Month) -> pl.DataFrame | None:
    """The scores that ``champion`` gave in the month, if the month may be read and has scores."""
    window = work.pipeline.window("monitoring", work.month, "predictions")
    scanned = work.pipeline.lake.scan_month(window, month) if month in window.months else None
    if scanned is None:
        return None
    own = scanned.filter(pl.col("model_id") == champion)
    return own.select(work.pipeline.key, pl.col("p_leave").alias(SCORE)).collect()


def _history(work: Work, found: Drift | None) -> pl.DataFrame:
    """The drift of earlier months, for the charts alone, and of this one."""
    lake, now = work.pipeline.lake, work.month
    months = [m for m in work.pipeline.calendar.trailing(now, SHOWN_MONTHS - 1) if m < now]
    kept = {m: record for m in months if (record := lake.record(DRIFT, m)) and record.files}
    frames = {m: lake.scan_record(record).collect() for m, record in kept.items()}
    frames |= {now: found.table} if found else {}
    empty = pl.DataFrame(schema={"month": pl.String, **_CHARTED})
    return pl.concat([empty, *(frame.select(pl.lit(str(m)).alias("month"), *_CHARTED) for m, frame in frames.items())])


_CHARTED = {"subject": pl.String, "against": pl.String, "psi": pl.Float64, "moved": pl.Boolean}
