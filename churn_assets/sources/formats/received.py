"""A file on this machine's disk, wherever it came from, that must stay as it is while it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.errors import SourceError
from churn_assets.sources.formats import refusal
from churn_assets.sources.retrying import transient

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

BLOCK = 1 << 20


@dataclass(frozen=True)
class Received:
    """A file as it was found.

    Attributes:
        place: the path or address that people know it by; messages begin with it.
        name: its last part.
        path: where its bytes lie on this machine.
        state: size and time of change, as they were found; None for a copy that only this process knows.
        folder: the temporary folder of a copy; it goes with this object.
    """

    place: str
    name: str
    path: Path
    state: tuple[int, int] | None = None
    folder: TemporaryDirectory[str] | None = None

    @classmethod
    def local(cls, path: Path) -> Received:
        """A file of this machine, which somebody else may change at any time.

        Raises:
            SourceError: there is no file, or it may not be read.
        """
        with readable(path):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise refusal(
                    path, "a file", "a folder", "Name a file in it, or all of them with a glob such as *.csv."
                )
            path.open("rb").close()
        return cls(str(path), path.name, path, (status.st_size, status.st_mtime_ns))

    @property
    def size(self) -> int:
        """Bytes as received."""
        return self.state[0] if self.state else self.path.stat().st_size

    def check_unchanged(self) -> None:
        """Refuses a file that was written to since it was found.

        Raises:
            SourceError: its size or time of change is another.
        """
        if self.state is None:
            return
        with readable(self.path):
            status = self.path.stat()
        if (status.st_size, status.st_mtime_ns) != self.state:
            raise refusal(
                self.place, f"a file that stays as it is ({self.state[0]} bytes)",
                f"that it changed while it was read ({status.st_size} bytes now)",
                "Read it once it is written as a whole; write it elsewhere and move it here.",
            )  # fmt: skip

    def sha256(self, look: Callable[[bytes], None] | None = None) -> str:
        """The hash of all bytes; ``look`` sees each block on the way."""
        import hashlib

        digest = hashlib.sha256()
        with readable(self.path), self.path.open("rb", buffering=0) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                if look:
                    look(block)
        return digest.hexdigest()

    def head(self, size: int = 4096) -> bytes:
        """The first bytes."""
        with readable(self.path), self.path.open("rb") as stream:
            return stream.read(size)


@contextmanager
def readable(place: object) -> Iterator[None]:
    """Turns the operating system's refusals into ones that name the file and a way out."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        raise refusal(place, "a file", "none", "Put it there again.") from error
    except PermissionError as error:
        raise refusal(place, "a file that may be read", "no permission", f"Let {_user()} read it.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refusal(
            place, "a readable file", reason, "Mend the disk or the network it lies on.", transient=transient(error)
        ) from error


def _user() -> str:
    return f"the user {os.getuid()}" if hasattr(os, "getuid") else "this user"


def temporary() -> TemporaryDirectory[str]:
    """A folder that goes when nothing refers to it any more."""
    from tempfile import TemporaryDirectory

    return TemporaryDirectory(prefix="churn-source-", ignore_cleanup_errors=True)
