import pytest
from pydantic import ValidationError

from churn_assets.spec import PipelineSpec
from churn_assets_tests.declared import document


def declared(**retrain: object) -> PipelineSpec:
    return PipelineSpec.model_validate(document(monitoring={"retrain": retrain}))


def test_what_cannot_happen_in_so_many_months_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"expected 3 at the most \(of_months\), found 4 violations"):
        declared(violations=4)
    assert declared(violations=4, of_months=4).monitoring.retrain.violations == 4


def test_months_are_remembered_as_long_as_they_count() -> None:
    assert declared().calendar.hindsight == 3
    assert declared(cool_down=0).calendar.hindsight == 2
    assert declared(cool_down=7).calendar.hindsight == 7
    assert declared(of_months=12).calendar.hindsight == 11
