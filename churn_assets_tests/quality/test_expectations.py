from __future__ import annotations

import json
from math import log
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.quality.expectations import categories, churn_rate, nulls, profile, row_change, volume
from churn_assets.spec import LabelSpec, SchemaSpec

FLAG = {"name": "left", "type": "boolean", "role": "churned", "nullable": True}
SCHEMA = SchemaSpec.model_validate({"key": "id", "columns": [FLAG], "min_rows": 10, "max_row_change": 0.3})
LABEL = LabelSpec(min_rate=0.1, max_rate=0.5)
FULL = SchemaSpec.model_validate({
    "key": "id",
    "columns": [
        FLAG, {"name": "plan", "type": "category", "nullable": True}, {"name": "age", "type": "integer"},
        {"name": "city", "type": "string"}, {"name": "mail", "type": "string"},
    ],
})  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "before", "passed"),
    [
        (130, 100, True),
        (131, 100, False),
        (70, 100, True),
        (69, 100, False),
        (10, 0, True),
        (9, 0, False),
        (9, 9, False),
    ],
)
def test_a_month_has_enough_rows_and_about_as_many_as_before(rows: int, before: int, passed: bool) -> None:
    assert row_change(rows, before, SCHEMA).passed == passed


def test_a_change_that_is_too_large_says_what_to_do() -> None:
    reason = row_change(50, 100, SCHEMA).reason
    assert "50 rows after 100 the month before (-50.0%); the limit is 30%" in reason
    assert "raise schema.max_row_change" in reason
    assert "raise" not in row_change(100, 100, SCHEMA).reason
    assert "at least 10 rows, found 9" in row_change(9, 0, SCHEMA).reason


@pytest.mark.parametrize(("left", "passed"), [(0, False), (1, True), (5, True), (6, False)])
def test_the_churn_rate_is_plausible_on_its_limits(left: int, passed: bool) -> None:
    valid = pl.DataFrame({"left": [True] * left + [False] * (10 - left)})
    found = churn_rate(valid, SCHEMA, LABEL)
    assert found.passed == passed
    assert f"{left}0.00% left" in found.reason or left == 0
    assert ("mend label.min_rate" in found.reason) == (not passed)


def test_without_a_flag_or_without_rows_there_is_no_rate() -> None:
    plain = SchemaSpec.model_validate({"key": "id", "columns": [{"name": "x", "type": "number"}]})
    assert churn_rate(pl.DataFrame({"x": [1.0]}), plain, LABEL).passed
    assert churn_rate(pl.DataFrame(schema={"left": pl.Boolean}), SCHEMA, LABEL).passed


def test_a_profile_is_a_month_in_figures() -> None:
    rows = 200
    valid = pl.DataFrame({
        "id": [str(i) for i in range(rows)], "left": [True, False] * 100, "plan": ["a", None] * 100,
        "age": range(rows), "city": ["x", "y"] * 100, "mail": [f"{i}@x" for i in range(rows)],
    })  # fmt: skip
    found = profile(valid, FULL)
    assert json.loads(json.dumps(found)) == found
    assert found["rows"] == rows
    assert found["columns"]["left"]["categories"] == {"false": 100, "true": 100}
    assert found["columns"]["plan"] == {"missing": 100, "categories": {"a": 100}, "distinct": 1}
    assert found["columns"]["age"]["quantiles"]["1"] == 199.0
    assert found["columns"]["city"]["distinct"] == 2
    assert found["columns"]["mail"] == {"missing": 0}
    assert "id" not in found["columns"]
    assert profile(valid.clear(), FULL)["rows"] == 0


def trailing(rows: list[int]) -> dict[str, dict[str, Any]]:
    return {f"2024-{i + 1:02d}": {"rows": n, "columns": {}} for i, n in enumerate(rows)}


def test_the_number_of_rows_goes_on_as_usual() -> None:
    growing = trailing([10_000, 10_100, 10_210, 10_300, 10_420, 10_530])
    assert volume(10_640, growing).passed
    found = volume(9_000, growing)
    assert not found.passed
    assert "9,000 rows; 10," in found.reason
    assert found.figures["low"] < 10_640 < found.figures["high"]
    assert found.table is not None and found.table["rows"].to_list()[-1] == 9_000
    assert found.table["month"].to_list()[:2] == ["2024-01", "2024-02"]


def test_one_odd_month_does_not_widen_what_is_usual() -> None:
    odd = trailing([10_000, 10_100, 5_000, 10_000, 10_100, 10_050, 10_000, 10_080])
    assert not volume(6_000, odd).passed
    assert volume(10_100, odd).passed
    assert volume(20_000, trailing([10_000, 10_100, 10_050, 10_120, 10_080, 20_000])).passed


def test_small_numbers_vary_by_chance() -> None:
    assert volume(25, trailing([30] * 6)).passed
    assert not volume(9_000, trailing([10_000] * 6)).passed
    width = log(volume(100, trailing([100] * 6)).figures["high"] / 100)
    assert width == pytest.approx(0.4)


@pytest.mark.parametrize("rows", [[], [100], [100] * 4])
def test_too_few_months_tell_nothing_of_the_rows(rows: list[int]) -> None:
    found = volume(5, trailing(rows))
    assert found.passed
    assert "not enough months" in found.reason
    gap = {"2024-01": {"rows": 9}, "2024-03": {"rows": 9}, "2024-05": {"rows": 9}, "2024-07": {"rows": 9},
           "2024-09": {"rows": 9}}  # fmt: skip
    assert "not enough months" in volume(5, gap).reason


def missing(rows: int, *cells: int) -> list[dict[str, Any]]:
    return [{"rows": rows, "columns": {"x": {"missing": n}}} for n in cells]


def months(profiles: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {f"2024-{i + 1:02d}": p for i, p in enumerate(profiles)}


@pytest.mark.parametrize(
    ("before", "now", "rows", "passed"),
    [
        ([100] * 5, 290, 10_000, True),
        ([100] * 5, 310, 10_000, False),
        ([0] * 5, 1, 10, True),
        ([0] * 5, 10, 10, False),
        ([1000, 3000, 1500, 2600, 2000], 3900, 10_000, True),
        ([100, 100, 9000, 100, 100], 400, 10_000, False),
        ([5000] * 5, 0, 10_000, True),
    ],
)
def test_a_column_may_not_be_missing_much_more_often(before: list[int], now: int, rows: int, passed: bool) -> None:
    found = nulls(missing(rows, now)[0], months(missing(10_000, *before)))
    assert found.passed == passed
    if not passed:
        assert "Missing more often than usual: x (" in found.reason
        assert found.table is not None and found.table["column"].to_list() == ["x"]


def spread(**counts: int) -> dict[str, Any]:
    column = {"missing": 0, "categories": counts, "distinct": len(counts)}
    return {"rows": sum(counts.values()), "columns": {"plan": column}}


USUAL = months([spread(a=500, b=300, c=200)] * 5)


@pytest.mark.parametrize(
    ("now", "passed", "told"),
    [
        (spread(a=500, b=300, c=200), True, ""),
        (spread(a=5, b=1, c=1), True, ""),
        (spread(a=200, b=300, c=500), False, "plan (30.0% of rows moved"),
        (spread(a=480, b=290, c=200, d=30), False, "new d"),
        (spread(a=500, b=300, c=199, d=1), True, ""),
        (spread(a=700, b=400), False, "gone c"),
    ],
)
def test_categories_are_spread_as_usual(now: dict[str, Any], passed: bool, told: str) -> None:
    found = categories(now, USUAL)
    assert found.passed == passed
    assert told in found.reason
    assert found.table is not None and len(found.table) == (not passed)


def test_chance_does_not_warn_of_categories() -> None:
    random = np.random.default_rng(0)
    drawn = [
        spread(**dict(zip("abcdefghij", map(int, random.multinomial(n, [0.1] * 10)), strict=True)))
        for n in [200] * 300 + [2000] * 5
    ]
    before = months(drawn[-5:])
    assert sum(not categories(d, before).passed for d in drawn[:300]) <= 3


def test_categories_beyond_the_profiles_limit_are_neither_new_nor_gone() -> None:
    many = {f"v{i}": 100 for i in range(50)}
    before = spread(**many)
    before["columns"]["plan"]["distinct"] = 80
    now = spread(**{**{f"v{i}": 100 for i in range(1, 50)}, "w": 100})
    assert categories(now, months([before])).passed


@pytest.mark.parametrize("compare", [nulls, categories])
def test_without_months_before_there_is_nothing_to_compare(compare: Any) -> None:
    assert "no months before" in compare(spread(a=1), {}).reason
    assert compare(spread(a=1), {}).passed
    assert compare(spread(a=1), months([{"rows": 0, "columns": {}}])).passed
    assert compare(spread(a=1), months([{"rows": 5, "columns": {}}])).passed
