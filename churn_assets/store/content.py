"""Hashes of what a table holds, whatever file, version or order of columns it is stored in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa


class ContentHash:
    """A hash of the columns' names, types and values, fed piece by piece.

    Equal rows in the same order have the same hash, however they are divided into pieces, and in whatever order their
    columns stand.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, _ColumnHash] = {}

    def update(self, frame: pl.DataFrame) -> None:
        """Adds rows. Every piece has the same columns; an empty one names them too."""
        for name, dtype in frame.schema.items():
            known = self._columns.setdefault(name, _ColumnHash(dtype))
            if known.dtype != dtype:
                raise ValueError(f"column {name!r}: expected {known.dtype} in every piece, found {dtype}.")
            known.update(frame.get_column(name))
        self._rows += len(frame)

    def hexdigest(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self._columns):
            column = self._columns[name]
            digest.update(f"{name}\0{column.dtype}\0{self._rows}\0".encode() + column.digest())
        return digest.hexdigest()


def content_hash(frame: pl.DataFrame) -> str:
    """The content hash of rows that are at hand as a whole.

    >>> content_hash(pl.DataFrame({"a": [1], "b": ["x"]})) == content_hash(pl.DataFrame({"b": ["x"], "a": [1]}))
    True
    """
    whole = ContentHash()
    whole.update(frame)
    return whole.hexdigest()


class _ColumnHash:
    """Which values of a column are missing, how long each one is, and what they are: each a stream of its own."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.dtype = dtype
        self._streams = [hashlib.blake2b(digest_size=16) for _ in range(3)]

    def update(self, series: pl.Series) -> None:
        self._streams[0].update(series.is_null().to_numpy().tobytes())
        for stream, values in zip(self._streams[1:], _lengths_and_values(series), strict=True):
            stream.update(values)

    def digest(self) -> bytes:
        return b"".join(stream.digest() for stream in self._streams)


def _lengths_and_values(series: pl.Series) -> tuple[bytes, bytes | pa.Buffer]:
    if series.dtype in (pl.Categorical, pl.Enum, pl.Int128) or series.dtype.is_decimal():
        # The codes of categories depend on what else the process has seen, and NumPy has no integers of 128 bits.
        series = series.cast(pl.String)
    if series.dtype == pl.Null:
        return b"", b""
    if series.dtype in (pl.String, pl.Binary):
        texts = series.fill_null("" if series.dtype == pl.String else b"").to_arrow().cast(pa.large_binary())
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        return np.diff(ends).tobytes(), data[int(ends[0]) : int(ends[-1])] if data is not None else b""
    if series.dtype.is_nested():
        texts = [repr(value).encode() for value in series.to_list()]
        return np.array([len(t) for t in texts], dtype=np.int64).tobytes(), b"".join(texts)
    # What stands below a null is undefined, so it must not reach the hash.
    return b"", series.to_physical().zip_with(series.is_not_null(), _zeros(series)).to_numpy().tobytes()


def _zeros(series: pl.Series) -> pl.Series:
    physical = series.to_physical()
    return pl.repeat(0, len(physical), eager=True).cast(physical.dtype)


def json_hash(value: Any) -> str:
    """A hash of a JSON-compatible value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
