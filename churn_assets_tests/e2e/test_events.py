"""A source of events from the file to the features: stray ones set aside, mended by a person, and counted then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.months import Month
from churn_assets_tests.declared import document
from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e

MARCH = Month(2024, 3)
SPEC = document(
    name="logs",
    source={"type": "file", "path": "incoming/{month}.csv"},
    schema={"key": "user", "columns": [
        {"name": "at", "type": "timestamp", "role": "time"}, {"name": "minutes", "type": "number", "min": 0},
        {"name": "long", "type": "boolean", "expression": "minutes > 30"},
    ], "max_error_rate": 0.1},
    events={"active_months": 2, "measures": [
        {"name": "sessions", "kind": "count"}, {"name": "long_sessions", "kind": "count", "where": {"long": True}},
        {"name": "quiet_days", "kind": "recency", "months": 2},
    ]},
    # Two months ahead, so that three months are too few to ask for a model.
    label={"kind": "inactivity", "horizon": 2, "min_rate": 0},
    features=[{"kind": "columns", "columns": ["sessions", "long_sessions", "quiet_days"]},
              {"kind": "sum", "column": "sessions", "months": 3}],
    value={"monthly_value": 10},
)  # fmt: skip


def month_of(month: Month) -> str:
    """Twenty users, each with two sessions on a day; of every third one also a long one."""
    lines = [f"u{n:02d},{month}-{n:02d}T{h}:00:00,{m}" for n in range(1, 21) for h, m in (("08", 5), ("23", 20))]
    return "\n".join(["user,at,minutes", *lines, *(f"u{n:02d},{month}-28T12:00:00,45" for n in range(1, 21, 3))])


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation.create(tmp_path_factory.mktemp("logs") / "home", logs=SPEC)
    for month in (MARCH - 2, MARCH - 1):
        made.deliver(str(month), month_of(month))
    made.deliver(str(MARCH), month_of(MARCH) + "\nu02,2024-04-01T00:00:00,45\n,2024-03-05T10:00:00,45\nu99,2024-03-05")
    results = made.run([str(MARCH - 2), str(MARCH - 1), str(MARCH)], name="logs")
    assert all(r.success for r in results), [r.problems for r in results]
    return made


def table(installation: Installation, name: str) -> pl.DataFrame:
    lake = installation.pipeline("logs").lake
    record = lake.record(name, MARCH)
    assert record is not None
    return lake.scan_record(record).collect() if record.files else pl.DataFrame()


def features(installation: Installation) -> dict[str, dict[str, Any]]:
    return {row["user"]: row for row in table(installation, "features").iter_rows(named=True)}


def test_events_are_accounted_for_and_counted_by_customer(logs: Installation) -> None:
    aside = table(logs, "quarantined_data")
    assert aside.select("customer", "rule", "column", "_line").sort("_line").rows() == [
        ("u02", "in_month", "at", 49), (None, "required", "user", 50), (None, "structure", None, 51),
    ]  # fmt: skip
    assert len(table(logs, "validated_data")) == 47
    checks = {c["name"]: c for c in logs.pipeline("logs").lake.record("validated_data", MARCH).facts["checks"]}  # type: ignore[union-attr]
    assert checks["accounting"]["reason"] == "50 rows received = 47 validated + 3 quarantined."
    found = features(logs)
    assert len(found) == 20
    assert found["u01"]["sessions"] == 3
    assert (found["u02"]["sessions"], found["u02"]["long_sessions"], found["u02"]["quiet_days"]) == (2, 0, 29)
    assert found["u02"]["sessions_sum_3m"] == 6


def test_a_stray_event_that_is_mended_counts(logs: Installation, tmp_path: Path) -> None:
    own = logs.copy(tmp_path / "home")
    sheet = tmp_path / "mend.csv"
    option = ("--pipeline", "logs", "--month", str(MARCH))
    assert own.churn("quarantine", "export", *option, "--to", str(sheet)).returncode == 0
    text = sheet.read_text()
    assert "at: expected a time in 2024-03, found '2024-04-01" in text
    sheet.write_text(text.replace("u02,2024-04-01T00:00:00", "u02,2024-03-31T23:59:59"))
    told = own.churn("quarantine", "readmit", str(sheet), *option, "--note", "its clock was a second fast")
    assert told.returncode == 0, told.stdout + told.stderr
    assert len(table(own, "quarantined_data")) == 2
    row = features(own)["u02"]
    assert (row["sessions"], row["long_sessions"], row["quiet_days"], row["sessions_sum_3m"]) == (3, 1, 0, 7)
