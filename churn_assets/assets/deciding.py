"""What monitoring comes to: whether a new model is wanted, its evidence as a table, and the checks that say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from churn_assets.assets.drifting import Drifting
from churn_assets.assets.stage import Check, Work
from churn_assets.monitoring.figures import Figure, table
from churn_assets.monitoring.realised import Realised
from churn_assets.monitoring.retraining import RetrainDecision, Rule, Rules, Seen, decide
from churn_assets.months import Month

CALIBRATION: tuple[Rule, ...] = ("calibration", "rate", "jump")
"""Rules by which a model is badly calibrated."""
TITLES = {"keep": "keep the champion", "retrain": "train a new model", "wait": "a new model is wanted, and under way",
          "mend_data": "mend the data first"}  # fmt: skip


def decision_of(work: Work, champion: str | None, drifting: Drifting, realised: Realised | None) -> RetrainDecision:
    """Whether the champion is to be replaced by one that is trained anew."""
    pipeline, spec = work.pipeline, work.pipeline.spec
    kept = [record.facts.get("retrain") for record in
            pipeline.lake.records(pipeline.window("monitoring", work.month, "monitoring"))]  # fmt: skip
    earlier = [RetrainDecision.from_dict(one) for one in kept if one]
    trained = Month.parse(pipeline.models.facts(champion)["month"]) if champion else None
    seen = Seen(champion, trained, drifting.moved, drifting.broken, realised)
    return decide(work.month, seen, earlier, Rules(spec.monitoring.retrain, spec.gates, pipeline.calendar))


def decision_table(found: RetrainDecision) -> pl.DataFrame:
    """A row for each rule, and one that says whether a new model is wanted."""
    wanted = Figure("retrain_wanted", found.month, "champion", found.champion or "", float(found.wanted))
    figures = (
        Figure(f"retrain_{e.rule}", found.month, "champion", e.about, e.found, e.lower, e.upper, e.limit,
               kept=not e.violated)
        for e in found.evidence if e.found is not None
    )  # fmt: skip
    return table([wanted, *figures])


def decision_checks(found: RetrainDecision) -> Iterator[Check]:
    """Whether the predictions were calibrated, and whether a new model is wanted."""
    looked = [e for e in found.evidence if e.rule in CALIBRATION]
    far = "; ".join(e.words for e in looked if e.violated)
    well = "Predicted and observed rates agree." if looked else "No outcome says whether predictions are calibrated."
    figures = {str(e.rule): e.found for e in looked if e.found is not None}
    yield Check("calibrated", not far, f"Of {looked[0].about}: {far}." if far else well, warn=True, figures=figures)
    yield Check("retrain", not found.wanted, found.reason, warn=True, figures={"outcome": found.outcome})


def decision_shown(found: RetrainDecision) -> dict[str, Any]:
    """The decision and its evidence as people read them."""
    shown: dict[str, Any] = {
        "decision": TITLES[found.outcome],
        "decision reason": found.reason,
        "new model wanted": int(found.wanted),
        "champion": found.champion or "none yet",
    }
    if found.learn_in:
        shown["to be trained in"] = found.learn_in
    if found.trained:
        shown["months since the champion was trained"] = Month.parse(found.month) - Month.parse(found.trained)
    if found.evidence:
        columns = ("rule", "violated", "found", "lower", "upper", "limit", "about", "words")
        rows = [{name: getattr(e, name) for name in columns} for e in found.evidence]
        shown["evidence"] = pl.DataFrame(rows, infer_schema_length=None)
    return shown
