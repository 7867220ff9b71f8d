"""Rows counted on their way into the lake, so that no month must be held as a whole to be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl


@dataclass
class Tally:
    """What has passed so far.

    Attributes:
        key: the customer's column, by which the rows ascend.
        rows: how many rows.
        customers: how many rows have a key greater than the one before: all, if each customer has one.
        columns: the columns, in order.
        missing: column -> rows without a value.
    """

    key: str
    rows: int = 0
    customers: int = 0
    columns: tuple[str, ...] = ()
    missing: Counter[str] = field(default_factory=Counter)

    def passing(self, pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The same pieces, each counted."""
        last = None
        for piece in pieces:
            keys = piece[self.key]
            self.rows += len(piece)
            self.customers += int((keys > keys.shift(1, fill_value=last)).fill_null(True).sum())
            self.columns = tuple(piece.columns)
            self.missing.update(dict(zip(piece.columns, piece.null_count().row(0), strict=True)))
            last = keys[-1] if len(keys) else last
            yield piece
