"""A competitor strikes, and the loop closes by itself: a daemon runs the months, orders the training and makes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets.orders import order_on
from churn_assets.pipeline import TRAINING_ORDERS, Pipeline
from churn_assets.retraining import decided
from churn_assets.sources.simulated import SimulatedSource
from churn_assets.spec.scenario import CompetitorShock
from churn_assets_tests.daemons import daemon, wait_for
from churn_assets_tests.installation import FIRST, Installation, small_spec

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BEFORE, STRUCK, AFTER = ["2024-01", "2024-02", "2024-03"], ["2024-04", "2024-05"], ["2024-06", "2024-07", "2024-08"]
SHOCK = CompetitorShock(month=Month.parse("2024-04"), months=12, strength=3)
LOOKING = {"source": "running", "up_to_date": "running", "retraining": "running", "check_seconds": 10,
           "watch_months": 12}  # fmt: skip


@pytest.fixture
def struck(tmp_path: Path) -> Installation:
    """Three months before the shock, with one file a month; the others are yet to be delivered."""
    spec = small_spec(
        source={"type": "file", "path": "incoming/{month}.csv"},
        months={"end": AFTER[-1]},
        candidates=[{"name": "baseline", "kind": "logistic"}],
        training={"every": 24},
        label={"max_rate": 1.0},
        automation=LOOKING,
    )
    made = Installation.create(tmp_path / "home", churn=spec)
    deliver(made, BEFORE)
    made.run_all(BEFORE)
    return made


def deliver(installation: Installation, months: list[str]) -> None:
    source = SimulatedSource(FIRST, 1500, 3, (SHOCK,))
    for month in months:
        rows = source.read(Month.parse(month)).batches.read_all()
        installation.deliver(month, pl.DataFrame(pl.from_arrow(rows)))


def is_watched(pipeline: Pipeline, month: str) -> bool:
    return pipeline.lake.record("monitoring", Month.parse(month)) is not None


def figures(pipeline: Pipeline, month: str) -> dict[tuple[str, str], dict[str, Any]]:
    record = pipeline.lake.record("monitoring", Month.parse(month))
    assert record is not None
    rows = pipeline.lake.scan_record(record).collect().to_dicts()
    return {(row["role"], row["metric"].removeprefix("realised_")): row for row in rows}


def test_after_a_shock_a_daemon_alone_trains_a_model_once_and_it_does_better_than_the_old_one(
    struck: Installation, tmp_path: Path
) -> None:
    log, pipeline, june = tmp_path / "daemon.log", struck.pipeline(), Month.parse(AFTER[0])
    old = pipeline.champion("predictions", Month.parse(BEFORE[-1]))
    assert old is not None
    with struck.instance() as instance, daemon(struck, log):
        deliver(struck, STRUCK)
        wait_for(lambda: order_on(pipeline, june) is not None, log)
        deliver(struck, AFTER)
        wait_for(lambda: is_watched(pipeline, AFTER[-1]), log)
        wait_for(lambda: all(run.is_finished for run in instance.get_runs()), log)
        runs = [run for run in instance.get_runs() if run.tags["dagster/partition"] not in BEFORE]

    # The leavers of April, known in April, tell of it; the second time it acts, and waits for April's labels.
    april, may = (decided(pipeline, Month.parse(month)) for month in STRUCK)
    assert april and may
    assert [e.rule for e in april.evidence if e.violated] and not april.wanted
    assert may.acts and may.learn_in == AFTER[0]

    assert sorted(run.tags["dagster/partition"] for run in runs) == [*STRUCK, *AFTER], "each month is run once"
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert all(run.tags["churn/reason"] for run in runs), "nobody but schedules and sensors asked for them"
    assert pipeline.lake.months(TRAINING_ORDERS) == [june]
    assert len(pipeline.lake.history(TRAINING_ORDERS, june)) == 1

    trained = pipeline.lake.record("model", june)
    assert trained and trained.facts["trained_because"].startswith("Ordered by churn_retraining: Monitoring of 2024-05")
    assert pipeline.champion("predictions", june) == trained.facts["model_id"] != old
    for month in AFTER[1:]:
        told = figures(pipeline, month)
        assert told["champion", "auc"]["model"] == trained.facts["model_id"]
        assert told["challenger", "auc"]["model"] == old
        assert told["difference", "log_loss"]["upper"] < 0, "chance explains none of what the new model does better"
        assert told["difference", "auc"]["lower"] > 0
        decision = decided(pipeline, Month.parse(month))
        assert decision and not decision.acts
        assert not [e for e in decision.evidence if e.violated and e.about == old]
