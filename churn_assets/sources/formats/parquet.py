"""Parquet files as rows, in their own types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from churn_assets.sources.formats import Table, check_names, refusal

BATCH_ROWS = 1 << 16


def read_parquet(path: Path, place: str) -> Table:
    """The rows of the Parquet file at ``path``; ``_line`` is their number in it.

    Raises:
        SourceError: the file is damaged, or its columns' names can't be used; reading the rows may raise it too.
    """
    import pyarrow.parquet as pq

    with _undamaged(place):
        file = pq.ParquetFile(path)
        received = file.schema_arrow.remove_metadata()
    check_names(place, received.names)
    # Dictionaries differ from batch to batch; the values are what was delivered.
    columns = pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in received])

    def batches() -> Iterator[pa.RecordBatch]:
        row = 1
        with _undamaged(place), file:
            for batch in file.iter_batches(BATCH_ROWS):
                lines = pa.array(np.arange(row, row + batch.num_rows, dtype=np.int64))
                row += batch.num_rows
                values = [column.cast(kind) for column, kind in zip(batch.columns, columns.types, strict=True)]
                yield pa.record_batch([*values, lines], names=[*columns.names, "_line"])

    return Table(columns, batches(), {})


@contextmanager
def _undamaged(place: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise refusal(place, "a whole Parquet file", f"a damaged one ({error})", "Deliver it again.") from error
