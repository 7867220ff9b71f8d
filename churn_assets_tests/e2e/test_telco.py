"""The pipeline on a real table: the IBM Telco customers, one static month."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from churn_assets.months import Month
from churn_assets_tests.installation import ROOT, Installation

pytestmark = pytest.mark.e2e

MONTH = Month.parse("2025-01")


@pytest.fixture(scope="module")
def telco(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    spec = yaml.safe_load((ROOT / "examples/telco/defs.yaml").read_text())["attributes"]
    made = Installation.create(tmp_path_factory.mktemp("telco") / "home", telco=spec)
    (made.home / "data/incoming").mkdir()
    shutil.copy(shared_data / "telco.csv", made.home / "data/incoming/telco.csv")
    (result,) = made.run([str(MONTH)], name="telco")
    assert result.success, result.problems
    return made


def test_the_holdout_auc_is_what_honest_references_say(telco: Installation) -> None:
    lake = telco.pipeline("telco").lake
    record = lake.record("model", MONTH)
    assert record is not None
    scores = lake.scan_record(record).collect()
    assert scores["candidate"].to_list() == ["baseline", "xgboost"]
    assert scores["auc"].is_between(0.83, 0.86).all()
    assert (scores["rows"] == 1761).all()
    dataset = lake.record("versioned_dataset", MONTH)
    assert dataset is not None
    assert dataset.facts["split"] == "holdout"


def test_the_eleven_blank_totals_are_zero_because_the_rule_says_so(telco: Installation) -> None:
    lake = telco.pipeline("telco").lake
    record = lake.record("validated_data", MONTH)
    assert record is not None
    assert record.facts["repairs"] == {"TotalCharges": {"missing -> 0": 11}}
    assert record.rows == 7043
    never_billed = lake.scan_record(record).filter(pl.col("TotalCharges") == 0).collect()
    assert never_billed["tenure"].to_list() == [0] * 11


def test_a_blank_total_of_a_customer_who_was_billed_is_quarantined(telco: Installation, tmp_path: Path) -> None:
    own = telco.copy(tmp_path / "home")
    file = own.home / "data/incoming/telco.csv"
    file.write_text(file.read_text().replace("56.95,1889.5,No", "56.95, ,No", 1))
    (result,) = own.run([str(MONTH)], name="telco")
    assert result.success, result.problems
    lake = own.pipeline("telco").lake
    record = lake.record("quarantined_data", MONTH)
    assert record is not None
    (row,) = lake.scan_record(record).collect().to_dicts()
    assert (row["customer"], row["column"], row["rule"], row["_row"]) == ("5575-GNVDE", "TotalCharges", "required", 2)


def test_customers_who_have_left_already_are_not_on_the_list(telco: Installation) -> None:
    lake = telco.pipeline("telco").lake
    scored, snapshot = lake.record("predictions", MONTH), lake.record("validated_data", MONTH)
    assert scored is not None
    assert snapshot is not None
    customers = lake.scan_record(scored).join(lake.scan_record(snapshot), on="customerID").collect()
    assert len(customers) == scored.rows == 7043 - 1869
    assert not customers["Churn"].any()
    listed = lake.record("retention_list", MONTH)
    assert listed is not None
    # No later month tells who left: nothing can be measured by holding customers out.
    assert (listed.facts["contacts"], listed.facts["held_out"]) == (300, 0)


def test_labels_in_the_snapshot_itself_leave_no_outcome_to_wait_for(telco: Installation) -> None:
    record = telco.pipeline("telco").lake.record("monitoring", MONTH)
    assert record is not None
    (check,) = (c for c in record.facts["checks"] if c["name"] == "realised_quality")
    assert check["passed"] and check["reason"].startswith("Labels stand in the snapshot itself")
    shown = (
        telco.pipeline("telco").lake.scan_record(record).collect() if record.files else pl.DataFrame({"metric": [""]})
    )
    assert not shown["metric"].str.contains("realised|estimate|list").any()
