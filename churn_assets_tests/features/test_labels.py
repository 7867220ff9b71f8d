from __future__ import annotations

from itertools import product
from typing import Any

import polars as pl
import pytest

from churn_assets.features.labels import LaterMonth, label
from churn_assets.spec import LabelSpec

EVERYBODY = ["a", "b", "c", "d"]


def month(flags: dict[str, bool | None] | None, quarantined: list[str | None] | None = None) -> LaterMonth:
    rows = None
    if flags is not None:
        rows = pl.LazyFrame({"id": list(flags), "left": list(flags.values())}, {"id": pl.String, "left": pl.Boolean})
    aside = None if quarantined is None else pl.LazyFrame({"customer": quarantined, "rule": ["r"] * len(quarantined)})
    return LaterMonth(rows, aside)


def labels(kind: str, *later: LaterMonth, customers: list[Any] = EVERYBODY) -> dict[Any, bool | None]:
    spec = LabelSpec.model_validate({"kind": kind, "horizon": max(len(later), 1)})
    found = label(pl.LazyFrame({"id": customers}), later, spec, "id", "left").collect()
    assert found.columns == ["id", "label"]
    assert found.schema["label"] == pl.Boolean
    assert len(found) == len(customers)
    return dict(found.iter_rows())


@pytest.mark.parametrize("kind", ["flag", "same_row"])
def test_a_flag_says_who_left_and_silence_says_nothing(kind: str) -> None:
    found = labels(kind, month({"a": True, "b": False, "c": None, "new": True}))
    assert found == {"a": True, "b": False, "c": None, "d": None}


def test_who_is_absent_has_left() -> None:
    assert labels("absence", month({"a": True, "b": False})) == {"a": False, "b": False, "c": True, "d": True}


@pytest.mark.parametrize("kind", ["flag", "absence", "inactivity", "same_row"])
def test_of_a_month_that_was_delivered_empty_nothing_is_known(kind: str) -> None:
    assert set(labels(kind, month(None)).values()) == {None}
    assert set(labels(kind, month(None, ["a"])).values()) == {None}


def test_a_quarantined_customer_is_neither_gone_nor_here() -> None:
    assert labels("absence", month({"a": None}, ["b", "b", None])) == {"a": False, "b": None, "c": True, "d": True}
    assert labels("flag", month({"a": True}, ["b"])) == {"a": True, "b": None, "c": None, "d": None}


def test_a_customer_of_whom_one_of_two_equal_rows_was_set_aside_is_here() -> None:
    assert labels("absence", month({"a": None}, ["a"]))["a"] is False
    assert labels("flag", month({"a": False}, ["a"]))["a"] is False


OUTCOMES: list[bool | None] = [True, False, None]


@pytest.mark.parametrize(("first", "second"), list(product(OUTCOMES, OUTCOMES)))
def test_one_month_is_enough_to_leave_and_all_are_needed_to_stay(first: bool | None, second: bool | None) -> None:
    expected = True if True in (first, second) else None if None in (first, second) else False
    assert labels("flag", month({"a": first}), month({"a": second}), customers=["a"]) == {"a": expected}


def test_with_a_longer_horizon_a_flag_outlives_later_silence() -> None:
    found = labels("flag", month({"a": True, "b": False}), month({"b": False}), month({"b": True, "c": False}))
    assert found == {"a": True, "b": True, "c": None, "d": None}


def test_with_a_longer_horizon_one_absence_is_leaving() -> None:
    found = labels("absence", month({"a": None, "b": None}), month({"a": None, "c": None}, ["d"]))
    assert found == {"a": False, "b": True, "c": True, "d": True}
    assert labels("absence", month({"a": None}), month(None)) == {"a": None, "b": True, "c": True, "d": True}
    assert labels("absence", month(None), month({"a": None})) == {"a": None, "b": True, "c": True, "d": True}


def test_a_month_without_rows_that_was_not_delivered_empty_means_all_left() -> None:
    assert set(labels("absence", month({})).values()) == {True}


@pytest.mark.parametrize("kind", ["flag", "absence"])
def test_customers_may_be_numbered(kind: str) -> None:
    rows = pl.LazyFrame({"id": [1], "left": [False]})
    later = [LaterMonth(rows, pl.LazyFrame({"customer": ["2", "x", None]})), LaterMonth(None)]
    found = labels(kind, *later, customers=[1, 2, 3])
    assert found == {1: None, 2: None, 3: True if kind == "absence" else None}


def logged(*active: str, returned: tuple[str, ...] = (), quarantined: list[str | None] | None = None) -> LaterMonth:
    """A month of events: an active one of each of ``active``, twice of the first, and a return of each of those."""
    lines = [(c, False) for c in (*active, *active[:1])] + [(c, True) for c in returned]
    rows = pl.LazyFrame(lines, {"id": pl.String, "returned": pl.Boolean}, orient="row")
    aside = None if quarantined is None else pl.LazyFrame({"customer": quarantined, "rule": ["r"] * len(quarantined)})
    return LaterMonth(rows, aside)


def inactive(*later: LaterMonth, customers: list[Any] = EVERYBODY) -> dict[Any, bool | None]:
    spec = LabelSpec(kind="inactivity", horizon=len(later))
    activity = {"returned": False}
    found = label(pl.LazyFrame({"id": customers}), later, spec, "id", activity=activity).collect()
    assert found.columns == ["id", "label"]
    assert len(found) == len(customers)
    return dict(found.iter_rows())


ACTIVE, SILENT, RETURNS = logged("a"), logged("x"), logged("x", returned=("a",))
EMPTY, ASIDE, BOTH = LaterMonth(None), logged("x", quarantined=["a", None]), logged("a", quarantined=["a"])
TRUTH: list[tuple[str, LaterMonth, bool | None]] = [
    ("active", ACTIVE, False), ("silent", SILENT, True), ("returns only", RETURNS, True), ("empty", EMPTY, None),
    ("quarantined", ASIDE, None), ("one row quarantined, one active", BOTH, False),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), list(product(TRUTH, TRUTH)), ids=lambda month: month[0])
def test_one_active_month_is_enough_to_stay_and_all_must_be_silent_to_leave(first: Any, second: Any) -> None:
    one, other = first[2], second[2]
    expected = False if False in (one, other) else None if None in (one, other) else True
    assert inactive(first[1], second[1], customers=["a"]) == {"a": expected}


def test_who_comes_back_after_the_horizon_had_left_all_the_same() -> None:
    assert inactive(SILENT, customers=["a"]) == {"a": True}
    assert inactive(SILENT, ACTIVE, customers=["a"]) == {"a": False}
    assert inactive(SILENT, SILENT, customers=["a"]) == {"a": True}


def test_without_a_condition_every_event_is_activity() -> None:
    spec = LabelSpec(kind="inactivity")
    found = label(pl.LazyFrame({"id": ["a", "b"]}), [RETURNS], spec, "id", activity={}).collect()
    assert dict(found.iter_rows()) == {"a": False, "b": True}


def test_many_events_of_a_customer_double_nobody() -> None:
    customers = [f"c{i}" for i in range(200)]
    found = inactive(logged(*customers[::2], returned=tuple(customers)), customers=customers)
    assert [found[c] for c in customers] == [False, True] * 100


def test_customers_of_events_may_be_numbered() -> None:
    rows = pl.LazyFrame({"id": [1, 1], "returned": [False, False]})
    later = LaterMonth(rows, pl.LazyFrame({"customer": ["2", "x", None]}))
    assert inactive(later, customers=[1, 2, 3]) == {1: False, 2: None, 3: True}
