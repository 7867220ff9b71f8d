from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_assets.errors import LearningError
from churn_assets.learning import tuning
from churn_assets.learning.splits import InnerFold, inner_folds
from churn_assets.learning.training import Training, dump, train
from churn_assets.learning.tuning import IN_MEMORY, SPACES, Tuned, Tuner, tune
from churn_assets.months import Fold, Month
from churn_assets.spec.learning import CandidateSpec, RangeSpec
from churn_assets_tests.learning.panels import BASELINE, FEATURES, panel

MONTHS = [Month(2025, number) for number in range(1, 6)]
FOLDS = [Fold(tuple(MONTHS[:judge]), MONTHS[judge]) for judge in (2, 3, 4)]


def fit_rows(seed: int = 0, customers: int = 300) -> pl.DataFrame:
    """Five fit months."""
    rows = panel(customers=customers, months=7, seed=seed).filter(pl.col("part") == "fit")
    return rows.sort("event_month", "customer_id")


def inner_of(rows: pl.DataFrame) -> list[InnerFold]:
    return inner_folds(rows, FOLDS)


def candidate(kind: Any = "xgboost", trials: int = 10, **given: Any) -> CandidateSpec:
    told = {"trials": trials, **{k: given.pop(k) for k in ("space", "timeout") if k in given}}
    return CandidateSpec.model_validate({"name": "tried", "kind": kind, "tuning": told, **given})


def search(spec: CandidateSpec, rows: pl.DataFrame, tuner: Tuner = IN_MEMORY, seed: int = 0) -> Tuned:
    return tune(spec, rows, FEATURES, seed, inner_of(rows), tuner)


BLIND = {"gamma": 1e6, "n_estimators": 20, "learning_rate": 0.2}
TUNED = [BASELINE, candidate(trials=4, params=BLIND, space={"gamma": {"low": 0.0, "high": 3.0}})]


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return fit_rows()


@pytest.fixture(scope="module")
def undisturbed(rows: pl.DataFrame) -> Tuned:
    return search(candidate(), rows)


def test_equal_rows_make_an_equal_search_wherever_it_is_kept(
    rows: pl.DataFrame, undisturbed: Tuned, tmp_path: Path
) -> None:
    assert len({json.dumps(attempt.params) for attempt in undisturbed.attempts}) == 10
    assert search(candidate(), rows, Tuner(tmp_path)) == undisturbed
    assert search(candidate(), rows, seed=1).attempts != undisturbed.attempts


def test_the_first_trial_is_the_candidate_as_it_is_declared(rows: pl.DataFrame) -> None:
    spec = candidate(trials=2, params={"max_depth": 2, "n_estimators": 20}, space={"max_depth": {"low": 2, "high": 4}})
    first = search(spec, rows).attempts[0]
    untuned = [_auc_of(spec, rows, fold) for fold in inner_of(rows)]
    assert first.params == {"max_depth": 2}
    assert first.aucs == pytest.approx(untuned, abs=0)


def test_a_search_stays_in_its_space_and_leaves_alone_what_the_candidate_sets(
    rows: pl.DataFrame, undisturbed: Tuned
) -> None:
    for name, space in SPACES["xgboost"].items():
        assert isinstance(space, RangeSpec)
        assert all(space.low <= attempt.params[name] <= space.high for attempt in undisturbed.attempts), name
    tried = search(candidate(trials=3, params={"max_depth": 3}), rows)
    assert all("max_depth" not in attempt.params for attempt in tried.attempts)
    assert search(candidate("logistic", params={"C": 1.0}), rows).reason.startswith("tried isn't tuned: its params")


def test_a_planted_better_parameter_is_found(rows: pl.DataFrame) -> None:
    stump = {"n_estimators": 1, "max_depth": 1, "learning_rate": 0.1}
    spec = candidate(params=stump, early_stopping=0, space={"n_estimators": {"low": 1, "high": 60}})
    found = search(spec, rows)
    assert found.params["n_estimators"] > 5
    assert found.auc > found.own_auc + 0.02
    assert "more than the" in found.reason
    assert found.applied_to(spec).params == {**stump, **found.params}
    again = [_auc_of(found.applied_to(spec), rows, fold) for fold in inner_of(rows)]
    assert found.auc == pytest.approx(np.mean(again))


def test_choices_may_be_of_any_kind(rows: pl.DataFrame) -> None:
    groups = [None, [[0, 1], [2, 3, 4]]]
    spec = candidate(trials=6, space={"interaction_constraints": groups, "grow_policy": ["depthwise", "lossguide"]})
    drawn = [attempt.params for attempt in search(spec, rows).attempts[1:]]
    assert all(params["interaction_constraints"] in groups for params in drawn)
    assert {params["grow_policy"] for params in drawn} == {"depthwise", "lossguide"}


def test_luck_is_not_taken_for_skill() -> None:
    trees = {"n_estimators": 20, "learning_rate": 0.2, "max_depth": 3, "gamma": 0, "subsample": 0.5}
    lucky = candidate(trials=6, params=trees, early_stopping=0, space={"random_state": {"low": 0, "high": 999}})
    found = [search(lucky, fit_rows(seed)) for seed in range(6)]
    kept = [tuned for tuned in found if not tuned.params]
    assert len(kept) >= 4
    assert all(tuned.auc == tuned.own_auc for tuned in kept)
    better = [tuned for tuned in kept if "of luck" in tuned.reason]
    assert better
    assert all(max(attempt.auc for attempt in tuned.attempts) > tuned.own_auc for tuned in better)


def test_what_falls_behind_is_given_up_after_a_fold(rows: pl.DataFrame) -> None:
    tried = search(candidate("logistic", trials=16, space={"C": {"low": 1e-6, "high": 10.0, "log": True}}), rows)
    pruned = [attempt for attempt in tried.attempts if attempt.outcome == "pruned"]
    assert pruned
    assert all(0 < len(attempt.aucs) < 3 and not attempt.reason for attempt in pruned)
    own = tried.attempts[0]
    assert own.auc is not None
    for attempt in pruned:
        gained = np.mean(np.subtract(attempt.aucs, own.aucs[: len(attempt.aucs)]))
        assert attempt.auc == pytest.approx(own.auc + gained)
    assert all(len(attempt.aucs) == 3 for attempt in tried.attempts if attempt.outcome == "finished")


def test_parameters_that_the_library_refuses_are_put_down_and_the_search_goes_on(rows: pl.DataFrame) -> None:
    tried = search(candidate(trials=8, space={"max_depth": [3, 4, -5]}), rows)
    refused = [attempt for attempt in tried.attempts if attempt.outcome == "refused"]
    assert refused
    assert all(attempt.params == {"max_depth": -5} and "max_depth" in attempt.reason for attempt in refused)
    assert len(tried.attempts) == 8


def test_every_fit_sees_earlier_months_alone_and_stops_early_by_the_newest_of_them(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[Any], list[Any]]] = []
    fit = tuning.fit_candidate

    def watched(spec: Any, frame: pl.DataFrame, y: Any, features: Any, seed: int, stop: InnerFold | None) -> Any:
        months = [frame.filter(pl.Series(mask))["event_month"].unique().sort().to_list() for mask in stop or ()]
        seen.append((frame["event_month"].unique().sort().to_list(), months))
        return fit(spec, frame, y, features, seed, stop)

    monkeypatch.setattr(tuning, "fit_candidate", watched)
    search(candidate(trials=2), rows)
    days = [month.first_day for month in MONTHS]
    assert seen == 2 * [
        (days[:2], []),
        (days[:3], [days[:2], [days[2]]]),
        (days[:4], [days[:3], [days[3]]]),
    ]


def test_a_candidate_that_cannot_be_fitted_as_declared_is_no_search(rows: pl.DataFrame) -> None:
    with pytest.raises(LearningError, match="candidate tried could not be fitted"):
        search(candidate(params={"max_depth": -5}), rows)


@pytest.mark.parametrize("part", ["calibrate", "validate"])
def test_rows_that_judge_a_model_are_refused(rows: pl.DataFrame, part: str) -> None:
    with_one = rows.with_columns(part=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(part)).otherwise("part"))
    with pytest.raises(LearningError, match=f"expected fit rows alone, found rows to .*{part}"):
        search(candidate(), with_one)


def test_without_anybody_to_judge_the_candidate_keeps_its_parameters(rows: pl.DataFrame) -> None:
    nobody_left = rows.with_columns(label=pl.col("label") & (pl.col("event_month") < MONTHS[2].first_day))
    found = search(candidate(), nobody_left)
    assert (found.params, found.auc, found.attempts) == ({}, None, ())
    assert found.reason.startswith("tried isn't tuned: expected fit rows that can be divided")


def test_progress_is_told_before_every_trial(rows: pl.DataFrame) -> None:
    told: list[str] = []
    search(candidate(trials=3), rows, Tuner(progress=told.append))
    assert [line.split(",")[0] for line in told] == ["tuning tried: trial 2 of 3", "tuning tried: trial 3 of 3"]
    assert all("best AUC 0." in line for line in told)


def test_a_search_that_ended_is_a_decision_and_not_made_again(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = candidate("logistic", trials=10_000, timeout=0.5)
    found = search(spec, rows, Tuner(tmp_path))
    assert 1 < len(found.attempts) < 1000
    assert f"{len(found.attempts)} of 10000 trials that 0.5 seconds allowed" in found.reason
    fitted: list[object] = []
    monkeypatch.setattr(tuning, "fit_candidate", lambda *given: fitted.append(given))
    assert search(spec, rows, Tuner(tmp_path)) == found
    assert not fitted


def test_a_decision_survives_being_recorded(rows: pl.DataFrame, undisturbed: Tuned) -> None:
    again = Tuned.of(json.loads(json.dumps(undisturbed.recorded())))
    assert again.applied_to(candidate()) == undisturbed.applied_to(candidate())
    assert (again.auc, again.own_auc, again.reason) == (undisturbed.auc, undisturbed.own_auc, undisturbed.reason)


@pytest.fixture(scope="module")
def panel_rows() -> pl.DataFrame:
    """Five fit months, one to calibrate on and one to validate on."""
    return panel(customers=500, months=7)


@pytest.fixture(scope="module")
def tuned_training(panel_rows: pl.DataFrame) -> Training:
    return train(panel_rows, FEATURES, TUNED, months=FOLDS)


def test_training_takes_what_was_found(tuned_training: Training) -> None:
    found = tuned_training.tuned["tried"].params
    assert found
    assert found.items() <= tuned_training.models["tried"].params.items()
    assert list(tuned_training.tuned) == ["tried"]


def test_rows_that_judge_the_model_leave_no_trace_in_its_parameters(
    panel_rows: pl.DataFrame, tuned_training: Training
) -> None:
    judges = pl.col("part") != "fit"
    poisoned = panel_rows.with_columns(
        label=pl.when(judges).then(~pl.col("label")).otherwise("label"),
        tenure=pl.when(judges).then(-(10**6)).otherwise("tenure"),
        contract=pl.when(judges).then(pl.lit("poison")).otherwise("contract"),
    )
    assert train(poisoned, FEATURES, TUNED, months=FOLDS).tuned == tuned_training.tuned
    without = panel_rows.filter(~judges)
    assert train(without, FEATURES, TUNED, months=FOLDS).tuned == tuned_training.tuned


def test_training_from_a_recorded_decision_gives_the_same_models_without_a_search(
    panel_rows: pl.DataFrame, tuned_training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = {name: Tuned.of(json.loads(json.dumps(t.recorded()))) for name, t in tuned_training.tuned.items()}
    monkeypatch.setattr(tuning, "fit_candidate", None)
    again = train(panel_rows, FEATURES, TUNED, months=FOLDS, tuned=recorded)
    assert {name: dump(m) for name, m in again.models.items()} == {
        name: dump(m) for name, m in tuned_training.models.items()
    }


def test_customers_are_divided_where_there_are_no_months(panel_rows: pl.DataFrame) -> None:
    one_month = panel_rows.filter(pl.col("event_month") == MONTHS[0].first_day)
    found = train(one_month, FEATURES, TUNED).tuned["tried"]
    assert found.own_auc is not None
    assert len(found.attempts[0].aucs) == 3


KILLED = """
import sys, time
from pathlib import Path
from churn_assets.learning import tuning
from churn_assets_tests.learning.test_tuning import candidate, fit_rows, search

fit, begun = tuning.fit_candidate, [0]

def hanging(*given):
    begun[0] += 1
    if begun[0] == 14:
        print("inside a trial", flush=True)
        time.sleep(60)
    return fit(*given)

tuning.fit_candidate = hanging
search(candidate(), fit_rows(), tuning.Tuner(Path(sys.argv[1])))
"""


def test_a_search_that_was_killed_continues_and_ends_as_if_nothing_had_happened(
    rows: pl.DataFrame, undisturbed: Tuned, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside a trial\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    (journal,) = tmp_path.glob("*.log")
    with journal.open("ab") as file:
        file.write(b'{"op_code": 6, "worker_id"')
    Path(f"{journal}.lock").touch()
    told: list[str] = []
    begun = time.monotonic()
    assert search(candidate(), rows, Tuner(tmp_path, told.append)) == undisturbed
    assert time.monotonic() - begun < 25, "waited for the lock of the process that was killed"
    first = int(told[0].split()[3])
    assert first > 3
    assert [int(line.split()[3]) for line in told] == list(range(first, 11))
    states = _states(journal)
    assert states.count("FAIL") == 1
    assert len(states) == 11


def _states(journal: Path) -> list[str]:
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    return [trial.state.name for trial in optuna.load_study(study_name="tuning", storage=storage).trials]


def _auc_of(spec: CandidateSpec, rows: pl.DataFrame, fold: Sequence[np.ndarray[Any, Any]]) -> float:
    from churn_assets.learning.candidates import fit_candidate
    from churn_assets.learning.evaluation import auc

    taught, judged = (rows.filter(pl.Series(mask)) for mask in fold)
    learner, _ = fit_candidate(spec, taught, taught["label"].to_numpy(), FEATURES, 0)
    return auc(judged["label"], learner.log_odds(judged))
