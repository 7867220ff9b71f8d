"""Text of any encoding as a stream of UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from churn_assets.sources.formats import refusal
from churn_assets.sources.formats.compression import Compression, content
from churn_assets.sources.formats.received import BLOCK, Received

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Utf8(io.RawIOBase):
    """A stream of UTF-8 without a byte order mark, whatever the encoding of ``stream``."""

    def __init__(self, stream: IO[bytes], encoding: str, place: str) -> None:
        self._stream, self._encoding, self._place = stream, encoding, place
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        self._first = True
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, into: Buffer) -> int:
        view = memoryview(into)
        while not self._rest and not self._ended:
            self._rest = self._next()
        given, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(given)] = given
        return len(given)

    def _next(self) -> bytes:
        block = self._stream.read(BLOCK)
        self._ended = not block
        if self._decoder is None:
            text = block
        else:
            try:
                text = self._decoder.decode(block, final=self._ended).encode()
            except UnicodeError as error:
                raise refusal(
                    self._place, self._encoding, f"bytes that aren't ({getattr(error, 'reason', error)})",
                    "Set source.encoding to the file's own.",
                ) from error  # fmt: skip
            if b"\0" in text:
                raise refusal(self._place, f"text in {self._encoding}", "a NUL byte", "Set source.encoding.")
        if self._first and text:
            self._first = False
            return text.removeprefix(codecs.BOM_UTF8)
        return text


@contextmanager
def text_of(file: Received, compression: Compression | None, encoding: str) -> Iterator[io.BufferedReader]:
    """The file's text, decompressed, as UTF-8."""
    with content(file, compression) as stream:
        yield io.BufferedReader(Utf8(stream, encoding, file.place), BLOCK)


def line_at(text: IO[bytes], byte: int) -> int:
    """The number of the line that a byte of ``text`` stands in, counted from 1."""
    line, last = 1, b""
    while byte > 0 and (block := text.read(min(BLOCK, byte))):
        line += line_ends(block) - (last == b"\r" and block[:1] == b"\n")
        last, byte = block[-1:], byte - len(block)
    return line


def line_ends(text: bytes) -> int:
    r"""How many lines end in ``text``, with \n, \r or both."""
    return text.count(b"\n") + (text.count(b"\r") - text.count(b"\r\n") if b"\r" in text else 0)
