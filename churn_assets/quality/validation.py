"""The schema applied to a month: which rows are valid, which go to quarantine and why, and what was repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.quality.naming import ColumnMatch, match_columns
from churn_assets.quality.repairs import ColumnReader, constant
from churn_assets.quality.rules import (
    FAILURES,
    broken_columns,
    broken_expressions,
    broken_keys,
    derived,
    failures,
    mangled_keys,
    outside_month,
    repeated_values,
)
from churn_assets.spec import ColumnSpec, SchemaSpec

Received = pl.DataFrame | Iterable[pl.DataFrame] | Callable[[], Iterable[pl.DataFrame]]

QUARANTINED: dict[str, type[pl.DataType]] = {
    "customer": pl.String, "_row": pl.Int64, "_file": pl.String, "_line": pl.Int64, "rule": pl.String,
    "column": pl.String, "value": pl.String, "expected": pl.String,
}  # fmt: skip
"""The columns of the quarantine. ``customer`` is the key in the schema's type, or as received if it isn't of it;
``column`` is null where the row as a whole is broken."""

_PLACES: dict[str, type[pl.DataType]] = {"_row": pl.Int64, "_file": pl.String, "_line": pl.Int64}


@dataclass(frozen=True)
class QualityVerdict:
    """Whether a month's rows may go on, and why."""

    passed: bool
    reason: str
    rows: int
    quarantined: int
    allowed_share: float

    @property
    def share(self) -> float:
        """Share of the delivered rows that were quarantined."""
        return self.quarantined / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Validation:
    """A month's rows, divided: those received are the valid ones and the distinct rows of the quarantine.

    Attributes:
        valid: rows that keep every rule, in the schema's types, sorted by customer; events by customer and time.
        quarantined: one row a broken rule, with the columns of ``QUARANTINED``.
        repairs: how many cells were changed without loss, or given a declared meaning, by column and kind.
        renamed: received name -> declared name, where they differ.
        undeclared: columns that the source sent and the schema doesn't know.
        conventions: how columns write their dates and numbers, and whether that is declared or proven.
        verdict: whether few enough rows are in quarantine.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    repairs: dict[str, dict[str, int]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    undeclared: tuple[str, ...] = ()
    conventions: dict[str, str] = field(default_factory=dict)
    verdict: QualityVerdict = QualityVerdict(True, "", 0, 0, 0.0)


def validate(
    raw: Received, schema: SchemaSpec, month: Month | None = None, previous: pl.DataFrame | None = None
) -> Validation:
    """Divides a month's received rows into those that keep the schema and those that don't.

    The pieces are gone through once, and let go of as soon as they were read: only values in the schema's types, and
    texts that can't be read before the whole column is known, are kept. How a month is divided into pieces is of no
    account to the result.

    Args:
        raw: the rows as received, in one frame or in pieces, with those columns of ``PLACE`` that there are.
        schema: what the rows must be.
        month: their month, for rules that name its bounds or earlier months.
        previous: the newest earlier row of each customer: the key, ``month`` and the columns that rules name.

    Raises:
        QualityError: a declared column is missing altogether, or values can be read in more than one way.
    """
    reading = _Reading(schema)
    for piece in _pieces(raw):
        reading.add(piece)
    return reading.finished(month, previous)


def _pieces(raw: Received) -> Iterator[pl.DataFrame]:
    if isinstance(raw, pl.DataFrame):
        yield raw
    else:
        yield from raw() if callable(raw) else raw


class _Reading:
    """A month that is being read, piece by piece. Positions (``_at``) count its rows that aren't broken in form."""

    def __init__(self, schema: SchemaSpec) -> None:
        self.schema = schema
        declared = {c.name: c for c in schema.columns if c.role != "ignored"}
        key = declared.pop(schema.key, None) or ColumnSpec(name=schema.key, type="string")
        self.columns = [key.model_copy(update={"nullable": False, "optional": False}), *declared.values()]
        self.received = [c for c in self.columns if c.expression is None]
        self.readers = [ColumnReader(c, schema.missing) for c in self.received]
        self.makes_key = schema.key_from != "column"
        self.frames: list[pl.DataFrame] = []
        self.places = [pl.DataFrame(schema=_PLACES)]
        self.broken_rows = [pl.DataFrame(schema=QUARANTINED)]
        self.failures = [pl.DataFrame(schema=FAILURES)]
        self.matches: dict[tuple[str, ...], ColumnMatch] = {}
        self.rows = self.proper_rows = 0

    def add(self, piece: pl.DataFrame) -> None:
        match = self._match(tuple(piece.columns))
        placed = piece.with_columns(_place(piece, self.rows))
        self.rows += len(piece)
        if "_defect" in piece.columns and piece.get_column("_defect").null_count() < len(piece):
            self.broken_rows.append(_broken_rows(placed.filter(pl.col("_defect").is_not_null())))
            placed = placed.filter(pl.col("_defect").is_null())
        if placed.is_empty() and self.frames:
            return
        frame = self._typed(placed, match.received)
        self.proper_rows += len(placed)
        self.frames.append(frame)
        self.places.append(placed.select(list(_PLACES)))
        texts = {ours: placed.get_column(theirs) for ours, theirs in match.received.items()}
        self.failures.append(broken_columns(frame, self.received, texts))

    def _typed(self, placed: pl.DataFrame, received: dict[str, str]) -> pl.DataFrame:
        """A piece in the schema's types, as far as it can be read yet."""
        looked = placed.select(
            r.first_look(theirs, placed.schema[theirs]) if (theirs := received.get(r.column.name))
            else pl.repeat(None, pl.len(), dtype=r.dtype).alias(r.column.name)
            for r in self.readers
        )  # fmt: skip
        at = pl.int_range(self.proper_rows, self.proper_rows + len(placed), eager=True).alias("_at")
        return pl.DataFrame([at, *(
            r.read(placed.get_column(theirs), looked.get_column(r.column.name), self.proper_rows).alias(r.column.name)
            if (theirs := received.get(r.column.name)) else looked.get_column(r.column.name)
            for r in self.readers
        )])  # fmt: skip

    def finished(self, month: Month | None, previous: pl.DataFrame | None) -> Validation:
        places = pl.concat(self.places).with_columns(pl.int_range(pl.len()).alias("_at"))
        frame = pl.concat(self.frames) if self.frames else self._nothing()
        self.frames.clear()
        frame = self._with_late(frame, places)
        types = self._type_failures()
        frame, fills = self._filled(frame)
        unreadable = types.get_column("_at").unique()
        frame = self._with_key(frame, places, unreadable)
        missing = self._required(frame, types)
        frame, made = self._derived(frame, month, pl.concat([types, missing]))
        # A customer has many events in a month, and two of them may well be alike.
        keys = pl.DataFrame(schema=FAILURES) if self.schema.time else broken_keys(self.schema.key, frame, unreadable)
        repeated = keys.filter(pl.col("rule") == "repeated").get_column("_at")
        found = pl.concat([
            *self.failures, types, *fills, missing, made, keys, mangled_keys(self.columns[0], frame),
            *(repeated_values(c.name, frame, repeated) for c in self.columns if c.unique),
            *([outside_month(self.schema.time, frame, month)] if self.schema.time and month else []),
            broken_expressions(frame, self.schema, month, previous),
        ])  # fmt: skip
        return self._divided(frame, places, found)

    def _match(self, names: tuple[str, ...]) -> ColumnMatch:
        if names not in self.matches:
            self.matches[names] = match_columns(names, self.schema)
        return self.matches[names]

    def _nothing(self) -> pl.DataFrame:
        return pl.DataFrame(schema={"_at": pl.Int64, **{r.column.name: r.dtype for r in self.readers}})

    def _with_late(self, frame: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
        """The values that could be read only now, in their rows."""

        def where(at: int) -> str:
            place = places.row(at, named=True)
            named = [t for t in (place["_file"], f"line {place['_line']}" if place["_line"] else "") if t]
            return ", ".join(named) or f"row {place['_row']}"

        for reader in self.readers:
            late, name = reader.finish(where), reader.column.name
            if late.is_empty():
                continue
            known = late.filter(pl.col(name).is_not_null())
            frame = frame.with_columns(frame.get_column(name).scatter(known["_at"], known[name]))
            texts = {name: known.get_column("_received")}
            self.failures.append(broken_columns(known.select("_at", name), [reader.column], texts))
        return frame

    def _type_failures(self) -> pl.DataFrame:
        return pl.concat([
            pl.DataFrame(schema=FAILURES),
            *(
                failures(part, "type", r.column.name, pl.col("value"), part.get_column("expected"))
                for r in self.readers for part in r.failures
            ),
        ])  # fmt: skip

    def _filled(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """Declared meanings in place of missing values, where the condition for them holds."""
        found: list[pl.DataFrame] = []
        filling = [r for r in self.readers if r.column.fill is not None]
        # What was filled may be the condition of another meaning.
        for _ in filling:
            before = frame.null_count()
            for reader in filling:
                frame = self._fill(frame, reader, found)
            if frame.null_count().equals(before):
                break
        return frame, found

    def _fill(self, frame: pl.DataFrame, reader: ColumnReader, found: list[pl.DataFrame]) -> pl.DataFrame:
        column = reader.column
        unreadable = pl.concat([pl.Series([], dtype=pl.Int64), *(f.get_column("_at") for f in reader.failures)])
        holds = [pl.col(n) == self._constant(n, v, f"{column.name}: fill_where") for n, v in column.fill_where.items()]
        missing = pl.col(column.name).is_null() & ~pl.col("_at").is_in(unreadable.implode())
        cells = frame.filter(pl.all_horizontal(missing, *holds)).get_column("_at")
        if cells.is_empty():
            return frame
        meaning = self._constant(column.name, column.fill, f"{column.name}: fill")
        reader.repairs[f"missing -> {column.fill}"] += len(cells)
        filled = pl.DataFrame({"_at": cells}).with_columns(pl.lit(meaning, reader.dtype).alias(column.name))
        told = pl.repeat(str(column.fill), len(cells), dtype=pl.String, eager=True)
        found.append(broken_columns(filled, [column], {column.name: told}))
        return frame.with_columns(frame.get_column(column.name).scatter(cells, filled.get_column(column.name)))

    def _constant(self, name: str, value: object, told: str) -> Any:
        column = next((c for c in self.columns if c.name == name), None)
        meant = constant(column, value) if column else None
        if column is None or meant is None:
            kind = f"a value of type {column.type}" if column else "a column that is used"
            raise QualityError(f"column {told}: expected {kind}, found {value if column else name!r}. Mend the schema.")
        return meant

    def _with_key(self, frame: pl.DataFrame, places: pl.DataFrame, unreadable: pl.Series) -> pl.DataFrame:
        key = self.schema.key
        if not self.makes_key or any(key in m.received for m in self.matches.values()):
            return frame
        if self.schema.key_from == "content":
            return frame.with_columns(_content_key(frame.drop(key), unreadable).alias(key))
        numbered = places.select(pl.format("row-{}", pl.col("_row").cast(pl.String).str.zfill(9)).alias(key))
        return frame.with_columns(numbered.to_series())

    def _required(self, frame: pl.DataFrame, types: pl.DataFrame) -> pl.DataFrame:
        found = [pl.DataFrame(schema=FAILURES)]
        for reader in self.readers:
            column = reader.column
            if column.nullable or (column.optional and not reader.delivered) or not frame[column.name].null_count():
                continue
            # What can't be read has become null, which is one failure and not two.
            known = types.filter(pl.col("column") == column.name).get_column("_at")
            empty = frame.filter(pl.col(column.name).is_null() & ~pl.col("_at").is_in(known.implode()))
            found.append(failures(empty, "required", column.name, None, "a value"))
        return pl.concat(found)

    def _derived(
        self, frame: pl.DataFrame, month: Month | None, unknown: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The frame with the columns that expressions make, and where these break their own rules."""
        columns = [c for c in self.columns if c.expression]
        if not columns:
            return frame, pl.DataFrame(schema=FAILURES)
        frame = derived(frame, columns, self.schema, month).select("_at", *(c.name for c in self.columns))
        texts = {c.name: frame.get_column(c.name).cast(pl.String) for c in columns}
        # What is made of a value that is missing or can't be read is that one failure, and not two.
        known = frame.filter(~pl.col("_at").is_in(unknown.get_column("_at").unique().implode()))
        needed = (c.name for c in columns if not c.nullable)
        missing = (failures(known.filter(pl.col(n).is_null()), "required", n, None, "a value") for n in needed)
        return frame, pl.concat([broken_columns(frame, columns, texts), *missing])

    def _divided(self, frame: pl.DataFrame, places: pl.DataFrame, found: pl.DataFrame) -> Validation:
        key = self.schema.key
        bad = found.get_column("_at").unique()
        valid = _without(frame, bad, [key, *([self.schema.time] if self.schema.time else [])])
        unread = found.filter((pl.col("rule") == "type") & (pl.col("column") == key)).select("_at", _unread="value")
        customers = frame.select("_at", customer=pl.col(key).cast(pl.String)).filter(pl.col("_at").is_in(bad.implode()))
        told = (
            found.join(places, on="_at", how="left").join(customers, on="_at", how="left")
            .join(unread, on="_at", how="left").with_columns(pl.coalesce("customer", "_unread").alias("customer"))
            .select(list(QUARANTINED))
        )  # fmt: skip
        quarantined = pl.concat([told, *self.broken_rows]).sort("_row", "column", "rule", maintain_order=True)
        count = len(bad) + sum(len(f) for f in self.broken_rows)
        return Validation(
            valid=valid,
            quarantined=quarantined,
            repairs={
                r.column.name: kinds
                for r in self.readers
                if (kinds := {k: n for k, n in sorted(r.repairs.items()) if n})
            },
            renamed={t: o for m in self.matches.values() for t, o in m.renamed.items()},
            undeclared=tuple(dict.fromkeys(n for m in self.matches.values() for n in m.undeclared)),
            conventions={r.column.name: r.convention for r in self.readers if r.convention},
            verdict=_verdict(self.rows, count, self.schema, quarantined),
        )


def _without(frame: pl.DataFrame, bad: pl.Series, by: list[str]) -> pl.DataFrame:
    """The rows but for the bad ones, sorted by the columns ``by``, and then in the order of their receipt."""
    good = pl.repeat(True, len(frame), dtype=pl.Boolean, eager=True).scatter(bad, False).arg_true()
    keys = frame.get_column(by[0]).rechunk().gather(good)
    if len(by) > 1:
        names = [*by, "_at"]
        good = good.gather(frame.select(pl.col(names).gather(good)).select(pl.arg_sort_by(names)).to_series())
    elif not keys.is_sorted():
        good = good.gather(keys.arg_sort())
    elif bad.is_empty():
        return frame.drop("_at")
    # Gathering from a column in many pieces takes ten times as long, and all columns at once twice the memory.
    return pl.DataFrame([c.rechunk().gather(good) for c in frame.drop("_at").iter_columns()])


def _place(piece: pl.DataFrame, before: int) -> list[pl.Expr]:
    """Where the rows come from; what wasn't told of it is null, but rows are counted."""
    counted = pl.int_range(before + 1, before + 1 + pl.len(), dtype=pl.Int64).alias("_row")
    return [
        pl.col(n).cast(dtype) if n in piece.columns else counted if n == "_row" else pl.lit(None, dtype).alias(n)
        for n, dtype in _PLACES.items()
    ]


def _broken_rows(placed: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("_text") if "_text" in placed.columns else pl.lit(None)
    return placed.select(
        customer=pl.lit(None), _row="_row", _file="_file", _line="_line", rule=pl.lit("structure"), column=pl.lit(None),
        value=text, expected="_defect",
    ).select(pl.col(name).cast(dtype) for name, dtype in QUARANTINED.items())  # fmt: skip


def _content_key(frame: pl.DataFrame, unreadable: pl.Series) -> pl.Series:
    """A name for each row's content that is the same wherever and whenever it is made.

    A row that can't be read is named after its position, since it equals no other.
    """
    import numpy as np
    from pandas.util import hash_array

    at = pl.when(pl.col("_at").is_in(unreadable.implode())).then("_at").cast(pl.String)
    cells = [pl.col(n).cast(pl.String) for n in frame.columns if n != "_at"]
    # A length before each value: ("a", "bc") isn't ("ab", "c").
    parts = [pl.format("{}:{}", c.str.len_bytes(), c).fill_null("-") for c in [*cells, at]]
    text = frame.select(pl.concat_str(parts, separator="|")).to_series().to_numpy(allow_copy=True).astype(object)
    hashed = hash_array(text, categorize=False) if len(text) else np.array([], dtype=np.uint64)
    names = np.char.mod("%016x", hashed.astype(object)) if len(text) else np.array([], dtype=str)
    return pl.Series([f"content-{n}" for n in names], dtype=pl.String)


def _verdict(rows: int, bad: int, schema: SchemaSpec, quarantined: pl.DataFrame) -> QualityVerdict:
    limit = schema.max_error_rate
    share = bad / rows if rows else 0.0
    if not bad:
        return QualityVerdict(True, f"All {rows:,} rows keep every rule.", rows, 0, limit)
    most = quarantined.group_by("column", "rule").len().sort("len", "column", "rule", descending=[True, False, False])
    worst = most.row(0, named=True)
    who = f"{worst['column']} breaks '{worst['rule']}'" if worst["column"] else f"the row breaks '{worst['rule']}'"
    reason = (
        f"{bad:,} of {rows:,} rows ({share:.2%}) are quarantined, at most {limit:.2%} may be; most often {who} "
        f"({worst['len']:,} rows)."
    )
    return QualityVerdict(share <= limit, reason, rows, bad, limit)
