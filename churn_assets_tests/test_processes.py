from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

from churn_assets.processes import is_gone, process_identity


def test_this_process_is_there() -> None:
    assert not is_gone(process_identity())


def test_a_process_that_ended_is_gone() -> None:
    code = "from churn_assets.processes import process_identity; print(process_identity())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_gone(told.stdout.strip())


def test_a_killed_process_is_gone_even_while_nobody_has_asked_for_its_end() -> None:
    process = multiprocessing.get_context("spawn").Process(target=_wait)
    process.start()
    number = process.pid
    identity = f"{os.uname().nodename}|{number}|{_began(number)}"
    assert not is_gone(identity)
    process.kill()
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    assert is_gone(identity)
    process.join()


def test_another_process_with_the_same_number_is_not_the_one() -> None:
    host, number, began = process_identity().split("|")
    assert is_gone(f"{host}|{number}|{began}0")


@pytest.mark.parametrize("identity", ["elsewhere|1|2", "", "garbage", "|"])
def test_what_cant_be_known_is_not_called_gone(identity: str) -> None:
    assert not is_gone(identity)


def _wait() -> None:
    import time

    time.sleep(60)


def _began(number: int | None) -> str:
    from churn_assets import processes

    return processes._began(number or 0)
