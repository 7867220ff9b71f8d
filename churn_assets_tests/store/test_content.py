import decimal
import subprocess
import sys
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from churn_assets.store.content import ContentHash, content_hash, json_hash

TYPES = [pl.Int64, pl.Int8, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime("us"), pl.Decimal(20, 3)]
frames = dataframes(max_cols=4, max_size=12, allowed_dtypes=TYPES, allow_null=True)
SAMPLE = pl.DataFrame(
    {
        "text": ["a", None, "", "ä"],
        "whole": [1, None, 0, -3],
        "real": [0.5, None, -0.0, float("inf")],
        "flag": [True, None, False, True],
        "day": [date(2024, 1, 31), None, date(1970, 1, 1), date(1, 1, 1)],
    }
)


@settings(max_examples=100, deadline=None)
@given(frames, st.randoms())
def test_the_order_of_columns_is_of_no_account(frame: pl.DataFrame, random: object) -> None:
    names = list(frame.columns)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert content_hash(frame.select(names)) == content_hash(frame)


@settings(max_examples=100, deadline=None)
@given(frames, st.integers(0, 12))
def test_chunks_and_slices_are_of_no_account(frame: pl.DataFrame, cut: int) -> None:
    expected = content_hash(frame)
    pieces = pl.concat([frame.head(cut), frame.slice(cut)], rechunk=False)
    padded = pl.concat([frame.tail(3), frame, frame.head(2)], rechunk=True)
    assert content_hash(pieces) == expected
    assert content_hash(padded.slice(min(3, len(frame)), len(frame))) == expected
    piecewise = ContentHash()
    for piece in (frame.head(cut), frame.slice(cut, 1), frame.slice(cut + 1)):
        piecewise.update(piece)
    assert piecewise.hexdigest() == expected


@settings(max_examples=100, deadline=None)
@given(frames, frames)
def test_frames_are_equal_exactly_if_their_hashes_are(one: pl.DataFrame, other: pl.DataFrame) -> None:
    same = one.schema == other.schema and one.equals(other)
    if same or one.width == 0:
        return
    assert content_hash(one) != content_hash(other)


@settings(max_examples=60, deadline=None)
@given(frames.filter(lambda f: len(f) > 1))
def test_the_order_of_rows_counts(frame: pl.DataFrame) -> None:
    if not frame.reverse().equals(frame):
        assert content_hash(frame.reverse()) != content_hash(frame)


DIFFERENT = [
    ([1, None], [1, 0]),
    (["a", None], ["a", ""]),
    ([1.0, None], [1.0, 0.0]),
    ([True, None], [True, False]),
    (["ab", "c"], ["a", "bc"]),
    (["", "a"], ["a", ""]),
    ([b"x", None], [b"x", b""]),
    ([[1], [2]], [[1, 2], []]),
    ([1], [1.0]),
    (["1"], [1]),
    ([0], [False]),
    ([date(2024, 1, 1)], [datetime(2024, 1, 1)]),
    ([decimal.Decimal("1.5")], [decimal.Decimal("1.6")]),
    (["1.5"], [decimal.Decimal("1.5")]),
    ([None, None], [None]),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_differs_has_another_hash(one: list[object], other: list[object]) -> None:
    assert content_hash(pl.DataFrame({"a": one})) != content_hash(pl.DataFrame({"a": other}))


def test_names_count_and_do_not_run_into_one_another() -> None:
    assert content_hash(pl.DataFrame({"a": [1]})) != content_hash(pl.DataFrame({"b": [1]}))
    assert content_hash(pl.DataFrame({"a": [1], "b": [2]})) != content_hash(pl.DataFrame({"a": [2], "b": [1]}))
    assert content_hash(pl.DataFrame({"a": []}, {"a": pl.Int64})) != content_hash(pl.DataFrame())


def test_what_stands_beneath_a_null_is_of_no_account() -> None:
    hidden = pl.select(a=pl.when(pl.Series([True, False, True])).then(pl.Series([7, 8, 9])))
    assert content_hash(hidden) == content_hash(pl.DataFrame({"a": [7, None, 9]}))
    divided = pl.DataFrame({"a": [1, 2]}).select(a=pl.when(pl.col("a") == 1).then(pl.col("a") / 0.0))
    assert content_hash(divided) == content_hash(pl.DataFrame({"a": [float("inf"), None]}))


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["x", "y"])])
def test_a_category_is_hashed_by_its_text(dtype: pl.DataType) -> None:
    straight = pl.DataFrame({"a": pl.Series(["y", "x", None], dtype=dtype)})
    other = pl.Series(["x", "y", None, "y"], dtype=dtype)
    assert content_hash(straight) == content_hash(other.gather([1, 0, 2]).alias("a").to_frame())


@pytest.mark.parametrize(
    "values",
    [[None], [time(1)], [timedelta(1)], [decimal.Decimal(1)], [{"x": 1}], [[1]], pl.Series([1], dtype=pl.Int128)],
)
def test_every_type_has_a_hash(values: object) -> None:
    assert len(content_hash(pl.DataFrame({"a": values}))) == 32


PINNED = "c2e1ecad18e546d5049ec91f4bd8276c"
NOTHING = "cae66941d9efbd404e4d88758ea67670"


def test_a_hash_is_the_same_in_every_process_and_release() -> None:
    # Equal content keeps its dataset version for years only if these never change.
    assert content_hash(SAMPLE) == PINNED
    assert content_hash(pl.DataFrame()) == NOTHING
    assert content_hash(pl.DataFrame({"a": pl.Series(["y", "x", None], dtype=pl.Categorical)})) == (
        "64f3eb1081895fae52052ec63c4e270c"
    )
    assert json_hash({"b": [1, "x"], "a": None}) == "8a784e67fe9f750f6443ed13095f89b5"
    code = (
        "from churn_assets_tests.store.test_content import SAMPLE, content_hash;"
        "import polars as pl; pl.Series(['q', 'a'], dtype=pl.Categorical); print(content_hash(SAMPLE))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == PINNED


def test_the_order_of_keys_is_of_no_account() -> None:
    assert json_hash({"a": 1, "b": {"c": 2, "d": 3}}) == json_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert json_hash([1, 2]) != json_hash([2, 1])
    assert json_hash({"a": 1}) != json_hash({"a": "1"})
