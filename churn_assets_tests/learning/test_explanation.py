from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning.calibration import Calibration
from churn_assets.learning.explanation import reasons
from churn_assets.learning.training import TrainedModel, train
from churn_assets_tests.learning.panels import CANDIDATES, FEATURES, panel


class Told:
    """A learner whose contributions are given."""

    def __init__(self, parts: Any) -> None:
        self.parts = np.array(parts, dtype=float)

    def contributions(self, frame: pl.DataFrame) -> np.ndarray:
        return self.parts


def _model(parts: Any) -> TrainedModel:
    return TrainedModel("told", "logistic", ("calls", "plan", "paid"), {"plan": ("a",)}, Told(parts), Calibration(), {})


FRAME = pl.DataFrame({"paid": [True, None], "calls": [4.3, 12.0], "plan": ["a", None], "customer_id": ["x", "y"]})


def test_the_strongest_comes_first_and_what_lowers_the_risk_is_left_out() -> None:
    found = reasons(_model([[0.1, -2.0, 0.7], [0.0, 0.5, -0.1]]), FRAME)
    assert found.rows() == [
        ("paid = true (raises)", "calls = 4.3 (raises)", None),
        ("plan = missing (raises)", None, None),
    ]
    assert set(found.dtypes) == {pl.String}


def test_equal_ones_stand_in_the_order_of_features() -> None:
    found = reasons(_model([[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]]), FRAME)
    assert found.row(0) == ("calls = 4.3 (raises)", "plan = a (raises)", "paid = true (raises)")
    assert found.row(1)[0] == "calls = 12 (raises)"


def test_there_can_be_more_reasons_asked_for_than_features() -> None:
    found = reasons(_model([[1, 2, 3], [1, 2, 3]]), FRAME, top=5)
    assert found.columns == [f"reason_{k}" for k in range(1, 6)]
    assert found["reason_3"].null_count() == 0 and found["reason_4"].null_count() == 2


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.name)
def test_reasons_follow_the_contributions_of_a_real_model(candidate: Any) -> None:
    rows = panel()
    model = train(rows, FEATURES, [candidate], 0).models[candidate.name]
    parts = model.contributions(rows)
    found = reasons(model, rows)
    assert found.height == rows.height
    first = found["reason_1"].fill_null("none").str.split(" = ").list.first().to_list()
    expected = [FEATURES[i] if row[i] > 0 else "none" for i, row in zip(parts.argmax(axis=1), parts, strict=True)]
    assert first == expected
    assert reasons(replace(model), rows[:0]).shape == (0, 3)


def test_an_absent_feature_is_named() -> None:
    with pytest.raises(LearningError, match="expected columns plan"):
        reasons(_model([[1, 1, 1]]), FRAME.drop("plan"))
