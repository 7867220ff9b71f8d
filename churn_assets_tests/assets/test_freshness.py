from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from churn_assets.assets.freshness import check_key, due, freshness_sensor, judge
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.store.lake import Commit
from churn_assets_tests.declared import declared

JAN = Month(2024, 1)


def pipeline(data: Path, *received: int, end: str | None = None) -> Pipeline:
    spec = declared(months={"start": "2024-01", "lag_days": 2, **({"end": end} if end else {})})
    made = Pipeline(spec, Settings(data=data, defs=data))
    for later in received:
        made.lake.write("raw_data", JAN + later, pl.DataFrame({"a": [1]}), Commit(""))
    return made


def test_a_month_is_due_once_its_data_is_complete(tmp_path: Path) -> None:
    assert due(pipeline(tmp_path), Month(2024, 12)) == date(2025, 1, 3)


@pytest.mark.parametrize(
    ("received", "today", "passed", "told"),
    [
        ((), date(2024, 2, 2), True, "the newest is none"),
        ((), date(2024, 2, 3), False, "2024-01 is 0 days late (due 2024-02-03)."),
        ((0,), date(2024, 3, 2), True, "the newest is 2024-01"),
        ((0,), date(2024, 3, 10), False, "2024-02 is 7 days late (due 2024-03-03)."),
        ((0, 2), date(2024, 5, 4), False, "2024-02 is 62 days late (due 2024-03-03), and 1 more after it."),
        ((0, 1, 2), date(2024, 4, 30), True, "the newest is 2024-03"),
    ],
)
def test_the_first_late_month_is_named(
    tmp_path: Path, received: tuple[int, ...], today: date, passed: bool, told: str
) -> None:
    found = judge(pipeline(tmp_path, *received), today)
    assert found.passed is passed
    assert told in found.reason
    assert passed or "churn backfill --pipeline shop --from " in found.reason


def test_a_pipeline_that_has_ended_is_never_late(tmp_path: Path) -> None:
    assert judge(pipeline(tmp_path, 0, 1, end="2024-02"), date(2027, 1, 1)).passed


def test_the_sensor_makes_the_check_without_a_run_once_a_day_and_when_it_comes_out_otherwise(tmp_path: Path) -> None:
    given = pipeline(tmp_path, end="2024-02")
    with dg.DagsterInstance.ephemeral() as instance:

        def look(cursor: str | None) -> dg.SensorResult:
            with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
                result = freshness_sensor(given)(context)
            assert isinstance(result, dg.SensorResult)
            return result

        first = look(None)
        [evaluation] = first.asset_events
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        assert (evaluation.asset_check_key, evaluation.passed) == (check_key(given), False)
        assert evaluation.severity == dg.AssetCheckSeverity.WARN
        assert "churn backfill --pipeline shop --from 2024-01 --to 2024-02" in str(evaluation.description)
        assert not look(first.cursor).asset_events, "nothing has changed"
        assert look(str(first.cursor).replace(f"{datetime.now(UTC):%Y-%m-%d}", "2024-06-01")).asset_events, (
            "another day"
        )
        for later in (0, 1):
            given.lake.write("raw_data", JAN + later, pl.DataFrame({"a": [1]}), Commit(""))
        [evaluation] = look(first.cursor).asset_events
        assert isinstance(evaluation, dg.AssetCheckEvaluation)
        assert evaluation.passed
