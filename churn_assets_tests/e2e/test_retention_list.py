"""The list of a month, what is told of it, and what later lists make of that, in a real installation."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from churn_assets.assets.reasons import stale_months
from churn_assets.months import Month
from churn_assets.pipeline import TREATMENT_LOG
from churn_assets.store.lake import MonthRecord
from churn_assets.treatments import import_log
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e


def record(installation: Installation, table: str, month: str) -> MonthRecord:
    found = installation.pipeline().lake.record(table, Month.parse(month))
    assert found is not None
    return found


def rows(installation: Installation, table: str, month: str) -> pl.DataFrame:
    return installation.pipeline().lake.scan_record(record(installation, table, month)).drop("month").collect()


def stale(installation: Installation) -> list[str]:
    from churn_assets.assets import ALL

    pipeline = installation.pipeline()
    months = stale_months(pipeline, {name: stage.code(pipeline) for name, stage in ALL.items()})
    return [f"{state.stage} {month}: {state.reason}" for month, found in months.items() for state in found]


def test_the_asset_is_the_managers_page(finished: Installation) -> None:
    with finished.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "retention_list"]))
        assert event is not None and event.asset_materialization is not None
        shown = event.asset_materialization.metadata
    listed = rows(finished, "retention_list", "2024-05")
    contacts = listed.filter(action="contact")
    assert shown["to contact"].value == len(contacts)
    assert shown["held out"].value == len(listed) - len(contacts) > 0
    assert shown["cost (USD)"].value == 8 * len(contacts)
    assert shown["expected value (USD)"].value == pytest.approx(contacts["expected_value"].sum(), abs=0.01)
    assert shown["save rate from"].value == "assumed: 0.15"
    assert len(shown["top of the list"].records) == min(15, len(listed))
    assert shown["expected value by decile"].value.startswith("![Expected value")
    for kind in ("xlsx", "csv", "parquet"):
        assert Path(str(shown[f"as {kind}"].value)).name == f"retention_list.{kind}"
    exported = finished.home / "data/exports/churn/2024-05"
    assert pl.read_parquet(exported / "retention_list.parquet").equals(listed)
    assert pl.read_csv(exported / "retention_list.csv")["customer_id"].to_list() == listed["customer_id"].to_list()
    excel = pl.read_excel(exported / "retention_list.xlsx")
    assert excel["P(leave)"].to_list() == pytest.approx(listed["p_leave"].to_list())


def test_what_was_done_with_a_list_reaches_the_lists_made_once_its_outcome_is_known_and_no_others(
    own: Installation, tmp_path: Path
) -> None:
    sheet = tmp_path / "done.csv"
    assert own.churn("treatments", "template", "--month", "2024-03", "--to", str(sheet)).returncode == 0
    listed = rows(own, "retention_list", "2024-03")
    held_out = listed.filter(action="hold out")["customer_id"]
    done = pl.read_csv(sheet, infer_schema=False).with_columns(
        treated=pl.when((pl.col("action") == "contact") | (pl.col("customer_id") == held_out[0]))
        .then(pl.lit("yes")).otherwise(pl.lit("no")),
    )  # fmt: skip
    done.write_csv(sheet)
    before = {m: own.contents(m) for m in ("2024-03", "2024-04", "2024-05")}
    told = own.churn("treatments", "import", str(sheet), "--month", "2024-03", "--by", "ann")
    assert told.returncode == 0, told.stdout
    assert "Held out and contacted all the same: 1." in told.stdout
    assert "churn run --month 2024-04" in told.stdout
    log = record(own, TREATMENT_LOG, "2024-03")
    assert (log.rows, log.facts["by"], log.facts["contaminated"]) == (len(listed), "ann", 1)

    assert stale(own) == [
        "retention_list 2024-04: Changed since it was made: treatment_log 2024-03.",
        "monitoring 2024-04: Changed since it was made: treatment_log 2024-03.",
    ]
    (ran,) = own.run(["2024-04"])
    assert ran.success, ran.problems
    assert stale(own) == ["retention_list 2024-05: Changed since it was made: list_outcomes 2024-04."]
    (ran,) = own.run(["2024-05"])
    assert ran.success, ran.problems
    assert stale(own) == []

    outcomes = rows(own, "list_outcomes", "2024-04")
    left = rows(own, "validated_data", "2024-04").select("customer_id", "churned")
    assert sorted(outcomes["customer_id"]) == sorted(listed["customer_id"])
    assert outcomes.join(left, on="customer_id").select((pl.col("left") == pl.col("churned")).all()).item()
    assert outcomes.filter(action="hold out")["treated"].sum() == 1
    facts = record(own, "list_outcomes", "2024-04").facts
    assert (facts["contaminated"], facts["unknown"]) == (1, 0)
    for month in ("2024-04", "2024-05"):
        found = record(own, "retention_list", month).facts["save_rate"]
        assert (found["lists"], found["source"]) == (1, "assumed")
        assert found["contacted"] + found["held_out"] == len(outcomes)
        assert "Too little was held out so far" in found["reason"]
    after = {m: own.contents(m) for m in before}
    changed = {(m, t) for m in before for t in before[m] if before[m][t] != after[m].get(t)}
    assert changed == {("2024-04", "list_outcomes"), ("2024-04", "monitoring")}
    profit = rows(own, "monitoring", "2024-04").filter(metric="list_profit").row(0, named=True)
    grouped = outcomes.join(listed, on=["customer_id", "action"]).group_by("action").agg(
        pl.col("left").mean(), worth=pl.col("monthly_value").sum() * 0.5 * 12, cost=8 * pl.col("treated").sum()
    )  # fmt: skip
    contact, kept_back = (
        grouped.row(by_predicate=pl.col("action") == name, named=True) for name in ("contact", "hold out")
    )
    gain = (kept_back["left"] - contact["left"]) * contact["worth"] - contact["cost"]
    assert profit["value"] == pytest.approx(gain)
    assert profit["lower"] < gain < profit["upper"]
    assert record(own, "monitoring", "2024-04").facts["list"]["verdict"] == "not enough evidence"
    shown = own.churn("treatments", "show", "--month", "2024-03").stdout
    assert f"{int(outcomes.filter(action='hold out')['left'].sum())} of {len(held_out)}" in shown

    done.with_columns(treated=pl.lit("no")).head(1).write_parquet(tmp_path / "again.parquet")
    again = import_log(own.pipeline(), Month.parse("2024-03"), tmp_path / "again.parquet", "bob")
    assert again.replaced
    history = own.pipeline().lake.history(TREATMENT_LOG, Month.parse("2024-03"))
    assert [r.facts["contaminated"] for r in history] == [1, 0]
    assert history[0].content == log.content


def test_a_budget_that_pays_for_nothing_gives_an_empty_list_with_the_reason(own: Installation) -> None:
    own.declare("churn", small_spec(value={"budget": 5}))
    (ran,) = own.run(["2024-05"], stages=["retention_list"])
    assert ran.success, ran.problems
    listed = record(own, "retention_list", "2024-05")
    assert (listed.status, listed.reason) == (
        "empty", "The budget of 5 doesn't pay for one contact, which costs 8.",
    )  # fmt: skip
    exported = own.home / "data/exports/churn/2024-05"
    assert pl.read_csv(exported / "retention_list.csv", raise_if_empty=False).is_empty()
    assert pl.read_parquet(exported / "retention_list.parquet").is_empty()
    told = own.churn("list", "--month", "2024-05")
    assert told.returncode == 1
    assert "The budget of 5 doesn't pay for one contact" in told.stdout


def test_enough_evidence_replaces_the_assumed_save_rate(own_files: Installation, tmp_path: Path) -> None:
    value = {"budget": 1e6, "holdout_share": 0.5, "min_held_out": 100, "min_leavers": 5, "save_rate": 0.95}
    source = {"type": "file", "path": "incoming/{month}.csv"}
    own_files.declare("churn", small_spec(source=source, value=value))
    (ran,) = own_files.run(["2024-03"], stages=["retention_list"])
    assert ran.success, ran.problems
    listed = rows(own_files, "retention_list", "2024-03")
    sheet = tmp_path / "done.parquet"
    listed.select("customer_id", treated=pl.col("action") == "contact").write_parquet(sheet)
    import_log(own_files.pipeline(), Month.parse("2024-03"), sheet, "ann")

    # Of those who were contacted, two thirds of the leavers stay.
    delivered = pl.read_csv(own_files.home / "data/incoming/2024-04.csv")
    contacted = pl.col("customer_id").is_in(listed.filter(action="contact")["customer_id"].implode())
    kept = contacted & pl.col("churned") & ((pl.col("churned") & contacted).cum_sum() % 3 != 0)
    own_files.deliver("2024-04", delivered.with_columns(pl.col("churned") & ~kept))
    (ran,) = own_files.run(["2024-04"])
    assert ran.success, ran.problems

    left = dict(rows(own_files, "list_outcomes", "2024-04").group_by("action").agg(pl.col("left").mean()).iter_rows())
    rate = 1 - left["contact"] / left["hold out"]
    found = record(own_files, "retention_list", "2024-04").facts["save_rate"]
    assert (found["source"], found["lists"]) == ("measured", 1)
    assert found["rate"] == pytest.approx(rate)
    assert found["lower"] < rate < found["upper"] < 0.95
    listed = rows(own_files, "retention_list", "2024-04")
    gain = listed["p_leave"] * rate * listed["monthly_value"] * 0.5 * 12 - 8
    assert listed["expected_value"].to_list() == pytest.approx(gain.to_list())
    assert f"Measured {rate:.2f}" in own_files.churn("list", "--month", "2024-04").stdout
