"""Files as they really arrive, each with what must become of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import xlsxwriter


@dataclass(frozen=True)
class Dirty:
    """A file and its expected outcome.

    Attributes:
        title: what is wrong, or odd, about it.
        name: the file's name.
        content: its bytes.
        rows: the proper rows' values, if the file is read.
        lines: the lines of all rows, defects among them.
        columns: the names, as received; not compared if empty.
        defects: line, reason and text of rows that are none.
        doubt: a part of a sentence that must be among the doubts; without one, there must be none.
        refused: a part of the error's message, if the file isn't read.
        how: how the file is declared.
        details: what the provenance must say of the file, among other things.
    """

    title: str
    name: str
    content: bytes
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    defects: list[tuple[int, str, str]] = field(default_factory=list)
    doubt: str | None = None
    refused: str | None = None
    how: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.title

    def put(self, folder: Path) -> Path:
        """Writes the file into ``folder``."""
        path = folder / self.name
        path.write_bytes(self.content)
        return path


def _text(title: str, content: str | bytes, name: str = "a.csv", **more: Any) -> Dirty:
    return Dirty(title, name, content.encode() if isinstance(content, str) else content, **more)


ROWS = [("c1", "1"), ("c2", "2")]
_PLAIN = "id,x\nc1,1\nc2,2\n"
_ORLEAN = "id,Prénom\nc1,Zoé\nc2,François\nc3,Noël Müller\nc4,Cléa d’Été – 5 €\n"
_POLISH = "id,imię\nc1,Łukasz Wiśniewski\nc2,Małgorzata Dąbrowska\nc3,Zażółć gęślą jaźń\nc4,Święty Józef\n"
_RUSSIAN = "id,имя\nc1,Александр Сергеевич Пушкин\nc2,Фёдор Михайлович Достоевский\nc3,Лев Николаевич Толстой\n"


def _values(text: str) -> list[tuple[str, ...]]:
    return [tuple(line.split(",")) for line in text.splitlines()[1:]]


def zipped(**files: str | bytes) -> bytes:
    """A zip file with ``files``, whose names have __ for / and _ for a dot."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", ".").replace("MAC", "__MAC"), content)
    return target.getvalue()


def encrypted() -> bytes:
    """A zip file whose member says that it is encrypted."""
    content = bytearray(zipped(a_csv=_PLAIN))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def zstd(content: bytes) -> bytes:
    """``content``, compressed."""
    return bytes(pa.compress(content, "zstd", asbytes=True))


def workbook(write: Callable[[xlsxwriter.Workbook], object]) -> bytes:
    """An Excel file that ``write`` fills."""
    target = io.BytesIO()
    with xlsxwriter.Workbook(target, {"in_memory": True}) as book:
        write(book)
    return target.getvalue()


def sheet(*rows: list[Any], name: str = "Data", skip: int = 0) -> Callable[[xlsxwriter.Workbook], object]:
    """Writes ``rows`` into a sheet of their own."""

    def write(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet(name)
        for i, row in enumerate(rows):
            page.write_row(i + skip, 0, row)

    return write


def opendocument(*rows: list[str]) -> bytes:
    """A spreadsheet as LibreOffice writes it, with texts."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    body = "".join(f"<table:table-row>{''.join(map(cell.format, row))}</table:table-row>" for row in rows)
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content{names}><office:body><office:spreadsheet>'
        f'<table:table table:name="Data">{body}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", '<?xml version="1.0"?><manifest:manifest xmlns:manifest="m"/>')
        archive.writestr("content.xml", content)
    return target.getvalue()


def parquet(frame: pl.DataFrame) -> bytes:
    """``frame`` as a Parquet file."""
    target = io.BytesIO()
    frame.write_parquet(target)
    return target.getvalue()


_XLSX = workbook(sheet(["id", "x"], ["c1", "1"], ["c2", "2"]))
_PARQUET = parquet(pl.DataFrame({"id": ["c1", "c2"], "x": ["1", "2"]}))
_LOGIN = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in, please</body></html>\n"
_LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

ENCODINGS = [
    _text(
        "a plain file",
        _PLAIN,
        rows=ROWS,
        lines=[2, 3],
        columns=["id", "x"],
        details={
            "name": "a.csv",
            "bytes": 15,
            "format": "csv",
            "encoding": "utf-8",
            "delimiter": ",",
            "compression": None,
        },
    ),
    _text("UTF-8 with a byte order mark", "\ufeff" + _PLAIN, rows=ROWS, lines=[2, 3], columns=["id", "x"]),
    _text("UTF-8 with letters of all kinds", _RUSSIAN, rows=_values(_RUSSIAN), details={"encoding": "utf-8"}),
    _text(
        "latin-1, declared",
        _ORLEAN.replace("’", "'").replace("– 5 €", "").encode("latin-1"),
        rows=_values(_ORLEAN.replace("’", "'").replace("– 5 €", "")),
        how={"encoding": "latin-1"},
    ),
    _text(
        "cp1252",
        _ORLEAN.encode("cp1252"),
        rows=_values(_ORLEAN),
        details={"encoding": "cp1252"},
        doubt="the encoding isn't declared and isn't UTF-8; taken for cp1252. Set source.encoding.",
    ),
    _text("cp1250", _POLISH.encode("cp1250"), rows=_values(_POLISH), doubt="taken for cp1250"),
    _text("cp1251", _RUSSIAN.encode("cp1251"), rows=_values(_RUSSIAN), doubt="taken for cp1251"),
    _text(
        "cp1252, far behind the first block",
        _PLAIN.encode() + b"c3,3\n" * 300_000 + "c4,Zoé\n".encode("cp1252"),
        rows=[*ROWS, *[("c3", "3")] * 300_000, ("c4", "Zoé")],
        doubt="isn't UTF-8",
    ),
    *(
        _text(
            f"{name}, {'with' if mark else 'without'} a byte order mark",
            (("\ufeff" if mark else "") + _ORLEAN).encode(name),
            rows=_values(_ORLEAN),
            details={"encoding": name},
            columns=["id", "Prénom"],
        )
        for name in ("utf-16-le", "utf-16-be")
        for mark in (True, False)
    ),
    _text("UTF-16, declared", _ORLEAN.encode("utf-16"), rows=_values(_ORLEAN), how={"encoding": "utf-16"}),
    _text("UTF-8 with one broken byte", b"id,x\nc1,\xc3\xa9t\xc3\xa9\nc2,\xe9\n", refused="as the rest of the file is"),
    _text("UTF-8, cut in a character", "id,x\nc1,é".encode()[:-1], refused="half a character at the end"),
    _text(
        "declared as UTF-8, and isn't",
        "id,x\nc1,é\n".encode("latin-1"),
        how={"encoding": "utf-8"},
        refused="byte 9: expected UTF-8, as it is declared",
    ),
    _text(
        "declared as ASCII-like cp1252, with a byte it doesn't have",
        b"id,x\nc1,\x81\n",
        how={"encoding": "cp1252"},
        refused="expected cp1252, found bytes that aren't",
    ),
    _text("NUL bytes", b"id,x\nc1,\0\n", refused="byte 9: expected text, found a NUL byte"),
]

DELIMITED = [
    _text(
        "a single row, too short",
        "id,x\nTotal\n",
        lines=[2],
        columns=["id", "x"],
        defects=[(2, "1 field where the header has 2", "Total")],
    ),
    _text(
        "a title with a delimiter of its own",
        "Report, January\nid;x\nc1;1\nc2;2\n",
        refused="If the header is line 2, set source.skip_rows to 1",
    ),
    _text("a line without an end", "x" * 300_000, refused="a field of more than 131072 characters"),
    *(
        _text(
            f"divided by {d!r}",
            f"id{d}x\nc1{d}1.5\nc2{d}2\n",
            rows=[("c1", "1.5"), ("c2", "2")],
            details={"delimiter": d},
        )
        for d in (",", ";", "\t", "|")
    ),
    _text("semicolons, and decimal commas", "id;x\nc1;1,5\nc2;2,5\n", rows=[("c1", "1,5"), ("c2", "2,5")]),
    _text("commas within quotes", 'id;x\n"a,b";"1,5"\n"c,d";2\n', rows=[("a,b", "1,5"), ("c,d", "2")]),
    _text("two delimiters that fit as well", "a,b;c,d\n1,2;3,4\n1,2;3,4\n", refused="Set source.delimiter.", how={}),
    _text(
        "a declared delimiter that other ones outdo",
        "a,b;c\n1,2;3\n",
        how={"delimiter": ";"},
        columns=["a,b", "c"],
        rows=[("1,2", "3")],
    ),
    _text("a single column", "id\nc1\nc2\n\n", rows=[("c1",), ("c2",)], lines=[2, 3]),
    _text(
        "a single column with an empty value", 'id\nc1\n\n""\nc2\n', rows=[("c1",), (None,), ("c2",)], lines=[2, 4, 5]
    ),
    _text(
        "a single column of sentences",
        "text\nGood\nGood, but late\nBad\n",
        rows=[("Good",), ("Good, but late",), ("Bad",)],
        columns=["text"],
    ),
    _text("names with blanks", "id , Call  Failure\nc1,1\n", columns=["id ", " Call  Failure"], rows=[("c1", "1")]),
    _text("a header alone", "id,x\n", columns=["id", "x"]),
    _text("a header alone, without a line end", "id,x", columns=["id", "x"]),
    _text(
        "quoted line ends",
        'id,x\nc1,"a\nb\r\nc"\nc2,2\n\nc3,"\n"\nc4,4\n',
        rows=[("c1", "a\nb\r\nc"), ("c2", "2"), ("c3", "\n"), ("c4", "4")],
        lines=[2, 5, 7, 9],
    ),
    _text(
        "a line end within the header",
        '"customer\nid",x\nc1,1\n',
        columns=["customer\nid", "x"],
        lines=[3],
        rows=[("c1", "1")],
    ),
    _text("doubled quotes", 'id,x\nc1,"say ""hi"""\nc2,""""\n', rows=[("c1", 'say "hi"'), ("c2", '"')]),
    _text("quotes within a field", 'id,x\nc1,5" pipe\nc2,a "b" c\n', rows=[("c1", '5" pipe'), ("c2", 'a "b" c')]),
    _text(
        "a quote that isn't closed",
        'id,x\nc1,1\nc2,"2\nc3,3\nc4,4\n',
        refused="line 3: expected a quote that is closed",
    ),
    _text(
        "a quote that the next row's closes",
        'id,n,x\nc1,"ann,x\nc2,"bob",y\nc3,"eve",z\n',
        refused="line 2: expected a quote that is closed",
    ),
    _text("a quote in the header that isn't closed", 'id,"x\nc1,1\n', refused="a quote that isn't closed"),
    _text(
        "rows too short and too long",
        "id,x,y\nc1,1,1\nc2,2\nc3,3,3,3\nc4,4,4\n",
        rows=[("c1", "1", "1"), ("c4", "4", "4")],
        lines=[2, 3, 4, 5],
        defects=[(3, "2 fields where the header has 3", "c2,2"), (4, "4 fields where the header has 3", "c3,3,3,3")],
    ),
    _text(
        "a row too short with line ends in quotes",
        'id,x,y\nc1,1,1\nc2,"a\nb"\nc3,3,3\n',
        rows=[("c1", "1", "1"), ("c3", "3", "3")],
        lines=[2, 3, 5],
        defects=[(3, "2 fields where the header has 3", 'c2,"a\nb"')],
    ),
    _text(
        "the header again",
        "id,x\nc1,1\nid,x\nc2,2\n",
        rows=ROWS,
        lines=[2, 3, 4],
        defects=[(3, "the header again", "id,x")],
    ),
    _text(
        "rows of nothing but delimiters",
        "id;x;y\nc1;1;1\n;;\n ; ;\n\n",
        lines=[2, 3, 4],
        rows=[("c1", "1", "1"), (None, None, None), (" ", " ", None)],
    ),
    _text("empty lines", "\n\nid,x\n\nc1,1\n   \n\nc2,2\n\n\n", rows=ROWS, lines=[5, 8]),
    _text(
        "a total below",
        "id,x,y\nc1,1,1\nc2,2,2\nTotal,,3\n",
        lines=[2, 3, 4],
        rows=[("c1", "1", "1"), ("c2", "2", "2"), ("Total", None, "3")],
    ),
    _text(
        "a ragged total below",
        "id,x,y\nc1,1,1\nTotal: 1\n",
        rows=[("c1", "1", "1")],
        lines=[2, 3],
        defects=[(3, "1 field where the header has 3", "Total: 1")],
    ),
    _text("line ends \\r", "id,x\rc1,1\rc2,2\r", rows=ROWS, lines=[2, 3]),
    _text("line ends of all kinds", "id,x\r\nc1,1\rc2,2\nc3,3\r\n", rows=[*ROWS, ("c3", "3")], lines=[2, 3, 4]),
    _text(
        "titles above",
        "Report of January\n\nid;x\nc1;1\nc2;2\n",
        refused="If the header is line 3, set source.skip_rows to 2",
    ),
    _text(
        "titles above, with a delimiter",
        "Report, January\nid,x,y\nc1,1,1\nc2,2,2\nc3,3,3\n",
        refused="If the header is line 2, set source.skip_rows to 1",
    ),
    _text(
        "titles that are skipped",
        'Report of "January\n\nid;x\nc1;1\nc2;2\n',
        how={"skip_rows": 2},
        rows=ROWS,
        lines=[4, 5],
    ),
    _text("everything skipped", "id,x\nc1,1\n", how={"skip_rows": 5}, refused="nothing from there on"),
    _text("a name twice", "id,x,x\nc1,1,2\n", refused="line 1: expected each column once, found twice: 'x'"),
    _text("a name twice, but for case", "id,x,X\nc1,1,2\n", refused="but for case or blanks: 'x' and 'X'"),
    _text("a name twice, but for blanks", 'id,"x", x\nc1,1,2\n', refused="but for case or blanks: 'x' and ' x'"),
    _text(
        "a delimiter at the end of each line",
        "id,x,\nc1,1,\nc2,2,\n",
        rows=ROWS,
        columns=["id", "x"],
        doubt="column 3 has no name and was left out",
    ),
    _text(
        "values without a name",
        ",id,x\n0,c1,1\n1,c2,2\n",
        refused="line 2: expected nothing in column 1, which has no name",
    ),
    _text("a header of delimiters", ";;\n1;2;3\n", refused="expected a header with names"),
    _text("a name of the platform's", "id,_line\nc1,1\n", refused="the name '_line'"),
    _text(
        "a merge conflict in the first line",
        "<<<<<<< HEAD\nid,x\nc1,1\n=======\nid,x\n>>>>>>> main\n",
        refused="line 1: expected a line of data, found '<<<<<<< HEAD' (a merge conflict)",
    ),
    _text(
        "a merge conflict in the middle",
        "id,x\nc1,1\n\n<<<<<<< HEAD\nc2,1\n=======\nc2,2\n>>>>>>> main\n",
        refused="line 4: expected a line of data, found '<<<<<<< HEAD' (a merge conflict)",
    ),
    _text("a merge conflict in a single column", "id\nc1\n=======\nc2\n", refused="line 3: expected a line of data"),
    *(
        _text(f"nothing: {content!r}", content, refused="found an empty file")
        for content in ("", "\n", " \n", "\ufeff", "\ufeff\n")
    ),
    _text("a pointer to Git LFS", _LFS, refused="Run git lfs pull."),
    _text("a log-in page", _LOGIN, refused="a web page (a log-in form?)"),
]

COMPRESSED = [
    *(
        _text(
            f"compressed: {name}",
            content,
            name=name,
            rows=ROWS,
            lines=[2, 3],
            details={"compression": kind, "delimiter": ","},
        )
        for name, content, kind in [
            ("a.csv.gz", gzip.compress(_PLAIN.encode()), "gz"),
            ("a.csv.bz2", bz2.compress(_PLAIN.encode()), "bz2"),
            ("a.csv.xz", lzma.compress(_PLAIN.encode()), "xz"),
            ("a.csv.zst", zstd(_PLAIN.encode()), "zst"),
            ("a.zip", zipped(a_csv=_PLAIN, MACOSX___a_csv="x", _DS_Store="x"), "zip"),
        ]
    ),
    _text("compressed Parquet", gzip.compress(_PARQUET), name="a.parquet.gz", rows=ROWS, lines=[1, 2]),
    _text(
        "gz, named csv",
        gzip.compress(_PLAIN.encode()),
        rows=ROWS,
        doubt="the name says .csv, the content is compressed with gz",
    ),
    _text("csv, named gz", _PLAIN, name="a.csv.gz", rows=ROWS, doubt="the name says .gz, the content isn't compressed"),
    _text(
        "truncated gz", gzip.compress(_PLAIN.encode() * 999)[:-20], name="a.csv.gz", refused="expected a whole gz file"
    ),
    _text(
        "truncated zst",
        zstd(b"".join(b"c%d,%d\n" % (i, i * i) for i in range(99999)))[:-5000],
        name="a.csv.zst",
        refused="expected a whole zst file",
    ),
    _text(
        "truncated bz2",
        bz2.compress(_PLAIN.encode() * 999)[:-20],
        name="a.csv.bz2",
        refused="expected a whole bz2 file",
    ),
    _text(
        "truncated xz", lzma.compress(_PLAIN.encode() * 999)[:-20], name="a.csv.xz", refused="expected a whole xz file"
    ),
    _text("truncated zip", zipped(a_csv=_PLAIN * 999)[:-30], name="a.zip", refused="expected a whole zip file"),
    _text("several files in a zip", zipped(a_csv=_PLAIN, b_csv=_PLAIN), name="a.zip", refused="found a.csv, b.csv"),
    _text("nothing in a zip", zipped(), name="a.zip", refused="expected one file in the zip file, found none"),
    _text("an encrypted zip", encrypted(), name="a.zip", refused="an encrypted one"),
]

BINARY = [
    _text("OpenDocument", opendocument(["id", "x"], ["c1", "1"], ["c2", "2"]), name="a.ods", rows=ROWS, lines=[2, 3]),
    _text(
        "Parquet", _PARQUET, name="a.parquet", rows=ROWS, lines=[1, 2], details={"format": "parquet", "encoding": None}
    ),
    _text("Parquet, named csv", _PARQUET, rows=ROWS, doubt="the name says .csv, the content is Parquet"),
    _text(
        "corrupt Parquet",
        _PARQUET[:40] + b"\xff" * 60 + _PARQUET[100:],
        name="a.parquet",
        refused="expected a whole Parquet file",
    ),
    _text("truncated Parquet", _PARQUET[:-10], name="a.parquet", refused="expected a whole Parquet file"),
    _text("no Parquet at all", b"\x00\x01\x02", name="a.parquet", refused="expected Parquet, as the name says"),
    _text(
        "Parquet with names that differ in case",
        parquet(pl.DataFrame({"x": [1], "X": [2]})),
        name="a.parquet",
        refused="but for case",
    ),
    _text(
        "Excel",
        _XLSX,
        name="a.xlsx",
        rows=ROWS,
        lines=[2, 3],
        columns=["id", "x"],
        details={"format": "excel", "sheet": "Data"},
    ),
    _text("Excel, named csv", _XLSX, rows=ROWS, doubt="the name says .csv, the content is Excel"),
    _text("truncated Excel", _XLSX[: len(_XLSX) // 2], name="a.xlsx", refused="Deliver it again."),
    _text("an empty file, named xlsx", b"", name="a.xlsx", refused="an empty file"),
    _text("a web page, named xls", _LOGIN, name="a.xls", refused="a web page"),
    _text("csv, named xls", _PLAIN, name="a.xls", rows=ROWS, doubt="the name says .xls, the content is delimited text"),
    _text(
        "declared as csv, and is Parquet",
        _PARQUET,
        how={"format": "csv"},
        refused="expected delimited text, as declared",
    ),
]

JSON = [
    _text(
        "a list of objects",
        '[{"id": "c1", "x": 1.50}, {"x": 2e3, "y": true, "id": "c2"}]',
        name="a.json",
        lines=[1, 2],
        columns=["id", "x", "y"],
        rows=[("c1", "1.50", None), ("c2", "2e3", "true")],
        details={"format": "json", "encoding": "utf-8"},
    ),
    _text(
        "nested objects and lists",
        '[{"a": {"b": 1, "c": [1, "é", null, 2.50]}}, {"a": null}, {"a": {}}]',
        name="a.json",
        columns=["a.b", "a.c"],
        rows=[("1", '[1, "é", null, 2.50]'), (None, None), (None, None)],
    ),
    _text(
        "records",
        '{"meta": {"n": 1}, "data": {"rows": [{"id": 1}]}, "other": [{"k": 1}]}',
        name="a.json",
        how={"records": "data.rows"},
        rows=[("1",)],
    ),
    _text(
        "wrong records", '{"data": [{"id": 1}]}', name="a.json", how={"records": "rows"}, refused="Lists are at: data"
    ),
    _text("half a character", '[{"x": "\\ud83d"}]', name="a.json", columns=["x"], rows=[("\\ud83d",)]),
    _text("an object with one list", '{"meta": {"n": 1}, "data": {"rows": [{"id": 1}]}}', name="a.json", rows=[("1",)]),
    _text(
        "an object with several lists",
        '{"a": [{"id": 1}], "b": {"c": [{"id": 1}]}}',
        name="a.json",
        refused="2, at a, b.c",
    ),
    _text("an object without a list", '{"id": 1}', name="a.json", refused="set source.format to ndjson"),
    _text(
        "records that are none",
        '[{"id": 1}, 7]',
        name="a.json",
        rows=[("1",)],
        lines=[1, 2],
        defects=[(2, "no JSON object: '7'", "7")],
    ),
    _text("a key twice in a document", '[{"id": 1, "id": 2}]', name="a.json", refused="the key 'id' twice"),
    _text("broken JSON", '[{"id": 1},\n {"id": ', name="a.json", refused="line 2: expected a whole JSON document"),
    _text("an empty list", "[]", name="a.json"),
    _text(
        "lines of JSON",
        '{"id": "c1"}\n\n{"id": "c2", "n": {"x": 1}}\n',
        name="a.ndjson",
        rows=[("c1", None), ("c2", "1")],
        lines=[1, 3],
        columns=["id", "n.x"],
        details={"format": "ndjson"},
    ),
    _text(
        "lines of JSON, named json",
        '{"id": "c1"}\n{"id": "c2"}\n',
        name="a.json",
        rows=[("c1",), ("c2",)],
        lines=[1, 2],
    ),
    _text(
        "lines of JSON with a broken last one",
        '{"id": "c1"}\n{"id": "c',
        name="a.jsonl",
        rows=[("c1",)],
        lines=[1, 2],
        defects=[(2, "no JSON object: Unterminated string starting at at character 8", '{"id": "c')],
    ),
    _text(
        "lines of JSON with a key twice",
        '{"id": "c1"}\n{"id": 1, "id": 2}\n',
        name="a.jsonl",
        rows=[("c1",)],
        lines=[1, 2],
        defects=[(2, "no JSON object: the key 'id' twice in one object", '{"id": 1, "id": 2}')],
    ),
    _text(
        "lines that are no JSON",
        "id,x\nc1,1\n",
        name="a.ndjson",
        refused="line 1: expected one JSON object in each line",
    ),
    _text(
        "a merge conflict in lines of JSON",
        '{"id": 1}\n<<<<<<< HEAD\n',
        name="a.jsonl",
        refused="line 2: expected a line of data",
    ),
    _text("a key of the platform's", '[{"_file": 1}]', name="a.json", refused="the name '_file'"),
    _text(
        "keys that differ in case",
        '{"x": 1}\n{"X": 1}\n',
        name="a.jsonl",
        refused="but for case or blanks: 'x' and 'X'",
    ),
]

ALL = [*ENCODINGS, *DELIMITED, *COMPRESSED, *BINARY, *JSON]
