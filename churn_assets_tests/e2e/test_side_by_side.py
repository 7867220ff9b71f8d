"""Two pipelines in one installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_assets.definitions import defs
from churn_assets_tests.conftest import MONTHS
from churn_assets_tests.installation import ASSETS, Installation, small_spec

pytestmark = pytest.mark.e2e


def test_two_pipelines_share_nothing_that_either_writes(finished: Installation, tmp_path: Path) -> None:
    import mlflow

    both = finished.copy(tmp_path / "home")
    spec = small_spec(source={"type": "simulated", "customers": 1200, "seed": 9})
    both.declare("broadband", {k: v for k, v in spec.items() if k != "description"})
    before = {month: both.contents(month) for month in MONTHS}
    with both.active():
        loaded = defs()
        keys = {spec.key.to_user_string() for spec in loaded.resolve_all_asset_specs()}
        assert keys == {f"{p}/{s}" for p in ("churn", "broadband") for s in ASSETS}
        groups = {spec.group_name for spec in loaded.resolve_all_asset_specs()}
        assert groups == {"churn", "broadband"}
        named = {
            "schedules": ("monthly", "up_to_date", "retrain"),
            "sensors": ("source", "corrections", "labels_matured", "freshness", "failures", "alerts", "retraining"),
        }
        for kind, names in named.items():
            found = {one.name for one in getattr(loaded, kind)}
            assert found == {f"{p}_{name}" for p in ("churn", "broadband") for name in names}
        job = loaded.resolve_job_def("broadband_month")
        assert {k.to_user_string() for k in job.asset_layer.executable_asset_keys} == {f"broadband/{s}" for s in ASSETS}
    results = both.run(MONTHS[:3], name="broadband")
    assert all(r.success for r in results), [r.problems for r in results]
    assert {month: both.contents(month) for month in MONTHS} == before
    assert both.contents("2024-03", "broadband")["predictions"] != before["2024-03"]["predictions"]
    client = mlflow.MlflowClient(both.pipeline().settings.mlflow_uri)
    runs = {name: _months(client, name) for name in ("churn", "broadband")}
    assert runs == {"churn": MONTHS[1:], "broadband": MONTHS[1:3]}
    assert {m.name for m in client.search_registered_models()} == {"churn", "broadband"}


def _months(client: object, experiment: str) -> list[str]:
    found = client.get_experiment_by_name(experiment)  # type: ignore[attr-defined]
    return sorted(r.data.tags["month"] for r in client.search_runs([found.experiment_id]))  # type: ignore[attr-defined]


def test_two_folders_with_one_name_are_refused(finished: Installation, tmp_path: Path) -> None:
    both = finished.copy(tmp_path / "home")
    spec = (both.home / "defs/churn/defs.yaml").read_text()
    (both.home / "defs/again").mkdir()
    (both.home / "defs/again/defs.yaml").write_text(spec)
    told = both.churn("status")
    assert told.returncode == 1
    assert "churn declared twice" in told.stdout
