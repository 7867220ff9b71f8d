"""Polars: everything in this process."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from churn_assets.store.lake import Lake, MonthRecord


class PolarsEngine:
    """Lazy frames of Polars, over the lake's files."""

    def scan(self, lake: Lake, record: MonthRecord) -> pl.LazyFrame:
        return lake.scan_record(record)

    def pieces(self, frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
        yield frame.collect()
