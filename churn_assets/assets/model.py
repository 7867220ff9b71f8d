"""model: the month's candidates, judged out of time, and the decision on which model scores customers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from churn_assets.assets.evaluation import CHAMPION
from churn_assets.assets.judging import UNJUDGED, Judged, Loader, carry_out, judge, quality_checks
from churn_assets.assets.stage import Also, Check, CheckPlan, Made, Stage, Work, source_hash
from churn_assets.assets.tracking import TrainingLog
from churn_assets.assets.tuning import artefacts_of, metadata_of, steps_of
from churn_assets.errors import EvidenceError, LakeError, TrackingError
from churn_assets.learning.card import Subject, model_card
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.distributed import fitting
from churn_assets.learning.promotion import PromotionDecision, as_row, decide, overruled, postponed, stays, undecided
from churn_assets.learning.reference import score_reference, settled_reference
from churn_assets.learning.training import TrainedModel, Training, dump, load, train
from churn_assets.learning.tuning import Tuner, handed_over
from churn_assets.orders import TrainingDecision, training_in
from churn_assets.pipeline import Pipeline
from churn_assets.slots import training_slot
from churn_assets.staleness import PENDING
from churn_assets.store.content import json_hash
from churn_assets.store.datasets import DatasetVersion
from churn_assets.store.lake import MonthRecord
from churn_assets.verdicts import promote_command, reject_command, verdict_on

STANDS = "champion_stands"
NO_LIST = "No model may score customers, so the month has no predictions and no list."
TRAINS = ("learning", "engines")
"""Code that a trained model depends on."""


@dataclass(frozen=True)
class _Trained:
    """A training and what is asked of it; provisional while history is too short to judge it out of time."""

    training: Training
    model_id: str
    dataset: DatasetVersion
    rows: pl.DataFrame
    provisional: bool

    @property
    def model(self) -> TrainedModel:
        return self.training.models[self.training.challenger]

    @cached_property
    def judged(self) -> pl.DataFrame:
        return _judges(self.rows)


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    champion = pipeline.champion("model", work.month)
    dataset = pipeline.lake.records(pipeline.window("model", work.month, "versioned_dataset"))[0]
    asked = training_in(pipeline, work.month)
    if work.options.chosen:
        asked = replace(asked, train=True, reason=f"Asked for by the run's options: {work.options.words}.")
    if champion and not asked.train:
        return _untrained(work, _decide_undue(work, champion, dataset, asked.reason), asked.reason)
    if dataset.status == "empty":
        return _nothing(work, champion, dataset.reason)
    try:
        trained = _train(work, str(dataset.facts["id"]), asked)
    except EvidenceError as error:
        waits = dataset.facts["split"] != pipeline.spec.training.split
        return _nothing(work, champion, f"No challenger could be trained. {error}", waits)
    against = _loader(pipeline, champion) if champion else None
    judged = judge(trained.training, trained.judged, pipeline.spec, trained.dataset.parts, against)
    decision = _decide(work, trained, judged, champion)
    decision, card, shown = _keep(work, trained, judged, decision)
    return Made(
        rows=_scores(trained, judged),
        checks=_checks(work, trained, judged, decision),
        facts={"model_id": trained.model_id, "challenger": trained.training.challenger, "dataset": trained.dataset.id,
               "trained_because": asked.reason,
               "tuned": {name: t.recorded() for name, t in trained.training.tuned.items()},
               **_facts(decision)},
        metadata={"trained because": asked.reason, **_shown(trained, judged, decision), **shown,
                  "model card": dg.MetadataValue.md(card)},
        also={"promotions": _promotion(decision)},
    )  # fmt: skip


def _nothing(work: Work, champion: str | None, reason: str, waits: bool = True) -> Made:
    """What is made where nothing could be trained; ``waits`` says that history has yet to become long enough."""
    decision = undecided(champion, reason)
    if verdict := verdict_on(work.pipeline, work.month):
        decision = overruled(decision, verdict, None, reason)
    return _untrained(work, decision, reason, waits)


def _decide_undue(work: Work, champion: str, dataset: MonthRecord, reason: str) -> PromotionDecision:
    """The decision where no model is due: the champion stays, unless a person's verdict can be carried out."""
    pipeline, decision = work.pipeline, stays(champion, reason)
    verdict = verdict_on(pipeline, work.month)
    if verdict is None:
        return decision
    if dataset.status == "empty":
        return overruled(decision, verdict, None, dataset.reason)
    rows = _judges(_read(work, str(dataset.facts["id"]))[2])
    model = _loader(pipeline, str(verdict.model))
    return carry_out(verdict, decision, UNJUDGED, model, rows, pipeline.spec.gates.confidence)


def _untrained(work: Work, decision: PromotionDecision, reason: str, waits: bool = True) -> Made:
    """What is made of a month that has no model of its own; ``waits`` says that it may lack a champion, too."""
    decision = _mirrored(work, decision)
    stands = waits or decision.champion is not None
    told = decision.reason if stands else f"{decision.reason} {NO_LIST} Deliver more data, or change `candidates`."
    return Made(
        rows=None,
        reason=reason,
        checks=tuple(
            Check(STANDS, stands, told) if c.name == STANDS else Check(c.name, True, reason) for c in STAGE.checks
        ),
        facts=_facts(decision),
        metadata={
            "decision": decision.outcome,
            "decision reason": decision.reason,
            "decided by": decision.decided_by,
            "champion": decision.champion or "none yet",
        },
        also={"promotions": _promotion(decision)},
    )


def _mirrored(work: Work, decision: PromotionDecision) -> PromotionDecision:
    """The decision, once MLflow's alias mirrors it where the month had another champion; postponed if it can't."""
    lake = work.pipeline.lake
    decided, made = lake.record("promotions", work.month), lake.record("model", work.month)
    stood = decided.facts.get("champion") if decided else decision.previous
    behind = decision.champion != stood or bool(made and made.facts.get(PENDING))
    if decision.champion is None or not behind or not _is_newest(work):
        return decision
    try:
        work.tracker.follow(decision.champion)
    except TrackingError as error:
        return postponed(decision, str(error))
    return decision


def _facts(decision: PromotionDecision) -> dict[str, Any]:
    return {"outcome": decision.outcome, **({PENDING: decision.pending} if decision.pending else {})}


def _promotion(decision: PromotionDecision) -> Also:
    return Also(as_row(decision), facts={"champion": decision.champion, "awaiting": decision.awaiting})


def _read(work: Work, dataset_id: str) -> tuple[Dataset, DatasetVersion, pl.DataFrame]:
    """The dataset of that id, and its rows.

    Raises:
        LakeError: its tables have changed since.
    """
    dataset = Dataset(work.pipeline.lake, work.pipeline.spec, work.month, reader="model")
    version = dataset.version()
    if version.id != dataset_id:
        raise LakeError(
            f"model {work.month}: expected the dataset {dataset_id}, found its tables changed to {version.id} since. "
            f"Run versioned_dataset {work.month} again first."
        )
    return dataset, version, dataset.rows().rename({work.pipeline.key: "customer_id"})


def _judges(rows: pl.DataFrame) -> pl.DataFrame:
    """The validation rows, which taught no model."""
    return rows.filter(pl.col("part") == "validate")


def _train(work: Work, dataset_id: str, asked: TrainingDecision) -> _Trained:
    spec = work.pipeline.spec
    dataset, version, rows = _read(work, dataset_id)
    candidates = asked.candidates(spec.candidates)
    work.log.info(f"{asked.reason} Training {', '.join(c.name for c in candidates)} on {len(rows):,} rows.")
    searches, folds = work.pipeline.searches, work.pipeline.calendar.folds(dataset.split)
    tuner, tuned = Tuner(searches, work.progress), handed_over(searches, work.month)
    with fitting(dataset) as fit_on:
        training = train(rows, spec.feature_names, candidates, spec.training.seed, fit_on, folds, tuner, tuned)
    # What decides on a model, as the gates, isn't part of what it is.
    recipe = {"dataset": dataset_id, "candidates": [c.model_dump(mode="json") for c in candidates],
              "tuned": {name: t.params for name, t in training.tuned.items()},
              "seed": spec.training.seed, "engine": spec.engine.model_dump(mode="json"),
              "code": [source_hash(module) for module in TRAINS]}  # fmt: skip
    model_id = f"{work.month}-{training.challenger}-{json_hash(recipe)[:8]}"
    return _Trained(training, model_id, version, rows, provisional=dataset.split.kind != spec.training.split)


def _decide(work: Work, trained: _Trained, judged: Judged, champion: str | None) -> PromotionDecision:
    """The gate's decision, and a person's verdict over it, if there is one."""
    pipeline = work.pipeline
    gates, evidence, verdict = pipeline.spec.gates, judged.evidence, verdict_on(pipeline, work.month)
    if evidence.problem and evidence.challenger:
        instead = promote_command(pipeline, work.month, trained.model_id)
        evidence = replace(evidence, problem=f"{evidence.problem} To replace it all the same: `{instead}`")
    decision = decide(gates, trained.model_id, champion, evidence, gates.waits(work.month))
    if decision.awaiting:
        promote = promote_command(pipeline, work.month, decision.awaiting)
        ways = f"Decide with `{promote}` or `{reject_command(pipeline, work.month)}`."
        decision = replace(decision, reason=f"{decision.reason} {ways}")
    if verdict is None:
        return decision
    model = _loader(pipeline, str(verdict.model))
    return carry_out(verdict, decision, judged, model, trained.judged, gates.confidence)


def _loader(pipeline: Pipeline, model_id: str) -> Loader:
    return lambda: load(pipeline.models.artefact(model_id))


def _keep(
    work: Work, trained: _Trained, judged: Judged, decision: PromotionDecision
) -> tuple[PromotionDecision, str, dict[str, Any]]:
    """Tracks the training and puts the model on the shelf; the decision as it holds then, the card, what to show."""
    card = model_card(_subject(work, trained, judged, decision))
    try:
        shown = work.tracker.log(_training_log(work, trained, judged, decision, card))
    except TrackingError as error:
        decision, shown = postponed(decision, str(error)), {}
        card = model_card(_subject(work, trained, judged, decision))
    taught = trained.rows.filter(pl.col("part") == "fit")
    pipeline = work.pipeline
    facts = {
        "model_id": trained.model_id,
        "dataset": trained.dataset.id,
        "month": str(work.month),
        "validation": judged.evidence.challenger.as_dict() if judged.evidence.challenger else {},
        "importance": trained.model.importance(),
        "reference": settled_reference(taught, pipeline.spec.lookbacks, pipeline.calendar.start),
        "score_reference": score_reference(trained.model.predict(trained.judged)),
    }
    folder = pipeline.models.put(trained.model_id, dump(trained.model), facts, card)
    return decision, card, {**shown, "model folder": folder}


def _subject(work: Work, trained: _Trained, judged: Judged, decision: PromotionDecision) -> Subject:
    spec = work.pipeline.spec
    return Subject(
        pipeline=work.pipeline.name,
        horizon=work.pipeline.calendar.horizon,
        month=work.month,
        model_id=trained.model_id,
        model=trained.model,
        seed=spec.training.seed,
        chosen_because=trained.training.reason,
        dataset=trained.dataset,
        evaluations=judged.evaluations,
        baseline=spec.candidates[0].name,
        champion=CHAMPION,
        segments=judged.report.segments if judged.report else None,
        gates=spec.gates,
        decision=decision,
    )


def _training_log(work: Work, trained: _Trained, judged: Judged, decision: PromotionDecision, card: str) -> TrainingLog:
    return TrainingLog(
        month=work.month,
        model_id=trained.model_id,
        dataset=trained.dataset,
        source=str(work.pipeline.lake.root),
        params=_params(work, trained),
        metrics=judged.report.metrics if judged.report else {},
        steps=steps_of(trained.training.tuned),
        artefacts={**(judged.report.artefacts if judged.report else {}), **artefacts_of(trained.training.tuned)},
        model=trained.model,
        example=trained.rows.filter(pl.col("part") == "fit").select(work.pipeline.spec.feature_names).head(5),
        card=card,
        decision=decision,
        is_newest=_is_newest(work),
    )


def _is_newest(work: Work) -> bool:
    decided = work.pipeline.lake.months("promotions")
    return not decided or work.month >= decided[-1]


def _params(work: Work, trained: _Trained) -> dict[str, Any]:
    counts = trained.dataset.parts.group_by("part").agg(pl.col("rows").sum()).sort("part").iter_rows()
    return {
        "month": str(work.month),
        "dataset_version": trained.dataset.id,
        "challenger": trained.training.challenger,
        "features": len(work.pipeline.spec.feature_names),
        **{f"rows_{part}": rows for part, rows in counts},
        **{f"{name}.{key}": value for name, m in trained.training.models.items() for key, value in m.params.items()},
    }


def _scores(trained: _Trained, judged: Judged) -> pl.DataFrame:
    """A row for every candidate with its figures, and for the champion that it was compared with."""
    selection = trained.training.selection
    scores = judged.report.scores if judged.report else pl.DataFrame({"candidate": list(selection)})
    found = pl.Series("selection_auc", [selection.get(name) for name in scores["candidate"]], pl.Float64)
    return scores.with_columns(found)


def _checks(work: Work, trained: _Trained, judged: Judged, decision: PromotionDecision) -> tuple[Check, ...]:
    stands = trained.provisional or decision.champion is not None
    reason = decision.reason if stands else f"{decision.reason} {_what_to_do(work, judged, decision)}".strip()
    figures = {"outcome": decision.outcome, "champion": decision.champion or "none"}
    return *quality_checks(work.pipeline.spec.gates, judged), Check(STANDS, stands, reason, figures=figures)


def _what_to_do(work: Work, judged: Judged, decision: PromotionDecision) -> str:
    """What a person can do where no model may score customers."""
    if decision.pending:
        return ""
    if decision.awaiting:
        return NO_LIST
    yourself = f", or decide it yourself: `{promote_command(work.pipeline, work.month, str(decision.challenger))}`"
    return (
        f"{NO_LIST} Change `gates` or `candidates` in the specification, deliver more data"
        f"{yourself if judged.evidence.challenger else ''}."
    )


def _shown(trained: _Trained, judged: Judged, decision: PromotionDecision) -> dict[str, Any]:
    return {
        "decision": decision.outcome,
        "decision reason": decision.reason,
        "decided by": decision.decided_by,
        "champion": decision.champion or "none",
        "challenger": trained.model_id,
        "chosen because": trained.training.reason,
        **(judged.report.metadata if judged.report else {}),
        **metadata_of(trained.training.tuned),
    }


STAGE = Stage(
    name="model",
    description="The month's candidates, judged on rows none of them learned from, and the decision which model scores "
    "customers from now on. A challenger replaces the champion only if it passes its gates and a paired interval on "
    "the same rows rules out that it is worse by more than the margin. Where no model is due, the champion stays.",
    kinds=frozenset({"deltalake", "xgboost", "scikitlearn", "mlflow"}),
    after=("versioned_dataset",),
    checks=(
        CheckPlan("auc_above_floor", "The challenger's AUC reaches the floor."),
        CheckPlan("calibrated", "The challenger's probabilities are calibrated on the validation rows."),
        CheckPlan("segments", "In no segment is the challenger worse, or badly calibrated."),
        CheckPlan(
            STANDS, "There is a model that may score customers, once history is long enough.", blocking=True,
            about_what_follows=True,
        ),
    ),
    # The value decides only where the gates ask for profit: another budget shall not train everything anew.
    sections=("candidates", "training", "evaluation", "gates", "deciding_value", "features", "engine.kind",
              "engine.workers", "engine.driver_rows"),
    modules=(*TRAINS, "orders.py", "verdicts.py", "assets/evaluation.py", "retention/profit.py",
             "retention/scoring.py"),
    make=_make,
    intact=lambda pipeline, record: record.status == "empty" or pipeline.models.has(str(record.facts["model_id"])),
    tracked=True,
    claims=lambda work: training_slot(work.instance),
    takes_options=True,
)  # fmt: skip
