"""The features of a finished pipeline, asked for as of moments."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


def of_month(finished: Installation, month: str) -> pl.DataFrame:
    lake = finished.pipeline().lake
    record = lake.record("features", Month.parse(month))
    assert record is not None
    return lake.scan_record(record).collect()


@pytest.mark.parametrize("month", MONTHS)
def test_everybody_has_a_months_features_once_its_data_is_complete(finished: Installation, month: str) -> None:
    pipeline = finished.pipeline()
    rows, available = of_month(finished, month), pipeline.calendar.available_from(Month.parse(month))
    assert rows["available_at"].unique().to_list() == [available]
    names = pipeline.spec.feature_names
    found = pipeline.offline.get_training_frame(rows.select("customer_id", timestamp="available_at"))
    assert found.select(names).equals(rows.select(names))
    assert found["event_month"].unique().to_list() == [Month.parse(month).first_day]
    before = rows.select("customer_id", timestamp=pl.col("available_at") - timedelta(microseconds=1))
    earlier = pipeline.offline.get_training_frame(before)["event_month"].drop_nulls()
    assert (earlier < Month.parse(month).first_day).all()


def test_the_moment_is_no_feature_of_the_model_and_isnt_served(finished: Installation) -> None:
    pipeline = finished.pipeline()
    champion = pipeline.champion("predictions", Month.parse(MONTHS[-1]))
    assert champion is not None
    assert set(pipeline.models.facts(champion)["reference"]) <= set(pipeline.spec.feature_names)
    served = pipeline.online.lookup(of_month(finished, MONTHS[-1])["customer_id"][0])
    assert served is not None
    assert "available_at" not in served
