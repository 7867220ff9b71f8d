"""What the validation rows say of a month's challenger, beside the champion and the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from churn_assets.assets.evaluation import CHAMPION, Report, report
from churn_assets.assets.stage import Check
from churn_assets.errors import ChurnAssetsError, LearningError
from churn_assets.learning.evaluation import Evaluation, Floats, auc_difference, evaluate
from churn_assets.learning.promotion import Evidence, PromotionDecision, Verdict, overruled
from churn_assets.learning.training import TrainedModel, Training
from churn_assets.spec import PipelineSpec
from churn_assets.spec.learning import GatesSpec

Loader = Callable[[], TrainedModel]
"""Takes a model from the shelf."""


@dataclass(frozen=True)
class Judged:
    """The evidence, and what else there is to show; no report where the rows or the predictions can't be used."""

    evidence: Evidence
    report: Report | None

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """Of every candidate, and of the champion as ``CHAMPION``."""
        return self.report.evaluations if self.report else {}


UNJUDGED = Judged(Evidence(None), None)
"""Where there was no challenger."""


def judge(
    training: Training, rows: pl.DataFrame, spec: PipelineSpec, parts: pl.DataFrame, champion: Loader | None
) -> Judged:
    """Judges the challenger; what stands in the way of that is told in the evidence, and never raised.

    Args:
        training: the candidates.
        rows: (n, ...) validation rows, which taught none of the models.
        spec: the pipeline.
        parts: the dataset version's parts.
        champion: the champion, if there is one.
    """
    against, problem = None, None
    if champion is not None:
        try:
            against = _predictions(champion, rows)
        except (ChurnAssetsError, OSError) as error:
            problem = f"The champion can't be compared: {error}"
    try:
        found = report(training, rows, spec, parts, against)
    except LearningError as error:
        return Judged(Evidence(None, problem=f"It could not be judged: {error}"), None)
    difference = None
    if against is not None and spec.gates.metric == "profit":
        difference = found.profit_difference
    elif against is not None:
        new = training.models[training.challenger].predict(rows)
        difference = auc_difference(rows["label"], new, against, spec.gates.confidence)
    names = {"challenger": training.challenger, "champion": CHAMPION, "baseline": spec.candidates[0].name}
    evaluations = {role: found.evaluations[name] for role, name in names.items() if name in found.evaluations}
    profit = {role: found.profits[name].realised.value for role, name in names.items() if name in found.profits}
    return Judged(Evidence(**evaluations, difference=difference, profit=profit, problem=problem), found)


def quality_checks(gates: GatesSpec, judged: Judged) -> tuple[Check, ...]:
    """Whether the challenger discriminates, is calibrated, and is so in every segment."""
    found = judged.evidence.challenger
    if found is None or judged.report is None:
        why = str(judged.evidence.problem)
        return tuple(Check(name, False, why, warn=True) for name in ("auc_above_floor", "calibrated", "segments"))
    auc, error = found.auc, found.calibration_error
    return (
        Check("auc_above_floor", auc.value >= gates.floor,
              f"AUC {auc.value:.3f} ({auc.lower:.3f} to {auc.upper:.3f}); the floor is {gates.floor:g}.", warn=True,
              figures={"auc": auc.value, "lower": auc.lower, "upper": auc.upper}),
        Check("calibrated", error <= gates.max_calibration_error,
              f"Calibration error {error:.4f}; at most {gates.max_calibration_error:g} is allowed.", warn=True,
              figures={"calibration error": error}),
        judged.report.segments_check,
    )  # fmt: skip


def carry_out(
    verdict: Verdict, decision: PromotionDecision, judged: Judged, model: Loader, rows: pl.DataFrame, confidence: float
) -> PromotionDecision:
    """The decision with a person's verdict over it; refused if its model can't be had, or judged on ``rows``."""
    if verdict.model is None or verdict.model == decision.challenger:
        return overruled(decision, verdict, judged.evidence.challenger, judged.evidence.problem)
    try:
        found = evaluate(rows["label"], _predictions(model, rows), confidence)
    except (ChurnAssetsError, OSError) as error:
        return overruled(decision, verdict, None, str(error))
    return overruled(decision, verdict, found)


def _predictions(model: Loader, rows: pl.DataFrame) -> Floats:
    """What a model says of ``rows``, (n,).

    Raises:
        ChurnAssetsError: it isn't there, can't be loaded, needs other features, or its predictions can't be judged.
    """
    found = model().predict(rows)
    evaluate(rows["label"], found)
    return found
