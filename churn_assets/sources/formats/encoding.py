"""The encoding of a text file: proved over all of its bytes, or guessed and said so."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from churn_assets.sources.formats import refusal

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_GUESSES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "iso8859_5", "koi8_r", "cp866")
_SAMPLE = 1 << 16
_AROUND = re.compile(rb"[^\n\r]{0,80}[\x80-\xff][^\n\r]{0,80}")
_CUT = "Ask for the whole file, or set source.encoding if it isn't UTF-8."


@dataclass(frozen=True)
class Encoding:
    """What a text file is decoded with, and the sentence to doubt it by if it couldn't be proved."""

    name: str
    doubt: str | None = None


class Survey:
    """Looks at all bytes of a text, block by block, and tells how to decode it."""

    def __init__(self, place: str, declared: str | None) -> None:
        self._place = place
        self._declared = codecs.lookup(declared).name if declared else None
        self._seen = 0
        self._marked: str | None = None
        self._decoder: codecs.IncrementalDecoder | None = None
        self._pending = False
        self._multibyte = False
        self._failed: int | None = None
        self._nul: int | None = None
        self._sample = bytearray()

    def look(self, block: bytes) -> None:
        """Takes the next bytes in."""
        if not self._seen:
            self._begin(block)
        if self._nul is None and (at := block.find(0)) >= 0:
            self._nul = self._seen + at
        if self._pending or not block.isascii():
            self._decode(block)
            if len(self._sample) < _SAMPLE:
                for around in _AROUND.finditer(block):
                    self._sample += around[0] + b"\n"
                    if len(self._sample) >= _SAMPLE:
                        break
        self._seen += len(block)

    def verdict(self) -> Encoding:
        """How to decode what was seen.

        Raises:
            SourceError: the bytes are no text, or not in the encoding that they are declared or prove to be in.
        """
        if self._decoder and self._failed is None and self._pending:
            raise refusal(self._place, "UTF-8", "half a character at the end (the file was cut off)", _CUT)
        name = self._declared or self._marked
        if name is not None and self._plain(name) == "utf-8":
            if self._failed is not None:
                why = "it is declared as" if self._declared else "its byte order mark says"
                raise self._not_utf8(f"UTF-8, as {why}", "Mend the file, or set source.encoding.")
            self._check_nul()
            return Encoding("utf-8")
        if name is not None:
            if self._plain(name)[:6] not in ("utf-16", "utf-32"):
                self._check_nul()
            # An order that the name leaves open is told by the mark; without one, both are usually little-endian.
            if name in ("utf-16", "utf-32"):
                same = self._marked and self._marked.startswith(name)
                return Encoding(self._marked if same and self._marked else f"{name}-le")
            return Encoding(name)
        self._check_nul()
        if self._failed is None:
            return Encoding("utf-8")
        if self._multibyte:
            raise self._not_utf8("UTF-8, as the rest of the file is", "Mend the file, or set source.encoding.")
        guess = self._guess()
        return Encoding(
            guess,
            f"{self._place}: the encoding isn't declared and isn't UTF-8; taken for {guess}. Set source.encoding.",
        )

    def _begin(self, block: bytes) -> None:
        self._marked = next((name for mark, name in _MARKS if block.startswith(mark)), None) or _without_mark(block)
        if self._plain(self._declared or self._marked or "utf-8") == "utf-8":
            self._decoder = codecs.getincrementaldecoder("utf-8")()

    @staticmethod
    def _plain(name: str) -> str:
        return "utf-8" if name in ("utf-8", "utf-8-sig", "ascii") else name

    def _decode(self, block: bytes) -> None:
        if self._decoder is None or self._failed is not None:
            return
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(block)
        except UnicodeDecodeError as error:
            self._failed = self._seen - held + error.start
            self._multibyte |= (held > 0 and error.start > 0) or not block[: max(error.start - held, 0)].isascii()
            return
        self._pending = bool(self._decoder.getstate()[0])
        self._multibyte |= not text.isascii()

    def _check_nul(self) -> None:
        if self._nul is not None:
            raise refusal(
                f"{self._place}, byte {self._nul + 1}", "text", "a NUL byte: these are bytes that are no text",
                "Set source.encoding if it is UTF-16; else deliver the file again.",
            )  # fmt: skip

    def _not_utf8(self, expected: str, todo: str) -> Exception:
        assert self._failed is not None
        return refusal(f"{self._place}, byte {self._failed + 1}", expected, "bytes that aren't", todo)

    def _guess(self) -> str:
        from charset_normalizer import from_bytes

        found = from_bytes(bytes(self._sample), cp_isolation=list(_GUESSES), enable_fallback=False)
        if (best := found.best()) is None:
            return "latin-1"
        # Short samples fit several; among those that fit as well, the usual one of Western files is meant.
        for match in found:
            as_good = match.chaos <= best.chaos and match.coherence >= best.coherence
            if as_good and _GUESSES[0] in match.could_be_from_charset:
                return _GUESSES[0]
        return str(best.encoding)


def _without_mark(block: bytes) -> str | None:
    """UTF-16 as its NUL bytes tell it: Western text has one in each of its first characters."""
    head = block[:64]
    pairs = len(head) // 2
    if pairs and head.count(0) >= pairs * 0.6:
        if not any(head[0 : pairs * 2 : 2]):
            return "utf-16-be" if all(head[1 : pairs * 2 : 2]) else None
        if not any(head[1 : pairs * 2 : 2]):
            return "utf-16-le"
    return None
