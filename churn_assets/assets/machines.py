"""What a stage needs, said in the tags that executors of distributed steps read."""

from __future__ import annotations

import json
from typing import Any

from churn_assets.spec import NeedsSpec


def op_tags(needs: NeedsSpec | None) -> dict[str, Any]:
    """Tags for Kubernetes (``dagster-k8s``), ECS (``dagster-aws``) and Celery (``dagster-celery``).

    On Kubernetes the amounts are requested, and memory and GPUs are limits as well: who takes more memory is ended by
    itself and not with its neighbours. ECS counts a core as 1024 units, and memory in MiB.
    """
    if needs is None:
        return {}
    tags: dict[str, Any] = {}
    asked = {"cpu": f"{needs.cpu:g}" if needs.cpu else None, "memory": needs.memory}
    limits = {"memory": needs.memory, "nvidia.com/gpu": str(needs.gpu) if needs.gpu else None}
    resources = {name: _given(part) for name, part in {"requests": asked, "limits": limits}.items() if _given(part)}
    if resources:
        tags["dagster-k8s/config"] = {"container_config": {"resources": resources}}
    if needs.cpu:
        tags["ecs/cpu"] = str(round(needs.cpu * 1024))
    if needs.mebibytes:
        tags["ecs/memory"] = str(needs.mebibytes)
    if needs.gpu:
        required = {"resourceRequirements": [{"type": "GPU", "value": str(needs.gpu)}]}
        tags["ecs/container_overrides"] = json.dumps(required)
    if needs.queue:
        tags["dagster-celery/queue"] = needs.queue
    return tags


def _given(part: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in part.items() if value}
