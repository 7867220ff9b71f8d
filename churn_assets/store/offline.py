"""The offline store: what was known of customers at given moments, month by month from the lake.

The features of a month may be used from the moment on at which its data was complete (``Calendar.available_from``,
the column ``available_at`` of the table). A row that asks for an earlier moment never sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from churn_assets.errors import LakeError, QualityError
from churn_assets.months import Calendar, Month, Window, month_range
from churn_assets.spec.base import nearest
from churn_assets.store.lake import Lake, MonthRecord

AVAILABLE_AT, EVENT_MONTH, FEATURE_VERSION = "available_at", "event_month", "feature_version"
TABLE = "features"

_ROW, _KEY, _KNOWN = "@row", "@key", "@known"
_ISO = r"^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?\s*(Z|[+-]\d\d:?\d\d)?)?\s*$"


@dataclass(frozen=True)
class OfflineStore:
    """The features of every month that was made, to be asked for as of any moment.

    Args:
        lake: holds the table ``features``.
        calendar: says when a month's features may be used.
        key: the customer's column in that table.
        features: what may be asked for, in order, and the types it is declared to have.
    """

    lake: Lake
    calendar: Calendar
    key: str
    features: Mapping[str, pl.DataType]

    def window(self, reader: str) -> Window:
        """Every month from the pipeline's start to the newest one that was made."""
        return self.calendar.so_far(reader, TABLE, self.lake.months(TABLE))

    def records(self, window: Window, features: Iterable[str]) -> list[MonthRecord]:
        """The records of a window's months, ascending.

        Raises:
            MissingMonth: a month was never made.
            LakeError: a month was made before one of ``features`` was declared.
        """
        records = self.lake.records(window)
        for record in records:
            if record.files and (lacking := [n for n in features if n not in record.columns]):
                remedy = self.lake.remedy.format(first=record.month, last=window.month)
                raise LakeError(
                    f"features {record.month}: expected {', '.join(lacking)}, found a table that was made before they "
                    f"were declared. Run `{remedy}`."
                )
        return records

    def get_training_frame(
        self,
        entities: pl.DataFrame | pl.LazyFrame,
        features: Sequence[str] | None = None,
        max_age: int | None = None,
        *,
        customer: str | None = None,
        timestamp: str = "timestamp",
    ) -> pl.DataFrame:
        """Every row of ``entities`` with the newest features of its customer that could be used at its moment.

        A month delivered empty, and one in which the customer has no features, leaves those of the months before. It
        takes the memory of the result, and of one month's features beside it.

        Args:
            entities: a customer and a moment in each row, in any order, rows that are equal included. The moments are
                dates (their midnight), timestamps, or texts of either in ISO 8601; those without a zone are UTC.
            features: which ones; all, in the order of the specification, if not given.
            max_age: how many months newer than its features a month may be whose data is complete at the moment. With
                0, a customer who isn't in the newest month has none.
            customer: the column of ``entities`` that names the customer; called as in the features if not given.
            timestamp: the column that says the moment.

        Returns:
            The rows of ``entities`` as they stand, with ``event_month`` (the features' month, by its first day),
            ``feature_version`` (a version of the Delta table that has these features) and the features; all of them
            are null where nothing was known.

        Raises:
            QualityError: ``entities`` lack a column, or say no moment.
            LakeError: a feature isn't known, or a month was made before it was declared.
            MissingMonth: a month that matters was never made. Those after the newest one that was made don't.
        """
        names = self._known(features)
        rows = entities.lazy().collect()
        customers = _column(rows, customer or self.key, "the customer")
        moments = _moments(_column(rows, timestamp, "the moment"))
        if taken := [n for n in (EVENT_MONTH, FEATURE_VERSION, *names) if n in rows.columns]:
            raise QualityError(
                f"entities: expected no column that is called like one of the answer, found {', '.join(taken)}. Rename "
                "or drop them."
            )
        if max_age is not None and max_age < 0:
            raise QualityError(f"max_age: expected a number of months from 0 on, found {max_age}.")
        window = self._needed(moments, max_age)
        records = self.records(window, names)
        stored = self.lake.scan(window).collect_schema()
        types = {name: dtype for name, dtype in stored.items() if dtype != pl.Null}
        asked = pl.DataFrame(
            {_KEY: _comparable(customers, types.get(self.key)), _KNOWN: self._newest(moments, window)}
        ).with_row_index(_ROW)
        wanted = {name: types.get(name, self.features[name]) for name in names}
        return rows.hstack(self._matched(asked, records, wanted, max_age).get_columns())

    def _known(self, features: Sequence[str] | None) -> list[str]:
        names = list(self.features if features is None else dict.fromkeys(features))
        if unknown := [n for n in names if n not in self.features]:
            raise LakeError(
                f"features: no feature is called {unknown[0]!r}. {nearest(unknown[0], list(self.features))}"
            )
        return names

    def _needed(self, moments: pl.Series, max_age: int | None) -> Window:
        """The months that any of the moments may need."""
        made = self.window("training frame")
        knowing = moments.filter(moments >= self.calendar.available_from(self.calendar.start).replace(tzinfo=None))
        if knowing.is_empty():
            return replace(made, months=())
        earliest, latest = (self.calendar.complete_at(_utc(m)) for m in (knowing.min(), knowing.max()))
        last = min(latest, made.month)
        first = self.calendar.start if max_age is None else earliest - max_age
        return replace(made, month=last, months=tuple(m for m in made if first <= m <= last))

    def _newest(self, moments: pl.Series, window: Window) -> pl.Series:
        """How many months after the window's first one the newest month is whose data is complete at each moment."""
        if not window.months:
            return pl.repeat(-1, len(moments), dtype=pl.Int64, eager=True)
        newest = self.calendar.complete_at(_utc(moments.max()))
        begins = [self.calendar.available_from(m) for m in month_range(window.months[0], newest)]
        edges = pl.Series([b.replace(tzinfo=None) for b in begins], dtype=moments.dtype)
        return edges.search_sorted(moments, side="right").cast(pl.Int64) - 1

    def _matched(
        self,
        asked: pl.DataFrame,
        records: Sequence[MonthRecord],
        wanted: Mapping[str, pl.DataType],
        max_age: int | None,
    ) -> pl.DataFrame:
        """What each row of ``asked`` finds, in their order.

        From the newest month back: who isn't found in a month waits for the one before. An as-of join over all months
        takes twice the memory, and longer (``benchmarks/as_of.py``).
        """
        last = len(records) - 1
        begins = asked[_KNOWN].clip(upper_bound=last)
        schema = {_ROW: asked.schema[_ROW], EVENT_MONTH: pl.Date(), FEATURE_VERSION: pl.Int64(), **wanted}
        found, waiting = [pl.DataFrame(schema=schema)], asked.clear()
        for place in range(last, -1, -1):
            waiting = pl.concat([waiting, asked.filter(begins == place)])
            if max_age is not None:
                waiting = waiting.filter(pl.col(_KNOWN) - place <= max_age)
            if waiting.is_empty() or not records[place].files:
                continue
            here = waiting.lazy().join(self._month(records[place], wanted), on=_KEY).select(schema.keys()).collect()
            waiting = waiting.join(here, on=_ROW, how="anti")
            found.append(here)
        return asked.select(_ROW).join(pl.concat(found), on=_ROW, how="left", maintain_order="left").drop(_ROW)

    def _month(self, record: MonthRecord, wanted: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        return self.lake.scan_record(record).select(
            pl.col(self.key).alias(_KEY),
            pl.lit(Month.parse(record.month).first_day).alias(EVENT_MONTH),
            pl.lit(record.version, pl.Int64).alias(FEATURE_VERSION),
            *(pl.col(name).cast(dtype) for name, dtype in wanted.items()),
        )


def _column(rows: pl.DataFrame, name: str, what: str) -> pl.Series:
    if name not in rows.columns:
        raise QualityError(
            f"entities: expected {what} in a column {name!r}, found none of that name. {nearest(name, rows.columns)}"
        )
    return rows[name]


def _utc(moment: object) -> datetime:
    assert isinstance(moment, datetime)
    return moment.replace(tzinfo=UTC)


def _moments(column: pl.Series) -> pl.Series:
    """The moments of a column, as naive timestamps of UTC.

    Raises:
        QualityError: a row says none.
    """
    moments = _read(column)
    if moments.null_count():
        row = int(moments.is_null().arg_max() or 0)
        raise QualityError(
            f"entities, row {row + 1}: expected a moment in {column.name!r} such as 2024-06-03 or "
            f"2024-06-03T12:00:00Z, found {column[row]!r}; so it is in {moments.null_count():,} of {len(column):,} "
            "rows. Mend or drop them."
        )
    return moments


def _read(column: pl.Series) -> pl.Series:
    match column.dtype:
        case pl.Datetime(time_zone=None):
            return column
        case pl.Datetime():
            return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        case pl.Date():
            return column.cast(pl.Datetime("us"))
        case pl.String():
            return _parsed(column)
    raise QualityError(
        f"entities: expected dates, timestamps or texts of them in {column.name!r}, found {column.dtype}. Convert them."
    )


def _parsed(texts: pl.Series) -> pl.Series:
    """Texts in ISO 8601, null where they aren't."""
    parts = texts.str.extract_groups(_ISO).struct.unnest()
    day, minute, second, zone = (parts[name] for name in parts.columns)
    whole = day + "T" + minute.fill_null("00:00") + second.fill_null(":00") + zone.fill_null("Z").replace("Z", "+00:00")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False).dt.replace_time_zone(None)


def _comparable(customers: pl.Series, dtype: pl.DataType | None) -> pl.Series:
    """The customers in the type that the features have them in, if there are any.

    Raises:
        QualityError: they are of quite another kind.
    """
    if dtype is None:
        return customers
    if customers.dtype == dtype or (customers.dtype.is_integer() and dtype.is_integer()):
        return customers.cast(dtype)
    if dtype == pl.String and customers.dtype in (pl.Categorical, pl.Enum):
        return customers.cast(pl.String)
    raise QualityError(
        f"entities: expected customers as {dtype} in {customers.name!r}, as the features have them, found "
        f"{customers.dtype}. Convert them: a number that was a text may have lost zeros at its front."
    )
