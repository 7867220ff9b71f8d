"""Months made again from what was received: equal bit for bit, and what isn't is found and named."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from churn_assets import quarantine
from churn_assets.errors import LakeError
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.replay import Replay, replay
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.declared import document
from churn_assets_tests.installation import Installation, small_spec

pytestmark = pytest.mark.e2e

FEBRUARY, MARCH, APRIL = map(Month.parse, MONTHS[1:4])
FEATURES = ("raw_data", "validated_data", "features")


def replayed(pipeline: Pipeline, month: str, into: Path) -> Replay:
    record = pipeline.lake.record("versioned_dataset", Month.parse(month))
    assert record is not None
    return replay(pipeline, pipeline.datasets.get(record.facts["id"]), into)


def made(installation: Installation, month: str) -> dict[str, object]:
    """Everything that must be equal, wherever and on however many threads a month was run."""
    pipeline = installation.pipeline()
    dataset, model = (pipeline.lake.record(t, Month.parse(month)) for t in ("versioned_dataset", "model"))
    assert dataset is not None and model is not None
    artefact = pipeline.models.artefact(str(model.facts["model_id"]))
    return {"id": dataset.facts["id"], "artefact": artefact, **installation.contents(month)}


def test_another_process_with_other_threads_makes_the_same_of_the_same_files(
    filed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Installation.create(
        tmp_path / "home", churn=small_spec(source={"type": "file", "path": "incoming/{month}.csv"})
    )
    for month in MONTHS[:3]:
        other.deliver(month, filed.received(month))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        here = int(os.environ.get(name, os.cpu_count() or 1))
        monkeypatch.setenv(name, "1" if here > 1 else "2")
    with other.start("backfill", "--from", "2024-01", "--to", "2024-03") as process:
        said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert made(other, "2024-03") == made(filed, "2024-03")
    assert other.exported("2024-03") == filed.exported("2024-03")
    ours, theirs = (i.pipeline().datasets.find(str(made(i, "2024-03")["id"])) for i in (filed, other))
    assert ours == theirs


def test_a_month_is_made_again_on_a_clean_folder_with_the_champion_of_then(
    finished: Installation, tmp_path: Path
) -> None:
    told = finished.churn("dataset", "replay", "2024-05", "--into", str(tmp_path / "again"))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Equal, bit for bit" in told.stdout
    decided = finished.pipeline().lake.record("promotions", APRIL)
    assert decided is not None
    for what in ("raw_data 2024-01", "validated_data 2024-02", "features 2024-05", "versioned_dataset 2024-05",
                 f"artefact of {decided.facts['champion']}", "artefact of 2024-05", "promotions 2024-05",
                 "predictions 2024-05", "retention_list 2024-05"):  # fmt: skip
        assert what in told.stdout
    assert (tmp_path / "again/lake/churn/predictions").is_dir()
    twice = finished.churn("dataset", "replay", "2024-05", "--into", str(tmp_path / "again"))
    assert twice.returncode == 1
    assert "expected an empty folder" in twice.stdout


@pytest.mark.slow
def test_a_month_of_chosen_candidates_is_made_again_with_them(own: Installation, tmp_path: Path) -> None:
    (chosen,) = own.run(["2024-03"], stages=["model"], candidates=["baseline"])
    assert chosen.success, chosen.problems
    found = replayed(own.pipeline(), "2024-03", tmp_path / "again")
    assert found.different == (), found.different
    assert "artefact of 2024-03-baseline" in " ".join(c.name for c in found.compared)
    assert not any("other code" in doubt for doubt in found.doubts)


def test_one_value_changed_in_what_was_received_is_found_and_named(own: Installation, tmp_path: Path) -> None:
    pipeline = own.pipeline()
    raw = pipeline.lake.record("raw_data", FEBRUARY)
    assert raw is not None
    (file,) = pipeline.lake.files(raw)
    rows = pl.read_parquet(file)
    spoilt = pl.when(pl.int_range(pl.len()) == 7).then(pl.col("tenure_months") + 1).otherwise("tenure_months")
    rows.with_columns(spoilt.alias("tenure_months")).write_parquet(file)
    found = replayed(pipeline, "2024-03", tmp_path / "again")
    different = [c.name for c in found.different]
    assert different[:3] == ["raw_data 2024-02", "validated_data 2024-02", "features 2024-02"]
    assert {"versioned_dataset 2024-03", "dataset version of 2024-03", "predictions 2024-03"} <= set(different)
    assert not {"raw_data 2024-01", "features 2024-01", "raw_data 2024-03"} & set(different)


def test_a_holdout_made_by_other_code_is_equal_and_says_so(own: Installation, tmp_path: Path) -> None:
    pipeline = own.pipeline()
    place = pipeline.lake.root / "_records/features/2024-02.json"
    record = pipeline.lake.record("features", FEBRUARY)
    assert record is not None
    manifests = sorted((pipeline.lake.root / "_datasets").glob("*.json"))
    for file in (place, *manifests):
        file.write_text(file.read_text().replace(f'"{record.code}"', '"anothercode0"'))
    found = replayed(pipeline, "2024-02", tmp_path / "again")
    assert not found.different
    assert found.doubts == ("features was made by other code than the present: a difference is to be expected.",)


def test_without_the_version_that_was_received_then_there_is_no_replay(own: Installation, tmp_path: Path) -> None:
    pipeline = own.pipeline()
    raw = pipeline.lake.record("raw_data", FEBRUARY)
    assert raw is not None
    (file,) = pipeline.lake.files(raw)
    file.unlink()
    with pytest.raises(
        LakeError, match=r"expected raw_data 2024-02 as it was then, found that version is gone\. Restore"
    ):
        replayed(pipeline, "2024-03", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    told = own.churn("dataset", "list")
    assert told.stdout.count("no: raw_data 2024-02 is gone") == 4


def test_mended_rows_and_earlier_deliveries_and_specifications_are_those_of_then(
    own_files: Installation, tmp_path: Path
) -> None:
    whole = pl.read_csv(own_files.home / "data/incoming/2024-02.csv", infer_schema=False)
    negative = pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("-1")).otherwise("monthly_charge")
    own_files.deliver("2024-02", whole.with_columns(monthly_charge=negative))
    sheet, pipeline = own_files.home / "mend.csv", own_files.pipeline()
    assert all(r.success for r in own_files.run(["2024-02"], stages=["raw_data", "validated_data"]))
    quarantine.export(pipeline, FEBRUARY, sheet)
    mended = pl.when(pl.col("churn_line") == "2").then(pl.lit("55.5")).otherwise("monthly_charge")
    pl.read_csv(sheet, infer_schema=False).with_columns(monthly_charge=mended).write_csv(sheet)
    quarantine.readmit(pipeline, FEBRUARY, sheet, "ann", "meter read again")
    assert all(r.success for r in own_files.run(["2024-02"], stages=FEATURES))
    assert all(r.success for r in own_files.run(["2024-03"]))
    version = pipeline.lake.record("versioned_dataset", MARCH)
    assert version is not None
    own_files.deliver("2024-02", whole)
    changed = small_spec(source={"type": "file", "path": "incoming/{month}.csv"}, training={"seed": 8})
    changed["schema"]["max_error_rate"] = 0.5
    own_files.declare("churn", changed)
    assert all(r.success for r in own_files.run(["2024-02"], stages=FEATURES))
    assert all(r.success for r in own_files.run(["2024-03"]))
    pipeline = own_files.pipeline()
    found = replay(pipeline, pipeline.datasets.get(version.facts["id"]), tmp_path / "again")
    assert not found.different
    assert {"amendments 2024-02", "quarantined_data 2024-02", "predictions 2024-03"} <= {c.name for c in found.compared}
    assert not found.doubts


EVENTS = document(
    name="visits",
    source={"type": "file", "path": "incoming/{month}.csv"},
    schema={"key": "user", "columns": [
        {"name": "at", "type": "timestamp", "role": "time"}, {"name": "minutes", "type": "number", "min": 0},
    ], "max_error_rate": 0.1},
    events={"active_months": 1, "measures": [
        {"name": "n", "kind": "count"}, {"name": "minutes_sum", "kind": "sum", "column": "minutes"},
    ]},
    label={"kind": "inactivity", "min_rate": 0},
    features=[
        {"kind": "columns", "columns": ["n", "minutes_sum"]}, {"kind": "lag", "column": "n", "months": 1},
        {"kind": "python", "function": "churn_assets_tests.features.own_functions:keeps_what_it_was_given",
         "columns": ["n"], "names": {"double": "number"}},
    ],
    gates={"floor": 0, "max_calibration_error": 1, "min_rows": 1, "min_positives": 1, "min_lift": 0},
    value={"monthly_value": 10},
)  # fmt: skip


def visits(month: int) -> str:
    """Ninety users, every fifth of whom stays away in a month; one visit is of negative length."""
    there = [n for n in range(90) if (n * 7 + month) % 5]
    lines = [f"u{n:02d},2024-{month:02d}-{day:02d}T08:00:00,{n + day}" for n in there for day in range(1, 3 + n % 4)]
    return "\n".join(["user,at,minutes", *lines, f"u01,2024-{month:02d}-09T08:00:00,-1"])


def test_events_functions_of_ones_own_and_rows_in_quarantine_are_made_again(tmp_path: Path) -> None:
    installation = Installation.create(tmp_path / "home", visits=EVENTS)
    for month in (1, 2, 3):
        installation.deliver(f"2024-{month:02d}", visits(month))
    results = installation.run(MONTHS[:3], name="visits")
    assert all(r.success for r in results), [r.problems for r in results]
    found = replayed(installation.pipeline("visits"), "2024-03", tmp_path / "again")
    assert not found.different
    assert {"quarantined_data 2024-02", "features 2024-03", "predictions 2024-03"} <= {c.name for c in found.compared}
    assert not found.doubts
