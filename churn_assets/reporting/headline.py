"""The headline: four figures, the month in a few sentences, and what needs attention, the most urgent first."""

from __future__ import annotations

from collections.abc import Iterator

from churn_assets.monitoring.report import Concern, Level, Tile
from churn_assets.reporting import contacts, drift, quality
from churn_assets.reporting.decisions import OUTCOMES, RETRAIN
from churn_assets.reporting.recorded import Recorded
from churn_assets.reporting.wording import UNKNOWN, counted, model_name, month_name, number, percent
from churn_assets.verdicts import promote_command, reject_command

_TOLD_ELSEWHERE = ("features_stable", "realised_quality", "retrain", "columns_whole", "champion_stands")
"""Checks whose findings stand in a concern of their own."""


def tiles(of: Recorded) -> tuple[Tile, ...]:
    """Customers, leavers, the champion and the list, in a figure each."""
    return _customers(of), _left(of), _model(of), _contacts(of)


def summary(of: Recorded) -> tuple[str, ...]:
    """The month in a few sentences."""
    told = [_who_left(of), _who_scores(of)]
    if of.watched is not None:
        told.append(quality.in_words(of))
    told += [contacts.this_list(of), contacts.earlier_list(of)]
    return tuple(sentence for sentence in told if sentence)


def concerns(of: Recorded) -> tuple[Concern, ...]:
    """What needs attention; what somebody has to do comes before what somebody should know."""
    found = list(_concerns(of))
    return tuple(sorted(found, key=lambda concern: concern.level != "act"))


def _customers(of: Recorded) -> Tile:
    if of.pipeline.spec.events:
        return Tile("Customers", number(of.count("features")), "active at the end of the month")
    return Tile("Customers", number(of.count("validated_data")), "active at the start of the month")


def _left(of: Recorded) -> Tile:
    if of.leavers is not None:
        left, customers = of.leavers
        return Tile("Left", number(left), f"{percent(left / customers)} of the customers" if customers else "")
    if rate := of.figure("realised_rate"):
        return Tile("Left", percent(rate["value"]), f"of the customers of {month_name(rate['subject'])}")
    return Tile("Left", UNKNOWN, "not known yet")


def _model(of: Recorded) -> Tile:
    auc = of.figure("realised_auc")
    if auc is not None:
        promise = {True: "as promised", False: "less than promised", None: "nothing was promised"}
        promised = "not all promises kept" if auc["kept"] and quality.broken(of) else promise[auc["kept"]]
        return Tile("Quality of the predictions", f"AUC {number(auc['value'], 2)}",
                    f"{promised}; {month_name(auc['subject'])}")  # fmt: skip
    if of.champion is None:
        return Tile("Quality of the predictions", UNKNOWN, "no model scores customers yet")
    return Tile("Quality of the predictions", UNKNOWN, f"no outcome is known yet; {model_name(of.champion)}")


def _contacts(of: Recorded) -> Tile:
    record = of.record("retention_list")
    if record is None or not record.files:
        return Tile("To contact", UNKNOWN, "there is no list")
    told = record.facts
    return Tile("To contact", number(told["contacts"]),
                f"{number(told['held_out'])} held out; costs {of.amount(told['cost'])}")  # fmt: skip


def _who_left(of: Recorded) -> str:
    rate = of.figure("realised_rate")
    if of.leavers is not None and of.leavers[1]:
        left, customers = of.leavers
        told = f"{number(left)} of {number(customers)} customers left ({percent(left / customers)})"
        # What was predicted is about more months than this one where the horizon is longer.
        if rate and of.pipeline.calendar.horizon == 1:
            told += f"; of those who had been scored, {percent(rate['value'])} did{_against_predicted(of)}"
        return f"{told}."
    if rate:
        return (
            f"{percent(rate['value'])} of the customers of {month_name(rate['subject'])} left{_against_predicted(of)}."
        )
    return ""


def _against_predicted(of: Recorded) -> str:
    level = of.figure("realised_level")
    if level is None:
        return ""
    if level["kept"]:
        return ", as many as predicted"
    points = number(abs(level["value"]) * 100, 1)
    return f", {points} percentage points {'fewer' if level['value'] > 0 else 'more'} than predicted"


def _who_scores(of: Recorded) -> str:
    if of.decision is None:
        return ""
    if of.champion is None:
        return f"{OUTCOMES[of.decision['outcome']]}: nobody is scored."
    return f"{OUTCOMES[of.decision['outcome']]}: customers are scored by the {model_name(of.champion)}."


def _concerns(of: Recorded) -> Iterator[Concern]:
    yield from _of_the_run(of)
    yield from _of_model(of)
    yield from _of_predictions(of)
    yield from _of_checks(of)
    if aside := of.facts("validated_data").get("quarantined"):
        way = f"Mend them with `churn quarantine export --month {of.month}{of.pipeline.option}`, or leave them out."
        yield Concern("look", f"{counted(aside, 'row')} broke a rule and {_is(aside)} set aside.", way)


def _of_the_run(of: Recorded) -> Iterator[Concern]:
    """What the month lacks."""
    again = f"`{of.pipeline.lake.remedy.format(first=of.month, last=of.month)}`"
    if of.lacking:
        yield Concern("act", f"The month isn't whole: {_listed(of.lacking)} {_is(len(of.lacking))} missing.",
                      f"Look at the month's last run in the Dagster UI, then run {again}.")  # fmt: skip
    elif of.watched is None:
        yield Concern("act", "Monitoring hasn't seen the month: drift and quality aren't known.", f"Run {again}.")


def _of_predictions(of: Recorded) -> Iterator[Concern]:
    if missed := quality.broken(of):
        yield Concern("look", f"The champion has not kept what it promised: {'; '.join(missed)}.")
    if told := drift.concern(of):
        yield Concern("look", told)


def _of_checks(of: Recorded) -> Iterator[Concern]:
    """What checks have found that no other concern tells."""
    elsewhere = {*_TOLD_ELSEWHERE, *(("calibrated",) if quality.broken(of) else ())}
    for stage in (*of.made, "monitoring"):
        more = f"`churn why run {of.month} {stage}{of.pipeline.option}` has the whole story."
        for check in of.checks(stage):
            if not check["passed"] and check["name"] not in elsewhere:
                yield Concern("look", f"{stage.replace('_', ' ').capitalize()}: {check['reason']}", more)


def _of_model(of: Recorded) -> Iterator[Concern]:
    """What becomes of the model: whether there is one, who has to approve of it, whether a new one is wanted."""
    if of.decision is not None and of.champion is None:
        blocked = any(c["name"] == "champion_stands" and not c["passed"] for c in of.checks("model"))
        told = f"No model scores customers, so that there is no list. {of.decision['reason']}"
        yield Concern("act" if blocked else "look", told)
    waits = of.facts("promotions").get("awaiting")
    if waits:
        ways = f"`{promote_command(of.pipeline, of.month, str(waits))}`, or `{reject_command(of.pipeline, of.month)}`."
        yield Concern("act", f"The {model_name(waits)} passes every gate and waits for a person's approval.", ways)
    retrain = of.retrain
    if retrain and retrain["outcome"] != "keep":
        level: Level = "act" if retrain["outcome"] == "mend_data" else "look"
        more = f"`churn why retrain {of.month}{of.pipeline.option}` has the evidence."
        told = retrain["reason"] if level == "act" else f"{RETRAIN[retrain['outcome']]} {retrain['reason']}"
        yield Concern(level, told, more)


def _listed(names: tuple[str, ...]) -> str:
    told = [name.replace("_", " ") for name in names]
    return f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]


def _is(number_of: int) -> str:
    return "is" if number_of == 1 else "are"
