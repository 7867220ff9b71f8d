"""Times of day with their dates, as people, databases and logs write them.

The date is read as dates are: year first at once, ``03/04/2024`` only if the column proves which part is the day, and a
declared format instead. A time without a zone is local and stays as it is. One in UTC (``Z``) is kept in UTC. Any other
offset can be meant in local time or in UTC, so that the column asks; a declared format with ``%z`` says UTC.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.quality.conventions import Open, Read, Where, ask, counted, example
from churn_assets.quality.dates import proper, read_dates, takes_time
from churn_assets.spec import ColumnSpec

TIMESTAMP = pl.Datetime("us")
_DAY = r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}"
_CLOCK = r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?(?: ?([AaPp])[Mm])?"
_WRITTEN = rf"^({_DAY})(?:(?:[T ]|, ?){_CLOCK} ?(Z|UTC|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?)?$"
_COMPACT = r"^([0-9]{8})T?([0-9]{2})([0-9]{2})([0-9]{2})?(Z)?$"
_UTC = r"^(?:Z|UTC|[+-]00(?::?00)?)$"


def plain_timestamps(texts: pl.Expr, format: str | None) -> pl.Expr:
    """Times in the declared format, or else as YYYY-MM-DD HH:MM:SS; null for all other texts."""
    if format is None:
        spaced = texts.str.replace("T", " ", literal=True)
        times = spaced.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        # The parser takes a sixtieth second for the next minute.
        return proper(times, (texts.str.len_bytes() == 19) & ~texts.str.ends_with(":60"))
    if not takes_time(format):
        return proper(texts.str.to_date(format, strict=False), None).cast(TIMESTAMP)
    times = texts.str.to_datetime(format, time_unit="us", strict=False, ambiguous="earliest")
    return proper(times.dt.replace_time_zone(None), None)


def require_timestamp_format(column: ColumnSpec) -> None:
    """Tries the declared format, if there is one.

    Raises:
        QualityError: no time can be read in it.
    """
    if column.format is None:
        return
    time = datetime(2024, 1, 31, 13, 5, 9)
    wanted = "2024-01-31 13" if takes_time(column.format) else "2024-01-31 00"
    try:
        # Both %z and %#z are read, and only the first can be written.
        form, zone = column.format.replace("%#z", "%z"), "UTC" if "z" in column.format else None
        text = pl.select(pl.lit(time).dt.replace_time_zone(zone).dt.strftime(form).alias("text"))
        read = str(text.select(plain_timestamps(pl.col("text"), column.format)).item())
        found = f"{time} would be written {text.item()!r} and read as {read}"
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        read, found = "", str(error).splitlines()[0]
    if not read.startswith(wanted):
        raise QualityError(
            f"column {column.name}: expected a format such as '%d/%m/%Y %H:%M', found {column.format!r} ({found}). "
            "Mend format in the schema."
        )


def read_timestamps(column: ColumnSpec, texts: Open, where: Where, local: tuple[int, str] | None) -> Read:
    """Reads what isn't in the plain form of the column.

    Args:
        column: what the column is declared to be.
        texts: what is to be read.
        where: names the place of a row.
        local: position and text of a time without a zone that was read already.

    Raises:
        QualityError: which part is the day isn't known, or whether times are local or in UTC.
    """
    parts = _parts(texts.text)
    days = read_dates(column, Open(texts.at, texts.received, parts["day"].fill_null("")), where)
    clock = _microseconds(parts)
    zoned = parts["zone"].is_not_null() & clock.is_not_null()
    if column.format is None:
        _require_one_zone(column.name, texts, parts["zone"], clock.is_not_null(), where, local)
    values = _evaluated(pl.lit(days.values.cast(TIMESTAMP)) + pl.duration(microseconds=pl.lit(clock)))
    if column.format is not None:
        values = values.set(zoned, None)
    convention = f"in UTC, as written by {counted(int(zoned.sum()), 'value')}" if zoned.any() else ""
    return Read(
        values=values.cast(TIMESTAMP).alias(column.name),
        expected=pl.repeat(expected_timestamp(column), len(values), dtype=pl.String, eager=True),
        convention="; ".join(c for c in (days.convention, convention) if c),
    )


def expected_timestamp(column: ColumnSpec) -> str:
    """What should stand in the column, in words."""
    return column.format or "a time such as 2024-01-31 13:05:09"


def _parts(text: pl.Series) -> pl.DataFrame:
    names = ("day", "hour", "minute", "second", "fraction", "half", "zone")
    written = text.str.extract_groups(_WRITTEN).struct.unnest()
    compact = text.str.extract_groups(_COMPACT).struct.unnest()
    places = {"day": "1", "hour": "2", "minute": "3", "second": "4", "zone": "5"}
    return pl.DataFrame([
        written[str(i)].fill_null(compact[places[name]]).alias(name) if name in places else written[str(i)].alias(name)
        for i, name in enumerate(names, 1)
    ])  # fmt: skip


def _microseconds(parts: pl.DataFrame) -> pl.Series:
    """The time of day, 0 for a date alone; null where there is no such time."""
    hour, minute, second = (pl.col(n).cast(pl.Int64).fill_null(0) for n in ("hour", "minute", "second"))
    fraction = pl.col("fraction").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    half = pl.col("half").str.to_lowercase()
    of_day = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    real = (of_day < 24) & (half.is_null() | hour.is_between(1, 12)) & (minute < 60) & (second < 60)
    total = ((of_day * 60 + minute) * 60 + second) * 1_000_000 + fraction
    return parts.select(pl.when(real & pl.col("day").is_not_null()).then(total).alias("clock")).to_series()


def _require_one_zone(
    column: str, texts: Open, zone: pl.Series, known: pl.Series, where: Where, local: tuple[int, str] | None
) -> None:
    utc = zone.str.contains(_UTC).fill_null(False) & known
    offset = zone.is_not_null() & ~utc & known
    naive = zone.is_null() & known
    if offset.any():
        raise ask(
            column,
            f"{example(texts.text, offset, texts.at, where)} has an offset, and may be meant in local time or in UTC.",
            "Set format: '%Y-%m-%dT%H:%M:%S%z' to take all times in UTC, or deliver local times without an offset.",
        )
    if utc.any() and (local or naive.any()):
        other = f"{local[1]!r} ({where(local[0])})" if local else example(texts.text, naive, texts.at, where)
        raise ask(
            column,
            f"{example(texts.text, utc, texts.at, where)} is in UTC, {other} has no zone.",
            "Set format: '%Y-%m-%dT%H:%M:%S%#z' or '%Y-%m-%d %H:%M:%S' to the form that is meant; the others go to "
            "quarantine.",
        )


def _evaluated(expression: pl.Expr) -> pl.Series:
    return pl.select(expression).to_series()
