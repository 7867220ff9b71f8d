"""Whose turn it is, where several processes make months of one pipeline at once.

Two things keep them apart, and neither outlives the process that it belongs to:

- a *lock* of a month, held for one step: what a step decides and writes, no other does at the same time;
- a *plan*, the months that a process is about to make. Whoever plans a month lets all earlier months go first, those of
  other plans too, for later months are made from earlier ones. One month in two plans goes to the older plan first;
  the other finds it made, and skips it.

Nobody holds a lock while waiting for a plan, and a plan only waits for an earlier month, or for an older plan of the
same one: the process with the earliest month always goes on, so that all come to an end.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from churn_assets.months import Month
from churn_assets.processes import is_gone, process_identity

PAUSE = 0.1
"""Seconds between two looks at whether it is one's turn."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """The months that a process has yet to make, ascending, and the run that makes the first of them now, if any."""

    id: str
    process: str
    begun: float
    months: tuple[str, ...]
    run_id: str = ""

    @property
    def age(self) -> tuple[float, str]:
        """Sorts the older plan before the newer one."""
        return self.begun, self.id

    def __str__(self) -> str:
        host, number, *_ = self.process.split("|")
        who = f"run {self.run_id[:8]}" if self.run_id else f"process {number} on {host}"
        return f"{who}, which makes {self.months[0]}"


@dataclass
class Planned:
    """One's own plan, as it is carried out; ``met`` tells whether others had plans at the same time."""

    turns: Turns
    plan: Plan
    made: set[str] = field(default_factory=set)
    met: bool = False

    def begin(self, month: Month, run_id: str, tell: Tell) -> None:
        """Waits for the turn of ``month``, then says that ``run_id`` makes it; ``tell`` learns what is waited for."""
        _wait_for(partial(self._ahead, str(month)), tell)
        self._become(replace(self.plan, run_id=run_id))

    def end(self, month: Month, made: bool = True) -> None:
        """Takes ``month`` off the plan, however it ended."""
        if made:
            self.made.add(str(month))
        left = tuple(m for m in self.plan.months if m != str(month))
        self._become(replace(self.plan, months=left, run_id=""))

    def _ahead(self, month: str) -> Plan | None:
        others = [plan for plan in self.turns.plans() if plan.id != self.plan.id]
        self.met = self.met or bool(others)
        for other in others:
            # What one has made oneself, the others will just skip.
            earlier = any(m < month and m not in self.made for m in other.months)
            if earlier or (month in other.months and other.age < self.plan.age):
                return other
        return None

    def _become(self, plan: Plan) -> None:
        self.plan = plan
        self.turns.publish(plan)


class Turns:
    """The locks and plans of one pipeline, below ``folder``; made on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def planned(self, months: Sequence[Month]) -> Iterator[Planned]:
        """Lets others know of months that this process is about to make."""
        plan = Plan(uuid.uuid4().hex, process_identity(), time.time(), tuple(map(str, sorted(months))))
        self.publish(plan)
        try:
            yield Planned(self, plan)
        finally:
            self._place(plan.id).unlink(missing_ok=True)

    @contextmanager
    def alone(self, month: Month, run_id: str, tell: Tell) -> Iterator[None]:
        """Keeps ``month`` to oneself; waits while another step has it. The lock of a killed process is free."""
        path = self.folder / f"{month}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"waits for run {path.read_text()[:8] or 'unknown'}, which makes {month}")
            lock.acquire(poll_interval=PAUSE)
        try:
            path.write_text(run_id)
            yield
        finally:
            lock.release()

    def wait_for_plans(self, month: Month, tell: Tell) -> None:
        """Waits until no plan of another process has a month before ``month``; a month of one's own plan needn't."""

        def ahead() -> Plan | None:
            plans = self.plans()
            if any(plan.process == process_identity() for plan in plans):
                return None
            return next((plan for plan in plans if any(m < str(month) for m in plan.months)), None)

        _wait_for(ahead, tell)

    def plans(self) -> list[Plan]:
        """The plans of processes that are still there and have months left."""
        found = []
        for path in self.folder.glob("plans/*.json"):
            try:
                plan = Plan(**json.loads(path.read_text()))
            except FileNotFoundError:
                continue
            except ValueError:
                # The power went before it was on the disk, and its process with it.
                path.unlink(missing_ok=True)
                continue
            if is_gone(plan.process):
                path.unlink(missing_ok=True)
            elif plan.months:
                found.append(replace(plan, months=tuple(plan.months)))
        return found

    def publish(self, plan: Plan) -> None:
        """Puts a plan where the other processes see it, in one step."""
        place = self._place(plan.id)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".part")
        draft.write_text(json.dumps(asdict(plan)))
        draft.replace(place)

    def _place(self, plan_id: str) -> Path:
        return self.folder / "plans" / f"{plan_id}.json"


def _wait_for(ahead: Callable[[], Plan | None], tell: Tell) -> None:
    """Waits while a plan goes first."""
    told = ""
    while plan := ahead():
        if str(plan) != told:
            told = str(plan)
            tell(f"waits for {told}")
        time.sleep(PAUSE)
