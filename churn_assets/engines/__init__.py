"""Where features are computed: in this process, or on a cluster when the data outgrows the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import polars as pl

from churn_assets.engines.embedded import PolarsEngine
from churn_assets.spec import EngineSpec
from churn_assets.store.lake import Lake, MonthRecord


class Engine(Protocol):
    """Reads the lake into lazy frames of its own kind, on which narwhals expressions run."""

    def scan(self, lake: Lake, record: MonthRecord) -> Any:
        """The rows that ``record`` stands for, with their ``month`` as a date: a native lazy frame.

        Raises:
            LakeError: files that it names are gone.
            EngineError: the engine can't read them.
        """
        ...

    def settled(self, frames: Mapping[int, Any]) -> dict[int, Any]:
        """The same frames, computed before they are joined with each other where that is cheaper."""
        ...

    def pieces(self, frame: Any) -> Iterator[pl.DataFrame]:
        """The rows of a native frame, in its order; a piece without rows tells the columns where there are none.

        Raises:
            EngineError: the engine failed.
        """
        ...


def open_engine(spec: EngineSpec) -> Engine:
    """The engine that a pipeline declares; a cluster is asked for at the first use."""
    if spec.kind == "polars":
        return PolarsEngine()
    from churn_assets.engines.spark import SparkEngine

    return SparkEngine(spec)


__all__ = ["Engine", "PolarsEngine", "open_engine"]
