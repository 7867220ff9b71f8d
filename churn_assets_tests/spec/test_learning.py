from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets.months import Month
from churn_assets.spec.learning import CandidateSpec, GatesSpec

LIGHT = {"kind": "estimator", "path": "lightgbm.LGBMClassifier"}


def candidate(space: dict[str, Any], **given: Any) -> CandidateSpec:
    return CandidateSpec.model_validate({"name": "a", "kind": "xgboost", "tuning": {"space": space}, **given})


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"max_dpeth": [2, 3]}, "tuning.space: candidate a: expected parameters of xgboost, found max_dpeth. Known:"),
        ({"max_depth": {"low": 3, "high": 2}}, "expected low <= high, and above 0 where log is set; found 3 to 2."),
        ({"gamma": {"low": 0, "high": 2, "log": True}}, "found 0 to 2."),
        ({"gamma": {"low": 0, "high": float("inf")}}, "found 0 to inf."),
        ({"max_depth": {"low": 3, "hihg": 4}}, "unknown key 'hihg'. Did you mean 'high'?"),
        ({"max_depth": []}, "at least 1 item"),
        ({"max_depth": 4}, "valid dictionary"),
        ({"class_weight": [{0: 1, 1: 5}]}, "truth values or lists of them, found {0: 1, 1: 5}."),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_searched_is_told_with_its_fault(space: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        candidate(space)
    assert told in str(raised.value)


def test_an_estimator_needs_a_space_of_parameters_that_it_has() -> None:
    with pytest.raises(ValidationError, match=r"kind estimator has no space of its own: expected tuning\.space"):
        candidate({}, **LIGHT)
    trees = {"kind": "estimator", "path": "sklearn.ensemble.ExtraTreesClassifier"}
    with pytest.raises(ValidationError, match=r"parameters of .*ExtraTreesClassifier, found max_dpeth"):
        candidate({"max_dpeth": [2, 3]}, **trees)
    assert candidate({"max_depth": [2, None]}, **trees).tuning
    assert candidate({"any_that_lightgbm_takes": [2, 3]}, **LIGHT).tuning


def test_whole_ends_make_a_range_of_whole_numbers() -> None:
    tuning = candidate({"max_depth": {"low": 2, "high": 6}, "gamma": {"low": 0.0, "high": 6}}).tuning
    assert tuning
    assert [type(one.low) for one in tuning.space.values() if not isinstance(one, list)] == [int, float]


def test_no_candidate_is_called_like_the_model_it_is_compared_with() -> None:
    with pytest.raises(ValidationError, match="'champion' stands for the model that scores customers"):
        CandidateSpec(name="champion", kind="logistic")


def test_a_person_decides_from_the_month_on_that_is_named() -> None:
    december, january = Month(2024, 12), Month(2025, 1)
    assert not GatesSpec().waits(january)
    assert GatesSpec(approval="person").waits(december)
    later = GatesSpec.model_validate({"approval": "person", "approval_from": "2025-01"})
    assert (later.waits(december), later.waits(january)) == (False, True)
