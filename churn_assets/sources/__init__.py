"""Raw data in: one file per kind of source, one interface (a month in, an Arrow stream out)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from churn_assets.months import Month
from churn_assets.spec import PipelineSpec
from churn_assets.spec.environment import with_environment
from churn_assets.spec.source import SourceSpec


@dataclass(frozen=True)
class Delivery:
    """What a source says of one month, as received.

    Attributes:
        batches: the rows, in the source's own order; beside its columns, those of ``spec.PLACE`` (all but ``_row``,
            which is counted later) where the source knows a row's place. Reading them may raise ``SourceError``.
        provenance: where the rows came from, and how they were read (JSON). It is complete, and final, once all
            batches were read: ``kind``, and for files ``files`` (name, bytes, sha256, format, encoding, delimiter).
        doubts: what was taken for granted and should be looked at, in sentences: a guessed encoding, orphaned rows.
        accept: called once the rows are safely in the lake's hands; it may be called twice.
    """

    batches: pa.RecordBatchReader
    provenance: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    accept: Callable[[], None] | None = None


class Source(Protocol):
    """A place that raw data comes from, one month at a time."""

    def identity(self, month: Month) -> str | None:
        """A hash that changes whenever ``read(month)`` would give other rows; None if only reading can tell.

        Raises:
            SourceError: nothing can be read for ``month``.
        """
        ...

    def read(self, month: Month) -> Delivery:
        """The rows of ``month``, as received; no rows is a delivered empty month.

        Raises:
            SourceError: the month can't be read; nothing was ingested.
        """
        ...


def open_source(spec: PipelineSpec, data: Path) -> Source:
    """The source that a pipeline's specification names; relative paths start at ``data``.

    Raises:
        SpecError: an environment variable that it names isn't set.
    """
    return _open(with_environment(spec.source, f"{spec.name}: source"), spec, data, spec.name)


def _open(given: SourceSpec, spec: PipelineSpec, data: Path, name: str) -> Source:
    match given.type:
        case "simulated":
            from churn_assets.sources.simulated import SimulatedSource

            return SimulatedSource(spec.months.start, given.customers, given.seed, tuple(given.scenario))
        case "file":
            from churn_assets.sources.file import FileSource

            return FileSource(given, data)
        case "incoming":
            from churn_assets.sources.incoming import IncomingSource

            return IncomingSource(given, data, name)
        case "sql":
            from churn_assets.sources.sql import SqlSource

            return SqlSource(given)
        case "http":
            from churn_assets.sources.http import HttpSource

            return HttpSource(given)
        case "kaggle":
            from churn_assets.sources.kaggle import KaggleSource

            return KaggleSource(given)
        case "huggingface":
            from churn_assets.sources.huggingface import HuggingFaceSource

            return HuggingFaceSource(given)
        case "joined":
            from churn_assets.sources.joined import JoinedSource

            tables = {t: _open(table.source, spec, data, f"{name}/{t}") for t, table in given.tables.items()}
            return JoinedSource(given, tables, spec.schema_.key)
