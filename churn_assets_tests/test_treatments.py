"""Lists as files, and sheets that tell what was done with them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from churn_assets.errors import ChurnAssetsError, QualityError, SpecError
from churn_assets.months import Month
from churn_assets.pipeline import TREATMENT_LOG
from churn_assets.treatments import import_log, listed, log_of, newest_list, template, write
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

MAY = Month.parse("2024-05")


def first(installation: Installation) -> str:
    pipeline = installation.pipeline()
    return str(listed(pipeline, newest_list(pipeline))[pipeline.key][0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("customer_id,treated\nnobody,yes\n", r"1 whom the month doesn't know \(nobody\)"),
        ("customer_id,treated\n{first},yes\n{first},no\n", "line 2: customer_id: expected one row for a customer"),
        ("customer_id,treated\n{first},yes\n{first},yes\n", "line 3: customer_id: expected each row once"),
        ("customer_id,treated\n{first},perhaps\n", "line 2: treated: expected yes or no, found 'perhaps'"),
        ("customer_id,treated\n{first},yes,1,2\n", "line 2: the row: expected"),
        ("customer_id,done\n{first},yes\n", "treated"),
        ("customer_id,treated\n{first},\n", "expected yes or no for at least one customer"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused_with_its_place_and_changes_nothing(
    finished: Installation, tmp_path: Path, content: str, said: str
) -> None:
    sheet = tmp_path / "done.csv"
    sheet.write_text(content.format(first=first(finished)))
    with pytest.raises(QualityError, match=said) as refused:
        import_log(finished.pipeline(), MAY, sheet, "ann")
    assert str(sheet) in str(refused.value)
    assert finished.pipeline().lake.record(TREATMENT_LOG, MAY) is None


@pytest.mark.parametrize(
    ("month", "why"), [("2024-01", "No champion|Nobody was scored"), ("2031-01", "churn backfill")]
)
def test_a_month_without_a_list_says_why(finished: Installation, tmp_path: Path, month: str, why: str) -> None:
    with pytest.raises(ChurnAssetsError, match=f"retention_list {month}: expected customers to contact.*({why})"):
        template(finished.pipeline(), Month.parse(month), tmp_path / "sheet.xlsx")


def test_a_month_of_which_nobody_has_told_names_the_sheet(finished: Installation) -> None:
    with pytest.raises(ChurnAssetsError, match="churn treatments template --month 2024-05"):
        log_of(finished.pipeline(), MAY)


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_a_list_is_written_as_its_name_says_and_a_sheet_is_read_back(
    own: Installation, tmp_path: Path, kind: str
) -> None:
    pipeline = own.pipeline()
    record = newest_list(pipeline, "2024-05")
    rows = listed(pipeline, record)
    write(rows, tmp_path / f"list.{kind}", "list 2024-05", pipeline, MAY)
    exported = own.home / f"data/exports/churn/2024-05/retention_list.{kind}"
    assert (tmp_path / f"list.{kind}").read_bytes() == exported.read_bytes()
    sheet = tmp_path / f"sheet.{kind}"
    assert template(pipeline, MAY, sheet) == len(rows)
    with pytest.raises(ChurnAssetsError, match="expected no such file"):
        template(pipeline, MAY, sheet)
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "xlsx": pl.read_excel}[kind](sheet)
    filled = read.with_columns(treated=pl.lit("yes"), date=pl.lit("2024-06-03"), cost=pl.lit(7.5))
    write(filled, tmp_path / f"filled.{kind}", "treatments", pipeline, MAY)
    taken = import_log(pipeline, MAY, tmp_path / f"filled.{kind}", "ann")
    assert (taken.log["treated"].sum(), taken.log["cost"].sum()) == (len(rows), 7.5 * len(rows))
    assert not taken.replaced
    assert taken.ignored == ()
    assert log_of(pipeline, MAY)["left"].null_count() == len(rows)


def test_another_kind_of_file_is_refused(finished: Installation, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"ends with .csv, .parquet or .xlsx, found .pdf"):
        write(pl.DataFrame(), tmp_path / "list.pdf", "list", finished.pipeline(), MAY)
