from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from churn_assets.errors import QualityError
from churn_assets.quality import validate
from churn_assets.retention.treatment_log import TOLD, contaminated, counted, logged, outcomes, sheet_schema, template

LISTED = pl.DataFrame({
    "rank": [2, 1, 3], "id": ["b", "a", "c"], "action": ["contact", "contact", "hold out"],
    "reason_1": ["x", "y", "z"], "p_leave": [0.1, 0.2, 0.3],
})  # fmt: skip
SCORED = pl.Series(["a", "b", "c", "d"])


def told(**columns: list[object]) -> pl.DataFrame:
    given = {name: columns.get(name, [None] * len(columns["id"])) for name in ("id", *TOLD)}
    return pl.DataFrame(given, {"id": pl.String, **TOLD})


def test_the_sheet_has_the_list_and_columns_to_be_filled_in_and_is_read_as_it_is() -> None:
    sheet = template(LISTED, "id")
    assert sheet.columns == ["id", "rank", "action", "reason_1", "treated", "date", "cost", "outcome", "note"]
    assert sheet["id"].to_list() == ["a", "b", "c"]
    texts = sheet.with_columns(
        pl.Series("treated", ["Yes", "no", ""]), pl.Series("date", ["2025-07-03", "", ""]),
        pl.Series("cost", ["3.5", "", ""]),
    ).cast(pl.String)  # fmt: skip
    found = validate(texts, sheet_schema("id", "string"))
    assert found.quarantined.is_empty()
    assert found.undeclared == ("rank", "action", "reason_1")
    assert found.valid.select("id", "treated", "date", "cost").rows() == [
        ("a", True, date(2025, 7, 3), 3.5), ("b", False, None, None), ("c", None, None, None),
    ]  # fmt: skip


def test_a_log_has_every_customer_of_the_list_with_what_was_to_be_done() -> None:
    log = logged(told(id=["b", "c"], treated=[True, False], outcome=["accepted", None]), LISTED, SCORED, "id")
    assert log.columns == ["id", "action", *TOLD]
    assert log.select("id", "action", "treated", "outcome").rows() == [
        ("a", "contact", None, None), ("b", "contact", True, "accepted"), ("c", "hold out", False, None),
    ]  # fmt: skip
    assert outcomes(log).rows() == [("accepted", 1)]


def test_held_out_customers_who_were_contacted_are_kept_and_counted() -> None:
    log = logged(told(id=["a", "c"], treated=[True, True]), LISTED, SCORED, "id")
    assert contaminated(log) == 1
    known = log.with_columns(left=pl.Series([True, None, False]))
    assert counted(known).rows() == [("contact", 2, 1, 0, 1, 1, 1), ("hold out", 1, 1, 0, 0, 1, 0)]
    unknown = log.with_columns(left=pl.lit(None, pl.Boolean))
    assert counted(unknown)["left"].to_list() == [None, None]


def test_customers_who_are_not_on_the_list_are_refused_by_name() -> None:
    with pytest.raises(
        QualityError, match=r"found 2 others: 1 who aren't on it \(d\); 1 whom the month doesn't know \(e\)"
    ):
        logged(told(id=["a", "d", "e"], treated=[True, True, True]), LISTED, SCORED, "id")


def test_a_sheet_that_tells_nothing_is_refused() -> None:
    with pytest.raises(QualityError, match="treated: expected yes or no for at least one customer"):
        logged(told(id=["a"]), LISTED, SCORED, "id")


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        ({"id": ["a", "a"], "treated": ["yes", "no"]}, "id"),
        ({"id": ["a", "a"], "treated": ["yes", "yes"]}, "id"),
        ({"id": ["a"], "treated": ["maybe"]}, "treated"),
        ({"id": ["a"], "treated": ["yes"], "date": ["03/07/2025"]}, "date"),
        ({"id": ["a"], "treated": ["yes"], "cost": ["-1"]}, "cost"),
        ({"id": [""], "treated": ["yes"]}, "id"),
    ],
)
def test_what_can_not_be_meant_is_found(rows: dict[str, list[str]], column: str) -> None:
    found = validate(pl.DataFrame(rows), sheet_schema("id", "string"))
    assert not found.verdict.passed
    assert set(found.quarantined["column"]) == {column}


def test_a_sheet_without_treated_is_refused() -> None:
    with pytest.raises(QualityError, match="treated"):
        validate(pl.DataFrame({"id": ["a"]}), sheet_schema("id", "string"))
