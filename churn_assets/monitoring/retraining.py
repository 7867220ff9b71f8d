"""Whether a new model is wanted: decided from what the month saw, and from what was decided in the months before.

A rule is violated where a figure's whole interval lies beyond its limit. That counts for the model that the figure is
about: what an earlier champion did is settled by its successor. A champion that violates the same rule in k of the last
n months, the newest included, is to be replaced; one that is too old at once.

A training helps once it learns from what has changed, so it is wanted in the first month whose labels allow that. After
an order none follows until its model has been judged.

A column that is broken at the source wants no training: a model would learn the mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from churn_assets.learning.evaluation import Interval
from churn_assets.monitoring.figures import CHAMPION, Figure, difference
from churn_assets.monitoring.realised import Realised
from churn_assets.months import Calendar, Month, month_range
from churn_assets.spec.learning import GatesSpec
from churn_assets.spec.monitoring import RetrainSpec

Outcome = Literal["keep", "retrain", "wait", "mend_data"]
"""The champion is kept; a training is to be ordered; one is wanted, and under way; the source is to be mended first."""

Rule = Literal["auc", "floor", "calibration", "rate", "jump", "drift", "age", "data"]
OF_OUTCOMES: tuple[Rule, ...] = ("auc", "floor", "calibration", "rate")
"""Rules about predictions whose outcome is known."""
TOLD: tuple[Rule, ...] = (*OF_OUTCOMES, "jump")
"""Rules by which predictions turned out worse than people should go on without knowing."""
COUNTED: tuple[Rule, ...] = (*OF_OUTCOMES, "drift")
"""Rules that have to be violated in several months."""


@dataclass(frozen=True)
class Evidence:
    """One figure beside its limit.

    Attributes:
        rule: what it is judged by.
        found: the figure; None where words say it all.
        limit: of ``auc``, which is the realised less the promised one, and ``floor`` the least that it may be; of
            others the most; None where there is none.
        violated: whether it lies beyond the limit, by more than chance explains.
        about: the model that it was found of.
        words: the finding as a part of a sentence.
        lower, upper: the figure's interval, if it has one.
    """

    rule: Rule
    found: float | None
    limit: float | None
    violated: bool
    about: str
    words: str
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Seen:
    """What a month saw.

    Attributes:
        champion: the model that scores customers as of the month; None if there is none.
        trained: the month that it was trained in.
        moved: features that have moved away from what it learned from, and their shares of its importance.
        broken: a sentence's part for each column that is broken at the source.
        realised: what became of the predictions whose outcome has just become known; None if there are none.
    """

    champion: str | None = None
    trained: Month | None = None
    moved: Mapping[str, float] = field(default_factory=dict)
    broken: Sequence[str] = ()
    realised: Realised | None = None


@dataclass(frozen=True)
class RetrainDecision:
    """What a month's monitoring comes to.

    Attributes:
        outcome: see ``Outcome``.
        reason: why, in sentences for people.
        evidence: all figures that were looked at.
        champion: the model that it is about.
        trained: the month that the champion was trained in.
        learn_in: the month in which a training is wanted; None if none is.
        quiet_until: the last month that may order no further training; None if this one orders none.
    """

    month: str
    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...] = ()
    champion: str | None = None
    trained: str | None = None
    learn_in: str | None = None
    quiet_until: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether a new model is wanted."""
        return self.outcome in ("retrain", "wait")

    @property
    def acts(self) -> bool:
        """Whether a training is to be ordered."""
        return self.outcome == "retrain"

    @property
    def remembered(self) -> list[Any]:
        """All that decisions of later months depend on."""
        violated = sorted([e.rule, e.about] for e in self.evidence if e.violated)
        rates = [[e.found, e.lower, e.upper] for e in self.evidence if e.rule == "rate"]
        return [self.outcome, self.champion, self.learn_in, self.quiet_until, violated, rates]

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON keeps it."""
        return {**asdict(self), "wanted": self.wanted, "acts": self.acts}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> RetrainDecision:
        """The decision that ``as_dict`` has kept."""
        own = {name: value for name, value in kept.items() if name not in ("wanted", "acts")}
        return cls(**{**own, "evidence": tuple(Evidence(**one) for one in kept["evidence"])})


@dataclass(frozen=True)
class _Violation:
    """A rule that a champion has violated often enough; ``since``: the first snapshot by which it did, if it is one."""

    words: str
    since: Month | None = None


@dataclass(frozen=True)
class Rules:
    """What decides in a pipeline."""

    spec: RetrainSpec
    gates: GatesSpec
    calendar: Calendar


def decide(month: Month, seen: Seen, earlier: Sequence[RetrainDecision], rules: Rules) -> RetrainDecision:
    """Whether the champion of ``month`` is to be replaced by one that is trained anew.

    Args:
        earlier: the decisions of the months before, as far as the calendar's window reaches.
    """
    if seen.champion is None or seen.trained is None:
        return RetrainDecision(str(month), "keep", "There is no champion yet, and a model is trained until there is.")
    before = {Month.parse(one.month): one for one in earlier}
    evidence = tuple(_evidence(month, seen, before, rules))
    found = RetrainDecision(str(month), "keep", "", evidence, seen.champion, str(seen.trained))
    if seen.broken:
        return replace(found, outcome="mend_data", reason=_mend(seen.broken))
    violations = list(_violations(month, found, before, rules))
    if not violations:
        return replace(found, reason=_kept(found, rules.spec))
    return _wanted(month, found, violations, earlier, rules)


def _evidence(month: Month, seen: Seen, before: Mapping[Month, RetrainDecision], rules: Rules) -> Iterator[Evidence]:
    champion, spec = str(seen.champion), rules.spec
    # What was predicted of broken data says nothing of the model; features look back on it for a while.
    read = rules.calendar.trailing(month - rules.calendar.horizon, rules.calendar.lookback)
    if seen.realised and not any(m in before and before[m].outcome == "mend_data" for m in read):
        yield from _judged(seen.realised, before.get(month - 1), rules)
    share = sum(seen.moved.values())
    yield Evidence("drift", share, spec.drift_share, share > spec.drift_share, champion, _moved(seen.moved, share))
    if seen.trained:
        age = month - seen.trained
        too_old = bool(spec.max_age) and age >= spec.max_age
        words = f"it was trained in {seen.trained}, {_counted(age, 'month')} ago"
        yield Evidence("age", age, spec.max_age or None, too_old, champion, words)
    for words in seen.broken:
        yield Evidence("data", None, None, True, champion, words)


def _judged(realised: Realised, before: RetrainDecision | None, rules: Rules) -> Iterator[Evidence]:
    """What the outcome says of the model that had scored the customers; too few of them violate nothing."""
    gates = rules.gates
    enough = realised.known >= gates.min_rows and realised.left >= gates.min_positives
    auc, error = realised.of(CHAMPION, "auc"), realised.of(CHAMPION, "calibration_error")
    if auc:
        if auc.promised is not None:
            yield _beside_promise(auc, enough, rules.spec.auc_margin)
        words = f"its AUC came out at {auc.value:.3f}, and the floor is {gates.floor:g}"
        below = enough and _ends(auc).upper < gates.floor
        yield Evidence("floor", auc.value, gates.floor, below, auc.model, words, auc.lower, auc.upper)
    if error:
        words, most = f"its predictions were {error.value:.2%} off on average", gates.max_calibration_error
        above = enough and _ends(error).lower > most
        yield Evidence("calibration", error.value, most, above, error.model, words, error.lower, error.upper)
    for rate in _rate(realised, enough, rules.spec.max_rate_ratio):
        yield rate
        yield from _jump(rate, before, enough, rules.spec.max_jump)


def _beside_promise(auc: Figure, enough: bool, margin: float) -> Evidence:
    """What was realised less what was promised."""
    promised = _ends(auc, "promised")
    missed = difference(_ends(auc), promised)
    words = f"its AUC came out at {auc.value:.3f} where {promised.value:.3f} was promised"
    return Evidence("auc", missed.value, -margin, enough and missed.upper < -margin, auc.model, words,
                    missed.lower, missed.upper)  # fmt: skip


def _rate(realised: Realised, enough: bool, most: float) -> Iterator[Evidence]:
    """How many times as many left as were predicted."""
    rate, level = realised.of(CHAMPION, "rate"), realised.of(CHAMPION, "level")
    if rate is None or level is None or (predicted := rate.value + level.value) <= 0:
        return
    low, high = _ends(rate).lower / predicted, _ends(rate).upper / predicted
    words = f"{rate.value:.2%} left where it had predicted {predicted:.2%}"
    beyond = enough and (low > most or high < 1 / most)
    yield Evidence("rate", rate.value / predicted, most, beyond, rate.model, words, low, high)


def _jump(rate: Evidence, before: RetrainDecision | None, enough: bool, most: float) -> Iterator[Evidence]:
    """The same beside the month before: a season comes by degrees, a shock does not."""
    last = next((e for e in before.evidence if e.rule == "rate"), None) if before else None
    now, then = (_logarithm(one) for one in (rate, last))
    if now is None or then is None or last is None:
        return
    grown = difference(now, then)
    words = f"{rate.found:.2f} times as many left as it had predicted, after {last.found:.2f} times in the month before"
    yield Evidence("jump", math.exp(grown.value), most, enough and math.exp(grown.lower) > most, rate.about, words,
                   math.exp(grown.lower), math.exp(grown.upper))  # fmt: skip


def _logarithm(ratio: Evidence | None) -> Interval | None:
    """The logarithm of a ratio with its interval; None where there is none."""
    if ratio is None or not (ratio.found and ratio.lower and ratio.upper):
        return None
    return Interval(math.log(ratio.found), math.log(ratio.lower), math.log(ratio.upper))


def _ends(figure: Figure, what: Literal["value", "promised"] = "value") -> Interval:
    """A figure, or what was promised of it, with its interval; without one it may be anything."""
    before = "" if what == "value" else "promised_"
    lower, upper = getattr(figure, f"{before}lower"), getattr(figure, f"{before}upper")
    return Interval(getattr(figure, what), -math.inf if lower is None else lower, math.inf if upper is None else upper)


def _moved(moved: Mapping[str, float], share: float) -> str:
    if not moved:
        return "no feature has moved away from what it learned from"
    return f"features that carry {share:.0%} of its importance have moved: {_some(_by_share(moved))}"


def _by_share(moved: Mapping[str, float]) -> list[str]:
    return sorted(moved, key=lambda name: (-moved[name], name))


def _violations(
    month: Month, found: RetrainDecision, before: Mapping[Month, RetrainDecision], rules: Rules
) -> Iterator[_Violation]:
    now = {e.rule: e for e in found.evidence if e.violated and e.about == found.champion}
    if "age" in now:
        yield _Violation(f"It is too old: {now['age'].words}.")
    newest = month_range(month - (rules.spec.of_months - 1), month - 1)
    for rule in (rule for rule in COUNTED if rule in now):
        own = [m for m in newest if m in before and _violated(before[m], rule, found.champion)]
        if len(own) + 1 >= rules.spec.violations:
            since = (*own, month)[0] - (rules.calendar.horizon if rule in OF_OUTCOMES else 0)
            yield _Violation(_often(now[rule].words, (*own, month), rules.spec), since)


def _violated(decision: RetrainDecision, rule: Rule, champion: str | None) -> bool:
    """Whether ``champion`` violated ``rule`` in the month of ``decision``, on data that were as they should be."""
    told = any(e.violated and e.rule == rule and e.about == champion for e in decision.evidence)
    return told and decision.outcome != "mend_data"


def _often(words: str, months: Sequence[Month], spec: RetrainSpec) -> str:
    told = f"{words[0].upper()}{words[1:]}"
    if len(months) == 1:
        return f"{told}."
    return f"{told}; the like in {len(months)} of the last {spec.of_months} months ({', '.join(map(str, months))})."


def _mend(broken: Sequence[str]) -> str:
    return (
        f"Look at the source first: {_some(broken)}. A model that is trained on it would learn the mistake, so none is "
        "ordered. Deliver the month again once it is mended; if it is meant to be so, order a training by hand."
    )


def _kept(found: RetrainDecision, spec: RetrainSpec) -> str:
    about = [e for e in found.evidence if e.about == found.champion]
    if once := [e.words for e in about if e.violated and e.rule != "jump"]:
        often = f"{spec.violations} of {_counted(spec.of_months, 'month')}"
        return f"The champion stays for now: {_some(once)}. That has to show in {often}."
    if sudden := [e.words for e in found.evidence if e.violated and e.rule == "jump"]:
        return f"The champion stays for now: {_some(sudden)}. Only if it lasts, a new model is wanted."
    if any(e.violated for e in found.evidence):
        return "The champion stays: an earlier one was worse than it promised, and its successor has yet to be judged."
    if any(e.rule in OF_OUTCOMES for e in about):
        return "The champion stays: it does what it promised, and little of what it goes by has moved."
    return "The champion stays: little of what it goes by has moved. Of its own predictions no outcome is known yet."


def _wanted(
    month: Month, found: RetrainDecision, violations: Sequence[_Violation], earlier: Sequence[RetrainDecision],
    rules: Rules,
) -> RetrainDecision:  # fmt: skip
    """The decision where a model is wanted: whether a training is to be ordered, and for which month."""
    calendar, told = rules.calendar, " ".join(one.words for one in violations)
    changed = min((one.since for one in violations if one.since), default=None)
    learn_in = max(month, calendar.taught_by(max(changed, calendar.start))) if changed else month
    later = f", the first whose model learns from {changed}" if changed and learn_in > month else ""
    found = replace(found, outcome="wait", learn_in=str(learn_in))
    if calendar.end and learn_in > calendar.end:
        return replace(found, reason=f"{told} No month is left to train in: the pipeline ends in {calendar.end}.")
    if calendar.due_by(learn_in) == learn_in:
        every = "every month" if calendar.train_every == 1 else f"in {learn_in}{later}"
        return replace(found, reason=f"{told} A model is trained {every} anyway, so none is ordered.")
    if ordered := [one for one in earlier if one.quiet_until and Month.parse(one.quiet_until) >= month]:
        last = ordered[-1]
        return replace(found, learn_in=last.learn_in, reason=f"{told} A training was wanted by {last.month} for "
                       f"{last.learn_in}; none is ordered before {last.quiet_until} is over.")  # fmt: skip
    # What the new model predicts in its first month is known h months later.
    quiet = max(month + rules.spec.cool_down, learn_in + calendar.horizon - 1)
    reason = f"{told} A new model is to be trained in {learn_in}{later}."
    return replace(found, outcome="retrain", reason=reason, quiet_until=str(quiet))


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
