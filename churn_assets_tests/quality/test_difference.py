from __future__ import annotations

import polars as pl

from churn_assets.quality.difference import difference

BEFORE = {"id": "String", "monthly_charge": "Float64", "plan": "String"}
ROWS = pl.DataFrame(
    {"id": [f"c{i}" for i in range(50)], "monthly_charge": [i / 4 for i in range(50)], "plan": ["a"] * 50}
)


def test_equal_columns_do_not_differ() -> None:
    found = difference(BEFORE, dict(reversed(BEFORE.items())), ROWS, ROWS)
    assert not found
    assert found.table().is_empty()
    assert found.sentence() == "Columns are those of the month before."


def test_what_is_new_gone_and_of_another_type_is_told() -> None:
    now = {"id": "Int64", "plan": "String", "zip": "String"}
    found = difference(BEFORE, now, None, None)
    assert (found.added, found.dropped, found.retyped, found.renamed) == (
        ("zip",), ("monthly_charge",), {"id": ("String", "Int64")}, (),
    )  # fmt: skip
    assert found
    assert found.sentence() == (
        "Columns differ from the month before: new: zip; gone: monthly_charge; of another type: id (String -> Int64)."
    )
    assert found.table().rows() == [
        ("zip", "new", None, "zip"), ("monthly_charge", "gone", "monthly_charge", None),
        ("id", "other type", "String", "Int64"),
    ]  # fmt: skip


def test_a_rename_is_told_by_like_names() -> None:
    found = difference(BEFORE, {"id": "String", "MonthlyCharges": "String", "plan": "String"}, None, None)
    assert [r[:2] for r in found.renamed] == [("monthly_charge", "MonthlyCharges")]
    assert found.retyped == {"MonthlyCharges": ("Float64", "String")}
    assert not found.added
    assert not found.dropped


def test_a_rename_is_told_by_like_values() -> None:
    now = {"kundennummer": "String", "monthly_charge": "Float64", "tarif": "String"}
    found = difference(BEFORE, now, ROWS, ROWS.rename({"id": "kundennummer", "plan": "tarif"}))
    assert [r[:2] for r in found.renamed] == [("id", "kundennummer")], "a value that all rows have tells little"
    assert found.added == ("tarif",)
    other = ROWS.rename({"id": "kundennummer"}).with_columns(kundennummer=pl.lit("x"))
    assert not difference(BEFORE, now, ROWS, other).renamed


def test_a_column_is_renamed_to_one_only() -> None:
    now = {"id": "String", "plan": "String", "monthly_charges": "Float64", "monthly_charge_eur": "Float64"}
    found = difference(BEFORE, now, None, None)
    assert [r[:2] for r in found.renamed] == [("monthly_charge", "monthly_charges")]
    assert found.added == ("monthly_charge_eur",)
