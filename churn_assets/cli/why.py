"""churn why ...: why this champion, this customer, a new model, this month of a stage, from what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from churn_assets.cli.terminal import PipelineOption, console, open_pipeline
from churn_assets.months import Month

if TYPE_CHECKING:
    from churn_assets.monitoring.retraining import Evidence
    from churn_assets.pipeline import Pipeline
    from churn_assets.retraining import Ordered
    from churn_assets.why import CustomerWhy, ModelWhy, RetrainWhy, RunWhy
    from churn_assets.why.customer import Place, Score, Value
    from churn_assets.why.model import Decision, Limit
    from churn_assets.why.retrain import PastDecision

FEATURES_SHOWN = 10
"""Features of the champion's importance that are shown."""

_DECIDED = {
    "keep": "the champion stays", "retrain": "a new model is wanted", "wait": "a new model is wanted, and under way",
    "mend_data": "the data are to be mended first",
}  # fmt: skip

LEAST = 0.005
"""Log-odds below which a feature isn't shown by itself: they round to nothing."""

JsonOption = Annotated[bool, typer.Option("--json", help="Everything as JSON, for machines.")]

why = typer.Typer(help="Why a model, a customer's place, or a run: from what was recorded.", no_args_is_help=True)


@why.command()
def model(
    month: Annotated[str, typer.Argument(help="The month, YYYY-MM.")],
    as_json: JsonOption = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Why this model is the champion as of a month: the decision, its figures and limits, and those before."""
    from churn_assets.why import why_model

    found = why_model(open_pipeline(pipeline), Month.parse(month))
    if as_json:
        _print_json(found)
    else:
        _print_model(found)


@why.command()
def customer(
    customer_id: Annotated[str, typer.Argument(help="The customer's id.")],
    month: Annotated[str, typer.Option(help="The month, YYYY-MM; the newest scored one if not given.")] = "",
    as_json: JsonOption = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Why a customer is on a month's list or isn't, what makes the probability, and what happened afterwards."""
    from churn_assets.why import why_customer

    found = why_customer(open_pipeline(pipeline), customer_id, Month.parse(month) if month else None)
    if as_json:
        _print_json(found)
    else:
        _print_customer(found)


@why.command()
def retrain(
    month: Annotated[str, typer.Argument(help="The month, YYYY-MM.")],
    as_json: JsonOption = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Why a new model is wanted in a month, or isn't: figures and limits, the months before, and what was ordered."""
    from churn_assets.why import why_retrain

    found = why_retrain(open_pipeline(pipeline), Month.parse(month))
    if as_json:
        _print_json(found)
    else:
        _print_retrain(found)


@why.command()
def run(
    month: Annotated[str, typer.Argument(help="The month, YYYY-MM.")],
    stage: Annotated[str, typer.Argument(help="The stage; a line for each if not given.")] = "",
    as_json: JsonOption = False,
    pipeline: PipelineOption = "churn",
) -> None:
    """Why a month of a stage stands as it does: what it was made from, what changed, and what its checks said."""
    from churn_assets.why import why_run
    from churn_assets.why.run import why_runs

    opened = open_pipeline(pipeline)
    codes = _codes(opened)
    if not stage:
        every = why_runs(opened, Month.parse(month), codes)
        if as_json:
            _print_json(every)
        else:
            _print_runs(month, every)
        return
    found = why_run(opened, Month.parse(month), stage, codes)
    if as_json:
        _print_json(found)
    else:
        _print_run(found)


def _codes(pipeline: Pipeline) -> dict[str, str]:
    from churn_assets.assets import ALL

    return {name: stage.code(pipeline) for name, stage in ALL.items()}


def _print_json(found: Any) -> None:
    from pydantic_core import to_json

    plain = (
        {name: asdict(one) if one else None for name, one in found.items()}
        if isinstance(found, dict)
        else asdict(found)
    )
    typer.echo(to_json(plain, indent=1, inf_nan_mode="null", fallback=str).decode())


def _print_model(found: ModelWhy) -> None:
    _title(f"{found.pipeline} {found.month}: {found.champion or 'there is no champion'}")
    decision = found.decision
    _say(f"{decision.outcome} by {_who(decision)} in {decision.month}. {decision.reason}")
    if found.trained_because:
        _say(f"Its challenger was trained: {found.trained_because}")
    if found.waiting:
        _say(f"The month's next run will carry out: {found.waiting}.")
    if found.limits:
        _show("What the gate looked at", _limits_table(found.limits))
    if found.candidates:
        _show("Models judged on the same rows", _candidates_table(found))
    if found.dataset:
        _show(*_dataset_table(found))
    if found.champion:
        _show(f"Decisions since {found.champion} is champion", _history_table(found.history))
        _show("What it goes by", _importance_table(found))
    if found.champion:
        _say(f"The model: {found.folder or 'gone from the shelf of models'}")
    if found.card:
        _say(f"Its card: {found.card}")


def _print_retrain(found: RetrainWhy) -> None:
    _title(f"{found.pipeline} {found.month}: {_DECIDED[found.outcome]}")
    _say(found.reason)
    if found.champion:
        _say(f"The champion is {found.champion}, trained in {found.trained}.")
    if found.outcome == "retrain":
        _say(_came(found.ordered) or f"No training is ordered yet; to order it: `{found.command}`.")
        _say(f"Until {found.quiet_until} no further one is ordered.")
    if found.evidence:
        _show("What was looked at", _evidence_table(found.evidence))
    _show("The months before", _decisions_table(found.history))


def _came(ordered: Ordered | None) -> str:
    """What came of a decision, in a sentence; empty if nothing was ordered."""
    if ordered is None:
        return ""
    if ordered.order is None:
        return f"A training was ordered for {ordered.month}, and the order withdrawn."
    if ordered.model is None:
        return f"A training is ordered for {ordered.month}; the month's next run makes it."
    return f"A training was ordered for {ordered.month}, and {ordered.model} came of it: {ordered.outcome}."


def _evidence_table(evidence: tuple[Evidence, ...]) -> Table:
    table = _table("rule", "", ">found", ">interval", ">limit", "of", "finding")
    for one in evidence:
        interval = "" if one.lower is None or one.upper is None else f"{_figure(one.lower)} to {_figure(one.upper)}"
        mark = Text("violated", "red") if one.violated else Text("kept", "green")
        found, limit = ("" if number is None else _figure(number) for number in (one.found, one.limit))
        table.add_row(one.rule, mark, found, interval, limit, one.about, Text(one.words))
    return table


def _decisions_table(history: tuple[PastDecision, ...]) -> Table:
    table = _table("month", "decision", "violated", "what came of it", "because")
    for one in history:
        table.add_row(one.month, _DECIDED[one.outcome], ", ".join(one.violated), _came(one.ordered), Text(one.reason))
    return table


def _who(decision: Decision) -> str:
    return "the gate" if decision.decided_by == "gate" else decision.decided_by


def _limits_table(limits: tuple[Limit, ...]) -> Table:
    table = _table("figure", ">found", ">interval", "wanted", "")
    for one in limits:
        interval = "" if one.lower is None or one.upper is None else f"{_figure(one.lower)} to {_figure(one.upper)}"
        what = "lower end above" if one.wanted == "above" else one.wanted
        mark = Text("passed", "green") if one.passed else Text("failed", "red")
        table.add_row(one.figure, _figure(one.found), interval, f"{what} {_figure(one.limit)}", mark)
    return table


def _candidates_table(found: ModelWhy) -> Table:
    table = _table("candidate", "role", ">AUC", ">interval", ">PR-AUC", ">calibration error", ">lift in the top tenth")
    for row in found.candidates:
        if row.get("auc") is None:
            table.add_row(row["candidate"], row["role"], "not judged")
            continue
        interval = f"{row['auc_lower']:.3f} to {row['auc_upper']:.3f}"
        figures = (f"{row['pr_auc']:.3f}", f"{row['calibration_error']:.4f}", f"{row['top_decile_lift']:.2f}")
        table.add_row(row["candidate"], row["role"], f"{row['auc']:.3f}", interval, *figures)
    return table


def _dataset_table(found: ModelWhy) -> tuple[str, Table]:
    told = found.dataset
    table = _table("month", "part", ">rows", ">left", ">label unknown")
    for row in told.get("parts", ()):
        counts = (f"{row[name]:,}" for name in ("rows", "positives", "unknown"))
        table.add_row(row["event_month"], row["part"], *counts)
    named = f"Dataset {told['version']}: {told['rows']:,} rows, {told['left']:,} left. " if "version" in told else ""
    return f"{named}{told['reason']}", table


def _history_table(history: tuple[Decision, ...]) -> Table:
    table = _table("month", "decision", "by", "because")
    for one in history:
        table.add_row(one.month, one.outcome, _who(one), one.reason)
    return table


def _importance_table(found: ModelWhy) -> Table:
    table = _table("feature", ">share")
    for name, share in list(found.importance.items())[:FEATURES_SHOWN]:
        table.add_row(name, f"{share:.1%}")
    if (rest := len(found.importance) - FEATURES_SHOWN) > 0:
        table.add_row(f"{rest} more", f"{sum(list(found.importance.values())[FEATURES_SHOWN:]):.1%}")
    return table


def _print_customer(found: CustomerWhy) -> None:
    _title(f"{found.pipeline} {found.month}: customer {found.customer}")
    if found.score is None:
        _say(found.absent)
        return
    score = found.score
    tenth = f", tenth {score.decile} of 10" if score.decile else ""
    _say(f"P(leave) {score.p_leave:.1%} ({score.risk}{tenth}), by {score.model}.")
    for line in _told(found.place):
        _say(line)
    if found.outcome:
        _say(f"Outcome: {found.outcome.sentence}")
    _show(f"What makes {score.p_leave:.1%}", _parts_table(score))
    _say(f"Log-odds ({score.method}) add up in any order; the probabilities are those reached in this one.")
    if not score.exact:
        _say(f"Computed again it is {score.recomputed:.1%}: model or libraries differ from those that scored.")
    _show(f"Values, from {found.features_from}", _values_table(found.values))


def _told(place: Place | None) -> Iterator[str]:
    if place is None:
        yield "The month's list was never made."
        return
    yield place.reason
    yield _formula(place)
    if place.treated is not None:
        yield "Was contacted." if place.treated else "Wasn't contacted."


def _formula(place: Place) -> str:
    terms = place.terms
    return (
        f"Expected value {place.expected_value:,.2f} {place.currency} = P(leave) {terms['P(leave)']:.4f} x save rate "
        f"{terms['save rate']:g} x monthly value {terms['monthly value']:,.2f} x margin {terms['margin']:g} x "
        f"{terms['months']:g} months - cost {terms['cost']:g}; rank {place.rank:,} of {place.customers:,}. The save "
        f"rate is {place.save_rate_from}"
    )


def _parts_table(score: Score) -> Table:
    table = _table("", ">log-odds", ">P(leave)")
    table.add_row("where the model starts", _added(score.base_log_odds), f"{score.base:.1%}")
    for part in score.parts:
        first, *others = part.features
        style = "red" if part.log_odds >= LEAST else "green" if part.log_odds <= -LEAST else "dim"
        table.add_row(Text(first.words), Text(_added(part.log_odds), style), f"{part.p_after:.1%}")
        if shown := [one for one in others if abs(one.log_odds) >= LEAST]:
            table.add_row(Text(f"  of it {_added(first.log_odds)} by {first.feature}", "dim"))
            for one in shown:
                table.add_row(Text(f"  and {_added(one.log_odds)}: {one.words}", "dim"))
    table.add_section()
    table.add_row("together", _added(score.log_odds), f"{score.p_leave:.1%}")
    return table


def _values_table(values: tuple[Value, ...]) -> Table:
    table = _table("feature", ">value", "months", "made of")
    for one in values:
        table.add_row(one.feature, Text(_plain(one.value)), one.window, ", ".join(one.made_of))
    return table


def _print_runs(month: str, every: dict[str, RunWhy | None]) -> None:
    table = _table("stage", "status", ">rows", "run", "why")
    for stage, one in every.items():
        if one is None:
            table.add_row(stage, Text("missing", "red"), "", "", "It was never made.")
        else:
            failed = "".join(f" Failed: {c.reason}" for c in one.checks if not c.passed)
            table.add_row(stage, _status(one), f"{one.rows:,}", one.run_id[:8], f"{one.reason or one.next}{failed}")
    _show(f"{month}, stage by stage", table)


def _print_run(found: RunWhy) -> None:
    _title(f"{found.stage} {found.month}: {found.status}")
    for line in _about(found):
        _say(line)
    if found.provenance:
        table = _table("source", "")
        for name, value in found.provenance.items():
            table.add_row(name, Text("none" if value is None else _plain(value)))
        _show("Received from", table)
    if found.read:
        table = _table("read", "content", ">version", "made by run", "now")
        for one in found.read:
            version = "" if one.version is None else str(one.version)
            now = Text("changed", "yellow") if one.now == "changed" else Text(one.now)
            table.add_row(one.name, Text(one.content[:12]), version, one.run_id[:8], now)
        _show("What it was made from", table)
    if found.checks:
        table = _table("check", "", "found")
        for check in found.checks:
            passed = Text("passed", "green") if check.passed else Text("failed", "red")
            table.add_row(check.name, passed, Text(check.reason))
        _show("Checks", table)
    if len(found.versions) > 1:
        table = _table("run", ">rows", "content", "why it was made again")
        for had in found.versions:
            table.add_row(had.run_id[:8], f"{had.rows:,}", had.content[:12], had.why or "The first.")
        _show("Contents that the month has had", table)


def _about(found: RunWhy) -> Iterator[str]:
    version = "" if found.table_version is None else f", table version {found.table_version}"
    yield f"{found.rows:,} rows{version}, content {found.content[:12]}."
    yield f"Computed by run {found.run_id}, code {found.code}."
    if found.reason:
        yield found.reason
    if len(found.versions) > 1 and found.versions[-1].why:
        yield f"It replaced an earlier content. {found.versions[-1].why}"
    yield found.next


def _status(found: RunWhy) -> Text:
    return Text(found.status, {"stale": "yellow", "empty": "dim"}.get(found.status, "green"))


def _title(text: str) -> None:
    console.print(Text(text, "bold"))


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=False)


def _show(title: str, table: Table) -> None:
    console.print()
    _title(title)
    if table.row_count:
        console.print(Padding(table, (0, 0, 0, 1)), soft_wrap=False)


def _table(*columns: str) -> Table:
    """A table without lines; a column whose name begins with > is one of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def _added(log_odds: float) -> str:
    return f"{log_odds:+.3f}" if abs(log_odds) >= 0.0005 else "0"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
