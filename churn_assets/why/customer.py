"""Why a customer is on a month's list or isn't, and what makes the probability that was recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_assets.errors import ChurnAssetsError, LakeError
from churn_assets.features.labels import LABEL
from churn_assets.features.profile import definitions
from churn_assets.features.words import Words
from churn_assets.months import Month
from churn_assets.pipeline import TREATMENT_LOG, Pipeline
from churn_assets.spec import PipelineSpec
from churn_assets.store.datasets import version_of
from churn_assets.store.lake import MonthRecord
from churn_assets.why.model import no_scores

_METHODS = {"xgboost": "exact Shapley values of the trees", "logistic": "terms of the regression"}


@dataclass(frozen=True)
class Said:
    """One feature in words, and what it adds to the log-odds."""

    feature: str
    words: str
    log_odds: float


@dataclass(frozen=True)
class Part:
    """What the features that are made of one column add together.

    Attributes:
        group: the observed column; a feature that is made of several stands for itself.
        log_odds: sum of what they add, after calibration; it lowers the risk if it is negative.
        p_after: probability once this part and all before it are counted. In another order of the parts it would be
            another one; their log-odds wouldn't.
        features: the one that adds most in the part's direction comes first.
    """

    group: str
    log_odds: float
    p_after: float
    features: tuple[Said, ...]


@dataclass(frozen=True)
class Score:
    """How the recorded probability comes about.

    Attributes:
        p_leave: as it was recorded.
        decile: 1 is the tenth of the month's customers most at risk.
        log_odds: of ``p_leave``; ``base_log_odds`` and those of all ``parts`` add up to it.
        base: probability that the model starts from, which is that of nobody in particular.
        parts: those that raise or lower the risk most come first.
        method: how they were found.
        exact: whether recomputing gave what was recorded; if not, ``parts`` add up to ``recomputed``.
    """

    model: str
    p_leave: float
    risk: str
    decile: int | None
    log_odds: float
    base: float
    base_log_odds: float
    parts: tuple[Part, ...]
    method: str
    exact: bool
    recomputed: float


@dataclass(frozen=True)
class Place:
    """The customer's place on the list, or beside it.

    Attributes:
        action: ``contact``, ``hold out``, or ``none``.
        rank: among all scored ``customers``; 1 is the most valuable contact.
        terms: what the expected value is made of, by name.
        last_rank: the lowest rank on the list; None where the list is empty.
        reason: why the customer is on the list or isn't, in a sentence.
        treated: what people have told of the contact; None where nobody has.
    """

    action: str
    rank: int
    customers: int
    expected_value: float
    terms: Mapping[str, float]
    currency: str
    save_rate_from: str
    last_rank: int | None
    reason: str
    treated: bool | None


@dataclass(frozen=True)
class Value:
    """A feature's value and where it comes from."""

    feature: str
    value: Any
    window: str
    made_of: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What happened afterwards; ``left`` is None where it isn't known, and ``sentence`` says why."""

    left: bool | None
    sentence: str


@dataclass(frozen=True)
class CustomerWhy:
    """Why a customer was scored and listed in ``month`` as it was recorded, or why not.

    Attributes:
        absent: why the customer has no score; empty if there is one.
        score, place, outcome: None where there is no score; ``place`` also where the list wasn't made.
        values: every feature of the model.
        features_from: the table, its version and the run that the values were read from.
    """

    pipeline: str
    customer: str
    month: str
    absent: str
    score: Score | None = None
    place: Place | None = None
    values: tuple[Value, ...] = ()
    features_from: str = ""
    outcome: Outcome | None = None


def why_customer(pipeline: Pipeline, customer: str, month: Month | None = None) -> CustomerWhy:
    """Why ``customer`` was scored and listed in ``month`` as it was; in the newest scored month if none is given.

    Raises:
        MissingMonth: the month was never made.
        ChurnAssetsError: nobody was scored in it, or no such customer was ever delivered.
    """
    record = _scores(pipeline, month)
    row = _row(pipeline, record, customer)
    if row is None:
        return CustomerWhy(
            pipeline.name, customer, record.month, _absent(pipeline, customer, Month.parse(record.month))
        )
    at = Month.parse(record.month)
    features = _features_read(pipeline, record)
    spec = _spec_of(pipeline, features)
    frame = _of(pipeline, features, customer)
    return CustomerWhy(
        pipeline=pipeline.name, customer=customer, month=record.month, absent="",
        score=_score(pipeline, row, frame, Words.of(spec)), place=_place(pipeline, at, row, customer),
        values=_values(pipeline, row, frame, spec, features),
        features_from=f"features {features.month}, version {features.version}, of run {features.run_id}",
        outcome=_outcome(pipeline, record, customer),
    )  # fmt: skip


def _scores(pipeline: Pipeline, month: Month | None) -> MonthRecord:
    made = [month] if month else [*reversed(pipeline.lake.months("predictions"))]
    records = [pipeline.lake.record("predictions", m) for m in made]
    if found := next((r for r in records if r and r.files), None):
        return found
    raise no_scores(pipeline, made[0] if made else pipeline.spec.months.start)


def _of(pipeline: Pipeline, record: MonthRecord, customer: str) -> pl.DataFrame:
    """The customer's rows in what ``record`` stands for."""
    rows = pipeline.lake.scan_record(record)
    if pipeline.key not in rows.collect_schema():
        return pl.DataFrame()
    return rows.filter(pl.col(pipeline.key).cast(pl.String) == customer).collect()


def _row(pipeline: Pipeline, record: MonthRecord | None, customer: str) -> dict[str, Any] | None:
    rows = _of(pipeline, record, customer) if record and record.files else pl.DataFrame()
    return rows.row(0, named=True) if len(rows) else None


def _features_read(pipeline: Pipeline, scores: MonthRecord) -> MonthRecord:
    """The features that the scores were made from, also if the month's features have changed since."""
    month = Month.parse(scores.month)
    found = version_of(pipeline.lake, "features", month, scores.inputs[f"features {month}"])
    if found is None:
        raise LakeError(
            f"predictions {month}: expected the features that it was made from, found no record of them any more. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    return found


def _spec_of(pipeline: Pipeline, record: MonthRecord) -> PipelineSpec:
    """The specification that ``record`` was made by; the present one, where this release can't read that."""
    try:
        return pipeline.specifications.get(str(record.facts.get("spec")))
    except LakeError:
        return pipeline.spec


def _score(pipeline: Pipeline, row: Mapping[str, Any], frame: pl.DataFrame, words: Words) -> Score:
    from churn_assets.learning.calibration import log_odds
    from churn_assets.learning.explanation import phrases
    from churn_assets.learning.training import load

    model = load(pipeline.models.artefact(row["model_id"]))
    slope, intercept = model.calibration.slope, model.calibration.intercept
    adds = (slope * model.contributions(frame)[0]).tolist()
    said = phrases(frame, model.features, words).row(0)
    told = [Said(name, text, part) for name, text, part in zip(model.features, said, adds, strict=True)]
    base, recomputed = slope * model.bias() + intercept, float(model.predict(frame)[0])
    return Score(
        model=row["model_id"], p_leave=row["p_leave"], risk=row["risk"], decile=row.get("decile"),
        log_odds=float(log_odds(row["p_leave"])), base=_expit(base), base_log_odds=base,
        parts=_parts(told, words, base), method=_METHODS.get(model.kind, "sampled Shapley values"),
        exact=math.isclose(recomputed, row["p_leave"], rel_tol=1e-9),
        recomputed=recomputed,
    )  # fmt: skip


def _parts(told: Sequence[Said], words: Words, base: float) -> tuple[Part, ...]:
    from churn_assets.learning.explanation import DECIMALS, grouped

    groups = grouped([one.feature for one in told], words)
    sums = {name: sum(told[place].log_odds for place in members) for name, members in groups.items()}
    reached, parts = base, []
    for name in sorted(groups, key=lambda name: -round(abs(sums[name]), DECIMALS)):
        reached += sums[name]
        sign = 1 if sums[name] >= 0 else -1
        members = sorted((told[place] for place in groups[name]), key=lambda one: -sign * round(one.log_odds, DECIMALS))
        parts.append(Part(name, sums[name], _expit(reached), tuple(members)))
    return tuple(parts)


def _expit(log_odds: float) -> float:
    from churn_assets.learning.calibration import expit

    return float(expit(log_odds))


def _place(pipeline: Pipeline, month: Month, row: Mapping[str, Any], customer: str) -> Place | None:
    from churn_assets.retention.scoring import monthly_value, ranked

    record, scores = pipeline.lake.record("retention_list", month), pipeline.lake.record("predictions", month)
    if record is None or scores is None:
        return None
    spec, key = _spec_of(pipeline, record), pipeline.key
    value, rate = spec.value, record.facts["save_rate"]
    paid = pipeline.lake.scan_record(_features_read(pipeline, scores)).select(key, monthly_value(value))
    scored = pipeline.lake.scan_record(scores).select(key, "p_leave").join(paid, on=key, how="left").collect()
    own = ranked(scored, key, value, rate["rate"]).row(by_predicate=pl.col(key).cast(pl.String) == customer, named=True)
    listed = _row(pipeline, record, customer)
    last = pipeline.lake.scan_record(record).select(pl.col("rank").max()).collect().item() if record.files else None
    terms = {
        "P(leave)": row["p_leave"], "save rate": rate["rate"], "monthly value": own["monthly_value"],
        "margin": value.margin, "months": value.lifetime_months, "cost": value.cost,
    }  # fmt: skip
    action = listed["action"] if listed else "none"
    return Place(
        action=action, rank=own["rank"], customers=len(scored), expected_value=own["expected_value"], terms=terms,
        currency=value.currency, save_rate_from=f"{rate['source']}: {rate['reason']}", last_rank=last,
        reason=_listed(action, own, record, spec, last), treated=_treated(pipeline, month, customer),
    )  # fmt: skip


def _listed(action: str, own: Mapping[str, Any], record: MonthRecord, spec: PipelineSpec, last: int | None) -> str:
    """Why the customer is on the list or isn't."""
    line, rank = _line(record, spec, last), f"{own['rank']:,}"
    if action == "contact":
        return f"On the list: rank {rank}, and {line}."
    if action == "hold out":
        return (
            f"On the list at rank {rank}, and held out: {spec.value.holdout_share:.0%} of the list, drawn by lot, "
            "aren't contacted, so that the effect on the others can be measured."
        )
    if own["expected_value"] <= 0:
        return "Not on the list: a contact is expected to bring no more than it costs."
    return f"Not on the list: {line}, and this customer has rank {rank}."


def _line(record: MonthRecord, spec: PipelineSpec, last: int | None) -> str:
    """Where the list ends, and whether that is for want of money or of gain."""
    value, cost = spec.value, record.facts.get("cost", 0.0)
    if last is None:
        return record.reason.rstrip(".")
    if cost + value.cost > value.budget:
        return f"the budget of {value.budget:,g} {value.currency} reaches down to rank {last:,}"
    return (
        f"below rank {last:,} a contact brings no more than it costs ({cost:,g} of the budget of {value.budget:,g} "
        f"{value.currency} is spent)"
    )


def _treated(pipeline: Pipeline, month: Month, customer: str) -> bool | None:
    row = _row(pipeline, pipeline.lake.record(TREATMENT_LOG, month), customer)
    return row.get("treated") if row else None


def _values(
    pipeline: Pipeline, row: Mapping[str, Any], frame: pl.DataFrame, spec: PipelineSpec, features: MonthRecord
) -> tuple[Value, ...]:
    windows = dict(definitions(spec).select("feature", "window").iter_rows())
    lineage = features.facts.get("lineage", {})
    names = [n for n in frame.columns if n in spec.feature_names]
    return tuple(
        Value(
            name, frame[name][0], windows[name], tuple(f"{table}.{column}" for table, column in lineage.get(name, ()))
        )
        for name in names
    )


def _outcome(pipeline: Pipeline, scores: MonthRecord, customer: str) -> Outcome:
    """Whether a customer of ``scores`` left in the months that make their label."""
    from churn_assets.learning.dataset import Dataset

    snapshot = Month.parse(scores.month)
    months = pipeline.calendar.label_months(snapshot)
    named = str(months[0]) if len(months) == 1 else f"{months[0]} to {months[-1]}"
    missing = [m for m in months if pipeline.lake.record("validated_data", m) is None]
    if missing:
        return Outcome(None, f"Not known yet: {', '.join(map(str, missing))} isn't there.")
    dataset = Dataset(pipeline.lake, pipeline.spec, snapshot + pipeline.calendar.horizon, reader="monitoring")
    left = dataset.labels(_of(pipeline, scores, customer).lazy().select(pipeline.key), snapshot).collect()[LABEL][0]
    if left is None:
        return Outcome(None, f"Not known: what {named} says of the customer was quarantined, or wasn't delivered.")
    if not left:
        return Outcome(False, f"Stayed: {named} says so.")
    when = next((m for m in months if _says_left(pipeline, customer, m)), None)
    return Outcome(True, f"Left in {when or named}.")


def _says_left(pipeline: Pipeline, customer: str, month: Month) -> bool:
    """Whether the month itself says that the customer left in it; inactivity is told by all months together."""
    if pipeline.spec.label.kind == "inactivity":
        return False
    row, flag = _row(pipeline, pipeline.lake.record("validated_data", month), customer), pipeline.spec.schema_.churned
    return row is None if pipeline.spec.label.kind == "absence" else bool(row and flag and row[flag])


def _absent(pipeline: Pipeline, customer: str, month: Month) -> str:
    """Why a customer has no score in a month in which others have one.

    Raises:
        ChurnAssetsError: no such customer was ever delivered.
    """
    seen = [m for m in pipeline.lake.months("validated_data") if _row(pipeline, _validated(pipeline, m), customer)]
    if month not in seen and (told := _quarantined(pipeline, customer, month)):
        return told
    flag = pipeline.spec.schema_.churned
    for earlier in (m for m in seen if m <= month):
        row = _row(pipeline, _validated(pipeline, earlier), customer)
        if row and flag and row[flag]:
            return f"Left in {earlier} already, by the column {flag} of validated_data: nobody can be kept who is gone."
    if not seen:
        raise ChurnAssetsError(
            f"customer {customer!r}: expected one that was delivered up to {month}, found none of that id in any month "
            f"of validated_data or quarantined_data. Ids look like {_example(pipeline, month)}."
        )
    if month in seen:
        return "Delivered, and yet not active at the month's end."
    before = [m for m in seen if m < month]
    if before and pipeline.spec.events:
        within = pipeline.spec.events.active_months
        return f"Not active: no event that counts in the last {within} months; the last event was in {before[-1]}."
    if before:
        return f"Not delivered in {month}: the newest row before it is of {before[-1]}."
    return f"Not delivered in {month} yet: the first row is of {seen[0]}."


def _validated(pipeline: Pipeline, month: Month) -> MonthRecord | None:
    return pipeline.lake.record("validated_data", month)


def _quarantined(pipeline: Pipeline, customer: str, month: Month) -> str:
    record = pipeline.lake.record("quarantined_data", month)
    if record is None or not record.files:
        return ""
    rows = pipeline.lake.scan_record(record).filter(pl.col("customer").cast(pl.String) == customer).collect()
    if rows.is_empty():
        return ""
    told = "; ".join(
        f"{row['column'] or 'the row'} broke the rule {row['rule']}: expected {row['expected']}, found {row['value']!r}"
        for row in rows.unique(["rule", "column"], maintain_order=True).iter_rows(named=True)
    )
    first = rows.row(0, named=True)
    place = f"{first['_file']}:{first['_line']}" if first["_file"] else f"row {first['_row']}"
    return f"In quarantine ({place}): {told}. See `churn quarantine show --month {month}`."


def _example(pipeline: Pipeline, month: Month) -> str:
    record = pipeline.lake.record("predictions", month)
    if record is None or not record.files:
        return "none"
    return str(pipeline.lake.scan_record(record).select(pl.col(pipeline.key).min()).collect().item())
