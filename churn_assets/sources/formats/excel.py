"""Sheets of Excel and OpenDocument files as rows, with dates as dates and texts as texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from churn_assets.sources.formats import Table, check_names, excerpt, refusal
from churn_assets.spec.source import FileFormat

if TYPE_CHECKING:
    from fastexcel import ExcelReader

BATCH_ROWS = 1 << 16

_ERRORS = {
    "Div0": "#DIV/0!", "NA": "#N/A", "Name": "#NAME?", "Null": "#NULL!", "Num": "#NUM!", "Ref": "#REF!",
    "Value": "#VALUE!", "GettingData": "#GETTING_DATA",
}  # fmt: skip
_ERROR = re.compile(r"Error\((\w+)\)")
_WHOLE = 2.0**53


def read_excel(path: Path, place: str, given: FileFormat) -> Table:
    """The rows of the one sheet with data, or of the declared one; ``_line`` is their row in the sheet.

    A column of whole numbers is of integers, one of days is of dates, and one with several kinds of values, or with
    errors of formulas, is of texts.

    Raises:
        SourceError: the file is damaged or encrypted, has several sheets, or no usable header.
    """
    import fastexcel

    try:
        book = fastexcel.read_excel(str(path))
        name, grid, errors = _sheet(book, place, given)
        at = _header_row(grid, place, name, given.skip_rows)
        header = [column[at].as_py() or "" for column in grid.columns]
        named = _named(header, grid, at, f"{place}, sheet {name!r}, row {at + 1}")
        if grid.num_rows == at + 1:
            typed = grid.slice(at + 1)
        else:
            typed, _ = _load(book, name, skip_rows=at + 1, schema_sample_rows=None)
    except fastexcel.FastExcelError as error:
        raise refusal(
            place, "a whole Excel file without a password", f"a damaged, truncated or encrypted one ({_first(error)})",
            "Deliver it again.",
        ) from error  # fmt: skip
    texts = _with_errors(grid, errors).slice(at + 1)
    broken = {column for row, column in errors if row > at}
    values = [texts.column(i) if i in broken else _value(typed.column(i), texts.column(i)) for i in named]
    doubts = []
    if broken:
        first = min((row, column) for row, column in errors if row > at)
        doubts.append(
            f"{place}, sheet {name!r}: {len([r for r, _ in errors if r > at])} cells hold a formula's error, the first "
            f"of them {errors[first]} in row {first[0] + 1}; their columns are read as text."
        )
    lines = pa.array(np.arange(at + 2, at + 2 + texts.num_rows, dtype=np.int64))
    table = pa.record_batch([*values, lines], names=[*named.values(), "_line"])
    # Cells that were once formatted make rows of a sheet that nobody wrote.
    if values and table.num_rows:
        there = np.zeros(table.num_rows, dtype=bool)
        for column in values:
            there |= column.is_valid().to_numpy(zero_copy_only=False)
        table = table.filter(pa.array(there))
    columns = pa.schema([table.schema.field(i) for i in range(len(values))])
    batches = (table.slice(i, BATCH_ROWS) for i in range(0, table.num_rows, BATCH_ROWS))
    return Table(columns, batches, {"sheet": name}, doubts)


def _sheet(book: ExcelReader, place: str, given: FileFormat) -> tuple[str, pa.RecordBatch, dict[tuple[int, int], str]]:
    """The name, the cells as texts, and the errors among them by row and column."""
    names = book.sheet_names
    if given.sheet is not None:
        if given.sheet not in names:
            raise refusal(place, f"a sheet {given.sheet!r}", ", ".join(map(repr, names)), "Mend source.sheet.")
        return given.sheet, *_load(book, given.sheet, dtypes="string", skip_rows=0)
    loaded = {name: _load(book, name, dtypes="string", skip_rows=0) for name in names}
    filled = [name for name, (grid, _) in loaded.items() if grid.num_rows]
    if len(filled) > 1:
        raise refusal(
            place,
            "one sheet",
            ", ".join(map(repr, filled)),
            "Name the one with the data in source.sheet, or `churn new` with --sheet.",
        )
    if not filled:
        raise refusal(
            place, "a sheet with a header", "nothing but empty sheets",
            "Deliver at least the header (an empty month is a file with just that).",
        )  # fmt: skip
    return filled[0], *loaded[filled[0]]


def _load(book: ExcelReader, name: str, **how: Any) -> tuple[pa.RecordBatch, dict[tuple[int, int], str]]:
    from logging import ERROR, getLogger

    # Its warnings of columns without any value would stand in the log of every month.
    getLogger("fastexcel").setLevel(ERROR)
    batch, errors = book.load_sheet(name, header_row=None, **how).to_arrow_with_errors()
    cells = {}
    for error in errors.errors if errors else ():
        code = _ERROR.search(error.detail)
        cells[error.position] = _ERRORS.get(code[1], f"#{code[1].upper()}!") if code else "#ERROR!"
    return batch, cells


def _header_row(grid: pa.RecordBatch, place: str, name: str, skip_rows: int) -> int:
    for at in range(skip_rows, grid.num_rows):
        if any(column[at].is_valid for column in grid.columns):
            break
    else:
        raise refusal(
            f"{place}, sheet {name!r}", f"a header from row {skip_rows + 1} on", "nothing", "Mend source.skip_rows."
        )
    # A title above the header has one cell where the rows have many.
    width = sum(column[at].is_valid for column in grid.columns)
    below = [sum(c[i].is_valid for c in grid.columns) for i in range(at + 1, min(at + 11, grid.num_rows))]
    if width == 1 and (wide := next((i for i, n in enumerate(below) if n > 1), None)) is not None:
        title = next(column[at].as_py() for column in grid.columns if column[at].is_valid)
        raise refusal(
            f"{place}, sheet {name!r}, row {at + 1}", "a header, with as many names as the rows have cells",
            excerpt(title), f"If the header is row {at + wide + 2}, set source.skip_rows to {at + wide + 1}.",
        )  # fmt: skip
    return at


def _named(header: list[str], grid: pa.RecordBatch, at: int, where: str) -> dict[int, str]:
    """The columns to deliver, by number; one without a name must be empty, as formatted cells are."""
    check_names(where, header)
    below = grid.slice(at + 1)
    for i, name in enumerate(header):
        if not name.strip() and below.column(i).null_count < below.num_rows:
            value = below.column(i).drop_null()[0].as_py()
            raise refusal(
                where, f"a name for column {i + 1}", f"none, though it has values such as {excerpt(value)}",
                "Name the column, or empty it.",
            )  # fmt: skip
    return {i: name for i, name in enumerate(header) if name.strip()}


def _with_errors(grid: pa.RecordBatch, errors: dict[tuple[int, int], str]) -> pa.RecordBatch:
    columns = list(grid.columns)
    for i in {column for _, column in errors}:
        values = columns[i].to_pylist()
        for (row, column), code in errors.items():
            if column == i:
                values[row] = code
        columns[i] = pa.array(values, pa.string())
    return pa.record_batch(columns, names=grid.schema.names)


def _value(typed: pa.Array, text: pa.Array) -> pa.Array:
    """A column's values in the one type that all of them have."""
    if text.null_count == len(text):
        return pa.nulls(len(text), pa.string())
    # What is true beside 1 would be read as a number, and isn't one.
    logical = pc.is_in(text, value_set=pa.array(["true", "false"])).true_count
    if typed.null_count != text.null_count or (logical and not pa.types.is_boolean(typed.type)):
        return text
    if pa.types.is_floating(typed.type):
        whole = pc.and_(pc.equal(pc.trunc(typed), typed), pc.less(pc.abs(typed), _WHOLE))
        return typed.cast(pa.int64()) if pc.all(whole).as_py() else typed
    if pa.types.is_timestamp(typed.type):
        days = typed.cast(pa.date32(), safe=False)
        return days if pc.all(pc.equal(days.cast(typed.type), typed)).as_py() else typed
    return typed


def _first(error: Exception) -> str:
    return str(error).splitlines()[0]
