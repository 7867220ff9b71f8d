from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets import turns
from churn_assets.months import Month
from churn_assets.turns import Plan, Turns

JAN, FEB, MAR = Month(2024, 1), Month(2024, 2), Month(2024, 3)
HOLDS = """
import sys, time
from pathlib import Path
from churn_assets.months import Month
from churn_assets.turns import Turns
at = Turns(Path(sys.argv[1]))
with at.planned([Month(2024, 1)]), at.alone(Month(2024, 1), "a run", print):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PAUSE", 0.001)


def until_told(told: list[str]) -> None:
    deadline = time.monotonic() + 10
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=4))
def test_plans_over_any_months_all_come_to_an_end_and_the_earliest_month_goes_first(wanted: list[set[int]]) -> None:
    began: list[tuple[int, int]] = []
    ready = threading.Barrier(len(wanted))

    def carry_out(number: int, at: Turns, months: list[Month]) -> None:
        with at.planned(months) as plan:
            ready.wait()
            for month in months:
                plan.begin(month, f"run {number}", lambda what: None)
                began.append((month - JAN, number))
                plan.end(month)

    with TemporaryDirectory() as folder:
        threads = [
            threading.Thread(target=carry_out, args=(i, Turns(Path(folder)), [JAN + m for m in sorted(months)]))
            for i, months in enumerate(wanted)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert not any(thread.is_alive() for thread in threads)
        assert not Turns(Path(folder)).plans()
    assert sorted(began) == sorted((m, i) for i, months in enumerate(wanted) for m in months)
    first = [month for at, (month, _) in enumerate(began) if month not in {m for m, _ in began[:at]}]
    assert first == sorted(first)


def test_what_is_waited_for_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    with Turns(tmp_path).planned([JAN]) as other, Turns(tmp_path).planned([FEB]) as mine:
        other.begin(JAN, "0123456789", told.append)
        waits = threading.Thread(target=mine.begin, args=(FEB, "a run", told.append))
        waits.start()
        until_told(told)
        assert waits.is_alive()
        other.end(JAN)
        waits.join(timeout=5)
        assert not waits.is_alive()
    assert told == ["waits for run 01234567, which makes 2024-01"]


def test_what_one_has_made_oneself_isnt_waited_for_again(tmp_path: Path) -> None:
    with Turns(tmp_path).planned([JAN, FEB]) as mine, Turns(tmp_path).planned([JAN, MAR]):
        mine.begin(JAN, "a run", lambda what: None)
        mine.end(JAN)
        mine.begin(FEB, "a run", lambda what: pytest.fail(what))


def test_a_month_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def step(number: int) -> None:
        with Turns(tmp_path).alone(JAN, f"{number}", lambda what: None):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(number)

    threads = [threading.Thread(target=step, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert most == [1] * 5


def test_a_killed_process_keeps_nobody_waiting(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    at, told = Turns(tmp_path), []
    (plan,) = at.plans()
    assert (plan.months, plan.process.split("|")[1]) == (("2024-01",), str(process.pid))

    def wait() -> None:
        at.wait_for_plans(FEB, told.append)
        with at.alone(JAN, "mine", told.append):
            told.append("mine")

    waits = threading.Thread(target=wait)
    waits.start()
    until_told(told)
    process.kill()
    process.communicate(timeout=10)
    waits.join(timeout=10)
    assert (told[0], told[-1]) == (f"waits for {plan}", "mine")
    assert not at.plans()


def test_a_month_waits_for_earlier_months_of_others_alone(tmp_path: Path) -> None:
    at = Turns(tmp_path)
    at.publish(Plan("other", "elsewhere|1|0", 0.0, ("2024-02", "2024-03")))
    at.wait_for_plans(FEB, pytest.fail)
    told: list[str] = []
    waits = threading.Thread(target=at.wait_for_plans, args=(MAR, told.append))
    waits.start()
    until_told(told)
    at.publish(Plan("other", "elsewhere|1|0", 0.0, ("2024-03",)))
    waits.join(timeout=5)
    assert told == ["waits for process 1 on elsewhere, which makes 2024-02"]
