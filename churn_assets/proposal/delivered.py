"""The files that a proposal is made from: their rows as received, and the months that their names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from churn_assets.errors import SourceError, SpecError
from churn_assets.months import Month
from churn_assets.sources.file import File, deliver
from churn_assets.spec import PLACE
from churn_assets.spec.source import FileFormat

_MONTH = re.compile(
    r"(?<![0-9])(?P<year>(?:19|20)[0-9]{2})(?P<mark>[-_.]?)(?P<number>0[1-9]|1[0-2])(?![0-9]|[-_.]?[0-9]{2}(?![0-9]))"
)
"""A month in a name: 2025-01, 2025_01 or 202501, but no day such as 2025-01-31."""


@dataclass(frozen=True)
class Delivered:
    """One file, read.

    Attributes:
        month: the month that its name tells; for a single file without one, the month that was given.
        rows: its rows as received, each with its place; broken ones too.
        doubts: what was guessed in reading it, in sentences.
    """

    file: Path
    month: Month
    rows: pl.DataFrame
    doubts: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The file's own columns, but for those without a name."""
        return [n for n in self.rows.columns if n not in PLACE and n.strip()]

    @cached_property
    def proper(self) -> pl.DataFrame:
        """The rows that aren't broken in form."""
        return self.rows.filter(pl.col("_defect").is_null()) if "_defect" in self.rows.columns else self.rows

    def place(self, row: int) -> str:
        """Where a proper row stands, in words."""
        found = self.proper.row(row, named=True)
        return f"{found['_file']}, line {found['_line']}" if found["_line"] else f"{found['_file']}, row {row + 1}"


@dataclass(frozen=True)
class Looked:
    """All files together.

    Attributes:
        deliveries: the files in the order of their months.
        path: what a source's ``path`` must be for a month to find its file.
        monthly: whether each file is a month of its own.
    """

    deliveries: tuple[Delivered, ...]
    path: str
    monthly: bool

    @property
    def names(self) -> list[str]:
        """The columns of all files, in their order."""
        return list(dict.fromkeys(name for found in self.deliveries for name in found.names))

    @property
    def rows(self) -> int:
        """Rows of all files together."""
        return sum(len(found.rows) for found in self.deliveries)


def look(files: Sequence[Path], data: Path, month: Month, given: FileFormat) -> Looked:
    """Reads the files as a month would.

    Args:
        files: one file that is a static table, or one file a month.
        data: the data folder. Files below its ``incoming`` are named relative to it, all others by their whole path.
        month: the month of a single file whose name tells none.
        given: what is known of the files' format.

    Raises:
        SourceError: a file can't be read, or has no rows.
        SpecError: the names of several files don't tell their months.
    """
    places = [_place(file, data) for file in files]
    told = [_month_in(place) for place in places]
    monthly = len(files) > 1
    path = _common_path(files, told) if monthly else places[0]
    months = [found[0] if found else month for found in told]
    read = [_read(file, m, given) for file, m in zip(files, months, strict=True)]
    return Looked(tuple(sorted(read, key=lambda d: d.month)), path, monthly)


def _place(file: Path, data: Path) -> str:
    whole = file.expanduser().resolve()
    place = whole.relative_to(data) if whole.is_relative_to(data / "incoming") else whole
    if set("{}") & set(str(place)):
        raise SpecError(f"{place}: expected a path without braces, which stand for the month. Rename it.")
    return str(place)


def _month_in(place: str) -> tuple[Month, str] | None:
    """The month that a path tells, and the path with the month in braces; None if it tells none, or several."""
    folder, _, name = place.rpartition("/")
    for before, text in ((f"{folder}/" if folder else "", name), ("", place)):
        found = list(_MONTH.finditer(text))
        if len(found) == 1:
            year, mark, number = found[0]["year"], found[0]["mark"], found[0]["number"]
            braces = "{month}" if mark == "-" else f"{{year}}{mark}{{number}}"
            return Month(int(year), int(number)), before + text[: found[0].start()] + braces + text[found[0].end() :]
    return None


def _common_path(files: Sequence[Path], told: Sequence[tuple[Month, str] | None]) -> str:
    if without := [file.name for file, found in zip(files, told, strict=True) if found is None]:
        raise SpecError(
            f"{', '.join(without[:3])}: expected one month, such as 2025-01, in the name of each of several files, "
            "found none. Give one file, or name each after its month."
        )
    known = [found for found in told if found]
    paths = sorted({path for _, path in known})
    if len(paths) > 1:
        raise SpecError(
            f"{len(files)} files: expected names that differ in the month alone, found {' and '.join(paths[:3])}. Name "
            "them alike."
        )
    months = [month for month, _ in known]
    if twice := sorted({str(m) for m in months if months.count(m) > 1}):
        raise SpecError(f"{len(files)} files: expected one for each month, found several for {', '.join(twice)}.")
    return paths[0]


def _read(file: Path, month: Month, given: FileFormat) -> Delivered:
    if not file.is_file():
        found = "a folder" if file.is_dir() else "nothing"
        raise SourceError(f"{file}: expected a file, found {found}. Give the path of a file with your customers.")
    delivery = deliver([File.local(file)], given, month)
    rows = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    read = Delivered(file, month, rows, tuple(delivery.doubts))
    if read.proper.is_empty():
        raise SourceError(f"{file}: expected rows to tell the columns' types from, found none. Give a month with rows.")
    return read
