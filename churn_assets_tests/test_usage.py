from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from churn_assets import usage
from churn_assets.spec import CostsSpec

NO_RATES = CostsSpec()


def test_processor_time_of_threads_and_of_ended_children_is_counted() -> None:
    used = usage.start()
    subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    begun = time.process_time()
    while time.process_time() - begun < 0.1:
        pass
    found = used()
    # The kernel counts ended children in hundredths.
    assert 0.28 <= found.cpu_seconds < 1.5
    assert found.seconds >= 0.28


def test_the_peak_of_memory_is_that_of_the_step_and_not_of_what_was_before_it() -> None:
    before = usage.start()
    held = np.ones(200 * 2**17)  # 200 MiB
    high = before()
    del held
    after = usage.start()()
    if not high.of_step:
        pytest.skip("this system doesn't let a process reset its peak")
    assert high.peak_mib > after.peak_mib + 150
    assert "peak memory of the step (MiB)" in after.told(NO_RATES)


def test_where_the_peak_cannot_be_reset_that_of_the_process_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_CLEAR", usage.Path("/proc/self/no-such-file"))
    found = usage.start()()
    assert not found.of_step
    assert found.told(NO_RATES)["peak memory of the process so far (MiB)"] == round(found.peak_mib, 1) > 10


def test_a_cost_is_told_only_with_rates() -> None:
    found = usage.Usage(seconds=1800, cpu_seconds=7200, peak_mib=4096, of_step=True)
    assert not any("cost" in name for name in found.told(NO_RATES))
    rates = CostsSpec(cpu_hour=0.05, gib_hour=0.01, currency="EUR")
    # Two hours of a core, and 4 GiB for half an hour.
    assert found.told(rates)["estimated cost (EUR)"] == pytest.approx(2 * 0.05 + 4 * 0.5 * 0.01)


def test_measuring_takes_less_than_five_milliseconds() -> None:
    def measured() -> float:
        begun = time.perf_counter()
        usage.start()().told(NO_RATES)
        return time.perf_counter() - begun

    assert min(measured() for _ in range(5)) < 0.005
