from datetime import date

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.matrix import MOST_LEVELS, learn_levels, to_matrix


def test_levels_are_sorted_and_only_categories_have_them() -> None:
    frame = pl.DataFrame({"plan": ["b", "b", None, "a"], "age": [1, 2, 3, 4], "flag": [True, False, None, True]})
    assert learn_levels(frame, ["plan", "age", "flag"]) == {"plan": ("a", "b")}


def test_a_column_of_keys_keeps_its_most_frequent_levels() -> None:
    keys = ["often", "often"] + [f"k{i:04d}" for i in range(500)]
    levels = learn_levels(pl.DataFrame({"key": keys}), ["key"])["key"]
    assert len(levels) == MOST_LEVELS and "often" in levels and "k0098" in levels and "k0499" not in levels


def test_unseen_levels_infinities_and_nulls_are_missing() -> None:
    frame = pl.DataFrame({"plan": ["a", "new", None], "x": [float("inf"), None, 1e300], "flag": [True, False, None]})
    matrix = to_matrix(frame, ["plan", "x", "flag"], {"plan": ("a", "b")})
    np.testing.assert_array_equal(matrix, [[0, np.nan, 1], [np.nan, np.nan, 0], [np.nan, np.nan, np.nan]])


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a", "b"])])
def test_every_text_type_is_a_category(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"plan": pl.Series(["b", "a"], dtype=dtype)})
    assert to_matrix(frame, ["plan"], learn_levels(frame, ["plan"]))[:, 0].tolist() == [1, 0]


def test_a_column_without_any_value_passes() -> None:
    frame = pl.DataFrame({"x": [None, None], "s": pl.Series([None, None], dtype=pl.String)})
    assert np.isnan(to_matrix(frame, ["x", "s"], learn_levels(frame, ["x", "s"]))).all()
    assert np.isnan(to_matrix(frame, ["x", "s"], {"x": ("a",), "s": ("b",)})).all()


def test_an_absent_feature_is_named() -> None:
    with pytest.raises(LearningError, match=r"expected columns tenure, found age"):
        to_matrix(pl.DataFrame({"age": [1]}), ["age", "tenure"], {})


def test_a_feature_of_another_type_is_named_with_both() -> None:
    frame = pl.DataFrame({"age": ["old"], "plan": [3]})
    with pytest.raises(LearningError, match=r"expected age \(number\), plan \(category\); found age \(String\)"):
        to_matrix(frame, ["age", "plan"], {"plan": ("a",)})


def test_a_date_cannot_be_learned_from() -> None:
    with pytest.raises(LearningError, match=r"found since \(Date\)"):
        learn_levels(pl.DataFrame({"since": [date(2025, 1, 1)]}), ["since"])
