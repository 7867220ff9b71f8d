"""What differs between two versions, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.learning.versions import differences
from churn_assets.months import Month
from churn_assets.store.datasets import Manifest, TableMonth
from churn_assets.store.lake import Commit, Lake


def kept(lake: Lake, month: str, charges: list[float]) -> TableMonth:
    """A month of features."""
    frame = pl.DataFrame({"customer_id": [f"c{i}" for i in range(len(charges))], "charge": charges})
    record = lake.write("features", Month.parse(month), frame, Commit(repr(charges)))
    return TableMonth("features", month, record.content, record.version, record.rows, "code", "s")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


@pytest.fixture
def first(lake: Lake) -> Manifest:
    january = kept(lake, "2024-01", [float(i) for i in range(100)])
    parts = {"event_month": "2024-01", "part": "fit", "rows": 100, "positives": 4, "unknown": 0}
    return Manifest(
        id="aaaa", pipeline="churn", month="2024-02", kind="out_of_time", reason="", split={"fit": ("2024-01",)},
        parts=(parts,), content="c", features={"charge": "number"}, reads={}, inputs=(january,), spec="s",
        specification={
            "schema": {"key": "customer_id"}, "gates": {"floor": 0.6},
            "candidates": [{"name": "baseline", "params": {"C": 1.0}}, {"name": "old"}],
        },
        code="code", libraries={"polars": "2.0.0"},
    )  # fmt: skip


def told(lake: Lake, first: Manifest, **changes: Any) -> dict[str, list[str]]:
    """What is said of a version that has ``changes``, without the subjects of which nothing is."""
    return {k: v for k, v in differences(lake, first, replace(first, id="bbbb", **changes)).items() if v}


def test_nothing_is_said_of_one_and_the_same_version(lake: Lake, first: Manifest) -> None:
    assert not any(differences(lake, first, first).values())


def test_rows_churners_and_months_are_counted(lake: Lake, first: Manifest) -> None:
    more = {"event_month": "2024-02", "part": "validate", "rows": 50, "positives": 5, "unknown": 1}
    found = told(lake, first, parts=(*first.parts, more), split={"fit": ("2024-01",), "validate": ("2024-02",)})
    assert found["rows"] == [
        "150 labelled rows instead of 100 (+50).",
        "6.00% of them left instead of 4.00%.",
        "validate: 50 rows, 5 of them left; it was 0 and 0.",
    ]
    assert found["months"] == ["2024-02: validate instead of not looked at."]


def test_columns_that_came_went_or_changed_their_type_are_named(lake: Lake, first: Manifest) -> None:
    before = replace(first, features={"charge": "number", "calls": "integer", "plan": "category"})
    found = told(lake, before, features={"charge": "number", "calls": "number", "tenure": "integer"})
    assert found["columns"] == [
        "calls: number instead of integer.", "tenure was added: integer.", "plan was removed; it was category.",
    ]  # fmt: skip


def test_a_feature_that_moved_is_named_with_its_index(lake: Lake, first: Manifest) -> None:
    moved = kept(lake, "2024-01", [float(i) * 3 + 50 for i in range(100)])
    found = told(lake, first, inputs=(moved,))
    (sentence,) = found["distribution"]
    assert sentence.startswith("Distributed otherwise, by population stability index: charge (")
    assert "a lot" in sentence
    (upstream,) = found["upstream"]
    assert upstream.startswith("features 2024-01 has other rows (100 rows, content ")


def test_a_feature_that_stayed_is_told_so(lake: Lake, first: Manifest) -> None:
    hardly = kept(lake, "2024-01", [float(i) + 0.1 for i in range(100)])
    (sentence,) = told(lake, first, inputs=(hardly,))["distribution"]
    assert sentence.startswith("No feature is distributed otherwise; the largest population stability index is 0.0")


def test_rows_that_are_gone_are_told_and_the_rest_is_compared(lake: Lake, first: Manifest) -> None:
    gone = replace(first.inputs[0], content="gone")
    found = told(lake, first, inputs=(gone,), libraries={"polars": "2.1.0"})
    assert found["distribution"] == [
        "Not compared. features 2024-01: expected its rows as they were then, found that version is gone."
    ]
    assert found["libraries"] == ["polars: 2.1.0 instead of 2.0.0."]


def test_keys_of_the_specification_are_named_by_their_place(lake: Lake, first: Manifest) -> None:
    changed = {
        **first.specification, "gates": {"floor": 0.7},
        "candidates": [{"name": "baseline", "params": {"C": 0.5}}, {"name": "forest", "kind": "random_forest"}],
    }  # fmt: skip
    found = told(lake, first, specification=changed, spec="t")
    assert found["specification"] == [
        "gates.floor: 0.7 instead of 0.6.",
        "candidates.baseline.params.C: 0.5 instead of 1.0.",
        "candidates.forest.kind was added: random_forest.",
        "candidates.old was removed; it was {}.",
    ]


def test_other_code_is_told_apart_from_another_specification(lake: Lake, first: Manifest) -> None:
    made = (replace(first.inputs[0], code="other"),)
    assert told(lake, first, inputs=made)["code"] == ["features was made by other code."]
    (sentence,) = told(lake, first, code="other", spec="t")["code"]
    assert sentence.endswith("other code or another part of the specification that it depends on.")


def test_deliveries_that_came_anew_and_months_that_are_read_now_are_named(lake: Lake, first: Manifest) -> None:
    old, new = (TableMonth("raw_data", "2024-01", content, 1, 10) for content in ("old", "new"))
    before = replace(first, inputs=(*first.inputs, old))
    found = told(lake, before, inputs=(*first.inputs, new, TableMonth("raw_data", "2024-02", "x", 2, 10)))
    assert found["upstream"] == [
        "raw_data 2024-01 was entered or delivered anew (10 rows, content old -> new).",
        "raw_data of 2024-02 is read now.",
    ]
