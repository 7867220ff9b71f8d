import json
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from churn_assets.learning.reference import Reference, full_reference, settled_reference
from churn_assets.monitoring.drift import (
    COLUMNS,
    MONTH_BEFORE,
    MOVED,
    SCORE,
    STABLE,
    TRAINING,
    Drift,
    measure,
    psi,
    q_values,
)
from churn_assets.months import Month
from churn_assets.spec.monitoring import DriftSpec
from churn_assets_tests.learning.panels import panel, subscribers

weights = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8)
SPEC = DriftSpec()


def shares(counts: list[int]) -> list[float]:
    return [c / max(sum(counts), 1) for c in counts]


def month(seed: int, rows: int = 2000) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "gb": np.exp(random.normal(4.8, 0.6, rows)),
            "calls": random.poisson(0.8, rows),
            "plan": random.choice(["basic", "plus"], rows, p=[0.7, 0.3]),
            "paperless": random.random(rows) < 0.4,
            "trend": np.where(random.random(rows) < 0.05, np.nan, random.normal(size=rows)),
            SCORE: random.beta(1, 30, rows),
        }
    )


BEFORE = month(1)


def reference(frame: pl.DataFrame) -> Reference:
    found: Reference = json.loads(json.dumps(full_reference(frame, frame.columns, None)))
    return found


def compared(now: pl.DataFrame, before: pl.DataFrame = BEFORE) -> Drift:
    """The month against a training that had the same rows as the month before."""
    return measure(now, reference(before), before, SPEC)


def row(drift: Drift, subject: str, against: str = TRAINING) -> dict[str, object]:
    return drift.table.row(by_predicate=(pl.col("subject") == subject) & (pl.col("against") == against), named=True)


@settings(max_examples=200, deadline=None)
@given(weights)
def test_the_index_is_zero_for_equal_shares_and_never_negative(counts: list[tuple[int, int]]) -> None:
    one, other = shares([a for a, _ in counts]), shares([b for _, b in counts])
    assert psi(one, one) == 0
    assert psi(one, other) >= 0
    assert math.isclose(psi(one, other), psi(other, one), abs_tol=1e-12)


def test_known_values_of_the_index() -> None:
    assert psi([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))
    assert psi([0.5, 0.5], [0.6, 0.4]) < STABLE < MOVED < psi([0.5, 0.5], [0.9, 0.1])


def test_an_empty_bin_counts_as_the_floor() -> None:
    assert psi([1.0, 0.0], [0.9, 0.1]) == pytest.approx(-0.1 * math.log(0.9) + (0.1 - 1e-4) * math.log(0.1 / 1e-4))
    assert math.isfinite(psi([1, 0], [0, 1]))


def test_shares_over_different_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        psi([0.5, 0.5], [1.0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=30))
def test_q_values_are_those_of_scipy_and_pass_over_nulls(given_p: list[float | None]) -> None:
    found = q_values(pl.Series(given_p, dtype=pl.Float64))
    assert found.is_null().to_list() == [p is None for p in given_p]
    known = [p for p in given_p if p is not None]
    if known:
        assert found.drop_nulls().to_list() == pytest.approx(stats.false_discovery_control(known), abs=1e-12)


def test_samples_of_one_distribution_have_not_moved() -> None:
    drift = compared(month(2))
    assert drift.table.columns == list(COLUMNS)
    assert drift.moved() == drift.moved(MONTH_BEFORE) == ()
    assert set(drift.table["why"]) == {""}
    assert drift.table["psi"].max() < 0.03  # type: ignore[operator]
    assert drift.overall[TRAINING].features == 5
    assert drift.overall[TRAINING].share == drift.overall[TRAINING].importance == 0


def test_the_statistics_are_those_of_scipy() -> None:
    now = month(3)
    drift = compared(now)
    for name in ("gb", "calls"):
        exact = stats.ks_2samp(now[name], BEFORE[name], method="asymp")
        found = row(drift, name, MONTH_BEFORE)
        assert found["statistic"] == found["effect"] == pytest.approx(exact.statistic)
        assert found["p_value"] == pytest.approx(exact.pvalue, abs=0.02)
        kept = row(drift, name)["statistic"]
        assert exact.statistic - 0.01 <= kept <= exact.statistic + 1e-12  # type: ignore[operator]
    table = [[frame["plan"].eq(p).sum() for p in ("basic", "plus")] for frame in (now, BEFORE)]
    by_scipy = stats.chi2_contingency(table, correction=False)
    found = row(drift, "plan", MONTH_BEFORE)
    assert (found["statistic"], found["p_value"]) == pytest.approx((by_scipy.statistic, by_scipy.pvalue))
    otherwise = pl.DataFrame({"plan": ["basic"] * 1100 + ["plus"] * 900})
    told = row(compared(otherwise, BEFORE.select("plan")), "plan")
    counts = [[1100, 900], [BEFORE["plan"].eq(p).sum() for p in ("basic", "plus")]]
    assert told["effect"] == pytest.approx(stats.contingency.association(np.array(counts)), rel=0.02)


def test_chance_findings_are_as_frequent_as_their_p_values_say() -> None:
    random = np.random.default_rng(0)
    before, now = (
        pl.DataFrame(
            {
                **{f"n{i}": random.normal(size=300) for i in range(150)},
                **{f"c{i}": pl.Series(random.integers(0, 4, 300)).cast(pl.String) for i in range(150)},
            }
        )
        for _ in range(2)
    )
    drift = measure(now, reference(before), before, SPEC)
    for against in (TRAINING, MONTH_BEFORE):
        rows = drift.table.filter(against=against)
        for test in ("Kolmogorov-Smirnov", "chi-squared"):
            p = rows.filter(test=test)["p_value"]
            assert stats.kstest(p, "uniform", alternative="greater").pvalue > 0.001
            assert stats.kstest(p, "uniform").statistic < 0.2
    assert drift.moved() == drift.moved(MONTH_BEFORE) == ()


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(random) -> None:  # type: ignore[no-untyped-def]
    now = month(4, 120)
    order = list(range(len(now)))
    random.shuffle(order)
    assert compared(now[order], BEFORE[::-1]).table.equals(compared(now).table)


@settings(max_examples=40, deadline=None)
@given(*[st.lists(st.none() | st.floats() | st.integers(-2, 2).map(float), min_size=1, max_size=40)] * 2)
def test_whatever_numbers_come_there_are_shares_and_words(one: list[float | None], other: list[float | None]) -> None:
    now, before = (pl.DataFrame({"x": pl.Series(v * 10, dtype=pl.Float64, strict=False)}) for v in (one, other))
    table = compared(now, before).table
    figures = table.select("p_value", "q_value", "effect", "missing", "missing_before", "missing_q_value")
    for value in (v for line in figures.iter_rows() for v in line if v is not None):
        assert 0 <= value <= 1
    assert table["psi"].is_finite().all()
    assert (table["why"] != "").to_list() >= table["moved"].to_list()
    if now.equals(before):
        assert not table["moved"].any()


def test_a_changed_unit_is_named_and_nothing_else_has_moved() -> None:
    drift = compared(month(5).with_columns(pl.col("gb") * 1024))
    assert drift.moved() == drift.moved(MONTH_BEFORE) == ("gb",)
    found = row(drift, "gb")
    assert "x 1,000 or 1,024 at every quantile" in str(found["why"])
    assert str(found["why"]).startswith("gb: its median went from 12")
    back = row(compared(month(5).with_columns(pl.col("calls") / 60)), "calls")
    assert back["moved"]
    assert "/ 60 at every quantile" in str(back["why"])


def test_a_shift_of_the_middle_is_no_unit() -> None:
    found = row(compared(month(6).with_columns(pl.col("trend") + 1)), "trend")
    assert found["moved"]
    assert "its median went from" in str(found["why"])
    assert "unit" not in str(found["why"])


def test_with_many_rows_a_small_difference_is_no_finding() -> None:
    many = month(7, 60_000)
    drift = compared(many.with_columns(pl.col("trend") + 0.1), month(8, 60_000))
    found = row(drift, "trend")
    assert found["q_value"] < 1e-6  # type: ignore[operator]
    assert 0.02 < found["effect"] < SPEC.max_distance  # type: ignore[operator]
    assert drift.moved() == ()


@pytest.mark.parametrize("rows", [0, 1, 29])
def test_few_rows_say_nothing_and_say_so(rows: int) -> None:
    broken = month(9, rows).with_columns(pl.col("gb") * 1e6, plan=pl.lit("new"), calls=None)
    drift = compared(broken)
    assert drift.moved() == drift.moved(MONTH_BEFORE) == ()
    assert f"too few rows to tell: {rows}" in str(row(drift, "gb")["why"])


def test_a_changed_unit_is_told_from_thirty_rows_on() -> None:
    assert compared(month(9, 30).with_columns(pl.col("gb") * 1024)).moved() == ("gb",)


def test_thirty_rows_raise_no_alarm_by_chance() -> None:
    assert sum(len(compared(month(100 + seed, 30)).moved()) for seed in range(60)) == 0


def test_a_new_level_is_named_with_its_share() -> None:
    plans = pl.when(pl.int_range(pl.len()) % 25 == 0).then(pl.lit("gold")).otherwise("plan")
    found = row(compared(month(10).with_columns(plan=plans)), "plan")
    assert found["new_categories"] == "gold (4.0%)"
    assert found["moved"]
    assert "new: gold (4.0%)" in str(found["why"])
    rare = pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("gold")).otherwise("plan")
    seen = row(compared(month(10).with_columns(plan=rare)), "plan")
    assert not seen["moved"]
    assert seen["why"] == "plan: new: gold (0.1%)"


def test_more_levels_than_a_reference_lists_are_not_called_new() -> None:
    random = np.random.default_rng(0)
    keys = [pl.DataFrame({"key": random.integers(0, 400, 3000)}).cast(pl.String) for _ in range(2)]
    found = row(compared(keys[1], keys[0]), "key")
    assert found["new_categories"] == ""
    assert not found["moved"]


def test_many_levels_of_few_rows_are_not_far_apart_by_chance() -> None:
    random = np.random.default_rng(0)
    before, now = (
        pl.DataFrame({f"c{i}": random.integers(0, 40, 500) for i in range(20)}).cast(pl.String) for _ in range(2)
    )
    drift = compared(now, before)
    assert drift.moved() == ()
    assert drift.table["effect"].mean() < SPEC.max_association  # type: ignore[operator]


def test_missing_values_are_judged_apart() -> None:
    random = np.random.default_rng(0)
    gone = pl.when(pl.Series(random.random(2000) < 0.15)).then(None).otherwise("gb")
    drift = compared(month(11).with_columns(gb=gone))
    found = row(drift, "gb")
    assert found["moved"]
    assert found["q_value"] > 0.01  # type: ignore[operator]
    assert found["missing_q_value"] < 1e-6  # type: ignore[operator]
    assert "are missing, before 0.0%" in str(found["why"])
    few = pl.when(pl.int_range(pl.len()) % 50 == 0).then(None).otherwise("gb")
    assert compared(month(11).with_columns(gb=few)).moved() == ()


@pytest.mark.parametrize("name", ["gb", "plan", "paperless", "trend"])
def test_a_column_without_values_has_moved(name: str) -> None:
    drift = compared(month(12).with_columns(pl.lit(None, BEFORE.schema[name]).alias(name)))
    assert drift.moved() == drift.moved(MONTH_BEFORE) == (name,)
    for against in (TRAINING, MONTH_BEFORE):
        assert "no value is left" in str(row(drift, name, against)["why"])


def test_a_column_that_becomes_constant_has_moved_however_rare_its_other_values_were() -> None:
    before = BEFORE.with_columns(rare=pl.int_range(pl.len()) % 100 == 0)
    drift = compared(month(13).with_columns(rare=False), before)
    assert drift.moved(MONTH_BEFORE) == ("rare",)
    found = row(drift, "rare", MONTH_BEFORE)
    assert found["test"] == "Fisher"
    assert found["p_value"] == pytest.approx(0.5**20)
    assert "nothing but false; 20 rows had another value" in str(found["why"])
    assert drift.moved() == ()
    by_chance = compared(month(13).with_columns(rare=False), BEFORE.with_columns(rare=pl.int_range(pl.len()) < 3))
    assert by_chance.moved(MONTH_BEFORE) == ()


def test_a_column_that_was_constant_or_empty_before_is_no_finding() -> None:
    always = {"one": pl.lit(1.0), "none": pl.lit(None, pl.Float64), "word": pl.lit("a")}
    drift = compared(month(14).with_columns(**always), BEFORE.with_columns(**always))
    assert drift.moved() == drift.moved(MONTH_BEFORE) == ()
    filled = compared(month(14).with_columns(none=pl.col("gb")), BEFORE.with_columns(none=None))
    assert filled.moved() == filled.moved(MONTH_BEFORE) == ("none",)


def test_booleans_may_come_as_text_and_numbers_as_text_too() -> None:
    now = month(15).with_columns(pl.col("paperless").cast(pl.String), pl.col("calls").cast(pl.String))
    assert compared(now).moved() == ()
    otherwise = compared(now.with_columns(paperless=pl.col("paperless").replace_strict({"true": "Y", "false": "N"})))
    assert otherwise.moved() == ("paperless",)
    assert "new: N" in str(row(otherwise, "paperless")["why"])
    spoilt = row(compared(now.with_columns(calls=pl.lit("n/a"))), "calls")
    assert spoilt["moved"]
    assert "it is of type String and was a number" in str(spoilt["why"])


def test_a_column_that_is_gone_is_told_and_one_that_the_month_before_lacks_is_not_compared_with_it() -> None:
    drift = compared(month(16).drop("plan"))
    assert "the column isn't there" in str(row(drift, "plan")["why"])
    assert drift.moved() == ("plan",)
    fewer = measure(month(16), reference(BEFORE), BEFORE.drop(SCORE), SPEC)
    assert SCORE not in fewer.table.filter(against=MONTH_BEFORE)["subject"]
    alone = measure(month(16), reference(BEFORE), None, SPEC)
    assert set(alone.table["against"]) == {TRAINING}


def test_the_most_important_come_first_and_carry_their_share() -> None:
    now = month(17).with_columns(pl.col("gb") * 10, pl.col(SCORE) * 10, plan=pl.lit("basic"))
    weights = {"gb": 0.2, "calls": 0.1, "plan": 0.6, "paperless": 0.0, "trend": 0.1}
    drift = measure(now, reference(BEFORE), None, SPEC, weights)
    assert drift.moved() == ("plan", "gb", SCORE)
    overall = drift.overall[TRAINING]
    assert overall.moved == ("plan", "gb")
    assert overall.importance == pytest.approx(0.8)
    assert overall.share == pytest.approx(0.4)
    assert overall.score_moved
    by_hand = sum(weights[r["subject"]] * r["psi"] for r in drift.table.to_dicts() if r["subject"] != SCORE)
    assert overall.psi == pytest.approx(by_hand)


def test_a_customers_months_count_as_one_row_of_the_training() -> None:
    rows = panel(customers=100, months=4)
    made = settled_reference(rows, {"calls": 0, "contract": 1}, Month(2025, 1))
    assert made["calls"]["sample"] == made["contract"]["sample"] == 100
    assert sum(made["calls"]["fine_counts"]) == 400


def test_in_the_simulated_base_nothing_moves() -> None:
    rows, spec = subscribers(2000, 16)
    months = rows.partition_by("event_month", maintain_order=True)
    trained = settled_reference(pl.concat(months[:10]), spec.lookbacks, spec.months.start)
    for before, now in pairwise(months[11:]):
        drift = measure(now, trained, before, spec.monitoring.drift)
        assert drift.moved() == drift.moved(MONTH_BEFORE) == ()
