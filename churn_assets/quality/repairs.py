"""A column's received texts as values of its type, repaired only as declared or where nothing can be lost by it.

Each column is read piece by piece. Its plain form is tried first, which takes nearly all of a clean column; what fails
is looked at closely. Texts whose reading hangs on the rest of the column (``1,5``, ``03/04/2024``) are held back until
the whole month was seen, so that the pieces' sizes don't matter and no other text has to be kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import time

import polars as pl

from churn_assets.quality.conventions import BLANKS, Open, Read, Where
from churn_assets.quality.dates import expected_date, plain_dates, read_dates, require_format, takes_time
from churn_assets.quality.numbers import AMBIGUOUS_DOT, EXACT, expected_number, proves_dot, read_numbers
from churn_assets.quality.timestamps import (
    expected_timestamp,
    plain_timestamps,
    read_timestamps,
    require_timestamp_format,
)
from churn_assets.spec import ColumnSpec
from churn_assets.spec.expressions import dtype_of

TRIMMED, CASE = "blanks trimmed", "case of an allowed value"

_TRUE = ("true", "yes", "t", "y", "on", "1", "1.0")
_FALSE = ("false", "no", "f", "n", "off", "0", "0.0")
_FIRST = 1000


@dataclass
class ColumnReader:
    """Reads one column, and remembers what it can't read yet or not at all.

    Attributes:
        column: what the column is declared to be.
        missing: texts that stand for a missing value in any column.
        repairs: cells that were changed, by kind of change.
        failures: ``_at``, ``value`` and ``expected`` of what isn't of the column's type.
        convention: how the column is written, once it was finished.
        delivered: whether any piece had a value.
    """

    column: ColumnSpec
    missing: list[str] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    failures: list[pl.DataFrame] = field(default_factory=list)
    convention: str = ""
    delivered: bool = False
    _open: list[Open] = field(default_factory=list)
    _dot: tuple[int, str] | None = None
    _local: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        (require_timestamp_format if self.column.type == "timestamp" else require_format)(self.column)
        self.dtype = dtype_of(self.column.type)
        self._is_text = self.dtype == pl.String
        self._tokens = ["", *dict.fromkeys(t for m in (*self.missing, *self.column.missing) if (t := m.strip(BLANKS)))]
        self._words = self._truth()
        # A missing value isn't repaired into an allowed one.
        self._allowed = [a for a in self.column.allowed or [] if a not in self._tokens]
        self._missing_values = self._meaning_nothing()

    def first_look(self, name: str, dtype: pl.DataType) -> pl.Expr:
        """What is plain in the received column; evaluated for all columns at once, which uses all cores.

        That is its values, trimmed texts, or where there are allowed texts, which of them are so.
        """
        value = pl.col(name)
        if not self._read_as_text(dtype):
            return _typed(value, dtype, self.column).alias(self.column.name)
        text = value if dtype == pl.String else value.cast(pl.String)
        if self._is_text:
            look = text.is_in(self._allowed) if self._allowed else text.str.strip_chars(BLANKS)
            return look.alias(self.column.name)
        return self._plain(text).alias(self.column.name)

    def read(self, received: pl.Series, looked: pl.Series, at: int) -> pl.Series:
        """The piece's values: null where one is missing, unreadable, or can't be read yet.

        Args:
            received: the column as received.
            looked: the result of ``first_look`` on it.
            at: position of the piece's first row.
        """
        self.delivered = self.delivered or received.null_count() < len(received)
        if not self._read_as_text(received.dtype):
            return self._without_missing(self._read_typed(received, looked, at))
        texts = received if received.dtype == pl.String else received.cast(pl.String)
        values = self._read_texts(texts, looked) if self._is_text else self._read_plain(texts, looked, at)
        return self._without_missing(values)

    def finish(self, where: Where) -> pl.DataFrame:
        """Reads what was held back: its position ``_at``, the value under the column's name, and ``_received``.

        Raises:
            QualityError: it can be read in more than one way.
        """
        if not self._open:
            self.convention = f"{self.column.format}, declared" if self.column.format else ""
            return pl.DataFrame(schema={"_at": pl.Int64, self.column.name: self.dtype, "_received": pl.String})
        texts = Open(*(pl.concat([getattr(o, part) for o in self._open]) for part in ("at", "received", "text")))
        values = self._finish(texts, where)
        return pl.DataFrame({"_at": texts.at, self.column.name: values, "_received": texts.received})

    def _finish(self, texts: Open, where: Where) -> pl.Series:
        read = self._conventions(texts, where)
        self.convention = read.convention
        known = read.values.is_not_null()
        self.repairs[TRIMMED] += int((known & (texts.text != texts.received)).sum())
        for kind, cells in read.repairs.items():
            self.repairs[kind] += int((known & cells.fill_null(False)).sum())
        self._fail(texts.at.filter(~known), texts.received.filter(~known), read.expected.filter(~known))
        return self._without_missing(read.values)

    def _conventions(self, texts: Open, where: Where) -> Read:
        if self.column.type == "date":
            return read_dates(self.column, texts, where)
        if self.column.type == "timestamp":
            return read_timestamps(self.column, texts, where, self._local)
        return read_numbers(self.column, texts, where, self._dot)

    def _read_as_text(self, dtype: pl.DataType) -> bool:
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            return True
        # A day as a number, 20240131, is the same as that text.
        if self.column.type in ("date", "timestamp"):
            return dtype.is_integer()
        return self._is_text and _has_text(dtype)

    def _plain(self, text: pl.Expr) -> pl.Expr:
        match self.column.type:
            case "boolean":
                return text.replace_strict(self._spelt(), default=None, return_dtype=pl.Boolean)
            case "date":
                return plain_dates(text, self.column.format)
            case "timestamp":
                return plain_timestamps(text, self.column.format)
        return text.cast(self.dtype, strict=False)

    def _read_texts(self, texts: pl.Series, looked: pl.Series) -> pl.Series:
        """Texts without blanks around them and in the spelling that is allowed."""
        if not self._allowed:
            self.repairs[TRIMMED] += int((looked != texts).sum())
            return self._without_tokens(looked)
        if looked.all():
            return texts
        odd = (~looked).arg_true()
        received = texts.gather(odd)
        trimmed = self._without_tokens(received.str.strip_chars(BLANKS))
        self.repairs[TRIMMED] += int((trimmed != received).sum())
        other = trimmed.set(trimmed.is_in(self._allowed), None).str.to_lowercase()
        meant = other.replace_strict(_by_lower_case(self._allowed), default=None, return_dtype=pl.String)
        self.repairs[CASE] += len(meant) - meant.null_count()
        # scatter changes the series that it is called on.
        return texts.clone().scatter(odd, meant.fill_null(trimmed))

    def _without_tokens(self, trimmed: pl.Series) -> pl.Series:
        """Trimmed texts; null for those that stand for a missing value."""
        nothing = trimmed.is_in(self._tokens) if len(self._tokens) > 1 else trimmed == ""
        return trimmed.set(nothing.fill_null(False), None) if nothing.any() else trimmed

    def _read_plain(self, texts: pl.Series, looked: pl.Series, at: int) -> pl.Series:
        points = self._points(texts, looked, at)
        self._note_local(texts, looked, at)
        if points is None and looked.null_count() == texts.null_count():
            return looked
        left = (texts.is_not_null() & looked.is_null()).arg_true()
        received = texts.gather(left)
        text = received.str.strip_chars(BLANKS)
        known = ~text.is_in(self._tokens)
        left, received, text = left.filter(known), received.filter(known), text.filter(known)
        values = pl.DataFrame({"text": text}).select(self._look_again(pl.col("text"))).to_series()
        done = values.is_not_null()
        self.repairs[TRIMMED] += int((done & (text != received)).sum())
        looked = looked.scatter(left.filter(done), values.filter(done))
        place, received, text = left.filter(~done).cast(pl.Int64) + at, received.filter(~done), text.filter(~done)
        if self.column.type == "boolean":
            self._fail(place, received, pl.repeat("yes or no", len(place), dtype=pl.String, eager=True))
        else:
            self._hold_back(place, received, text)
        if points is None:
            return looked
        plain = texts.filter(points)
        self._hold_back(points.arg_true().cast(pl.Int64) + at, plain, plain)
        return looked.set(points, None)

    def _hold_back(self, at: pl.Series, received: pl.Series, text: pl.Series) -> None:
        if len(at):
            self._open.append(Open(at, received, text))

    def _look_again(self, text: pl.Expr) -> pl.Expr:
        """What a trimmed text is, if that doesn't hang on other rows."""
        if self.column.type == "boolean":
            return text.str.to_lowercase().replace_strict(self._words, default=None, return_dtype=pl.Boolean)
        plain = self._plain(text)
        if self.column.type == "number" and self.column.decimal != ".":
            return pl.when(~text.str.contains(".", literal=True)).then(plain)
        return plain

    def _points(self, texts: pl.Series, looked: pl.Series, at: int) -> pl.Series | None:
        """Which plain numbers may turn out to have a thousands mark; none once a decimal point was proven."""
        if self.column.type != "number" or self.column.decimal == "." or self._dot is not None:
            return None
        if self.column.decimal == ",":
            points = texts.str.contains(".", literal=True)
        else:
            # The first thousand nearly always settle it.
            for part in (texts.head(_FIRST), texts):
                if (proof := (proves_dot(part) & looked.head(len(part)).is_not_null()).arg_true()).len():
                    self._dot = (int(proof[0]) + at, str(part[int(proof[0])]))
                    return None
            points = texts.str.contains(AMBIGUOUS_DOT)
        points = (points & looked.is_not_null() & ~texts.is_in(self._tokens)).fill_null(False)
        return points if points.any() else None

    def _note_local(self, texts: pl.Series, looked: pl.Series, at: int) -> None:
        """Remembers a time that was read and has no zone: no other may have one."""
        if self.column.type == "timestamp" and self._local is None and looked.null_count() < len(looked):
            first = int(looked.is_not_null().arg_true()[0])
            self._local = (first + at, str(texts[first]))

    def _read_typed(self, received: pl.Series, looked: pl.Series, at: int) -> pl.Series:
        if looked.null_count() > received.null_count():
            bad = (received.is_not_null() & looked.is_null()).arg_true()
            values = received.gather(bad)
            text = pl.repeat(f"({received.dtype})", len(bad), dtype=pl.String, eager=True)
            if _has_text(received.dtype):
                text = values.cast(pl.String, strict=False).fill_null(text)
            self._fail(bad.cast(pl.Int64) + at, text, self._expected(text))
        return looked

    def _expected(self, text: pl.Series) -> pl.Series:
        match self.column.type:
            case "integer" | "number":
                words = expected_number(self.column)
            case "date":
                return expected_date(self.column, text)
            case "timestamp":
                words = expected_timestamp(self.column)
            case "boolean":
                words = "yes or no"
            case _:
                words = "a text"
        return pl.repeat(words, len(text), dtype=pl.String, eager=True)

    def _fail(self, at: pl.Series, value: pl.Series, expected: pl.Series) -> None:
        if len(at):
            self.failures.append(pl.DataFrame([at.alias("_at"), value.alias("value"), expected.alias("expected")]))

    def _without_missing(self, values: pl.Series) -> pl.Series:
        return values.set(values.is_in(self._missing_values), None) if len(self._missing_values) else values

    def _meaning_nothing(self) -> pl.Series:
        """The values that texts for a missing value have in the column's type: -99 is missing as -99.0 is."""
        if self._is_text or self.column.type == "boolean":
            return pl.Series([], dtype=self.dtype)
        tokens = pl.Series(self._tokens, dtype=pl.String)
        return pl.DataFrame({"text": tokens}).select(self._plain(pl.col("text"))).to_series().drop_nulls().unique()

    def _truth(self) -> dict[str, bool]:
        words = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
        declared = ((self.column.true, True), (self.column.false, False))
        return words | {text.strip(BLANKS).lower(): value for texts, value in declared for text in texts}

    def _spelt(self) -> dict[str, bool]:
        """Words of truth as they are usually spelt, but for those that stand for a missing value."""
        forms = {form: value for w, value in self._words.items() for form in (w, w.capitalize(), w.upper())}
        return {form: value for form, value in forms.items() if form not in self._tokens}


def constant(column: ColumnSpec, value: object) -> object:
    """A declared constant in the column's type, or None if it can't be one."""
    point = "." if column.type in ("integer", "number") else None
    plain = ColumnSpec(name=column.name, type=column.type, decimal=point, true=column.true, false=column.false)
    reader = ColumnReader(plain)
    texts = pl.DataFrame({column.name: [str(value)]})
    looked = texts.select(reader.first_look(column.name, pl.String())).to_series()
    read = reader.read(texts.to_series(), looked, 0)
    late = reader.finish(lambda _: "the schema")
    return late.get_column(column.name)[0] if len(late) else read[0]


def _has_text(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object, pl.Duration)


def _by_lower_case(allowed: list[str]) -> dict[str, str]:
    lowered = pl.Series(allowed, dtype=pl.String).str.to_lowercase().to_list()
    return {low: value for low, value in zip(lowered, allowed, strict=True) if lowered.count(low) == 1}


def _typed(value: pl.Expr, dtype: pl.DataType, column: ColumnSpec) -> pl.Expr:
    """A value that is no text, in the column's type; null where that would change it."""
    target = dtype_of(column.type)
    number = dtype.is_numeric()
    match column.type:
        case "boolean" if number:
            # Plain casts guess: they make True of 2 and of NaN, 1 of 1.5, and some day of any number.
            return pl.when((value == 0) | (value == 1)).then(value == 1)
        case "integer" if dtype.is_float():
            limit = 2**24 if dtype == pl.Float32 else EXACT
            whole = (value == value.floor()) & (value.abs() <= limit)
            return pl.when(whole).then(value).cast(target, strict=False)
        case "integer" if dtype.is_decimal():
            whole = value.cast(target, strict=False)
            return pl.when(whole.cast(dtype, strict=False) == value).then(whole)
        case "integer" | "number" if number or dtype == pl.Boolean:
            return value.cast(target, strict=False)
        case "date" if dtype == pl.Datetime:
            day = value.dt.date()
            return day if takes_time(column.format) else pl.when(value.dt.time() == time()).then(day)
        case "timestamp" if dtype == pl.Datetime:
            # The lake keeps times with a zone in UTC.
            utc = value.dt.convert_time_zone("UTC") if dtype.time_zone else value  # type: ignore[attr-defined]
            return utc.dt.replace_time_zone(None).dt.cast_time_unit("us")
        case "timestamp" if dtype == pl.Date:
            return value.cast(target)
    if dtype in (target, pl.Null):
        return value.cast(target)
    # All null, and as long as the column.
    return pl.when(value.is_null()).then(pl.lit(None, target)).otherwise(pl.lit(None, target))
