"""Delimited text as rows: every value as it stands, every row with its line, and nothing lost."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.errors import SourceError
from churn_assets.sources.formats import TEXT_PLACE, Table, excerpt, refusal
from churn_assets.sources.formats.compression import Compression
from churn_assets.sources.formats.dialect import HEAD, NO_DELIMITER, Header, conflict, header_of, is_conflict
from churn_assets.sources.formats.encoding import Encoding
from churn_assets.sources.formats.quotes import Quotes, Unclosed
from churn_assets.sources.formats.received import Received
from churn_assets.sources.formats.utf8 import line_at, line_ends, text_of
from churn_assets.spec.source import FileFormat

BLOCK = 4 << 20
"""Bytes that are parsed at a time; no row may be longer."""

_MARK = "\ufdd0"
# Unicode keeps this one for a program's own use; a NUL is more than Arrow's parser can bear at the edge of a block.
_EMPTY = (b"\n\n", b"\n\r", b"\r\r")
_BEFORE_EMPTY = re.compile(rb"(\r\n|\n|\r(?!\n))(?=[\r\n])")


def read_text(file: Received, compression: Compression | None, encoding: Encoding, given: FileFormat) -> Table:
    """The rows of a delimited text.

    Raises:
        SourceError: it has no usable header, or no sure delimiter; reading the rows may raise it too.
    """
    with text_of(file, compression, encoding.name) as stream:
        head = stream.read(HEAD)
    whole = len(head) < HEAD
    text = head.decode(errors="strict" if whole else "ignore")
    header = header_of(text, whole, file.place, given.delimiter, given.skip_rows)
    rows = _Rows(file, compression, encoding, header, len(text[: header.start].encode()))
    doubts = [encoding.doubt] if encoding.doubt else []
    if rows.unnamed:
        many = f"{len(rows.unnamed)} columns without a name were" if len(rows.unnamed) > 1 else (
            f"column {rows.unnamed[0] + 1} has no name and was"
        )  # fmt: skip
        doubts.append(f"{file.place}: {many} left out, as no row has a value there.")
    details = {"encoding": encoding.name, "delimiter": header.delimiter if header.delimiter != NO_DELIMITER else None}
    return Table(pa.schema([(name, pa.string()) for name in rows.named]), iter(rows), details, doubts)


class _Rows:
    """The rows below a header, batch by batch."""

    def __init__(
        self, file: Received, compression: Compression | None, encoding: Encoding, header: Header, start: int
    ) -> None:
        self._file, self._compression, self._encoding = file, compression, encoding
        self._header, self._start = header, start
        self.unnamed = [i for i, name in enumerate(header.names) if not name.strip()]
        self.named = [name for name in header.names if name.strip()]
        self._schema = pa.schema([*((name, pa.string()) for name in self.named), *TEXT_PLACE])
        self._numbering = _Numbering(header.first)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        import pyarrow.csv

        with text_of(self._file, self._compression, self._encoding.name) as text:
            stream = _Watched(text, self._start, Quotes(self._header.delimiter))
            try:
                yield from self._parsed(pyarrow.csv, stream)
            except Unclosed as error:
                raise self._unclosed(error.at) from error
            except SourceError:
                raise
            except pa.ArrowInvalid as error:
                raise self._unreadable(error, stream.quotes.opened) from error

    def _parsed(self, csv: Any, stream: _Watched) -> Iterator[pa.RecordBatch]:
        fields = [str(i) for i in range(len(self._header.names))]
        broken: list[tuple[int, str, int]] = []

        def keep(row: Any) -> str:
            text = row.text.replace(_MARK, "") if stream.marked else row.text
            broken.append((row.number, text, row.actual_columns))
            return "skip"

        try:
            # Only one thread knows the numbers of the rows that don't fit, and empty lines count as rows that don't.
            reader = csv.open_csv(
                pa.PythonFile(stream, "r"),
                read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=fields),
                parse_options=csv.ParseOptions(
                    delimiter=self._header.delimiter, newlines_in_values=True, ignore_empty_lines=False,
                    invalid_row_handler=keep,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(fields, pa.string()), null_values=[""], strings_can_be_null=True,
                ),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return
            raise
        for batch in reader:
            extra = _line_ends_in(batch.columns, batch.num_rows) if stream.quotes.found else None
            lines, defects = self._numbering.place(batch.num_rows, extra, broken, last=False)
            columns, lines = self._cleared(batch.columns, lines) if stream.marked else (batch.columns, lines)
            yield self._checked(columns, lines, defects)
        lines, defects = self._numbering.place(0, None, broken, last=True)
        yield self._checked([pa.array([], pa.string()) for _ in fields], lines, defects)

    def _checked(
        self, columns: Sequence[pa.Array], lines: npt.NDArray[np.int64], defects: list[tuple[int, str, int]]
    ) -> pa.RecordBatch:
        self._check_conflict(columns[0], lines)
        self._check_unnamed(columns, lines)
        columns = [column for i, column in enumerate(columns) if i not in self.unnamed]
        made = [(line, f"{n} field{'s' * (n != 1)} where the header has {len(self._header.names)}", text)
                for line, text, n in defects if text.strip()]  # fmt: skip
        for line, _, text in made:
            if is_conflict(text):
                raise conflict(self._file.place, line, text)
        again = self._header_again(columns)
        if again is not None:
            made += [(int(line), "the header again", self._header.text) for line in lines[again]]
            keep = pa.array(~again)
            columns, lines = [column.filter(keep) for column in columns], lines[~again]
        return self._batch(columns, lines, sorted(made))

    def _batch(
        self, columns: Sequence[pa.Array], lines: npt.NDArray[np.int64], defects: list[tuple[int, str, str]]
    ) -> pa.RecordBatch:
        none = pa.nulls(len(lines), pa.string())
        rows = pa.record_batch([*columns, pa.array(lines), none, none], schema=self._schema)
        if not defects:
            return rows
        at, why, text = zip(*defects, strict=True)
        empty = pa.nulls(len(at), pa.string())
        broken = pa.record_batch(
            [*[empty] * len(columns), pa.array(at, pa.int64()), pa.array(why), pa.array(text)], schema=self._schema
        )
        both = pa.concat_batches([rows, broken])
        return both.take(pa.array(np.argsort(both["_line"].to_numpy(), kind="stable")))

    def _cleared(
        self, columns: Sequence[pa.Array], lines: npt.NDArray[np.int64]
    ) -> tuple[Sequence[pa.Array], npt.NDArray[np.int64]]:
        """Rows without the marks of empty lines, and without the rows that are nothing but such a mark."""
        if len(columns) == 1 and _holds(columns[0], _MARK.encode()):
            there = pc.not_equal(columns[0], _MARK).fill_null(True)
            columns, lines = [columns[0].filter(there)], lines[there.to_numpy(zero_copy_only=False)]
        return [_unmarked(c) if _holds(c, _MARK.encode()) else c for c in columns], lines

    def _check_conflict(self, first: pa.Array, lines: npt.NDArray[np.int64]) -> None:
        """A conflict's marks are rows of one field: they don't fit, unless there is just one column."""
        if len(self._header.names) > 1 or not len(first):
            return
        found = pc.match_substring_regex(first, r"^(<{7}( |$)|={7}$|>{7}( |$))").fill_null(False)
        if found.true_count:
            at = int(pc.index(found, True).as_py())
            raise conflict(self._file.place, int(lines[at]), first[at].as_py())

    def _check_unnamed(self, columns: Sequence[pa.Array], lines: npt.NDArray[np.int64]) -> None:
        for i in self.unnamed:
            values = columns[i]
            if values.null_count < len(values):
                at = int(pc.index(values.is_valid(), True).as_py())
                raise refusal(
                    f"{self._file.place}, line {lines[at]}", f"nothing in column {i + 1}, which has no name",
                    excerpt(values[at].as_py()), "Give the column a name in the header.",
                )  # fmt: skip

    def _header_again(self, columns: Sequence[pa.Array]) -> npt.NDArray[np.bool_] | None:
        same = None
        for name, values in zip(self.named, columns, strict=True):
            equal = pc.equal(values, name).fill_null(False)
            same = equal if same is None else pc.and_(same, equal)
            if not same.true_count:
                return None
        return None if same is None else same.to_numpy(zero_copy_only=False)

    def _unclosed(self, at: int) -> SourceError:
        return refusal(
            f"{self._file.place}, line {self._line_of(at)}", "a quote that is closed before the next delimiter or line",
            "that it takes in the lines below", "Close the quote, or double it if it is part of the text.",
        )  # fmt: skip

    def _unreadable(self, error: pa.ArrowInvalid, opened: int | None) -> SourceError:
        if "straddling" in str(error):
            if opened is not None:
                return self._unclosed(opened)
            return refusal(
                f"{self._file.place}, after line {self._numbering.next - 1}", f"rows of at most {BLOCK >> 20} MB",
                "a longer one", "Look for line ends that are missing.",
            )  # fmt: skip
        return refusal(
            f"{self._file.place}, after line {self._numbering.next - 1}",
            f"rows divided by {self._header.delimiter!r} in {self._encoding.name}", str(error),
            "Set source.encoding and source.delimiter to the file's own.",
        )  # fmt: skip

    def _line_of(self, byte: int) -> int:
        with text_of(self._file, self._compression, self._encoding.name) as text:
            return line_at(text, self._start + byte)


class _Watched(io.RawIOBase):
    """The text from ``start`` on, as a parser reads it, with an eye on its quotes.

    A mark stands in each empty line: a parser takes such a line for a row of empty values, or says nothing of it, and
    neither tells where the next row begins. The marks within quotes are taken out again. ``marked`` tells whether
    there is any mark.
    """

    def __init__(self, text: IO[bytes], start: int, quotes: Quotes) -> None:
        self._text, self.quotes, self.marked = text, quotes, False
        self._ended = False
        self._last = b"\n"
        self._ready = b""
        while start > 0 and (block := text.read(start)):
            start -= len(block)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        # A parser takes a block that ends within the row it began in for one with too long a row.
        while len(self._ready) < size and not self._ended:
            block = self._text.read(size - len(self._ready))
            if block:
                self.quotes.look(block)
                self._ready += self._marked(block)
            else:
                self._ended = True
                self.quotes.end()
        given = self._ready[:size]
        if not self._ended or len(given) < len(self._ready):
            # Arrow's parser drops a newline at the start of a block if the one before ends in \r, even within quotes.
            given = given.rstrip(b"\r") or given
        self._ready = self._ready[len(given) :]
        return given

    def _marked(self, block: bytes) -> bytes:
        begun = self._last + block
        self._last = block[-1:]
        if any(ends in begun for ends in _EMPTY):
            self.marked = True
            return _BEFORE_EMPTY.sub(rb"\1" + _MARK.encode(), begun)[1:]
        return block


class _Numbering:
    """The lines of a text's records, told from their numbers and the line ends within them."""

    def __init__(self, line: int) -> None:
        self.next = line
        self._record = 1

    def place(
        self, rows: int, extra: npt.NDArray[np.int64] | None, broken: list[tuple[int, str, int]], last: bool
    ) -> tuple[npt.NDArray[np.int64], list[tuple[int, str, int]]]:
        """The lines of the next rows, and those of the broken records that stand before or between them.

        Args:
            rows: how many proper rows there are.
            extra: the line ends within each of them; None if there are none.
            broken: the known broken records from here on: number, text and fields; those that are placed are removed.
            last: whether nothing comes after these.
        """
        if not broken:
            lines = self.next + np.arange(rows, dtype=np.int64)
            if extra is not None:
                lines += np.cumsum(extra) - extra
            self.next += rows + (int(extra.sum()) if extra is not None else 0)
            self._record += rows
            return lines, []
        numbers = np.array([number for number, _, _ in broken], dtype=np.int64)
        proper = np.ones(rows + len(numbers), dtype=bool)
        within = numbers[numbers < self._record + len(proper)] - self._record
        proper[within] = False
        at = np.flatnonzero(proper)[:rows]
        end = int(at[-1]) + 1 if rows else 0
        if last:
            end = max(end, int(numbers[-1]) - self._record + 1)
        taken = [record for record in broken if record[0] - self._record < end]
        del broken[: len(taken)]
        ends = np.zeros(end, dtype=np.int64)
        if extra is not None:
            ends[at] = extra
        for number, text, _ in taken:
            ends[number - self._record] = line_ends(text.encode())
        lines = self.next + np.arange(end) + np.cumsum(ends) - ends
        defects = [(int(lines[number - self._record]), text, fields) for number, text, fields in taken]
        self.next += end + int(ends.sum())
        self._record += end
        return lines[at], defects


def _line_ends_in(columns: Sequence[pa.Array], rows: int) -> npt.NDArray[np.int64] | None:
    """How many lines end within the values of each row; None if in no row."""
    found = None
    for values in columns:
        if not rows or not _holds(values, b"\n", b"\r"):
            continue
        ends = pc.add(pc.count_substring(values, "\n"), pc.count_substring(values, "\r"))
        counts = pc.subtract(ends, pc.count_substring(values, "\r\n")).fill_null(0).to_numpy(zero_copy_only=False)
        found = counts.astype(np.int64) if found is None else found + counts
    return found


def _unmarked(values: pa.Array) -> pa.Array:
    for end in "\n\r":
        values = pc.replace_substring(values, end + _MARK, end)
    return values


def _holds(values: pa.Array, *parts: bytes) -> bool:
    """Whether one of ``parts`` may stand in a text, told from all of them at once."""
    data = values.buffers()[2]
    text = data.to_pybytes() if data is not None else b""
    return any(part in text for part in parts)
