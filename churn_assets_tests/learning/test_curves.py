from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from churn_assets.errors import LearningError
from churn_assets.learning.curves import curves, reliability, score_distribution
from churn_assets.learning.evaluation import auc, top_decile_lift


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and predictions with many ties."""
    labels = draw(st.permutations([True, False, *draw(st.lists(st.booleans(), max_size=40))]))
    scores = draw(st.lists(st.integers(0, 8), min_size=len(labels), max_size=len(labels)))
    return np.array(labels), np.array(scores) / 8


def _rows(*columns: Any) -> list[tuple[float, ...]]:
    return [tuple(round(float(v), 12) for v in row) for row in zip(*columns, strict=True)]


@settings(max_examples=100, deadline=None)
@given(judged())
def test_curves_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    found = curves(y, p)
    fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    assert _rows(*found.roc) == _rows(fpr, tpr)
    precision, recall, _ = metrics.precision_recall_curve(y, p)
    assert _rows(*found.precision_recall) == _rows(recall[-2::-1], precision[-2::-1])


@settings(max_examples=100, deadline=None)
@given(judged())
def test_gains_agree_with_contacting_one_threshold_after_the_other(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    expected = [
        ((p >= t).mean(), y[p >= t].sum() / y.sum(), y[p >= t].mean() / y.mean()) for t in sorted(set(p), reverse=True)
    ]
    assert _rows(*curves(y, p).gains) == _rows(*zip(*expected, strict=True))


@settings(max_examples=60, deadline=None)
@given(judged(), st.randoms(use_true_random=False), st.integers(2, 6))
def test_no_curve_depends_on_the_order_of_rows(case: tuple[np.ndarray, np.ndarray], random: Any, most: int) -> None:
    y, p = case
    order = list(range(len(y)))
    random.shuffle(order)
    one, other = curves(y, p, most), curves(y[order], p[order], most)
    for name in vars(one):
        assert getattr(one, name).equals(getattr(other, name))
    assert _rows(*reliability(y, p)) == _rows(*reliability(y[order], p[order]))


def test_many_points_are_thinned_to_exact_ones_that_still_tell_the_area() -> None:
    random = np.random.default_rng(0)
    y = random.random(30000) < 0.1
    p = random.normal(size=30000) + 1.5 * y
    whole, thin = curves(y, p, 10**6), curves(y, p, 100)
    for name, table in vars(thin).items():
        every = getattr(whole, name)
        assert 50 < len(table) <= 100 < len(every)
        assert len(table.join(every, on=table.columns, how="semi")) == len(table)
        assert table.row(0) == every.row(0) and table.row(-1) == every.row(-1)
    assert metrics.auc(thin.roc["fpr"], thin.roc["tpr"]) == pytest.approx(auc(y, p), abs=0.002)
    tenth = whole.gains.filter(pl.col("share") == 0.1)["lift"].item()
    assert tenth == pytest.approx(top_decile_lift(y, p))


def test_reliability_tells_each_bin_with_its_interval() -> None:
    p = np.repeat([0.1, 0.3], 50)
    y = np.concatenate([np.arange(50) < 4, np.arange(50) < 20])
    found = reliability(y, p, bins=2, confidence=0.9)
    ends = [stats.binomtest(k, 50).proportion_ci(0.9, method="wilson") for k in (4, 20)]
    assert _rows(*found) == _rows([50, 50], [0.1, 0.3], [0.08, 0.4], [e.low for e in ends], [e.high for e in ends])


@settings(max_examples=60, deadline=None)
@given(judged())
def test_scores_of_either_group_add_up_to_all_of_it(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    found = score_distribution(y, p, bins=7)
    assert found["left"].sum() == pytest.approx(1) and found["stayed"].sum() == pytest.approx(1)
    assert found["from"][0] == 0 and found["to"][-1] == (p.max() or 1)
    top = found.row(-1, named=True)
    inside = (p >= top["from"]) & (p <= top["to"])
    assert top["left"] == pytest.approx((y & inside).sum() / y.sum())
    assert found["from"][1:].to_list() == found["to"][:-1].to_list()


def test_one_class_has_no_curve() -> None:
    for draw in (curves, reliability, score_distribution):
        with pytest.raises(LearningError, match="found 2 who left and 0 who stayed"):
            draw([True, True], [0.1, 0.2])
