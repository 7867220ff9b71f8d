"""The model card: what a model is, what it is for, how good it is and why it was or wasn't promoted (Markdown).

The parts are those of Mitchell, M. et al. (2019), Model cards for model reporting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from churn_assets.learning.evaluation import Evaluation
from churn_assets.learning.promotion import PromotionDecision
from churn_assets.learning.segments import Segments
from churn_assets.learning.training import TrainedModel
from churn_assets.markdown import table
from churn_assets.months import Month
from churn_assets.spec.learning import GatesSpec
from churn_assets.store.datasets import DatasetVersion

TOP = 10
"""Features named by their importance."""


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        pipeline: name of the pipeline.
        horizon: months in which leaving counts.
        chosen_because: how it became the challenger.
        evaluations: of every candidate and of the champion it was compared with, on the same rows; none where the
            validation rows couldn't be used.
        baseline: name of the first candidate among them.
        champion: name of the champion among them.
        segments: its figures by segment; None where it couldn't be judged.
    """

    pipeline: str
    horizon: int
    month: Month
    model_id: str
    model: TrainedModel
    seed: int
    chosen_because: str
    dataset: DatasetVersion
    evaluations: Mapping[str, Evaluation]
    baseline: str
    champion: str
    segments: Segments | None
    gates: GatesSpec
    decision: PromotionDecision


def model_card(of: Subject) -> str:
    """The card in Markdown."""
    parts = {
        f"Model {of.model_id}": _what_it_is(of),
        "What it is for, and what not": _use(of),
        "What it learned from": _data(of),
        "How it was trained": _training(of),
        f"How good it is in {_judged_in(of)}": _figures(of),
        "By segment": _segments(of),
        "Calibration": _calibration(of),
        "What it looks at": _importance(of.model),
        "Decision": _decision(of),
        "Limits": _limits(of),
    }
    first = next(iter(parts))
    return "\n\n".join(f"{'#' if t == first else '##'} {t}\n\n{text}" for t, text in parts.items()) + "\n"


def _what_it_is(of: Subject) -> str:
    return (
        f"Estimates for each active customer of the pipeline *{of.pipeline}* the probability of leaving "
        f"{_within(of.horizon)}. Candidate *{of.model.name}* ({of.model.kind}) of {of.month}."
    )


def _within(horizon: int) -> str:
    return {0: "within the month", 1: "within the next month"}.get(horizon, f"within the next {horizon} months")


def _use(of: Subject) -> str:
    return (
        "For ranking active customers whom the retention team may contact, and for the expected number who leave. It "
        "tells who is likely to leave, not who would be kept by a contact, and what goes along with leaving, not what "
        "causes it. Not for decisions on prices, credit or service of single customers, and not for people who aren't "
        f"customers of *{of.pipeline}*."
    )


def _data(of: Subject) -> str:
    parts = of.dataset.parts
    shown = (
        parts.group_by("part")
        .agg(first=pl.col("event_month").min(), last=pl.col("event_month").max(), rows=pl.col("rows").sum(),
             churners=pl.col("positives").sum())
        .with_columns(_percent(pl.col("churners") / pl.col("rows")).alias("churn rate"))
        .sort("first", "part")
    )  # fmt: skip
    return (
        f"Dataset version `{of.dataset.id}`: {of.dataset.rows:,} labelled rows. {of.dataset.reason}\n\n"
        f"{table(shown, ('part', 'first', 'last'))}"
    )


def _training(of: Subject) -> str:
    params = pl.DataFrame(
        {"parameter": list(of.model.params), "value": [str(value) for value in of.model.params.values()]}
    )
    return (
        f"{of.chosen_because} {len(of.model.features)} features, seed {of.seed}.\n\n"
        f"{table(params, ('parameter', 'value'))}"
    )


def _judged_in(of: Subject) -> str:
    months = of.dataset.parts.filter(pl.col("part") == "validate")["event_month"].unique().sort()
    return ", ".join(months) or "no month"


def _figures(of: Subject) -> str:
    if not of.evaluations:
        return "It could not be judged; the decision says why."
    rows = [
        {
            "model": _role(of, name),
            "AUC": f"{found.auc.value:.4f} ({found.auc.lower:.4f} to {found.auc.upper:.4f})",
            "PR-AUC": f"{found.pr_auc:.4f}",
            "log-loss": f"{found.log_loss:.4f}",
            "Brier": f"{found.brier:.4f}",
            "lift in the top tenth": f"{found.top_decile_lift:.2f}",
        }
        for name, found in of.evaluations.items()
    ]
    judged = next(iter(of.evaluations.values()))
    return (
        f"{judged.rows:,} customers, {judged.positives:,} of whom left; none of them taught any of these models. "
        f"Intervals at {of.gates.confidence:.0%}.\n\n{table(pl.DataFrame(rows), ('model',))}"
    )


def _role(of: Subject, name: str) -> str:
    roles = {of.champion: str(of.decision.previous), of.baseline: "the baseline", of.model.name: "this model"}
    return f"{name} ({roles[name]})" if name in roles else name


def _segments(of: Subject) -> str:
    if of.segments is None or of.segments.table.is_empty():
        return "It was judged as a whole only."
    stands_out = pl.when("worse").then(pl.lit("worse")).when("miscalibrated").then(pl.lit("miscalibrated"))
    shown = of.segments.table.select(
        "feature",
        "value",
        pl.col("rows").alias("customers"),
        _percent(pl.col("rate")).alias("left"),
        _percent(pl.col("mean_prediction")).alias("predicted"),
        pl.col("auc").round(3).alias("AUC"),
        pl.when("judged").then(stands_out).otherwise(pl.lit("too few to judge")).alias("stands out"),
    )
    return f"{of.segments.reason}\n\n{table(shown, ('feature', 'value', 'stands out'))}"


def _calibration(of: Subject) -> str:
    calibration = of.model.calibration
    made = f"Calibrated by {calibration.reason}" if calibration.fitted else calibration.reason
    found = of.evaluations.get(of.model.name)
    if found is None:
        return made
    return (
        f"{made} On the validation rows {found.mean_prediction:.2%} are predicted to leave and {found.rate:.2%} left; "
        f"expected calibration error {found.calibration_error:.4f} ({found.calibration_error_lower:.4f} to "
        f"{found.calibration_error_upper:.4f})."
    )


def _importance(model: TrainedModel) -> str:
    importance = model.importance()
    shares = pl.DataFrame({"feature": list(importance), "share": list(importance.values())})
    top = shares.sort("share", "feature", descending=[True, False]).head(TOP)
    return table(top.with_columns(_percent(pl.col("share"))), ("feature",))


def _decision(of: Subject) -> str:
    gates = of.gates.model_dump(exclude_none=True)
    limits = pl.DataFrame({"gate": list(gates), "limit": [str(value) for value in gates.values()]})
    return f"**{of.decision.outcome}** ({of.decision.decided_by}): {of.decision.reason}\n\n" + table(limits, ("gate",))


def _limits(of: Subject) -> str:
    return (
        "It knows customers as they were up to the months above: what changes for all of them at once (prices, a "
        "competitor, a policy) it sees only after it has shown in labels. Customers whose first month it is, and "
        "categories that training didn't have, are scored with less to go by. Monitoring of each later month tells how "
        "far the features have drifted and how good earlier predictions turned out."
    )


def _percent(share: pl.Expr) -> pl.Expr:
    return (share * 100).round(2).cast(pl.String) + "%"
