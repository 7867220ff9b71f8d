"""retention_list: whom to contact next, why, and whom to leave alone so that the effect can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.assets.charts import bar_chart
from churn_assets.assets.stage import Also, Beside, Check, CheckPlan, Made, Stage, Work
from churn_assets.features.lineage import of_retention_list
from churn_assets.features.words import Words
from churn_assets.learning.dataset import Dataset
from churn_assets.learning.explanation import reasons
from churn_assets.learning.training import TrainedModel, load
from churn_assets.months import Month
from churn_assets.pipeline import TREATMENT_LOG, Pipeline
from churn_assets.retention.export import to_csv, to_excel, to_parquet
from churn_assets.retention.listing import by_decile, figures, retention_list, segments
from churn_assets.retention.scoring import monthly_value
from churn_assets.retention.treatment_log import contaminated, counted
from churn_assets.retention.uplift import Lot, SaveRate, save_rate
from churn_assets.store.lake import MonthRecord, replace_file

SHOWN_ROWS = 15
REASONS = ("reason_1", "reason_2", "reason_3")


def _make(work: Work) -> Made:
    pipeline, month = work.pipeline, work.month
    outcomes = _outcomes(work)
    found = _save_rate(work, outcomes)
    also = {"list_outcomes": outcomes}
    scored = _scored(work)
    if scored is None:
        reason = "Nobody was scored: no model has passed its gates, or there are no customers."
        checks = tuple(Check(c.name, True, reason) for c in STAGE.checks if c.name != "contact_helps")
        return Made(None, reason, (*checks, _helps(found)), facts={"save_rate": found.facts},
                    metadata=_measured(found), also=also, effect=lambda: _withdraw(pipeline, month))  # fmt: skip
    lot = Lot(pipeline.name, str(month), pipeline.spec.holdout_share)
    chosen = retention_list(scored, pipeline.key, pipeline.spec.value, found.rate, lot)
    model = load(pipeline.models.artefact(str(scored["model_id"][0])))
    rows = _explained(work, chosen, model)
    told = figures(rows, pipeline.spec.value)
    return Made(
        rows=rows if len(rows) else None,
        reason="" if len(rows) else _nobody(pipeline, found),
        checks=(_within_budget(pipeline, told), _one_row(rows, scored, pipeline.key), _held_out(pipeline, told),
                _helps(found)),
        facts={"save_rate": found.facts, **told},
        metadata={**_shown(pipeline, rows, told), **_measured(found)},
        lineage=of_retention_list(pipeline.spec, model.features),
        also=also,
        effect=lambda: _export(rows, pipeline, month),
    )  # fmt: skip


def _scored(work: Work) -> pl.DataFrame | None:
    """The month's predictions, with what each customer pays a month."""
    pipeline, month, key = work.pipeline, work.month, work.pipeline.key
    predictions = pipeline.lake.scan_month(pipeline.window("retention_list", month, "predictions"), month)
    customers = pipeline.lake.scan_month(pipeline.window("retention_list", month, "features"), month)
    if predictions is None or customers is None:
        return None
    paid = customers.select(key, monthly_value(pipeline.spec.value))
    scores = predictions.select(key, "p_leave", "risk", "decile", "model_id")
    return scores.join(paid, on=key, how="left").collect()


def _explained(work: Work, chosen: pl.DataFrame, model: TrainedModel) -> pl.DataFrame:
    """The list with segments and reasons, in the order in which people read it."""
    pipeline, key = work.pipeline, work.pipeline.key
    window = pipeline.window("retention_list", work.month, "features")
    scanned = pipeline.lake.scan_month(window, work.month)
    assert scanned is not None
    listed = chosen.lazy().select(key).join(scanned.drop("month"), on=key, how="left", maintain_order="left").collect()
    named = pipeline.spec.evaluation.segments
    told = chosen.with_columns(segments(listed, named)) if named else chosen
    why = reasons(model, listed, Words.of(pipeline.spec), len(REASONS))
    order = ("rank", key, "action", "p_leave", "decile", "risk", "monthly_value", "expected_value")
    segment = ["segment"] if named else []
    return pl.concat([told, why], how="horizontal").select(*order, *segment, *REASONS, "model_id")


def _outcomes(work: Work) -> Also:
    """Who has left of the list whose label became known this month, if anybody has told what was done with it."""
    pipeline, month = work.pipeline, work.month
    log = pipeline.treatments(month)
    if log is None:
        return Also(None, "Nobody has told what was done with a list whose outcome became known this month.")
    snapshot = Month.parse(log.month)
    listed = pipeline.lake.scan_record(log).select(pipeline.key, "action", "treated")
    labelled = Dataset(pipeline.lake, pipeline.spec, month, reader="retention_list").labels(listed, snapshot)
    rows = labelled.select(
        pl.lit(snapshot.first_day).alias("list_month"), pipeline.key, "action", "treated", left="label"
    )
    found = rows.sort(pipeline.key).collect()
    known = {"contaminated": contaminated(found), "unknown": found["left"].null_count()}
    shown = {
        "list of": str(snapshot),
        "what became of it": counted(found),
        "held out and contacted all the same": known["contaminated"],
        "customers of whom it isn't known whether they left": known["unknown"],
    }
    return Also(found, facts=known, metadata=shown)


def _save_rate(work: Work, outcomes: Also) -> SaveRate:
    pipeline = work.pipeline
    earlier = pipeline.lake.scan(pipeline.window("retention_list", work.month, "list_outcomes")).drop("month").collect()
    known = [frame for frame in (earlier, outcomes.rows) if frame is not None and len(frame)]
    columns = {"list_month": pl.Date, "action": pl.String, "treated": pl.Boolean, "left": pl.Boolean}
    empty = pl.DataFrame(schema=columns)
    pooled = pl.concat([empty, *(frame.select(list(columns)) for frame in known)])
    return save_rate(pooled, pipeline.spec.value, pipeline.spec.gates.confidence)


def _nobody(pipeline: Pipeline, found: SaveRate) -> str:
    value = pipeline.spec.value
    if not found.helps:
        return f"Nobody is to be contacted. {found.reason}"
    if value.cost > value.budget:
        return f"The budget of {value.budget:g} doesn't pay for one contact, which costs {value.cost:g}."
    return "No contact is expected to bring more than it costs."


def _within_budget(pipeline: Pipeline, told: Mapping[str, float]) -> Check:
    value, money = pipeline.spec.value, pipeline.spec.value.currency
    reason = (
        f"{told['contacts']:,} contacts at {value.cost:g} {money} cost {told['cost']:,.2f}; "
        f"the budget is {value.budget:,.2f}."
    )
    # A rounding error of many small costs is no overdraft.
    return Check("within_budget", told["cost"] <= value.budget + 1e-6, reason, figures={"cost": told["cost"]})


def _one_row(rows: pl.DataFrame, scored: pl.DataFrame, key: str) -> Check:
    distinct, known = rows[key].n_unique(), rows.join(scored, on=key, how="semi").height
    return Check("one_row_a_customer", distinct == len(rows) == known,
                 f"{len(rows):,} rows of {distinct:,} customers, {known:,} of them scored this month.")  # fmt: skip


def _held_out(pipeline: Pipeline, told: Mapping[str, float]) -> Check:
    """Whether as many are held out as a lot would draw."""
    share, reached = pipeline.spec.holdout_share, int(told["contacts"] + told["held_out"])
    # Beyond four standard deviations lies one month in sixteen thousand.
    room = 4 * (reached * share * (1 - share)) ** 0.5 + 1
    return Check("holdout_share", abs(told["held_out"] - reached * share) <= room,
                 f"{told['held_out']:,} of {reached:,} customers on the list are held out; the lot draws {share:.0%}.",
                 warn=True, figures={"held out": told["held_out"], "on the list": reached})  # fmt: skip


def _helps(found: SaveRate) -> Check:
    figures = {name: value for name, value in found.facts.items() if isinstance(value, int | float)}
    return Check("contact_helps", found.helps, found.reason, warn=True, figures=figures)


def _measured(found: SaveRate) -> dict[str, Any]:
    shown: dict[str, Any] = {"save rate": found.rate, "save rate from": found.told, "why this save rate": found.reason}
    if found.measured is not None:
        shown |= {"measured save rate": found.measured, "measured lower": found.lower, "measured upper": found.upper}
    return shown


def _shown(pipeline: Pipeline, rows: pl.DataFrame, told: Mapping[str, float]) -> dict[str, Any]:
    """The manager's page."""
    money, deciles = pipeline.spec.value.currency, by_decile(rows)
    shown: dict[str, Any] = {
        "to contact": int(told["contacts"]),
        "held out": int(told["held_out"]),
        f"cost ({money})": round(told["cost"], 2),
        f"expected value ({money})": round(told["expected_value"], 2),
    }
    if len(rows):
        top = ["rank", pipeline.key, "action", "p_leave", "expected_value", *REASONS]
        shown |= {
            "top of the list": rows.head(SHOWN_ROWS).select(top),
            "by decile": deciles,
            "expected value by decile": bar_chart(
                f"Expected value of the contacts by tenth of risk, {money}",
                [f"decile {d}" for d in deciles["decile"]], deciles["expected_value"].to_list(),
            ),
        }  # fmt: skip
    return shown


def _files(pipeline: Pipeline, month: Month | str) -> dict[str, Path]:
    folder = pipeline.exports / str(month)
    return {f"as {name}": folder / f"retention_list.{name}" for name in ("xlsx", "csv", "parquet")}


def _export(rows: pl.DataFrame, pipeline: Pipeline, month: Month) -> dict[str, Any]:
    """Puts the list where people and other systems find it, also one without customers."""
    files = _files(pipeline, month)
    data = (to_excel(rows, f"list {month}", pipeline.spec.value.currency, month.first_day), to_csv(rows),
            to_parquet(rows))  # fmt: skip
    for file, content in zip(files.values(), data, strict=True):
        replace_file(file, content)
    return {**files}


def _withdraw(pipeline: Pipeline, month: Month) -> dict[str, Any]:
    """Takes away an earlier list of a month that has none any more."""
    for file in _files(pipeline, month).values():
        file.unlink(missing_ok=True)
    return {}


def _exports_are_there(pipeline: Pipeline, record: MonthRecord) -> bool:
    return record.status == "empty" or all(file.exists() for file in _files(pipeline, record.month).values())


STAGE = Stage(
    name="retention_list",
    description="Whom to contact, ranked by what a contact is expected to bring, as far as the budget reaches, with "
    "reasons; a share drawn by lot is held out, so that the effect of contacts can be measured. Exported as Excel, CSV "
    "and Parquet.",
    kinds=frozenset({"deltalake", "csv", "parquet", "excel"}),
    after=("predictions",),
    checks=(
        CheckPlan("within_budget", "The contacts cost no more than the budget.", blocking=True),
        CheckPlan("one_row_a_customer", "Each customer is listed once, and was scored this month.", blocking=True),
        CheckPlan("holdout_share", "About as many are held out as the lot was to draw."),
        CheckPlan("contact_helps", "Measured on earlier lists, contacts keep customers, or might."),
    ),
    sections=("value", "evaluation.segments", "gates.confidence", "label", "events", "features", "missing_words"),
    modules=(
        "retention/listing.py", "retention/scoring.py", "retention/uplift.py", "retention/export.py",
        "retention/treatment_log.py",
        "learning/explanation.py", "learning/training.py", "learning/dataset.py", "features/words.py",
        "features/labels.py",
    ),
    make=_make,
    about={
        "rank": "1 is the most valuable contact.",
        "action": "contact; or hold out: not to be contacted, so that the effect on the others can be measured.",
        "p_leave": "Probability that the customer leaves within the horizon.",
        "decile": "1 is the tenth of the customers most at risk.",
        "risk": "The probability in words.",
        "monthly_value": "What the customer pays a month.",
        "expected_value": "What a contact is expected to bring, its cost taken off.",
        "segment": "The customer's values of the features that evaluation names.",
        **dict.fromkeys(REASONS, "What raises the probability, in words."),
        "model_id": "The champion that scored the customer.",
    },
    beside=(
        Beside(
            "list_outcomes",
            f"What became of the list whose outcome became known this month, if its {TREATMENT_LOG} was imported: who "
            "was to be contacted or held out, who was contacted, who left. Later lists measure the save rate on it.",
        ),
    ),
    intact=_exports_are_there,
)  # fmt: skip
