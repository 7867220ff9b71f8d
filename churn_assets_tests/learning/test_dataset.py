from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import MissingMonth
from churn_assets.learning.dataset import Dataset
from churn_assets.months import Month, month_range
from churn_assets.spec import PipelineSpec
from churn_assets.store.lake import Commit, Lake
from churn_assets_tests.declared import declared

START = Month(2024, 1)
CUSTOMERS = [f"c{i:02d}" for i in range(40)]
FEATURES = [{"kind": "columns", "columns": ["calls", "charge"]}]


def left(customer: str, month: Month) -> bool:
    return (int(customer[1:]) + month.number) % 4 == 0


def features(month: Month, calls: int = 0) -> pl.DataFrame:
    numbers = [int(c[1:]) * month.number + calls for c in CUSTOMERS]
    return pl.DataFrame({"customer_id": CUSTOMERS, "calls": numbers, "charge": [0.5] * 40, "months_observed": [1] * 40})


def validated(month: Month) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": CUSTOMERS, "left": [left(c, month) for c in CUSTOMERS]})


def write(lake: Lake, table: str, month: Month, rows: pl.DataFrame | None) -> None:
    lake.write(table, month, rows, Commit("f"), reason="none" if rows is None else "")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six months of the same customers, a quarter of whom are flagged as having left in each."""
    made = Lake(tmp_path)
    for month in month_range(START, START + 5):
        write(made, "features", month, features(month))
        write(made, "validated_data", month, validated(month))
        write(made, "quarantined_data", month, None)
    return made


def pipeline(**changes: Any) -> PipelineSpec:
    return declared(**{"features": FEATURES, **changes})


def dataset(lake: Lake, month: Month = START + 5, **changes: Any) -> Dataset:
    return Dataset(lake, pipeline(**changes), month)


def test_each_row_has_its_features_and_the_label_of_the_month_after(lake: Lake) -> None:
    rows = dataset(lake).rows()
    assert rows.columns == ["event_month", "customer_id", "calls", "charge", "label", "part"]
    assert rows.equals(rows.sort("event_month", "customer_id"))
    assert len(rows) == 5 * 40
    for row in rows.iter_rows(named=True):
        month = Month.of(row["event_month"])
        assert row["calls"] == int(row["customer_id"][1:]) * month.number
        assert row["label"] == left(row["customer_id"], month + 1)


def test_months_stand_in_their_parts(lake: Lake) -> None:
    parts = dataset(lake).rows().group_by("part").agg(pl.col("event_month").unique().sort())
    found = {part: [Month.of(day) for day in days] for part, days in parts.iter_rows()}
    assert found == {
        "fit": [Month(2024, 1), Month(2024, 2), Month(2024, 3)], "calibrate": [Month(2024, 4)],
        "validate": [Month(2024, 5)],
    }  # fmt: skip


def test_the_version_counts_what_the_rows_hold(lake: Lake) -> None:
    made = dataset(lake)
    version, rows = made.version(), made.rows()
    assert (version.rows, version.positives) == (len(rows), rows["label"].sum())
    assert version.split == "out_of_time"
    assert version.parts.select("event_month", "part", "rows", "positives", "unknown").rows() == [
        ("2024-01", "fit", 40, 10, 0), ("2024-02", "fit", 40, 10, 0), ("2024-03", "fit", 40, 10, 0),
        ("2024-04", "calibrate", 40, 10, 0), ("2024-05", "validate", 40, 10, 0),
    ]  # fmt: skip
    assert version.reason == "Out of time: 2024-05 judges what 2024-01 to 2024-04 taught."


def test_equal_content_gives_the_equal_version(lake: Lake) -> None:
    first = dataset(lake).version()
    for month in month_range(START, START + 5):
        write(lake, "features", month, features(month, calls=1))
        write(lake, "features", month, features(month))
    assert dataset(lake).version().id == first.id
    assert dataset(lake).version().parts.equals(first.parts)


@pytest.mark.parametrize("month", month_range(START, START + 4))
def test_a_changed_feature_makes_another_version(lake: Lake, month: Month) -> None:
    first = dataset(lake).version().id
    write(lake, "features", month, features(month, calls=1))
    assert dataset(lake).version().id != first


@pytest.mark.parametrize("month", month_range(START + 1, START + 5))
@pytest.mark.parametrize("table", ["validated_data", "quarantined_data"])
def test_a_changed_label_makes_another_version(lake: Lake, month: Month, table: str) -> None:
    first = dataset(lake).version().id
    changed = validated(month).with_columns(left=~pl.col("left"))
    write(lake, table, month, changed if table == "validated_data" else pl.DataFrame({"customer": ["c01"]}))
    assert dataset(lake).version().id != first


def test_what_lies_outside_the_windows_changes_nothing(lake: Lake) -> None:
    made = dataset(lake, START + 4)
    first, rows = made.version(), made.rows()
    for table in ("features", "validated_data"):
        write(lake, table, START + 5, pl.DataFrame({"poison": [1]}))
    write(lake, "features", START + 4, features(START, calls=99))
    write(lake, "validated_data", START, validated(START + 1))
    assert dataset(lake, START + 4).version().id == first.id
    assert dataset(lake, START + 4).rows().equals(rows)


@pytest.mark.parametrize(
    "changes",
    [{"training": {"months": 3}}, {"training": {"months": 6, "seed": 1}}, {"label": {"kind": "absence"}},
     {"features": [*FEATURES, {"kind": "bucket", "column": "calls", "edges": [1]}]}],
)  # fmt: skip
def test_another_recipe_makes_another_version(lake: Lake, changes: dict[str, Any]) -> None:
    assert dataset(lake, **changes).version().id != dataset(lake).version().id


def test_rows_of_unknown_label_are_counted_and_left_out(lake: Lake) -> None:
    write(lake, "validated_data", START + 5, validated(START + 5).head(30))
    made = dataset(lake)
    assert made.version().parts.filter(part="validate").select("rows", "unknown").row(0) == (30, 10)
    assert made.rows().filter(part="validate")["customer_id"].to_list() == CUSTOMERS[:30]
    assert made.rows()["label"].null_count() == 0


def test_a_label_month_that_was_delivered_empty_leaves_all_its_labels_unknown(lake: Lake) -> None:
    write(lake, "validated_data", START + 5, None)
    made = dataset(lake)
    assert made.version().parts.filter(part="validate").select("rows", "positives", "unknown").row(0) == (0, 0, 40)
    assert made.rows().filter(part="validate").is_empty()


def test_a_snapshot_that_was_delivered_empty_gives_no_rows(lake: Lake) -> None:
    write(lake, "features", START + 2, None)
    made = dataset(lake)
    assert "2024-03" not in made.version().parts["event_month"]
    assert len(made.rows()) == 4 * 40


def test_in_absence_quarantined_customers_are_unknown(lake: Lake) -> None:
    write(lake, "validated_data", START + 5, validated(START + 5).head(30))
    write(lake, "quarantined_data", START + 5, pl.DataFrame({"customer": CUSTOMERS[30:33], "rule": ["r"] * 3}))
    rows = dataset(lake, label={"kind": "absence"}).rows().filter(part="validate")
    assert dict(rows.select("customer_id", "label").iter_rows()) == {
        c: c > "c32" for c in CUSTOMERS if not "c30" <= c <= "c32"
    }


@pytest.mark.parametrize("table", ["features", "validated_data", "quarantined_data"])
def test_a_missing_month_fails_closed(lake: Lake, table: str) -> None:
    (lake.root / "_records" / table / "2024-04.json").unlink()
    with pytest.raises(MissingMonth, match=f"versioned_dataset 2024-06 needs {table} 2024-04"):
        dataset(lake).version()


def test_a_holdout_divides_customers_and_never_shares_one(lake: Lake) -> None:
    made = dataset(lake, START + 1, training={"holdout_share": 0.25})
    rows, version = made.rows(), made.version()
    assert set(rows["event_month"]) == {START.first_day}
    fit, kept = (set(rows.filter(part=p)["customer_id"]) for p in ("fit", "validate"))
    assert not fit & kept
    assert len(fit | kept) == 40
    assert len(kept) == 10
    assert rows.filter(part="validate")["label"].sum() in (2, 3)
    assert version.split == "holdout"
    assert version.reason.startswith("Holdout: 25% of the customers of 2024-01")
    assert version.parts.select("part", "rows").rows() == [("fit", len(fit)), ("validate", len(kept))]


def test_a_declared_holdout_judges_the_newest_mature_month(lake: Lake) -> None:
    rows = dataset(lake, training={"split": "holdout"}).rows()
    assert set(rows["event_month"]) == {(START + 4).first_day}
    assert set(rows["part"]) == {"fit", "validate"}


def test_without_a_mature_label_there_is_a_version_without_rows(lake: Lake) -> None:
    version = dataset(lake, START).version()
    assert (version.split, version.rows, len(version.parts)) == ("none", 0, 0)
    assert version.reason == "Not enough history: needs 1 more month(s) until the first label is mature."
    assert dataset(lake, START).rows().is_empty()


def test_a_label_in_its_own_row_needs_no_later_month(lake: Lake) -> None:
    rows = dataset(lake, START, label={"kind": "same_row"}).rows()
    assert dict(rows.select("customer_id", "label").iter_rows()) == {c: left(c, START) for c in CUSTOMERS}


EVENTS: dict[str, Any] = {
    "active_months": 1, "activity": {"returned": False}, "measures": [{"name": "calls", "kind": "count"}],
}  # fmt: skip


def of_events(month: Month = START + 5, **changes: Any) -> PipelineSpec:
    """A pipeline of events with numbered customers, who leave by two months without activity."""
    columns = [
        {"name": "customer_id", "type": "integer"}, {"name": "at", "type": "timestamp", "role": "time"},
        {"name": "returned", "type": "boolean"},
    ]  # fmt: skip
    given = {
        "schema": {"key": "customer_id", "columns": columns}, "events": EVENTS,
        "label": {"kind": "inactivity", "horizon": 2}, "features": [{"kind": "columns", "columns": ["calls"]}],
        "value": {"monthly_value": 1},
    }  # fmt: skip
    return declared(**given | changes)


def logged(month: Month) -> pl.DataFrame:
    """Customer n has an active event in every n-th month, and returns something in all of them."""
    active = [n for n in range(1, 5) if month.number % n == 0]
    lines = [(n, False) for n in active] + [(n, True) for n in range(1, 5)]
    return pl.DataFrame(lines, {"customer_id": pl.Int64, "returned": pl.Boolean}, orient="row")


@pytest.fixture
def events(tmp_path: Path) -> Lake:
    """Six months of events of four customers, all of whom have features in every month."""
    made = Lake(tmp_path)
    for month in month_range(START, START + 5):
        write(made, "features", month, pl.DataFrame({"customer_id": [1, 2, 3, 4], "calls": [month.number] * 4}))
        write(made, "validated_data", month, logged(month))
        write(made, "quarantined_data", month, None)
    return made


def labels(lake: Lake, month: Month = START + 5, **changes: Any) -> dict[tuple[int, int], bool]:
    """The label by month and customer."""
    rows = Dataset(lake, of_events(**changes), month).rows()
    return {(r["event_month"].month, r["customer_id"]): r["label"] for r in rows.iter_rows(named=True)}


def test_by_inactivity_a_customer_has_left_who_is_silent_in_all_months_of_the_horizon(events: Lake) -> None:
    found = labels(events)
    assert found == {(j, n): all((j + i) % n for i in (1, 2)) for j in (1, 2, 4) for n in range(1, 5)}
    assert True in found.values() and False in found.values()


def test_an_immature_label_is_unknown_and_never_negative(events: Lake) -> None:
    assert {month for month, _ in labels(events)} == {1, 2, 4}, "3 lies in the purge gap, 5 and 6 are immature"
    assert labels(events, START + 1) == {}
    assert {month for month, _ in labels(events, START + 2)} == {1}
    write(events, "validated_data", START + 5, None)
    found = labels(events)
    assert {key for key in found if key[0] == 4} == {(4, 1)}, "of the others May alone says nothing"
    assert found[4, 1] is False


def test_a_customer_in_quarantine_is_unknown_unless_another_month_shows_activity(events: Lake) -> None:
    write(events, "quarantined_data", START + 4, pl.DataFrame({"customer": ["3", "4", None], "rule": ["r"] * 3}))
    found = labels(events)
    assert (4, 4) not in found
    assert found[4, 3] is False, "active in June"
    assert found[4, 1] is False


def test_what_counts_as_activity_is_part_of_the_version(events: Lake) -> None:
    first = Dataset(events, of_events(), START + 5).version()
    every = Dataset(events, of_events(events={**EVENTS, "activity": {}}), START + 5).version()
    assert first.positives and not every.positives
    assert first.id != every.id
    alike = Dataset(events, of_events(events={**EVENTS, "activity": {"returned": [False]}}), START + 5).version()
    assert alike.parts.equals(first.parts)
    assert alike.id != first.id, "said otherwise, it is another recipe"


def test_a_snapshot_without_rows_leaves_the_numbers_of_customers_as_they_are(events: Lake) -> None:
    write(events, "features", START + 1, None)
    assert Dataset(events, of_events(), START + 5).rows().schema["customer_id"] == pl.Int64
    assert Dataset(events, of_events(), START).rows().schema["customer_id"] == pl.Int64
