from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.file import File, deliver
from churn_assets.spec.source import FileFormat
from churn_assets_tests.sources.dirty import sheet, workbook

Write = Callable[[xlsxwriter.Workbook], object]


def delivered(folder: Path, *write: Write, **how: Any) -> Delivery:
    path = folder / "a.xlsx"
    path.write_bytes(workbook(lambda book: [one(book) for one in write]))
    return deliver([File.local(path)], FileFormat(**how), Month(2024, 1))


def read(folder: Path, *write: Write, **how: Any) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(delivered(folder, *write, **how).batches.read_all()))


def refused(folder: Path, *write: Write, **how: Any) -> str:
    with pytest.raises(SourceError) as error:
        delivered(folder, *write, **how)
    assert str(error.value).endswith("Nothing was ingested.")
    return str(error.value)


def kinds(book: xlsxwriter.Workbook) -> None:
    page = book.add_worksheet("Data")
    day, time = (book.add_format({"num_format": form}) for form in ("yyyy-mm-dd", "yyyy-mm-dd hh:mm"))
    page.write_row(0, 0, ["id", "whole", "number", "day", "time", "flag", "mixed", "flag or number", "none"])
    for i in (1, 2):
        page.write_row(i, 0, [f"00{i}", i, i + 0.5])
        page.write_datetime(i, 3, datetime(2024, 1, i), day)
        page.write_datetime(i, 4, datetime(2024, 1, i, 10, 30), time)
        page.write_row(i, 5, [i == 1, "A1" if i == 1 else 7, True if i == 1 else 3])


def test_cells_keep_their_kinds(tmp_path: Path) -> None:
    found = read(tmp_path, kinds)
    assert found.drop("_file", "_line").rows() == [
        ("001", 1, 1.5, date(2024, 1, 1), datetime(2024, 1, 1, 10, 30), True, "A1", "true", None),
        ("002", 2, 2.5, date(2024, 1, 2), datetime(2024, 1, 2, 10, 30), False, "7", "3", None),
    ]
    assert found["whole"].dtype == pl.Int64 and found["day"].dtype == pl.Date


def test_a_day_among_texts_and_a_number_among_days_are_texts(tmp_path: Path) -> None:
    def write(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet()
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        page.write_row(0, 0, ["a", "b"])
        page.write_datetime(1, 0, datetime(2024, 1, 1), day)
        page.write_datetime(1, 1, datetime(2024, 1, 1), day)
        page.write_row(2, 0, ["later", 5])

    assert read(tmp_path, write).select("a", "b").rows() == [
        ("2024-01-01 00:00:00", "2024-01-01 00:00:00"), ("later", "5"),
    ]  # fmt: skip


def test_a_formulas_error_is_seen_and_never_a_number(tmp_path: Path) -> None:
    def write(book: xlsxwriter.Workbook) -> None:
        page = book.add_worksheet("Data")
        page.write_row(0, 0, ["id", "x", "y"])
        for i, value in enumerate(["#N/A", "#REF!", "#DIV/0!"], 1):
            page.write_row(i, 0, [i, i])
            page.write_formula(i, 2, "=1/0", None, value)
        page.write_row(4, 0, [4, 4, 4])

    delivery = delivered(tmp_path, write)
    assert delivery.batches.read_all().select(["id", "x", "y"]).to_pylist() == [
        {"id": 1, "x": 1, "y": "#N/A"}, {"id": 2, "x": 2, "y": "#REF!"}, {"id": 3, "x": 3, "y": "#DIV/0!"},
        {"id": 4, "x": 4, "y": "4"},
    ]  # fmt: skip
    assert "'Data': 3 cells hold a formula's error, the first of them #N/A in row 2" in delivery.doubts[0]


def test_a_line_is_the_sheets_row(tmp_path: Path) -> None:
    found = read(tmp_path, sheet(["id", "x"], ["c1", 1], [], ["c2", 2], [None, ""], skip=3))
    assert found.select("id", "x", "_line").rows() == [("c1", 1, 5), ("c2", 2, 7)]
    titled = sheet(["Report"], [], ["id", "x"], ["c1", 1])
    assert "row 1: expected a header" in (told := refused(tmp_path, titled)) and "set source.skip_rows to 2" in told
    assert read(tmp_path, titled, skip_rows=2).select("id", "x", "_line").rows() == [("c1", 1, 4)]


def test_of_several_sheets_one_is_named_or_has_the_data(tmp_path: Path) -> None:
    one, two = sheet(["id"], [1], name="One"), sheet(["id"], [2], name="Two")
    assert "expected one sheet, found 'One', 'Two'" in refused(tmp_path, one, two)
    assert read(tmp_path, one, two, sheet="Two")["id"].to_list() == [2]
    assert "expected a sheet 'Three', found 'One', 'Two'" in refused(tmp_path, one, two, sheet="Three")
    assert read(tmp_path, sheet(name="Empty"), two)["id"].to_list() == [2]
    assert "nothing but empty sheets" in refused(tmp_path, sheet(name="Empty"))

    def hidden(book: xlsxwriter.Workbook) -> None:
        one(book)
        book.get_worksheet_by_name("One").hide()

    assert "found 'Two', 'One'" in refused(tmp_path, two, hidden)


def test_a_header_alone_is_an_empty_month(tmp_path: Path) -> None:
    found = read(tmp_path, sheet(["id", "x"]))
    assert found.columns == ["id", "x", "_file", "_line"] and found.is_empty()


def test_names_are_checked(tmp_path: Path) -> None:
    assert "found twice: 'x'" in refused(tmp_path, sheet(["x", "x"], [1, 2]))
    assert "row 1: expected a name for column 2, found none, though it has values such as '2'" in refused(
        tmp_path, sheet(["x", None, "y"], [1, 2, 3])
    )
    assert read(tmp_path, sheet(["x", None, "y"], [1, None, 3])).columns[:2] == ["x", "y"]


def test_kinds_are_told_from_all_rows(tmp_path: Path) -> None:
    rows = [[i] for i in range(1, 3000)]
    assert read(tmp_path, sheet(["x"], *rows, ["last"]))["x"].to_list()[-2:] == ["2999", "last"]
