"""What became of predictions, against scikit-learn, SciPy and plain arithmetic."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from sklearn import metrics

from churn_assets.learning.evaluation import evaluate
from churn_assets.monitoring.realised import Realised, Scorer, judge

ROWS = 3000


def drawn(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Customers with scores of a champion who knows their chance, and of a challenger who knows less of it."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(0.6, 6, rows)
    noisy = np.clip(chance * np.exp(rng.normal(0, 1, rows)), 0, 1)
    return pl.DataFrame({"label": rng.random(rows) < chance, "champion": chance, "challenger": noisy})


def promise(seed: int) -> dict[str, float]:
    rows = drawn(seed)
    return evaluate(rows["label"], rows["champion"]).as_dict()


def of(found: Realised, role: str, name: str) -> tuple[float, float, float]:
    figure = found.of(role, name)
    assert figure is not None and figure.lower is not None and figure.upper is not None
    return figure.value, figure.lower, figure.upper


BOTH = (Scorer("champion", "one"), Scorer("challenger", "two"))


def test_figures_are_those_of_scikit_learn() -> None:
    rows = drawn()
    found = judge("2024-01", rows, BOTH)
    assert (found.customers, found.known, found.left) == (ROWS, ROWS, rows["label"].sum())
    for role in ("champion", "challenger"):
        left, p = rows["label"].to_numpy(), rows[role].to_numpy()
        top = np.argsort(-p)[: ROWS // 10]
        expected = {
            "auc": metrics.roc_auc_score(left, p),
            "pr_auc": metrics.average_precision_score(left, p),
            "brier": metrics.brier_score_loss(left, p),
            "log_loss": metrics.log_loss(left, p),
            "top_decile_lift": left[top].mean() / left.mean(),
            "rate": left.mean(),
            "level": p.mean() - left.mean(),
        }
        for name, value in expected.items():
            assert of(found, role, name)[0] == pytest.approx(value), name
        rate = stats.binomtest(int(left.sum()), ROWS).proportion_ci(method="wilson")
        assert of(found, role, "rate")[1:] == pytest.approx((rate.low, rate.high))
        squares = stats.norm.interval(0.95, np.mean((p - left) ** 2), stats.sem((p - left) ** 2))
        assert of(found, role, "brier")[1:] == pytest.approx(squares)


def test_champion_and_challenger_are_compared_row_by_row() -> None:
    rows = drawn()
    found = judge("2024-01", rows, BOTH)
    gap = ((rows["champion"] - rows["label"]) ** 2 - (rows["challenger"] - rows["label"]) ** 2).to_numpy()
    value, low, high = of(found, "difference", "brier")
    assert (value, low, high) == pytest.approx((gap.mean(), *stats.norm.interval(0.95, gap.mean(), stats.sem(gap))))
    assert high < 0, "the challenger knows less"
    value, low, _ = of(found, "difference", "auc")
    assert value == pytest.approx(of(found, "champion", "auc")[0] - of(found, "challenger", "auc")[0])
    widths = [of(found, role, "auc")[0] - of(found, role, "auc")[1] for role in ("champion", "challenger")]
    assert low > 0 and value - low < np.hypot(*widths), "what both have in common cancels out"


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    truth = judge("2024-01", drawn(10_000, 200_000), BOTH[:1])
    held = dict.fromkeys(("pr_auc", "top_decile_lift", "brier", "log_loss"), 0)
    for seed in range(80):
        found = judge("2024-01", drawn(seed, 1500), BOTH[:1])
        for name in held:
            _, low, high = of(found, "champion", name)
            held[name] += low <= of(truth, "champion", name)[0] <= high
    assert all(times >= 0.88 * 80 for times in held.values()), held


def test_a_promise_that_the_data_leaves_room_for_is_kept_and_any_other_is_broken() -> None:
    rows = drawn()
    assert not judge("2024-01", rows, [Scorer("champion", "one", promise(1))]).broken
    shuffled = rows.with_columns(pl.col("champion").shuffle(0))
    broken = {f.metric for f in judge("2024-01", shuffled, [Scorer("champion", "one", promise(1))]).broken}
    assert {"realised_auc", "realised_pr_auc", "realised_top_decile_lift", "realised_calibration_error"} <= broken
    assert "realised_rate" not in broken, "as many left as ever"
    raised = rows.with_columns((pl.col("champion") * 2).clip(0, 1))
    assert {f.metric for f in judge("2024-01", raised, [Scorer("champion", "one")]).broken} == {"realised_level"}


def test_whose_label_is_unknown_counts_nowhere_but_among_the_unknown() -> None:
    rows = drawn()
    unknown = rows.with_columns(label=pl.when(pl.int_range(pl.len()) % 3 > 0).then("label"))
    found, without = judge("2024-01", unknown, BOTH), judge("2024-01", unknown.drop_nulls("label"), BOTH)
    assert (found.customers, found.known, found.unknown) == (ROWS, 2000, 1000)
    assert found.figures == without.figures


def test_one_class_and_scores_that_are_no_probabilities_are_told_and_never_raised() -> None:
    rows = drawn()
    nobody = judge("2024-01", rows.with_columns(label=pl.lit(False)), BOTH)
    assert not nobody.figures and "0 who left" in nobody.problems["champion"]
    assert judge("2024-01", rows.with_columns(label=pl.lit(None, pl.Boolean)), BOTH).known == 0
    wrong = judge("2024-01", rows.with_columns(challenger=pl.lit(float("nan"))), BOTH)
    assert list(wrong.problems) == ["challenger"]
    assert {f.role for f in wrong.figures} == {"champion"}
    apart = rows.with_columns(champion=pl.when(pl.int_range(pl.len()) % 2 > 0).then("champion"),
                              challenger=pl.when(pl.int_range(pl.len()) % 2 == 0).then("challenger"))  # fmt: skip
    assert list(judge("2024-01", apart, BOTH).problems) == ["difference"], "nobody was scored by both"


def test_nothing_depends_on_the_order_of_the_rows() -> None:
    rows = drawn()
    assert_frame_equal(judge("2024-01", rows.reverse(), BOTH).table, judge("2024-01", rows, BOTH).table)
