from typing import Any

import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets.store.datasets import PARTS, DatasetVersion, dataset_version

ROWS = [("2024-01", "fit", 90, 9, 1, "f1", "l1"), ("2024-02", "validate", 80, 8, 0, "f2", "l2")]
RECIPE = {"label": {"kind": "flag", "horizon": 1}, "features": ["a", "b"]}


def made(rows: list[tuple[Any, ...]] = ROWS, split: Any = "out_of_time", recipe: Any = RECIPE) -> DatasetVersion:
    return dataset_version(Month(2024, 3), split, "why", pl.DataFrame(rows, PARTS, orient="row"), recipe)


def test_equal_content_gives_the_equal_version_in_any_order() -> None:
    assert made().id == made(ROWS[::-1]).id == made(recipe=dict(reversed(RECIPE.items()))).id
    assert made(ROWS[::-1]).parts.equals(made().parts)
    assert len(made().id) == 16


@pytest.mark.parametrize("column", range(7))
def test_each_figure_of_each_part_makes_another_version(column: int) -> None:
    changed = list(ROWS[1])
    changed[column] = changed[column] + 1 if isinstance(changed[column], int) else f"{changed[column]}x"
    assert made([ROWS[0], tuple(changed)]).id != made().id


def test_the_split_the_recipe_and_the_number_of_parts_make_another_version() -> None:
    others = [made(split="holdout"), made(recipe={**RECIPE, "features": ["b", "a"]}), made(ROWS[:1]), made([])]
    assert len({made().id, *(m.id for m in others)}) == 5


def test_rows_and_churners_are_counted_over_all_parts() -> None:
    assert (made().rows, made().positives) == (170, 17)
    assert (made([]).rows, made([]).positives) == (0, 0)
