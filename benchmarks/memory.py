"""The most memory that a process has had."""

from __future__ import annotations

from pathlib import Path


def peak_mib(process: str = "self") -> float:
    """Peak resident memory in MiB, by Linux; unlike getrusage's, this figure doesn't begin with the parent's."""
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
