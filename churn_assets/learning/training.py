"""Training: every candidate fitted, the best one chosen and all of them calibrated on rows they were not fitted on."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import EvidenceError, LearningError
from churn_assets.learning.calibration import Calibration, expit, fit_calibration
from churn_assets.learning.candidates import Fit, Learner, fit_candidate
from churn_assets.learning.evaluation import auc
from churn_assets.learning.matrix import require_columns
from churn_assets.learning.splits import FOLDS, InnerFold, folds, inner_folds
from churn_assets.learning.tuning import IN_MEMORY, Tuned, Tuner, tune
from churn_assets.months import Fold
from churn_assets.spec.learning import CandidateSpec

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TIE = 0.0005
"""AUC within which two candidates count as equal, and the one listed first wins."""


@dataclass(frozen=True)
class TrainedModel:
    """A fitted and calibrated candidate, with all it needs to score a frame of features.

    Attributes:
        name: name of the candidate.
        kind: as in ``CandidateSpec``.
        features: columns it takes, in order.
        categories: feature -> levels, for the features that are categories.
        estimator: the fitted ``Learner``; ``estimator.native`` is the library's own object.
        calibration: the map from its probabilities to calibrated ones.
        params: parameters that it was fitted with, the number of trees that was chosen included.
    """

    name: str
    kind: str
    features: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    estimator: Any
    calibration: Calibration
    params: dict[str, Any]

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Calibrated probability of leaving, (n,).

        Raises:
            LearningError: a feature is absent or has another type than in training.
        """
        return self.calibration.apply(expit(self.log_odds(frame)))

    def log_odds(self, frame: pl.DataFrame) -> Floats:
        """Log-odds of leaving before calibration, (n,)."""
        result: Floats = self.estimator.log_odds(frame) if frame.height else np.zeros(0)
        return result

    def contributions(self, frame: pl.DataFrame) -> Floats:
        """What each feature adds to the log-odds before calibration, (n, len(features)).

        For each row they and ``bias()`` add up to ``log_odds``.

        Raises:
            LearningError: a feature is absent or has another type than in training.
        """
        empty = np.zeros((0, len(self.features)))
        result: Floats = self.estimator.contributions(frame) if frame.height else empty
        return result

    def bias(self) -> float:
        """The log-odds that contributions start from."""
        return float(self.estimator.bias())

    def importance(self) -> dict[str, float]:
        """Share of each feature in the model, adding up to 1; equal shares if no feature has any weight."""
        weights = self.estimator.importance()
        whole = weights.sum()
        parts = weights / whole if whole > 0 else np.full(len(weights), 1 / len(weights))
        return dict(zip(self.features, parts.tolist(), strict=True))


@dataclass(frozen=True)
class Training:
    """What became of the candidates.

    Attributes:
        models: every candidate, fitted and calibrated, by name.
        challenger: name of the one that may challenge the champion.
        selection: AUC of each candidate on rows that it wasn't fitted on.
        reason: one sentence on how the challenger was chosen.
        tuned: what was found for the candidates with tuning, by name.
    """

    models: dict[str, TrainedModel]
    challenger: str
    selection: dict[str, float]
    reason: str
    tuned: dict[str, Tuned] = field(default_factory=dict)


def train(
    rows: pl.DataFrame,
    features: Sequence[str],
    candidates: Sequence[CandidateSpec],
    seed: int = 0,
    fit_on: Fit = fit_candidate,
    months: Sequence[Fold] = (),
    tuner: Tuner = IN_MEMORY,
    tuned: Mapping[str, Tuned] = {},
) -> Training:
    """Fits all candidates and chooses the challenger; validation rows are ignored.

    With rows to calibrate on, candidates are fitted on the fit rows, and compared and calibrated on those. Without
    any, or with one class only among them, cross-fitted predictions do both (five folds of whole customers), and the
    models are fitted on all fit rows. Candidates are fitted side by side, as many as there are cores. The same rows
    give the same models, bit for bit, in any order.

    Args:
        rows: one per customer and month, with ``customer_id``, ``event_month``, ``part`` (``fit``, ``calibrate`` or
            ``validate``), ``label`` (True for those who left) and the features.
        features: columns to learn from.
        candidates: the models to fit, the simplest first: the earlier one wins a tie.
        seed: seed of everything random.
        fit_on: fits a candidate on the fit rows, where there are rows to calibrate on; cross-fitting is done here.
        months: the calendar's folds of the fit months; customers are divided where there are none.
        tuner: where searches for parameters are kept, and who hears of them.
        tuned: what was found before; a candidate named there is not searched again.

    Raises:
        EvidenceError: no fit rows, or one class only.
        LearningError: no candidate or feature, a label missing, a feature that is absent or of an unusable type, or a
            candidate that its library refuses.
    """
    _check(rows, features, candidates)
    ordered = rows.sort("event_month", "customer_id", maintain_order=True)
    fit, held_out = ordered.filter(pl.col("part") == "fit"), ordered.filter(pl.col("part") == "calibrate")
    _require_both_classes(fit, "fit")
    crossed = held_out["label"].n_unique() < 2
    how = f"{FOLDS} folds of the customers in {fit.height} rows" if crossed else f"{held_out.height} later rows"
    judged = fit if crossed else held_out
    left = _labels(judged)
    inner = inner_folds(fit, months)

    def fitted(candidate: CandidateSpec) -> tuple[float, TrainedModel]:
        stop = _newest(inner)
        learner, levels = (fit_candidate if crossed else fit_on)(candidate, fit, _labels(fit), features, seed, stop)
        z = _cross_fitted(candidate, fit, features, seed, months) if crossed else learner.log_odds(held_out)
        return auc(left, z), _model(candidate, learner, features, levels, fit_calibration(expit(z), left))

    with _one_thread_for_sums(), ThreadPoolExecutor(os.cpu_count()) as threads:
        found = {c.name: tuned[c.name] if c.name in tuned else tune(c, fit, features, seed, inner, tuner)
                 for c in candidates if c.tuning}  # fmt: skip
        prepared = [found[c.name].applied_to(c) if c.name in found else c for c in candidates]
        outcomes = dict(zip([c.name for c in candidates], threads.map(fitted, prepared), strict=True))
    selection = {name: value for name, (value, _) in outcomes.items()}
    models = {name: model for name, (_, model) in outcomes.items()}
    challenger = choose(selection)
    return Training(models, challenger, selection, _reason(challenger, selection, how), found)


def choose(selection: dict[str, float]) -> str:
    """The first name whose AUC is within ``TIE`` of the best.

    >>> choose({"baseline": 0.8480, "xgboost": 0.8484})
    'baseline'
    """
    best = max(selection.values())
    return next(name for name, value in selection.items() if value >= best - TIE)


def dump(model: TrainedModel) -> bytes:
    """The model as bytes for the lake (a pickle); equal models give equal bytes."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    # Its memo writes down which equal texts are one object, and that depends on what else the process has read.
    pickler.fast = True
    try:
        pickler.dump(model)
    except ValueError:  # an estimator that refers to itself needs the memo
        return pickle.dumps(model, protocol=5)
    return file.getvalue()


def load(data: bytes) -> TrainedModel:
    """The model that ``dump`` wrote.

    Only for bytes from one's own lake: a pickle from elsewhere can run any code when it is loaded.

    Raises:
        LearningError: the bytes hold no model, or one of an incompatible release.
    """
    try:
        model = pickle.loads(data)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise LearningError(
            f"model can't be loaded: expected bytes written by this release, found {len(data)} bytes that fail with "
            f"{type(error).__name__}: {error}. Train again, or install the release that wrote them."
        ) from error
    if not isinstance(model, TrainedModel):
        raise LearningError(f"model can't be loaded: expected a TrainedModel, found {type(model).__name__}.")
    return model


def _model(
    candidate: CandidateSpec,
    learner: Learner,
    features: Sequence[str],
    levels: dict[str, tuple[str, ...]],
    calibration: Calibration,
) -> TrainedModel:
    params = dict(learner.params)
    return TrainedModel(candidate.name, candidate.kind, tuple(features), levels, learner, calibration, params)


@contextmanager
def _one_thread_for_sums() -> Iterator[None]:
    """Keeps linear algebra on one thread: sums over several differ in their last bits from machine to machine.

    The limit is the process's own, so that it is set before candidates are fitted side by side, and not by them.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def _newest(divided: Sequence[InnerFold]) -> InnerFold | None:
    """The last division that has rows to judge."""
    return next((fold for fold in reversed(divided) if fold[1].any()), None)


def _cross_fitted(
    candidate: CandidateSpec, fit: pl.DataFrame, features: Sequence[str], seed: int, months: Sequence[Fold]
) -> Floats:
    """Log-odds for every fit row by a model that has not seen its customer, (n,)."""
    place, left = folds(fit["customer_id"], FOLDS), _labels(fit)
    result = np.zeros(fit.height)
    for fold in np.unique(place):
        inside = place == fold
        seen = fit.filter(~inside)
        _require_both_classes(seen, f"fit (without fold {fold + 1} of {FOLDS})")
        stop = _newest(inner_folds(seen, months))
        learner, _ = fit_candidate(candidate, seen, left[~inside], features, seed, stop)
        result[inside] = learner.log_odds(fit.filter(inside))
    return result


def _check(rows: pl.DataFrame, features: Sequence[str], candidates: Sequence[CandidateSpec]) -> None:
    require_columns(rows, ["customer_id", "event_month", "part", "label"])
    if not candidates or not features:
        raise LearningError(
            f"training: expected at least one candidate and one feature, found {len(candidates)} and {len(features)}."
        )
    missing = rows.filter(pl.col("part") != "validate")["label"].null_count()
    if missing:
        raise LearningError(f"training: expected a label in every row, found {missing} without. Leave these rows out.")


def _require_both_classes(rows: pl.DataFrame, part: str) -> None:
    left = int(rows["label"].sum() or 0)
    if 0 < left < rows.height:
        return
    raise EvidenceError(
        f"training: expected customers who left and customers who stayed among the {part} rows, found {left} who left "
        f"and {rows.height - left} who stayed. Train on more months or more customers."
    )


def _labels(rows: pl.DataFrame) -> Flags:
    return rows["label"].cast(pl.Boolean).to_numpy()


def _reason(challenger: str, selection: dict[str, float], how: str) -> str:
    others = ", ".join(f"{name} {value:.4f}" for name, value in selection.items() if name != challenger)
    against = f" against {others}" if others else ""
    beaten = max(selection.values()) > selection[challenger]
    tie = f"; within {TIE} the simpler one wins" if beaten else ""
    return f"{challenger} challenges with an AUC of {selection[challenger]:.4f}{against} on {how}{tie}."
