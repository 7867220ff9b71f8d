from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.learning.shapley import WALKS, Sampling

COLUMNS = 5


def _matrix(rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, COLUMNS)).astype(np.float32)
    matrix[:, 1] = random.integers(0, 3, rows)
    matrix[random.random((rows, COLUMNS)) < 0.1] = np.nan
    return matrix


def _crooked(matrix: np.ndarray) -> np.ndarray:
    """Log-odds with a product, a threshold and a step; the last feature has no part in them."""
    x = np.nan_to_num(matrix.astype(np.float64), nan=-1.0)
    return x[:, 0] * x[:, 2] + np.where(x[:, 1] > 0, 2.0, 0.0) - 0.5 * np.maximum(x[:, 3], x[:, 0])


def _exact(row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley values by their definition: every feature joins every set of the others."""
    value = {}
    for size in range(COLUMNS + 1):
        for chosen in combinations(range(COLUMNS), size):
            mixed = background.copy()
            mixed[:, list(chosen)] = row[list(chosen)]
            value[chosen] = _crooked(mixed).mean()
    result = np.zeros(COLUMNS)
    for feature in range(COLUMNS):
        for chosen in (c for c in value if feature not in c):
            weight = factorial(len(chosen)) * factorial(COLUMNS - 1 - len(chosen)) / factorial(COLUMNS)
            result[feature] += weight * (value[tuple(sorted((*chosen, feature)))] - value[chosen])
    return result


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_contributions_and_bias_add_up_however_few_the_walks(rows: int, seed: int) -> None:
    sampling, matrix = Sampling.of(_matrix(rows, seed), seed), _matrix(7, seed + 1)
    parts = sampling.contributions(_crooked, matrix)
    np.testing.assert_allclose(parts.sum(axis=1) + sampling.bias(_crooked), _crooked(matrix), atol=1e-9)
    assert not parts[:, 4].any()


def test_on_average_they_are_the_values_of_the_definition() -> None:
    row, drawn = _matrix(1, 5), []
    background = _matrix(WALKS, 1)
    for seed in range(200):  # the same background each time, walked in other orders
        drawn.append(Sampling.of(background, seed).contributions(_crooked, row)[0])
    error = np.std(drawn, axis=0) / np.sqrt(len(drawn))
    assert (np.abs(np.mean(drawn, axis=0) - _exact(row[0], background)) <= 4 * error + 1e-9).all()


def test_where_features_add_up_the_values_are_exact() -> None:
    weights = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    sampling, matrix = Sampling.of(np.nan_to_num(_matrix(50, 2)), 0), np.nan_to_num(_matrix(6, 3))
    parts = sampling.contributions(lambda x: x.astype(np.float64) @ weights, matrix)
    np.testing.assert_allclose(parts, (matrix - sampling.background.mean(axis=0)) * weights, atol=1e-5)


def test_a_row_is_explained_alike_whoever_stands_beside_it() -> None:
    sampling, matrix = Sampling.of(_matrix(50, 2), 0), _matrix(9, 3)
    together = sampling.contributions(_crooked, matrix)
    alone = np.vstack([sampling.contributions(_crooked, row[None]) for row in matrix])
    np.testing.assert_array_equal(together, alone)
    assert np.array_equal(together, Sampling.of(_matrix(50, 2), 0).contributions(_crooked, matrix))


def test_importance_is_that_of_what_the_model_uses() -> None:
    importance = Sampling.of(_matrix(400, 2), 0).importance(_crooked)
    assert importance[4] == 0 and (importance[:4] > 0.1).all()
    doubled = Sampling.of(_matrix(400, 2), 0).importance(lambda x: 2 * _crooked(x))
    assert doubled == pytest.approx(2 * importance)
