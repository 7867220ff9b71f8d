"""The header of delimited text, and the delimiter that it and the first rows prove."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from churn_assets.sources.formats import check_names, excerpt, refusal

DELIMITERS = (",", ";", "\t", "|")
NO_DELIMITER = "\x1f"
"""Stands for none, in a text of a single column: a character that texts don't have."""

HEAD = 1 << 18
"""Bytes that are looked at for the header and the delimiter."""

_ROWS = 100
_CLOSE = "Look for a quote that isn't closed, or line ends that are missing."
_CONFLICT = re.compile(r"<{7}( |$)|={7}$|>{7}( |$)|\|{7}( |$)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")


@dataclass(frozen=True)
class Header:
    """How the rows of a text are divided, and where they begin.

    Attributes:
        names: the columns, as received; an empty name is a column without one.
        text: the header's own text, without its line end.
        delimiter: what divides the fields.
        line: the line the header begins on, counted from 1.
        first: the line that the rows begin on.
        start: how many characters stand before the rows.
    """

    names: tuple[str, ...]
    text: str
    delimiter: str
    line: int
    first: int
    start: int


@dataclass(frozen=True)
class _Record:
    fields: list[str]
    line: int
    start: int
    end: int


def is_conflict(text: str) -> bool:
    """Whether a line is one of those that git leaves where two versions of a file meet."""
    return _CONFLICT.match(text) is not None


def conflict(place: str, line: int, text: str) -> Exception:
    """The error that refuses a file with a merge conflict."""
    return refusal(
        f"{place}, line {line}", "a line of data", f"{excerpt(text)} (a merge conflict)",
        "Restore the file as it was before.",
    )  # fmt: skip


def header_of(head: str, whole: bool, place: str, delimiter: str | None, skip_rows: int) -> Header:
    """The header of a text.

    Args:
        head: the text's beginning.
        whole: whether ``head`` is all of it.
        place: what messages begin with.
        delimiter: the declared one, if any.
        skip_rows: lines above the header.

    Raises:
        SourceError: there is no header, it can't be used, or the delimiter isn't sure.
    """
    start, line = _skipped(head, skip_rows)
    if not head[start:].strip("\ufeff\r\n\t \x1a"):
        raise refusal(
            place, f"a header in line {line}", "an empty file" if not start else "nothing from there on",
            "Deliver at least the header (an empty month is a file with just that).",
        )  # fmt: skip
    # A delimiter may stand at the end of a line that blanks are stripped from, so only whole empty lines go.
    while (blank := _LINE.match(head, start)) and not blank[0].strip(" \r\n"):
        start, line = blank.end(), line + 1
    first = head[start : _LINE.match(head, start).end()].rstrip("\r\n")  # type: ignore[union-attr]
    if is_conflict(first):
        raise conflict(place, line, first)
    tried = (delimiter,) if delimiter else (*DELIMITERS, NO_DELIMITER)
    found = {d: _records(head, start, line, d, whole) for d in tried}
    if not all(found.values()):
        raise refusal(
            f"{place}, line {line}", "a header", f"a field of more than {csv.field_size_limit()} characters", _CLOSE
        )
    chosen = delimiter or _chosen(found, place, line)
    records = found[chosen]
    _check_no_title(records, place, skip_rows)
    top = records[0]
    names = tuple(top.fields)
    where = f"{place}, line {line}"
    if not any(name.strip() for name in names):
        raise refusal(where, "a header with names", excerpt(first), "Put the columns' names there, or set skip_rows.")
    check_names(where, names)
    text = head[top.start : top.end].rstrip("\r\n")
    if not _closed(text, chosen):
        raise refusal(where, "a header", "a quote that isn't closed", "Mend the file.")
    return Header(names, text, chosen, line, line + _lines(head[top.start : top.end]), top.end)


def _skipped(head: str, rows: int) -> tuple[int, int]:
    start = line = 0
    while line < rows and start < len(head):
        found = _LINE.match(head, start)
        assert found is not None
        start, line = found.end(), line + 1
    return start, line + 1


def _records(head: str, start: int, line: int, delimiter: str, whole: bool) -> list[_Record]:
    """The first records, as a parser would divide them; the last of a cut text may be half a one, and is left out."""
    ends = [start]

    def lines() -> Iterator[str]:
        at = start
        while at < len(head):
            found = _LINE.match(head, at)
            assert found is not None
            at = found.end()
            ends.append(at)
            yield found[0]

    records: list[_Record] = []
    parser = csv.reader(lines(), delimiter=delimiter)
    before = 0
    try:
        for fields in parser:
            if fields:
                records.append(_Record(fields, line + before, ends[before], ends[parser.line_num]))
            before = parser.line_num
            if len(records) > _ROWS:
                return records
    except csv.Error:
        # A field that is longer than any parser takes: an unclosed quote, which is found where it opens.
        pass
    return records[:-1] if not whole and len(records) > 1 else records


def _chosen(found: dict[str, list[_Record]], place: str, line: int) -> str:
    fitting = {d: _share(records) for d, records in found.items() if len(records[0].fields) > 1}
    best = [d for d, share in fitting.items() if share == max(fitting.values())]
    if not best or fitting[best[0]] < 0.5:
        # The header isn't like the rows: it is a title, or of a single column, or most of the rows are broken.
        titled = [d for d in DELIMITERS if _title_of(found[d])]
        if titled:
            return max(titled, key=lambda d: sum(len(r.fields) > 1 for r in found[d][1:]))
    if len(best) > 1:
        raise refusal(
            f"{place}, line {line}", "one delimiter that gives the header and the rows the same number of fields",
            f"{' and '.join(map(repr, best))} as likely", "Set source.delimiter.",
        )  # fmt: skip
    return best[0] if best else NO_DELIMITER


def _share(records: list[_Record]) -> float:
    rows = [r for r in records[1:] if any(f.strip() for f in r.fields)]
    return sum(len(r.fields) == len(records[0].fields) for r in rows) / len(rows) if rows else 1.0


def _title_of(records: list[_Record]) -> tuple[int, int] | None:
    """The line and number of fields of the first record that most rows are like, if the header has fewer fields."""
    rows = [r for r in records[1:] if any(f.strip() for f in r.fields)]
    if not rows:
        return None
    width, count = Counter(len(r.fields) for r in rows).most_common(1)[0]
    top = len(records[0].fields)
    alone = top == 1 and count >= 2 and count >= 0.6 * len(rows)
    if width > top and (alone or (count == len(rows) and count >= 3)):
        return next(r.line for r in rows if len(r.fields) == width), width
    return None


def _check_no_title(records: list[_Record], place: str, skip_rows: int) -> None:
    if found := _title_of(records):
        row, width = found
        top = records[0]
        raise refusal(
            f"{place}, line {top.line}", f"a header of {width} names, as many as the rows have fields",
            f"{len(top.fields)}: {excerpt(', '.join(top.fields))}",
            f"If the header is line {row}, set source.skip_rows to {row - 1}; else mend the header."
        )  # fmt: skip


def _closed(text: str, delimiter: str) -> bool:
    from churn_assets.sources.formats.quotes import Quotes, Unclosed

    quotes = Quotes(delimiter)
    try:
        quotes.look(text.encode())
        quotes.end()
    except Unclosed:
        return False
    return True


def _lines(text: str) -> int:
    from churn_assets.sources.formats.utf8 import line_ends

    return line_ends(text.encode())
