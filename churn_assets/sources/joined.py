"""Several tables as one source: the first has the customers, the others add columns to them.

A row of the first table is never lost, multiplied or moved, whatever the others hold. The others are held in memory;
the first one streams past them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
import pyarrow as pa

from churn_assets.months import Month
from churn_assets.quality.naming import folded
from churn_assets.sources import Delivery, Source
from churn_assets.sources.formats import refusal
from churn_assets.spec import PLACE, JoinedSourceSpec
from churn_assets.spec.base import nearest
from churn_assets.store.content import json_hash

TOLERATED = 0.01
"""Share of rows without a partner that isn't worth a doubt."""

PIECE = 131_072
"""Rows that are joined at a time: each piece costs one pass over every added table, so small ones are put together."""

_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class JoinedSource:
    """The first of ``tables``, with the others' columns joined to its rows on the customer.

    Customers are matched by their trimmed text: the number 7 and the text ``7`` are one customer, ``007`` is another.
    Where ``given`` names the first table's key, that column is handed on under the schema's name, ``key``.

    A customer with equal rows in an added table has one row there. One with differing rows leaves the choice to a
    person: its row has no values but a ``_defect``, and what the first table said of it as its ``_text``.
    """

    given: JoinedSourceSpec
    tables: Mapping[str, Source]
    key: str

    def identity(self, month: Month) -> str | None:
        found = {name: source.identity(month) for name, source in self.tables.items()}
        if None in found.values():
            return None
        # A list, because in another order of the tables another one is the base.
        return json_hash([[name, own, *self._how(name)] for name, own in found.items()])

    def read(self, month: Month) -> Delivery:
        deliveries = {name: source.read(month) for name, source in self.tables.items()}
        first, *others = deliveries
        base = _open_base(first, deliveries[first].batches.schema, self._how(first)[0], self.key)
        added = [_read_added(name, deliveries[name], *self._how(name)) for name in others]
        _refuse_collisions({first: base.columns} | {table.name: table.columns for table in added})
        joining = _Joining(base, added, deliveries)
        accepts = [delivery.accept for delivery in deliveries.values() if delivery.accept]
        return Delivery(
            pa.RecordBatchReader.from_batches(joining.schema, joining.batches()),
            joining.provenance,
            joining.doubts,
            partial(_call_all, accepts) if accepts else None,
        )

    def _how(self, name: str) -> tuple[str, str]:
        table = self.given.tables[name]
        return table.key or self.key, table.prefix


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


@dataclass(frozen=True)
class _Base:
    """The table that gives the rows, with its columns as they are handed on."""

    name: str
    schema: pa.Schema
    key: str

    @property
    def columns(self) -> list[str]:
        return [name for name in self.schema.names if name not in PLACE]


def _open_base(name: str, received: pa.Schema, key: str, called: str) -> _Base:
    found = _find(name, key, received.names)
    if key == called:
        return _Base(name, received, found)
    if called in received.names and called != found:
        raise refusal(
            name, f"that its key {found!r} can be called {called!r} as in the schema", "another column of that name",
            f"Leave out tables.{name}.key, or rename a column in the source.",
        )  # fmt: skip
    fields = [column.with_name(called) if column.name == found else column for column in received]
    return _Base(name, pa.schema(fields), called)


@dataclass(frozen=True)
class _Added:
    """A table that adds columns.

    Attributes:
        columns: the names under which it adds its columns.
        values: these columns, called by their numbers.
        customers: one row per customer: ``key`` (text), ``at`` (its first row of ``values``), ``rows`` and
            ``differing`` (how many rows it has, and how many different ones).
        seen: which of ``customers`` the base has.
        rows: rows of the table, with those that no customer can be told of.
        defects: rows that are no proper rows; ``defect`` is the first one's.
    """

    name: str
    columns: list[str]
    values: pl.DataFrame
    customers: pl.DataFrame
    seen: npt.NDArray[np.bool_]
    rows: int
    defects: int
    defect: str

    def match(self, keys: pl.Series) -> pl.DataFrame:
        """The row of ``customers`` for each of ``keys``, with its number as ``customer``; nulls where there's none."""
        matched = keys.to_frame().join(self.customers, on="key", how="left", maintain_order="left")
        self.seen[matched["customer"].drop_nulls().to_numpy()] = True
        return matched

    def counts(self) -> dict[str, int]:
        known = int(self.customers["rows"].filter(pl.Series(self.seen)).sum())
        return {
            "rows": self.rows,
            "customers": len(self.customers),
            "orphans": self.rows - self.defects - known,
            "defects": self.defects,
            "differing": int((self.customers["differing"] > 1).sum()),
        }


def _read_added(name: str, delivery: Delivery, key: str, prefix: str) -> _Added:
    frame = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    found = _find(name, key, frame.columns)
    told = frame["_defect"] if "_defect" in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)
    proper, defects = frame.filter(told.is_null()), told.drop_nulls()
    own = [column for column in proper.get_columns() if column.name not in (found, *PLACE)]
    # Called by numbers, because Polars takes names such as * and ^a$ for patterns.
    values = pl.DataFrame([column.alias(str(i)) for i, column in enumerate(own)])
    customers = _customers_of(_customer(name, found, proper.get_column(found)), values)
    return _Added(
        name=name,
        columns=[prefix + column.name for column in own],
        values=values,
        customers=customers,
        seen=np.zeros(len(customers), dtype=bool),
        rows=len(frame),
        defects=len(defects),
        defect=str(defects[0]) if len(defects) else "",
    )


def _customers_of(keys: pl.Series, values: pl.DataFrame) -> pl.DataFrame:
    rows = keys.to_frame().with_row_index("at").drop_nulls("key")
    customers = rows.group_by("key", maintain_order=True).agg(pl.first("at"), pl.len().alias("rows"))
    if len(customers) == len(rows):
        return customers.with_columns(differing=pl.lit(1, pl.UInt32)).with_row_index("customer")
    differing = (
        pl.DataFrame([keys, *values]).drop_nulls("key").unique().group_by("key").agg(pl.len().alias("differing"))
    )
    return customers.join(differing, on="key", how="left", maintain_order="left").with_row_index("customer")


class _Joining:
    """The base's rows on their way past the added tables; what only the end can tell is told at the end."""

    def __init__(self, base: _Base, added: Sequence[_Added], deliveries: Mapping[str, Delivery]) -> None:
        self.provenance: dict[str, Any] = {
            "kind": "joined", "tables": {name: delivery.provenance for name, delivery in deliveries.items()},
        }  # fmt: skip
        self.doubts: list[str] = []
        self.schema = _joined_schema(base, added)
        self._base, self._added, self._deliveries = base, added, deliveries
        self._rows, self._matched = 0, dict.fromkeys((table.name for table in added), 0)

    def batches(self) -> Iterator[pa.RecordBatch]:
        for piece in _pieces(self._deliveries[self._base.name].batches):
            yield self._join(piece.rename_columns(self._base.schema.names))
        self._conclude()

    def _join(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        keys = _customer(self._base.name, self._base.key, _series(rows.column(self._base.key)))
        if "_defect" in rows.schema.names:
            keys = _only(keys, _series(rows.column("_defect")).is_null())
        columns: dict[str, pa.Array] = dict(zip(rows.schema.names, rows.columns, strict=True))
        differing = {}
        for table in self._added:
            match = table.match(keys)
            gathered = (_array(values.gather(match["at"])) for values in table.values)
            columns |= dict(zip(table.columns, gathered, strict=True))
            differing[table.name] = match["differing"]
            self._matched[table.name] += len(rows) - match["customer"].null_count()
        self._rows += len(rows)
        columns |= _marked(columns, rows, _reasons(differing))
        whole = [columns.get(f.name, pa.nulls(len(rows), f.type)).cast(f.type) for f in self.schema]
        return pa.RecordBatch.from_arrays(whole, schema=self.schema)

    def _conclude(self) -> None:
        columns = [name for name in self.schema.names if name not in PLACE]
        joined: dict[str, Any] = {}
        self.doubts += [f"{name}: {doubt}" for name, d in self._deliveries.items() for doubt in d.doubts]
        for table in self._added:
            unmatched = self._rows - self._matched[table.name]
            counts = {"matched": self._matched[table.name], "unmatched": unmatched, **table.counts()}
            joined[table.name] = {**counts, "columns": table.columns}
            self.doubts += _doubts(self._base.name, self._rows, table, counts)
        self.provenance.update(rows=self._rows, joined=joined, columns=columns)


def _joined_schema(base: _Base, added: Sequence[_Added]) -> pa.Schema:
    fields = list(base.schema)
    for table in added:
        types = table.values.clear().to_arrow(compat_level=_OLDEST).schema.types
        fields += [pa.field(name, dtype) for name, dtype in zip(table.columns, types, strict=True)]
    if any((table.customers["differing"] > 1).any() for table in added):
        fields += [pa.field(name, pa.large_string()) for name in ("_defect", "_text") if name not in base.schema.names]
    return pa.schema(fields)


def _marked(columns: Mapping[str, pa.Array], received: pa.RecordBatch, reasons: pl.Series) -> dict[str, pa.Array]:
    """The columns without the values of rows that have a reason; it, and what the base said as JSON, stand instead."""
    wrong = reasons.is_not_null()
    if not wrong.any():
        return {}
    kept = pa.array(np.arange(len(wrong)), mask=wrong.to_numpy())
    emptied = {name: array.take(kept) for name, array in columns.items() if name not in PLACE}
    rows = pl.DataFrame(pl.from_arrow(received)).filter(wrong)
    said = rows.select(pl.struct(cs.exclude(cs.binary(), *PLACE)).struct.json_encode()).to_series()
    texts = said.gather(_only(wrong.cum_sum() - 1, wrong))
    own = {name: _series(columns[name]) for name in ("_defect", "_text") if name in columns}
    place = {
        "_defect": reasons.zip_with(wrong, own.get("_defect", reasons)),
        "_text": texts.zip_with(wrong, own.get("_text", texts)),
    }
    return emptied | {name: _array(series) for name, series in place.items()}


def _reasons(differing: Mapping[str, pl.Series]) -> pl.Series:
    """What is wrong with each row, over all added tables; null where nothing is."""
    told = [
        pl.when(rows > 1).then(pl.format("{}: {} differing rows for this customer", pl.lit(name), rows)).alias(name)
        for name, rows in differing.items()
    ]
    reason = pl.select(told).select(pl.concat_str(pl.all(), separator="; ", ignore_nulls=True)).to_series()
    return _only(reason, reason != "")


def _doubts(base: str, rows: int, table: _Added, counts: Mapping[str, int]) -> Iterator[str]:
    """What should be looked at in an added table."""
    orphans, unmatched = counts["orphans"], counts["unmatched"]
    if orphans > TOLERATED * counts["rows"]:
        yield f"{table.name}: {_share(orphans, counts['rows'])} rows have a customer that {base} doesn't have."
    if unmatched > TOLERATED * rows:
        yield f"{table.name}: {_share(unmatched, rows)} rows of {base} have no row there."
    if table.defects:
        yield f"{table.name}: {_share(table.defects, counts['rows'])} rows weren't matched; one: {table.defect}"
    if counts["differing"]:
        yield f"{table.name}: {counts['differing']} customers have differing rows there; none of them was picked."


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})"


def _pieces(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    for batch in reader:
        held.append(batch)
        if sum(len(b) for b in held) >= PIECE:
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _customer(table: str, column: str, received: pl.Series) -> pl.Series:
    """Customers, as ``key``, by the text that they are matched by; null where there is none."""
    keys = received.alias("key")
    if keys.dtype.is_nested() or keys.dtype == pl.Binary:
        raise refusal(
            f"{table}, column {column!r}", "numbers or texts that name customers", str(keys.dtype),
            f"Mend tables.{table}.key.",
        )  # fmt: skip
    text = keys.cast(pl.String)
    if keys.dtype.is_float():
        # A file that lacks one number has all of them as 7.0, and a float has no whole number beyond 2**53 for sure.
        whole = (keys == keys.floor()) & (keys.abs() < 2**53)
        text = text.zip_with(~whole.fill_null(False), _only(keys, whole).cast(pl.Int64).cast(pl.String))
        text = _only(text, keys.is_not_nan())
    if keys.dtype.is_decimal():
        text = text.str.replace(r"\.0+$", "")
    text = text.str.strip_chars()
    return _only(text, text != "")


def _find(table: str, key: str, names: Sequence[str]) -> str:
    """The column called ``key``, or the only one with the same letters and digits."""
    own = [name for name in names if name not in PLACE]
    found = [name for name in own if name == key] or [name for name in own if folded(name) == folded(key)]
    if len(found) == 1:
        return found[0]
    raise refusal(
        table, f"one column {key!r} that names the customer", ", ".join(map(repr, found)) or "none",
        f"{nearest(key, own)} Name it as tables.{table}.key.",
    )  # fmt: skip


def _refuse_collisions(columns: Mapping[str, Sequence[str]]) -> None:
    """Raises ``SourceError`` if two tables have a column of the same name, whatever its capitals."""
    owners: dict[str, tuple[str, str]] = {}
    for table, names in columns.items():
        for name in names:
            other, taken = owners.setdefault(name.casefold(), (table, name))
            if other != table:
                raise refusal(
                    f"{table}, column {name!r}", "a name of its own", f"{taken!r} in {other} too",
                    f"Set tables.{table}.prefix, such as '{table}_'.",
                )  # fmt: skip


def _only(values: pl.Series, kept: pl.Series) -> pl.Series:
    """``values`` where ``kept``, null elsewhere."""
    return pl.select(pl.when(kept).then(values).alias(values.name)).to_series()


def _series(array: pa.Array) -> pl.Series:
    return pl.Series(pl.from_arrow(array))


def _array(series: pl.Series) -> pa.Array:
    return series.to_arrow(compat_level=_OLDEST)
