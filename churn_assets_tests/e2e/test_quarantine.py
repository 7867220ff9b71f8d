"""Rows set aside, mended by a person, and taken back: from a terminal, with the history of both kept."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

APRIL = Month.parse("2024-04")


@pytest.fixture(scope="module")
def with_april(filed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """April with three negative charges and a line of totals."""
    made = filed.copy(tmp_path_factory.mktemp("april") / "home")
    whole = pl.read_csv(made.home / "data/incoming/2024-04.csv", infer_schema=False)
    text = whole.with_row_index("i").with_columns(
        monthly_charge=pl.when(pl.col("i") < 3).then(pl.lit("-1")).otherwise("monthly_charge")
    )
    csv = text.drop("i").write_csv() + "Total,,,1500\n"
    made.deliver("2024-04", csv)
    made.run_all(["2024-04"])
    return made


@pytest.fixture
def spoilt(with_april: Installation, tmp_path: Path) -> Installation:
    """A copy of it, to be changed at will."""
    return with_april.copy(tmp_path / "home")


def quarantined(installation: Installation) -> pl.DataFrame:
    lake = installation.pipeline().lake
    record = lake.record("quarantined_data", APRIL)
    assert record is not None
    return lake.scan_record(record).sort("_row").collect() if record.files else pl.DataFrame()


def rows_of(installation: Installation, table: str) -> int:
    record = installation.pipeline().lake.record(table, APRIL)
    assert record is not None
    return record.rows


def exported(installation: Installation) -> tuple[Path, pl.DataFrame]:
    sheet = installation.home / "mend.csv"
    told = installation.churn("quarantine", "export", "--month", "2024-04", "--to", str(sheet))
    assert told.returncode == 0, told.stdout + told.stderr
    return sheet, pl.read_csv(sheet, infer_schema=False)


def test_a_row_says_who_where_and_why(with_april: Installation) -> None:
    found = quarantined(with_april)
    assert found["rule"].to_list() == ["min", "min", "min", "structure"]
    assert found["_file"].unique().to_list() == ["2024-04.csv"]
    assert found["_line"].to_list()[:3] == [2, 3, 4]
    assert found["value"].to_list()[:3] == ["-1"] * 3
    assert found["value"][3] == "Total,,,1500"
    listed = with_april.churn("quarantine", "list").stdout
    assert "2024-04" in listed
    assert "at least 0" in listed
    shown = with_april.churn("quarantine", "show", "--month", "2024-04").stdout
    assert "2024-04.csv:2" in shown
    assert "Total,,,1500" in shown


def test_mended_rows_come_back_and_everything_behind_them_is_made_again(spoilt: Installation) -> None:
    lake = spoilt.pipeline().lake
    before, raw = rows_of(spoilt, "validated_data"), lake.record("raw_data", APRIL)
    sheet, rows = exported(spoilt)
    assert rows["churn_problem"][0] == "monthly_charge: expected at least 0, found '-1'"
    mended = rows.with_columns(
        monthly_charge=pl.when(pl.col("churn_line") == "2").then(pl.lit("55.5"))
        .when(pl.col("churn_line") == "3").then(pl.lit("-7")).otherwise("monthly_charge"),
        churn_action=pl.when(pl.col("churn_text").is_not_null()).then(pl.lit("discard")).otherwise("churn_action"),
    )  # fmt: skip
    mended.write_csv(sheet)
    told = spoilt.churn(
        "quarantine", "readmit", str(sheet), "--month", "2024-04", "--by", "ann", "--note", "meter read again"
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert (
        "3 rows amended, 1 left as they are. Of 4 rows in quarantine, 3 will stay once the month is run." in told.stdout
    )
    assert "still broken row 2: monthly_charge expected at least 0, found '-7'" in told.stdout
    lake = spoilt.pipeline().lake
    assert rows_of(spoilt, "validated_data") == before + 1
    found = quarantined(spoilt)
    assert found.select("rule", "value").rows() == [
        ("min", "-7"), ("min", "-1"), ("discarded", "Total,,,1500"),
    ]  # fmt: skip
    assert found["expected"][2] == "discarded by ann: meter read again"
    assert lake.record("raw_data", APRIL) == raw, "what was received never changes"
    assert [r.rows for r in lake.history("validated_data", APRIL)] == [before, before + 1]
    assert [r.rows for r in lake.history("quarantined_data", APRIL)] == [4, 3]
    features = lake.record("features", APRIL)
    validated = lake.record("validated_data", APRIL)
    assert features is not None
    assert validated is not None
    assert features.inputs["validated_data 2024-04"] == validated.content
    assert validated.facts["mended"] == 2
    amendments = lake.record("amendments", APRIL)
    assert amendments is not None
    assert (amendments.facts["by"], amendments.facts["note"]) == ("ann", "meter read again")


def test_a_row_comes_back_when_its_rule_is_changed(spoilt: Installation) -> None:
    before = rows_of(spoilt, "validated_data")
    spec = small_spec(source={"type": "file", "path": "incoming/{month}.csv"})
    charge = next(c for c in spec["schema"]["columns"] if c["name"] == "monthly_charge")
    charge["min"] = -5
    spoilt.declare("churn", spec)
    told = spoilt.churn("quarantine", "readmit", "--month", "2024-04")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "In quarantine of 2024-04 now: 1." in told.stdout
    assert rows_of(spoilt, "validated_data") == before + 3


def test_an_earlier_month_that_is_mended_has_the_later_ones_run_again(own_files: Installation) -> None:
    whole = pl.read_csv(own_files.home / "data/incoming/2024-02.csv", infer_schema=False)
    own_files.deliver("2024-02", whole.with_columns(support_calls=pl.lit("many")).head(1).vstack(whole.slice(1)))
    assert all(r.success for r in own_files.run(["2024-02", "2024-03"]))
    sheet = own_files.home / "mend.csv"
    assert own_files.churn("quarantine", "export", "--month", "2024-02", "--to", str(sheet)).returncode == 0
    pl.read_csv(sheet, infer_schema=False).with_columns(support_calls=pl.lit("9")).write_csv(sheet)
    told = own_files.churn("quarantine", "readmit", str(sheet), "--month", "2024-02")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "2024-03 again: features" in told.stdout
    assert "In quarantine of 2024-02 now: 0." in told.stdout


def test_what_was_mended_stays_with_its_row_when_the_month_is_delivered_again(spoilt: Installation) -> None:
    sheet, rows = exported(spoilt)
    charge = pl.when(pl.col("churn_line") == "2").then(pl.lit("55.5")).otherwise("monthly_charge")
    rows.with_columns(monthly_charge=charge).write_csv(sheet)
    assert spoilt.churn("quarantine", "readmit", str(sheet), "--month", "2024-04").returncode == 0
    file = spoilt.home / "data/incoming/2024-04.csv"
    header, *lines = file.read_text().splitlines()
    spoilt.deliver("2024-04", "\n".join([header, *reversed(lines[:-1])]) + "\n")
    (result,) = spoilt.run(["2024-04"])
    assert result.success, result.problems
    assert quarantined(spoilt)["rule"].to_list() == ["min", "min"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("export", "--month", "2024-03"), "quarantined_data 2024-03: expected rows to export, found none"),
        (("export", "--month", "2024-09"), "raw_data 2024-09: expected the month to be there"),
        (("readmit", "nowhere.csv", "--month", "2024-04"), "nowhere.csv"),
        (("show", "--month", "04/2024"), "expected a month as YYYY-MM"),
    ],
)
def test_a_mistake_is_one_sentence(with_april: Installation, arguments: tuple[str, ...], told: str) -> None:
    found = with_april.churn("quarantine", *arguments)
    assert found.returncode == 1
    assert told in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


def test_a_sheet_that_was_not_changed_is_refused(spoilt: Installation) -> None:
    sheet, _ = exported(spoilt)
    found = spoilt.churn("quarantine", "readmit", str(sheet), "--month", "2024-04")
    assert found.returncode == 1
    assert "expected mended rows, found none that differs" in found.stdout
    again = spoilt.churn("quarantine", "export", "--month", "2024-04", "--to", str(sheet))
    assert again.returncode == 1
    assert "expected no such file, found one" in again.stdout
