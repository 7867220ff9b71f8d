"""The circuit breaker of a source: one that can't be reached is paused for a while, and then tried by one run alone.

Its state is written down nowhere. It follows from what runs have observed of the source, which they say in Dagster's
event log as observations of raw_data: that it was ``unreachable``, that it ``answered`` again, and that a run begins a
``trial`` after a pause. A source that answers, and has answered before, isn't worth an event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Token
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, cast

import dagster as dg

from churn_assets.assets.stage import Check, Guard, Work
from churn_assets.errors import SourceError
from churn_assets.launcher import worker_is_gone
from churn_assets.pipeline import Pipeline
from churn_assets.sources.retrying import GATE
from churn_assets.spec.operation import BreakerSpec
from churn_assets.store.content import json_hash

CHECK = "source_reachable"
RECENT = 200
"""Observations that are read at the most: by so many failures in a row, the pause has long been at its longest."""
LONGEST = 16
"""How many times the first pause the longest one is."""

Outcome = Literal["unreachable", "answered", "trial"]
_OUTCOME, _SOURCE, _RUN, _WHY = "source was", "source", "run", "why"


@dataclass(frozen=True)
class Observed:
    """What the run ``run_id`` observed of the source, and what the source's own error said."""

    at: datetime
    outcome: Outcome
    run_id: str
    why: str = ""


@dataclass(frozen=True)
class Breaker:
    """Whether a source may be asked, and why.

    Attributes:
        status: ``closed``: it may be; ``open``: it is paused ``until`` then; ``half_open``: one run may try it.
        failures: runs in a row that couldn't reach it, the first of them at ``since``.
        reason: a sentence for people.
        error: what the last of those runs said.
        trial: the run that tries it at present, if it is half open.
    """

    status: Literal["closed", "open", "half_open"]
    failures: int = 0
    since: datetime | None = None
    until: datetime | None = None
    reason: str = "The source can be reached, as far as is known."
    error: str = ""
    trial: str = ""

    @property
    def allows(self) -> bool:
        """Whether a run may ask the source now."""
        return self.status == "closed" or (self.status == "half_open" and not self.trial)


def breaker(instance: dg.DagsterInstance, pipeline: Pipeline, now: datetime) -> Breaker:
    """How the pipeline's source stands at ``now``, by the event log."""

    def goes_on(run_id: str) -> bool:
        run = instance.get_run_by_id(run_id)
        return run is not None and not run.is_finished and not worker_is_gone(run)

    return derive(_observed(instance, pipeline), now, pipeline.spec.automation.breaker, goes_on)


def derive(seen: Sequence[Observed], now: datetime, given: BreakerSpec, goes_on: Callable[[str], bool]) -> Breaker:
    """How a source stands at ``now``.

    Args:
        seen: what was observed, in the order in which it was said.
        now: with a time zone.
        given: the section ``automation.breaker``.
        goes_on: whether a run, by its id, hasn't ended yet.
    """
    answers = [i for i, one in enumerate(seen) if one.outcome == "answered"]
    row = seen[answers[-1] + 1 :] if answers else seen
    last = max((i for i, one in enumerate(row) if one.outcome == "unreachable"), default=None)
    if last is None:
        return Breaker("closed")
    failed = [one for one in row if one.outcome == "unreachable"]
    failures, since, error = len({one.run_id for one in failed}), failed[0].at, failed[-1].why
    told = f"Since {shown(since)}, {_runs(failures)} couldn't reach the source"
    if failures < given.failures:
        return Breaker("closed", failures, since, None, f"{told}; after {given.failures} it is paused.", error)
    until = failed[-1].at + _pause(given, failures)
    if now < until:
        return Breaker("open", failures, since, until, f"{told}; it is paused until {shown(until)}.", error)
    trial = next((one.run_id for one in row[last:] if one.outcome == "trial" and goes_on(one.run_id)), "")
    doing = f"run {trial} tries it now." if trial else "the next run may try it."
    return Breaker("half_open", failures, since, until, f"{told}; {doing}", error, trial)


def shown(at: datetime) -> str:
    """A point in time as people read it.

    >>> shown(datetime(2025, 3, 1, 6, 5, tzinfo=UTC))
    '2025-03-01 06:05 UTC'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs in a row"


def _pause(given: BreakerSpec, failures: int) -> timedelta:
    # Beyond the cap the exponent doesn't count, and 2 to the power of it would be no number of minutes any more.
    doubled = 2 ** min(failures - given.failures, LONGEST)
    return timedelta(minutes=given.pause_minutes * min(doubled, LONGEST))


def _key(pipeline: Pipeline) -> dg.AssetKey:
    return dg.AssetKey([pipeline.name, "raw_data"])


def _source(pipeline: Pipeline) -> str:
    """What a source is told from its predecessor by: its section, in which secrets are mere names."""
    return json_hash(pipeline.spec.source.model_dump(mode="json"))[:12]


def _observed(instance: dg.DagsterInstance, pipeline: Pipeline) -> list[Observed]:
    """What was observed of the present source lately, in the order in which it was said."""
    source = _source(pipeline)
    found = []
    for record in instance.fetch_observations(_key(pipeline), limit=RECENT).records:
        told = record.asset_observation
        said = {name: str(value.value) for name, value in told.metadata.items()} if told else {}
        if said.get(_SOURCE) != source or _OUTCOME not in said:
            continue
        at = datetime.fromtimestamp(record.timestamp, UTC)
        found.append(Observed(at, cast(Outcome, said[_OUTCOME]), said[_RUN], said.get(_WHY, "")))
    return found[::-1]


class Gate(Guard):
    """What lets a run ask its source, or not, and says in the event log what came of it.

    The log is read when something is asked that may be unreachable: a source that lies on this machine, or an answer
    that is known already, costs nothing, and a paused source's unchanged month is skipped all the same.

    Raises:
        SourceError: the source is paused, or another run tries it; it wasn't asked.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.asked = False
        self.state = Breaker("closed")
        self._refusal: SourceError | None = None
        self._token: Token[Callable[[], None] | None] | None = None

    def __enter__(self) -> None:
        self._token = GATE.set(self._pass)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token:
            GATE.reset(self._token)
        if error is None or (isinstance(error, SourceError) and not error.transient):
            # A refusal is an answer too, unless it was the gate's own.
            if self.asked and self.state.failures:
                self._say("answered")
        elif isinstance(error, SourceError):
            self.asked = True
            self._say("unreachable", str(error))

    @property
    def retries(self) -> bool:
        """Whether a further attempt may ask the source."""
        return self.state.allows or self.state.trial == self.work.run_id

    def checks(self) -> tuple[Check, ...]:
        """How the source stands, for the UI."""
        state = self.state
        if not self.asked and self._refusal is None:
            return (Check(CHECK, True, "Nothing had to be asked that lies outside this machine."),)
        if not state.failures:
            return (Check(CHECK, True, "The source was asked, and answered.", figures={"state": "closed"}),)
        figures = {
            "state": state.status.replace("_", " "),
            "runs in a row that failed": state.failures,
            "since": shown(state.since) if state.since else "",
            "paused until": shown(state.until) if state.until else "",
            "last error": state.error,
        }
        return (Check(CHECK, False, state.reason, figures={name: value for name, value in figures.items() if value}),)

    def remark(self) -> str:
        """What a failed run says of the source besides its error; empty if it isn't paused."""
        return "" if self._refusal or self.retries else self.state.reason

    def _pass(self) -> None:
        if self._refusal:
            raise self._refusal
        if self.asked:
            return
        self._look()
        if self.state.status == "half_open" and self.state.allows:
            # Of several runs that find it so, the one whose word comes first in the log goes on.
            self._say("trial")
        if not self.work.options.forces("raw_data") and not self.retries:
            self._refusal = self._refused()
            raise self._refusal
        self.asked = True

    def _refused(self) -> SourceError:
        name = self.work.pipeline.name
        return SourceError(
            f"source of {name} ({self.work.pipeline.spec.source.type}): expected an answer, found that it is "
            f"paused. {self.state.reason} The last one said: {self.state.error} To ask it at once: `churn run "
            "--force`, or force: raw_data in the launchpad."
        )

    def _look(self) -> None:
        self.state = breaker(self.work.instance, self.work.pipeline, datetime.now(UTC))

    def _say(self, outcome: Outcome, why: str = "") -> None:
        pipeline = self.work.pipeline
        metadata: dict[str, Any] = {
            _OUTCOME: outcome,
            _SOURCE: _source(pipeline),
            _RUN: dg.MetadataValue.dagster_run(self.work.run_id),
            **({_WHY: why} if why else {}),
        }
        self.work.instance.report_runless_asset_event(
            dg.AssetObservation(
                _key(pipeline), description=f"The source of {pipeline.name}: {outcome}.", metadata=metadata,
                partition=str(self.work.month),
            )
        )  # fmt: skip
        self._look()
