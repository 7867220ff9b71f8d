"""Which process runs something, told so that it can be known later whether that process is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path


@cache
def process_identity() -> str:
    """This process."""
    return identity_of(os.getpid())


def identity_of(number: int) -> str:
    """A process of this machine: host, number, and when it began, for numbers are used again."""
    return f"{socket.gethostname()}|{number}|{_began(number)}"


def is_gone(identity: str) -> bool:
    """Whether the process that ``identity`` names ran on this machine and has ended; False if that can't be known."""
    host, _, rest = identity.partition("|")
    number, _, began = rest.partition("|")
    return host == socket.gethostname() and number.isdigit() and _began(int(number)) != began


def interrupt(identity: str) -> bool:
    """Asks the process that ``identity`` names to end, as Ctrl-C does; False if it isn't on this machine any more."""
    if not identity.startswith(f"{socket.gethostname()}|") or is_gone(identity):
        return False
    try:
        os.kill(int(identity.split("|")[1]), signal.SIGINT)
    except ProcessLookupError:
        return False
    return True


def _began(number: int) -> str:
    """When the process began; empty if there is none."""
    stat = Path(f"/proc/{number}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The program's name stands in brackets and may hold blanks; the start is the 22nd field.
            state, *fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if state == "Z" else f"{_boot()}-{fields[18]}"
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(number)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


@cache
def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip()[:8] if file.exists() else ""
