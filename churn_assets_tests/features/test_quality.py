from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.features.quality import constants, drift, null_shares, spread

PSI = 0.25
PLANS = ["basic", "family", "plus"]


def month(seed: int, rows: int = 3000, **changed: Any) -> pl.DataFrame:
    """A month's features; ``changed`` are columns that are otherwise than usual."""
    random = np.random.default_rng(seed)
    usual = pl.DataFrame(
        {
            "charge": random.lognormal(4, 0.5, rows),
            "calls": random.poisson(2, rows),
            "complaints": random.random(rows) < 0.01,
            "rise": np.where(random.random(rows) < 0.9, 0.0, random.exponential(3, rows)),
            "plan": random.choice(PLANS, rows, p=[0.6, 0.1, 0.3]),
            "town": random.integers(0, 400, rows).astype(str),
        }
    )
    absent = pl.Series(random.random(rows) < 0.1)
    usual = usual.with_columns(calls_lag=pl.when(absent).then(None).otherwise(pl.col("calls")))
    return usual.with_columns(**changed)


FEATURES = month(0).columns


@pytest.mark.parametrize("rows", [30, 300, 1000, 3000])
def test_months_that_are_alike_are_alike(rows: int) -> None:
    for seed in range(0, 100, 2):
        now, before = month(seed, rows), month(seed + 1, rows)
        found = [
            null_shares(now, before, FEATURES),
            constants(now, before, FEATURES),
            drift(now, before, FEATURES, PSI),
        ]
        assert [f.reason for f in found if not f.passed] == [], seed


@pytest.mark.parametrize("values", [20, 100, 1000])
def test_a_category_whose_values_have_a_few_rows_each_does_not_cry_wolf(values: int) -> None:
    for seed in range(0, 100, 2):
        now, before = (
            pl.DataFrame({"town": np.random.default_rng(s).integers(0, values, 1000).astype(str)})
            for s in (seed, seed + 1)
        )
        found = drift(now, before, ["town"], PSI)
        assert found.passed, found.reason


def test_a_month_of_another_size_is_no_finding() -> None:
    now, before = month(1, 400), month(2, 4000)
    assert null_shares(now, before, FEATURES).passed
    assert constants(now, before, FEATURES).passed
    assert drift(now, before, FEATURES, PSI).passed


@pytest.mark.parametrize(
    ("before", "features", "said"),
    [
        (None, FEATURES, "There is no month before to compare with."),
        (month(0).clear(), FEATURES, "There is no month before to compare with."),
        (month(0), [], "No feature is known of both months yet."),
    ],
)
def test_what_cannot_be_compared_passes_and_says_so(
    before: pl.DataFrame | None, features: list[str], said: str
) -> None:
    for found in (
        null_shares(month(1), before, features),
        constants(month(1), before, features),
        drift(month(1), before, features, PSI),
    ):
        assert found.passed
        assert found.reason == said
        assert found.table is None


def test_a_feature_that_was_declared_just_now_is_not_compared() -> None:
    now, before = month(1, new=pl.lit(None)), month(2)
    assert null_shares(now, before, [*FEATURES, "new"]).passed
    assert constants(now, before, [*FEATURES, "new"]).passed
    assert drift(now, before, [*FEATURES, "new"], PSI).passed


class TestNullShares:
    def test_a_burst_of_missing_values_is_named_with_both_shares(self) -> None:
        burst = month(1, charge=pl.when(pl.int_range(pl.len()) % 10 < 3).then(None).otherwise(pl.col("charge")))
        found = null_shares(burst, month(2), FEATURES)
        assert not found.passed
        assert "charge (30.0%, before 0.0%)" in found.reason
        assert "calls" not in found.reason
        assert found.table is not None and found.table["feature"][0] == "charge"
        assert len(found.table) == len(FEATURES)
        assert found.figures == {"features compared": 7, "features found": 1}

    def test_values_that_are_suddenly_there_are_named_too(self) -> None:
        assert "calls_lag (0.0%, before" in null_shares(month(1, calls_lag=pl.col("calls")), month(2), FEATURES).reason

    def test_nan_is_missing(self) -> None:
        nan = month(1, charge=pl.when(pl.col("calls") > 2).then(float("nan")).otherwise(pl.col("charge")))
        assert not null_shares(nan, month(2), ["charge"]).passed

    @pytest.mark.parametrize(
        ("rows", "here", "there", "passed"),
        [
            (200_000, 2600, 2000, True),  # 1.3% after 1.0%: beyond chance, and of no account
            (200_000, 2000, 0, True),
            (200_000, 2100, 0, False),
            (1000, 9, 0, True),
            (1000, 15, 0, False),
            (20, 4, 0, True),
            (20, 15, 0, False),
            (1000, 560, 500, True),
            (1000, 600, 500, False),
        ],
    )  # fmt: skip
    def test_a_change_counts_beyond_chance_and_if_it_is_of_account(
        self, rows: int, here: int, there: int, passed: bool
    ) -> None:
        now, before = (pl.DataFrame({"x": [None] * n + [1.0] * (rows - n)}) for n in (here, there))
        assert null_shares(now, before, ["x"]).passed == passed


class TestConstants:
    def test_a_frozen_feature_is_named_with_its_value(self) -> None:
        found = constants(month(1, plan=pl.lit("basic")), month(2), FEATURES)
        assert not found.passed
        assert "plan (nothing but basic;" in found.reason
        assert "restore it at the source" in found.reason

    def test_a_feature_that_lost_all_values_is_named(self) -> None:
        found = constants(month(1, charge=pl.lit(None, pl.Float64)), month(2), FEATURES)
        assert "charge (nothing but missing values; 3,000 customers differed before)" in found.reason

    def test_missing_values_do_not_hide_that_the_others_are_all_equal(self) -> None:
        frozen = pl.when(pl.col("calls_lag").is_not_null()).then(pl.lit(0, pl.Int64))
        assert "calls_lag (nothing but 0;" in constants(month(1, calls_lag=frozen), month(2), FEATURES).reason

    def test_what_was_constant_before_is_no_finding(self) -> None:
        assert constants(month(1, plan=pl.lit("a")), month(2, plan=pl.lit("a")), FEATURES).passed
        assert constants(month(1, plan=pl.lit("b")), month(2, plan=pl.lit("a")), FEATURES).passed
        empty = pl.lit(None, pl.String)
        assert constants(month(1, plan=empty), month(2, plan=empty), FEATURES).passed

    @pytest.mark.parametrize(("rare", "passed"), [(14, True), (15, False)])
    def test_rare_values_may_be_absent_by_chance(self, rare: int, passed: bool) -> None:
        now, before = (pl.DataFrame({"x": [1] * n + [0] * (500 - n)}) for n in (0, rare))
        assert constants(now, before, ["x"]).passed == passed


class TestDrift:
    @pytest.mark.parametrize("feature", ["charge", "calls", "rise"])
    def test_another_unit_is_named(self, feature: str) -> None:
        found = drift(month(1, **{feature: pl.col(feature) * 1000}), month(2), FEATURES, PSI)
        assert not found.passed
        assert f"(PSI): {feature} (" in found.reason
        assert found.figures["features found"] == 1
        assert found.table is not None and found.table["feature"][0] == feature
        assert found.figures["largest PSI"] == found.table["psi"][0] > PSI

    def test_another_code_list_is_named(self) -> None:
        found = drift(month(1, plan=pl.col("plan").str.to_uppercase()), month(2), FEATURES, PSI)
        assert "plan (" in found.reason

    def test_missing_values_have_their_own_bin(self) -> None:
        half = pl.when(pl.int_range(pl.len()) % 3 > 0).then(pl.col("charge"))
        assert "charge" in drift(month(1, charge=half), month(2), FEATURES, PSI).reason

    def test_the_limit_is_the_pipelines(self) -> None:
        slight = month(1, charge=pl.col("charge") * 1.15)
        index = drift(slight, month(2), ["charge"], PSI).figures["largest PSI"]
        assert 0.03 < index < PSI
        assert not drift(slight, month(2), ["charge"], index - 0.01).passed

    def test_another_type_is_named_with_both(self) -> None:
        found = drift(month(1, calls=pl.col("calls").cast(pl.String)), month(2), FEATURES, PSI)
        assert "calls (now String, before Int64)" in found.reason
        counted = drift(month(1, complaints=pl.col("complaints").cast(pl.Int64)), month(2), FEATURES, PSI)
        assert "complaints (now Int64, before Boolean)" in counted.reason

    @pytest.mark.parametrize("feature", ["charge", "plan", "complaints"])
    def test_a_column_without_values_is_compared_with_one_that_has_them(self, feature: str) -> None:
        for now, before in (
            (month(1), month(2, **{feature: pl.lit(None)})),
            (month(1, **{feature: pl.lit(None)}), month(2)),
        ):
            assert f"{feature} (" in drift(now, before, FEATURES, PSI).reason

    def test_a_date_has_no_index(self) -> None:
        dated = {"joined": pl.date(2024, 1, 1)}
        assert drift(month(1, **dated), month(2, **dated), [*FEATURES, "joined"], PSI).passed

    def test_the_spread_shows_the_shares_of_both_months(self) -> None:
        now, before = month(1, plan=pl.lit("basic")), month(2)
        shown = spread(now, before, "plan")
        assert shown["bin"].to_list() == ["basic", "plus", "family"]
        assert shown["now"].to_list() == [1, 0, 0]
        assert shown["before"].to_list() == pytest.approx([0.6, 0.3, 0.1], abs=0.05)
        towns = spread(month(1, town=pl.lit(None)), before, "town")
        assert towns["bin"].to_list()[-2:] == ["other", "missing"]
        assert towns["now"].to_list()[-2:] == [0, 1]
        assert towns["before"].sum() == pytest.approx(1)
        assert len(towns) == 12

    def test_bins_of_numbers_are_told_by_their_limits(self) -> None:
        zeros = pl.DataFrame({"x": [0.0] * 900 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0] * 10})
        shown = spread(zeros, zeros, "x")
        assert shown["bin"].to_list() == [
            "below 0", "0", "to 1", "to 2", "to 3", "to 4", "to 5", "to 6", "to 7", "to 8", "to 9", "above 9",
            "missing",
        ]  # fmt: skip
        assert shown["now"].to_list() == pytest.approx([0, 0.9, *[0.01] * 10, 0])
        empty = pl.DataFrame({"x": pl.Series([None, None], dtype=pl.Float64)})
        assert spread(empty, empty, "x")["bin"].to_list() == ["any value", "missing"]
