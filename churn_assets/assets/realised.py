"""What monitoring tells of the month's predictions by themselves, and of earlier ones whose outcome is known now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_assets.assets.quality_charts import figures_over_months
from churn_assets.assets.stage import Check, Work
from churn_assets.errors import LearningError
from churn_assets.learning.dataset import Dataset
from churn_assets.monitoring.estimate import compare, estimate
from churn_assets.monitoring.figures import CHALLENGER, CHAMPION, COLUMNS, Figure, table
from churn_assets.monitoring.list_result import ListResult, judge_list
from churn_assets.monitoring.realised import Realised, Scorer, judge
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline

SCORES = {CHAMPION: "predictions", CHALLENGER: "shadow_predictions"}
"""Who scored, and the table of the scores."""
CHECK = "realised_quality"
OF_LIST = ("margin", "lifetime_months", "contact_cost", "incentive", "min_held_out", "min_leavers", "currency")
"""What of the specification's value decides what became of a list; how many could be contacted doesn't."""
SHOWN_MONTHS = 24


@dataclass(frozen=True)
class Quality:
    """How good predictions are.

    Attributes:
        realised: of the month whose outcome has just become known; None, with a reason ``why``, if there is none.
        listed: what became of that month's list, if it had one.
        estimated: what the scores of this month say of themselves.
        errors: realised figures less what had been estimated of them.
        history: the rows of earlier months, this one's last.
    """

    realised: Realised | None
    why: str
    listed: ListResult | None
    estimated: tuple[Figure, ...]
    errors: tuple[Figure, ...]
    history: pl.DataFrame

    @property
    def of_list(self) -> dict[str, str] | None:
        """Whether the list gained or lost, and why that is known or isn't; None if there was no list."""
        return {"verdict": self.listed.verdict, "reason": self.listed.reason} if self.listed else None

    @property
    def table(self) -> pl.DataFrame:
        """A row a figure."""
        return table(_figures(self.realised, self.listed, self.estimated, self.errors))


def quality_of(work: Work) -> Quality:
    """All that can be said of predictions in a month."""
    pipeline, month = work.pipeline, work.month
    snapshot = pipeline.calendar.matured_by(month) if pipeline.calendar.horizon else None
    if snapshot is None:
        why = (
            "No prediction's outcome is known yet." if pipeline.calendar.horizon
            else "Labels stand in the snapshot itself: there is no later outcome to compare predictions with."
        )  # fmt: skip
        realised, listed = None, None
    else:
        realised, listed, why = _outcome(work, snapshot)
    # What was estimated then is read, and never made again.
    errors = compare(_rows(pipeline, snapshot), realised) if realised and snapshot else ()
    estimated = tuple(_estimated(work)) if pipeline.calendar.horizon else ()
    own = table(_figures(realised, listed, estimated, errors))
    return Quality(realised, why, listed, estimated, errors, pl.concat([*_earlier(pipeline, month), own]))


def quality_check(quality: Quality, floor: float) -> Check:
    """Whether the champion's AUC may still reach the floor, now that the outcome is known."""
    found = quality.realised.of(CHAMPION, "auc") if quality.realised else None
    lift = quality.realised.of(CHAMPION, "top_decile_lift") if quality.realised else None
    if found is None or lift is None or found.upper is None:
        return Check(CHECK, True, _why(quality))
    promised = f" Promised were {found.promised:.3f}." if found.promised is not None else ""
    return Check(CHECK, found.upper >= floor,
                 f"Realised AUC {found.value:.3f} ({found.lower:.3f} to {found.upper:.3f}); the floor is {floor:g}."
                 f"{promised}", warn=True,
                 figures={"auc": found.value, "top decile lift": lift.value})  # fmt: skip


def shown(quality: Quality) -> dict[str, Any]:
    """The figures as people read them."""
    told: dict[str, Any] = {}
    if quality.realised:
        found = quality.realised
        told |= {
            "outcome of": found.snapshot,
            "customers of whom it is known whether they left": found.known,
            "customers of whom it stays unknown": found.unknown,
            "left": found.left,
            **{f"realised {f.metric[9:].replace('_', ' ')}": f.value for f in found.figures if f.role == CHAMPION},
            **{f"challenger's realised {f.metric[9:]}": f.value for f in found.figures
               if (f.role, f.metric) == (CHALLENGER, "realised_auc")},
            **{f"{role} not judged": problem for role, problem in found.problems.items()},
            "broken promises": ", ".join(f.metric[9:].replace("_", " ") for f in found.broken) or "none",
            "realised quality": _readable(found.figures),
        }  # fmt: skip
    else:
        told["realised quality"] = quality.why
    if quality.listed:
        told |= {"list": quality.listed.reason, "outcome of the list": _readable(quality.listed.figures)}
    if quality.estimated:
        told |= {f.metric.replace("_", " "): f.value for f in quality.estimated if f.role == CHAMPION}
        told["estimated quality (nobody knows yet who leaves)"] = _readable(quality.estimated)
    if quality.errors:
        told["realised less estimated"] = _readable(quality.errors)
    return told | {chart.title: chart for chart in figures_over_months(quality.history)}


def _figures(
    realised: Realised | None, listed: ListResult | None, estimated: Iterable[Figure], errors: Iterable[Figure]
) -> Iterator[Figure]:
    yield from realised.figures if realised else ()
    yield from listed.figures if listed else ()
    yield from estimated
    yield from errors


def _outcome(work: Work, snapshot: Month) -> tuple[Realised | None, ListResult | None, str]:
    """What became of the predictions and the list of ``snapshot``."""
    pipeline = work.pipeline
    scores = {role: _scores(work, name, snapshot) for role, name in SCORES.items()}
    scored = {role: frame for role, frame in scores.items() if frame is not None and len(frame)}
    if CHAMPION not in scored:
        return None, None, f"Nothing was predicted in {snapshot}."
    rows = scored[CHAMPION].select(pipeline.key)
    for role, frame in scored.items():
        rows = rows.join(frame.select(pipeline.key, pl.col("p_leave").alias(role)), on=pipeline.key, how="left")
    scorers = [_scorer(pipeline, role, str(frame["model_id"][0])) for role, frame in scored.items()]
    labels = Dataset(pipeline.lake, pipeline.spec, work.month, reader="monitoring").labels(rows.lazy(), snapshot)
    known, confidence = labels.sort(pipeline.key).collect(), pipeline.spec.gates.confidence
    realised = judge(str(snapshot), known, scorers, confidence)
    listed = _listed(work, known.select(pipeline.key, "label"))
    found = judge_list(str(snapshot), listed, pipeline.spec.value, confidence) if listed is not None else None
    return realised, found, ""


def _scores(work: Work, table: str, month: Month) -> pl.DataFrame | None:
    window = work.pipeline.window("monitoring", work.month, table)
    scanned = work.pipeline.lake.scan_month(window, month) if month in window.months else None
    return scanned.select(work.pipeline.key, "p_leave", "model_id").collect() if scanned is not None else None


def _scorer(pipeline: Pipeline, role: str, model: str) -> Scorer:
    promise = pipeline.models.facts(model)["validation"] if pipeline.models.has(model) else {}
    return Scorer(role, model, promise)


def _listed(work: Work, labels: pl.DataFrame) -> pl.DataFrame | None:
    """The list of the month whose outcome has become known, with what was done and who left; None without one."""
    pipeline, key = work.pipeline, work.pipeline.key
    record, log = pipeline.matured_list(work.month), pipeline.treatments(work.month)
    if record is None or not record.files:
        return None
    listed = pipeline.lake.scan_record(record).select(key, "action", "p_leave", "monthly_value")
    if log:
        # The list may have been made anew since; what was done was done with the one that the log is of.
        told = pipeline.lake.scan_record(log).select(key, "action", "treated", "cost")
        listed = told.join(listed.drop("action"), on=key, how="left")
    else:
        listed = listed.with_columns(treated=pl.lit(None, pl.Boolean), cost=pl.lit(None, pl.Float64))
    return listed.join(labels.lazy(), on=key, how="left").sort(key).collect()


def _estimated(work: Work) -> Iterator[Figure]:
    for role, name in SCORES.items():
        scored = _scores(work, name, work.month)
        if scored is None or not len(scored):
            continue
        try:
            found = estimate(scored["p_leave"].to_numpy(), work.pipeline.spec.gates.confidence)
        except LearningError as error:
            work.log.info(f"{role}: {error}")
            continue
        yield from found.figures(str(work.month), role, str(scored["model_id"][0]))


def _earlier(pipeline: Pipeline, month: Month) -> Iterator[pl.DataFrame]:
    """The figures of the months before, for the charts alone: a month's own rows don't depend on them."""
    for before in pipeline.calendar.trailing(month, SHOWN_MONTHS):
        if before < month:
            yield _rows(pipeline, before)


def _rows(pipeline: Pipeline, month: Month) -> pl.DataFrame:
    """The figures that a month has put down; none where it has none, or was made by code that kept others."""
    record = pipeline.lake.record("monitoring", month)
    if record is None or not set(COLUMNS) <= set(record.columns):
        return pl.DataFrame(schema=COLUMNS)
    return pipeline.lake.scan_record(record).select(list(COLUMNS)).collect()


def _readable(figures: Iterable[Figure]) -> pl.DataFrame:
    return table(figures).drop("subject")


def _why(quality: Quality) -> str:
    problems: Mapping[str, str] = quality.realised.problems if quality.realised else {}
    return problems.get(CHAMPION, quality.why)
