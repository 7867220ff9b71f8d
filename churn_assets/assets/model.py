"""model: the month's candidates, judged out of time, and the decision on which model scores customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from churn_assets.assets.stage import Also, Check, CheckPlan, Made, Stage, Work
from churn_assets.assets.tracking import TrainingLog
from churn_assets.errors import ChurnAssetsError, LakeError, LearningError
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.distributed import fitting
from churn_assets.learning.evaluation import Evaluation, Interval, auc_difference, evaluate
from churn_assets.learning.promotion import PromotionDecision, decide, undecided
from churn_assets.learning.reference import reference_of
from churn_assets.learning.training import Training, dump, load, train
from churn_assets.store.content import json_hash
from churn_assets.store.datasets import DatasetVersion


@dataclass(frozen=True)
class _Trained:
    """A training with what it was judged on; provisional while history is too short to judge it out of time."""

    training: Training
    model_id: str
    dataset: DatasetVersion
    rows: pl.DataFrame
    evaluations: Mapping[str, Evaluation]
    against: Evaluation | None
    difference: Interval | None
    problem: str | None
    provisional: bool

    @property
    def challenger(self) -> Evaluation:
        return self.evaluations[self.training.challenger]


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    champion = pipeline.champion("model", work.month)
    dataset = pipeline.lake.records(pipeline.window("model", work.month, "versioned_dataset"))[0]
    if dataset.status == "empty":
        return _nothing(champion, dataset.reason)
    try:
        trained = _train(work, str(dataset.facts["id"]), champion)
    except LearningError as error:
        return _nothing(champion, f"Not enough evidence. {error}")
    decision = decide(
        pipeline.spec.gates, trained.model_id, trained.challenger, champion, trained.difference, trained.problem
    )
    return Made(
        rows=_scores(trained),
        checks=_checks(work, trained, decision),
        facts={"model_id": trained.model_id, "challenger": trained.training.challenger, "dataset": trained.dataset.id,
               "outcome": decision.outcome},
        metadata=_shown(trained, decision),
        also={"promotions": Also(_promotion(decision), facts={"champion": decision.champion})},
        effect=lambda: _keep(work, trained, decision),
    )  # fmt: skip


def _nothing(champion: str | None, reason: str) -> Made:
    decision = undecided(champion, reason)
    return Made(
        rows=None,
        reason=reason,
        checks=tuple(Check(c.name, True, reason) for c in STAGE.checks),
        facts={"outcome": decision.outcome},
        metadata={"decision": decision.outcome, "champion": champion or "none yet"},
        also={"promotions": Also(_promotion(decision), facts={"champion": decision.champion})},
    )


def _train(work: Work, dataset_id: str, champion: str | None) -> _Trained:
    spec = work.pipeline.spec
    dataset = Dataset(work.pipeline.lake, spec, work.month, reader="model")
    version = dataset.version()
    if version.id != dataset_id:
        raise LakeError(
            f"model {work.month}: expected the dataset {dataset_id}, found its tables changed to {version.id} since. "
            f"Run versioned_dataset {work.month} again first."
        )
    rows = dataset.rows().rename({work.pipeline.key: "customer_id"})
    work.log.info(f"Training {', '.join(c.name for c in spec.candidates)} on {len(rows):,} rows.")
    with fitting(dataset) as fit_on:
        training = train(rows, spec.feature_names, spec.candidates, spec.training.seed, fit_on)
    recipe = {"dataset": dataset_id, "candidates": [c.model_dump(mode="json") for c in spec.candidates],
              "seed": spec.training.seed, "code": work.code}  # fmt: skip
    model_id = f"{work.month}-{training.challenger}-{json_hash(recipe)[:8]}"
    judged = rows.filter(pl.col("part") == "validate")
    labels = judged["label"].to_numpy()
    confidence = spec.gates.confidence
    evaluations = {name: evaluate(labels, m.predict(judged), confidence) for name, m in training.models.items()}
    against, difference, problem = None, None, None
    if champion is not None:
        try:
            old = load(work.pipeline.models.artefact(champion)).predict(judged)
            against = evaluate(labels, old, confidence)
            new = training.models[training.challenger].predict(judged)
            difference = auc_difference(labels, new, old, confidence)
        except (ChurnAssetsError, OSError) as error:
            problem = f"The champion {champion} can't be compared: {error}"
    provisional = dataset.split.kind != spec.training.split
    return _Trained(training, model_id, version, rows, evaluations, against, difference, problem, provisional)


def _scores(trained: _Trained) -> pl.DataFrame:
    judged = [*trained.evaluations.items(), *([("champion", trained.against)] if trained.against else [])]
    roles = {trained.training.challenger: "challenger", "champion": "champion"}
    return pl.DataFrame(
        [
            {
                "candidate": name,
                "role": roles.get(name, "candidate"),
                "selection_auc": trained.training.selection.get(name),
                **evaluation.as_dict(),
            }
            for name, evaluation in judged
        ]
    )  # fmt: skip


def _promotion(decision: PromotionDecision) -> pl.DataFrame:
    figures = asdict(decision)
    difference = figures.pop("difference") or {"value": None, "lower": None, "upper": None}
    evidence = figures.pop("evidence")
    flat = {**figures, **{f"auc_difference_{k}": v for k, v in difference.items()}, "decided_by": "gate"}
    row = pl.DataFrame([flat], schema_overrides={
        **dict.fromkeys(("challenger", "champion", "previous"), pl.String),
        **dict.fromkeys(("auc_difference_value", "auc_difference_lower", "auc_difference_upper"), pl.Float64),
    })  # fmt: skip
    return row.with_columns(pl.lit(str(dict(sorted(evidence.items())))).alias("evidence"))


def _checks(work: Work, trained: _Trained, decision: PromotionDecision) -> tuple[Check, ...]:
    gates, found = work.pipeline.spec.gates, trained.challenger
    auc = found.auc
    return (
        Check("auc_above_floor", auc.value >= gates.floor,
              f"AUC {auc.value:.3f} ({auc.lower:.3f} to {auc.upper:.3f}); the floor is {gates.floor:g}.", warn=True,
              figures={"auc": auc.value, "lower": auc.lower, "upper": auc.upper}),
        Check("calibrated", found.calibration_error <= gates.max_calibration_error,
              f"Calibration error {found.calibration_error:.4f}; at most {gates.max_calibration_error:g} is allowed.",
              warn=True, figures={"calibration error": found.calibration_error}),
        Check("champion_stands", trained.provisional or decision.champion is not None, decision.reason,
              figures={"outcome": decision.outcome, "champion": decision.champion or "none"}),
    )  # fmt: skip


def _shown(trained: _Trained, decision: PromotionDecision) -> dict[str, Any]:
    found = trained.challenger
    baseline = next(iter(trained.evaluations.values()))
    scores = _scores(trained).select(
        "candidate",
        "role",
        "auc",
        "auc_lower",
        "auc_upper",
        "pr_auc",
        "log_loss",
        "calibration_error",
        "top_decile_lift",
    )
    importance = trained.training.models[trained.training.challenger].importance()
    return {
        "decision": decision.outcome,
        "decision reason": decision.reason,
        "champion": decision.champion or "none",
        "challenger": trained.model_id,
        "chosen because": trained.training.reason,
        "auc": found.auc.value,
        "auc lower": found.auc.lower,
        "auc upper": found.auc.upper,
        "baseline auc": baseline.auc.value,
        "top decile lift": found.top_decile_lift,
        "calibration error": found.calibration_error,
        "candidates": scores,
        "importance": pl.DataFrame({"feature": list(importance), "share": list(importance.values())})
        .sort("share", "feature", descending=[True, False]).head(15),
    }  # fmt: skip


def _keep(work: Work, trained: _Trained, decision: PromotionDecision) -> dict[str, Any]:
    model = trained.training.models[trained.training.challenger]
    taught = trained.rows.filter(pl.col("part") == "fit")
    folder = work.pipeline.models.put(
        trained.model_id,
        dump(model),
        {
            "model_id": trained.model_id,
            "dataset": trained.dataset.id,
            "month": str(work.month),
            "validation": trained.challenger.as_dict(),
            "importance": model.importance(),
            "reference": _reference(work, taught),
        },
    )
    decided = work.pipeline.lake.months("promotions")
    logged = work.tracker.log(
        TrainingLog(
            month=work.month,
            model_id=trained.model_id,
            dataset_id=trained.dataset.id,
            params=_params(work, trained),
            metrics=_metrics(trained),
            model=model,
            example=taught.select(work.pipeline.spec.feature_names).head(5),
            decision=decision,
            is_newest=not decided or work.month >= decided[-1],
        )
    )
    return {**logged, "model folder": folder}


def _reference(work: Work, taught: pl.DataFrame) -> dict[str, Any]:
    """Distributions of the features, each of the months whose window doesn't reach behind the pipeline's start."""
    lookbacks, start = work.pipeline.spec.lookbacks, work.pipeline.calendar.start
    reference: dict[str, Any] = {}
    for months in sorted(set(lookbacks.values())):
        whole = taught.filter(pl.col("event_month") >= (start + months).first_day)
        if len(whole):
            reference |= reference_of(whole, [name for name, reach in lookbacks.items() if reach == months])
    return reference


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


def _metrics(trained: _Trained) -> dict[str, float]:
    return {
        **trained.challenger.as_dict(),
        **{f"{name}.{k}": v for name, e in trained.evaluations.items() for k, v in e.as_dict().items()},
        **({f"champion.{k}": v for k, v in trained.against.as_dict().items()} if trained.against else {}),
    }


STAGE = Stage(
    name="model",
    description="The month's candidates, judged on rows none of them learned from, and the decision which model scores "
    "customers from now on. A challenger replaces the champion only if it passes its gates and a paired interval on "
    "the same rows rules out that it is worse by more than the margin.",
    kinds=frozenset({"deltalake", "xgboost", "scikitlearn", "mlflow"}),
    after=("versioned_dataset",),
    checks=(
        CheckPlan("auc_above_floor", "The challenger's AUC reaches the floor."),
        CheckPlan("calibrated", "The challenger's probabilities are calibrated on the validation rows."),
        CheckPlan("champion_stands", "There is a model that may score customers, once history is long enough."),
    ),
    sections=("candidates", "training", "gates", "features", "engine.kind", "engine.workers", "engine.driver_rows"),
    modules=("learning", "engines"),
    make=_make,
    intact=lambda pipeline, record: record.status == "empty" or pipeline.models.has(str(record.facts["model_id"])),
    tracked=True,
)
