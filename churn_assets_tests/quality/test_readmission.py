from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import QualityError
from churn_assets.quality.readmission import (
    COLUMNS,
    DISCARD,
    Amended,
    amended,
    amendments_of,
    counted_alike,
    for_mending,
    merged,
)

RAW = pl.DataFrame(
    {
        "_row": [1, 2, 3, 4],
        "id": ["a", "b", "b", None],
        "charge": ["1", "-2", "-2", None],
        "_file": ["m.csv"] * 4,
        "_line": [2, 3, 4, 5],
        "_defect": [None, None, None, "3 fields where the header has 2"],
        "_text": [None, None, None, "d,7,oops"],
    }
)
FAILURES = pl.DataFrame(
    {
        "_row": [2, 3, 4], "rule": ["min", "min", "structure"], "column": ["charge", "charge", None],
        "value": ["-2", "-2", "d,7,oops"], "expected": ["at least 0", "at least 0", "3 fields where the header has 2"],
    }
)  # fmt: skip


def sheet_of(raw: pl.DataFrame = RAW) -> pl.DataFrame:
    """The sheet as a person gets it back from a file: texts alone."""
    rows = raw.filter(pl.col("_row").is_in(FAILURES["_row"].implode()))
    return for_mending(rows, FAILURES).cast(pl.String)


def taken(sheet: pl.DataFrame, raw: pl.DataFrame = RAW) -> pl.DataFrame:
    rows = raw.filter(pl.col("_row").is_in(FAILURES["_row"].implode()))
    return amendments_of(sheet, rows, counted_alike(lambda: [raw], rows), "ann", "typo")


def applied(amendments: pl.DataFrame | None, raw: pl.DataFrame = RAW) -> tuple[pl.DataFrame, Amended]:
    found = amended(lambda: [raw.slice(at, 1) for at in range(len(raw))], amendments)
    return pl.concat(found.pieces()), found


def put(sheet: pl.DataFrame, row: int, **values: str | None) -> pl.DataFrame:
    hit = pl.col("churn_row") == str(row)
    return sheet.with_columns(pl.when(hit).then(pl.lit(v)).otherwise(pl.col(n)).alias(n) for n, v in values.items())


def test_a_sheet_has_each_row_as_received_with_its_problem() -> None:
    assert sheet_of().rows(named=True)[0] == {
        "churn_row": "2", "churn_file": "m.csv", "churn_line": "3", "churn_text": None,
        "churn_problem": "charge: expected at least 0, found '-2'", "churn_action": "", "id": "b", "charge": "-2",
    }  # fmt: skip
    assert sheet_of()["churn_text"].to_list() == [None, None, "d,7,oops"]


def test_what_was_not_touched_is_no_amendment() -> None:
    assert taken(sheet_of()).is_empty()
    assert taken(sheet_of().with_columns(pl.lit("").alias("_text"))).schema == pl.Schema(COLUMNS)


def test_a_mended_value_takes_the_place_of_the_received_one() -> None:
    rows, found = applied(taken(put(sheet_of(), 2, charge="2")))
    assert rows["charge"].to_list() == ["1", "2", "-2", None]
    assert rows.drop("charge").equals(RAW.drop("charge"))
    assert (found.mended, len(found.discarded), len(found.unmatched)) == (1, 0, 0)


def test_of_two_rows_received_alike_the_one_that_was_mended_changes() -> None:
    rows, _ = applied(taken(put(sheet_of(), 3, id="c", charge="3")))
    assert rows.select("id", "charge").rows() == [("a", "1"), ("b", "-2"), ("c", "3"), (None, None)]


def test_a_row_that_was_no_proper_one_becomes_one() -> None:
    rows, _ = applied(taken(put(sheet_of(), 4, id="d", charge="7")))
    assert rows.row(3, named=True) == {
        "_row": 4, "id": "d", "charge": "7", "_file": "m.csv", "_line": 5, "_defect": None, "_text": None,
    }  # fmt: skip


def test_a_discarded_row_is_told_apart() -> None:
    rows, found = applied(taken(put(sheet_of(), 4, churn_action=" Discard ")))
    assert rows["_row"].to_list() == [1, 2, 3]
    assert found.discarded.select("_row", "_text", "by", "note").rows() == [(4, "d,7,oops", "ann", "typo")]


def test_a_value_may_be_taken_away() -> None:
    rows, _ = applied(taken(put(sheet_of(), 2, charge="")))
    assert rows["charge"].to_list() == ["1", None, "-2", None]


def test_an_amendment_follows_its_row_into_another_order_and_falls_away_with_it() -> None:
    amendments = taken(put(sheet_of(), 2, charge="2"))
    turned = RAW.reverse().with_columns(_row=pl.Series([1, 2, 3, 4])).select(RAW.columns)
    rows, _ = applied(amendments, turned)
    assert rows["charge"].to_list() == [None, "2", "-2", "1"]
    corrected = RAW.with_columns(charge=pl.lit("5"))
    rows, found = applied(amendments, corrected)
    assert rows.equals(corrected)
    assert found.unmatched["_row"].to_list() == [2]


def test_a_typed_column_keeps_its_type() -> None:
    raw = RAW.with_columns(charge=pl.Series([1.5, -2.0, -2.0, None]), since=pl.lit(date(2024, 1, 2)))
    raw = raw.with_columns(at=pl.lit(datetime(2024, 1, 2, 3, 4, 5, 600)), paid=pl.lit(True))
    assert taken(sheet_of(raw), raw).is_empty()
    rows, _ = applied(taken(put(sheet_of(raw), 2, charge="2.25", since="2024-02-01", paid="FALSE"), raw), raw)
    assert rows.select("at", "paid").rows() == list(zip(raw["at"], [True, False, True, True], strict=True))
    assert rows.schema == raw.schema
    assert rows.row(1, named=True)["charge"] == 2.25
    assert rows.row(1, named=True)["since"] == date(2024, 2, 1)
    with pytest.raises(QualityError, match=r"churn_row 2: expected charge as Float64, .* found 'two'"):
        taken(put(sheet_of(raw), 2, charge="two"), raw)


def test_a_later_amendment_of_a_row_replaces_the_earlier_one() -> None:
    first, second = taken(put(sheet_of(), 2, charge="2")), taken(put(sheet_of(), 2, charge="3"))
    other = taken(put(sheet_of(), 3, charge="4"))
    both = merged(merged(first, other), second)
    rows, _ = applied(both)
    assert rows["charge"].to_list() == ["1", "3", "4", None]
    assert merged(None, first).equals(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.drop("charge"), "found none called 'charge'"),
        (lambda s: s.drop("churn_action"), "found none called 'churn_action'"),
        (lambda s: put(s, 2, churn_row="1"), "expected rows that are in quarantine, found churn_row 1"),
        (lambda s: put(s, 2, churn_row="two"), "found churn_row two"),
        (lambda s: pl.concat([s, s.head(1)]), "churn_row 2 twice"),
        (lambda s: put(s, 2, churn_action="delete"), "churn_action: expected nothing or discard, found 'delete'"),
    ],
)
def test_a_sheet_that_is_not_of_these_rows_is_refused(change: object, message: str) -> None:
    with pytest.raises(QualityError, match=message):
        taken(change(sheet_of()))  # type: ignore[operator]


cells = st.one_of(st.none(), st.text("ab\",;\n'\\ é{}", max_size=4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.data())
def test_exactly_what_was_mended_changes(values: list[tuple[str | None, str | None]], data: st.DataObject) -> None:
    raw = pl.DataFrame(values, {"id": pl.String, "x": pl.String}, orient="row").with_row_index("_row", offset=1)
    raw = raw.with_columns(
        pl.col("_row").cast(pl.Int64), _defect=pl.lit(None, pl.String), _text=pl.lit(None, pl.String)
    )
    failures = pl.DataFrame({"_row": raw["_row"], "column": "x", "value": raw["x"], "expected": "else"})
    sheet = for_mending(raw, failures).cast(pl.String)
    new = [data.draw(cells) for _ in values]
    gone = [data.draw(st.booleans()) for _ in values]
    mended = sheet.with_columns(
        x=pl.Series(new, dtype=pl.String), churn_action=pl.Series([DISCARD if g else "" for g in gone])
    )
    changes = amendments_of(mended, raw, counted_alike(lambda: [raw], raw), "ann", "")
    rows, found = applied(changes, raw)
    expected = [(v or None, n) for v, n, g in zip([r[0] for r in values], new, gone, strict=True) if not g]
    assert [(a or None, b or None) for a, b in rows.select("id", "x").rows()] == [(a, b or None) for a, b in expected]
    assert len(rows) + len(found.discarded) == len(raw)
    assert found.unmatched.is_empty()
