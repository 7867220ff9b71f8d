"""monitoring: how far the month has drifted, and what became of earlier predictions."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.errors import LearningError
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.evaluation import Evaluation, evaluate
from churn_assets.learning.reference import shares
from churn_assets.monitoring import MOVED, drift

COLUMNS = {"metric": pl.String, "subject": pl.String, "value": pl.Float64, "lower": pl.Float64, "upper": pl.Float64}


def _make(work: Work) -> Made:
    pipeline = work.pipeline
    champion = pipeline.champion("monitoring", work.month)
    scanned = pipeline.lake.scan_month(pipeline.window("monitoring", work.month, "features"), work.month)
    moved = (
        drift(shares(scanned.collect(), pipeline.models.facts(champion)["reference"]))
        if champion and scanned is not None
        else {}
    )
    realised, why = _realised(work)
    rows: list[tuple[str, str, float, float | None, float | None]] = []
    rows += [("psi", name, value, None, None) for name, value in moved.items()]
    if realised:
        figures = realised.as_dict()
        rows += [("realised_auc", str(pipeline.calendar.matured_by(work.month)), *_auc(realised))]
        rows += [(f"realised_{k}", str(pipeline.calendar.matured_by(work.month)), v, None, None)
                 for k, v in figures.items() if not k.startswith("auc")]  # fmt: skip
    reason = "" if rows else f"Nothing to watch yet: {why}"
    return Made(
        rows=pl.DataFrame(rows, COLUMNS, orient="row") if rows else None,
        reason=reason,
        checks=(_stable(moved), _kept_its_promise(work, realised, why)),
        metadata=_shown(moved, realised, why),
    )


def _auc(found: Evaluation) -> tuple[float, float, float]:
    return found.auc.value, found.auc.lower, found.auc.upper


def _realised(work: Work) -> tuple[Evaluation | None, str]:
    """Predictions whose outcome has just become known, against that outcome."""
    pipeline = work.pipeline
    snapshot = pipeline.calendar.matured_by(work.month)
    if not pipeline.calendar.horizon:
        return None, "Labels stand in the snapshot itself: there is no later outcome to compare predictions with."
    if snapshot is None:
        return None, "No prediction's outcome is known yet."
    window = pipeline.window("monitoring", work.month, "predictions")
    scored = pipeline.lake.scan_month(window, snapshot) if snapshot in window.months else None
    if scored is None:
        return None, f"Nothing was predicted in {snapshot}."
    labelled = Dataset(pipeline.lake, pipeline.spec, work.month, reader="monitoring").labels(
        scored.select(pipeline.key, "p_leave"), snapshot
    )
    known = labelled.filter(pl.col("label").is_not_null()).sort(pipeline.key).collect()
    try:
        return evaluate(known["label"].to_numpy(), known["p_leave"].to_numpy(), pipeline.spec.gates.confidence), ""
    except LearningError as error:
        return None, str(error)


def _stable(moved: dict[str, float]) -> Check:
    far = [name for name, value in moved.items() if value > MOVED]
    reason = f"Moved away from the training data (PSI above {MOVED}): {', '.join(far)}." if far else (
        f"No feature has moved (PSI above {MOVED})." if moved else "There is no champion to compare with yet."
    )  # fmt: skip
    return Check("features_stable", not far, reason, warn=True, figures={"moved": len(far)})


def _kept_its_promise(work: Work, realised: Evaluation | None, why: str) -> Check:
    floor = work.pipeline.spec.gates.floor
    if realised is None:
        return Check("realised_quality", True, why)
    return Check("realised_quality", realised.auc.upper >= floor,
                 f"Realised AUC {realised.auc.value:.3f} ({realised.auc.lower:.3f} to {realised.auc.upper:.3f}); "
                 f"the floor is {floor:g}.", warn=True,
                 figures={"auc": realised.auc.value, "top decile lift": realised.top_decile_lift})  # fmt: skip


def _shown(moved: dict[str, float], realised: Evaluation | None, why: str) -> dict[str, object]:
    shown: dict[str, object] = {}
    if moved:
        top = pl.DataFrame({"feature": list(moved), "psi": list(moved.values())}).head(10)
        shown |= {"largest drift (PSI)": max(moved.values()), "drift": top}
    if realised:
        shown |= {
            "realised auc": realised.auc.value,
            "realised auc lower": realised.auc.lower,
            "realised auc upper": realised.auc.upper,
            "realised churn rate": realised.rate,
            "predicted churn rate": realised.mean_prediction,
            "realised top decile lift": realised.top_decile_lift,
            "realised calibration error": realised.calibration_error,
        }
    else:
        shown["realised quality"] = why
    return shown


STAGE = Stage(
    name="monitoring",
    description="Drift of the month's features against what the champion learned from, and the realised quality of "
    "predictions whose outcome has just become known.",
    kinds=frozenset({"deltalake"}),
    after=("predictions",),
    checks=(
        CheckPlan("features_stable", "No feature has moved far from the champion's training data."),
        CheckPlan("realised_quality", "Past predictions turned out no worse than the floor."),
    ),
    sections=("label", "events", "gates", "features"),
    modules=("monitoring", "learning/reference.py", "learning/evaluation.py"),
    make=_make,
)
