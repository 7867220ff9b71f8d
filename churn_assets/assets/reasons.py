"""Which months must be run, and why: due and never made, made from something that has changed, or ended half-way.

Nothing here asks for a run; ``requests`` does, of what is needed. The lake's records tell most of it. The source is
asked of the newest months, and of those that were never received, and only where asking is cheap: for its ``identity``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from churn_assets.assets.tracking import unreachable
from churn_assets.errors import MissingMonth, SourceError
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import AMENDMENTS, TRAINING_ORDERS, VERDICTS, Pipeline, token
from churn_assets.sources import Source
from churn_assets.sources.retrying import IN_A_HURRY
from churn_assets.staleness import State, changed, made_so_far, states
from churn_assets.store.content import json_hash
from churn_assets.store.lake import MonthRecord

LEARNING = STAGES[STAGES.index("versioned_dataset") :]
"""The stages that wait for labels."""
BEHIND_SOURCE = STAGES[1:]
"""The stages that never ask the source."""
UNKNOWN = "known by reading it"
"""What stands for a source that only reading can tell of, here as in a month's record."""


@dataclass(frozen=True)
class Need:
    """A month that must be run.

    Attributes:
        reason: why, in a sentence.
        source: what the source says of it now, or said when it was read; empty while it doesn't say.
        stages: those to run.
        pending: the runs that had to leave a decision open, or whose files are gone, by which one wait or loss is told
            from the next.
    """

    month: Month
    reason: str
    source: str
    stages: tuple[str, ...] = STAGES
    pending: tuple[str, ...] = ()

    @property
    def reads_source(self) -> bool:
        return "raw_data" in self.stages

    def cause(self, pipeline: Pipeline, codes: Mapping[str, str]) -> str:
        """A hash of everything from outside the month that it would be made from.

        What is made on the way doesn't count: the run of a month doesn't change what it was asked for by, however far
        it comes.
        """
        outside = [*_others(pipeline, self.month), *_said(pipeline, self.month)]
        return json_hash([pipeline.name, str(self.month), self.source, sorted(outside), dict(codes), self.pending])


def _others(pipeline: Pipeline, month: Month) -> Iterator[tuple[str, str]]:
    """What stands in the other months of the month's windows."""
    for stage in STAGES:
        for window in pipeline.calendar.windows(stage, month):
            for other in window:
                if other != month:
                    record = pipeline.lake.record(window.table, other)
                    yield f"{window.table} {other}", token(record) if record else ""


def _said(pipeline: Pipeline, month: Month) -> Iterator[tuple[str, str]]:
    """What people said of the month."""
    found = [pipeline.lake.record(table, month) for table in (AMENDMENTS, VERDICTS, TRAINING_ORDERS)]
    for record in (*found, pipeline.treatments(month)):
        if record:
            yield record.table, record.content


@dataclass(frozen=True)
class Look:
    """One look at a pipeline.

    Attributes:
        codes: the code of every stage, as the definitions have it.
        now: the moment of the look; it decides what is due, and no data.
        closed: why the source must not be asked at present; empty if it may.
        left: of what is needed and can't be had now, why not, in sentences; grows while the look goes on.
    """

    pipeline: Pipeline
    codes: Mapping[str, str]
    now: datetime
    closed: str = ""
    left: list[str] = field(default_factory=list)
    _down: list[Month] = field(default_factory=list)
    _answers: dict[Month, str | None] = field(default_factory=dict)

    @cached_property
    def states(self) -> dict[Month, dict[str, State]]:
        """How every month stands, up to the newest that was made."""
        return states(self.pipeline, made_so_far(self.pipeline), self.codes)

    @property
    def due(self) -> tuple[Month, ...]:
        """The months whose data is complete by now, ascending."""
        return self._up_to(self.pipeline.calendar.complete_at(self.now))

    @property
    def newest(self) -> tuple[Month, ...]:
        """The months that the source is watched for."""
        return self.due[-self.pipeline.spec.automation.watch_months :]

    def completed(self, month: Month) -> list[Need]:
        """``month``, if it is due and was never received, whether or not the source has it: a run will tell."""
        if month not in self.due or self._received(month):
            return []
        return [Need(month, self._due_since(month), self._ask(month) or "")]

    def missing(self) -> list[Need]:
        """Months that are due and were never received, as far as the source has them."""
        return [need for month in self.due if not self._received(month) for need in self._deliverable(month)]

    def changed_at_source(self) -> list[Need]:
        """The newest months that the source has now, or tells otherwise than when they were read."""
        return [need for month in self.newest for need in self._watched(month)]

    def dropped(self, month: Month, file: str) -> list[Need]:
        """``month``, of which ``file`` lies in the drop folder, ready to be read."""
        if month not in self._up_to(Month.of(self.now.date()) - 1):
            self.left.append(f"{file}: {month} isn't a month of the pipeline that has ended.")
            return []
        said = self._ask(month)
        return [] if said is None else [Need(month, f"{file} was dropped.", said)]

    def stale(self) -> list[Need]:
        """Months that were made from something that has changed since: those whose windows have it, and no others."""
        found = _stale(self.states)
        if waits := _waits_for_tracking(self.pipeline, found):
            self.left.append(waits)
            found = {month: stale for month, stale in found.items() if not any(s.pending for s in stale)}
        return [self._correction(month, stale) for month, stale in found.items()]

    def unfinished(self) -> list[Need]:
        """Months that were received, and whose run ended half-way."""
        gaps = {month: [s.stage for s in row.values() if s.status == "missing"] for month, row in self.states.items()}
        return [
            Need(month, f"{month} ended half-way: {gap[0]} was never made.", self._recorded(month), BEHIND_SOURCE)
            for month, gap in gaps.items()
            if gap and gap[0] != "raw_data"
        ]

    def matured(self) -> list[Need]:
        """Months with features, whose labels are known by now, in which nothing was learned yet."""
        return [need for month in self.states if self._labelled(month) for need in self._unlearned(month)]

    def _up_to(self, last: Month) -> tuple[Month, ...]:
        start, end = self.pipeline.spec.months.start, self.pipeline.spec.months.end
        return month_range(start, min(last, end) if end else last)

    def _received(self, month: Month) -> bool:
        return self.pipeline.lake.record("raw_data", month) is not None

    def _recorded(self, month: Month) -> str:
        """What the source said of ``month`` when it was read."""
        record = self.pipeline.lake.record("raw_data", month)
        return record.inputs.get(f"source {month}", "") if record else ""

    def _due_since(self, month: Month) -> str:
        return f"{month} is complete since {self.pipeline.calendar.available_from(month).date()} and was never made."

    def _deliverable(self, month: Month) -> Iterator[Need]:
        """``month``, if the source has it; of a source that is down, its first month as a trial."""
        said = None if self._down else self._ask(month)
        if said is not None or self._down == [month]:
            yield Need(month, self._due_since(month), said or "")

    def _watched(self, month: Month) -> Iterator[Need]:
        if not self._received(month):
            yield from self._deliverable(month)
        elif not self._down and (said := self._ask(month)) not in (None, UNKNOWN, self._recorded(month)):
            yield Need(month, f"The source says something else of {month} than when it was read.", str(said))

    def _ask(self, month: Month) -> str | None:
        """What the source says of ``month`` now; None, with the reason in ``left``, where it doesn't say."""
        if month not in self._answers:
            self._answers[month] = self._answer(month)
        return self._answers[month]

    def _answer(self, month: Month) -> str | None:
        if self.closed:
            self.left.append(self.closed)
            return None
        source = self.pipeline.source
        try:
            if file := _unsettled(source, month):
                self.left.append(f"{month} waits: {file} is still being written.")
                return None
            return _identity(source, month) or UNKNOWN
        except SourceError as error:
            self.left.append(str(error))
            if error.transient:
                self._down.append(month)
            return None

    def _correction(self, month: Month, stale: list[State]) -> Need:
        stages = STAGES if stale[0].stage == "raw_data" else BEHIND_SOURCE
        pending = tuple(s.against for s in stale if s.pending or s.lost)
        return Need(month, _became(self.pipeline, stale[0]), self._recorded(month), stages, pending)

    def _labelled(self, month: Month) -> bool:
        """Whether the features of ``month`` are there, and all that its labels are made of."""
        if self.states[month]["feature_store"].status == "missing":
            return False
        try:
            return bool(self.pipeline.inputs("versioned_dataset", month))
        except MissingMonth:
            return False

    def _unlearned(self, month: Month) -> Iterator[Need]:
        if gap := tuple(stage for stage in LEARNING if self.states[month][stage].status == "missing"):
            snapshot = self.pipeline.calendar.matured_by(month)
            reason = f"The labels of {snapshot} are known in {month}, and {gap[0]} was never made."
            yield Need(month, reason, self._recorded(month), gap)


def stale_months(pipeline: Pipeline, codes: Mapping[str, str]) -> dict[Month, list[State]]:
    """The months with stale stages, ascending, and those stages."""
    return _stale(states(pipeline, made_so_far(pipeline), codes))


def _stale(rows: Mapping[Month, Mapping[str, State]]) -> dict[Month, list[State]]:
    found = {month: [s for s in row.values() if s.status == "stale"] for month, row in rows.items()}
    return {month: stale for month, stale in found.items() if stale}


def _became(pipeline: Pipeline, state: State) -> str:
    """Which table's month has changed, and to what version; another reason where it is none of these."""
    record = pipeline.lake.record(state.stage, state.month)
    assert record is not None, "what is stale was made"
    told = f"{state.stage} {state.month}: {state.reason}"
    if state.stage == "raw_data" or state.pending:
        return told
    try:
        names = changed(record, pipeline.inputs(state.stage, state.month))
    except MissingMonth:
        return told
    now = [found for name in names if (found := _named(pipeline, name))]
    if not now:
        return told
    more = f", and {len(names) - 1} more changed" if len(names) > 1 else ""
    return f"{now[0].table} {now[0].month} became version {now[0].version}{more}."


def _named(pipeline: Pipeline, name: str) -> MonthRecord | None:
    """The record that an input's name, "<table> <month>", stands for."""
    table, _, month = name.partition(" ")
    return pipeline.lake.record(table, Month.parse(month))


def _waits_for_tracking(pipeline: Pipeline, stale: Mapping[Month, list[State]]) -> str | None:
    """Why months that wait for MLflow can't be decided yet; None if they can, or there are none."""
    if not any(state.pending for found in stale.values() for state in found):
        return None
    return unreachable(pipeline.settings)


def _identity(source: Source, month: Month) -> str | None:
    """The source's identity of ``month``, without a second attempt: the next look is one."""
    hurry = IN_A_HURRY.set(True)
    try:
        return source.identity(month)
    finally:
        IN_A_HURRY.reset(hurry)


def _unsettled(source: Source, month: Month) -> str:
    """The file of ``month`` that is still being written into a drop folder, which reading would wait for."""
    from churn_assets.sources.incoming import IncomingSource
    from churn_assets.sources.joined import JoinedSource

    if isinstance(source, JoinedSource):
        return next(filter(None, (_unsettled(table, month) for table in source.tables.values())), "")
    if not isinstance(source, IncomingSource):
        return ""
    return next((file.name for file in source.look() if file.month == month and file.status == "settling"), "")
