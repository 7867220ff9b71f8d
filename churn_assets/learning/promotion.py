"""Whether a challenger may score customers. Every rule fails closed: what isn't shown counts against it."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from math import isfinite
from typing import Literal

from churn_assets.learning.evaluation import Evaluation, Interval
from churn_assets.spec.learning import GatesSpec

Outcome = Literal["promoted", "kept", "rejected", "undecided"]


@dataclass(frozen=True)
class PromotionDecision:
    """What became of a challenger, and why.

    ``promoted``: it is the champion now. ``kept``: the champion stays. ``rejected``: there is no champion, and it may
    not become the first. ``undecided``: there was no challenger, or nothing to judge it by; a champion stays.

    Attributes:
        challenger: id of the model that was judged.
        champion: id of the champion after this decision.
        previous: id of the champion before it.
        difference: challenger's AUC minus champion's on the same rows.
        evidence: every figure and every limit that the decision stands on.
    """

    outcome: Outcome
    reason: str
    challenger: str | None
    champion: str | None
    previous: str | None
    difference: Interval | None
    evidence: dict[str, float]


def decide(
    gates: GatesSpec,
    challenger_id: str,
    challenger: Evaluation,
    champion_id: str | None,
    difference: Interval | None,
    problem: str | None = None,
) -> PromotionDecision:
    """Decides on a challenger; never raises.

    The floors (AUC, calibration error, size of evidence) hold for every challenger; the first champion needs nothing
    else. A champion gives way only if the whole interval of the difference lies above ``-gates.margin``. A figure that
    is no finite number, a missing difference, or a ``problem`` never promotes.

    Args:
        gates: the limits.
        challenger_id: id of the challenger.
        challenger: its figures on the validation rows.
        champion_id: id of the champion that it would replace, if there is one.
        difference: challenger's AUC minus champion's on the same rows; None where they couldn't be compared.
        problem: why the evidence can't be trusted, such as "the champion can't be loaded".
    """
    compared = difference if champion_id is not None else None
    blocked = _blocked(gates, challenger, problem) or (
        _not_better(gates, challenger_id, champion_id, compared) if champion_id is not None else None
    )
    outcome: Outcome = "promoted" if not blocked else "kept" if champion_id is not None else "rejected"
    return PromotionDecision(
        outcome=outcome,
        reason=_sentence(outcome, challenger_id, champion_id, blocked or _passed(gates, challenger, compared)),
        challenger=challenger_id,
        champion=challenger_id if outcome == "promoted" else champion_id,
        previous=champion_id,
        difference=compared,
        evidence=_evidence(gates, challenger, compared),
    )


def undecided(champion_id: str | None, reason: str) -> PromotionDecision:
    """The decision where there was nothing to decide on; a champion stays."""
    return PromotionDecision("undecided", reason, None, champion_id, champion_id, None, {})


def _blocked(gates: GatesSpec, challenger: Evaluation, problem: str | None) -> str | None:
    """What stops a challenger whether or not there is a champion; None if nothing does."""
    if problem is not None:
        return problem.strip().rstrip(".") or "the evidence can't be trusted"
    unknown = [name for name, value in challenger.as_dict().items() if not isfinite(value)]
    if unknown:
        return f"its {', '.join(unknown)} on the validation rows isn't a number"
    failed = _failed_floors(gates, challenger)
    return "; ".join(failed) or None


def _failed_floors(gates: GatesSpec, challenger: Evaluation) -> list[str]:
    auc, error = challenger.auc.value, challenger.calibration_error
    floors = [  # "not >=" rather than "<": a NaN has to fail
        (auc >= gates.floor, f"its AUC of {auc:.4f} is below the floor of {gates.floor:g}"),
        (error <= gates.max_calibration_error,
         f"its calibration error of {error:.4f} is above {gates.max_calibration_error:g}"),
        (challenger.rows >= gates.min_rows,
         f"{challenger.rows} validation rows are too few (at least {gates.min_rows} are needed)"),
        (challenger.positives >= gates.min_positives,
         f"{challenger.positives} churners among them are too few (at least {gates.min_positives} are needed)"),
    ]  # fmt: skip
    return [text for passed, text in floors if not passed]


def _not_better(gates: GatesSpec, challenger: str, champion: str, difference: Interval | None) -> str | None:
    """What keeps a champion in place; None if nothing does."""
    if challenger == champion:
        return "it is the champion already"
    if difference is None:
        return "it could not be compared with the champion on the same rows"
    if not all(isfinite(value) for value in astuple(difference)):
        return "its difference from the champion isn't a number"
    if difference.lower > -gates.margin:
        return None
    return (
        f"its AUC differs from the champion's by {_ends(difference)}, so that being worse by "
        f"{gates.margin:g} or more isn't ruled out"
    )


def _passed(gates: GatesSpec, challenger: Evaluation, difference: Interval | None) -> str:
    floors = (
        f"AUC {challenger.auc.value:.4f} and calibration error {challenger.calibration_error:.4f} on "
        f"{challenger.rows} validation rows pass every floor"
    )
    if difference is None:
        return floors
    return f"{floors}, and its AUC differs from the champion's by {_ends(difference)}, above -{gates.margin:g}"


def _sentence(outcome: Outcome, challenger: str, champion: str | None, because: str) -> str:
    verdict = {
        "promoted": f"{challenger} replaces {champion}" if champion else f"{challenger} becomes the first champion",
        "kept": f"{champion} stays champion and {challenger} is not promoted",
        "rejected": f"{challenger} is not promoted and there is no champion",
    }[outcome]
    return f"{verdict}: {because}."


def _ends(difference: Interval) -> str:
    return f"{difference.value:+.4f} ({difference.lower:+.4f} to {difference.upper:+.4f})"


def _evidence(gates: GatesSpec, challenger: Evaluation, difference: Interval | None) -> dict[str, float]:
    compared = {} if difference is None else {
        "difference": difference.value, "difference_lower": difference.lower, "difference_upper": difference.upper,
    }  # fmt: skip
    limits = {f"gate_{name}": float(value) for name, value in gates.model_dump(exclude={"metric"}).items()}
    return {**challenger.as_dict(), **compared, **limits}
