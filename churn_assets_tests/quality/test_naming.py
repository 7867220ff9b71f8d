from __future__ import annotations

import pytest

from churn_assets.errors import QualityError
from churn_assets.quality.naming import match_columns, missing_columns
from churn_assets_tests.quality.tables import schema

CALLS = {"name": "call_failure", "type": "integer"}


@pytest.mark.parametrize(
    "received",
    ["call_failure", "Call  Failure", "CALL-FAILURE", "\ufeffcall failure", "Call\u00a0Failure", "callFailure"],
)
def test_a_column_is_found_by_its_letters_and_digits(received: str) -> None:
    found = match_columns(["id", received, "_row", "_line", "else"], schema(CALLS))
    assert found.received == {"id": "id", "call_failure": received}
    assert found.renamed == ({} if received == "call_failure" else {received: "call_failure"})
    assert found.undeclared == ("else",)


def test_the_exact_name_goes_before_the_sources_and_that_before_a_like_one() -> None:
    column = {**CALLS, "source": "cf"}
    assert match_columns(["id", "cf", "call_failure"], schema(column)).received["call_failure"] == "call_failure"
    assert match_columns(["id", "cf", "Call Failure"], schema(column)).received["call_failure"] == "cf"
    assert match_columns(["id", "C-F"], schema(column)).received["call_failure"] == "C-F"
    assert match_columns(["id", "Call Failure", "call_failure"], schema(CALLS)).undeclared == ("Call Failure",)


def test_the_key_is_found_like_any_column() -> None:
    assert match_columns(["ID", "call_failure"], schema(CALLS)).renamed == {"ID": "id"}


def test_two_likely_columns_are_named() -> None:
    with pytest.raises(QualityError, match=r"column 'call_failure': .* found 'Call Failure' and 'CALL-FAILURE'"):
        match_columns(["id", "Call Failure", "CALL-FAILURE"], schema(CALLS))
    with pytest.raises(QualityError, match=r"column 'Call Failure': .* may be 'call_failure' or 'callfailure'"):
        match_columns(["id", "Call Failure"], schema(CALLS, {**CALLS, "name": "callfailure"}))


def test_missing_columns_are_those_that_must_be_there() -> None:
    columns = (CALLS, {"name": "a", "type": "date", "optional": True}, {"name": "b", "type": "date", "role": "ignored"})
    assert missing_columns(["x"], schema(*columns)) == ["id", "call_failure"]
    assert missing_columns(["x"], schema(*columns, key_from="row")) == ["call_failure"]
    assert missing_columns(["ID", "Call Failure", "CALL FAILURE"], schema(*columns)) == []
    with pytest.raises(QualityError, match="expected the columns 'id', 'call_failure'"):
        match_columns(["_row", "x"], schema(*columns))


def test_names_without_letters_and_digits_are_like_no_other() -> None:
    assert match_columns(["id", "%%"], schema({"name": "#", "type": "date", "optional": True})).received == {"id": "id"}
    assert missing_columns(["id", "%%"], schema({"name": "#", "type": "date"})) == ["#"]
