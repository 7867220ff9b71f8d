"""Compressed files as streams of their content."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Literal, cast

import pyarrow as pa

from churn_assets.errors import SourceError
from churn_assets.sources.formats import refusal
from churn_assets.sources.formats.received import BLOCK, Received, readable

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

    from typing_extensions import Buffer

Compression = Literal["gz", "zip", "zst", "bz2", "xz"]

_MAGIC: tuple[tuple[Compression, re.Pattern[bytes]], ...] = (
    ("gz", re.compile(rb"\x1f\x8b")),
    ("zip", re.compile(rb"PK(\x03\x04|\x05\x06)")),
    ("zst", re.compile(rb"\x28\xb5\x2f\xfd")),
    ("bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")),
    ("xz", re.compile(rb"\xfd7zXZ\0")),
)
# Office documents are zip files too, and no compressed data.
_DOCUMENT = ("[Content_Types].xml", "mimetype")


def compression_of(file: Received) -> Compression | None:
    """How the whole file is compressed, by its first bytes.

    Raises:
        SourceError: it is a damaged zip file.
    """
    head = file.head(16)
    found = next((name for name, magic in _MAGIC if magic.match(head)), None)
    if found == "zip":
        with _whole(file, found), _zipped(file) as archive:
            if any(name in _DOCUMENT for name in archive.namelist()):
                return None
    return found


def content_name(file: Received, compression: Compression | None) -> str:
    """The name of the data itself: a zip file's member, or the file's name without .gz."""
    if compression == "zip":
        with _whole(file, compression), _zipped(file) as archive:
            return PurePosixPath(_member(file, archive).filename).name
    suffix = PurePosixPath(file.name).suffix.lower()
    known = {".gz", ".gzip", ".zip", ".zst", ".zstd", ".bz2", ".xz"}
    return file.name[: -len(suffix)] if suffix in known else file.name


@contextmanager
def content(file: Received, compression: Compression | None) -> Iterator[IO[bytes]]:
    """The file's content as a stream.

    Raises:
        SourceError: the file is damaged, or a zip file holds several; reading the stream may raise it too.
    """
    if compression is None:
        with readable(file.place), file.path.open("rb") as plain:
            yield plain
        return
    with _whole(file, compression):
        if compression == "zip":
            with _zipped(file) as archive, archive.open(_member(file, archive)) as member:
                yield io.BufferedReader(_Checked(member, file, compression), BLOCK)
        else:
            with _decompressing(file, compression) as stream:
                yield io.BufferedReader(_Checked(stream, file, compression), BLOCK)


class _Checked(io.RawIOBase):
    """A decompressing stream whose errors name the file."""

    def __init__(self, stream: IO[bytes], file: Received, compression: Compression) -> None:
        self._stream, self._file, self._compression = stream, file, compression

    def readable(self) -> bool:
        return True

    def readinto(self, into: Buffer) -> int:
        view = memoryview(into)
        with _whole(self._file, self._compression):
            block = self._stream.read(len(view))
        view[: len(block)] = block
        return len(block)


def _decompressing(file: Received, compression: Compression) -> IO[bytes]:
    if compression == "gz":
        import gzip

        return cast(IO[bytes], gzip.open(file.path, "rb"))
    if compression == "bz2":
        import bz2

        return cast(IO[bytes], bz2.open(file.path, "rb"))
    if compression == "xz":
        import lzma

        return cast(IO[bytes], lzma.open(file.path, "rb"))
    return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(file.path)), "zstd"))


def _zipped(file: Received) -> ZipFile:
    from zipfile import ZipFile

    return ZipFile(file.path)


def _member(file: Received, archive: ZipFile) -> ZipInfo:
    """The one data file in ``archive``; what operating systems put beside it doesn't count."""
    found = [
        info for info in archive.infolist()
        if not info.is_dir() and not any(p.startswith((".", "__MACOSX")) for p in PurePosixPath(info.filename).parts)
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(info.filename for info in found[:10]) + (", …" if len(found) > 10 else "")
        raise refusal(
            file.place, "one file in the zip file", names or "none", "Unpack it, or deliver one file in each."
        )
    if found[0].flag_bits & 0x1:
        raise refusal(file.place, "a zip file without a password", "an encrypted one", "Deliver it unencrypted.")
    return found[0]


@contextmanager
def _whole(file: Received, compression: Compression) -> Iterator[None]:
    import lzma
    from zipfile import BadZipFile

    try:
        yield
    except SourceError:
        raise
    except (FileNotFoundError, PermissionError) as error:
        with readable(file.place):
            raise error
    except (EOFError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise refusal(
            file.place, f"a whole {compression} file", f"a damaged or truncated one ({error or type(error).__name__})",
            "Deliver it again.",
        ) from error  # fmt: skip
