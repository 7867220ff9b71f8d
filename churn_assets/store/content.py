"""Hashes of what a table holds, whatever file, version or order of columns it is stored in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa


def content_hash(frame: pl.DataFrame) -> str:
    """A hash of the columns' names, types and values; equal for equal rows in the same order.

    >>> content_hash(pl.DataFrame({"a": [1], "b": ["x"]})) == content_hash(pl.DataFrame({"b": ["x"], "a": [1]}))
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(frame.columns):
        series = frame.get_column(name)
        digest.update(f"{name}\0{series.dtype}\0{len(series)}\0".encode())
        digest.update(series.is_null().to_numpy().tobytes())
        for values in _buffers(series):
            digest.update(values)
    return digest.hexdigest()


def _buffers(series: pl.Series) -> Iterator[bytes | pa.Buffer]:
    if series.dtype in (pl.Categorical, pl.Enum, pl.Int128) or series.dtype.is_decimal():
        # The codes of categories depend on what else the process has seen, and NumPy has no integers of 128 bits.
        series = series.cast(pl.String)
    if series.dtype == pl.Null:
        return
    if series.dtype in (pl.String, pl.Binary):
        texts = series.fill_null("" if series.dtype == pl.String else b"").to_arrow().cast(pa.large_binary())
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        yield np.diff(ends).tobytes()
        if data is not None:
            yield data[int(ends[0]) : int(ends[-1])]
    elif series.dtype.is_nested():
        yield repr(series.to_list()).encode()
    else:
        # What stands below a null is undefined, so it must not reach the hash.
        yield series.to_physical().zip_with(series.is_not_null(), _zeros(series)).to_numpy().tobytes()


def _zeros(series: pl.Series) -> pl.Series:
    physical = series.to_physical()
    return pl.repeat(0, len(physical), eager=True).cast(physical.dtype)


def json_hash(value: Any) -> str:
    """A hash of a JSON-compatible value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
