"""A drop folder as a source: whoever has a month's file puts it there, and puts a better one there later.

The folder shows what wasn't accepted yet. A file whose rows are in the lake lies in
``.ingested/<pipeline>/<month>/<NNNN>-<name>``, and the one with the highest number is what the month is. Only a rename
brings it there, so that a process may be killed at any time: the file then lies in one place or in the other, and
``identity`` is the same from both.

Links and subfolders are never read: moving a link aside would not keep what it points to.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from string import Formatter
from typing import Literal

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.file import File, deliver
from churn_assets.sources.formats import refusal
from churn_assets.spec import FileFormat, IncomingSourceSpec
from churn_assets.spec.source import FIELDS, filled
from churn_assets.store.content import json_hash

PATIENCE = 60.0
"""Seconds beyond ``settle_seconds`` for which a file that is still being written is waited for."""

INGESTED = ".ingested"

_PARTIAL = re.compile(r"\.|~\$|.*\.(part|partial|tmp|crdownload|filepart|download)$", re.IGNORECASE | re.DOTALL)
_NO_DROPS = frozenset({INGESTED, ".gitkeep", ".gitignore", ".DS_Store", "Thumbs.db", "desktop.ini"})
_NUMBERED = re.compile(r"([0-9]{4,})-(.+)", re.DOTALL)
_YEARS = range(1900, 2200)

Status = Literal["ready", "settling", "known", "conflict", "unnamed"]


@dataclass(frozen=True)
class Waiting:
    """A file in the drop folder, and what will become of it.

    Attributes:
        status: ``ready`` to be read; ``settling``: still being written; ``known``: the month's newest delivery has the
            same content; ``conflict``: other files differ and name the same month; ``unnamed``: no month is read from
            it.
        note: the status in a sentence, with what to do.
        sha256: hash of the content of a file that is ``ready``.
    """

    name: str
    month: Month | None
    status: Status
    note: str
    sha256: str | None = None


@dataclass(frozen=True)
class IncomingSource:
    """The files that were dropped into a folder; a relative folder starts at ``data``.

    Several pipelines may share a folder if their patterns tell their files apart.
    """

    given: IncomingSourceSpec
    data: Path
    pipeline: str
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def folder(self) -> Path:
        """Where files are dropped."""
        return self.data / Path(self.given.folder).expanduser()

    def identity(self, month: Month) -> str:
        how = self.given.model_dump(mode="json", include=set(FileFormat.model_fields))
        return json_hash([self._chosen(month).sha256, how])

    def read(self, month: Month) -> Delivery:
        chosen = self._chosen(month)
        # The name that it arrived by: moving it aside must not change any row.
        delivery = deliver([File.local(chosen.path, chosen.name)], self.given, month)
        # What is accepted is what was read, even if the file was replaced since it was chosen.
        sha256 = delivery.provenance["files"][0]["sha256"]
        delivery.provenance.update(kind="incoming", arrived=chosen.name)
        return replace(delivery, accept=partial(self._accept, month, sha256))

    def look(self) -> list[Waiting]:
        """What lies in the folder, by name. Never waits; each content is hashed once by a process."""
        found = [waiting for drop in self._drops() if (waiting := self._seen(drop))]
        return [self._judged(waiting, found) for waiting in found]

    def _seen(self, drop: _Drop) -> Waiting | None:
        """The file by itself; None if it has just gone."""
        seen = partial(Waiting, drop.name, drop.month)
        if drop.partial:
            return seen("settling", "Its name says that it is still being written.")
        if drop.month is None:
            return seen("unnamed", drop.problem)
        try:
            if self._left(drop.path) > 0:
                return seen("settling", f"It must stay as it is for {self.given.settle_seconds:g} s before it is read.")
            return seen("ready", f"It is the delivery of {drop.month}.", self._sha256(drop.path))
        except FileNotFoundError:
            return None
        except _Changing:
            return seen("settling", "It is still being written.")
        except OSError as error:
            return seen("settling", f"It can't be read ({error.strerror}). Allow this user to read it.")

    def _judged(self, own: Waiting, everything: Sequence[Waiting]) -> Waiting:
        """The file beside the others, and beside what was ingested."""
        if own.status != "ready" or own.month is None:
            return own
        same_month = [w for w in everything if w.status == "ready" and w.month == own.month]
        if others := [w.name for w in same_month if w.sha256 != own.sha256]:
            note = f"It differs from {', '.join(others)}, of {own.month} as well. Leave the right one."
            return replace(own, status="conflict", note=note, sha256=None)
        newest = self._newest(own.month)
        if newest is None:
            return own
        if self._sha256(newest) == own.sha256:
            note = f"{own.month} was ingested with the same content, as {newest.name}. Delete it, or leave it."
            return replace(own, status="known", note=note, sha256=None)
        return replace(own, note=f"It replaces the delivery of {own.month}, {newest.name}, in a new version.")

    def _chosen(self, month: Month) -> _Content:
        """What ``month`` is: the file that waits for it, else the newest ingested one."""
        waiting = self._settled(month)
        if len({content.sha256 for content in waiting}) > 1:
            names = ", ".join(content.name for content in waiting)
            raise refusal(
                self.folder, f"one file of {month}", f"{len(waiting)} that differ: {names}", "Leave one there."
            )
        if waiting:
            return waiting[0]
        if (newest := self._newest(month)) is not None:
            return self._content(newest, _NUMBERED.sub(r"\2", newest.name))
        example = self._example(month)
        raise refusal(month, f"a file such as {example} in {self.folder}", "none", "Drop it there.")

    def _settled(self, month: Month) -> list[_Content]:
        """The waiting files of ``month``, once none of them is being written any more."""
        patience = self.given.settle_seconds + PATIENCE
        until = self.clock() + patience
        while True:
            drops = [d for d in self._drops() if d.month == month and not d.partial]
            try:
                left = max((self._left(drop.path) for drop in drops), default=0.0)
                if left <= 0:
                    return [self._content(drop.path, drop.name) for drop in drops]
            except (FileNotFoundError, _Changing):
                left = 0.0
            except OSError as error:
                raise self._unreadable(error) from error
            if self.clock() >= until:
                names = ", ".join(drop.name for drop in drops)
                raise refusal(
                    self.folder, f"a finished file of {month}", f"{names} still being written after {patience:g} s",
                    "Drop it when it is finished, best under a name ending in .part that is changed at the end.",
                )  # fmt: skip
            self.sleep(min(max(left, 0.05), 1.0))

    def _accept(self, month: Month, sha256: str) -> None:
        """Moves what waits for ``month`` aside, as far as it is the content that was read."""
        try:
            with self._alone():
                for drop in self._drops():
                    if drop.month == month and not drop.partial and self._holds(drop.path, sha256):
                        self._move(drop.path, month, sha256)
        except OSError as error:
            raise SourceError(
                f"{self.folder}: expected to move the accepted file of {month} to {INGESTED}, found: {error}. Allow "
                "this user to write there, then run the month again; its rows are in the lake already."
            ) from error

    def _holds(self, path: Path, sha256: str) -> bool:
        try:
            return self._sha256(path) == sha256
        except (FileNotFoundError, _Changing):
            return False

    def _move(self, path: Path, month: Month, sha256: str) -> None:
        shelf = self._shelf(month)
        shelf.mkdir(parents=True, exist_ok=True)
        number = max((number for number, _ in self._ingested(month)), default=0) + 1
        place = shelf / f"{number:04d}-{path.name}"
        try:
            os.rename(path, place)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._carry(path, place, sha256)

    def _carry(self, path: Path, place: Path, sha256: str) -> None:
        """Moves a file to another file system; at every moment one place has all of it."""
        copy = place.with_name(f".{place.name}.part")
        shutil.copy2(path, copy)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
        if not self._holds(copy, sha256):
            copy.unlink()
            return
        os.rename(copy, place)
        path.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        import fcntl

        kept = self.folder / INGESTED
        kept.mkdir(parents=True, exist_ok=True)
        with (kept / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _drops(self) -> list[_Drop]:
        try:
            paths = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from error
        return [_drop(path, self.given.pattern, self._example) for path in paths if path.name not in _NO_DROPS]

    def _unreadable(self, error: OSError) -> SourceError:
        place = error.filename or self.folder
        return refusal(place, "that it can be read", error.strerror or str(error), "Allow this user to read it.")

    def _example(self, month: Month) -> str:
        ending = {"excel": "xlsx"}.get(self.given.format or "", self.given.format or "csv")
        return re.sub(r"\.\*$", f".{ending}", filled(self.given.pattern, month)).replace("*", "")

    def _shelf(self, month: Month) -> Path:
        return self.folder / INGESTED / self.pipeline / str(month)

    def _ingested(self, month: Month) -> list[tuple[int, Path]]:
        shelf = self._shelf(month)
        named = [(_NUMBERED.fullmatch(path.name), path) for path in shelf.iterdir()] if shelf.is_dir() else []
        return sorted((int(found[1]), path) for found, path in named if found)

    def _newest(self, month: Month) -> Path | None:
        ingested = self._ingested(month)
        return ingested[-1][1] if ingested else None

    def _content(self, path: Path, name: str) -> _Content:
        return _Content(path, name, self._sha256(path))

    def _left(self, path: Path) -> float:
        """Seconds for which the file must still stay as it is."""
        now = self.clock()
        return self.given.settle_seconds - (now - _sight(path, now).since)

    def _sha256(self, path: Path) -> str:
        now = self.clock()
        return _sight(path, now).hashed(path, now)


@dataclass(frozen=True)
class _Drop:
    """Something in the folder, by its name; ``problem`` says why no month is read from it."""

    path: Path
    month: Month | None
    problem: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def partial(self) -> bool:
        return not self.problem and _PARTIAL.match(self.name) is not None


@dataclass(frozen=True)
class _Content:
    path: Path
    name: str
    sha256: str


class _Changing(Exception):
    """A file changed while it was hashed."""


@dataclass
class _Sight:
    """What a process last saw of a file: ``since`` when it is as it is, and the hash of its content if asked for."""

    signature: tuple[int, ...]
    since: float
    sha256: str | None = None

    def hashed(self, path: Path, now: float) -> str:
        if self.sha256 is None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if _signature(os.fstat(file.fileno())) != self.signature:
                    raise _Changing
            # Within a tick of the file system's clock, a file can change and keep its times.
            if now - self.since < 2:
                return found
            self.sha256 = found
        return self.sha256


_SIGHTS: dict[Path, _Sight] = {}
"""Shared by all sources of a process: a sensor opens its pipeline anew each time it looks."""


def _sight(path: Path, now: float) -> _Sight:
    stat = path.stat()
    signature, before = _signature(stat), _SIGHTS.get(path)
    if before is None or before.signature != signature:
        # A time in the future, or one that came with a copy, doesn't tell when the file was last written.
        since = stat.st_mtime if before is None and stat.st_mtime <= now else now
        _SIGHTS[path] = _Sight(signature, since)
    return _SIGHTS[path]


def _signature(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _drop(path: Path, pattern: str, example: Callable[[Month], str]) -> _Drop:
    if path.is_symlink():
        return _Drop(path, None, "It is a link. Put the file itself here.")
    if path.exists() and not path.is_file():
        return _Drop(path, None, "It is a folder. Put its files here.")
    months = _months_in(path.name, pattern)
    if len(months) == 1 or _PARTIAL.match(path.name):
        return _Drop(path, months[0] if len(months) == 1 else None)
    wanted = f"Expected a name such as {example(Month(2025, 6))}; rename it."
    if months:
        return _Drop(path, None, f"Its name may mean {' or '.join(map(str, months))}. {wanted}")
    if _expression(pattern, _ANY).fullmatch(unicodedata.normalize("NFC", path.name)):
        return _Drop(path, None, f"Its name has a month that doesn't exist. {wanted}")
    return _Drop(path, None, f"Its name has no month where the pattern {pattern} has it. {wanted}")


@lru_cache(maxsize=10_000)
def _months_in(name: str, pattern: str) -> tuple[Month, ...]:
    """The months that ``name`` may mean."""
    text = unicodedata.normalize("NFC", name)
    years = {int(digits) for digits in re.findall(r"(?=([0-9]{4}))", text)} & set(_YEARS)
    numbers = {int(digits) for digits in re.findall(r"(?=(0[1-9]|1[0-2]))", text)}
    months = [Month(year, number) for year, number in product(sorted(years), sorted(numbers))]
    return tuple(month for month in months if _expression(pattern, _exactly(month)).fullmatch(text))


def _exactly(month: Month) -> dict[str, str]:
    return {name: re.escape(filled(f"{{{name}}}", month)) for name in FIELDS}


_ANY = {
    "month": r"\d{4}-\d\d",
    "year": r"\d{4}",
    "number": r"\d\d",
    "month_start": r"[\d-]{10}",
    "month_end": r"[\d-]{10}",
}


def _expression(pattern: str, fields: dict[str, str]) -> re.Pattern[str]:
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(unicodedata.normalize("NFC", pattern)):
        parts.append(".*".join(re.escape(piece) for piece in literal.split("*")))
        if name is not None:
            # Else 20201012 would have the month 2010-12 behind a star as well.
            parts += [r"(?<![0-9])" if literal.endswith("*") else "", fields[name]]
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
