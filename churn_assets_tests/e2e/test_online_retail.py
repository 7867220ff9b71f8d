"""The pipeline on real events: the UCI Online Retail invoices, six months, customers who leave by inactivity."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from churn_assets.months import Month, month_range
from churn_assets_tests.installation import ROOT, Installation

pytestmark = pytest.mark.e2e

MONTHS = month_range(Month(2010, 12), Month(2011, 5))
MAY, MARCH = MONTHS[-1], Month(2011, 3)
Line = dict[str, str]


@pytest.fixture(scope="module")
def retail(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    spec = yaml.safe_load((ROOT / "examples/online_retail/defs.yaml").read_text())["attributes"]
    made = Installation.create(tmp_path_factory.mktemp("retail") / "home", online_retail=spec)
    (made.home / "data/incoming").mkdir()
    (made.home / "data/incoming/online_retail").symlink_to(shared_data / "online_retail")
    results = made.run([str(m) for m in MONTHS], name="online_retail")
    assert all(r.success for r in results), [r.problems for r in results]
    return made


@pytest.fixture(scope="module")
def lines(shared_data: Path) -> dict[Month, list[Line]]:
    """All invoice lines by month, read by nothing of ours."""
    found: dict[Month, list[Line]] = {m: [] for m in MONTHS}
    for path in sorted((shared_data / "online_retail").glob("*.csv")):
        with path.open(newline="") as file:
            found[Month.of(date.fromisoformat(path.stem))] += csv.DictReader(file)
    return found


def rows(installation: Installation, table: str, month: Month) -> pl.DataFrame:
    lake = installation.pipeline("online_retail").lake
    record = lake.record(table, month)
    assert record is not None
    return lake.scan_record(record).collect() if record.files else pl.DataFrame()


def bought(lines: list[Line]) -> Iterator[Line]:
    """The lines of customers that weren't cancelled."""
    return (line for line in lines if line["CustomerID"] and not line["InvoiceNo"].startswith("C"))


def buyers(lines: list[Line]) -> set[int]:
    return {int(float(line["CustomerID"])) for line in bought(lines)}


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_every_line_without_a_customer_is_set_aside_and_none_is_lost(
    retail: Installation, lines: dict[Month, list[Line]], month: Month
) -> None:
    valid, aside = rows(retail, "validated_data", month), rows(retail, "quarantined_data", month)
    nobody = {i for i, line in enumerate(lines[month], 1) if not line["CustomerID"]}
    assert set(aside["_row"]) == nobody
    assert len(valid) == len(lines[month]) - len(nobody)
    own = [line for line in lines[month] if line["CustomerID"]]
    spent = sum(int(line["Quantity"]) * float(line["UnitPrice"]) for line in own)
    assert valid["amount"].sum() == pytest.approx(spent)
    assert valid["cancelled"].sum() == sum(line["InvoiceNo"].startswith("C") for line in own)
    assert valid["InvoiceDate"].dt.truncate("1mo").n_unique() == 1


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_active_is_who_bought_within_two_months(
    retail: Installation, lines: dict[Month, list[Line]], month: Month
) -> None:
    features = rows(retail, "features", month)
    within = [m for m in (month - 1, month) if m in lines]
    assert set(features["CustomerID"]) == set.union(*(buyers(lines[m]) for m in within))
    assert features["CustomerID"].n_unique() == len(features)
    assert features["days_since_order"].is_between(0, 61).all()


def test_features_are_what_the_invoices_say(retail: Installation, lines: dict[Month, list[Line]]) -> None:
    for row in rows(retail, "features", MARCH).gather_every(40).iter_rows(named=True):
        own = of(row["CustomerID"], lines)
        invoices = {line["InvoiceNo"] for line in bought(own[MARCH])}
        days = sorted({datetime.fromisoformat(x["InvoiceDate"]).date() for m in MONTHS[:4] for x in bought(own[m])})
        quarter = [line for m in (MARCH - 2, MARCH - 1, MARCH) for line in own[m]]
        cancelled = sum(line["InvoiceNo"].startswith("C") for line in quarter)
        assert row["orders"] == len(invoices)
        assert row["days_since_order"] == (date(2011, 3, 31) - days[-1]).days
        assert row["products"] == len({line["StockCode"] for line in bought(quarter)})
        assert row["cancelled_share"] == pytest.approx(cancelled / len(quarter))
        assert row["revenue_sum_3m"] == pytest.approx(sum(map(amount, quarter)))
        pause = (days[-1] - days[0]).days / (len(days) - 1) if len(days) > 1 else None
        assert row["days_between_orders"] == pytest.approx(pause)


def of(customer: int, lines: dict[Month, list[Line]]) -> dict[Month, list[Line]]:
    return {m: [x for x in found if x["CustomerID"] == f"{customer}.0"] for m, found in lines.items()}


def amount(line: Line) -> float:
    return int(line["Quantity"]) * float(line["UnitPrice"])


def test_churn_is_no_purchase_in_the_next_two_months(retail: Installation, lines: dict[Month, list[Line]]) -> None:
    parts = {p["event_month"]: p for p in rows(retail, "versioned_dataset", MAY).iter_rows(named=True)}
    assert list(parts) == ["2010-12", "2011-01", "2011-03"], "2011-02 lies in the purge gap, later ones are immature"
    for text, part in parts.items():
        month = Month.parse(text)
        customers = set.union(*(buyers(lines[m]) for m in (month - 1, month) if m in lines))
        left = customers - buyers(lines[month + 1]) - buyers(lines[month + 2])
        assert (part["rows"], part["positives"], part["unknown"]) == (len(customers), len(left), 0)


def test_a_model_that_learned_from_winter_knows_who_leaves_in_spring(retail: Installation) -> None:
    scores: dict[str, dict[str, Any]] = {
        row["candidate"]: row for row in rows(retail, "model", MAY).iter_rows(named=True)
    }
    for name in ("baseline", "xgboost"):
        assert 0.68 < scores[name]["auc"] < 0.78
        assert scores[name]["auc_lower"] > 0.65
        assert scores[name]["rows"] == 1442
    assert len(rows(retail, "predictions", MAY)) == len(rows(retail, "features", MAY))


def test_with_too_few_months_it_says_how_many_more_it_needs(retail: Installation) -> None:
    lake = retail.pipeline("online_retail").lake
    told = [record.reason for m in MONTHS[:2] if (record := lake.record("versioned_dataset", m))]
    assert told == [
        f"Not enough history: needs {n} more month(s) until the first label is mature." for n in (2, 1)
    ]  # fmt: skip
