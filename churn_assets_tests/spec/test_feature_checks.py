from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets_tests.declared import declared


def test_a_leak_stops_and_the_others_warn_unless_declared_otherwise() -> None:
    checks = declared().feature_checks
    assert (checks.nulls, checks.constant, checks.drift, checks.leak) == ("warn", "warn", "warn", "stop")
    assert (checks.max_psi, checks.max_auc) == (0.25, 0.95)
    chosen = declared(feature_checks={"leak": "warn", "drift": "off", "max_psi": 0.5}).feature_checks
    assert (chosen.leak, chosen.drift, chosen.nulls, chosen.max_psi) == ("warn", "off", "warn", 0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"leaks": "warn"}, "Did you mean 'leak'?"),
        ({"leak": "ignore"}, "'off', 'warn' or 'stop'"),
        ({"max_auc": 0.4}, "greater than 0.5"),
        ({"max_auc": 1}, "less than 1"),
        ({"max_psi": 0}, "greater than 0"),
    ],
)
def test_what_is_no_choice_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match="feature_checks") as error:
        declared(feature_checks=given)
    assert said in str(error.value)
