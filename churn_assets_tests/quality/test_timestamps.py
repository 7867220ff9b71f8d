from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import QualityError
from churn_assets.quality import validate
from churn_assets_tests.quality.tables import answered, judged, raw, read, schema

MORNING = datetime(2024, 1, 31, 8, 5)
TIME = {"type": "timestamp"}

FORMS: list[tuple[str, datetime | None]] = [
    ("2024-01-31 08:05:00", MORNING),
    ("2024-01-31T08:05:00", MORNING),
    (" 2024-01-31 08:05 ", MORNING),
    ("2024-1-31 8:05", MORNING),
    ("2024/01/31 08:05:00", MORNING),
    ("2024-01-31 08:05:00.000", MORNING),
    ("2024-01-31 08:05:00,25", MORNING + timedelta(milliseconds=250)),
    ("2024-01-31T08:05:00.123456789", MORNING + timedelta(microseconds=123456)),
    ("2024-01-31, 8:05 AM", MORNING),
    ("2024-01-31 8:05 pm", datetime(2024, 1, 31, 20, 5)),
    ("2024-01-31 12:05 AM", datetime(2024, 1, 31, 0, 5)),
    ("2024-01-31 12:05 PM", datetime(2024, 1, 31, 12, 5)),
    ("31/01/2024 08:05", MORNING),
    ("31.01.2024 08:05:00", MORNING),
    ("1/31/2024 8:05", MORNING),
    ("20240131T080500", MORNING),
    ("202401310805", MORNING),
    ("2024-01-31", datetime(2024, 1, 31)),
    ("31/01/2024", datetime(2024, 1, 31)),
    ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59)),
    ("2024-01-31 24:00:00", None),
    ("2024-01-31 08:60", None),
    ("2024-01-31 08:05:60", None),
    ("2024-01-31 8:05:60", None),
    ("2024-01-31 13:05 PM", None),
    ("2024-01-31 0:05 AM", None),
    ("2023-02-29 08:05:00", None),
    ("24-01-31 08:05:00", None),
    ("08:05:00", None),
    ("45322.337", None),
    ("1706688300", None),
    ("soon", None),
]


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_a_time_is_read_in_the_forms_that_mean_one_thing(text: str, expected: datetime | None) -> None:
    assert judged(TIME, [text]) == (([expected], []) if expected else ([], [(1, "type")]))


@pytest.mark.parametrize("text", ["2024-01-31T08:05:00Z", "2024-01-31 08:05:00 UTC", "2024-01-31T08:05:00+00:00"])
def test_a_time_in_utc_stays_in_utc_and_says_so(text: str) -> None:
    found = read(TIME, [text])
    assert found.valid["x"].to_list() == [MORNING]
    assert found.conventions == {"x": "in UTC, as written by 1 value"}


QUESTIONS: list[tuple[list[str], str]] = [
    (["03/04/2024 08:05"], "may be day/month or month/day. Set format: '%d/%m/%Y'"),
    (["31/01/2024 08:05", "01/31/2024 08:05"], "has the day first"),
    (["2024-01-31T08:05:00+02:00"], "has an offset, and may be meant in local time or in UTC. Set format:"),
    (["2024-01-31T08:05:00Z", "2024-01-31 08:05:00"], "is in UTC, '2024-01-31 08:05:00' (row 2) has no zone. Set"),
    (["2024-01-31 08:05", "2024-01-31T08:05Z"], "'2024-01-31 08:05' (row 1) has no zone. Set format:"),
]


@pytest.mark.parametrize(("texts", "told"), QUESTIONS)
def test_what_has_two_readings_is_asked_for(texts: list[str], told: str) -> None:
    with pytest.raises(QualityError) as error:
        read(TIME, texts)
    assert str(error.value).startswith("column x: ")
    assert told in str(error.value)


def test_a_proven_order_holds_for_the_whole_column() -> None:
    found = read(TIME, ["03/04/2024 08:05", "31/01/2024 23:59:59"])
    assert found.valid["x"].to_list() == [datetime(2024, 4, 3, 8, 5), datetime(2024, 1, 31, 23, 59, 59)]
    assert found.conventions == {"x": "%d/%m/%Y, proven by 1 value"}


FORMATS: list[tuple[str, str, datetime | None]] = [
    ("%m/%d/%Y %H:%M", "3/4/2024 08:05", datetime(2024, 3, 4, 8, 5)),
    ("%m/%d/%Y %H:%M", "2024-01-31 08:05", MORNING),
    ("%m/%d/%Y %H:%M", "31/01/2024 08:05", None),
    ("%d/%m/%Y", "03/04/2024", datetime(2024, 4, 3)),
    ("%d/%m/%Y", "03/04/2024 08:05", None),
    ("%Y-%m-%dT%H:%M:%S%z", "2024-01-31T10:05:00+02:00", MORNING),
    ("%Y-%m-%dT%H:%M:%S%z", "2024-01-31T02:05:00-0600", MORNING),
    ("%Y-%m-%dT%H:%M:%S%#z", "2024-01-31T08:05:00Z", MORNING),
    ("%Y-%m-%d %H:%M:%S", "2024-01-31 08:05:00Z", None),
    ("%s", "1706688300", MORNING),
]


@pytest.mark.parametrize(("form", "text", "expected"), FORMATS)
def test_a_declared_format_decides(form: str, text: str, expected: datetime | None) -> None:
    assert judged({**TIME, "format": form}, [text]) == (([expected], []) if expected else ([], [(1, "type")]))


@pytest.mark.parametrize("form", ["%d/%m/%Y %I:%M", "%d/%m/%Y %H:%Q"])
def test_a_format_in_which_no_time_can_be_read_is_refused(form: str) -> None:
    with pytest.raises(QualityError, match="column x: expected a format such as '%d/%m/%Y %H:%M', found"):
        read({**TIME, "format": form}, ["31/01/2024 08:05"])


def test_seconds_since_1970_need_to_be_declared_and_may_be_numbers() -> None:
    assert judged({**TIME, "format": "%s"}, [1706688300]) == ([MORNING], [])
    assert judged(TIME, [20240131080500]) == ([MORNING], [])


BERLIN = ZoneInfo("Europe/Berlin")
TYPED: list[tuple[pl.Series, datetime | None]] = [
    (pl.Series([MORNING]), MORNING),
    (pl.Series([MORNING]).dt.cast_time_unit("ns"), MORNING),
    (pl.Series([MORNING]).dt.cast_time_unit("ms"), MORNING),
    (pl.Series([MORNING.replace(tzinfo=UTC)]), MORNING),
    (pl.Series([datetime(2024, 1, 31, 9, 5, tzinfo=BERLIN)]), MORNING),
    (pl.Series([date(2024, 1, 31)]), datetime(2024, 1, 31)),
    (pl.Series([1.5]), None),
    (pl.Series([True]), None),
]


@pytest.mark.parametrize(("values", "expected"), TYPED)
def test_a_time_that_is_no_text_keeps_its_moment(values: pl.Series, expected: datetime | None) -> None:
    found = validate(pl.DataFrame({"id": ["a"], "x": values}), schema({"name": "x", **TIME}, max_error_rate=1))
    assert found.valid["x"].to_list() == ([expected] if expected else [])
    assert found.valid.schema["x"] == pl.Datetime("us")


@settings(max_examples=150, deadline=None)
@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), st.sampled_from([" ", "T"]), st.booleans())
def test_any_time_that_python_writes_is_read_back(time: datetime, separator: str, in_utc: bool) -> None:
    text = (time.replace(tzinfo=UTC) if in_utc else time).isoformat(separator)
    assert judged(TIME, [text]) == ([time], [])


@given(st.text(alphabet="0123456789-/.:, TZ+AMPampmUTC", max_size=26))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_time_or_set_aside_or_asked_about(text: str) -> None:
    def answer(column: dict[str, Any]) -> Any:
        found = answered(raw([text]), schema({"name": "x", "nullable": True, **column}, max_error_rate=1))
        if isinstance(found, str):
            assert "Set format" in found
            return None
        return found.valid["x"].to_list()

    if found := answer(TIME):
        day = answer({"type": "date"})
        assert found[0] is None or 1000 <= found[0].year <= 9999
        assert not day or day[0] == (found[0] and found[0].date())
