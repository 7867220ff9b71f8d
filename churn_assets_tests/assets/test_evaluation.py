import json
import xml.etree.ElementTree as ET
from math import isfinite

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from churn_assets.assets.evaluation import CHAMPION, Report, report
from churn_assets.errors import LearningError
from churn_assets.learning.evaluation import auc
from churn_assets.learning.training import Training, train
from churn_assets.spec import PipelineSpec
from churn_assets_tests.declared import declared
from churn_assets_tests.learning.panels import BASELINE, FEATURES, XGBOOST, panel

SPEC = declared(
    candidates=[c.model_dump(exclude_defaults=True) for c in (BASELINE, XGBOOST)],
    value={"monthly_value": 40, "contact_cost": 8, "budget": 800},
    evaluation={"segments": ["plan"], "min_rows": 50},
)


@pytest.fixture(scope="module")
def training() -> Training:
    return train(panel(1500), FEATURES, [BASELINE, XGBOOST.model_copy(update={"params": {"n_estimators": 20}})])


@pytest.fixture(scope="module")
def judged() -> pl.DataFrame:
    rows = panel(1500).filter(pl.col("part") == "validate")
    return rows.with_columns(plan=pl.Series(["basic", "plus", "plus"] * 500))


def _parts(rows: int, unknown: int = 0) -> pl.DataFrame:
    return pl.DataFrame({
        "event_month": ["2025-03", "2025-04"], "part": ["calibrate", "validate"], "rows": [9999, rows],
        "unknown": [0, unknown],
    })  # fmt: skip


def _report(training: Training, judged: pl.DataFrame, old: np.ndarray | None, spec: PipelineSpec = SPEC) -> Report:
    return report(training, judged, spec, _parts(len(judged)), old)


@pytest.fixture(scope="module")
def old(training: Training, judged: pl.DataFrame) -> np.ndarray:
    """A champion that is right half of the time."""
    p = training.models["baseline"].predict(judged)
    return np.where(np.arange(len(p)) % 2 == 0, p, np.random.default_rng(0).permutation(p))


@pytest.fixture(scope="module")
def found(training: Training, judged: pl.DataFrame, old: np.ndarray) -> Report:
    return _report(training, judged, old)


def test_every_candidate_and_the_champion_are_judged_on_the_same_rows(
    found: Report, training: Training, judged: pl.DataFrame, old: np.ndarray
) -> None:
    left = judged["label"].to_numpy()
    assert list(found.evaluations) == list(found.profits) == ["baseline", "xgboost", CHAMPION]
    assert found.evaluations[CHAMPION].auc.value == pytest.approx(metrics.roc_auc_score(left, old))
    p = training.models["xgboost"].predict(judged)
    assert found.evaluations["xgboost"].brier == pytest.approx(metrics.brier_score_loss(left, p))
    assert {e.rows for e in found.evaluations.values()} == {1500}
    gap = found.profits[found.challenger].realised.value - found.profits[CHAMPION].realised.value
    assert found.profit_difference is not None and found.profit_difference.value == pytest.approx(gap)
    assert found.profit_difference.lower > 0


def test_metadata_are_numbers_tables_and_pictures_beside_baseline_and_champion(found: Report) -> None:
    shown = found.metadata
    numbers = {name for name, value in shown.items() if isinstance(value, float) and isfinite(value)}
    assert {
        "auc", "auc lower", "auc upper", "pr auc", "log loss", "brier", "brier skill", "calibration error",
        "calibration error lower", "calibration error upper", "top decile lift", "precision at budget",
        "profit", "profit lower", "profit upper", "baseline auc", "baseline profit", "champion auc", "champion profit",
        "profit against the champion", "profit against the champion lower",
    } <= numbers  # fmt: skip
    assert shown["champion auc"] == found.evaluations[CHAMPION].auc.value
    assert shown["candidates"]["role"].to_list().count("challenger") == 1
    assert dict(shown["candidates"].select("candidate", "role").iter_rows())[CHAMPION] == "champion"
    assert shown["segments"]["value"].to_list() == ["basic", "plus"] and shown["segments that stand out"] == 0
    assert shown["charts"].value.count("data:image/svg+xml") == 6
    assert all(ET.fromstring(chart.svg) is not None for chart in found.charts.values())


def test_curves_show_challenger_baseline_and_champion_and_no_other(training: Training, judged: pl.DataFrame) -> None:
    further = Training({**training.models, "third": training.models["xgboost"]}, "xgboost", training.selection, "")
    found = _report(further, judged, training.models["baseline"].predict(judged))
    assert found.tables["roc"]["model"].unique(maintain_order=True).to_list() == ["xgboost", "baseline", CHAMPION]
    assert "third" in found.evaluations
    legend = [t.text for t in ET.fromstring(found.charts["roc"].svg).iter("{http://www.w3.org/2000/svg}text")]
    for name in ("xgboost", "baseline", CHAMPION):
        assert f"{name}: AUC {found.evaluations[name].auc.value:.3f}" in legend


def test_artefacts_are_pictures_and_what_they_draw(found: Report, judged: pl.DataFrame, old: np.ndarray) -> None:
    files = found.artefacts
    assert {name for name in files if name.endswith(".svg")} == {
        "roc.svg", "precision_recall.svg", "lift.svg", "reliability.svg", "scores.svg", "importance.svg",
    }  # fmt: skip
    drawn = json.loads(files["curves.json"])
    roc = pl.DataFrame(drawn["roc"]).filter(model=CHAMPION)
    assert metrics.auc(roc["fpr"], roc["tpr"]) == pytest.approx(auc(judged["label"].to_numpy(), old), abs=0.003)
    assert [row["value"] for row in json.loads(files["segments.json"])] == ["basic", "plus"]


def test_metrics_name_whose_they_are(found: Report) -> None:
    metrics = found.metrics
    assert metrics["champion.auc"] == found.evaluations[CHAMPION].auc.value
    assert metrics["auc"] == metrics[f"{found.challenger}.auc"]
    assert metrics["baseline.profit"] == found.profits["baseline"].realised.value
    assert {"profit_against_champion", "profit_against_champion_lower"} <= set(metrics)
    assert all(type(value) is float and isfinite(value) for value in metrics.values())


def test_without_a_champion_nothing_is_said_of_one(training: Training, judged: pl.DataFrame) -> None:
    found = _report(training, judged, None)
    assert found.profit_difference is None and CHAMPION not in found.evaluations
    assert not [name for name in [*found.metadata, *found.metrics] if "champion" in name]


def test_the_budget_is_that_of_all_customers_of_the_judged_month(training: Training, judged: pl.DataFrame) -> None:
    spec = SPEC.model_copy(update={"evaluation": SPEC.evaluation.model_copy(update={"segments": []})})
    whole = report(training, judged, spec, _parts(len(judged)))
    half = report(training, judged, spec, _parts(len(judged), unknown=len(judged)))
    assert (whole.profits["xgboost"].contacts, half.profits["xgboost"].contacts) == (100, 50)


def test_a_segment_that_stands_out_fails_the_check(training: Training, judged: pl.DataFrame) -> None:
    assert _report(training, judged, None).segments_check.passed
    random = np.random.default_rng(3)
    left = judged["label"].to_numpy()
    mixed = np.where((judged["plan"] == "basic").to_numpy(), random.permutation(left), left)
    check = _report(training, judged.with_columns(label=pl.Series(mixed)), None).segments_check
    assert (check.name, check.passed, check.warn) == ("segments", False, True)
    assert "plan basic (AUC" in check.reason
    assert check.figures["segments that stand out"]["value"].to_list() == ["basic"]


def test_rows_of_one_class_judge_nobody(training: Training, judged: pl.DataFrame) -> None:
    with pytest.raises(LearningError, match="0 who left"):
        _report(training, judged.with_columns(label=pl.lit(False)), None)
