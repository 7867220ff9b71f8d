"""Decisions of the month: which model scores customers, whether a new one is wanted, and what people have said."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from churn_assets.monitoring.report import Section, Table
from churn_assets.orders import order_on
from churn_assets.pipeline import TRAINING_ORDERS, VERDICTS
from churn_assets.reporting.recorded import Recorded
from churn_assets.reporting.wording import candidate_name, model_name, month_name, number, percent, ranged
from churn_assets.verdicts import verdict_on

OUTCOMES = {
    "promoted": "A new champion was promoted",
    "kept": "The champion was kept",
    "rejected": "No model may score customers",
    "undecided": "No model could be compared",
}
RETRAIN = {
    "keep": "No new model is wanted.",
    "retrain": "A new model is wanted, and a training is to be ordered.",
    "wait": "A new model is wanted, and under way.",
    "mend_data": "The source has to be mended first.",
}


def section(of: Recorded) -> Section:
    """The month's decisions with their reasons."""
    return Section("decisions", "Decisions", _lead(of), tuple(_blocks(of)))


def _lead(of: Recorded) -> str:
    if of.decision is None:
        return f"Nothing was decided in {month_name(of.month)}."
    told = OUTCOMES[of.decision["outcome"]]
    return f"{told}: the {model_name(of.champion)}." if of.champion else f"{told}."


def _blocks(of: Recorded) -> Iterator[str | Table]:
    if of.decision is not None:
        yield _made(of)
    yield from _judged(of)
    yield from _evidence(of)


def _made(of: Recorded) -> Table:
    decision, lines = of.decision, []
    assert decision is not None  # asked for before
    by = "the gate" if decision["decided_by"] == "gate" else decision["decided_by"]
    lines.append(("which model scores customers", OUTCOMES[decision["outcome"]], by, decision["reason"]))
    if retrain := of.retrain:
        lines.append(("whether a new model is wanted", RETRAIN[retrain["outcome"]], "monitoring", retrain["reason"]))
    if (verdict := verdict_on(of.pipeline, of.month)) and of.record(VERDICTS):
        lines.append(("a person's verdict", verdict.action, verdict.by, verdict.why))
    if (order := order_on(of.pipeline, of.month)) and of.record(TRAINING_ORDERS):
        tuned = "a training with tuning" if order.tuning else "a training"
        lines.append(("what was ordered", tuned, order.by, order.why))
    columns = ("about", "decision", "by", "reason")
    return Table("What was decided, by whom and why", pl.DataFrame(lines, dict.fromkeys(columns, pl.String),
                 orient="row"), texts=columns)  # fmt: skip


def _judged(of: Recorded) -> Iterator[Table]:
    """The models that were compared in the month, on the same customers."""
    rows = of.rows("model")
    if rows is None or "auc" not in rows.columns:
        return
    role = {"challenger": "challenger", "champion": "champion before"}
    lines = [
        (
            model_name(of.previous) if row["role"] == "champion" else candidate_name(row["candidate"]),
            role.get(row["role"], "compared with"),
            ranged(row["auc"], row["auc_lower"], row["auc_upper"], partial(number, digits=3)),
            number(row["top_decile_lift"], 1),
            percent(row["calibration_error"], 2),
        )
        for row in rows.iter_rows(named=True)
    ]
    columns = ("model", "role", "AUC", "lift", "calibration error")
    yield Table("The models that were compared, on the same customers", pl.DataFrame(lines, dict.fromkeys(columns,
                pl.String), orient="row"), texts=("model", "role"))  # fmt: skip


def _evidence(of: Recorded) -> Iterator[Table]:
    """What was looked at, to tell whether a new model is wanted."""
    found = [e for e in (of.retrain or {}).get("evidence", ()) if e["words"]]
    if not found:
        return
    lines = [
        (e["words"], model_name(e["about"]), "no longer in bounds" if e["violated"] else "in bounds") for e in found
    ]
    columns = ("finding", "about", "verdict")
    yield Table("What tells whether a new model is wanted", pl.DataFrame(lines, dict.fromkeys(columns, pl.String),
                orient="row"), texts=columns)  # fmt: skip
