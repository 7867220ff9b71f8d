from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.retention import score, summary
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value="charge", margin=0.5, lifetime_months=10, save_rate=0.2, contact_cost=5, budget=10)


def scored(people: list[tuple[str, float, float | None]], value: ValueSpec = VALUE) -> pl.DataFrame:
    customers = pl.DataFrame(
        {"id": [p[0] for p in people], "charge": [p[2] for p in people]}, schema={"id": pl.String, "charge": pl.Float64}
    )
    return score(customers, pl.Series([p[1] for p in people], dtype=pl.Float64), "id", value)


def test_the_value_of_a_contact_is_what_it_keeps_less_what_it_costs() -> None:
    found = scored([("a", 0.5, 40.0)])
    assert found.columns == ["id", "p_leave", "risk", "monthly_value", "expected_value", "rank", "on_list"]
    # 0.5 x 0.2 x 40 x 0.5 x 10 - 5
    assert found["expected_value"].item() == pytest.approx(15)
    assert found.row(0) == ("a", 0.5, "very high", 40.0, found["expected_value"].item(), 1, True)


def test_customers_are_ranked_by_value_and_equal_ones_by_key() -> None:
    found = scored([("b", 0.5, 10.0), ("c", 0.1, 100.0), ("a", 0.5, 10.0), ("d", 0.9, 1.0)])
    assert found["id"].to_list() == ["c", "a", "b", "d"]
    assert found["rank"].to_list() == [1, 2, 3, 4]


def test_the_list_ends_with_the_budget() -> None:
    found = scored([(f"c{i}", 0.5, 50.0 + i) for i in range(5)])
    assert found.filter("on_list")["id"].to_list() == ["c4", "c3"]
    assert summary(found)["on_list"] == 2


def test_a_contact_that_is_worth_nothing_is_not_made() -> None:
    found = scored([("a", 0.5, 10.0), ("b", 0.5, 10.001), ("c", 0.0, 1000.0), ("d", 0.9, None)])
    assert found.filter("on_list")["id"].to_list() == ["b"]
    assert found.filter(id="d")["expected_value"].item() == -5


@pytest.mark.parametrize(
    ("budget", "cost", "contacts"), [(1.0, 0.1, 10), (0.99, 0.1, 9), (0, 5, 0), (0, 0, 20), (5, 5, 1)]
)
def test_a_budget_pays_for_as_many_contacts_as_it_is_a_multiple_of_their_cost(
    budget: float, cost: float, contacts: int
) -> None:
    value = VALUE.model_copy(update={"budget": budget, "contact_cost": cost})
    assert scored([(f"c{i}", 0.9, 100.0) for i in range(20)], value)["on_list"].sum() == contacts


@pytest.mark.parametrize(
    ("p", "band"),
    [
        (0, "very low"),
        (0.0199, "very low"),
        (0.02, "low"),
        (0.05, "medium"),
        (0.1, "high"),
        (0.2, "very high"),
        (1, "very high"),
    ],
)
def test_bands_are_closed_below(p: float, band: str) -> None:
    assert scored([("a", p, 1.0)])["risk"].item() == band


def test_one_amount_may_stand_for_all() -> None:
    value = VALUE.model_copy(update={"monthly_value": 40})
    assert scored([("a", 0.5, None)], value)["expected_value"].to_list() == pytest.approx([15])


def test_nobody_is_scored_in_an_empty_month() -> None:
    assert scored([]).is_empty()
    assert summary(scored([])) == {"customers": 0, "mean_p_leave": 0, "on_list": 0, "expected_value_of_list": 0}


def test_the_list_in_four_figures() -> None:
    found = summary(scored([("a", 0.5, 40.0), ("b", 0.1, 1.0)]))
    assert found == {
        "customers": 2, "mean_p_leave": pytest.approx(0.3), "on_list": 1, "expected_value_of_list": pytest.approx(15),
    }  # fmt: skip


people = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=4), st.floats(0, 1), st.none() | st.floats(0, 200)),
    unique_by=lambda p: p[0],
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(people, st.randoms())
def test_the_list_is_affordable_gainful_best_first_and_independent_of_the_order(
    given_people: list[tuple[str, float, float | None]], random: object
) -> None:
    found = scored(given_people)
    shuffled = list(given_people)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert scored(shuffled).equals(found)
    assert sorted(found["id"]) == sorted(p[0] for p in given_people)
    assert found["expected_value"].is_sorted(descending=True)
    listed = found.filter("on_list")
    assert len(listed) * VALUE.contact_cost <= VALUE.budget
    assert (listed["expected_value"] > 0).all()
    assert listed["rank"].to_list() == list(range(1, len(listed) + 1))
