"""Why a model is the champion as of a month."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from churn_assets.errors import ChurnAssetsError, MissingMonth
from churn_assets.months import Month
from churn_assets.orders import order_on
from churn_assets.pipeline import TRAINING_ORDERS, VERDICTS, Pipeline
from churn_assets.verdicts import decision_of, verdict_on

_FLOORS: tuple[tuple[str, str, str, Literal["at least", "at most"]], ...] = (
    ("AUC", "auc", "gate_floor", "at least"),
    ("lift in the top tenth", "top_decile_lift", "gate_min_lift", "at least"),
    ("calibration error", "calibration_error", "gate_max_calibration_error", "at most"),
    ("validation rows", "rows", "gate_min_rows", "at least"),
    ("churners among them", "positives", "gate_min_positives", "at least"),
)
_METRICS = {"auc": "AUC", "profit": "expected profit"}


@dataclass(frozen=True)
class Limit:
    """One figure of the challenger beside what the gate wanted of it.

    Attributes:
        figure: its name.
        found: its value; NaN where there is none.
        wanted: ``at least``, ``at most`` or ``above``.
        lower, upper: its interval, if it has one; of the difference from the champion the lower end has to pass.
    """

    figure: str
    found: float
    wanted: Literal["at least", "at most", "above"]
    limit: float
    lower: float | None = None
    upper: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit; one that is no number doesn't."""
        if self.wanted == "at most":
            return self.found <= self.limit
        if self.wanted == "at least":
            return self.found >= self.limit
        return self.lower is not None and self.lower > self.limit


@dataclass(frozen=True)
class Decision:
    """A month's decision, as it was recorded.

    Attributes:
        rule: what decided: missing ``evidence``, ``floors``, ``margin``, a person's awaited ``approval`` or given
            ``verdict``, ``tracking``, or the ``calendar``.
        decided_by: ``gate``, or the person who overruled it.
        gate: what the gate alone had decided.
        previous: champion before it.
        champion: champion after it.
    """

    month: str
    outcome: str
    reason: str
    rule: str
    decided_by: str
    gate: str
    challenger: str | None
    previous: str | None
    champion: str | None


@dataclass(frozen=True)
class ModelWhy:
    """Why ``champion`` scores the customers of ``month``.

    Attributes:
        decision: the month's own.
        trained_because: why a model was trained in the month; empty if none was.
        waiting: what was said or ordered since, and the month's next run will carry out; empty if nothing.
        limits: the gate's figures and limits for the month's challenger; none where nothing was judged.
        candidates: a row for every model that was judged, with its figures on the same rows.
        dataset: version, split and rows that the challenger learned from and was judged on; none where none was due.
        history: the decisions from that by which the champion was made to the month's, ascending.
        importance: share of each feature in the champion, the largest first.
        folder: where the champion lies.
        card: its model card, if there is one.
    """

    pipeline: str
    month: str
    champion: str | None
    decision: Decision
    trained_because: str
    waiting: str
    limits: tuple[Limit, ...]
    candidates: tuple[Mapping[str, Any], ...]
    dataset: Mapping[str, Any]
    history: tuple[Decision, ...]
    importance: Mapping[str, float]
    folder: Path | None
    card: Path | None


def why_model(pipeline: Pipeline, month: Month) -> ModelWhy:
    """Why the champion as of ``month`` is the champion, or why there is none.

    Raises:
        LakeError: nothing was decided in the month yet, or what the records name is gone.
    """
    row = decision_of(pipeline, month)
    decision = _decision(month, row)
    champion = decision.champion
    facts = pipeline.models.facts(champion) if champion and pipeline.models.has(champion) else {}
    folder = pipeline.models.root / champion if facts and champion else None
    card = folder / "card.md" if folder and (folder / "card.md").exists() else None
    shares = sorted(facts.get("importance", {}).items(), key=lambda share: (-share[1], share[0]))
    return ModelWhy(
        pipeline=pipeline.name, month=str(month), champion=champion, decision=decision,
        trained_because=_trained_because(pipeline, month), waiting=_waiting(pipeline, month),
        limits=tuple(_limits(row)), candidates=_candidates(pipeline, month),
        dataset={} if decision.rule == "calendar" else _dataset(pipeline, month),
        history=tuple(_history(pipeline, month, champion)),
        importance=dict(shares), folder=folder, card=card,
    )  # fmt: skip


def newest_decision(pipeline: Pipeline, month: Month) -> Decision | None:
    """What was decided last, up to ``month``."""
    decided = [m for m in pipeline.lake.months("promotions") if m <= month]
    return _decision(decided[-1], decision_of(pipeline, decided[-1])) if decided else None


def _decision(month: Month, row: Mapping[str, Any]) -> Decision:
    names = ("outcome", "reason", "rule", "decided_by", "gate", "challenger", "previous", "champion")
    return Decision(str(month), **{name: row[name] for name in names})


def _trained_because(pipeline: Pipeline, month: Month) -> str:
    record = pipeline.lake.record("model", month)
    return str(record.facts.get("trained_because", "")) if record else ""


def _waiting(pipeline: Pipeline, month: Month) -> str:
    """The newest verdict on ``month`` and the order for it in words, as far as its decision hasn't read them yet."""
    decided = pipeline.lake.record("model", month)
    read = decided.inputs if decided else {}
    told = {VERDICTS: verdict_on(pipeline, month), TRAINING_ORDERS: order_on(pipeline, month)}
    now = {table: pipeline.lake.record(table, month) for table in told}
    return "; ".join(
        said.words
        for table, said in told.items()
        if said and (record := now[table]) and record.content != read.get(f"{table} {month}")
    )


def _limits(row: Mapping[str, Any]) -> Iterator[Limit]:
    # In JSON null stands for what is no finite number.
    evidence = {name: math.nan if v is None else v for name, v in json.loads(row["evidence"]).items()}
    for figure, name, gate, wanted in _FLOORS:
        if name in evidence and gate in evidence:
            ends = evidence.get(f"{name}_lower"), evidence.get(f"{name}_upper")
            yield Limit(figure, evidence[name], wanted, evidence[gate], *ends)
    if "difference" in evidence:
        ends = evidence["difference_lower"], evidence["difference_upper"]
        figure = f"{_METRICS.get(row['metric'], row['metric'])}, less the champion's"
        yield Limit(figure, evidence["difference"], "above", -evidence["gate_margin"], *ends)


def _candidates(pipeline: Pipeline, month: Month) -> tuple[Mapping[str, Any], ...]:
    record = pipeline.lake.record("model", month)
    return (
        tuple(pipeline.lake.scan_record(record).drop("month").collect().to_dicts()) if record and record.files else ()
    )


def _dataset(pipeline: Pipeline, month: Month) -> dict[str, Any]:
    record = pipeline.lake.record("versioned_dataset", month)
    if record is None:
        return {}
    if not record.files:
        return {"reason": record.reason}
    parts = pipeline.lake.scan_record(record).drop("month").collect()
    return {
        "version": record.facts["id"], "split": record.facts["split"], "reason": record.facts["reason"],
        "rows": int(parts["rows"].sum()), "left": int(parts["positives"].sum()),
        "parts": parts.select("event_month", "part", "rows", "positives", "unknown").to_dicts(),
    }  # fmt: skip


def _history(pipeline: Pipeline, month: Month, champion: str | None) -> list[Decision]:
    """The decisions from that by which ``champion`` was made to that of ``month``."""
    found: list[Decision] = []
    for earlier in reversed([m for m in pipeline.lake.months("promotions") if m <= month]):
        decision = _decision(earlier, decision_of(pipeline, earlier))
        if decision.champion != champion:
            break
        found.append(decision)
    return found[::-1]


def no_scores(pipeline: Pipeline, month: Month) -> ChurnAssetsError:
    """What to raise where the customers of ``month`` have no scores: it says what the gate said."""
    record = pipeline.lake.record("predictions", month)
    if record is None:
        return MissingMonth(
            f"predictions {month}: expected scored customers, found the month was never made. "
            f"Run `{pipeline.lake.remedy.format(first=month, last=month)}`."
        )
    decided = newest_decision(pipeline, month)
    gate = f" The decision of {decided.month}, {decided.outcome}: {decided.reason}" if decided else ""
    return ChurnAssetsError(f"predictions {month}: expected scored customers, found none. {record.reason}{gate}")
