"""From a file to a ranked list, through the command line alone: what is proposed runs as it stands."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from churn_assets.months import Month
from churn_assets_tests.installation import ROOT, Installation

pytestmark = pytest.mark.e2e


@pytest.fixture
def empty(tmp_path: Path) -> Installation:
    """An installation without any pipeline."""
    made = Installation.create(tmp_path / "home")
    (made.home / "defs").mkdir()
    (made.home / "data/incoming").mkdir()
    return made


def customers(rows: int, seed: int) -> pl.DataFrame:
    """Customers in an untidy table; those who complain, the same ones every month, leave more often."""
    draw = random.Random(seed)
    complaints = [random.Random(i).choice([0, 0, 0, 1, 2, 5]) for i in range(rows)]
    return pl.DataFrame({
        "Account No": [f"{i:06d}" for i in range(rows)],
        "Plan  Name": [draw.choice(["Basic", "Plus", " Plus", "?"]) for _ in range(rows)],
        "complaints": complaints,
        "Monthly Fee": [f"{draw.uniform(5, 90):.2f} EUR".replace(".", ",") for _ in range(rows)],
        "Since": [f"{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.20{draw.randint(10, 24)}" for _ in range(rows)],
        "month": ["2025-01"] * rows,
        "label": [draw.choice(["a", "b"]) for _ in range(rows)],
        "Status": [draw.choices(["active", "cancelled"], [8 - c, 1 + c])[0] for c in complaints],
    })  # fmt: skip


def test_a_file_becomes_a_pipeline_that_runs_as_it_was_proposed(empty: Installation) -> None:
    customers(1200, seed=1).write_csv(empty.home / "data/incoming/crm.csv")
    told = empty.churn("new", str(empty.home / "data/incoming/crm.csv"), "--name", "crm", "--churned", "status")
    assert told.returncode == 0, told.stdout
    assert "It reads incoming/crm.csv (in the data folder)." in told.stdout
    schema = yaml.safe_load((empty.home / "defs/crm/defs.yaml").read_text())["attributes"]["schema"]
    assert schema == {
        "key": "account_no",
        "columns": {
            "plan_name": {"type": "category", "allowed": ["Basic", "Plus"], "nullable": True, "missing": ["?"]},
            "complaints": {"type": "integer", "min": 0},
            "monthly_fee": {"type": "number", "unit": "EUR", "decimal": ",", "min": 0},
            "Since": {"type": "date", "format": "%d.%m.%Y"},
            "month_received": {"type": "string", "source": "month", "role": "ignored"},
            "label_received": {"type": "category", "source": "label", "allowed": ["a", "b"]},
            "Status": {"type": "boolean", "role": "churned", "true": ["cancelled"], "false": ["active"]},
        },
    }
    assert "churn run --month 2025-01 --pipeline crm" in told.stdout
    ran = empty.churn("run", "--month", "2025-01", "--pipeline", "crm")
    assert ran.returncode == 0, ran.stdout
    listed = empty.churn("list", "--pipeline", "crm", "--top", "3")
    assert "5 complaints" in listed.stdout, listed.stdout


def test_files_of_months_become_a_pipeline_that_learns_from_month_to_month(empty: Installation) -> None:
    files = []
    for i in range(1, 5):
        files.append(str(empty.home / f"data/incoming/crm_2025-0{i}.csv"))
        customers(1200, seed=i).write_csv(files[-1])
    told = empty.churn("new", *files, "--name", "crm", "--churned", "Status")
    assert told.returncode == 0, told.stdout
    assert "churn backfill --to 2025-04 --pipeline crm" in told.stdout
    ran = empty.churn("backfill", "--to", "2025-04", "--pipeline", "crm")
    assert ran.returncode == 0, ran.stdout
    lake = empty.pipeline("crm").lake
    assert [str(m) for m in lake.months("validated_data")] == ["2025-01", "2025-02", "2025-03", "2025-04"]
    dataset = lake.record("versioned_dataset", Month.parse("2025-04"))
    assert dataset is not None and dataset.facts["split"] == "out_of_time"
    assert lake.months("retention_list")[-1] == Month.parse("2025-04")


def test_what_stands_is_never_overwritten_and_a_wrong_call_writes_nothing(empty: Installation) -> None:
    file = empty.home / "crm.csv"
    customers(60, seed=1).write_csv(file)
    unknown = empty.churn("new", str(file), "--name", "crm", "--churned", "Sttus")
    assert unknown.returncode == 1
    assert "expected a column of the file, found 'Sttus'. Did you mean 'Status'?" in unknown.stdout
    assert list((empty.home / "defs").iterdir()) == []
    wrong = empty.churn("new", str(file), "--name", "My CRM", "--churned", "Status")
    assert wrong.returncode == 1
    assert "expected lower-case letters, digits and _" in wrong.stdout
    assert list((empty.home / "defs").iterdir()) == []
    assert empty.churn("new", str(file), "--name", "crm").returncode == 0
    place = empty.home / "defs/crm/defs.yaml"
    place.write_text("mine")
    again = empty.churn("new", str(file), "--name", "crm")
    assert again.returncode == 1
    assert "It stays as it is; give another --name." in again.stdout
    assert place.read_text() == "mine"


@pytest.mark.parametrize(("name", "rows"), [("telco", 7043), ("iranian_churn", 2850)])
def test_a_real_table_runs_as_it_was_proposed(empty: Installation, shared_data: Path, name: str, rows: int) -> None:
    told = empty.churn("new", str(shared_data / f"{name}.csv"), "--name", name)
    assert told.returncode == 0, told.stdout
    ran = empty.churn("run", "--month", "2025-01", "--pipeline", name)
    assert ran.returncode == 0, ran.stdout
    lake = empty.pipeline(name).lake
    kept, model = (lake.record(table, Month.parse("2025-01")) for table in ("validated_data", "model"))
    assert kept is not None and kept.rows == rows
    assert model is not None and model.facts["outcome"] == "promoted"


def test_the_iranian_example_runs_and_is_as_good_as_it_says(shared_data: Path, tmp_path: Path) -> None:
    spec = yaml.safe_load((ROOT / "examples/iranian/defs.yaml").read_text())["attributes"]
    made = Installation.create(tmp_path / "home", iranian=spec)
    (made.home / "data/incoming").mkdir()
    shutil.copy(shared_data / "iranian_churn.csv", made.home / "data/incoming")
    (result,) = made.run(["2025-01"], name="iranian")
    assert result.success, result.problems
    lake = made.pipeline("iranian").lake
    valid, aside = (lake.record(table, Month.parse("2025-01")) for table in ("validated_data", "quarantined_data"))
    assert valid is not None and aside is not None
    assert (valid.rows, aside.rows) == (2850, 300)
    assert lake.scan_record(valid).collect()["status"].value_counts().sort("status")["status"].to_list() == ["1", "2"]
    model = lake.record("model", Month.parse("2025-01"))
    assert model is not None
    assert lake.scan_record(model).collect()["auc"].is_between(0.92, 0.99).all()
