"""What a step used of the machine: processor, memory and time, and what that costs."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from churn_assets.spec.operation import CostsSpec

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Usage:
    """What was used between two moments.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of processor, by all threads of this process and by those of its children that have ended.
        peak_mib: the most memory (resident, MiB) that this process held, with all that it held before; not that of its
            children.
        of_step: whether the peak is that of the time between; else it is that of the process since it began.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    of_step: bool

    def cost(self, rates: CostsSpec) -> float:
        """What it costs: the processor time used, and the peak memory for as long as it took."""
        hours, gib = self.seconds / 3600, self.peak_mib / 1024
        return self.cpu_seconds / 3600 * rates.cpu_hour + gib * hours * rates.gib_hour

    def told(self, rates: CostsSpec) -> dict[str, float]:
        """The figures by name, for the UI; a cost only where there are rates."""
        peak = "peak memory of the step (MiB)" if self.of_step else "peak memory of the process so far (MiB)"
        figures = {
            "seconds": round(self.seconds, 3),
            "cpu seconds": round(self.cpu_seconds, 3),
            peak: round(self.peak_mib, 1),
        }
        if rates.any:
            figures[f"estimated cost ({rates.currency})"] = round(self.cost(rates), 8)
        return figures


def start() -> Callable[[], Usage]:
    """Begins to measure. What is returned tells what was used since; it may be asked several times."""
    begun, cpu, of_step = time.perf_counter(), _cpu(), _forget_peak()
    return lambda: Usage(time.perf_counter() - begun, _cpu() - cpu, _peak(of_step), of_step)


def _cpu() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def _forget_peak() -> bool:
    """Lets the kernel begin anew with the peak; whether it could."""
    try:
        # Linux resets the peak of resident memory on a 5, and nothing else; some sandboxes forbid it.
        _CLEAR.write_text("5")
        return _high_water() is not None
    except OSError:
        return False


def _peak(of_step: bool) -> float:
    found = _high_water() if of_step else None
    if found is not None:
        return found
    # Bytes on macOS, KiB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _high_water() -> float | None:
    """The peak since it was reset, in MiB."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None
