"""Whether what was made still holds: the check in which the UI shows which months are stale, and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from churn_assets.assets.stage import Check
from churn_assets.pipeline import Pipeline
from churn_assets.staleness import State, gaps, made_so_far, states

NAME = "up_to_date"
SHOWN = 50
"""Months that are shown with their reasons, the earliest ones."""


def check_key(pipeline: Pipeline) -> dg.AssetCheckKey:
    """The check of a pipeline's monitoring, the end of the chain."""
    return dg.AssetCheckKey(dg.AssetKey([pipeline.name, "monitoring"]), NAME)


def judge(pipeline: Pipeline, found: Mapping[Any, Mapping[str, State]], now: datetime) -> Check:
    """Whether every month that was begun is there as a whole, and made from what stands there now.

    Args:
        pipeline: whose months they are.
        found: the states of the months that were ``made_so_far``.
        now: up to when months count.
    """
    behind = [gap for gap in gaps(pipeline, found, now, {}) if gap.kind != "due"]
    if not behind:
        return Check(NAME, True, f"All {len(found)} months are made from what stands there now.", warn=True)
    figures = {"months": len(behind), **{str(gap.month): gap.reason for gap in behind[:SHOWN]}}
    more = f", and {len(behind) - 1} more months aren't up to date" if len(behind) > 1 else ""
    told = f"{behind[0].month} is {'stale' if behind[0].kind == 'stale' else 'not whole'}: {behind[0].reason}"
    return Check(
        NAME, False, f"{told.rstrip('.')}{more}. Run `churn backfill{pipeline.option} --missing`.", True, figures
    )


def up_to_date_check(pipeline: Pipeline, codes: Mapping[str, str]) -> dg.AssetChecksDefinition:
    """The check as Dagster shows and runs it, apart from any month's run."""

    @dg.asset_check(
        asset=check_key(pipeline).asset_key,
        name=NAME,
        description="Every month that was begun is there as a whole, and made from what stands there now. What is "
        f"stale, and why, stands in the metadata. The sensor {pipeline.name}_corrections makes this check too.",
    )
    def up_to_date() -> dg.AssetCheckResult:
        found = judge(pipeline, states(pipeline, made_so_far(pipeline), codes), datetime.now(UTC))
        return dg.AssetCheckResult(passed=found.passed, description=found.reason, **_shown(found))

    return up_to_date


def evaluation(pipeline: Pipeline, found: Check) -> dg.AssetCheckEvaluation:
    """The check's outcome as a sensor tells it, without a run."""
    key = check_key(pipeline)
    return dg.AssetCheckEvaluation(key.asset_key, key.name, found.passed, description=found.reason, **_shown(found))


def _shown(found: Check) -> dict[str, Any]:
    return {"severity": dg.AssetCheckSeverity.WARN, "metadata": {"reason": found.reason, **found.figures}}
