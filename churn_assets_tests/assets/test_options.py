from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from churn_assets.assets.options import RunOptions, run_config
from churn_assets.errors import SpecError
from churn_assets.months import STAGES, Month
from churn_assets.spec import PipelineSpec
from churn_assets.why import why_model
from churn_assets_tests.declared import declared
from churn_assets_tests.installation import Installation

CANDIDATES = [
    {"name": "baseline", "kind": "logistic"},
    {"name": "xgboost", "kind": "xgboost", "tuning": {"trials": 3, "only_ordered": True}},
    {"name": "forest", "kind": "random_forest"},
]


def spec() -> PipelineSpec:
    return declared(candidates=CANDIDATES)


def names(**options: Any) -> list[str]:
    return [c.name for c in RunOptions(**options).applied(spec()).candidates]


def test_the_baseline_is_always_trained_and_the_order_stays_as_declared() -> None:
    assert names() == names(candidates=["forest", "xgboost"]) == ["baseline", "xgboost", "forest"]
    assert names(candidates=["forest"]) == ["baseline", "forest"]
    assert names(candidates=["baseline"]) == ["baseline"]


def test_tuning_can_be_asked_for_or_left_out() -> None:
    def searched(tuning: Any) -> dict[str, Any]:
        return {c.name: c.tuning and c.tuning.trials for c in RunOptions(tuning=tuning).applied(spec()).candidates}

    assert searched("as_declared") == {"baseline": None, "xgboost": 3, "forest": None}
    assert searched("never") == {"baseline": None, "xgboost": None, "forest": None}
    assert searched("always") == {"baseline": 30, "xgboost": 3, "forest": 30}
    (_, xgboost, _) = RunOptions(tuning="always").applied(spec()).candidates
    assert xgboost.tuning is not None
    assert not xgboost.tuning.only_ordered


def test_force_goes_from_a_stage_on() -> None:
    assert [s for s in STAGES if RunOptions(force="model").forces(s)] == list(STAGES[STAGES.index("model") :])
    assert all(RunOptions(force="raw_data").forces(s) for s in STAGES)
    assert not any(RunOptions().forces(s) for s in STAGES)


def test_an_unknown_candidate_is_refused_with_what_it_may_have_been() -> None:
    with pytest.raises(SpecError, match=r"no candidate of shop is called 'xgbost'\. Did you mean 'xgboost'\?"):
        RunOptions(candidates=["xgbost"]).check(spec())


def test_options_that_come_to_the_same_models_differ_in_nothing() -> None:
    assert not RunOptions(candidates=["xgboost", "forest"]).differs(spec(), {})
    assert RunOptions(candidates=["forest"]).differs(spec(), {})
    assert not RunOptions(candidates=["baseline", "forest"]).differs(spec(), {"candidates": ["forest"]})
    # Who asks for nothing leaves what another person has chosen; who names all candidates wants all.
    assert not RunOptions().differs(spec(), {"candidates": ["forest"]})
    assert RunOptions(candidates=["xgboost", "forest"]).differs(spec(), {"candidates": ["forest"]})


def scored(installation: Installation, month: str = "2024-05") -> list[str]:
    lake = installation.pipeline().lake
    record = lake.record("model", Month.parse(month))
    assert record is not None
    found = lake.scan_record(record).collect()["candidate"].to_list()
    return sorted(str(name) for name in found if name != "champion")


def metadata(installation: Installation, stage: str) -> dict[str, Any]:
    with installation.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", stage]))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def outcomes(installation: Installation, **options: Any) -> dict[str, str]:
    stages = ["versioned_dataset", "model", "predictions"]
    (result,) = installation.run(["2024-05"], stages=stages, **options)
    assert result.success, result.problems
    return {stage: str(metadata(installation, stage)["outcome"]) for stage in stages}


@pytest.mark.slow
def test_a_choice_of_candidates_is_kept_until_another_one_is_asked_for(own: Installation) -> None:
    assert scored(own) == ["baseline", "xgboost"]
    made, kept = "present", "skipped"
    assert outcomes(own, candidates=["baseline"])["model"] == made
    assert scored(own) == ["baseline"]
    assert metadata(own, "model")["options"] == "candidates baseline"
    assert metadata(own, "model")["why"] == "The run asks for other models: candidates baseline."
    assert "candidates baseline" in why_model(own.pipeline(), Month.parse("2024-05")).trained_because
    # A run without options, as automation makes it, undoes nobody's choice.
    assert outcomes(own) == {"versioned_dataset": kept, "model": kept, "predictions": kept}
    assert outcomes(own, candidates=["baseline"])["model"] == kept
    assert outcomes(own, candidates=["baseline", "xgboost"])["model"] == made
    assert scored(own) == ["baseline", "xgboost"]


@pytest.mark.slow
def test_force_from_a_stage_leaves_what_is_before_it_and_returns_to_what_is_declared(own: Installation) -> None:
    outcomes(own, candidates=["baseline"])
    assert outcomes(own, force="model") == {
        "versioned_dataset": "skipped", "model": "present", "predictions": "present",
    }  # fmt: skip
    assert scored(own) == ["baseline", "xgboost"]
    assert "options" not in metadata(own, "model")


def test_the_configuration_of_a_run_names_just_what_was_asked_for() -> None:
    assert run_config(RunOptions()) == {"resources": {"run_options": {"config": {}}}}
    asked = RunOptions(force="model", candidates=["xgboost"])
    given = {"force": "model", "candidates": ["xgboost"]}
    assert run_config(asked) == {"resources": {"run_options": {"config": given}}}


@pytest.mark.slow
def test_every_step_tells_what_it_used(finished: Installation) -> None:
    for stage in ("raw_data", "model"):
        told = metadata(finished, stage)
        assert told["seconds"] > 0
        assert told["cpu seconds"] >= 0
        assert any(name.startswith("peak memory") and told[name] > 50 for name in told)
        assert not any("cost" in name for name in told)
