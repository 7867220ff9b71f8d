"""The code location: what it holds, what it costs to load, and what a wrong specification says."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.definitions import defs
from churn_assets.errors import SpecError
from churn_assets.months import STAGES, Month
from churn_assets_tests.installation import ROOT, Installation, small_spec


def test_the_shipped_pipeline_has_every_stage_with_owner_group_kinds_and_description() -> None:
    specs = {s.key.to_user_string(): s for s in defs().resolve_all_asset_specs()}
    beside = ("quarantined_data", "shadow_predictions", "list_outcomes", "drift")
    assert set(specs) == {f"churn/{stage}" for stage in [*STAGES, *beside]}
    for spec in specs.values():
        assert spec.group_name == "churn"
        assert spec.kinds
        assert spec.owners
        assert spec.description
        assert spec.code_version
        assert isinstance(spec.partitions_def, dg.MonthlyPartitionsDefinition)


def test_edges_are_the_published_chain_and_go_from_month_to_the_same_month() -> None:
    graph = defs().resolve_asset_graph()
    chain = [dg.AssetKey(["churn", stage]) for stage in STAGES]
    parents = {key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys} for key in chain}
    # A list that is blocked must not keep monitoring from telling what became of earlier ones.
    assert parents["retention_list"] == parents["monitoring"] == {"predictions"}
    for before, after in itertools.pairwise(STAGES[:-1]):
        assert before in parents[after]
    for key in chain:
        for parent in graph.get(key).parent_keys:
            mapping = graph.get_partition_mapping(key, parent)
            assert isinstance(mapping, dg.TimeWindowPartitionMapping)
            assert (mapping.start_offset, mapping.end_offset) == (0, 0)


def test_every_asset_of_a_pipeline_stands_in_its_pool_so_that_runs_go_one_by_one() -> None:
    pools = {d.op.pool for d in defs().resolve_asset_graph().assets_defs if d.keys}
    assert pools == {"churn"}
    config = (ROOT / "dagster.yaml").read_text()
    assert "granularity: run" in config
    assert "default_limit: 1" in config


def test_loading_the_definitions_imports_nothing_heavy_and_warns_of_nothing() -> None:
    code = (
        "import sys, churn_assets.definitions as d; d.defs().resolve_job_def('churn_month');"
        "print([m for m in ('mlflow', 'sklearn', 'xgboost', 'matplotlib', 'scipy', 'pandera') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.strip() == "[]"
    assert "Warning" not in told.stderr


@pytest.mark.e2e
def test_the_workspace_loads_in_the_real_command_line(tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-w", "workspace.yaml"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
    assert "Validation successful for code location churn_assets" in told.stdout + told.stderr


def test_a_wrong_specification_names_every_finding_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    spec = small_spec()
    spec["months"]["lag_dais"] = spec["months"].pop("lag_days")
    spec["features"].append({"kind": "lagg", "column": "support_calls"})
    spec["value"]["monthly_value"] = "monthly_charges"
    wrong = Installation.create(tmp_path / "home", churn=spec)
    told = wrong.churn("status")
    assert told.returncode == 1
    for expected in (
        "months.lag_dais", "Did you mean 'lag_days'?",
        "Did you mean 'lag'?",
        "no feature is called 'monthly_charges'. Did you mean 'monthly_charge'?",
        "defs.yaml:",
    ):  # fmt: skip
        assert expected in told.stdout, told.stdout


def test_a_value_of_the_environment_is_looked_up_where_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_spec(source={"type": "sql", "url": "{{ env.CHURN_TEST_DB }}", "query": "select :month_start"})
    made = Installation.create(tmp_path / "home", churn=spec)
    pipeline = made.pipeline()
    monkeypatch.delenv("CHURN_TEST_DB", raising=False)
    with pytest.raises(SpecError, match="churn: source: expected the environment variable CHURN_TEST_DB"):
        _ = pipeline.source
    (tmp_path / "secret.db").touch()
    monkeypatch.setenv("CHURN_TEST_DB", f"sqlite:///{tmp_path}/secret.db")
    assert pipeline.source.read(Month.parse("2024-01")).batches.read_all().num_rows == 1
    assert "secret" not in pipeline.spec.model_dump_json()


def test_a_pipeline_without_a_name_takes_its_folders_name(tmp_path: Path) -> None:
    made = Installation.create(tmp_path / "home", churn=small_spec())
    file = made.home / "defs/churn/defs.yaml"
    file.write_text(file.read_text().replace("  name: churn\n", ""))
    file.parent.rename(made.home / "defs" / "landline")
    assert made.pipeline("landline").name == "landline"
