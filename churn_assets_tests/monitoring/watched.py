"""A simulated base that is watched month by month: the pure parts of a pipeline, without a lake and without Dagster.

They come together as the stages put them together, so that years are lived in seconds: features, training, the gate,
scores, drift, outcomes, the decision, and the training that it orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import narwhals as nw
import polars as pl

from churn_assets.errors import EvidenceError
from churn_assets.features import compute
from churn_assets.features.labels import LABEL, LaterMonth, label
from churn_assets.learning.evaluation import auc_difference, evaluate
from churn_assets.learning.promotion import Evidence, decide
from churn_assets.learning.reference import Reference, score_reference, settled_reference
from churn_assets.learning.splits import holdout_parts
from churn_assets.learning.training import TrainedModel, train
from churn_assets.monitoring import retraining
from churn_assets.monitoring.broken import broken
from churn_assets.monitoring.drift import SCORE, TRAINING, Drift, measure
from churn_assets.monitoring.figures import CHALLENGER, CHAMPION
from churn_assets.monitoring.realised import Realised, Scorer, judge
from churn_assets.monitoring.retraining import RetrainDecision, Rules, Seen
from churn_assets.months import Month, month_range
from churn_assets.sources.simulated import SimulatedSource
from churn_assets.spec import PipelineSpec

KEY = "customer_id"


@dataclass(frozen=True)
class Watched:
    """What a month came to.

    Attributes:
        drift: None where there was no champion yet.
        broken: columns that are broken at the source, in words.
        realised: what became of the month before, as the champion and the challenger had scored it.
    """

    month: Month
    champion: str | None
    drift: Drift | None
    broken: tuple[str, ...]
    realised: Realised | None
    decision: RetrainDecision

    @property
    def moved(self) -> tuple[str, ...]:
        """Features that have moved away from what the champion learned from."""
        return tuple(name for name in self.drift.moved(TRAINING) if name != SCORE) if self.drift else ()

    @property
    def score_moved(self) -> bool:
        return bool(self.drift and SCORE in self.drift.moved(TRAINING))

    @property
    def violated(self) -> tuple[str, ...]:
        """The rules by which the champion violates its limits in this month."""
        return tuple(e.rule for e in self.decision.evidence if e.violated and e.about == self.champion)

    @property
    def promises_broken(self) -> tuple[str, ...]:
        """The champion's figures that leave no room for what was promised."""
        return tuple(f.metric.removeprefix("realised_") for f in self.realised.broken) if self.realised else ()


@dataclass(frozen=True)
class _Kept:
    """A model with what is kept beside it."""

    name: str
    trained: Month
    model: TrainedModel
    promise: dict[str, float]
    reference: Reference


@dataclass
class Watch:
    """Lives ``spec`` from its first month on; trains where a model is due, wanted, or while there is no champion."""

    spec: PipelineSpec
    _snapshots: dict[Month, pl.DataFrame] = field(default_factory=dict)
    _features: dict[Month, pl.DataFrame] = field(default_factory=dict)
    _scores: dict[Month, dict[str, tuple[_Kept, pl.DataFrame]]] = field(default_factory=dict)
    _decisions: dict[Month, RetrainDecision] = field(default_factory=dict)

    @cached_property
    def _source(self) -> SimulatedSource:
        told = self.spec.source
        assert told.type == "simulated"
        return SimulatedSource(self.spec.calendar.start, told.customers, told.seed, tuple(told.scenario))

    def live(self, months: int) -> Iterator[Watched]:
        """The first ``months`` months, one by one."""
        calendar, champion, challenger = self.spec.calendar, None, None
        for month in month_range(calendar.start, calendar.start + (months - 1)):
            self._receive(month)
            wanted = {d.learn_in for d in self._decisions.values() if d.acts}
            if champion is None or calendar.due_by(month) == month or str(month) in wanted:
                made, promoted = self._trained(month, champion)
                champion, challenger = (made, champion) if promoted else (champion, made or challenger)
            yield self._watched(month, champion, challenger)

    def _receive(self, month: Month) -> None:
        spec = self.spec
        self._snapshots[month] = pl.DataFrame(pl.from_arrow(self._source.read(month).batches.read_all()))
        frames = {month - m: self._snapshots[m].lazy() for m in spec.calendar.trailing(month, spec.calendar.lookback)}
        stays = ~nw.col(str(spec.schema_.churned))
        self._features[month] = compute(frames, KEY, spec.features, stays, spec.observed).collect()

    def _labelled(self, snapshot: Month) -> pl.DataFrame:
        """The customers of ``snapshot`` with their features and whether they left."""
        later = [LaterMonth(self._snapshots[m].lazy()) for m in self.spec.calendar.label_months(snapshot)]
        customers = self._features[snapshot].lazy()
        known = label(customers, later, self.spec.label, KEY, self.spec.schema_.churned)
        return (
            known.with_columns(pl.lit(snapshot.first_day).alias("event_month"))
            .filter(pl.col(LABEL).is_not_null())
            .collect()
        )

    def _rows(self, month: Month) -> pl.DataFrame:
        """What a model of ``month`` learns from and is judged on."""
        split, frames = self.spec.calendar.split_of(month), []
        for snapshot in split.months:
            rows, part = self._labelled(snapshot), pl.lit(split.part_of(snapshot))
            if split.kind == "holdout":
                part = pl.lit(holdout_parts(rows[KEY], rows[LABEL], self.spec.training.holdout_share))
            frames.append(rows.with_columns(part.alias("part")))
        return pl.concat(frames) if frames else pl.DataFrame()

    def _trained(self, month: Month, champion: _Kept | None) -> tuple[_Kept | None, bool]:
        """The month's challenger, and whether the gate promotes it."""
        spec, calendar, rows = self.spec, self.spec.calendar, self._rows(month)
        if rows.is_empty():
            return None, False
        try:
            folds = calendar.folds(calendar.split_of(month))
            training = train(rows, spec.feature_names, spec.candidates, spec.training.seed, months=folds)
        except EvidenceError:
            return None, False
        model, judges = training.models[training.challenger], rows.filter(part="validate")
        p, left = model.predict(judges), judges[LABEL]
        found, evidence = evaluate(left, p), Evidence(evaluate(left, p))
        if champion:
            against = champion.model.predict(judges)
            difference = auc_difference(left, p, against, spec.gates.confidence)
            evidence = Evidence(found, evaluate(left, against), difference=difference)
        taught = rows.filter(part="fit")
        reference = {
            **settled_reference(taught, spec.lookbacks, calendar.start), SCORE: score_reference(p),
        }  # fmt: skip
        made = _Kept(f"{month}-{training.challenger}", month, model, found.as_dict(), reference)
        decision = decide(spec.gates, made.name, champion.name if champion else None, evidence)
        return made, decision.outcome == "promoted"

    def _watched(self, month: Month, champion: _Kept | None, challenger: _Kept | None) -> Watched:
        spec, calendar = self.spec, self.spec.calendar
        scorers = {role: kept for role, kept in ((CHAMPION, champion), (CHALLENGER, challenger)) if kept}
        self._scores[month] = {role: (kept, self._scored(month, kept)) for role, kept in scorers.items()}
        drift: Drift | None = None
        wrong: tuple[str, ...] = ()
        seen = Seen(realised=self._realised(calendar.matured_by(month)))
        if champion:
            now = self._with_score(month, champion)
            before = self._with_score(month - 1, champion) if month > calendar.start else None
            watched = spec.monitoring
            drift = measure(now, champion.reference, before, watched.drift, champion.model.importance())
            wrong = tuple(broken(now, champion.reference, spec.feature_names, watched.retrain.max_scale,
                                 watched.drift.min_rows))  # fmt: skip
            moved = {name: drift.importance.get(name, 0.0) for name in drift.moved(TRAINING) if name != SCORE}
            seen = Seen(champion.name, champion.trained, moved, wrong, seen.realised)
        window = calendar.window("monitoring", month, "monitoring").months
        earlier: Sequence[Any] = [self._decisions[m] for m in window if m in self._decisions]
        rules = Rules(spec.monitoring.retrain, spec.gates, calendar)
        self._decisions[month] = retraining.decide(month, seen, earlier, rules)
        return Watched(month, seen.champion, drift, wrong, seen.realised, self._decisions[month])

    def _scored(self, month: Month, kept: _Kept) -> pl.DataFrame:
        rows = self._features[month]
        return rows.select(KEY).with_columns(pl.Series("p", kept.model.predict(rows)))

    def _with_score(self, month: Month, kept: _Kept) -> pl.DataFrame:
        rows = self._features[month]
        return rows.with_columns(pl.Series(SCORE, kept.model.predict(rows)))

    def _realised(self, snapshot: Month | None) -> Realised | None:
        scores = self._scores.get(snapshot, {}) if snapshot else {}
        if snapshot is None or CHAMPION not in scores:
            return None
        rows = self._labelled(snapshot).select(KEY, LABEL)
        for role, (_, scored) in scores.items():
            rows = rows.join(scored.rename({"p": role}), on=KEY, how="left")
        scorers = [Scorer(role, kept.name, kept.promise) for role, (kept, _) in scores.items()]
        return judge(str(snapshot), rows, scorers, self.spec.gates.confidence)
