from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.features.leakage import EVIDENCE, FOLDS, PRIOR, leaks
from churn_assets_tests.features.test_quality import FEATURES, month

AUC = 0.95


def outcome(seed: int, rows: int = 3000, left: int = 150, **changed: Any) -> pl.DataFrame:
    """A month's features and who left, of which none of them knows anything."""
    label = pl.Series("label", np.random.default_rng(seed + 1000).permutation(np.arange(rows) < left))
    return month(seed, rows).with_columns(label).with_columns(**changed)


def noise(seed: int = 9, rows: int = 3000) -> pl.Series:
    return pl.Series(np.random.default_rng(seed).normal(size=rows))


LEFT = pl.col("label")
PLANTED = {
    "a number": pl.when(LEFT).then(noise() + 6).otherwise(noise()),
    "a number that falls": pl.when(LEFT).then(noise() - 6).otherwise(noise()),
    "a category": pl.when(LEFT).then(pl.lit("ended")).otherwise(pl.col("plan")),
    "a category of many": pl.when(LEFT).then("end " + (pl.col("calls") % 4).cast(pl.String)).otherwise("town"),
    "a flag": LEFT,
    "a number that is there": pl.when(LEFT).then(noise()),
    "a number that is gone": pl.when(~LEFT).then(noise()),
    "nan": pl.when(LEFT).then(float("nan")).otherwise(noise()),
    "a number above others and nan": pl.when(LEFT)
    .then(noise() + 6)
    .otherwise(pl.when(noise(3) > 0).then(float("nan")).otherwise(noise())),
    "a code between others": pl.when(LEFT).then(2).otherwise(pl.when(noise() > 0).then(3).otherwise(1)),
    "a date": pl.when(LEFT).then(pl.date(2024, 5, 1)).otherwise(pl.date(2030, 1, 1)),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_leak_is_named_and_nothing_else(kind: str) -> None:
    found = leaks(outcome(1, planted=PLANTED[kind]), [*FEATURES, "planted"], AUC, "2024-05")
    assert not found.passed
    assert found.reason.startswith("A single feature tells which customers of 2024-05 left: planted (AUC ")
    assert "Take it out of features" in found.reason
    assert "set feature_checks.leak to warn" in found.reason
    assert found.table is not None
    assert found.table["feature"][0] == "planted"
    assert found.table["lower"][0] > AUC
    assert found.table["auc"][1:].max() < 0.65


def test_several_are_named_in_the_order_of_their_weight() -> None:
    two = outcome(1, flag=LEFT, number=pl.when(LEFT).then(noise() + 4).otherwise(noise()))
    reason = leaks(two, [*FEATURES, "number", "flag"], AUC, "2024-05").reason
    assert reason.startswith("Single features tell")
    assert reason.index("flag (AUC 1.000, at least 1.000)") < reason.index("number (AUC 0.99")


def test_of_many_leaks_the_first_are_named_and_the_others_counted() -> None:
    flags = {f"flag_{i:02d}": LEFT for i in range(12)}
    found = leaks(outcome(1, **flags), [*FEATURES, *flags], AUC, "2024-05")
    assert "flag_04 (AUC 1.000, at least 1.000) and 7 more;" in found.reason


def test_features_that_know_nothing_are_no_leak() -> None:
    for seed in range(10):
        found = leaks(outcome(seed), FEATURES, AUC, "2024-05")
        assert found.passed
        assert found.reason == "No feature tells by itself which 150 of 3,000 customers of 2024-05 left."
        assert found.figures["largest AUC of a feature"] < 0.65


@pytest.mark.parametrize("rows_each", [1, 2, 5, 30])
def test_a_category_of_many_values_does_not_learn_its_own_customers_by_heart(rows_each: int) -> None:
    """Judged on the rows that it was learned from, a category of a value a row would have an AUC of 1."""
    random = np.random.default_rng(4)
    names = pl.Series(random.permutation(3000) // rows_each).cast(pl.String)
    found = leaks(outcome(2, town=names), ["town"], AUC, "2024-05")
    assert found.passed
    assert found.figures["largest AUC of a feature"] < 0.6


def test_a_feature_may_be_good() -> None:
    good = outcome(1, good=pl.when(LEFT).then(noise() + 1.2).otherwise(noise()))
    found = leaks(good, ["good"], AUC, "2024-05")
    assert found.passed
    assert 0.75 < found.figures["largest AUC of a feature"] < 0.85
    assert not leaks(good, ["good"], 0.7, "2024-05").passed


def test_the_lower_end_of_the_interval_decides() -> None:
    rows = outcome(1, 300, EVIDENCE, x=pl.when(LEFT).then(noise(3, 300) + 2.6).otherwise(noise(3, 300)))
    found = leaks(rows, ["x"], 0.96, "2024-05")
    assert found.table is not None
    value, lower = found.table.select("auc", "lower").row(0)
    assert value > 0.96 > lower
    assert found.passed


@pytest.mark.parametrize(("rows", "left"), [(3000, EVIDENCE - 1), (60, 60 - EVIDENCE + 1), (10, 5), (0, 0)])
def test_a_few_customers_are_not_enough_evidence(rows: int, left: int) -> None:
    found = leaks(outcome(1, rows, left, flag=LEFT), [*FEATURES, "flag"], AUC, "2024-05")
    assert found.passed
    assert f"Not enough evidence: of {rows:,} customers of 2024-05 whose outcome is known {left:,} left" in found.reason


def test_unknown_outcomes_are_left_out() -> None:
    unknown = outcome(1, label=pl.when(pl.int_range(pl.len()) < 2000).then(LEFT), flag=LEFT)
    found = leaks(unknown, ["flag"], AUC, "2024-05")
    assert not found.passed
    assert found.figures["customers"] == 2000


def test_a_feature_that_the_month_has_not_is_passed_over() -> None:
    found = leaks(outcome(1), [*FEATURES, "new"], AUC, "2024-05")
    assert found.table is not None and "new" not in found.table["feature"]


def _pairwise(scores: list[float], left: list[bool]) -> float:
    """How often one who left stands above one who stayed, pair by pair; ties count half."""
    ones = [s for s, gone in zip(scores, left, strict=True) if gone]
    others = [s for s, gone in zip(scores, left, strict=True) if not gone]
    return sum((a > b) + (a == b) / 2 for a in ones for b in others) / (len(ones) * len(others))


def _rates(values: list[Any], left: list[bool]) -> list[float]:
    """The rate of leaving of each row's value in the other parts."""
    rates = []
    for i, value in enumerate(values):
        others = [j for j in range(len(values)) if j % FOLDS != i % FOLDS]
        alike = [j for j in others if values[j] == value]
        prior = sum(left[j] for j in others) / len(others)
        rates.append((sum(left[j] for j in alike) + PRIOR * prior) / (len(alike) + PRIOR))
    return rates


@st.composite
def judged(draw: st.DrawFn, values: Any) -> tuple[list[Any], list[bool]]:
    extra = draw(st.lists(st.booleans(), max_size=15))
    left = draw(st.permutations([*[True] * EVIDENCE, *[False] * EVIDENCE, *extra]))
    return draw(st.lists(values, min_size=len(left), max_size=len(left))), list(left)


@settings(max_examples=60, deadline=None)
@given(judged(st.none() | st.integers(-4, 4).map(lambda n: n / 2)))
def test_the_auc_of_a_number_is_a_plain_count_of_pairs(case: tuple[list[float | None], list[bool]]) -> None:
    values, left = case
    rows = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "label": left})
    ends = [[end if v is None else v for v in values] for end in (-9.0, 9.0)]
    known = [_pairwise(scores, left) for scores in ends]
    expected = max(*known, *(1 - k for k in known), _pairwise(_rates(values, left), left))
    assert leaks(rows, ["x"], AUC, "m").figures["largest AUC of a feature"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(judged(st.none() | st.sampled_from("abcdef")))
def test_the_auc_of_a_category_is_a_plain_count_of_pairs(case: tuple[list[str | None], list[bool]]) -> None:
    values, left = case
    rows = pl.DataFrame({"x": pl.Series(values, dtype=pl.String), "label": left})
    expected = _pairwise(_rates(values, left), left)
    assert leaks(rows, ["x"], AUC, "m").figures["largest AUC of a feature"] == pytest.approx(expected, abs=1e-12)
