"""Rows on their way into a table: written to a Parquet file piece by piece, before any commit names it.

The file is written here and not by delta-rs, because that stores the pieces of a stream in the order in which its
threads get to them, and because rows that don't fit into memory needn't pass through it twice.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from churn_assets.errors import LakeError
from churn_assets.processes import is_gone, process_identity
from churn_assets.store.content import ContentHash

ROW_GROUP = 131_072
_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class Draft:
    """Rows in a Parquet file that no commit names yet.

    Attributes:
        path: the file; None if there are no rows.
        content: hash of the rows, however they were divided into pieces.
        columns: the rows' columns, in order, with their types; those without any type hold nothing but nulls.
        head: the first rows.
    """

    path: Path | None
    rows: int
    content: str
    columns: Mapping[str, pl.DataType]
    head: pl.DataFrame

    @property
    def schema(self) -> pa.Schema:
        """The columns that the file has."""
        kept = {name: dtype for name, dtype in self.columns.items() if dtype != pl.Null}
        return pl.DataFrame(schema=kept).to_arrow(compat_level=_OLDEST).schema

    def put(self, place: Path, names: Mapping[str, str]) -> None:
        """Puts a copy at ``place``, its columns called as ``names`` says, and waits until it is on the disk."""
        import pyarrow.parquet as pq

        assert self.path is not None
        place.parent.mkdir(parents=True, exist_ok=True)
        if all(own == stored for own, stored in names.items()):
            os.link(self.path, place)
        else:
            with pq.ParquetFile(self.path) as file:
                schema = pa.schema([field.with_name(names[field.name]) for field in file.schema_arrow])
                with pq.ParquetWriter(place, schema, compression="zstd") as writer:
                    for batch in file.iter_batches(ROW_GROUP):
                        writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        with place.open("rb") as file:
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Removes the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def write_draft(folder: Path, rows: pl.DataFrame | Iterable[pl.DataFrame]) -> Draft:
    """Writes ``rows``, pieces of equal columns, to a file below ``folder``; a failure leaves no file behind.

    Raises:
        LakeError: two columns differ in capitals alone.
    """
    import pyarrow.parquet as pq

    _sweep(folder)
    own = folder / quote(process_identity(), safe="")
    own.mkdir(parents=True, exist_ok=True)
    path = own / f"{uuid.uuid4().hex}.parquet"
    hashed, count, columns, head = ContentHash(), 0, None, pl.DataFrame()
    writer = None
    try:
        for piece in _pieces([rows] if isinstance(rows, pl.DataFrame) else rows):
            frame = storable(piece)
            hashed.update(frame)
            if columns is None:
                columns, head = dict(frame.schema), frame.head(100)
                _refuse_equal_names(columns)
            if frame.is_empty() or not (table := _arrow(frame)).num_columns:
                continue
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROW_GROUP)
            count += len(frame)
    except BaseException:
        if writer:
            writer.close()
        path.unlink(missing_ok=True)
        raise
    if writer:
        writer.close()
    return Draft(path if writer else None, count, hashed.hexdigest(), columns or {}, head)


def storable(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` in types that Delta knows."""
    return rows.with_columns(
        pl.col(pl.Categorical, pl.Enum, pl.Time, pl.Int128).cast(pl.String),
        pl.col(pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64).cast(pl.Int64),
        cs.datetime(time_zone=None).dt.cast_time_unit("us"),
        cs.datetime(time_zone="*").dt.cast_time_unit("us").dt.convert_time_zone("UTC"),
        cs.duration().dt.total_microseconds(),
    )


def _pieces(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Small pieces gathered to the size of a row group."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= ROW_GROUP:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.drop(cs.by_dtype(pl.Null)).to_arrow(compat_level=_OLDEST)


def _refuse_equal_names(columns: Mapping[str, pl.DataType]) -> None:
    folded = [name.casefold() for name in columns]
    if twice := [name for name in columns if folded.count(name.casefold()) > 1]:
        raise LakeError(f"expected columns that differ in more than capitals, found {', '.join(twice)}.")


def _sweep(folder: Path) -> None:
    """Removes what processes left behind that were killed."""
    for left in folder.glob("*"):
        if is_gone(unquote(left.name)):
            shutil.rmtree(left, ignore_errors=True)
