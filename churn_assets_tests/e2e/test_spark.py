"""A pipeline on a Spark cluster, beside the same pipeline in one process."""

from __future__ import annotations

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from churn_assets.months import STAGES, Month
from churn_assets_tests.conftest import MONTHS as OF_TWIN
from churn_assets_tests.engines.cluster import CLUSTER, needs_spark
from churn_assets_tests.installation import ASSETS, Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow, needs_spark]

MONTHS = OF_TWIN[:4]
"""The fourth is the first whose model has a month to calibrate on, and is trained on the cluster."""


@pytest.fixture(scope="module")
def on_cluster(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.create(tmp_path_factory.mktemp("cluster") / "home", churn=small_spec(engine=CLUSTER))
    results = made.run(MONTHS)
    assert all(r.success for r in results), [r.problems for r in results]
    return made


def rows(installation: Installation, table: str, month: str) -> pl.DataFrame:
    lake = installation.pipeline().lake
    record = lake.record(table, Month.parse(month))
    assert record is not None
    return lake.scan_record(record).collect()


def test_every_stage_is_made_and_what_comes_before_features_is_the_same(
    on_cluster: Installation, finished: Installation
) -> None:
    for month in MONTHS:
        made, twin = on_cluster.contents(month), finished.contents(month)
        assert set(STAGES) <= set(made)
        assert {made[t] == twin[t] for t in ("raw_data", "validated_data", "quarantined_data")} == {True}


def test_features_equal_those_of_one_process(on_cluster: Installation, finished: Installation) -> None:
    for month in MONTHS:
        found, expected = rows(on_cluster, "features", month), rows(finished, "features", month)
        assert len(expected) > 1000
        assert found.schema == expected.schema
        assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def test_the_cluster_grows_other_trees_that_rank_customers_as_well(
    on_cluster: Installation, finished: Installation
) -> None:
    def auc(installation: Installation) -> float:
        judged = rows(installation, "model", MONTHS[-1]).filter(pl.col("candidate") == "xgboost")
        return float(judged["auc"].item())

    assert auc(on_cluster) == pytest.approx(auc(finished), abs=0.05)
    assert auc(on_cluster) > 0.6
    assert auc(on_cluster) != auc(finished)


def test_its_champion_scores_every_customer_and_keeps_its_promise(on_cluster: Installation) -> None:
    scores = rows(on_cluster, "predictions", MONTHS[-1])
    assert len(scores) == len(rows(on_cluster, "features", MONTHS[-1]))
    assert scores["p_leave"].is_between(0, 1).all()
    assert rows(on_cluster, "retention_list", MONTHS[-1])["reason_1"].null_count() == 0
    with on_cluster.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "monitoring"]))
        assert event is not None
        assert event.asset_materialization is not None
        shown = event.asset_materialization.metadata
    assert float(str(shown["realised auc"].value)) > 0.55


def test_an_unchanged_month_is_not_computed_again_on_the_cluster(on_cluster: Installation) -> None:
    (result,) = on_cluster.run(MONTHS[-1:])
    assert result.success
    with on_cluster.instance() as instance:
        logged = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [e.dagster_event.step_materialization_data.materialization for e in logged if e.dagster_event]
    assert [m.metadata["outcome"].value for m in made] == ["skipped"] * len(ASSETS)
