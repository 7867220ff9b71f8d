import polars as pl
import pytest

from churn_assets.quality.volume import churn_rate_verdict, volume_verdict
from churn_assets.spec import LabelSpec, SchemaSpec

FLAG = {"name": "left", "type": "boolean", "role": "churned", "nullable": True}
SCHEMA = SchemaSpec.model_validate({"key": "id", "columns": [FLAG], "min_rows": 10, "max_row_change": 0.3})
LABEL = LabelSpec(min_rate=0.1, max_rate=0.5)


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
    assert volume_verdict(rows, before, SCHEMA).passed == passed


def test_a_change_that_is_too_large_says_what_to_do() -> None:
    reason = volume_verdict(50, 100, SCHEMA).reason
    assert "50 rows after 100 the month before (-50.0%); the limit is 30%" in reason
    assert "raise schema.max_row_change" in reason
    assert "raise" not in volume_verdict(100, 100, SCHEMA).reason
    assert "at least 10 rows, found 9" in volume_verdict(9, 0, SCHEMA).reason


@pytest.mark.parametrize(("left", "passed"), [(0, False), (1, True), (5, True), (6, False)])
def test_the_churn_rate_is_plausible_on_its_limits(left: int, passed: bool) -> None:
    valid = pl.DataFrame({"left": [True] * left + [False] * (10 - left)})
    verdict = churn_rate_verdict(valid, SCHEMA, LABEL)
    assert verdict.passed == passed
    assert f"{left}0.00% left" in verdict.reason or left == 0
    assert ("mend label.min_rate" in verdict.reason) == (not passed)


def test_without_a_flag_or_without_rows_there_is_no_rate() -> None:
    plain = SchemaSpec.model_validate({"key": "id", "columns": [{"name": "x", "type": "number"}]})
    assert churn_rate_verdict(pl.DataFrame({"x": [1.0]}), plain, LABEL).passed
    assert churn_rate_verdict(pl.DataFrame(schema={"left": pl.Boolean}), SCHEMA, LABEL).passed
