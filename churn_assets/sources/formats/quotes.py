"""Quotes in delimited text: finds the one that isn't closed, before it swallows rows."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]

_QUOTE, _NEWLINE = b'"\n'


class Unclosed(Exception):
    """A quote that opens at byte ``at`` takes in the end of its line, and isn't closed as it should be."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class Quotes:
    """Follows the quotes of a UTF-8 text, block by block, as RFC 4180 and Arrow's parser understand them.

    A quote opens a field only right after a delimiter or the end of a line, and any other one outside a quoted field
    is a character like others. A quote inside closes the field, unless it is doubled. If text follows it before the
    next delimiter, the field was meant to be closed earlier; where it took in the end of a line, two rows became one.
    """

    def __init__(self, delimiter: str) -> None:
        self.found = False
        """Whether there is any quote in what was taken in and followed; only then a value may hold a line end."""
        self._edges = np.frombuffer(f"{delimiter}\n\r".encode(), dtype=np.uint8)
        self._seen = 0
        self._held = b""
        self._last = _NEWLINE
        self._opened: int | None = None
        self._spans_lines = False

    def look(self, block: bytes) -> None:
        """Takes the next bytes in.

        Raises:
            Unclosed: a quoted field ends where no field ends, lines after it began.
        """
        block = self._held + block
        # What a quote means hangs on the next byte.
        kept = len(block.rstrip(b'"'))
        block, self._held = block[:kept], block[kept:]
        self._follow(block)

    @property
    def opened(self) -> int | None:
        """The byte at which the quote opens that isn't closed yet."""
        return self._opened

    def end(self) -> None:
        """Ends the text.

        Raises:
            Unclosed: a quoted field doesn't end.
        """
        self._follow(self._held + b"\n")
        if self._opened is not None:
            raise Unclosed(self._opened)

    def _follow(self, block: bytes) -> None:
        if not block:
            return
        if b'"' in block:
            self.found = True
            values = np.frombuffer(block, dtype=np.uint8)
            at = np.flatnonzero(values == _QUOTE)
            if not self._strictly(block, values, at):
                self._one_by_one(block, at.tolist())
        elif self._opened is not None:
            self._spans_lines |= _has_line_end(block)
        self._last = block[-1]
        self._seen += len(block)

    def _strictly(self, block: bytes, values: Bytes, at: npt.NDArray[np.intp]) -> bool:
        """Follows ``block`` if every quote in it opens and closes where fields begin and end."""
        before = np.concatenate((np.array([self._last], np.uint8), values[:-1]))[at]
        after = np.concatenate((values[1:], np.array([_NEWLINE], np.uint8)))[at]
        # Taken by turns, a doubled quote closes and opens again.
        opens = np.arange(len(at)) % 2 == (self._opened is not None)
        beside = np.where(opens, before, after)
        if not (np.isin(beside, self._edges) | (beside == _QUOTE)).all():
            return False
        if not opens[-1]:
            self._opened = None
        elif len(fields := at[opens & (before != _QUOTE)]):
            self._open(int(fields[-1]))
        if self._opened is not None:
            self._spans_lines |= _has_line_end(block[max(self._opened - self._seen, 0) :])
        return True

    def _one_by_one(self, block: bytes, at: list[int]) -> None:
        edges, skipped = self._edges.tobytes(), -1
        for quote in at:
            if quote == skipped:
                continue
            if self._opened is None:
                if (block[quote - 1] if quote else self._last) in edges:
                    self._open(quote)
            elif block[quote + 1] == _QUOTE:
                skipped = quote + 1
            elif block[quote + 1] not in edges and self._took_a_line_end(block, quote):
                raise Unclosed(self._opened)
            else:
                self._opened = None
        if self._opened is not None:
            self._spans_lines |= _has_line_end(block[max(self._opened - self._seen, 0) :])

    def _took_a_line_end(self, block: bytes, until: int) -> bool:
        assert self._opened is not None
        start = self._opened - self._seen
        return (start < 0 and self._spans_lines) or _has_line_end(block[max(start, 0) : until])

    def _open(self, at: int) -> None:
        self._opened = self._seen + at
        self._spans_lines = False


def _has_line_end(text: bytes) -> bool:
    return b"\n" in text or b"\r" in text
