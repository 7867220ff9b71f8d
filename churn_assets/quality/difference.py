"""How the received columns differ from those of the month before, and which one was probably renamed."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

import polars as pl

from churn_assets.quality.naming import folded

LIKELY = 0.6
"""From this likeness on, a column that is gone and one that is new are told as a rename."""

TELLING = 20
"""Columns with fewer distinct values have them in common with many others: yes and no, one to five."""


@dataclass(frozen=True)
class SchemaDifference:
    """Received columns against those of the month before; true if they differ.

    Attributes:
        added: new columns.
        dropped: columns that are gone.
        retyped: name -> type before and type now.
        renamed: columns that are probably the same: name before, name now, likeness from 0 to 1.
    """

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    retyped: dict[str, tuple[str, str]]
    renamed: tuple[tuple[str, str, float], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped or self.retyped or self.renamed)

    def table(self) -> pl.DataFrame:
        """One row a change: ``column, change, before, now``."""
        rows = [
            *(
                (new, "probably renamed", old, f"{new} (likeness {likeness:.0%})")
                for old, new, likeness in self.renamed
            ),
            *((name, "new", None, name) for name in self.added),
            *((name, "gone", name, None) for name in self.dropped),
            *((name, "other type", old, new) for name, (old, new) in self.retyped.items()),
        ]
        return pl.DataFrame(rows, schema=dict.fromkeys(("column", "change", "before", "now"), pl.String), orient="row")

    def sentence(self) -> str:
        """The differences in one sentence."""
        parts = (
            ("probably renamed", [f"{old} -> {new}" for old, new, _ in self.renamed]),
            ("new", list(self.added)),
            ("gone", list(self.dropped)),
            ("of another type", [f"{n} ({old} -> {new})" for n, (old, new) in self.retyped.items()]),
        )
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)
        return f"Columns differ from the month before: {told}." if told else "Columns are those of the month before."


def difference(
    before: dict[str, str], now: dict[str, str], sample_before: pl.DataFrame | None, sample_now: pl.DataFrame | None
) -> SchemaDifference:
    """Compares received columns, given as name -> type, with the help of some rows of both months."""
    dropped, added = [n for n in before if n not in now], [n for n in now if n not in before]
    renamed = _renames(dropped, added, sample_before, sample_now)
    gone, come = {old for old, _, _ in renamed}, {new for _, new, _ in renamed}
    pairs = [(n, n) for n in now if n in before] + [(old, new) for old, new, _ in renamed]
    return SchemaDifference(
        added=tuple(n for n in added if n not in come),
        dropped=tuple(n for n in dropped if n not in gone),
        retyped={new: (before[old], now[new]) for old, new in pairs if before[old] != now[new]},
        renamed=renamed,
    )


def _renames(
    dropped: list[str], added: list[str], before: pl.DataFrame | None, now: pl.DataFrame | None
) -> tuple[tuple[str, str, float], ...]:
    alike = [(old, new, _likeness(old, new, before, now)) for old in dropped for new in added]
    taken: set[tuple[str, bool]] = set()
    found = []
    for old, new, likeness in sorted(alike, key=lambda pair: (-pair[2], pair[0], pair[1])):
        if likeness >= LIKELY and not taken & {(old, False), (new, True)}:
            taken |= {(old, False), (new, True)}
            found.append((old, new, round(likeness, 3)))
    return tuple(found)


def _likeness(old: str, new: str, before: pl.DataFrame | None, now: pl.DataFrame | None) -> float:
    """Likeness of the names, and of the values where there are any; values that tell much may speak alone."""
    names = SequenceMatcher(None, folded(old), folded(new), autojunk=False).ratio()
    if before is None or now is None or old not in before.columns or new not in now.columns:
        return names
    first, second = _distinct(before.get_column(old)), _distinct(now.get_column(new))
    if not len(first) or not len(second):
        return names
    fewer = min(len(first), len(second))
    common = int(first.is_in(second.implode()).sum()) / fewer
    both = 0.6 * names + 0.4 * common
    return max(both, 0.9 * common) if fewer >= TELLING else both


def _distinct(values: pl.Series) -> pl.Series:
    """The values as texts; a whole number is the same with and without a point."""
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Object):
        return pl.Series([], dtype=pl.String)
    texts = values.cast(pl.String, strict=False).str.strip_chars()
    return texts.str.replace(r"^(-?[0-9]+)\.0+$", "${1}").drop_nulls().unique()
