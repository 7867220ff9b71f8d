from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from churn_assets.retention.listing import by_decile, figures, retention_list, segments
from churn_assets.retention.uplift import Lot
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value="charge", contact_cost=5, incentive=1, budget=600, holdout_share=0.2)


def scored(n: int = 1000) -> pl.DataFrame:
    at = pl.int_range(n, eager=True)
    return pl.DataFrame({
        "id": [f"c{i}" for i in range(n)], "p_leave": (at + 1) / n, "monthly_value": pl.repeat(50.0, n, eager=True),
        "decile": (10 - at * 10 // n).cast(pl.Int8),
    })  # fmt: skip


def listed(value: ValueSpec = VALUE, save_rate: float = 0.15, month: str = "2025-06") -> pl.DataFrame:
    return retention_list(scored(), "id", value, save_rate, Lot("churn", month, value.holdout_share))


def changed(**values: Any) -> ValueSpec:
    return VALUE.model_copy(update=values)


def test_the_budget_pays_the_contacts_and_the_held_out_cost_nothing() -> None:
    found = listed()
    assert found["action"].value_counts().sort("action").rows() == [("contact", 100), ("hold out", len(found) - 100)]
    drawn = Lot("churn", "2025-06", 0.2).held_out(found["id"])
    assert found.filter(drawn)["action"].unique().to_list() == ["hold out"]
    assert found["rank"].to_list() == list(range(1, len(found) + 1))
    assert found["id"].to_list() == [f"c{999 - i}" for i in range(len(found))]
    told = figures(found, VALUE)
    contacts = found.filter(action="contact")
    assert told == {
        "contacts": 100, "held_out": len(found) - 100, "cost": 600,
        "expected_value": pytest.approx(contacts["expected_value"].sum()),
    }  # fmt: skip


def test_a_share_of_none_holds_nobody_out() -> None:
    assert figures(listed(changed(holdout_share=0.0)), VALUE)["held_out"] == 0
    assert len(listed(changed(holdout_share=0.0))) == 100


def test_nobody_is_listed_if_contacts_keep_nobody_or_the_budget_pays_for_none() -> None:
    assert listed(save_rate=0.0).is_empty()
    assert listed(changed(budget=5.99)).is_empty()
    assert figures(listed(save_rate=0.0), VALUE) == {"contacts": 0, "held_out": 0, "cost": 0, "expected_value": 0}


def test_the_list_by_tenths_adds_up_to_the_list() -> None:
    found = listed()
    told = by_decile(found)
    assert told["decile"].to_list() == sorted(found["decile"].unique())
    assert told["contacts"].sum() == 100
    assert told["held_out"].sum() == len(found) - 100
    assert told["expected_value"].sum() == pytest.approx(figures(found, VALUE)["expected_value"])


def test_a_segment_is_told_by_all_its_values() -> None:
    customers = pl.DataFrame({"contract": ["one-year", None], "age": [30.0, 40.1234]})
    assert segments(customers, ["contract", "age"]).to_list() == [
        "contract: one-year, age: 30.0", "contract: missing, age: 40.12",
    ]  # fmt: skip
