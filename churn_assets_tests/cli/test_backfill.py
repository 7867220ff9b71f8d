"""Many months from the command line, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from churn_assets.cli.app import app
from churn_assets.cli.terminal import console
from churn_assets.errors import ChurnAssetsError
from churn_assets.months import Month
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    before, console.width = console.width, 200
    yield
    console.width = before


def churn(installation: Installation, *arguments: str) -> Result:
    with installation.active():
        return CliRunner().invoke(app, arguments)


def table(told: Result) -> list[list[str]]:
    """Months and outcomes of the last table."""
    return [line.split()[:2] for line in told.output.splitlines() if line.strip().startswith("20") and "." in line]


def test_months_run_ascending_in_whatever_order_they_are_given_and_what_is_unchanged_is_skipped(
    own: Installation,
) -> None:
    told = churn(own, "backfill", "2024-05", "2024-02..2024-03", "2024-02")
    assert told.exit_code == 0, told.output
    assert table(told) == [["2024-02", "skipped"], ["2024-03", "skipped"], ["2024-05", "skipped"]]
    assert told.output.count("Skipped: same inputs and code as in run ") == 3
    assert "3 of 3 months done" in told.output
    with own.instance() as instance:
        runs = list(instance.get_runs())
    assert [run.tags["dagster/partition"] for run in runs[:3]] == ["2024-05", "2024-03", "2024-02"]
    assert [run.tags["churn/outcome"] for run in runs] == 3 * ["unchanged"] + 5 * ["made"]


def test_gaps_are_named_by_status_and_filled_by_backfill(own: Installation) -> None:
    lake = own.pipeline().lake
    (lake.root / "_records" / "features" / "2024-03.json").unlink()
    status = churn(own, "status").output
    assert "missing 2024-03: features was never made." in status
    assert "stale 2024-04: feature_store: " in status
    assert "due 2024-06 to " in status
    assert "To mend it all: `churn backfill --missing`" in status
    told = churn(own, "backfill", "--missing", "--to", "2024-05")
    assert told.exit_code == 0, told.output
    assert table(told) == [["2024-03", "made"], ["2024-04", "skipped"], ["2024-05", "skipped"]]
    assert lake.record("features", Month.parse("2024-03")) is not None
    again = churn(own, "backfill", "--missing", "--to", "2024-05")
    assert (again.exit_code, again.output) == (
        0,
        "Nothing is missing: what was asked for was made and is up to date.\n",
    )


def test_a_month_whose_last_run_failed_is_a_gap_with_what_that_run_said(own_files: Installation) -> None:
    whole = own_files.received("2024-03")
    own_files.deliver("2024-03", "customer_id\nC1\n")
    (failed,) = own_files.run(["2024-03"])
    assert f"failed 2024-03: {failed.problems[0]} (run {failed.run_id[:8]})" in churn(own_files, "status").output
    own_files.deliver("2024-03", whole)
    assert churn(own_files, "backfill", "--missing", "2024-01..2024-03").exit_code == 0
    assert "failed 2024-03" not in churn(own_files, "status").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("2024-05..2024-03",), "2024-05..2024-03: expected a month on or after 2024-05 behind the dots"),
        (("2024-5",), "expected a month as YYYY-MM, such as 2025-06; found '2024-5'"),
        (("2024-05", "--to", "2024-06"), "--from, --to: expected months or a range, found both"),
        (("2023-05",), "expected a month from 2024-01 on, found 2023-05"),
    ],
)
def test_a_wrong_call_runs_nothing_and_says_what_was_expected(
    finished: Installation, arguments: tuple[str, ...], said: str
) -> None:
    told = churn(finished, "backfill", *arguments)
    assert isinstance(told.exception, ChurnAssetsError)
    assert said in str(told.exception)
