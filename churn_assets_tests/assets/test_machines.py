from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from churn_assets.assets.machines import op_tags
from churn_assets.component import build_definitions
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec import NeedsSpec, ResourcesSpec
from churn_assets_tests.declared import declared


def test_what_a_stage_needs_is_said_to_kubernetes_ecs_and_celery() -> None:
    tags = op_tags(NeedsSpec(cpu=4, memory="16Gi", gpu=1, queue="big"))
    assert tags["dagster-k8s/config"] == {
        "container_config": {
            "resources": {
                "requests": {"cpu": "4", "memory": "16Gi"},
                "limits": {"memory": "16Gi", "nvidia.com/gpu": "1"},
            }
        }
    }
    assert (tags["ecs/cpu"], tags["ecs/memory"]) == ("4096", "16384")
    assert json.loads(tags["ecs/container_overrides"]) == {"resourceRequirements": [{"type": "GPU", "value": "1"}]}
    assert tags["dagster-celery/queue"] == "big"


def test_nothing_is_said_of_what_is_not_declared() -> None:
    assert op_tags(None) == {}
    assert op_tags(NeedsSpec(cpu=0.5)) == {
        "dagster-k8s/config": {"container_config": {"resources": {"requests": {"cpu": "0.5"}}}},
        "ecs/cpu": "512",
    }


def test_a_stage_carries_its_needs_and_shows_them() -> None:
    spec = declared(resources={"stages": {"model": {"cpu": 4, "memory": "1.5Gi"}}})
    graph = build_definitions(Pipeline(spec, Settings(Path("data"), Path("defs")))).resolve_asset_graph()
    specs = {key.path[-1]: (d.op.tags, s.metadata) for d in graph.assets_defs for key, s in d.specs_by_key.items()}
    tags, metadata = specs["model"]
    assert tags["ecs/memory"] == "1536"
    assert metadata["needs"] == "4 CPU, 1.5Gi memory"
    tags, metadata = specs["predictions"]
    assert "ecs/memory" not in tags
    assert "needs" not in metadata


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stages": {"modle": {"cpu": 1}}}, "no stage is called 'modle'. Did you mean 'model'?"),
        ({"stages": {"model": {"memory": "16 GB"}}}, "expected a number with Mi or Gi, such as 512Mi or 16Gi"),
        ({"stages": {"model": {"memory": "0Gi"}}}, "expected a number with Mi or Gi"),
        ({"stages": {"model": {"cpu": 0}}}, "greater than 0"),
        ({"stages": {"model": {"gpu": -1}}}, "greater than or equal to 0"),
        ({"stages": {"model": {}}}, "expected cpu, memory, gpu or queue"),
        ({"ingests": 0}, "greater than or equal to 1"),
        ({"trainings": 2}, "unknown key 'trainings'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("?", r"\?").replace(".", r"\.")):
        ResourcesSpec.model_validate(given)
