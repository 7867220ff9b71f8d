"""Raw data in: one file per kind of source, one interface (a month in, an Arrow stream out)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from churn_assets.months import Month
from churn_assets.spec import FileSourceSpec, PipelineSpec


@dataclass(frozen=True)
class Delivery:
    """What a source says of one month, as received.

    ``provenance`` says where it came from (JSON-compatible values); it is kept beside the rows.
    """

    batches: pa.RecordBatchReader
    provenance: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """A place that raw data comes from, one month at a time."""

    def identity(self, month: Month) -> str:
        """A hash that changes whenever ``read(month)`` would give other rows; cheaper than reading.

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
    """The source that a pipeline's specification names; relative paths start at ``data``."""
    if isinstance(spec.source, FileSourceSpec):
        from churn_assets.sources.file import FileSource

        given = spec.source
        return FileSource(given.path, data, given.format, given.delimiter, given.encoding)
    from churn_assets.sources.simulated import SimulatedSource

    simulated = spec.source
    return SimulatedSource(
        start=spec.months.start, customers=simulated.customers, seed=simulated.seed, shock=simulated.shock
    )
