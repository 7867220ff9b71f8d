"""Quality: what became of predictions, against what had been promised, and what is to be expected of the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import polars as pl

from churn_assets.assets.quality_charts import figures_over_months
from churn_assets.monitoring.figures import CHALLENGER, DIFFERENCE
from churn_assets.monitoring.report import Picture, Section, Table
from churn_assets.reporting.recorded import Recorded, Row
from churn_assets.reporting.wording import UNKNOWN, model_name, month_name, number, percent, ranged

NAMES = {
    "auc": "AUC", "top_decile_lift": "lift", "calibration_error": "calibration error", "pr_auc": "precision-recall AUC",
    "brier": "Brier score", "log_loss": "logarithmic loss", "rate": "share who left",
    "level": "predicted less true share",
}  # fmt: skip
_FORMS: Mapping[str, Callable[[float], str]] = {
    "top_decile_lift": partial(number, digits=1), "calibration_error": percent, "rate": percent, "level": percent,
}  # fmt: skip
PROMISES = ("auc", "top_decile_lift", "calibration_error")
"""Figures of which a manager is told if they are worse than promised."""
WORDS = ((0.6, "hardly better than chance"), (0.7, "fairly"), (0.8, "well"), (1.01, "very well"))
"""How an AUC below a bound is spoken of."""


def section(of: Recorded) -> Section:
    """What the champion and the last challenger turned out to be worth."""
    return Section("quality", "Quality of the predictions", in_words(of), tuple(_blocks(of)))


def in_words(of: Recorded) -> str:
    """The champion's realised quality in a sentence or two."""
    auc = of.figure("realised_auc")
    if auc is None:
        return _unknown(of)
    how = next(word for bound, word in WORDS if auc["value"] < bound)
    told = (
        f"The predictions of {month_name(auc['subject'])}, whose outcome is known by now, told leavers from stayers "
        f"{how}: AUC {ranged(auc['value'], auc['lower'], auc['upper'])}"
    )
    if auc["promised"] is None:
        return f"{told}."
    promise = f"{ranged(auc['promised'], auc['promised_lower'], auc['promised_upper'])} was promised"
    return f"{told}; {promise}, and that was {'kept' if auc['kept'] else 'not kept'}."


def broken(of: Recorded) -> list[str]:
    """The promises of the champion that weren't kept, in words."""
    missed = [
        f"{NAMES[name]} came out at {_said(name, row, 'value')}, promised was {_said(name, row, 'promised')}"
        for name in PROMISES
        if (row := of.figure(f"realised_{name}")) and row["kept"] is False
    ]
    level, rate = of.figure("realised_level"), of.figure("realised_rate")
    if level and rate and level["kept"] is False:
        said, true = percent(rate["value"] + level["value"]), percent(rate["value"])
        missed.append(f"{said} of the customers were predicted to leave, and {true} did")
    return missed


def _unknown(of: Recorded) -> str:
    snapshot = of.pipeline.calendar.matured_by(of.month)
    if of.watched is None:
        return "Monitoring hasn't seen the month."
    if not of.pipeline.calendar.horizon or snapshot is None:
        return "No prediction's outcome is known yet."
    predicted = of.pipeline.lake.record("predictions", snapshot)
    if predicted is None or not predicted.files:
        return f"Of {month_name(snapshot)}, whose outcome is known by now, nothing had been predicted."
    return f"The predictions of {month_name(snapshot)} can't be judged: {of.watched.reason or 'its checks say why'}"


def _blocks(of: Recorded) -> Iterator[str | Table | Picture]:
    if table := _table(of):
        yield table
    if told := _challenger(of):
        yield told
    yield from _over_months(of)
    yield from _estimated(of)


def _table(of: Recorded) -> Table | None:
    lines = [
        (
            title,
            _said(name, row, "value"),
            _said(name, row, "promised"),
            {True: "kept", False: "not kept", None: UNKNOWN}[row["kept"]],
            _said(name, of.figure(f"realised_{name}", CHALLENGER), "value"),
        )
        for name, title in NAMES.items()
        if (row := of.figure(f"realised_{name}"))
    ]
    if not lines:
        return None
    columns = ("figure", "champion, realised", "promised", "promise", "challenger, realised")
    frame = pl.DataFrame(lines, dict.fromkeys(columns, pl.String), orient="row")
    if (frame[columns[-1]] == UNKNOWN).all():
        frame = frame.drop(columns[-1])
    return Table("What was realised, and what had been promised", frame, ("figure", "promise"))


def _said(name: str, row: Row | None, what: str) -> str:
    """A figure with its interval, as it is read."""
    if row is None or row[what] is None:
        return UNKNOWN
    ends = ("lower", "upper") if what == "value" else (f"{what}_lower", f"{what}_upper")
    return ranged(row[what], row[ends[0]], row[ends[1]], _FORMS.get(name, partial(number, digits=3)))


def _challenger(of: Recorded) -> str:
    """Champion and last challenger, on the same customers."""
    gap, theirs = of.figure("realised_auc", DIFFERENCE), of.figure("realised_auc", CHALLENGER)
    if gap is None or theirs is None:
        return ""
    told = f"Against the last challenger ({model_name(theirs['model'])}), which scored the same customers in the shadow"
    ends = f"a difference in AUC of {ranged(gap['value'], gap['lower'], gap['upper'], partial(number, digits=3))}"
    if gap["lower"] <= 0 <= gap["upper"]:
        return f"{told}, no difference can be told: {ends}."
    return f"{told}, the champion was {'better' if gap['value'] > 0 else 'worse'}: {ends}."


def _over_months(of: Recorded) -> Iterator[Picture]:
    """Realised figures beside what was promised and estimated, over the months whose outcome is known."""
    known = [watched.rows for watched in of.year if watched.rows is not None]
    if not known:
        return
    auc = [row for watched in of.year if (row := watched.figure("realised_auc"))]
    told = ", ".join(f"{month_name(row['subject'])} {number(row['value'], 2)}" for row in auc)
    for chart in figures_over_months(pl.concat(known)):
        said = f" Realised AUC: {told}." if told and chart.title.startswith("AUC") else ""
        yield Picture(chart.svg, f"{chart.title}: lines of what was realised, promised and estimated.{said}")


def _estimated(of: Recorded) -> Iterator[str]:
    auc, rate = of.figure("estimated_auc"), of.figure("estimated_rate")
    if auc is not None:
        leavers = f", and that {_said('rate', rate, 'value')} of the customers leave" if rate else ""
        yield (
            f"Estimate: nobody knows yet who of the customers scored in {month_name(auc['subject'])} will leave. Their "
            f"scores lead to expect an AUC of {_said('auc', auc, 'value')}{leavers}, as long as customers leave for "
            "the same reasons as before. This is no measurement."
        )
    missed = of.figure("estimate_error_auc")
    if missed is not None:
        truth = missed["promised"] + missed["value"]
        inside = "inside" if missed["kept"] else "outside"
        yield (
            f"The estimate for {month_name(missed['subject'])} had been {_said('auc', missed, 'promised')}; the AUC "
            f"came out at {number(truth, 3)}, {inside} its interval."
        )
