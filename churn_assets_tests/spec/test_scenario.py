"""Scenarios are declared in a line each, and what can't be is refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from churn_assets.months import Month
from churn_assets.spec import PipelineSpec
from churn_assets.spec.scenario import BrokenColumn, CompetitorShock, Seasonal
from churn_assets_tests.declared import declared, document

DOCS = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
JUNE = Month(2024, 6)


def simulated(*scenario: dict[str, Any]) -> dict[str, Any]:
    return {"type": "simulated", "scenario": list(scenario)}


def test_several_scenarios_are_combined_and_kept_as_they_were_declared() -> None:
    kinds = ["competitor_shock", "price_rise", "new_channel", "broken_column"]
    spec = declared(source=simulated({"kind": "seasonal"}, *({"kind": kind, "month": "2024-06"} for kind in kinds)))
    assert spec.source.type == "simulated"
    assert [each.kind for each in spec.source.scenario] == ["seasonal", *kinds]
    assert PipelineSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"kind": "price_ries", "month": "2024-06"}, "Did you mean 'price_rise'?"),
        ({"kind": "price_rise"}, "price_rise.month: Value error, expected a value"),
        ({"kind": "price_rise", "month": "2024-06", "percnt": 5}, "Did you mean 'percent'?"),
        ({"kind": "price_rise", "month": "2024-06", "percent": 0}, "greater than 0"),
        ({"kind": "broken_column", "month": "2024-06", "until": "2024-05"}, "'until' on or after the month 2024-06"),
        ({"kind": "broken_column", "month": "2024-06", "column": "region"}, "'data_gb', 'call_minutes'"),
        ({"kind": "seasonal", "peak": 13}, "less than or equal to 12"),
    ],
)
def test_a_wrong_scenario_is_told_with_what_to_do(scenario: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        PipelineSpec.model_validate(document(source=simulated(scenario)))
    assert message in "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.value.errors())


def test_a_scenario_says_which_months_it_changes() -> None:
    broken, shock = BrokenColumn(month=JUNE, until=JUNE + 1), CompetitorShock(month=JUNE, months=2)
    assert [broken.changes(JUNE + at) for at in (-1, 0, 1, 2)] == [False, True, True, False]
    assert [shock.changes(JUNE + at) for at in (-1, 0, 1, 2)] == [False, True, True, True]
    assert [shock.lasts(JUNE + at) for at in (-1, 0, 1, 2)] == [False, True, True, False]
    assert Seasonal().changes(JUNE - 100)


def test_the_example_of_the_docs_is_valid() -> None:
    example = DOCS.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    spec = declared(**yaml.safe_load(example))
    assert spec.source.type == "simulated"
    assert len(spec.source.scenario) == 7
