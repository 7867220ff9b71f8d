from typing import Any

import numpy as np
import polars as pl
import polars.testing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from churn_assets.errors import LearningError
from churn_assets.learning.evaluation import auc_delong
from churn_assets.learning.segments import Segments, by_segment
from churn_assets.spec.learning import EvaluationSpec

SPEC = EvaluationSpec(segments=["plan", "tenure", "paperless"], min_rows=100, max_gap=0.05)


def base(rows: int = 6000, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Customers whose chance of leaving has nothing to do with their segments, and that chance."""
    random = np.random.default_rng(seed)
    chance = random.beta(1, 8, rows)
    frame = pl.DataFrame(
        {
            "plan": random.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.35, 0.05]),
            "tenure": random.integers(0, 60, rows),
            "paperless": random.random(rows) < 0.5,
            "label": random.random(rows) < chance,
        }
    )
    return frame, chance


def _of(found: Segments, feature: str, value: str) -> dict[str, Any]:
    return found.table.row(by_predicate=(pl.col("feature") == feature) & (pl.col("value") == value), named=True)


def test_every_figure_agrees_with_judging_the_segment_alone() -> None:
    frame, p = base()
    found = by_segment(frame, p, SPEC, confidence=0.9)
    assert found.table["judged"].sum() == 9
    own = (frame["plan"] == "plus").to_numpy()
    y, score, row = frame["label"].to_numpy()[own], p[own], _of(found, "plan", "plus")
    wide = 1 - 0.1 / 18  # two verdicts on each of nine segments
    area = auc_delong(y, score, wide)
    ends = stats.binomtest(int(y.sum()), len(y)).proportion_ci(wide, method="wilson")
    assert row["auc"] == pytest.approx(metrics.roc_auc_score(y, score))
    assert (row["auc_lower"], row["auc_upper"]) == pytest.approx((area.lower, area.upper))
    assert (row["rows"], row["positives"], row["rate"]) == (len(y), y.sum(), pytest.approx(y.mean()))
    assert row["observed_to_predicted"] == pytest.approx(y.sum() / score.sum())
    assert row["observed_to_predicted_lower"] == pytest.approx(ends.low / score.mean())
    assert row["observed_to_predicted_upper"] == pytest.approx(ends.high / score.mean())


def test_numbers_are_divided_at_their_quartiles_and_what_is_missing_stands_alone() -> None:
    frame, p = base()
    numbers = pl.Series([None if i % 10 == 0 else float(i % 50) for i in range(len(frame))])
    found = by_segment(frame.with_columns(tenure=numbers), p, SPEC).table.filter(feature="tenure")
    assert found["value"].to_list() == ["<= 13", "> 13 to 25", "> 25 to 37", "> 37", "missing"]
    assert found["rows"].to_list() == [1440, 1320, 1320, 1320, 600]
    assert by_segment(frame, p, SPEC).table["value"].to_list()[:3] == ["basic", "plus", "pro"]


def test_a_few_numbers_are_a_segment_each_in_their_order() -> None:
    frame, p = base()
    found = by_segment(frame.with_columns(tenure=pl.Series([10, 9] * 3000)), p, SPEC).table
    assert found.filter(feature="tenure")["value"].to_list() == ["9", "10"]
    assert found.filter(feature="paperless")["value"].to_list() == ["false", "true"]


def test_ranges_come_in_the_order_of_their_numbers() -> None:
    frame, p = base()
    found = by_segment(frame.with_columns(plan=pl.Series(["13-25", "2-4", "<2", ">=25"] * 1500)), p, SPEC).table
    assert found.filter(feature="plan")["value"].to_list() == ["<2", "2-4", "13-25", ">=25"]


@pytest.mark.parametrize("column", [[None] * 6000, [float("nan")] * 6000])
def test_a_feature_without_values_is_one_segment(column: list[float | None]) -> None:
    frame, p = base()
    found = by_segment(frame.with_columns(tenure=pl.Series(column, dtype=pl.Float64)), p, SPEC).table
    assert found.filter(feature="tenure").select("value", "rows").rows() == [("missing", 6000)]


def test_a_segment_that_is_ranked_worse_is_named() -> None:
    frame, p = base()
    worse = (frame["plan"] == "basic").to_numpy()
    p = np.where(worse, np.random.default_rng(9).permutation(p), p)
    found = by_segment(frame, p, SPEC)
    assert found.flagged.select("feature", "value", "worse", "miscalibrated").rows() == [("plan", "basic", True, False)]
    row = _of(found, "plan", "basic")
    assert f"plan basic (AUC {row['auc']:.3f}, at most {row['auc_upper']:.3f})" in found.reason
    assert by_segment(frame, p, SPEC.model_copy(update={"max_gap": 0.5})).flagged.is_empty()


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_segment_whose_level_is_wrong_is_named(factor: float) -> None:
    frame, p = base()
    p = np.where((frame["plan"] == "plus").to_numpy(), np.clip(p * factor, 0, 1), p)
    found = by_segment(frame, p, SPEC)
    row = _of(found, "plan", "plus")
    assert row["miscalibrated"] and not row["worse"]
    assert f"plan plus ({row['rate']:.1%} left where {row['mean_prediction']:.1%} were predicted)" in found.reason


def test_a_level_that_is_a_little_off_is_let_pass_however_sure_it_is() -> None:
    frame, p = base(100_000)
    found = by_segment(frame, np.clip(p * 1.15, 0, 1), SPEC)
    assert _of(found, "paperless", "true")["observed_to_predicted_upper"] < 1
    assert found.flagged.is_empty()


def test_what_is_too_small_or_of_one_class_is_listed_but_not_judged() -> None:
    frame, p = base(2000)
    alone = pl.Series(["tiny"] * 50 + ["big"] * 1950)
    loyal = pl.Series(frame["label"]).cast(pl.String)  # one class in each
    found = by_segment(frame.with_columns(plan=alone, tenure=loyal), np.where(np.arange(2000) < 50, 0.99, p), SPEC)
    for name, value in (("plan", "tiny"), ("tenure", "true"), ("tenure", "false")):
        row = _of(found, name, value)
        assert not (row["judged"] or row["worse"] or row["miscalibrated"]) and row["auc"] is None and row["rows"] > 0
    assert "3 more are too small or of one kind" in found.reason


def test_equally_good_segments_are_left_alone() -> None:
    many = EvaluationSpec(segments=["plan", "tenure", "paperless", "region"], min_rows=50, max_gap=0.001)
    cries = 0
    for seed in range(40):
        frame, p = base(2500, seed)
        regions = np.random.default_rng(seed).integers(0, 20, len(frame)).astype(str)
        cries += not by_segment(frame.with_columns(region=pl.Series(regions)), p, many).flagged.is_empty()
    assert cries <= 4  # 5% of 40 are 2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_nothing_depends_on_the_order_of_rows_and_every_row_counts_once(seed: int) -> None:
    frame, p = base(400, seed)
    order = np.random.default_rng(seed + 1).permutation(400)
    found, other = by_segment(frame, p, SPEC), by_segment(frame[order], p[order], SPEC)
    polars.testing.assert_frame_equal(found.table, other.table)
    assert found.reason == other.reason
    assert set(found.table.group_by("feature").agg(pl.col("rows").sum())["rows"]) == {400}


def test_without_segments_there_is_nothing_to_judge() -> None:
    frame, p = base(200)
    found = by_segment(frame, p, EvaluationSpec())
    assert found.table.is_empty() and found.flagged.is_empty() and "evaluation.segments" in found.reason


def test_predictions_must_be_those_of_the_rows() -> None:
    frame, p = base(200)
    with pytest.raises(LearningError, match="found 199 for 200"):
        by_segment(frame, p[1:], SPEC)
