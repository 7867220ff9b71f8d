from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.features.words import Words
from churn_assets.learning.calibration import Calibration
from churn_assets.learning.explanation import grouped, reasons
from churn_assets.learning.training import TrainedModel, train
from churn_assets_tests.features.panels import features
from churn_assets_tests.learning.panels import CANDIDATES, FEATURES, FOREST, panel

WORDS = Words(
    features(
        {"kind": "columns", "columns": ["calls", "plan", "paid"]},
        {"kind": "delta", "column": "calls", "months": 3},
        {"kind": "ratio", "name": "per", "numerator": "calls", "denominator": "charge"},
    ),
    {"calls": "integer", "plan": "category", "paid": "boolean", "charge": "number"},
)
OF_PANEL = Words(features({"kind": "columns", "columns": FEATURES}))


class Told:
    """A learner whose contributions are given."""

    def __init__(self, parts: Any) -> None:
        self.parts = np.array(parts, dtype=float)

    def contributions(self, frame: pl.DataFrame) -> np.ndarray:
        return self.parts


def _model(parts: Any, *names: str) -> TrainedModel:
    return TrainedModel("told", "logistic", names or ("calls", "plan", "paid"), {}, Told(parts), Calibration(), {})


FRAME = pl.DataFrame(
    {"paid": [True, None], "calls": [5, 12], "plan": ["a", None], "customer_id": ["x", "y"],
     "calls_delta_3m": [4.0, None], "per": [0.5, 0.25]}
)  # fmt: skip


def test_the_strongest_comes_first_and_what_lowers_the_risk_is_left_out() -> None:
    found = reasons(_model([[0.1, -2.0, 0.7], [0.0, 0.5, -0.1]]), FRAME, WORDS)
    assert found.rows() == [("paid: yes", "5 calls", None), ("plan isn't known", None, None)]
    assert set(found.dtypes) == {pl.String}


def test_equal_ones_stand_in_the_order_of_features_whatever_their_last_digits() -> None:
    found = reasons(_model([[0.5, 0.5 + 1e-9, 0.5 + 2e-9], [0.2, 0.2, 0.2]]), FRAME, WORDS)
    assert found.row(0) == ("5 calls", "plan is a", "paid: yes")
    assert found.row(1)[0] == "12 calls"


def test_what_is_made_of_one_column_is_one_reason_told_by_its_strongest() -> None:
    names = ("calls", "paid", "calls_delta_3m", "per")
    found = reasons(_model([[0.3, 0.6, 0.4, 0.1], [0.3, 0.1, -0.4, 0.0]], *names), FRAME, WORDS)
    assert found.row(0) == ("calls rose from 1 to 5 in three months", "paid: yes", "ratio of calls to charge is 0.5")
    assert found.row(1) == ("paid isn't known", None, None), "together the calls lower the risk"
    tied = reasons(_model([[0.3, 0.0, 0.3 + 1e-9, 0.0], [0.3, 0.0, 0.2, 0.0]], *names), FRAME, WORDS)
    assert tied["reason_1"].to_list() == ["5 calls", "12 calls"]
    assert grouped(names, WORDS) == {"calls": [0, 2], "paid": [1], "per": [3]}


def test_a_feature_of_an_older_specification_has_its_name_and_value() -> None:
    frame = FRAME.with_columns(gone=pl.Series([4.3, None]))
    found = reasons(_model([[1.0], [1.0]], "gone"), frame, WORDS)
    assert found["reason_1"].to_list() == ["gone = 4.3", "gone = missing"]


def test_there_can_be_more_reasons_asked_for_than_features() -> None:
    found = reasons(_model([[1, 2, 3], [1, 2, 3]]), FRAME, WORDS, top=5)
    assert found.columns == [f"reason_{k}" for k in range(1, 6)]
    assert found["reason_3"].null_count() == 0 and found["reason_4"].null_count() == 2


@pytest.mark.parametrize("candidate", [*CANDIDATES, FOREST], ids=lambda c: c.name)
def test_reasons_follow_the_contributions_of_a_real_model(candidate: Any) -> None:
    rows = panel()
    model = train(rows, FEATURES, [candidate], 0).models[candidate.name]
    rows = rows.sample(100, seed=1)
    parts = np.round(model.contributions(rows), 6)
    found = reasons(model, rows, OF_PANEL)
    said = rows.select(OF_PANEL.phrase(name, rows.schema) for name in FEATURES).rows()
    expected = [
        texts[row.argmax()] if row.max() > 0 else None for texts, row in zip(said, parts, strict=True)
    ]  # fmt: skip
    assert found["reason_1"].to_list() == expected
    assert found.equals(pl.concat([reasons(model, part, OF_PANEL) for part in (rows[:7], rows[7:])]))
    assert reasons(replace(model), rows[:0], OF_PANEL).shape == (0, 3)


def test_an_absent_feature_is_named() -> None:
    with pytest.raises(LearningError, match="expected columns plan"):
        reasons(_model([[1, 1, 1]]), FRAME.drop("plan"), WORDS)
