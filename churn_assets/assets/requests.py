"""Runs that are asked for without a person: of what is needed, just what was not asked for already.

The *cause* of a need is a hash of everything from outside the month that it would be made from. Whoever sees the need,
schedule or sensor, before or after a restart, computes the same cause, and the run that is asked for carries it as a
tag. The month isn't asked for by that cause again, unless the run can't have settled it: its process died, or what it
failed by may have passed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, PARTITION_NAME_TAG

from churn_assets.assets import ALL
from churn_assets.assets.breaker import Breaker, breaker
from churn_assets.assets.jobs import PIPELINE_TAG, job_name
from churn_assets.assets.outcomes import Outcome, outcome
from churn_assets.assets.reasons import UNKNOWN, Look, Need
from churn_assets.coordinator import URGENCY_TAG, Urgency, month_of
from churn_assets.months import STAGES, Month, month_range
from churn_assets.pipeline import Pipeline

REASON_TAG = "churn/reason"
CAUSE_TAG = "churn/cause"

ATTEMPTS = 3
"""Runs for one cause, where each of them died, or left the month as it was."""
DAY = timedelta(days=1)
"""After which a canceled month is asked for again, and one of which only reading tells whether the source has it."""
CLAIM_SECONDS = 120.0
"""For how long a request is left to Dagster to make a run of."""
RECENT = 50
"""Runs of a month that are looked through for those that automation has asked for."""

_CLAIMED: dict[tuple[str, str], float] = {}
_CLAIMING = threading.Lock()


@dataclass(frozen=True)
class Asked:
    """What a look has come to: the runs to ask for, ascending by month, and of other months why not, in sentences."""

    requests: list[dg.RunRequest]
    left: list[str]

    def skipped(self, otherwise: str) -> dg.SkipReason | None:
        """Why nothing is asked for, if that is so; ``otherwise`` where nothing is needed."""
        return None if self.requests else dg.SkipReason(" ".join(self.left)[:1000] or otherwise)


@dataclass(frozen=True)
class Requests:
    """What automation asks for, on one look at a pipeline.

    Args:
        codes: the code of every stage, as the definitions have it.
        now: the moment of the look, with a time zone.
    """

    instance: dg.DagsterInstance
    pipeline: Pipeline
    codes: Mapping[str, str]
    now: datetime

    @cached_property
    def look(self) -> Look:
        """How the pipeline's months stand, and its source, if it may be asked."""
        return Look(self.pipeline, self.codes, self.now, "" if self._breaker.allows else self._breaker.reason)

    def ask(self, *needs: Iterable[Need]) -> Asked:
        """Runs for what is needed and was not asked for yet; of the needs of one month the first one counts."""
        first: dict[Month, Need] = {}
        for need in (one for kind in needs for one in kind):
            first.setdefault(need.month, need)
        requests, left = list[dg.RunRequest](), self.look.left
        for _, need in sorted(first.items()):
            cause = need.cause(self.pipeline, self.codes)
            runs = self._asked_for(need.month)
            key = f"{need.month}-{cause[:16]}" + (f"-after-{runs[0].dagster_run.run_id[:8]}" if runs else "")
            why_not = self._gated(need, requests) or self._in_hand(need) or self._settled(need, cause, runs)
            if why_not or not _claimed((str(self.pipeline.lake.root), key)):
                left.append(why_not or f"{need.month} was asked for a moment ago.")
            else:
                requests.append(self._request(need, cause, key))
        return Asked(requests, list(dict.fromkeys(left)))

    @cached_property
    def _breaker(self) -> Breaker:
        return breaker(self.instance, self.pipeline, self.now)

    def _gated(self, need: Need, requests: Sequence[dg.RunRequest]) -> str:
        """Why the source is left in peace; empty if the need may ask it, or doesn't."""
        if not need.reads_source:
            return ""
        if not self._breaker.allows:
            return self._breaker.reason
        tried = self._breaker.status == "half_open" and any(_reads_source(request) for request in requests)
        return f"{need.month} waits until another month has tried the source." if tried else ""

    def _in_hand(self, need: Need) -> str:
        """Who makes the month, or is about to."""
        return f"{need.month} is left to {self._hands[need.month]}." if need.month in self._hands else ""

    @cached_property
    def _hands(self) -> dict[Month, str]:
        planned = {Month.parse(month): str(plan) for plan in self.pipeline.turns.plans() for month in plan.months}
        runs = self.instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
        return planned | {month: f"run {run.run_id}" for run in runs if self._owns(run) for month in _months(run)}

    def _owns(self, run: dg.DagsterRun) -> bool:
        keys = run.asset_selection or ()
        return run.job_name == job_name(self.pipeline) or any(key.path[0] == self.pipeline.name for key in keys)

    def _asked_for(self, month: Month) -> list[dg.RunRecord]:
        """The runs of ``month`` that automation has asked for, the last one first."""
        of_month = dg.RunsFilter(tags={PIPELINE_TAG: self.pipeline.name, PARTITION_NAME_TAG: str(month)})
        records = self.instance.get_run_records(of_month, limit=RECENT)
        return [record for record in records if CAUSE_TAG in record.dagster_run.tags]

    def _settled(self, need: Need, cause: str, records: Sequence[dg.RunRecord]) -> str:
        """Why the need is left to the last run that was asked for by its cause; empty if it isn't."""
        same = list(takewhile(lambda record: record.dagster_run.tags[CAUSE_TAG] == cause, records))
        if not same:
            return ""
        last = same[0].dagster_run
        found = outcome(self.instance, last)
        told = f"{need.month}: run {last.run_id}, asked for by the same cause, {_TOLD[found]}"
        if pause := self._pause(need, found):
            again = _ended(same[0]) + pause
            return f"{told}; it is asked for again after {again:%Y-%m-%d %H:%M} UTC." if self.now < again else ""
        if found == "source_down" or (found in ("succeeded", "died") and len(same) < ATTEMPTS):
            return ""
        return f"{told}. Mend what it says, or run the month by hand."

    def _pause(self, need: Need, found: Outcome) -> timedelta | None:
        """How long after a run that ended so the month is left alone; None if time doesn't matter."""
        if found == "canceled" or (found == "failed" and need.reads_source and need.source == UNKNOWN):
            return DAY
        return timedelta(minutes=self.pipeline.spec.automation.breaker.pause_minutes) if found == "passing" else None

    def _request(self, need: Need, cause: str, key: str) -> dg.RunRequest:
        tables = [table for stage in need.stages for table in ALL[stage].tables]
        return dg.RunRequest(
            run_key=key,
            partition_key=str(need.month),
            asset_selection=None if need.stages == STAGES else [self._key(table) for table in tables],
            tags={
                REASON_TAG: need.reason[:250],
                CAUSE_TAG: cause,
                PIPELINE_TAG: self.pipeline.name,
                URGENCY_TAG: self._urgency(need),
            },
        )

    def _key(self, table: str) -> dg.AssetKey:
        return dg.AssetKey([self.pipeline.name, table])

    def _urgency(self, need: Need) -> Urgency:
        """A new month is live if none of the months that are due is newer; what was made before is corrected."""
        if not need.reads_source or self.pipeline.lake.record("raw_data", need.month):
            return "correction"
        return "live" if need.month >= max(self.look.due, default=need.month) else "backfill"


_TOLD: dict[Outcome, str] = {
    "succeeded": "left it as it is",
    "canceled": "was canceled",
    "died": "ended without a word",
    "source_down": "couldn't reach the source",
    "passing": "failed by what may pass",
    "failed": "failed",
}


def _reads_source(request: dg.RunRequest) -> bool:
    return request.asset_selection is None or any(key.path[-1] == "raw_data" for key in request.asset_selection)


def _months(run: dg.DagsterRun) -> tuple[Month, ...]:
    """The months that a run makes."""
    first = month_of(run)
    if first is None:
        return ()
    return month_range(first, Month.parse(run.tags.get(ASSET_PARTITION_RANGE_END_TAG, str(first))))


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.create_timestamp


def _claimed(what: tuple[str, str]) -> bool:
    """Whether ``what`` may be asked for: another look may have just done so, and Dagster not yet made a run of it.

    All schedules and sensors of a code location look in one process.
    """
    with _CLAIMING:
        for old in [one for one, until in _CLAIMED.items() if until < time.monotonic()]:
            del _CLAIMED[old]
        if what in _CLAIMED:
            return False
        _CLAIMED[what] = time.monotonic() + CLAIM_SECONDS
        return True
