import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import LearningError
from churn_assets.learning.reference import full_reference, reference_of, score_reference, shares
from churn_assets_tests.learning.panels import FEATURES, panel


def test_a_frame_agrees_with_its_own_reference_even_after_json() -> None:
    rows = panel()
    reference = json.loads(json.dumps(reference_of(rows, FEATURES)))
    found = shares(rows, reference)
    assert list(found) == FEATURES
    for expected, actual in found.values():
        assert expected == actual and sum(actual) == pytest.approx(1)


def test_deciles_hold_a_tenth_each() -> None:
    frame = pl.DataFrame({"x": np.arange(1000) / 7})
    expected, _ = shares(frame, reference_of(frame, ["x"]))["x"]
    assert expected == pytest.approx([0.1] * 10 + [0.0])


def test_beside_a_frequent_value_the_others_have_their_own_deciles() -> None:
    frame = pl.DataFrame({"x": [0.0] * 900 + [float(i) for i in range(1, 101)]})
    expected, actual = shares(frame * 1000, reference_of(frame, ["x"]))["x"]
    assert expected == pytest.approx([0, 0.9, *[0.01] * 10, 0])
    assert actual == pytest.approx([0, 0.9, *[0] * 9, 0.1, 0])


def test_a_shift_moves_the_shares() -> None:
    frame = pl.DataFrame({"x": np.arange(1000.0)})
    _, actual = shares(frame + 500, reference_of(frame, ["x"]))["x"]
    assert actual[-2] == pytest.approx(0.6) and actual[0] == 0


def test_unseen_levels_are_others_and_nulls_missing() -> None:
    reference = reference_of(pl.DataFrame({"plan": ["a", "a", "b", None]}), ["plan"])
    expected, actual = shares(pl.DataFrame({"plan": ["a", "new", "newer", None]}), reference)["plan"]
    assert expected == [0.5, 0.25, 0, 0.25]
    assert actual == [0.25, 0, 0.5, 0.25]


def test_booleans_are_levels() -> None:
    reference = reference_of(pl.DataFrame({"flag": [True, True, True]}), ["flag"])
    assert shares(pl.DataFrame({"flag": [True, False, None]}), reference)["flag"][1] == pytest.approx(
        [1 / 3, 1 / 3, 0, 1 / 3]
    )


@pytest.mark.parametrize("other", [-1, 1])
def test_a_constant_that_changes_is_seen(other: int) -> None:
    reference = reference_of(pl.DataFrame({"x": [0] * 50}), ["x"])
    expected, actual = shares(pl.DataFrame({"x": [other] * 50}), reference)["x"]
    assert max(expected) == max(actual) == 1 and expected != actual


def test_a_column_without_values_is_all_missing() -> None:
    frame = pl.DataFrame({"x": pl.Series([None, None], dtype=pl.Float64)})
    assert shares(frame, reference_of(frame, ["x"]))["x"] == ([0, 1], [0, 1])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.integers(-3, 3) | st.floats(allow_nan=True), min_size=1, max_size=60),
    st.lists(st.none() | st.floats(allow_nan=True), min_size=1, max_size=60),
)
def test_shares_are_aligned_and_add_up(before: list[float | None], after: list[float | None]) -> None:
    reference = reference_of(pl.DataFrame({"x": pl.Series(before, dtype=pl.Float64, strict=False)}), ["x"])
    expected, actual = shares(pl.DataFrame({"x": pl.Series(after, dtype=pl.Float64)}), reference)["x"]
    assert len(expected) == len(actual)
    assert sum(expected) == pytest.approx(1) and sum(actual) == pytest.approx(1)


def test_a_changed_type_is_named() -> None:
    reference = reference_of(pl.DataFrame({"x": [1, 2]}), ["x"])
    with pytest.raises(LearningError, match=r"found x \(String\)"):
        shares(pl.DataFrame({"x": ["a"]}), reference)
    with pytest.raises(LearningError, match="expected columns x"):
        shares(pl.DataFrame({"y": ["a"]}), reference)


def test_a_full_reference_has_what_tests_need_and_survives_json() -> None:
    rows = panel()
    made = json.loads(json.dumps(full_reference(rows, FEATURES, 400)))
    plain = reference_of(rows, FEATURES)
    for name, part in made.items():
        assert {key: part[key] for key in plain[name]} == plain[name]
        assert part["sample"] == 400
    assert sum(made["usage"]["fine_counts"]) == rows["usage"].count()
    assert len(made["usage"]["fine_counts"]) == len(made["usage"]["fine_edges"]) + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4) | st.floats(-9, 9), min_size=1, max_size=300))
def test_between_two_points_of_the_fine_function_lies_a_hundredth_or_one_value(values: list[float]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64, strict=False)})
    part = full_reference(frame, ["x"], None)["x"]
    edges, counts = part["fine_edges"], part["fine_counts"]
    known = frame["x"].sort().to_numpy()
    for low, high, count in zip([-np.inf, *edges], [*edges, np.inf], counts, strict=True):
        within = known[(known > low) & (known <= high)]
        assert len(within) == count
        assert len(set(within)) <= 1 or count <= np.ceil(len(values) / 100)


def test_the_scores_of_a_champion_have_a_reference_too() -> None:
    part = score_reference(np.array([0.1, 0.2, 0.3, 0.4]))
    assert part["kind"] == "number"
    assert part["sample"] == 4
    assert sum(part["fine_counts"]) == 4
