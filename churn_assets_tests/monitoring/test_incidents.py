"""What monitoring says of incidents, and that it keeps still where there are none, on simulated bases."""

from __future__ import annotations

import re
from typing import Any

import pytest

from churn_assets.spec import PipelineSpec
from churn_assets_tests.installation import shipped_spec
from churn_assets_tests.monitoring.watched import Watch, Watched

pytestmark = pytest.mark.slow

BEGINS = "2024-08"


def watched(months: int, *scenario: dict[str, Any], customers: int = 7000) -> dict[str, Watched]:
    """The shipped pipeline with its defaults, where a model is due once a year, by month."""
    spec = shipped_spec()
    spec["source"] = {"type": "simulated", "customers": customers, "seed": 7, "scenario": list(scenario)}
    spec["training"]["every"] = 12
    spec["candidates"] = spec["candidates"][:1]
    return {str(month.month): month for month in Watch(PipelineSpec.model_validate(spec)).live(months)}


@pytest.mark.parametrize("scenario", [[], [{"kind": "seasonal"}]], ids=["stable", "seasonal"])
def test_in_two_quiet_years_no_new_model_is_wanted(scenario: list[dict[str, Any]]) -> None:
    seen = watched(24, *scenario, customers=4000)
    assert sum(month.champion is not None for month in seen.values()) >= 22
    assert {month.decision.outcome for month in seen.values()} == {"keep"}
    assert not any(month.broken for month in seen.values())
    moved = {name for month in seen.values() for name in month.moved}
    # Usage that swings over the year moves its trends, and nothing else.
    assert moved <= ({"data_gb_trend", "call_minutes_trend"} if scenario else set())


def test_a_shock_is_told_in_its_month_by_those_who_left_and_by_no_feature() -> None:
    seen = watched(10, {"kind": "competitor_shock", "month": BEGINS})
    assert [month for month, found in seen.items() if found.violated] == [BEGINS]
    struck = seen[BEGINS]
    assert "jump" in struck.violated
    assert not struck.moved and not struck.score_moved and not struck.broken
    (jump,) = (e for e in struck.decision.evidence if e.rule == "jump")
    assert jump.words in struck.decision.reason or "rate" in struck.violated
    # One month is no reason to train, and it was over after it.
    assert {found.decision.outcome for found in seen.values()} == {"keep"}


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1024, r"data_gb is about (9\d0|1,\d{3}) times what it was"),
        (None, "data_gb is missing for 100% of the customers"),
    ],
)
def test_a_broken_column_is_told_in_its_month_and_stops_trainings_until_it_is_whole(
    factor: float | None, words: str
) -> None:
    broken = {"kind": "broken_column", "month": BEGINS, "until": "2024-09", "column": "data_gb", "factor": factor}
    seen = watched(13, broken, customers=3000)
    assert not any(found.broken for month, found in seen.items() if month < BEGINS)
    for month in (BEGINS, "2024-09"):
        assert re.match(words, seen[month].broken[0])
        assert "data_gb" in seen[month].moved
        assert seen[month].decision.outcome == "mend_data"
        assert re.match(f"Look at the source first: {words}", seen[month].decision.reason)
    assert not any(found.decision.acts for found in seen.values())
    # For three months more, features look back on it, and what was predicted then is no fault of the model.
    assert {seen[month].decision.outcome for month in ("2024-10", "2024-11", "2024-12", "2025-01")} <= {
        "keep",
        "mend_data",
    }
