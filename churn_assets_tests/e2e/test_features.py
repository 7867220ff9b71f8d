"""The catalogue of features in a real Dagster instance: its checks, its page, and what columns are made of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets.store.lake import Commit
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

CHECKS = ("feature_nulls", "feature_constant", "feature_drift", "feature_leak")


def evaluation(made: Installation, check: str) -> tuple[str, Any]:
    """The newest evaluation of a check of the feature store: how it ended, and what it says."""
    key = dg.AssetCheckKey(dg.AssetKey(["churn", "feature_store"]), check)
    with made.instance() as instance:
        (newest,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert newest.event is not None and newest.event.dagster_event is not None
    return newest.status.value, newest.event.dagster_event.asset_check_evaluation_data


def shown(made: Installation, table: str, month: str) -> dict[str, Any]:
    """Metadata of the newest materialisation of a month."""
    with made.instance() as instance:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(["churn", table]), asset_partitions=[month]), limit=1
        ).records
    assert records[0].asset_materialization is not None
    return dict(records[0].asset_materialization.metadata)


def kept(made: Installation, month: str) -> dict[str, dict[str, Any]]:
    record = made.pipeline().lake.record("feature_store", Month.parse(month))
    assert record is not None
    return {check["name"]: check for check in record.facts["checks"]}


def delivered(tmp_path: Path, finished: Installation, **changes: Any) -> Installation:
    """The small pipeline, fed by files of three months."""
    made = Installation.create(
        tmp_path / "home", churn=small_spec(source={"type": "file", "path": "incoming/{month}.csv"}, **changes)
    )
    for month in MONTHS[:3]:
        made.deliver(month, finished.received(month))
    return made


def test_a_stable_base_passes_every_check(finished: Installation) -> None:
    for month in MONTHS:
        checks = kept(finished, month)
        assert [checks[name]["reason"] for name in CHECKS if not checks[name]["passed"]] == []
    assert "no month before" in kept(finished, MONTHS[0])["feature_drift"]["reason"]
    assert "no month is it known" in kept(finished, MONTHS[0])["feature_leak"]["reason"]
    last = kept(finished, MONTHS[-1])
    assert last["feature_drift"]["figures"]["features compared"] == 34
    assert f"customers of {MONTHS[-2]} left" in last["feature_leak"]["reason"]


def test_features_are_compared_once_their_window_is_filled_in_both_months(finished: Installation) -> None:
    compared = [kept(finished, m)["feature_drift"]["figures"]["features compared"] for m in MONTHS[1:]]
    lookbacks = finished.pipeline().spec.lookbacks.values()
    assert compared == [sum(reach <= age for reach in lookbacks) for age in range(4)]


def with_exits(finished: Installation, month: str, after: str) -> pl.DataFrame:
    """The rows of a month, with a column that says who leaves in the month after."""
    rows, later = finished.received(month), finished.received(after)
    left = later.filter(pl.col("churned").cast(pl.String) == "true")["customer_id"]
    ended = pl.col("customer_id").is_in(left.implode())
    return rows.with_columns(pl.when(ended).then(pl.lit("ended")).otherwise(pl.lit("open")).alias("account"))


def leaking(**changes: Any) -> dict[str, Any]:
    spec = small_spec(source={"type": "file", "path": "incoming/{month}.csv"}, **changes)
    spec["schema"]["columns"].append({"name": "account", "type": "category", "allowed": ["open", "ended"]})
    spec["features"][0]["columns"].append("account")
    return spec


def test_a_planted_leak_stops_the_month_by_name_until_it_is_declared_harmless(
    finished: Installation, tmp_path: Path
) -> None:
    made = Installation.create(tmp_path / "home", churn=leaking())
    for month, after in pairwise(MONTHS[:3]):
        made.deliver(month, with_exits(finished, month, after))
    first, second = made.run(MONTHS[:2])
    assert first.success, first.problems
    assert not second.success
    (problem,) = second.problems
    assert "A single feature tells which customers of 2024-01 left: account (AUC 1.000" in problem
    assert "Take it out of features" in problem
    assert "Nothing was written" in problem
    lake = made.pipeline().lake
    assert lake.record("feature_store", Month.parse("2024-02")) is None
    assert lake.record("model", Month.parse("2024-02")) is None
    served = made.pipeline().online.served()
    assert served is not None and str(served[0]) == "2024-01"
    assert evaluation(made, "feature_leak")[1].severity == dg.AssetCheckSeverity.ERROR

    made.declare("churn", leaking(feature_checks={"leak": "warn"}))
    (again,) = made.run(["2024-02"])
    assert again.success, again.problems
    status, said = evaluation(made, "feature_leak")
    assert status == "FAILED"
    assert said.severity == dg.AssetCheckSeverity.WARN
    assert "account (AUC 1.000" in said.description
    (top, *_) = said.metadata["by feature"].records
    assert (top.data["feature"], top.data["made_of"]) == ("account", "account")
    assert made.pipeline().online.served() == (
        Month.parse("2024-02"), lake.record("features", Month.parse("2024-02")).rows,  # type: ignore[union-attr]
    )  # fmt: skip


def test_a_check_that_is_off_is_not_made(finished: Installation, tmp_path: Path) -> None:
    made = delivered(tmp_path, finished, feature_checks={"drift": "off"})
    assert made.run(MONTHS[:1])[0].success
    key = dg.AssetCheckKey(dg.AssetKey(["churn", "feature_store"]), "feature_drift")
    with made.instance() as instance:
        assert not instance.event_log_storage.get_asset_check_execution_history(key, limit=1)


def test_a_broken_column_warns_with_every_feature_that_is_made_of_it(finished: Installation, tmp_path: Path) -> None:
    made = delivered(tmp_path, finished)
    broken = finished.received("2024-02").with_columns(
        pl.col("call_minutes") * 1000,
        support_calls=pl.lit(0),
        data_gb=pl.when(pl.int_range(pl.len()) % 3 > 0).then("data_gb"),
    )
    made.deliver("2024-02", broken)
    results = made.run(MONTHS[:2])
    assert all(r.success for r in results), "by default these warn"
    checks = kept(made, "2024-02")
    assert [name for name in CHECKS if not checks[name]["passed"]] == list(CHECKS[:3])
    assert "call_minutes (" in checks["feature_drift"]["reason"]
    assert "support_calls (nothing but 0;" in checks["feature_constant"]["reason"]
    assert "data_gb (" in checks["feature_nulls"]["reason"]
    status, said = evaluation(made, "feature_drift")
    assert (status, said.severity) == ("FAILED", dg.AssetCheckSeverity.WARN)
    assert "data:image/svg+xml" in said.metadata["PSI by feature"].value
    assert "data:image/svg+xml" in said.metadata["what moved most"].value
    made.declare("churn", small_spec(source={"type": "file", "path": "incoming/{month}.csv"},
                                     feature_checks={"constant": "stop"}))  # fmt: skip
    (stopped,) = made.run(["2024-02"])
    assert not stopped.success
    assert "Constant, and not so in the month before: support_calls" in stopped.problems[0]


def test_no_later_month_changes_the_catalogue(own: Installation) -> None:
    before = own.contents("2024-03")["feature_store"]
    checks = {n: c["reason"] for n, c in kept(own, "2024-03").items() if n in CHECKS}
    lake = own.pipeline().lake
    for later in ("2024-04", "2024-05"):
        month = Month.parse(later)
        for table in ("features", "validated_data"):
            record = lake.record(table, month)
            assert record is not None
            rows = lake.scan_record(record).collect()
            poisoned = rows.with_columns(
                pl.col(pl.Float64, pl.Int64) * 1000,
                pl.col(pl.Boolean).not_(),
                pl.col("contract", "region").str.reverse(),
            )
            lake.write(table, month, poisoned, Commit("poison"))
        lake.write("quarantined_data", month, None, Commit("poison"), reason="Poison.")
        lake.write("promotions", month, None, Commit("poison"), reason="Poison.", facts={"champion": "poison"})
    (result,) = own.run(["2024-03"], stages=["feature_store"], force="feature_store")
    assert result.success, result.problems
    assert own.contents("2024-03")["feature_store"] == before
    assert {n: c["reason"] for n, c in kept(own, "2024-03").items() if n in CHECKS} == checks
    page = shown(own, "feature_store", "2024-03")["feature page"].value
    assert "## How they are distributed in 2024-03" in page and "poison" not in page


def test_columns_say_what_they_are_made_of_and_all_of_that_is_there(finished: Installation) -> None:
    lake, month = finished.pipeline().lake, MONTHS[-1]
    for table, above in (("validated_data", "raw_data"), ("features", "validated_data"), ("predictions", "features")):
        record = lake.record(table, Month.parse(month))
        upstream = lake.record(above, Month.parse(month))
        assert record is not None and upstream is not None
        metadata = shown(finished, table, month)
        lineage = metadata["dagster/column_lineage"].value.deps_by_column
        assert set(lineage) >= set(record.columns) - {"model_id", "available_at"}, table
        for column, made_of in lineage.items():
            assert made_of, f"{table}.{column}"
            assert {d.asset_key.path[-1] for d in made_of} == {above}
            assert {d.column_name for d in made_of} <= set(upstream.columns)
        told = {c.name: c.description or "" for c in metadata["dagster/column_schema"].value.columns}
        assert all(f"{above}" in told[column] for column in lineage), told
    lineage = shown(finished, "features", month)["dagster/column_lineage"].value.deps_by_column
    assert [d.column_name for d in lineage["data_gb_trend"]] == ["data_gb"]
    assert [d.column_name for d in lineage["support_calls_lag_1m"]] == ["support_calls"]


def test_a_skipped_month_still_shows_its_columns_and_its_page(own: Installation) -> None:
    before = {t: shown(own, t, "2024-05") for t in ("features", "feature_store")}
    assert own.run(["2024-05"])[0].success
    for table, was in before.items():
        now = shown(own, table, "2024-05")
        assert now["outcome"].value == "skipped"
        for name in {"dagster/column_schema", "dagster/column_lineage", "preview"} & set(was):
            assert now[name].value == was[name].value, (table, name)
    assert "dagster/column_lineage" in before["features"]
    assert "## What they are" in shown(own, "feature_store", "2024-05")["feature page"].value


def test_the_page_is_written_with_the_champions_importance(finished: Installation, tmp_path: Path) -> None:
    file = tmp_path / "docs" / "features.md"
    told = finished.churn("features", "page", "--to", str(file), "--month", "2024-05")
    assert told.returncode == 0, told.stdout
    assert f"34 features of 2024-05: {file}" in told.stdout
    text = file.read_text()
    decided = finished.pipeline().lake.record("promotions", Month.parse("2024-05"))
    assert decided is not None
    assert f"`{decided.facts['champion']}`" in text
    figures = {line.split(" | ")[0].strip("| "): line.rstrip(" |").split(" | ") for line in text.splitlines()}
    shares = [float(figures[name][-1].rstrip("%")) for name in finished.pipeline().spec.feature_names]
    assert sum(shares) == pytest.approx(100, abs=2)
    assert finished.churn("features", "page", "--to", str(file)).stdout == told.stdout, (
        "the newest month is the default"
    )
    refused = finished.churn("features", "page", "--to", str(file), "--month", "2025-01")
    assert refused.returncode == 1
    assert (
        "feature_store 2025-01: expected the catalogue of the features, found none. Run `churn backfill"
        in refused.stdout
    )
