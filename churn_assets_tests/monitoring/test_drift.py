import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.monitoring import MOVED, STABLE, drift, psi

weights = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8)


def shares(counts: list[int]) -> list[float]:
    return [c / max(sum(counts), 1) for c in counts]


@settings(max_examples=200, deadline=None)
@given(weights)
def test_the_index_is_zero_for_equal_shares_and_never_negative(counts: list[tuple[int, int]]) -> None:
    one, other = shares([a for a, _ in counts]), shares([b for _, b in counts])
    assert psi(one, one) == 0
    assert psi(one, other) >= 0
    assert math.isclose(psi(one, other), psi(other, one), abs_tol=1e-12)


def test_known_values() -> None:
    assert psi([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))
    assert psi([0.5, 0.5], [0.6, 0.4]) < STABLE < MOVED < psi([0.5, 0.5], [0.9, 0.1])


def test_an_empty_bin_counts_as_the_floor() -> None:
    assert psi([1.0, 0.0], [0.9, 0.1]) == pytest.approx(-0.1 * math.log(0.9) + (0.1 - 1e-4) * math.log(0.1 / 1e-4))
    assert psi([1, 0], [1, 0]) == 0
    assert math.isfinite(psi([1, 0], [0, 1]))


def test_shares_over_different_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        psi([0.5, 0.5], [1.0])


def test_features_stand_by_how_far_they_moved() -> None:
    found = drift({"b": ([1.0], [1.0]), "moved": ([0.5, 0.5], [0.9, 0.1]), "a": ([1.0], [1.0])})
    assert list(found) == ["moved", "a", "b"]
    assert found["a"] == 0
    assert found["moved"] > MOVED
    assert drift({}) == {}
