"""How a delivery writes its numbers and dates: what is proven of a column as a whole, or else must be asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from churn_assets.errors import QualityError

Where = Callable[[int], str]
"""Names the place of a row by its position: ``a.csv, line 2``."""

BLANKS = "".join(chr(c) for c in (
    *range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200E), 0x2028, 0x2029,
    0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF,
))  # fmt: skip
"""All that shows as nothing: Unicode's blanks, those without width, and the byte order mark."""

INNER_BLANK = r"[ \u{a0}\u{2007}\u{2009}\u{202f}]"


@dataclass(frozen=True)
class Open:
    """Texts of one column that can be read only once the whole column is known.

    Attributes:
        at: positions of their rows.
        received: the texts as received.
        text: the same without blanks around them.
    """

    at: pl.Series
    received: pl.Series
    text: pl.Series


@dataclass(frozen=True)
class Read:
    """What the open texts of a column are.

    Attributes:
        values: in the column's type; null where a text can't be read.
        expected: what should have stood there, in words, for each text.
        repairs: which texts were changed without loss, by the kind of change.
        convention: how the column is written, and why we say so; empty if there is nothing to tell.
    """

    values: pl.Series
    expected: pl.Series
    repairs: dict[str, pl.Series] = field(default_factory=dict)
    convention: str = ""


def example(texts: pl.Series, mask: pl.Series, at: pl.Series, where: Where) -> str:
    """The first text that ``mask`` marks, with its place: ``'03/04/2024' (a.csv, line 2)``."""
    first = int(mask.arg_true()[0])
    return f"{texts[first]!r} ({where(int(at[first]))})"


def ask(column: str, found: str, remedy: str) -> QualityError:
    """The error for what has two readings."""
    return QualityError(f"column {column}: {found} {remedy} No row of this month was taken.")


def counted(count: int, noun: str) -> str:
    """``1 value``, ``312 values``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
