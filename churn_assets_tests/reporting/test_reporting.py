"""Reports of a real month, of one that has just begun, and of one that was stopped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dagster as dg
import pytest
from markupsafe import escape

from churn_assets.errors import MissingMonth
from churn_assets.learning.promotion import Verdict
from churn_assets.monitoring.report import Table, render
from churn_assets.months import Month
from churn_assets.orders import Order
from churn_assets.orders import give as order
from churn_assets.pipeline import Pipeline
from churn_assets.reporting import collect, report_file
from churn_assets.treatments import newest_list
from churn_assets.verdicts import decision_of
from churn_assets.verdicts import give as judge
from churn_assets_tests.installation import Installation

LAST = Month.parse("2024-05")
SECTIONS = ["data", "drift", "quality", "list", "decisions", "cost"]


def html(pipeline: Pipeline, month: Month = LAST) -> str:
    return render(collect(pipeline, month))


def forget(pipeline: Pipeline, month: Month, *tables: str) -> None:
    """Makes a month as it is where a run has ended before these tables."""
    for table in tables:
        (pipeline.lake.root / "_records" / table / f"{month}.json").unlink()


def test_a_month_that_was_run_has_a_report_and_it_says_what_the_lake_says(finished: Installation) -> None:
    pipeline = finished.pipeline()
    page = report_file(pipeline, LAST).read_text()
    record, listed = pipeline.lake.record("validated_data", LAST), newest_list(pipeline, str(LAST))
    assert record is not None
    for expected in (f"{record.rows:,}", f"{listed.facts['contacts']:,} customers are to be contacted",
                     f"{listed.facts['held_out']:,} held out", decision_of(pipeline, LAST)["challenger"],
                     "May 2024", "AUC"):  # fmt: skip
        assert expected in page
    rows = pipeline.lake.scan_record(record).select("customer_id", "churned").collect()
    assert f"{rows['churned'].sum():,} of {record.rows:,} customers left" in page
    scored = pipeline.lake.record("predictions", LAST - 1)
    assert scored is not None
    scores = pipeline.lake.scan_record(scored).select("customer_id").collect()
    left = rows.filter("churned").join(scores, on="customer_id", how="semi").height
    assert f"of those who had been scored, {left / len(scores):.1%} did" in page
    assert re.findall(r'<section id="(\w+)" aria', page) == [*SECTIONS, "words"]


def test_it_is_made_of_records_alone_so_that_making_it_again_changes_nothing(finished: Installation) -> None:
    pipeline = finished.pipeline()
    for month in (Month.parse("2024-01"), LAST):
        assert html(pipeline, month).encode() == report_file(pipeline, month).read_bytes()


def test_the_report_names_no_run_and_no_folder_and_loads_nothing(finished: Installation) -> None:
    page = report_file(finished.pipeline(), LAST).read_text()
    record = finished.pipeline().lake.record("monitoring", LAST)
    assert record and record.run_id not in page and str(finished.home) not in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses and all(a.startswith(("data:image/svg+xml;base64,", "#")) for a in addresses)


def test_its_headline_stands_in_the_ui_beside_the_path(finished: Installation) -> None:
    key = dg.AssetKey(["churn", "monitoring"])
    with finished.instance() as instance:
        (record,) = instance.fetch_materializations(dg.AssetRecordsFilter(key, [str(LAST)]), limit=1).records
    shown = record.asset_materialization.metadata if record.asset_materialization else {}
    assert isinstance(told := shown["report in short"], dg.MarkdownMetadataValue)
    assert isinstance(path := shown["report"], dg.PathMetadataValue)
    assert "to be contacted" in str(told.value) and str(path.value).endswith("2024-05/report.html")


def test_a_first_month_says_what_is_not_there_yet(finished: Installation) -> None:
    page = html(finished.pipeline(), Month.parse("2024-01"))
    for expected in (
        "No prediction's outcome is known yet",
        "no champion scores the month's customers",
        "There is no list of January 2024",
        "No earlier list's outcome is known yet",
    ):
        assert escape(expected) in page
    assert re.findall(r'<section id="(\w+)" aria', page) == [*SECTIONS, "words"]


def test_a_month_that_was_stopped_says_where_and_what_to_do(own: Installation) -> None:
    pipeline = own.pipeline()
    behind = ("validated_data", "quarantined_data", "features", "feature_store", "versioned_dataset", "model",
              "promotions", "predictions", "retention_list", "list_outcomes", "monitoring", "drift")  # fmt: skip
    forget(pipeline, LAST, *behind)
    found = collect(pipeline, LAST)
    assert found.verdict == "Somebody has to act"
    assert "validated data, features, " in found.concerns[0].what and "churn backfill" in found.concerns[0].todo
    assert "They were not accepted" in render(found)


def test_a_month_without_its_monitoring_asks_for_it(own: Installation) -> None:
    pipeline = own.pipeline()
    forget(pipeline, LAST, "monitoring")
    assert collect(pipeline, LAST).concerns[0].what.startswith("Monitoring hasn't seen the month")


def test_a_month_of_which_nothing_was_made_has_no_report(finished: Installation) -> None:
    with pytest.raises(MissingMonth, match="2030-01"):
        collect(finished.pipeline(), Month.parse("2030-01"))


def test_what_people_have_said_and_ordered_stands_among_the_decisions(own: Installation) -> None:
    pipeline = own.pipeline()
    judge(pipeline, LAST, Verdict("reject", None, "ann", "an <i>odd</i> month"))
    order(pipeline, LAST, Order("bob", "a new tariff"))
    page = html(pipeline)
    for expected in ("ann", "an &lt;i&gt;odd&lt;/i&gt; month", "bob", "a new tariff"):
        assert expected in page


def test_names_and_values_of_the_data_are_text(own: Installation) -> None:
    pipeline = own.pipeline()
    record = pipeline.lake.root / "_records" / "raw_data" / f"{LAST}.json"
    kept = json.loads(record.read_text())
    kept["facts"] |= {"changed": "new: <script>alert(1)</script>.", "doubts": ["`<script>`"]}
    record.write_text(json.dumps(kept))
    page = html(pipeline)
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "<code>&lt;script&gt;</code>" in page


def test_cost_is_what_the_stages_took_by_the_given_rates(own: Installation) -> None:
    pipeline = own.pipeline()
    cost = collect(pipeline, LAST).sections[-1]
    assert "no price" in cost.lead
    (table,) = cost.blocks
    assert isinstance(table, Table)
    record = pipeline.lake.record("model", LAST)
    assert record and (line := dict(zip(table.frame["stage"], table.frame.rows(), strict=True)))["model"]
    assert line["model"][1] == f"{record.facts['usage']['seconds']:,.1f}"
    assert "monitoring" not in line, "its own making isn't over when it is written"


@pytest.mark.e2e
def test_the_command_writes_it_and_says_where(own: Installation) -> None:
    path = report_file(own.pipeline(), LAST)
    before = path.read_bytes()
    path.unlink()
    told = own.churn("report")
    assert told.returncode == 0, told.stdout
    assert Path(told.stdout.splitlines()[-1]) == path
    assert path.read_bytes() == before
