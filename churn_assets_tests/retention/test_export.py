from __future__ import annotations

from datetime import date
from io import BytesIO
from zipfile import ZipFile

import polars as pl
import pytest

from churn_assets.retention.export import plain, to_csv, to_excel, to_parquet

ROWS = pl.DataFrame({
    "rank": [1, 2], "id": ["=HYPERLINK(\"http://x\")", "C2"], "action": ["contact", "hold out"], "p_leave": [0.25, 0.5],
    "expected_value": [1234.5, 2.0], "reason_1": ["@SUM(A1)", None],
})  # fmt: skip


def csv(texts: list[str | None]) -> list[str | None]:
    return pl.read_csv(BytesIO(to_csv(pl.DataFrame({"id": texts}))), infer_schema=False)["id"].to_list()


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=", "-", "+49 30x", "'=1"]
)
def test_no_text_of_a_csv_file_runs_as_a_formula_and_every_one_comes_back(text: str) -> None:
    written = csv([text, "C1"])
    assert written == [f"'{text}", "C1"]
    assert plain(pl.DataFrame({"id": written}))["id"].to_list() == [text, "C1"]


@pytest.mark.parametrize("text", ["+4930123456", "-17", "+49 30 1234", "-1.5", "a=b", "'quoted", "7590-VHVEG", ""])
def test_texts_that_do_no_harm_stay_as_they_are(text: str) -> None:
    assert to_csv(pl.DataFrame({"id": [text]})) == pl.DataFrame({"id": [text]}).write_csv().encode()
    assert plain(pl.DataFrame({"id": [text]}))["id"].to_list() == [text]


def parts(workbook: bytes) -> tuple[str, str]:
    """The sheet and the styles of a workbook, as they stand in it."""
    with ZipFile(BytesIO(workbook)) as file:
        return file.read("xl/worksheets/sheet1.xml").decode(), file.read("xl/styles.xml").decode()


def test_a_workbook_has_texts_and_no_formulas_and_its_header_stays_in_sight() -> None:
    workbook = to_excel(ROWS, "list 2025-06", "EUR", date(2025, 6, 1))
    read = pl.read_excel(BytesIO(workbook), sheet_name="list 2025-06", engine="calamine")
    assert read.columns == ["rank", "id", "action", "P(leave)", "expected_value", "reason_1"]
    assert read.rows() == ROWS.rows()
    sheet, styles = parts(workbook)
    assert "<f>" not in sheet
    assert "<hyperlink" not in sheet
    assert 'state="frozen"' in sheet
    assert sheet.count("<col ") >= 3
    assert 'formatCode="0.0%"' in styles
    assert 'formatCode="#,##0.00 &quot;EUR&quot;"' in styles


def test_equal_rows_of_a_month_give_equal_bytes() -> None:
    day = date(2025, 6, 1)
    assert to_excel(ROWS, "list", "EUR", day) == to_excel(ROWS.clone(), "list", "EUR", day)
    assert to_excel(ROWS, "list", "EUR", day) != to_excel(ROWS, "list", "EUR", date(2025, 7, 1))
    assert to_parquet(ROWS) == to_parquet(ROWS.clone())
    assert pl.read_parquet(BytesIO(to_parquet(ROWS))).equals(ROWS)


def test_a_list_without_customers_has_its_header() -> None:
    none = ROWS.clear()
    assert to_csv(none).decode().strip() == ",".join(ROWS.columns)
    read = pl.read_excel(BytesIO(to_excel(none, "list", "EUR", date(2025, 6, 1))), raise_if_empty=False)
    assert (len(read), read.columns[:3]) == (0, ["rank", "id", "action"])
    assert pl.read_parquet(BytesIO(to_parquet(none))).is_empty()


def test_a_currency_with_a_quotation_mark_breaks_no_format() -> None:
    assert 'formatCode="#,##0.00 &quot;US&quot;"' in parts(to_excel(ROWS, "list", 'U"S', date(2025, 6, 1)))[1]
