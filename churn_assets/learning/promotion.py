"""Whether a challenger may score customers. Every rule fails closed: what isn't shown counts against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from math import isfinite
from typing import Literal

import polars as pl

from churn_assets.learning.evaluation import Evaluation, Interval
from churn_assets.spec.learning import GatesSpec

Outcome = Literal["promoted", "kept", "rejected", "undecided"]
Rule = Literal["evidence", "floors", "margin", "approval", "verdict", "tracking", "calendar", "none"]
GATE = "gate"
_NO_LIMITS = {"metric", "approval", "approval_from"}
"""What is said of the gates and is no limit of a figure."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a challenger, of what it would replace, and of the baseline, all on the same rows.

    Attributes:
        challenger: its figures; None, with a ``problem``, where it couldn't be judged.
        champion: figures of the champion, if there is one and it could be judged.
        baseline: figures of the first candidate.
        difference: challenger minus champion in the gates' metric, in the metric's own unit.
        profit: expected profit of each of the three, by their names here, where profit decides.
        problem: why the evidence can't be trusted, such as "the champion can't be loaded".
    """

    challenger: Evaluation | None
    champion: Evaluation | None = None
    baseline: Evaluation | None = None
    difference: Interval | None = None
    profit: Mapping[str, float] = field(default_factory=dict)
    problem: str | None = None

    def figures(self) -> dict[str, float]:
        """All figures by name; those of the champion and the baseline begin with whose they are."""
        found = self.challenger.as_dict() if self.challenger else {}
        for whose, evaluation in (("champion", self.champion), ("baseline", self.baseline)):
            found |= {f"{whose}_{name}": value for name, value in evaluation.as_dict().items()} if evaluation else {}
        found |= {"profit" if whose == "challenger" else f"{whose}_profit": v for whose, v in self.profit.items()}
        ends = zip(("difference", "difference_lower", "difference_upper"), astuple(self.difference), strict=True) \
            if self.difference else ()  # fmt: skip
        return {**found, **dict(ends)}


@dataclass(frozen=True)
class Verdict:
    """What a person says about a month; ``model`` is the one to promote or to go back to, none to reject."""

    action: Literal["promote", "reject", "rollback"]
    model: str | None
    by: str
    why: str

    @property
    def words(self) -> str:
        """The verdict as it stands in a reason."""
        said = {"promote": "promoted", "reject": "rejected", "rollback": "rolled back"}[self.action]
        return f"{said} by {self.by}: {self.why.strip().rstrip('.')}"


@dataclass(frozen=True)
class PromotionDecision:
    """What became of a challenger, and why.

    ``promoted``: another champion than before. ``kept``: the champion stays. ``rejected``: there is no champion, and
    the challenger may not become the first. ``undecided``: no challenger could be trained; a champion stays.

    Attributes:
        challenger: id of the model that was judged.
        champion: id of the champion after this decision.
        previous: id of the champion before it.
        rule: what decided: missing ``evidence``, the ``floors``, the ``margin``, that a person's ``approval`` is
            awaited, a person's ``verdict``, that the ``tracking`` server couldn't be reached, or the ``calendar``, by
            which no model was due.
        metric: what the difference is measured in.
        difference: challenger minus champion on the same rows.
        evidence: every figure and every limit (``gate_*``) that the decision stands on.
        decided_by: ``gate``, or the person.
        gate: what the gate alone had decided.
        pending: why the month's next run decides anew, if it does.
    """

    outcome: Outcome
    reason: str
    challenger: str | None
    champion: str | None
    previous: str | None
    rule: Rule = "none"
    metric: str = "auc"
    difference: Interval | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    decided_by: str = GATE
    gate: str = ""
    pending: str = ""

    @property
    def awaiting(self) -> str | None:
        """The challenger that passes every gate and waits for a person, if this one does."""
        return self.challenger if self.rule == "approval" else None


def decide(
    gates: GatesSpec, challenger: str, champion: str | None, evidence: Evidence, waits: bool = False
) -> PromotionDecision:
    """The gate's decision on a challenger; never raises.

    The floors (AUC, lift, calibration error, size of evidence) hold for every challenger; the first champion needs
    nothing else. A champion gives way only if the whole interval of the difference lies above ``-gates.margin``; where
    profit decides, the margin is a share of the champion's profit. A figure that is no finite number, a missing
    difference, or a problem never promotes. What would be promoted may have to wait for a person, the first champion
    included.

    Args:
        gates: the limits.
        challenger: its id.
        champion: id of the champion that it would replace, if there is one.
        evidence: what both showed on the validation rows.
        waits: whether a person has to promote what passes every gate.
    """
    if champion is None:
        evidence = replace(evidence, champion=None, difference=None)
    rule, obstacle = _obstacle(gates, challenger, champion, evidence)
    if waits and not obstacle:
        rule, obstacle = "approval", f"it passes every gate and waits for a person ({_passed(gates, evidence)})"
    outcome: Outcome = "promoted" if not obstacle else "kept" if champion is not None else "rejected"
    reason = _sentence(outcome, challenger, champion, obstacle or _passed(gates, evidence))
    return PromotionDecision(
        outcome=outcome,
        reason=reason,
        challenger=challenger,
        champion=challenger if outcome == "promoted" else champion,
        previous=champion,
        rule=rule,
        metric=gates.metric,
        difference=evidence.difference,
        evidence={**evidence.figures(), **_limits(gates, evidence)},
        gate=f"{outcome}: {reason}",
    )


def stays(champion: str, reason: str) -> PromotionDecision:
    """The decision of a month in which no model is due: the champion stays."""
    return PromotionDecision("kept", reason, None, champion, champion, "calendar", gate=f"kept: {reason}")


def undecided(champion: str | None, reason: str) -> PromotionDecision:
    """The decision where there was no challenger; a champion stays."""
    return PromotionDecision("undecided", reason, None, champion, champion, gate=f"undecided: {reason}")


def overruled(
    decision: PromotionDecision, verdict: Verdict, judged: Evaluation | None, problem: str | None = None
) -> PromotionDecision:
    """The gate's decision with a person's verdict over it; both stand in the reason.

    A person may overrule floors and margin. A verdict on a model that can't be had or judged is refused, and the gate's
    decision holds: nothing may score customers that couldn't be judged.

    Args:
        decision: the gate's.
        verdict: the person's.
        judged: figures of the verdict's model on the validation rows.
        problem: why there are none.
    """
    wanted = decision.previous if verdict.action == "reject" else verdict.model
    if verdict.action != "reject" and (judged is None or _unknown(judged.as_dict())):
        because = (problem or "it could not be judged on the validation rows").strip().rstrip(".")
        refused = f"The verdict ({verdict.words}) can't be carried out: {because}."
        return replace(decision, reason=f"{refused} The gate decides: {decision.reason}")
    shown = {f"verdict_{name}": value for name, value in judged.as_dict().items()} if judged else {}
    outcome: Outcome = "rejected" if wanted is None else "kept" if wanted == decision.previous else "promoted"
    stands = "there is no champion" if wanted is None else f"{wanted} is champion"
    return replace(
        decision,
        outcome=outcome,
        champion=wanted,
        rule="verdict",
        decided_by=verdict.by,
        evidence={**decision.evidence, **shown},
        reason=f"{verdict.words[0].upper()}{verdict.words[1:]}; {stands}. The gate had {decision.gate}",
    )


def postponed(decision: PromotionDecision, problem: str) -> PromotionDecision:
    """The decision while it can't be tracked: whatever it was, the champion before it stays for the time being."""
    outcome: Outcome = "kept" if decision.previous is not None else "rejected"
    stays = f"{decision.previous} stays champion" if decision.previous is not None else "there is no champion"
    return replace(
        decision,
        outcome=outcome,
        champion=decision.previous,
        rule="tracking",
        pending=problem,
        reason=f"{problem.strip().rstrip('.')}; it will be decided again on the next run, until then {stays}. Without "
        f"that, it would be {decision.outcome}: {decision.reason}",
    )


def as_row(decision: PromotionDecision) -> pl.DataFrame:
    """The decision as a row of the table ``promotions``; its evidence is JSON, in which null is no finite number."""
    difference = decision.difference
    known = {name: value if isfinite(value) else None for name, value in sorted(decision.evidence.items())}
    texts = ("challenger", "champion", "previous")
    return pl.DataFrame(
        [
            {
                **{name: getattr(decision, name) for name in ("outcome", "reason", *texts, "rule", "metric")},
                "difference": difference.value if difference else None,
                "difference_lower": difference.lower if difference else None,
                "difference_upper": difference.upper if difference else None,
                "decided_by": decision.decided_by,
                "gate": decision.gate,
                "evidence": json.dumps(known),
            }
        ],
        schema_overrides={
            **dict.fromkeys(texts, pl.String()),
            **dict.fromkeys(("difference", "difference_lower", "difference_upper"), pl.Float64()),
        },
    )


def _obstacle(gates: GatesSpec, challenger: str, champion: str | None, found: Evidence) -> tuple[Rule, str | None]:
    """The rule that decides, and what keeps the challenger from being promoted; None if nothing does."""
    if missing := _missing(gates, champion, found):
        return "evidence", missing
    assert found.challenger is not None  # or it would be missing
    if failed := _failed_floors(gates, found.challenger):
        return "floors", "; ".join(failed)
    if champion is None:
        return "floors", None
    return "margin", "it is the champion already" if challenger == champion else _not_better(gates, found)


def _missing(gates: GatesSpec, champion: str | None, found: Evidence) -> str | None:
    """What the evidence lacks; None if it is complete."""
    if found.problem is not None:
        return found.problem.strip().rstrip(".") or "the evidence can't be trusted"
    if found.challenger is None:
        return "it could not be judged on the validation rows"
    shown = found.challenger.as_dict()
    if gates.metric == "profit":
        shown["profit"] = found.profit.get("challenger", float("nan"))
    if unknown := _unknown(shown):
        return f"its {', '.join(unknown)} on the validation rows isn't a number"
    if champion is None:
        return None
    if found.difference is None:
        return "it could not be compared with the champion on the same rows"
    if not all(isfinite(value) for value in (*astuple(found.difference), _margin(gates, found))):
        return "its difference from the champion isn't a number"
    return None


def _unknown(figures: Mapping[str, float]) -> list[str]:
    """The figures that are no finite numbers."""
    return [name for name, value in figures.items() if not isfinite(value)]


def _failed_floors(gates: GatesSpec, challenger: Evaluation) -> list[str]:
    auc, error, lift = challenger.auc.value, challenger.calibration_error, challenger.top_decile_lift
    floors = [  # "not >=" rather than "<": a NaN has to fail
        (auc >= gates.floor, f"its AUC of {auc:.4f} is below the floor of {gates.floor:g}"),
        (lift >= gates.min_lift, f"its lift of {lift:.2f} in the top tenth is below {gates.min_lift:g}"),
        (error <= gates.max_calibration_error,
         f"its calibration error of {error:.4f} is above {gates.max_calibration_error:g}"),
        (challenger.rows >= gates.min_rows,
         f"{challenger.rows} validation rows are too few (at least {gates.min_rows} are needed)"),
        (challenger.positives >= gates.min_positives,
         f"{challenger.positives} churners among them are too few (at least {gates.min_positives} are needed)"),
    ]  # fmt: skip
    return [text for passed, text in floors if not passed]


def _margin(gates: GatesSpec, found: Evidence) -> float:
    """How much worse than the champion may not be ruled out, in the metric's own unit."""
    if gates.metric == "auc":
        return gates.margin
    profit = found.profit.get("champion", float("nan"))
    return 0.0 if profit <= 0 else gates.margin * profit


def _not_better(gates: GatesSpec, found: Evidence) -> str | None:
    """What keeps a champion in place; None if nothing does."""
    assert found.difference is not None  # or it would be missing
    margin = _margin(gates, found)
    if found.difference.lower > -margin:
        return None
    return (
        f"its {_metric(gates)} differs from the champion's by {_ends(gates, found.difference)}, so that being worse by "
        f"{_figure(gates, margin)} or more isn't ruled out"
    )


def _passed(gates: GatesSpec, found: Evidence) -> str:
    shown = found.challenger
    assert shown is not None  # nothing is promoted without
    floors = (
        f"AUC {shown.auc.value:.4f}, lift {shown.top_decile_lift:.2f} and calibration error "
        f"{shown.calibration_error:.4f} on {shown.rows} validation rows pass every floor"
    )
    if found.difference is None:
        return floors
    return (
        f"{floors}, and its {_metric(gates)} differs from the champion's by {_ends(gates, found.difference)}, above "
        f"-{_figure(gates, _margin(gates, found))}"
    )


def _sentence(outcome: Outcome, challenger: str, champion: str | None, because: str) -> str:
    verdict = {
        "promoted": f"{challenger} replaces {champion}" if champion else f"{challenger} becomes the first champion",
        "kept": f"{champion} stays champion and {challenger} is not promoted",
        "rejected": f"{challenger} is not promoted and there is no champion",
    }[outcome]
    return f"{verdict}: {because}."


def _metric(gates: GatesSpec) -> str:
    return {"auc": "AUC", "profit": "expected profit"}[gates.metric]


def _figure(gates: GatesSpec, value: float) -> str:
    return f"{value:g}" if gates.metric == "auc" else f"{value:,.2f}"


def _ends(gates: GatesSpec, difference: Interval) -> str:
    form = "+.4f" if gates.metric == "auc" else "+,.2f"
    return f"{difference.value:{form}} ({difference.lower:{form}} to {difference.upper:{form}})"


def _limits(gates: GatesSpec, found: Evidence) -> dict[str, float]:
    limits = {f"gate_{name}": float(value) for name, value in gates.model_dump(exclude=_NO_LIMITS).items()}
    return {**limits, "gate_margin": _margin(gates, found)} if found.difference else limits
