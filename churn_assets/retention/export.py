"""A list as a file: CSV and Excel for people, Parquet for other systems; equal rows give equal bytes.

A text that a spreadsheet would run as a formula is never one here: Excel's cells are marked as texts, and CSV, which
knows no marks, gets an apostrophe before it (``plain`` takes it off). Parquet has every text as it is.
"""

from __future__ import annotations

from datetime import date, datetime
from io import BytesIO

import polars as pl
import polars.selectors as cs

_RISKY = r"^'*[=+\-@\t\r]"
_GUARDED = r"^'+[=+\-@\t\r]"
_NUMBER = r"^[+-]?[0-9][0-9 ]*([.,][0-9]+)?$"
_TITLES = {"p_leave": "P(leave)"}
_WIDTHS = {"rank": 50, "decile": 60, "action": 80, "p_leave": 75, "monthly_value": 105, "expected_value": 110,
           "risk": 80, "segment": 220, "reason_1": 330, "reason_2": 330, "reason_3": 330, "note": 260}  # fmt: skip


def to_csv(rows: pl.DataFrame) -> bytes:
    """``rows`` as CSV in UTF-8."""
    return rows.with_columns(_guarded(name) for name in _texts(rows)).write_csv().encode()


def plain(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that were read from a file of ``to_csv``, without the apostrophes that guard their texts."""
    return rows.with_columns(
        pl.when(pl.col(name).str.contains(_GUARDED)).then(pl.col(name).str.slice(1)).otherwise(pl.col(name)).alias(name)
        for name in _texts(rows)
    )


def to_parquet(rows: pl.DataFrame) -> bytes:
    """``rows`` as a Parquet file."""
    file = BytesIO()
    rows.write_parquet(file)
    return file.getvalue()


def to_excel(rows: pl.DataFrame, sheet: str, currency: str, created: date) -> bytes:
    """``rows`` as a workbook of one sheet, its header frozen, its columns wide enough to be read.

    Args:
        rows: probabilities in ``p_leave``, money in columns that end with ``_value`` or are called ``cost``.
        sheet: the sheet's name.
        currency: stands behind amounts of money.
        created: the day that the workbook says it is from; the same day gives the same bytes.
    """
    from xlsxwriter import Workbook

    file = BytesIO()
    # xlsxwriter would otherwise make formulas and links of texts that look like them.
    with Workbook(file, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as workbook:
        workbook.set_properties({"title": sheet, "created": datetime(created.year, created.month, created.day)})
        money = f'#,##0.00 "{currency.replace(chr(34), "")}"'
        rows.rename({name: title for name, title in _TITLES.items() if name in rows.columns}).write_excel(
            workbook,
            worksheet=sheet,
            column_formats={
                _TITLES.get(name, name): _format(name, money) for name in rows.select(cs.numeric()).columns
            },
            column_widths={_TITLES.get(name, name): _WIDTHS.get(name, 110) for name in rows.columns},
            freeze_panes=(1, 0),
            autofilter=True,
        )
    return file.getvalue()


def _format(name: str, money: str) -> str:
    if name == "p_leave":
        return "0.0%"
    return money if name.endswith("_value") or name == "cost" else "0"


def _texts(rows: pl.DataFrame) -> list[str]:
    return rows.select(cs.string() | cs.categorical() | cs.enum()).columns


def _guarded(name: str) -> pl.Expr:
    """A text with an apostrophe before it, if a spreadsheet would run it; a bare number, such as +4930, is none."""
    text = pl.col(name).cast(pl.String)
    risky = text.str.contains(_RISKY) & ~text.str.contains(_NUMBER)
    return pl.when(risky).then(pl.lit("'") + text).otherwise(text).alias(name)
