from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.retention.scoring import monthly_value, ranked, score, within_budget
from churn_assets.spec import ValueSpec

VALUE = ValueSpec(monthly_value="charge", margin=0.5, lifetime_months=10, save_rate=0.2, contact_cost=5, budget=10)
Person = tuple[str, float, float | None]


def ranking(people: list[Person], value: ValueSpec = VALUE, save_rate: float | None = None) -> pl.DataFrame:
    schema = {"id": pl.String, "p_leave": pl.Float64, "charge": pl.Float64}
    rows = pl.DataFrame(people, schema, orient="row").with_columns(monthly_value(value))
    return ranked(rows, "id", value, save_rate)


def reached(people: list[Person], value: ValueSpec = VALUE) -> list[str]:
    return within_budget(ranking(people, value), value)["id"].to_list()


def changed(**values: Any) -> ValueSpec:
    return VALUE.model_copy(update=values)


def test_the_value_of_a_contact_is_what_it_keeps_less_what_it_costs() -> None:
    # 0.5 x 0.2 x 40 x 0.5 x 10 - 5
    assert ranking([("a", 0.5, 40.0)])["expected_value"].item() == pytest.approx(15)


def test_the_offer_costs_beside_the_contact() -> None:
    value = changed(incentive=3)
    assert ranking([("a", 0.5, 40.0)], value)["expected_value"].item() == pytest.approx(12)
    assert reached([("a", 0.9, 90.0), ("b", 0.9, 80.0)], value) == ["a"]


def test_a_measured_save_rate_takes_the_place_of_the_assumed_one() -> None:
    assert ranking([("a", 0.5, 40.0)], save_rate=0.1)["expected_value"].item() == pytest.approx(5)
    assert ranking([("a", 0.5, 40.0)], save_rate=0.0)["expected_value"].item() == -5


def test_customers_are_ranked_by_value_and_equal_ones_by_key() -> None:
    found = ranking([("b", 0.5, 10.0), ("c", 0.1, 100.0), ("a", 0.5, 10.0), ("d", 0.9, 1.0)])
    assert found["id"].to_list() == ["c", "a", "b", "d"]
    assert found["rank"].to_list() == [1, 2, 3, 4]


def test_the_list_ends_with_the_budget() -> None:
    assert reached([(f"c{i}", 0.5, 50.0 + i) for i in range(5)]) == ["c4", "c3"]


def test_a_contact_that_is_worth_nothing_is_not_made() -> None:
    people: list[Person] = [("a", 0.5, 10.0), ("b", 0.5, 10.001), ("c", 0.0, 1000.0), ("d", 0.9, None),
                            ("e", 0.9, float("nan"))]  # fmt: skip
    assert reached(people) == ["b"]
    assert ranking(people).filter(pl.col("id").is_in(["d", "e"]))["expected_value"].to_list() == [-5, -5]


@pytest.mark.parametrize(
    ("budget", "cost", "contacts"), [(1.0, 0.1, 10), (0.99, 0.1, 9), (0, 5, 0), (0, 0, 20), (5, 5, 1)]
)
def test_a_budget_pays_for_as_many_contacts_as_it_is_a_multiple_of_their_cost(
    budget: float, cost: float, contacts: int
) -> None:
    people: list[Person] = [(f"c{i}", 0.9, 100.0) for i in range(20)]
    assert len(reached(people, changed(budget=budget, contact_cost=cost))) == contacts


def test_a_contact_that_gains_no_more_than_a_rounding_error_is_not_made() -> None:
    # 0.1 x 3 - 0.3 is 6e-17 in floats.
    value = changed(save_rate=1, margin=1, lifetime_months=1, contact_cost=0.3)
    assert reached([("a", 0.1, 3.0), ("b", 0.1, 3.01)], value) == ["b"]


def test_one_amount_may_stand_for_all() -> None:
    assert ranking([("a", 0.5, None)], changed(monthly_value=40))["expected_value"].to_list() == pytest.approx([15])


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
    assert score(pl.Series("id", ["a"]), pl.Series([float(p)]))["risk"].item() == band


def test_the_first_tenth_is_the_one_most_at_risk() -> None:
    found = score(pl.Series("id", [f"c{i:02}" for i in range(25)]), pl.Series([i / 25 for i in range(25)]))
    assert found.columns == ["id", "p_leave", "risk", "decile"]
    assert found["id"][0] == "c24"
    assert found["decile"].to_list() == [i * 10 // 25 + 1 for i in range(25)]
    assert score(pl.Series("id", ["a", "b"]), pl.Series([0.5, 0.5])).rows() == [
        ("a", 0.5, "very high", 1), ("b", 0.5, "very high", 6),
    ]  # fmt: skip


def test_nobody_is_scored_in_an_empty_month() -> None:
    assert score(pl.Series("id", [], dtype=pl.String), pl.Series([], dtype=pl.Float64)).is_empty()


people = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=4), st.floats(0, 1), st.none() | st.floats(0, 200)),
    unique_by=lambda p: p[0],
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(people, st.randoms(), st.sets(st.text("abc", min_size=1, max_size=4)))
def test_the_list_is_affordable_gainful_best_first_and_independent_of_the_order(
    given_people: list[Person], random: Any, aside: set[str]
) -> None:
    found = ranking(given_people)
    shuffled = list(given_people)
    random.shuffle(shuffled)
    assert ranking(shuffled).equals(found)
    assert sorted(found["id"]) == sorted(p[0] for p in given_people)
    assert found["expected_value"].is_sorted(descending=True)
    listed = within_budget(found, VALUE, pl.col("id").is_in(sorted(aside)))
    contacts = listed.filter(~pl.col("id").is_in(sorted(aside)))
    assert len(contacts) * VALUE.cost <= VALUE.budget
    assert (listed["expected_value"] > 0).all()
    assert listed["rank"].to_list() == list(range(1, len(listed) + 1))
    # Who comes next isn't on it because the money is spent, or because a contact is worth nothing.
    beyond = found[len(listed) : len(listed) + 1]
    assert beyond.is_empty() or len(contacts) == 2 or beyond["expected_value"].item() <= 0


@settings(max_examples=60, deadline=None)
@given(people, st.sets(st.text("abc", min_size=1, max_size=4)))
def test_whether_the_budget_reaches_a_customer_does_not_depend_on_being_held_out(
    given_people: list[Person], aside: set[str]
) -> None:
    found = ranking(given_people)
    for name in found["id"]:
        both = [
            within_budget(found, VALUE, pl.col("id").is_in(sorted(s)))["id"] for s in (aside | {name}, aside - {name})
        ]
        assert (name in both[0]) == (name in both[1])
