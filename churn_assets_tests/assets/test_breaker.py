from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from churn_assets.assets.breaker import LONGEST, Breaker, Gate, Observed, breaker, derive
from churn_assets.assets.options import RunOptions
from churn_assets.assets.stage import Work
from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec.operation import BreakerSpec
from churn_assets_tests.api import Answer, Api, Route, running_api
from churn_assets_tests.declared import declared

JAN = Month.parse("2024-01")
MINUTE = timedelta(minutes=1)


class Runs(RuleBasedStateMachine):
    """Runs that ask a source, and what its breaker must be by keeping count of them."""

    given = BreakerSpec(failures=2, pause_minutes=10)

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self.seen: list[Observed] = []
        self.failed: list[str] = []
        self.until = self.now
        self.trying: str | None = None
        self.ended: set[str] = set()

    @property
    def found(self) -> Breaker:
        return derive(self.seen, self.now, self.given, lambda run: run not in self.ended)

    def say(self, outcome: Any, run: str) -> None:
        self.seen.append(Observed(self.now, outcome, run, f"error {len(self.seen)}"))

    def fail(self, run: str) -> None:
        self.say("unreachable", run)
        self.failed += [run] if run not in self.failed else []
        self.until = self.now + 10 * MINUTE * min(2 ** max(len(self.failed) - 2, 0), 16)
        self.trying = None

    @rule(minutes=st.integers(1, 200))
    def time_passes(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @precondition(lambda self: self.found.status == "closed")
    @rule(attempts=st.integers(1, 3))
    def a_run_fails(self, attempts: int) -> None:
        run = str(len(self.seen))
        for _ in range(attempts):
            self.fail(run)

    @precondition(lambda self: self.found.allows)
    @rule()
    def a_run_is_answered(self) -> None:
        self.say("answered", str(len(self.seen)))
        self.failed, self.trying = [], None

    @precondition(lambda self: self.found.status == "half_open")
    @rule()
    def a_run_wants_to_try(self) -> None:
        run = str(len(self.seen))
        self.trying = self.trying or run
        self.say("trial", run)
        if self.trying != run:
            self.ended.add(run)

    @precondition(lambda self: self.trying)
    @rule(killed=st.booleans())
    def the_trial_fails_or_is_killed(self, killed: bool) -> None:
        run, self.trying = str(self.trying), None
        self.ended.add(run)
        if not killed:
            self.fail(run)

    @precondition(lambda self: self.found.status == "open")
    @rule()
    def a_forced_run_fails(self) -> None:
        self.fail(str(len(self.seen)))

    @invariant()
    def it_is_as_counted(self) -> None:
        found = self.found
        if len(self.failed) < 2:
            expected: str = "closed"
        else:
            expected = "open" if self.now < self.until else "half_open"
            assert found.until == self.until
            assert found.error == next(o.why for o in reversed(self.seen) if o.outcome == "unreachable")
        assert (found.status, found.failures, found.trial) == (expected, len(self.failed), self.trying or "")
        assert found.allows == (expected == "closed" or (expected == "half_open" and not self.trying))


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_the_pause_has_an_end_however_long_the_source_is_away() -> None:
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    seen = [Observed(begin, "unreachable", str(run)) for run in range(5000)]
    found = derive(seen, begin, BreakerSpec(pause_minutes=30), lambda run: True)
    assert found.until == begin + LONGEST * 30 * MINUTE


def rows(_: object) -> Answer:
    return Answer([{"customer_id": "c1"}])


def busy(_: object) -> Answer:
    return Answer(b"busy", 503)


@dataclass
class Asking:
    """A pipeline whose source is a server, on a real instance, and runs that ask it without Dagster around them."""

    instance: dg.DagsterInstance
    pipeline: Pipeline
    api: Api
    answers: dict[str, Route]

    def run(self) -> str:
        run = dg.DagsterRun("churn_month", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED)
        self.instance.add_run(run)
        return run.run_id

    def gate(self, run: str, force: bool = False) -> Gate:
        options = RunOptions(force="raw_data" if force else "nothing")
        return Gate(Work(self.pipeline, JAN, "", run, logging.getLogger(), instance=self.instance, options=options))

    def ask(self, run: str = "", force: bool = False) -> str:
        """What came of it, in a word or two."""
        gate = self.gate(run or self.run(), force)
        try:
            with gate:
                self.pipeline.source.read(JAN)
        except SourceError as error:
            told = "unreachable" if error.transient else "paused" if "is paused" in str(error) else "refused"
            return told + ("" if gate.retries else ", and no retry")
        return "answered"

    def until_paused(self) -> None:
        assert [self.ask() for _ in range(3)] == ["unreachable", "unreachable", "unreachable, and no retry"]

    def pause_is_over(self) -> None:
        self.given(automation={"breaker": {"pause_minutes": 1e-9}})

    def given(self, **changes: Any) -> None:
        """Goes on with another specification."""
        spec = self.pipeline.spec.model_dump(mode="json", by_alias=True)
        spec |= {section: {**spec[section], **keys} for section, keys in changes.items()}
        self.pipeline = Pipeline(type(self.pipeline.spec).model_validate(spec), self.pipeline.settings)

    def stands(self, minutes: float = 0) -> Breaker:
        return breaker(self.instance, self.pipeline, datetime.now(UTC) + minutes * MINUTE)


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    answers: dict[str, Route] = {"rows": busy}
    with running_api(rows=lambda request: answers["rows"](request)) as api:
        source = {"type": "http", "url": f"{api.url}/rows?month={{month}}", "attempts": 1}
        pipeline = Pipeline(declared(source=source), Settings(tmp_path / "data", tmp_path / "defs"))
        with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield Asking(instance, pipeline, api, answers)


def test_it_opens_is_tried_opens_for_longer_and_closes(asking: Asking) -> None:
    asking.until_paused()
    assert [asking.ask(), asking.ask()] == ["paused, and no retry"] * 2
    assert len(asking.api.asked) == 3
    found = asking.stands()
    assert (found.status, found.failures, found.allows) == ("open", 3, False)
    assert "3 runs in a row couldn't reach the source; it is paused until" in found.reason
    assert "found status 503" in found.error
    assert asking.stands(29.9).status == "open"
    later = asking.stands(30.1)
    assert (later.status, later.allows) == ("half_open", True)

    before = asking.pipeline
    asking.pause_is_over()
    assert asking.ask() == "unreachable"
    asking.pipeline = before
    assert (asking.stands(59).status, asking.stands(61).status) == ("open", "half_open")
    assert asking.ask() == "paused, and no retry"
    assert len(asking.api.asked) == 4

    asking.pause_is_over()
    asking.answers["rows"] = rows
    assert asking.ask() == "answered"
    asking.pipeline = before
    assert asking.stands() == Breaker("closed")


def test_force_asks_a_paused_source(asking: Asking) -> None:
    asking.until_paused()
    assert asking.ask(force=True) == "unreachable, and no retry"
    assert asking.stands().failures == 4
    asking.answers["rows"] = rows
    assert asking.ask(force=True) == "answered"
    assert asking.stands() == Breaker("closed")


def test_attempts_of_one_run_count_once_and_a_refusal_is_an_answer(asking: Asking) -> None:
    run = asking.run()
    assert [asking.ask(run) for _ in range(4)] == ["unreachable"] * 4
    assert asking.stands().failures == 1
    asking.answers["rows"] = lambda _: Answer(b"", 404)
    assert asking.ask() == "refused"
    assert asking.stands() == Breaker("closed")


def test_a_source_that_answers_isnt_worth_an_event(asking: Asking) -> None:
    asking.answers["rows"] = rows
    assert [asking.ask(), asking.ask()] == ["answered"] * 2
    assert not asking.instance.fetch_observations(dg.AssetKey([asking.pipeline.name, "raw_data"]), limit=9).records


def test_another_source_begins_closed(asking: Asking) -> None:
    asking.until_paused()
    asking.given(source={"timeout": 9})
    assert asking.stands() == Breaker("closed")
    asking.answers["rows"] = rows
    assert asking.ask() == "answered"


def test_of_several_runs_at_once_one_tries(asking: Asking) -> None:
    asking.until_paused()
    told: list[str] = []
    arrived, refused = Barrier(4, timeout=20), Event()

    def hold(_: object) -> Answer:
        assert refused.wait(20), "the others are told at once"
        return Answer(b"", 503)

    def ask(run: str) -> None:
        arrived.wait()
        told.append(asking.ask(run))
        if told.count("paused, and no retry") == 3:
            refused.set()

    asking.pause_is_over()
    asking.answers["rows"] = hold
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, [asking.run() for _ in range(4)]))
    assert sorted(told) == ["paused, and no retry"] * 3 + ["unreachable"]
    assert len(asking.api.asked) == 4


def test_a_trial_that_was_killed_leaves_the_next_one_to_another_run(asking: Asking) -> None:
    asking.until_paused()
    asking.pause_is_over()
    asking.answers["rows"] = rows
    run = asking.run()
    with suppress(KeyboardInterrupt), asking.gate(run):
        asking.pipeline.source.read(JAN)
        raise KeyboardInterrupt
    assert (asking.stands().status, asking.stands().trial) == ("half_open", run)
    assert asking.ask() == "paused, and no retry"
    killed = asking.instance.get_run_by_id(run)
    assert killed is not None
    asking.instance.report_run_failed(killed)
    assert asking.ask() == "answered"
    assert asking.stands() == Breaker("closed")
