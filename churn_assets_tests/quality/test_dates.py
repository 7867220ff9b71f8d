from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import QualityError
from churn_assets.quality import validate
from churn_assets_tests.quality.tables import answered, judged, raw, read, schema

DATE = {"type": "date"}
DAY = date(2024, 1, 5)

READ: list[tuple[dict[str, Any], list[Any], list[date]]] = [
    (DATE, ["2024-01-05", "2024/01/05", "2024-1-5", "20240105", " 2024-01-05 "], [DAY] * 5),
    (DATE, ["2024-01-05 00:00:00", "2024-01-05T00:00:00.000Z", "2024-01-05T00:00", "2024-01-05T00:00:00+00:00"],
     [DAY] * 4),
    (DATE, [20240105], [DAY]),
    (DATE, [datetime(2024, 1, 5), None][:1], [DAY]),
    (DATE, [datetime(2024, 1, 5, tzinfo=UTC)], [DAY]),
    (DATE, ["05/01/2024", "25/12/2023"], [DAY, date(2023, 12, 25)]),
    (DATE, ["1/5/2024", "12/25/2023 00:00"], [DAY, date(2023, 12, 25)]),
    (DATE, ["1/5/2024 12:00:00 AM", "12/25/2023 12:00:00 AM"], [DAY, date(2023, 12, 25)]),
    (DATE, ["05.01.2024", "31.12.2023", "2024-01-05"], [DAY, date(2023, 12, 31), DAY]),
    (DATE, ["05/05/2024"], [date(2024, 5, 5)]),
    (DATE | {"format": "%d/%m/%Y"}, ["05/01/2024", "2024-01-05"], [DAY, DAY]),
    (DATE | {"format": "%d/%m/%y"}, ["05/01/24"], [DAY]),
    (DATE | {"format": "%d %b %Y"}, ["05 Jan 2024"], [DAY]),
    (DATE | {"format": "%Y-%m-%d %H:%M:%S"}, ["2024-01-05 13:22:11"], [DAY]),
    (DATE | {"format": "%Y-%m-%d %H:%M:%S"}, [datetime(2024, 1, 5, 13)], [DAY]),
]  # fmt: skip


@pytest.mark.parametrize(("column", "received", "values"), READ)
def test_dates_are_read_as_written(column: dict[str, Any], received: list[Any], values: list[date]) -> None:
    found = read(column, received)
    assert found.quarantined.is_empty(), found.quarantined
    assert found.valid["x"].to_list() == values


UNREAD: list[tuple[dict[str, Any], list[Any], str]] = [
    (DATE, ["2023-02-29", "31/02/2024", "13/13/2024", "5/3/24", "x", "2024-01", "99999999", "05/01-2024"],
     "a date such as"),
    (DATE, ["45321", "45321.0"], "spreadsheet's day number"),
    (DATE, ["2024-01-05 07:30", "2024-01-05T07:30:00Z"], "without a time of day"),
    (DATE, [datetime(2024, 1, 5, 7)], "without a time of day"),
    (DATE, [45321, -5], ""),
    (DATE, [1.5, True][:1], ""),
    (DATE | {"format": "%d/%m/%Y"}, ["12/25/2024", "05/01/24", "05.01.2024"], "%d/%m/%Y"),
    (DATE | {"format": "%Y-%d-%m"}, ["2024-01-25"], "%Y-%d-%m"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "received", "told"), UNREAD)
def test_what_is_no_date_is_quarantined_with_a_hint(column: dict[str, Any], received: list[Any], told: str) -> None:
    found = read(column, received)
    assert found.valid.is_empty(), found.valid
    assert found.quarantined["rule"].to_list() == ["type"] * len(received)
    assert all(told in text for text in found.quarantined["expected"])


ASKED: list[tuple[list[str], list[str]]] = [
    (["05/05/2024", "03/04/2024", "04/03/2024"],
     ["column x: 2 dates such as '03/04/2024' (a.csv, line 3) may be day/month or month/day",
      "Set format: '%d/%m/%Y' or '%m/%d/%Y'"]),
    (["25/12/2024", "12/25/2024"],
     ["'25/12/2024' (a.csv, line 2) has the day first, '12/25/2024' (a.csv, line 3) the other", "Set format:"]),
    (["12/25/2024", "03.04.2024"], ["1 date such as '03.04.2024'", "'%d.%m.%Y' or '%m.%d.%Y'"]),
]  # fmt: skip


@pytest.mark.parametrize(("received", "told"), ASKED)
def test_an_unproven_order_is_asked_for(received: list[str], told: list[str]) -> None:
    rows = len(received)
    frame = pl.DataFrame({
        "id": [f"c{i}" for i in range(rows)], "x": received, "_file": ["a.csv"] * rows, "_line": range(2, rows + 2),
    })  # fmt: skip
    with pytest.raises(QualityError) as error:
        validate(frame, schema({"name": "x", **DATE}))
    assert all(t in str(error.value) for t in told), str(error.value)


def test_what_is_no_date_proves_nothing() -> None:
    with pytest.raises(QualityError, match="Set format"):
        read(DATE, ["31/02/2024", "03/04/2024"])
    assert judged(DATE | {"format": "%m/%d/%Y"}, ["31/02/2024", "03/04/2024"]) == ([date(2024, 3, 4)], [(1, "type")])


def test_the_proven_format_is_told() -> None:
    found = read(DATE, ["05/01/2024", "25/12/2023", "26/12/2023 00:00:00"])
    assert found.conventions == {"x": "%d/%m/%Y, proven by 2 values"}
    assert found.repairs == {"x": {"midnight dropped": 1}}
    assert read(DATE | {"format": "%d/%m/%Y"}, ["05/01/2024"]).conventions == {"x": "%d/%m/%Y, declared"}


@pytest.mark.parametrize("format", ["%d/%m/%Y %Q", "%Y%m%d%%%Ez"])
def test_a_format_that_is_none_is_told(format: str) -> None:
    with pytest.raises(QualityError, match="expected a format such as"):
        read(DATE | {"format": format}, ["05/01/2024"])


FORMATS = ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m-%d-%Y", "%Y-%m-%d 00:00:00"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dates(date(1900, 1, 1), date(2100, 1, 1)), min_size=1, max_size=8),
    st.sampled_from(FORMATS),
    st.booleans(),
)
def test_a_date_in_any_format_is_read_back_or_asked_for(days: list[date], format: str, declared: bool) -> None:
    column = DATE | ({"format": format.removesuffix(" 00:00:00")} if declared and ":" not in format else {})
    found = answered(raw([d.strftime(format) for d in days]), schema({"name": "x", **column}))
    if isinstance(found, str):
        assert "Set format" in found and not declared
        return
    assert found.valid["x"].to_list() == days
