import numpy as np
import polars as pl
import pytest

from churn_assets.learning.reference import full_reference
from churn_assets.monitoring.broken import broken

RANDOM = np.random.default_rng(5)
ROWS = 2000


def _base() -> pl.DataFrame:
    """Usage; a change that is mostly zero; a count; a plan; a number that many lack."""
    change = np.where(RANDOM.random(ROWS) < 0.95, 0.0, RANDOM.normal(2, 1, ROWS))
    partly = pl.Series([None if x < 0.3 else 100 * x for x in RANDOM.random(ROWS)])
    return pl.DataFrame(
        {
            "usage": RANDOM.gamma(2, 50, ROWS),
            "change": change,
            "calls": RANDOM.poisson(0.5, ROWS),
            "plan": RANDOM.choice(["a", "b"], ROWS),
            "partly": partly,
        }
    )


BEFORE = _base()
REFERENCE = full_reference(BEFORE, BEFORE.columns)


def found(rows: pl.DataFrame, max_scale: float = 10) -> list[str]:
    return broken(rows, REFERENCE, BEFORE.columns, max_scale)


def test_the_same_base_drawn_again_is_whole() -> None:
    assert found(_base()) == []


@pytest.mark.parametrize(
    ("column", "factor", "words"),
    [
        ("usage", 1024, "usage is about 1,000 times what it was"),
        ("usage", 1 / 1024, "usage is about 1/1,000 of what it was"),
        ("change", 100, "change is about 100 times what it was"),
        ("calls", 60, "calls is about 60 times what it was"),
        ("partly", 1000, "partly is about 1,000 times what it was"),
    ],
)
def test_a_changed_unit_is_told_with_its_factor(column: str, factor: float, words: str) -> None:
    assert found(BEFORE.with_columns(pl.col(column) * factor)) == [words]


@pytest.mark.parametrize("factor", [0.5, 1.1, 3.0])
def test_what_customers_may_do_is_not_broken(factor: float) -> None:
    assert found(BEFORE.with_columns(pl.col("usage", "calls", "partly") * factor)) == []


def test_a_price_rise_for_everybody_is_not_broken() -> None:
    # Where one in twenty had a change, all have one now: of the size that a change has.
    assert found(BEFORE.with_columns(pl.lit(4.0).alias("change"))) == []


@pytest.mark.parametrize("gone", [BEFORE.drop("usage"), BEFORE.with_columns(pl.lit(None, pl.Float64).alias("usage"))])
def test_a_column_without_values_is_broken(gone: pl.DataFrame) -> None:
    assert found(gone) == ["usage is missing for 100% of the customers, and was for 0%"]


def test_a_category_that_speaks_another_language_is_broken() -> None:
    coded = BEFORE.with_columns(pl.col("plan").replace({"a": "1", "b": "2"}))
    assert found(coded) == ["plan has values for 100% of the customers that nobody had"]
    some = BEFORE.with_columns(
        pl.when(pl.int_range(ROWS) < ROWS // 4).then(pl.lit("c")).otherwise("plan").alias("plan")
    )
    assert found(some) == []


def test_too_few_rows_tell_nothing() -> None:
    assert found(BEFORE.head(20).with_columns(pl.col("usage") * 1024)) == []
