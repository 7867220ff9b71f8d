import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import LearningError
from churn_assets.learning.splits import folds, holdout_parts, sampled


def _people(left: int, stayed: int) -> tuple[pl.Series, pl.Series]:
    return pl.Series([f"c{i}" for i in range(left + stayed)]), pl.Series([True] * left + [False] * stayed)


@settings(max_examples=40, deadline=None)
@given(left=st.integers(2, 60), stayed=st.integers(2, 60), share=st.floats(0.05, 0.95))
def test_each_class_gives_exactly_its_share_and_stays_in_both_parts(left: int, stayed: int, share: float) -> None:
    customers, labels = _people(left, stayed)
    parts = holdout_parts(customers, labels, share)
    for label, size in ((True, left), (False, stayed)):
        kept_back = int((parts.filter(labels == label) == "validate").sum())
        assert abs(kept_back - share * size) <= 0.5 or kept_back in (1, size - 1)
        assert 1 <= kept_back <= size - 1


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(list(range(30))))
def test_the_order_of_rows_decides_nothing(order: list[int]) -> None:
    customers, labels = _people(12, 18)
    straight = dict(zip(customers, holdout_parts(customers, labels, 0.3), strict=True))
    shuffled = dict(zip(customers[order], holdout_parts(customers[order], labels[order], 0.3), strict=True))
    assert straight == shuffled
    assert np.array_equal(folds(customers)[order], folds(customers[order]))


def test_all_rows_of_a_customer_go_the_same_way() -> None:
    customers = pl.Series([f"c{i % 50}" for i in range(200)])
    labels = pl.Series([i % 7 == 0 for i in range(200)])
    rows = pl.DataFrame({"c": customers, "part": holdout_parts(customers, labels, 0.25), "fold": folds(customers)})
    assert rows.group_by("c").n_unique().select("part", "fold").max().row(0) == (1, 1)


def test_a_class_of_one_customer_is_fitted_on() -> None:
    customers, labels = _people(1, 9)
    assert holdout_parts(customers, labels, 0.9)[0] == "fit"


def test_a_fold_depends_on_its_customer_alone_and_folds_are_about_equal() -> None:
    customers = pl.Series([f"c{i}" for i in range(5000)])
    assert np.array_equal(folds(customers)[:10], folds(customers[:10]))
    assert np.bincount(folds(customers), minlength=5).min() > 900
    # These places are part of the contract: a replay years later has to find them again.
    assert folds(pl.Series(["a", "b", "c", "d", "e", "f"])).tolist() == PINNED
    assert len(folds(pl.Series([], dtype=pl.String))) == 0


PINNED = [4, 0, 3, 4, 0, 3]


def test_a_sample_takes_whole_customers_and_grows_with_its_share() -> None:
    customers = pl.Series([f"c{i}" for i in range(5000)] * 2)
    tenth, third = sampled(customers, 0.1), sampled(customers, 1 / 3)
    assert tenth[:5000].equals(tenth[5000:])
    assert (third | ~tenth).all()
    assert [tenth.mean(), third.mean()] == pytest.approx([0.1, 1 / 3], abs=0.02)
    assert np.bincount(folds(customers)[tenth.to_numpy()], minlength=5).min() > 150, "independent of the folds"


def test_wrong_arguments_are_named() -> None:
    customers, labels = _people(2, 2)
    with pytest.raises(LearningError, match="share between 0 and 1, found 1"):
        holdout_parts(customers, labels, 1)
    with pytest.raises(LearningError, match="found 3 for 4 rows"):
        holdout_parts(customers, labels[:3], 0.5)
