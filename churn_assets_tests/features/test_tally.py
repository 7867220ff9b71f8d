from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.features.tally import Tally

ROWS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 1)), max_size=12)


@given(ROWS, st.lists(st.integers(0, 12), max_size=4))
def test_what_passes_is_counted_however_it_is_divided(given: list[tuple[int, int | None]], cuts: list[int]) -> None:
    rows = pl.DataFrame(sorted(given, key=lambda r: r[0]), {"id": pl.Int64, "x": pl.Int64}, orient="row")
    edges = [0, *sorted(cuts), len(rows)]
    pieces = [rows[a:b] for a, b in pairwise(edges)]
    tally = Tally("id")
    assert pl.concat(tally.passing(pieces)).equals(rows)
    assert (tally.rows, tally.customers) == (len(rows), rows["id"].n_unique())
    assert tally.columns == ("id", "x")
    assert dict(tally.missing) == {"id": 0, "x": rows["x"].null_count()}


def test_rows_out_of_order_never_pass_for_one_each() -> None:
    tally = Tally("id")
    list(tally.passing([pl.DataFrame({"id": ["b", "a"]}), pl.DataFrame({"id": ["a", "b"]})]))
    assert (tally.rows, tally.customers) == (4, 2)
