"""A received file as a table: its format is told by its first bytes, its name and what is declared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from churn_assets.sources.formats import Table, refusal
from churn_assets.sources.formats.compression import Compression, compression_of, content, content_name
from churn_assets.sources.formats.encoding import Encoding, Survey
from churn_assets.sources.formats.received import BLOCK, Received, readable, temporary
from churn_assets.spec.source import FileFormat

Format = Literal["csv", "json", "ndjson", "parquet", "excel"]

_BY_SUFFIX: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".psv": "csv", ".txt": "csv", ".dat": "csv",
    ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet", ".pq": "parquet",
    ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".xlsb": "excel", ".ods": "excel",
}  # fmt: skip
_KNOWN = ".csv, .tsv, .txt, .json, .ndjson, .jsonl, .parquet, .xlsx, .xls, .xlsb or .ods"
_BINARY: tuple[tuple[Format, re.Pattern[bytes]], ...] = (
    ("parquet", re.compile(rb"PAR1")),
    ("excel", re.compile(rb"PK\x03\x04|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
)
_NO_DATA = (
    (re.compile(rb"version https://git-lfs\.github\.com/spec/"), "a pointer to Git LFS", "Run git lfs pull."),
    (re.compile(rb"(?i)<(!doctype html|html|head|body)"), "a web page (a log-in form?)", "Download the data itself."),
    (re.compile(rb"<\?xml"), "XML", "Deliver it as one of the formats that are read."),
    (re.compile(rb"%PDF-"), "a PDF", "Deliver the data itself."),
    (re.compile(rb"\{\\rtf"), "a text document (RTF)", "Deliver the data itself."),
)  # fmt: skip
_NAMES = {"csv": "delimited text", "json": "JSON", "ndjson": "lines of JSON", "parquet": "Parquet", "excel": "Excel"}


def open_table(file: Received, given: FileFormat) -> Table:
    """The file's rows, and in ``details`` all that the delivery's provenance says of it.

    Raises:
        SourceError: it can't be read; reading the rows may raise it too.
    """
    compression = compression_of(file)
    name = content_name(file, compression)
    with content(file, compression) as stream:
        head = stream.read(4096)
    form, doubts = _format(file, name, head, given)
    doubts = _unnamed_compression(file, compression) + doubts
    details = {"name": file.name, "bytes": file.size}
    if form in ("parquet", "excel"):
        details["sha256"] = file.sha256()
        table = _binary(file, compression, form, given)
    else:
        details["sha256"], encoding = _surveyed(file, compression, given)
        table = _text(file, compression, encoding, form, given)
    found = {"format": form, "encoding": None, "delimiter": None, "compression": compression} | table.details
    return replace(table, details=details | found, doubts=doubts + table.doubts)


def _format(file: Received, name: str, head: bytes, given: FileFormat) -> tuple[Format, list[str]]:
    suffix = PurePosixPath(name).suffix.lower()
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, found, todo in _NO_DATA:
        if pattern.match(start):
            raise refusal(file.place, "a file of data", found, todo)
    binary = next((form for form, magic in _BINARY if magic.match(head)), None)
    named = given.format or _BY_SUFFIX.get(suffix)
    if named in ("parquet", "excel") and not binary:
        if given.format or b"\0" in head or not head:
            raise refusal(
                file.place, f"{_NAMES[named]}, as {'declared' if given.format else 'the name says'}",
                "other bytes" if head else "an empty file", "Deliver the file again, or name its format.",
            )  # fmt: skip
        named, other = _text_format(start), True
    elif binary and binary != named:
        if given.format:
            raise refusal(file.place, f"{_NAMES[given.format]}, as declared", _NAMES[binary], "Mend source.format.")
        named, other = binary, named is not None
    else:
        other = False
    if named and other:
        return named, [f"{file.place}: the name says {suffix}, the content is {_NAMES[named]}, and is read as that."]
    if named == "json" and not given.format and not given.records and _is_lines(head):
        return "ndjson", []
    if named:
        return named, []
    if not suffix and head:
        return _text_format(start), []
    raise refusal(file.place, f"a name that ends in {_KNOWN}", repr(suffix or name), "Set source.format.")


def _text_format(start: bytes) -> Format:
    if start[:1] in (b"{", b"["):
        return "ndjson" if _is_lines(start) else "json"
    return "csv"


def _is_lines(head: bytes) -> bool:
    """Whether each of the first lines is a JSON object of its own."""
    import json

    lines = [line for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    if len(lines) < 2 or not lines[0].lstrip().startswith(b"{"):
        return False
    try:
        json.loads(lines[0])
    except ValueError:
        return False
    return lines[1].lstrip().startswith(b"{")


def _unnamed_compression(file: Received, compression: Compression | None) -> list[str]:
    suffix = PurePosixPath(file.name).suffix.lower().removeprefix(".")
    says = {"gzip": "gz", "zstd": "zst"}.get(suffix, suffix)
    if compression == says or (compression is None and says not in get_args(Compression)):
        return []
    found = f"is compressed with {compression}" if compression else "isn't compressed"
    return [f"{file.place}: the name says .{suffix}, the content {found}, and is read as that."]


def _surveyed(file: Received, compression: Compression | None, given: FileFormat) -> tuple[str, Encoding]:
    """The file's hash and encoding, in one pass where its bytes are its text."""
    survey = Survey(file.place, given.encoding)
    if compression is None:
        digest = file.sha256(survey.look)
    else:
        digest = file.sha256()
        with content(file, compression) as stream:
            while block := stream.read(BLOCK):
                survey.look(block)
    return digest, survey.verdict()


def _text(
    file: Received, compression: Compression | None, encoding: Encoding, form: Format, given: FileFormat
) -> Table:
    if form == "csv":
        from churn_assets.sources.formats.text import read_text

        return read_text(file, compression, encoding, given)
    from churn_assets.sources.formats.json import read_json, read_ndjson

    if form == "json":
        return read_json(file, compression, encoding, given)
    return read_ndjson(file, compression, encoding)


def _binary(file: Received, compression: Compression | None, form: Format, given: FileFormat) -> Table:
    with _expanded(file, compression) as path, readable(file.place):
        if form == "excel":
            from churn_assets.sources.formats.excel import read_excel

            return read_excel(path, file.place, given)
        from churn_assets.sources.formats.parquet import read_parquet

        return read_parquet(path, file.place)


@contextmanager
def _expanded(file: Received, compression: Compression | None) -> Iterator[Path]:
    if compression is None:
        yield file.path
        return
    import shutil

    folder = temporary()
    path = Path(folder.name) / "content"
    with content(file, compression) as stream, path.open("wb") as target:
        shutil.copyfileobj(stream, target, BLOCK)
    # A reader that has opened the file keeps its bytes after the folder is gone.
    yield path
