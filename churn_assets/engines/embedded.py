"""Polars: everything in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from churn_assets.store.lake import Lake, MonthRecord


class PolarsEngine:
    """Lazy frames of Polars, over the lake's files."""

    def scan(self, lake: Lake, record: MonthRecord) -> pl.LazyFrame:
        return lake.scan_record(record)

    def settled(self, frames: Mapping[int, pl.LazyFrame]) -> dict[int, pl.LazyFrame]:
        made = pl.collect_all(list(frames.values()))
        return {lag: frame.lazy() for lag, frame in zip(frames, made, strict=True)}

    def pieces(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        # Polars' streaming engine, its default, takes twice as long to join months.
        yield frame.collect(engine="in-memory")
