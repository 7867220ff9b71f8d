"""churn features, in a process of its own, as a user has it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


def asked(folder: Path) -> Path:
    file = folder / "asked.csv"
    file.write_text(
        "customer_id,at,label,zip\n"
        "C0000001,2024-02-02,1,007\n"
        "C0000001,2024-02-03T00:00:00Z,0,\n"
        "nobody,2024-05-05,0,12\n"
        "C0000001,2024-05-05 10:00,0,12\n"
    )
    return file


def test_features_are_listed_with_what_they_are(finished: Installation) -> None:
    told = finished.churn("features", "list")
    assert told.returncode == 0, told.stdout
    for name in finished.pipeline().spec.feature_names:
        assert f"│ {name} " in told.stdout
    (line,) = (line for line in told.stdout.splitlines() if "│ data_gb_mean_4m " in line)
    for expected in ("mean", "number", "m-3 to m", "Mean of data_gb"):
        assert expected in line


def test_rows_get_what_was_known_and_keep_what_they_had(finished: Installation, tmp_path: Path) -> None:
    for to in ("found.csv", "found.parquet"):
        told = finished.churn(
            "features", "get", str(asked(tmp_path)), "--to", str(tmp_path / to), "--timestamp", "at",
            "--select", "tenure_months, contract",
        )  # fmt: skip
        assert told.returncode == 0, told.stdout + told.stderr
        assert "2 of 4 rows have features, of 2024-01 to 2024-04" in told.stdout
    rows = pl.read_parquet(tmp_path / "found.parquet")
    assert rows["tenure_months"].is_null().to_list() == [True, False, True, False]
    assert rows["tenure_months"][3] == rows["tenure_months"][1] + 3
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert lines[0] == "customer_id,at,label,zip,event_month,feature_version,tenure_months,contract"
    assert lines[1] == "C0000001,2024-02-02,1,007,,,,"
    assert lines[2].startswith("C0000001,2024-02-03T00:00:00Z,0,,2024-01-01,")
    assert pl.read_csv("\n".join(lines).encode())["tenure_months"].equals(rows["tenure_months"])
    again = finished.churn(
        "features", "get", str(tmp_path / "found.parquet"), "--to", str(tmp_path / "again.csv"), "--timestamp", "at",
        "--select", "region",
    )  # fmt: skip
    assert again.returncode == 1
    assert "called like one of the answer, found event_month, feature_version" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--timestamp", "ats"), "the moment in a column 'ats', found none of that name. Did you mean 'at'?"),
        (("--timestamp", "label"), "row 1: expected a moment in 'label' such as 2024-06-03"),
        (("--timestamp", "at", "--customer", "client"), "the customer in a column 'client', found none"),
        (("--timestamp", "at", "--select", "tenure"), "no feature is called 'tenure'. Did you mean"),
        (("--timestamp", "at", "--to", "found.txt"), "expected a name that ends with .csv or .parquet, found .txt"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_writes_nothing(
    finished: Installation, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    to = tmp_path / "found.csv"
    told = finished.churn("features", "get", str(asked(tmp_path)), "--to", str(to), *arguments)
    assert told.returncode == 1
    assert said in told.stdout.replace("\n", " ")
    assert "Traceback" not in told.stdout + told.stderr
    assert not to.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "found: No such file or directory"),
        (b"", "found: empty CSV"),
        (b"customer_id,timestamp\na,2024-02-03\nb,2024-02-03,1,2\n", "found more fields than defined"),
    ],
)
def test_a_file_that_cant_be_read_is_named(
    finished: Installation, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "odd.csv"
    if content is not None:
        file.write_bytes(content)
    told = finished.churn("features", "get", str(file), "--to", str(tmp_path / "found.csv"))
    assert told.returncode == 1
    assert f"{file}: expected rows of customers and moments" in told.stdout
    assert said in told.stdout


def test_a_feast_repository_is_written_and_what_to_do_with_it_said(finished: Installation, tmp_path: Path) -> None:
    told = finished.churn("features", "export-feast", "--to", str(tmp_path / "feast"))
    assert told.returncode == 0, told.stdout
    assert "2024-01 to 2024-05: 5 months linked" in told.stdout
    assert "pip install 'feast[duckdb]==" in told.stdout
    assert {p.name for p in (tmp_path / "feast").iterdir()} == {"definitions.py", "feature_store.yaml", "features"}
