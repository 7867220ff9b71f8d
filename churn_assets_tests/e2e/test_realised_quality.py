"""What monitoring says of predictions, on a real pipeline: computed anew from what was exported and received."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn import metrics

from churn_assets.months import Month
from churn_assets.store.lake import Commit, MonthRecord
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

SCORED, KNOWN = "2024-04", "2024-05"
"""The month of the predictions, and the one in which it becomes known who left."""


def record(installation: Installation, table: str, month: str) -> MonthRecord:
    found = installation.pipeline().lake.record(table, Month.parse(month))
    assert found is not None
    return found


def rows(installation: Installation, table: str, month: str) -> pl.DataFrame:
    return installation.pipeline().lake.scan_record(record(installation, table, month)).drop("month").collect()


def figures(installation: Installation, month: str = KNOWN) -> dict[tuple[str, str], dict[str, float]]:
    return {(row["metric"], row["role"]): row for row in rows(installation, "monitoring", month).to_dicts()}


def outcomes(installation: Installation, scores: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Who left, as the source itself said a month later, and what had been said of them."""
    said = installation.received(KNOWN).select("customer_id", "churned")
    known = scores.join(said, on="customer_id", how="inner").filter(pl.col("churned").is_not_null())
    return known["churned"].to_numpy(), known["p_leave"].to_numpy()


def delong(left: np.ndarray, p: np.ndarray) -> tuple[float, float]:
    """DeLong's interval by comparing everybody who left with everybody who stayed."""
    above = (p[left][:, None] > p[~left]) + 0.5 * (p[left][:, None] == p[~left])
    variance = sum(part.var(ddof=1) / len(part) for part in (above.mean(axis=0), above.mean(axis=1)))
    low, high = stats.norm.interval(0.95, above.mean(), variance**0.5)
    return float(low), float(high)


@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_the_realised_figures_equal_an_independent_computation(finished: Installation, role: str) -> None:
    exported = pl.read_parquet(finished.home / f"data/exports/churn/{SCORED}/predictions.parquet")
    scores = exported if role == "champion" else rows(finished, "shadow_predictions", SCORED)
    left, p = outcomes(finished, scores)
    found = {name.removeprefix("realised_"): row for (name, whose), row in figures(finished).items() if whose == role}
    expected = {
        "auc": metrics.roc_auc_score(left, p),
        "pr_auc": metrics.average_precision_score(left, p),
        "brier": metrics.brier_score_loss(left, p),
        "log_loss": metrics.log_loss(left, p),
        "rate": left.mean(),
        "level": p.mean() - left.mean(),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value), name
    assert (found["auc"]["lower"], found["auc"]["upper"]) == pytest.approx(delong(left, p))
    of_rate = stats.binomtest(int(left.sum()), len(left)).proportion_ci(method="wilson")
    assert (found["rate"]["lower"], found["rate"]["upper"]) == pytest.approx((of_rate.low, of_rate.high))
    promise = finished.pipeline().models.facts(scores["model_id"][0])["validation"]
    ends = ("promised", "promised_lower", "promised_upper")
    assert [found["auc"][end] for end in ends] == [promise[name] for name in ("auc", "auc_lower", "auc_upper")]
    assert found["brier"]["promised"] == promise["brier"]


def test_champion_and_challenger_scored_the_same_customers_and_are_compared_on_them(finished: Installation) -> None:
    ours, theirs = (
        rows(finished, table, SCORED).sort("customer_id") for table in ("predictions", "shadow_predictions")
    )
    assert ours["customer_id"].equals(theirs["customer_id"])
    assert ours["model_id"].unique().to_list() == [record(finished, "promotions", SCORED).facts["champion"]]
    made = [record(finished, "model", month).facts.get("model_id") for month in (SCORED, "2024-03", "2024-02")]
    assert theirs["model_id"].unique().to_list() == [next(m for m in made if m and m != ours["model_id"][0])]
    (left, p), (_, other) = outcomes(finished, ours), outcomes(finished, theirs)
    gap = (p - left) ** 2 - (other - left) ** 2
    found = figures(finished)["realised_brier", "difference"]
    assert (found["value"], found["lower"], found["upper"]) == pytest.approx(
        (gap.mean(), *stats.norm.interval(0.95, gap.mean(), stats.sem(gap)))
    )
    auc = figures(finished)["realised_auc", "difference"]["value"]
    assert auc == pytest.approx(metrics.roc_auc_score(left, p) - metrics.roc_auc_score(left, other))


def test_the_lists_hit_rates_are_those_of_its_two_groups(finished: Installation) -> None:
    listed = pl.read_parquet(finished.home / f"data/exports/churn/{SCORED}/retention_list.parquet")
    left = listed.join(finished.received(KNOWN).select("customer_id", "churned"), on="customer_id", how="left")
    found = figures(finished)
    for role, action in (("contacted", "contact"), ("held out", "hold out")):
        group = left.filter(pl.col("action") == action)
        assert found["list_hit_rate", role]["value"] == pytest.approx(group["churned"].mean())
    assert ("list_profit", "list") not in found
    told = record(finished, "monitoring", KNOWN).facts["list"]
    assert told["verdict"] == "not known" and "Nobody has told what was done" in told["reason"]


def test_the_first_months_say_why_there_is_nothing_to_realise(finished: Installation) -> None:
    for month, reason in (
        ("2024-01", "No prediction's outcome is known yet."),
        ("2024-02", "Nothing was predicted in 2024-01."),
    ):
        (check,) = (c for c in record(finished, "monitoring", month).facts["checks"] if c["name"] == "realised_quality")
        assert (check["passed"], check["reason"]) == (True, reason)
        empty = record(finished, "monitoring", month).status == "empty"
        assert empty or not any(metric.startswith("realised") for metric, _ in figures(finished, month))
    shadow = record(finished, "shadow_predictions", "2024-02")
    assert (shadow.status, shadow.reason) == ("empty", "There is no other model than the champion yet.")


def test_the_asset_shows_the_figures_and_their_course(finished: Installation) -> None:
    with finished.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "monitoring"]))
        assert event is not None and event.asset_materialization is not None
        shown = event.asset_materialization.metadata
    assert shown["outcome of"].value == SCORED
    assert shown["realised auc"].value == pytest.approx(
        figures(finished)["realised_auc", "champion"]["value"], abs=1e-5
    )
    then = figures(finished)["estimated_auc", "champion"]["value"]
    assert shown["estimated auc"].value == pytest.approx(then, abs=1e-5)
    assert shown["AUC over months"].value.startswith("![AUC over months](data:image/svg+xml")
    estimated = shown["estimated quality (nobody knows yet who leaves)"].records
    assert {row.data["metric"] for row in estimated} >= {"estimated_auc", "estimated_rate"}


def test_monitoring_again_leaves_what_was_predicted_and_estimated_then(own: Installation) -> None:
    said = ("predictions", "shadow_predictions")
    before = {(t, m): record(own, t, m) for t in said for m in (SCORED, KNOWN)}
    files = {file: file.read_bytes() for r in before.values() for file in own.pipeline().lake.files(r)}
    exported, watched = own.exported(SCORED), rows(own, "monitoring", SCORED)
    for ran in own.run([SCORED, KNOWN], stages=["monitoring"], force="monitoring"):
        assert ran.success, ran.problems
    assert {(t, m): record(own, t, m) for t, m in before} == before
    assert {file: file.read_bytes() for file in files} == files
    assert {name: own.exported(SCORED)[name] for name in exported if name.startswith("predictions")} == {
        name: data for name, data in exported.items() if name.startswith("predictions")
    }
    assert rows(own, "monitoring", SCORED).equals(watched)


def test_the_estimate_is_compared_as_it_was_put_down_and_never_made_again(own: Installation) -> None:
    found = figures(own)
    truth, error = found["realised_auc", "champion"]["value"], found["estimate_error_auc", "champion"]
    assert error["promised"] == figures(own, SCORED)["estimated_auc", "champion"]["value"]
    assert error["value"] == pytest.approx(truth - error["promised"])
    # Another estimate than the one that the scores would give now.
    then, kept = record(own, "monitoring", SCORED), rows(own, "monitoring", SCORED)
    other = pl.when(metric="estimated_auc").then(0.9).otherwise("value").alias("value")
    commit = Commit(then.fingerprint, then.inputs, then.code)
    own.pipeline().lake.write("monitoring", Month.parse(SCORED), kept.with_columns(other), commit, facts=then.facts)
    (ran,) = own.run([KNOWN], stages=["monitoring"], force="monitoring")
    assert ran.success, ran.problems
    error = figures(own)["estimate_error_auc", "champion"]
    assert (error["promised"], error["value"]) == pytest.approx((0.9, truth - 0.9))


def test_a_challenger_that_is_gone_keeps_nobody_from_being_scored(own: Installation) -> None:
    pipeline, before = own.pipeline(), record(own, "predictions", KNOWN)
    challenger = record(own, "shadow_predictions", KNOWN).facts["model_id"]
    shutil.rmtree(pipeline.models.root / challenger)
    (ran,) = own.run([KNOWN], stages=["predictions", "retention_list", "monitoring"], force="predictions")
    assert ran.success, ran.problems
    shadow = record(own, "shadow_predictions", KNOWN)
    assert shadow.status == "empty"
    assert shadow.reason.startswith(f"The challenger {challenger} scored nobody: model {challenger}: expected")
    assert record(own, "predictions", KNOWN).content == before.content
    found = figures(own)
    assert ("estimated_auc", "champion") in found and ("estimated_auc", "challenger") not in found
    assert ("realised_auc", "challenger") in found, "what it had said before stands"
    assert not Path(pipeline.models.root / challenger).exists()
