"""A column's values, read as a candidate type would have them, by the readers that validate a month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.proposal.delivered import Delivered
from churn_assets.quality.conventions import BLANKS
from churn_assets.quality.repairs import ColumnReader
from churn_assets.sources.formats import excerpt
from churn_assets.spec import ColumnSpec


@dataclass(frozen=True)
class Reading:
    """What the values are if the column is what ``given`` says.

    Attributes:
        given: keys of the column's specification.
        values: distinct values and the number of their rows (``value``, ``rows``), missing ones among them.
        failed: distinct values that aren't of the type, with the number of their rows (``value``, ``rows``).
        example: the first of them, and where it stands, in words.
        asked: what validation would ask, if they can be read in more than one way.
        conventions: how the files write their numbers or dates.
    """

    given: dict[str, Any]
    values: pl.DataFrame
    failed: pl.DataFrame
    example: str
    asked: str
    conventions: frozenset[str]

    @property
    def proven(self) -> bool:
        """Whether every value can be read, in one way."""
        return not self.asked and self.failed.is_empty()

    @property
    def share_failed(self) -> float:
        """Share of the rows whose value isn't of the type."""
        return float(self.failed["rows"].sum() / self.rows)

    @property
    def rows(self) -> int:
        return int(self.values["rows"].sum())


@dataclass(frozen=True)
class Values:
    """A column's distinct values in each file: with the number of their rows, and where the first of them stands.

    Attributes:
        received: the column's name in the files.
        pieces: ``value``, ``rows`` and ``at``, one frame a file.
    """

    received: str
    pieces: tuple[pl.DataFrame, ...] = field(repr=False)
    deliveries: tuple[Delivered, ...] = field(repr=False)

    @classmethod
    def of(cls, received: str, deliveries: Sequence[Delivered]) -> Values:
        having = tuple(d for d in deliveries if received in d.names)
        return cls(received, tuple(_distinct(d.proper.get_column(received)) for d in having), having)

    @cached_property
    def texts(self) -> pl.Series:
        """All distinct texts without blanks around them; none where the files have other values than texts."""
        texts = [p["value"].cast(pl.String) for p in self.pieces if p["value"].dtype in (pl.String, pl.Categorical)]
        return pl.concat([pl.Series([], dtype=pl.String), *texts]).str.strip_chars(BLANKS).drop_nulls().unique().sort()

    @property
    def has_nan(self) -> bool:
        """Whether there are floats that are no numbers, which is how some programs write a missing one."""
        return any(p["value"].dtype.is_float() and p["value"].is_nan().any() for p in self.pieces)

    @property
    def readable(self) -> bool:
        return not any(p["value"].dtype.is_nested() or p["value"].dtype == pl.Binary for p in self.pieces)

    def read(self, **given: Any) -> Reading:
        """The values as the column that ``given`` describes."""
        found = [_read(given, piece, delivery) for piece, delivery in zip(self.pieces, self.deliveries, strict=True)]
        values, failed = (
            pl.concat(frames).group_by("value", maintain_order=True).agg(pl.col("rows").sum())
            for frames in ([f.values for f in found], [f.failed for f in found])
        )
        example, asked = (
            next(filter(None, texts), "") for texts in ([f.example for f in found], [f.asked for f in found])
        )
        return Reading(given, values, failed, example, asked, frozenset().union(*(f.conventions for f in found)))


def _distinct(column: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({"value": column})
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        return frame.head(1).with_columns(rows=pl.lit(len(frame)), at=pl.lit(0))
    at = pl.int_range(pl.len(), dtype=pl.Int64)
    return frame.with_columns(at=at).group_by("value", maintain_order=True).agg(rows=pl.len(), at=pl.col("at").first())


def _read(given: dict[str, Any], piece: pl.DataFrame, delivery: Delivered) -> Reading:
    """One file's values as the column that ``given`` describes."""
    reader = ColumnReader(ColumnSpec(name="value", **given))
    received = piece.get_column("value")
    values = reader.read(received, piece.select(reader.first_look("value", received.dtype)).to_series(), 0)
    asked = ""
    try:
        late = reader.finish(lambda row: delivery.place(piece["at"][row]))
        values = values.scatter(late["_at"], late["value"]) if len(late) else values
    except QualityError as error:
        asked = _question(str(error))
    at = pl.concat([pl.Series([], dtype=pl.Int64), *(f["_at"] for f in reader.failures)])
    if values.dtype.is_float():
        at = pl.concat([at, values.is_infinite().arg_true().cast(pl.Int64)])
    texts = received.gather(at).cast(pl.String, strict=False)
    example = f"{excerpt(texts[0] or '', 30)} ({delivery.place(piece['at'][at[0]])})" if len(at) else ""
    return Reading(
        given=given,
        values=pl.DataFrame({"value": values.scatter(at, None) if len(at) else values, "rows": piece["rows"]}),
        failed=pl.DataFrame({"value": texts, "rows": piece["rows"].gather(at)}),
        example=example,
        asked=asked,
        conventions=frozenset({reader.convention} - {""}),
    )


def _question(message: str) -> str:
    """The sentences of a QualityError that are about the column's values."""
    return message.removeprefix("column value: ").removesuffix(" No row of this month was taken.")
