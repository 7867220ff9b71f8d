from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import LakeError, MissingMonth, SpecError
from churn_assets.feast_export import FEAST, export_feast
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.store.lake import Commit
from churn_assets.store.offline import AVAILABLE_AT
from churn_assets_tests.declared import declared
from churn_assets_tests.installation import Installation

JAN, FEB, MAR = (Month(2024, n) for n in (1, 2, 3))


def pipeline(folder: Path, *months: Month, **changes: Any) -> Pipeline:
    made = Pipeline(declared(**changes), Settings(data=folder / "data", defs=folder))
    for month in months:
        write(made, month, rows(made, month))
    return made


def rows(made: Pipeline, month: Month, **more: Any) -> pl.DataFrame:
    given = {"customer_id": ["a", "b"], "plan": ["plus", None], "calls": [month.number, None], "charge": [0.1, 2.5],
             "calls_lag_2m": pl.Series([None, 7], dtype=pl.Int64)}  # fmt: skip
    available = pl.lit(made.calendar.available_from(month))
    return pl.DataFrame(given).with_columns(available.alias(AVAILABLE_AT)).with_columns(**more)


def write(made: Pipeline, month: Month, frame: pl.DataFrame) -> None:
    made.lake.write("features", month, frame, Commit(""), reason="" if len(frame) else "no rows came")


def exported(folder: Path) -> dict[str, pl.DataFrame]:
    return {file.name: pl.read_parquet(file) for file in sorted((folder / "features").iterdir())}


def constants(folder: Path) -> set[object]:
    tree = ast.parse((folder / "definitions.py").read_text())
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def test_every_month_is_a_link_to_the_file_that_the_lake_has_recorded(tmp_path: Path) -> None:
    made = pipeline(tmp_path, JAN, FEB)
    repository = export_feast(made, tmp_path / "feast")
    assert repository.linked == ("2024-01", "2024-02")
    assert not repository.copied
    for month in (JAN, FEB):
        record = made.lake.record("features", month)
        assert record is not None
        link = tmp_path / "feast" / "features" / f"{month}.parquet"
        assert link.is_symlink()
        assert link.resolve() == (made.lake.root / "features" / record.files[0]).resolve()
    told = constants(tmp_path / "feast")
    assert {str(made.lake.root / "features"), "shop_features", "customer_id", AVAILABLE_AT} <= told
    assert {"plan", "calls", "charge", "calls_lag_2m", *made.spec.feature_descriptions.values()} <= told


def test_a_corrected_month_and_an_emptied_one_are_exported_anew(tmp_path: Path) -> None:
    made, folder = pipeline(tmp_path, JAN, FEB), tmp_path / "feast"
    export_feast(made, folder)
    (folder / "registry.db").write_text("what Feast has registered")
    store = folder / "feature_store.yaml"
    store.write_text(store.read_text().replace("online_store.db", "elsewhere.db"))
    write(made, JAN, rows(made, JAN, calls=pl.lit(40)))
    assert exported(folder)["2024-01.parquet"]["calls"].to_list() == [1, None], "it stays as it was exported"
    write(made, FEB, rows(made, FEB).clear())
    assert export_feast(made, folder).months == ("2024-01",)
    assert list(exported(folder)) == ["2024-01.parquet"]
    assert exported(folder)["2024-01.parquet"]["calls"].to_list() == [40, 40]
    assert (folder / "registry.db").exists()
    assert "elsewhere.db" in store.read_text()


def test_a_month_whose_file_cant_be_read_as_it_stands_is_copied(tmp_path: Path) -> None:
    made = pipeline(tmp_path, JAN, FEB, MAR)
    write(made, FEB, rows(made, FEB, calls=pl.lit(3.0)))
    write(made, MAR, rows(made, MAR).with_columns(pl.col(AVAILABLE_AT) + timedelta(days=5)))
    repository = export_feast(made, tmp_path / "feast")
    assert repository.linked == ("2024-01",)
    assert repository.copied == ("2024-02", "2024-03")
    months = exported(tmp_path / "feast")
    assert pl.concat(m["calls"] for m in months.values()).to_list() == [1, None, 3, 3, 3, None], "they are of one type"
    assert months["2024-03.parquet"].equals(rows(made, MAR).select(months["2024-03.parquet"].columns))


def test_a_feature_comes_in_the_type_that_is_declared(tmp_path: Path) -> None:
    made = pipeline(tmp_path)
    write(made, JAN, rows(made, JAN, charge=pl.lit(3)))
    assert export_feast(made, tmp_path / "feast").copied == ("2024-01",)
    assert exported(tmp_path / "feast")["2024-01.parquet"]["charge"].dtype == pl.Float64


def test_texts_of_people_stay_texts(tmp_path: Path) -> None:
    odd = 'it\'s "{odd}" """ \\ \n\'\'\''
    export_feast(pipeline(tmp_path, JAN, description=odd), tmp_path / "feast")
    assert odd in constants(tmp_path / "feast")


def test_what_somebody_else_has_written_is_left_alone(tmp_path: Path) -> None:
    made, folder = pipeline(tmp_path, JAN), tmp_path / "notes"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text("project: mine\n")
    for place in (folder, folder / "feature_store.yaml"):
        with pytest.raises(SpecError, match="empty or not there, or an earlier export of shop"):
            export_feast(made, place)
    assert [f.name for f in folder.iterdir()] == ["feature_store.yaml"]
    export_feast(made, tmp_path / "feast")
    with pytest.raises(SpecError, match="an earlier export of other"):
        export_feast(pipeline(tmp_path, name="other"), tmp_path / "feast")


def test_a_missing_month_stops_the_export_and_so_does_a_pipeline_without_rows(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"expected a month with rows to export, found none\. Run `churn backfill"):
        export_feast(pipeline(tmp_path), tmp_path / "feast")
    with pytest.raises(MissingMonth, match="needs features 2024-02, which isn't there"):
        export_feast(pipeline(tmp_path, JAN, MAR), tmp_path / "feast")
    assert not (tmp_path / "feast").exists()


ASK = """
import sys
import pandas as pd
import pyarrow.parquet as pq
from feast import FeatureStore

store = FeatureStore(sys.argv[1])
found = store.get_historical_features(pd.read_parquet(sys.argv[2]), store.get_feature_service("churn"))
pq.write_table(found.to_arrow(), sys.argv[3])
"""


@pytest.fixture(scope="module")
def feast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The programs of an environment with Feast."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if uv is None:
        pytest.skip("there is no uv to install Feast with")
    home = tmp_path_factory.mktemp("feast") / "venv"
    python = str(home / "bin" / "python")
    for command in (["venv", "--python", sys.executable, str(home)], ["pip", "install", "--python", python, FEAST]):
        done = subprocess.run([uv, *command, "--system-certs"], capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"{FEAST} can't be installed here: {done.stderr.strip()[-300:]}")
    yield home / "bin"
    shutil.rmtree(home)


def of_everybody(made: Pipeline) -> pl.DataFrame:
    """Rows that ask for customers of all months and for a stranger, at the edges of all months and between them."""
    known = made.lake.scan(made.offline.window("test")).select("customer_id").unique().collect()
    customers = known.sort("customer_id").gather_every(7)["customer_id"].to_list()
    edges = [made.calendar.available_from(made.calendar.start + i) for i in range(5)]
    moments = [edge + by for edge in edges for by in (timedelta(microseconds=-1), timedelta(), timedelta(days=11))]
    asked = pl.DataFrame({"customer_id": ["nobody", *customers]}).join(
        pl.DataFrame({"event_timestamp": [*moments, datetime(2031, 1, 1, tzinfo=moments[0].tzinfo)]}), how="cross"
    )
    return asked.sample(fraction=1, shuffle=True, seed=1).with_row_index("row")


@pytest.mark.slow
def test_feast_finds_what_the_offline_store_finds(finished: Installation, feast: Path, tmp_path: Path) -> None:
    made, folder = finished.pipeline(), tmp_path / "repository"
    export_feast(made, folder)
    entities = of_everybody(made)
    entities.write_parquet(tmp_path / "entities.parquet")
    for command in (
        [feast / "feast", "--chdir", folder, "apply"],
        [feast / "python", "-c", ASK, folder, tmp_path / "entities.parquet", tmp_path / "found.parquet"],
    ):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    found = pl.read_parquet(tmp_path / "found.parquet").sort("row")
    ours = made.offline.get_training_frame(entities, timestamp="event_timestamp")
    assert ours["event_month"].n_unique() == 6, "five months, and nothing known"
    names = made.spec.feature_names
    assert found.select("customer_id", *names).equals(ours.select("customer_id", *names))
