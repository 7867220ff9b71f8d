"""monitoring: how far the month has drifted, what became of earlier predictions, and whether a new model is wanted."""

from __future__ import annotations

import polars as pl

from churn_assets.assets.deciding import decision_checks, decision_of, decision_shown, decision_table
from churn_assets.assets.drifting import DRIFT, drift_beside, drift_checks, drift_of, drift_shown
from churn_assets.assets.realised import OF_LIST, quality_check, quality_of, shown
from churn_assets.assets.report import report_is_there, with_report
from churn_assets.assets.stage import Beside, CheckPlan, Made, Stage, Work


def _make(work: Work) -> Made:
    champion = work.pipeline.champion("monitoring", work.month)
    drifting, quality = drift_of(work, champion), quality_of(work)
    decision = decision_of(work, champion, drifting, quality.realised)
    watched = champion is not None or len(quality.table) > 0
    made = Made(
        rows=pl.concat([decision_table(decision), quality.table]) if watched else None,
        reason="" if watched else f"Nothing to watch yet: {quality.why}",
        checks=(
            *drift_checks(drifting),
            quality_check(quality, work.pipeline.spec.gates.floor),
            *decision_checks(decision),
        ),
        facts={"retrain": decision.as_dict(), "remembered": decision.remembered, "list": quality.of_list},
        metadata={**decision_shown(decision), **drift_shown(drifting), **shown(quality)},
        also={DRIFT: drift_beside(drifting)},
    )
    return with_report(work, made)


STAGE = Stage(
    name="monitoring",
    description="Drift of features and scores against what the champion learned from, and against the month before; "
    "the realised quality of predictions, of the champion and of the last challenger, and of the list, whose outcome "
    "has just become known; an estimate of that of the month's own predictions; whether a new model is wanted.",
    kinds=frozenset({"deltalake"}),
    # A list that is blocked must not keep it from telling what became of earlier ones; its report has the list, though.
    after=("predictions",),
    goes_last=True,
    checks=(
        CheckPlan("features_stable", "No feature has moved away from what the champion learned from."),
        CheckPlan("scores_stable", "The champion's scores are spread as they were in its validation month."),
        CheckPlan("columns_whole", "No column has changed its unit, lost its values or taken others that nobody had."),
        CheckPlan("realised_quality", "Past predictions turned out no worse than the floor."),
        CheckPlan("calibrated", "As many have left as were predicted, in every bin of predictions."),
        CheckPlan("retrain", "No new model is wanted."),
    ),
    sections=(
        "label", "events", "gates", "features", "monitoring", "training.every", "training.months", "training.split",
        *(f"value.{name}" for name in OF_LIST),
    ),
    modules=(
        "monitoring", "assets/realised.py", "assets/drifting.py", "assets/deciding.py", "learning/reference.py",
        "learning/evaluation.py", "learning/dataset.py", "features/labels.py", "retention/scoring.py",
        "assets/report.py", "reporting", "monitoring/report.html.jinja",
    ),
    make=_make,
    about={
        "metric": "What was found.",
        "subject": "What it is about: a month; of drift a feature, or the score.",
        "role": "Whose it is: the champion's, the challenger's, their difference, or the list's.",
        "model": "The model that scored the customers.",
        "value": "The figure.",
        **dict.fromkeys(("lower", "upper"), "End of its 95% interval."),
        "promised": "What it had been said to be, by the validation month or the estimate; of a rule, its limit.",
        **dict.fromkeys(("promised_lower", "promised_upper"), "End of the 95% interval of what was promised."),
        "kept": "Whether it leaves room for what was promised, or for its limit.",
        "against": "What the month is compared with: the champion's training, or the month before.",
        "psi": "Population stability index: below .1 is read as stable, above .25 as moved.",
        "test": "The test that fits the column's type.",
        "statistic": "The test's statistic.",
        "p_value": "How often chance alone brings as much, of this test.",
        "q_value": "The same among all tests of the month (Benjamini and Hochberg).",
        "effect": "How large the difference is: 0 is none, 1 the largest.",
        "missing": "Share of missing values.",
        "missing_before": "The same where it is compared with.",
        "missing_q_value": "How often chance alone changes that share as much, among all tests of the month.",
        "new_categories": "Values that nobody had, with their shares.",
        "moved": "Whether test and effect both say so.",
        "why": "What happened, in words.",
    },
    beside=(
        Beside(
            DRIFT,
            "How far each feature, and the champion's score, has moved from what the champion learned from, and from "
            "the month before.",
        ),
    ),
    intact=report_is_there,
)  # fmt: skip
