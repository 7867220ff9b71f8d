"""Files of every format as tables of Arrow batches: one file per step on the way from bytes to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from churn_assets.errors import SourceError
from churn_assets.spec.data import PLACE

TEXT_PLACE = pa.schema([("_line", pa.int64()), ("_defect", pa.string()), ("_text", pa.string())])
"""What a text format tells of a row's place."""


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    Attributes:
        columns: the file's own columns and their types, in its order.
        batches: the rows with these columns and ``_line``; text formats add ``_defect`` and ``_text``.
        details: how the file was read, for the delivery's provenance.
        doubts: what was taken for granted, in sentences.
        open_keys: whether rows name their values themselves, so that a column may be missing from a whole file.
    """

    columns: pa.Schema
    batches: Iterator[pa.RecordBatch]
    details: dict[str, Any]
    doubts: list[str] = field(default_factory=list)
    open_keys: bool = False


def refusal(place: object, expected: str, found: str, todo: str, *, transient: bool = False) -> SourceError:
    """The error that refuses a file; ``transient`` if it may be readable by and by, with nobody doing anything.

    >>> refusal("a.csv, line 3", "a row", "half a row", "Ask for the whole file.")
    SourceError('a.csv, line 3: expected a row, found half a row. Ask for the whole file. Nothing was ingested.')
    """
    return SourceError(
        f"{place}: expected {expected}, found {found}. {todo} Nothing was ingested.", transient=transient
    )


def excerpt(text: str, width: int = 60) -> str:
    """``text`` in quotes, cut so that it fits into a sentence."""
    return repr(text if len(text) <= width else f"{text[:width]}…")


def check_names(place: object, names: Sequence[str]) -> None:
    """Refuses column names that can't be told apart, or that are the platform's own.

    Raises:
        SourceError: naming them.
    """
    if taken := [name for name in names if name in PLACE]:
        raise refusal(
            place,
            "the data's own columns",
            f"the name {taken[0]!r}, which the platform uses itself",
            "Rename the column.",
        )
    seen: dict[str, str] = {}
    for name in names:
        known = name.strip().casefold()
        if first := seen.get(known):
            twice = f"twice: {name!r}" if first == name else f"twice, but for case or blanks: {first!r} and {name!r}"
            raise refusal(place, "each column once", twice, "Rename one of them.")
        if known:
            seen[known] = name
