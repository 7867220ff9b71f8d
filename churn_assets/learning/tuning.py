"""Tuning: a search for better parameters with Optuna, on parts of the fit rows alone.

Every set of parameters is fitted and judged on the inner folds one after the other, and given up on as soon as its
mean AUC falls behind that of most others. The first set is the candidate as it is declared, and every other one is
compared with it on the same rows: a gain that the best of so many may owe to chance changes nothing.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_assets.errors import LearningError
from churn_assets.learning.candidates import effective_params, fit_candidate
from churn_assets.learning.evaluation import auc, auc_difference
from churn_assets.learning.splits import InnerFold
from churn_assets.months import Month
from churn_assets.spec.learning import CandidateSpec, RangeSpec, TuningSpec
from churn_assets.store.content import content_hash, json_hash
from churn_assets.store.lake import replace_file

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

Floats = NDArray[np.float64]
Space = Mapping[str, RangeSpec | list[Any]]

SPACES: dict[str, dict[str, RangeSpec | list[Any]]] = {
    "logistic": {"C": RangeSpec(low=1e-3, high=1e2, log=True)},
    "random_forest": {
        "min_samples_leaf": RangeSpec(low=2e-4, high=0.02, log=True),
        "max_features": RangeSpec(low=0.1, high=0.9),
        "max_samples": RangeSpec(low=0.05, high=0.9),
    },
    "xgboost": {
        "n_estimators": RangeSpec(low=50, high=400, log=True),
        "learning_rate": RangeSpec(low=0.02, high=0.2, log=True),
        "max_depth": RangeSpec(low=2, high=6),
        "min_child_weight": RangeSpec(low=1, high=100, log=True),
        "gamma": RangeSpec(low=0.0, high=10.0),
        "subsample": RangeSpec(low=0.5, high=1.0),
        "colsample_bytree": RangeSpec(low=0.2, high=1.0),
    },
}
"""Where each kind is searched, unless the candidate says so itself; kind estimator has no space of its own."""

UNPRUNED = 5
"""Trials that are finished in any case, so that there is a median to fall behind."""

_BELOW_ONE_DEVIATION = NormalDist().cdf(1)


@dataclass(frozen=True)
class Attempt:
    """One set of parameters that was tried.

    Attributes:
        number: from 1; the first one is the candidate as it is declared.
        params: what was tried; of the first, the values that lie in the space.
        outcome: ``finished``, ``pruned`` after a fold where it had fallen behind, or ``refused`` by the library.
        aucs: AUC on each inner fold that it came to.
        auc: their mean. If it didn't come to all, that of the first and what it gained over it on those folds, since
            folds differ more than trials do. None if it came to none.
        noise: standard error of its mean AUC minus that of the first, on the same rows.
        reason: why the library refused.
    """

    number: int
    params: dict[str, Any]
    outcome: Literal["finished", "pruned", "refused"]
    aucs: tuple[float, ...]
    auc: float | None
    noise: float
    reason: str = ""


@dataclass(frozen=True)
class Tuned:
    """What a search decided.

    Attributes:
        params: the parameters that it found; none where the candidate keeps its own.
        auc: mean AUC of the chosen parameters on the inner folds.
        own_auc: the same of the candidate as it is declared.
        reason: one sentence on why.
        attempts: all that was tried, in order; not remembered with the decision.
    """

    params: dict[str, Any]
    auc: float | None
    own_auc: float | None
    reason: str
    attempts: tuple[Attempt, ...] = ()

    def applied_to(self, candidate: CandidateSpec) -> CandidateSpec:
        """``candidate`` with the parameters that were found."""
        return _with(candidate, self.params)

    def recorded(self) -> dict[str, Any]:
        """The decision as JSON, from which the same model can be trained without a search."""
        return {"params": self.params, "auc": self.auc, "own_auc": self.own_auc, "reason": self.reason}

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Tuned:
        """The decision that ``recorded`` was made of."""
        return cls(recorded["params"], recorded["auc"], recorded["own_auc"], recorded["reason"])


def _unheard(told: str) -> None:
    pass


@dataclass(frozen=True)
class Tuner:
    """Where searches are kept, which without a ``folder`` is in memory, and who hears how far they have come."""

    folder: Path | None = None
    progress: Callable[[str], None] = _unheard


IN_MEMORY = Tuner()


def hand_over(folder: Path, month: Month, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """Has a month take decisions that were recorded elsewhere, by candidate, in place of searches of its own."""
    replace_file(_handed_over(folder, month), json.dumps(recorded, indent=1).encode())


def handed_over(folder: Path, month: Month) -> dict[str, Tuned]:
    """The decisions that a month takes from elsewhere, by candidate; mostly none."""
    path = _handed_over(folder, month)
    return {name: Tuned.of(told) for name, told in json.loads(path.read_text()).items()} if path.exists() else {}


def _handed_over(folder: Path, month: Month) -> Path:
    return folder / f"{month}.json"


def tune(
    candidate: CandidateSpec,
    fit: pl.DataFrame,
    features: Sequence[str],
    seed: int,
    inner: Sequence[InnerFold],
    tuner: Tuner = IN_MEMORY,
) -> Tuned:
    """Searches for better parameters of ``candidate``, or finds the search that was made of the same rows.

    Without a timeout the same rows give the same trials and the same decision. In a folder, a search that was killed
    continues after its last finished trial and ends as if nothing had happened; one that ended is never made again.

    Args:
        candidate: with ``tuning``.
        fit: (rows, ...) fit rows alone, with ``customer_id``, ``event_month``, ``part``, ``label`` and the features.
        features: columns to learn from.
        seed: seed of the search and of every fit.
        inner: pairs of (rows,) masks, taught and judged, in ascending order.
        tuner: where the search is kept, and who hears of it.

    Raises:
        LearningError: rows that aren't fit rows, or a candidate that can't be fitted as it is declared.
    """
    _require_fit_rows(fit)
    search = _Search(candidate, fit, tuple(features), seed, tuple(_usable(fit, inner)), space_of(candidate))
    if problem := search.problem:
        return Tuned({}, None, None, f"{candidate.name} isn't tuned: {problem}")
    with _study(tuner.folder / f"{search.identity}.log" if tuner.folder else None) as study:
        if "ended" not in study.user_attrs:
            search.run(study, tuner.progress)
        return search.decision(study)


def space_of(candidate: CandidateSpec) -> Space:
    """Where ``candidate`` is searched: as it says, or else in its kind's space without the parameters that it sets."""
    if candidate.tuning and candidate.tuning.space:
        return candidate.tuning.space
    return {name: space for name, space in SPACES.get(candidate.kind, {}).items() if name not in candidate.params}


@dataclass(frozen=True)
class _Search:
    """One search: what is tried, and on which rows."""

    candidate: CandidateSpec
    fit: pl.DataFrame
    features: tuple[str, ...]
    seed: int
    inner: tuple[InnerFold, ...]
    space: Space

    @property
    def limits(self) -> TuningSpec:
        """How many trials there are, and how much time."""
        return self.candidate.tuning or TuningSpec(trials=1)

    @property
    def problem(self) -> str:
        """Why there is nothing to search, or nobody to judge."""
        if not self.space:
            return "its params leave nothing of its kind's space to search. Give tuning.space."
        if not self.inner:
            return (
                f"expected fit rows that can be divided into some that teach and others that judge, with customers who "
                f"left and who stayed in both, found none among {self.fit.height} rows."
            )
        return ""

    @cached_property
    def identity(self) -> str:
        """Equal for searches that decide the same, whatever rows judge their outcome."""
        rows = self.fit.select("customer_id", "event_month", "label", *self.features)
        masks = blake2b(b"".join(mask.tobytes() for fold in self.inner for mask in fold)).hexdigest()
        told = {"rows": content_hash(rows), "inner": masks, "features": self.features, "seed": self.seed,
                "candidate": self.candidate.model_dump(mode="json"), "code": _code()}  # fmt: skip
        return json_hash(told)[:16]

    def run(self, study: Study, progress: Callable[[str], None]) -> None:
        """Tries one set of parameters after the other, up to the number or the time that there is."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        for left_by_a_kill in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(left_by_a_kill.number, state=TrialState.FAIL)
        limits, begun = self.limits, time.monotonic() - _seconds(study)
        own = [self._log_odds({}, i) for i in range(len(self.inner))]
        if not _finished(study):
            study.add_trial(self._own_trial(own))
        while (place := len(_finished(study))) < limits.trials:
            if limits.timeout is not None and time.monotonic() - begun >= limits.timeout:
                break
            best = study.best_value
            progress(f"tuning {self.candidate.name}: trial {place + 1} of {limits.trials}, best AUC {best:.4f}")
            # Seeded by its place, a trial draws the same in whichever process it begins. Each parameter is drawn by
            # itself, since the first trial may lack some.
            drawn = int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])
            study.sampler = TPESampler(seed=drawn, multivariate=False, constant_liar=False)
            self._try(study, study.ask(self._distributions()), own)
        study.set_user_attr("ended", True)

    def decision(self, study: Study) -> Tuned:
        """The best parameters, if they gain more than luck gives the best of so many; else the candidate's own."""
        trials = _finished(study)
        attempts = tuple(_attempt(i, trial, trials[0], self._values(trial.params)) for i, trial in enumerate(trials, 1))
        own, *others = [attempt for attempt in attempts if attempt.outcome == "finished"]
        best = max(others, key=lambda attempt: attempt.auc or 0.0, default=own)
        gain, luck = (best.auc or 0.0) - (own.auc or 0.0), _luck(best.noise, len(attempts) - 1)
        name, counted = self.candidate.name, self._counted(len(attempts))
        judged = f"{own.auc:.4f} on {len(self.inner)} inner {'fold' if len(self.inner) == 1 else 'folds'}"
        figures = f"mean AUC {best.auc:.4f} against {judged}, a gain of {gain:.2g}"
        if gain > luck:
            reason = f"{name} takes trial {best.number} of {counted}: {figures}, more than the {luck:.2g} of luck."
            return Tuned(best.params, best.auc, own.auc, reason, attempts)
        why = f"the best of them has {figures}, not more than the {luck:.2g} of luck"
        if gain <= 0:
            why = f"none of them has a higher mean AUC than {judged}"
        return Tuned({}, own.auc, own.auc, f"{name} keeps its own parameters after {counted}: {why}.", attempts)

    def _counted(self, trials: int) -> str:
        if self.limits.timeout is None or trials == self.limits.trials:
            return "1 trial" if trials == 1 else f"{trials} trials"
        return f"{trials} of {self.limits.trials} trials that {self.limits.timeout:g} seconds allowed"

    def _try(self, study: Study, trial: Trial, own: Sequence[Floats]) -> None:
        from optuna.trial import TrialState

        aucs: list[float] = []
        noises: list[float] = []
        state, why = TrialState.COMPLETE, ""
        try:
            for step, of_own in enumerate(own):
                z, left = self._log_odds(self._values(trial.params), step), self._judges(step)
                aucs.append(auc(left, z))
                noises.append(_standard_error(left, z, of_own))
                trial.report(float(np.mean(aucs)), step)
                if step + 1 < len(own) and trial.should_prune():
                    state = TrialState.PRUNED
                    break
        except LearningError as error:
            state, why = TrialState.PRUNED, str(error)
        noise = float(np.sqrt(np.sum(np.square(noises))) / max(1, len(noises)))
        trial.set_user_attr("judged", {"aucs": aucs, "noise": noise, "refused": why})
        study.tell(trial, float(np.mean(aucs)) if state == TrialState.COMPLETE else None, state)

    def _own_trial(self, own: Sequence[Floats]) -> FrozenTrial:
        """The candidate as it is declared, with as much of it as the space can say."""
        from optuna.trial import create_trial

        declared = effective_params(self.candidate, self.seed)
        places = {name: _place(self.space[name], declared[name]) for name in self.space if name in declared}
        known = {name: place for name, place in places.items() if place is not None}
        aucs = [auc(self._judges(step), z) for step, z in enumerate(own)]
        return create_trial(
            value=float(np.mean(aucs)),
            params=known,
            distributions={name: _distribution(self.space[name]) for name in known},
            user_attrs={"judged": {"aucs": aucs, "noise": 0.0, "refused": ""}},
            intermediate_values={i: float(np.mean(aucs[: i + 1])) for i in range(len(aucs))},
        )

    def _log_odds(self, params: Mapping[str, Any], step: int) -> Floats:
        taught, judged = self.inner[step]
        rows = self.fit.filter(pl.Series(taught))
        given = (_with(self.candidate, params), rows, _labels(rows), self.features, self.seed, self._stop(step))
        learner, _ = fit_candidate(*given)
        return learner.log_odds(self.fit.filter(pl.Series(judged)))

    def _stop(self, step: int) -> InnerFold | None:
        """The newest division of the rows that teach, for candidates that stop early: their judges must not be seen."""
        taught, _ = self.inner[step]
        divided = [(teach[taught], judge[taught]) for teach, judge in self.inner]
        return next((fold for fold in reversed(divided) if fold[0].any() and fold[1].any()), None)

    def _judges(self, step: int) -> NDArray[np.bool_]:
        return _labels(self.fit)[self.inner[step][1]]

    def _distributions(self) -> dict[str, BaseDistribution]:
        return {name: _distribution(space) for name, space in self.space.items()}

    def _values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What was drawn, a choice by its place, as the library takes it."""
        chosen = {name: (self.space[name], value) for name, value in drawn.items()}
        return {name: space[value] if isinstance(space, list) else value for name, (space, value) in chosen.items()}


def _with(candidate: CandidateSpec, params: Mapping[str, Any]) -> CandidateSpec:
    return candidate.model_copy(update={"params": {**candidate.params, **params}})


def _distribution(space: RangeSpec | list[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, list):  # by their places, since Optuna keeps plain values only
        return CategoricalDistribution(range(len(space)))
    if isinstance(space.low, int) and isinstance(space.high, int):
        return IntDistribution(space.low, space.high, log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def _place(space: RangeSpec | list[Any], value: Any) -> Any:
    """What stands for ``value`` in ``space``; None if it lies outside."""
    if isinstance(space, list):
        return space.index(value) if value in space else None
    whole = isinstance(space.low, int) and isinstance(space.high, int)
    usable = isinstance(value, int) or (isinstance(value, float) and not whole)
    return value if usable and space.low <= value <= space.high else None


@contextmanager
def _study(path: Path | None) -> Iterator[Study]:
    """The study that ``path`` holds, to this process alone; a new one if there is none."""
    import optuna
    from optuna.storages import InMemoryStorage

    with _quiet(), _journal(path) if path else nullcontext(InMemoryStorage()) as storage:
        yield optuna.create_study(
            storage=storage,
            study_name="tuning",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        )


@contextmanager
def _journal(path: Path) -> Iterator[BaseStorage]:
    """Optuna's journal at ``path``; the lock of a process that dies is released."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Optuna's own lock outlives a process that was killed, and would be waited for.
        Path(f"{path}.lock").unlink(missing_ok=True)
        _drop_torn_line(path)
        yield JournalStorage(JournalFileBackend(str(path)))


def _drop_torn_line(path: Path) -> None:
    """Cuts off a last line that a killed process had not ended: Optuna would append to it, and read no more."""
    written = path.read_bytes() if path.exists() else b""
    if not written.endswith(b"\n") and written:
        with path.open("r+b") as file:
            file.truncate(written.rfind(b"\n") + 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's line about every trial away from the log, which has our own."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _finished(study: Study) -> list[FrozenTrial]:
    """Trials that came to an end, in order; those that a kill ended are not among them."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _attempt(number: int, trial: FrozenTrial, first: FrozenTrial, params: dict[str, Any]) -> Attempt:
    from optuna.trial import TrialState

    judged, own = trial.user_attrs["judged"], first.user_attrs["judged"]["aucs"]
    aucs, refused = judged["aucs"], judged["refused"]
    outcome: Any = "finished" if trial.state == TrialState.COMPLETE else "refused" if refused else "pruned"
    gain = np.mean(np.subtract(aucs, own[: len(aucs)])) if aucs else np.nan
    value = trial.value if outcome == "finished" else float(np.mean(own) + gain) if aucs else None
    return Attempt(number, params, outcome, tuple(aucs), value, judged["noise"], refused)


def _seconds(study: Study) -> float:
    """What the finished trials have taken."""
    return sum(trial.duration.total_seconds() for trial in _finished(study) if trial.duration)


def _usable(fit: pl.DataFrame, inner: Sequence[InnerFold]) -> list[InnerFold]:
    """The folds with customers who left and who stayed on both sides."""
    left = _labels(fit)
    return [fold for fold in inner if all(0 < left[mask].sum() < mask.sum() for mask in fold)]


def _require_fit_rows(rows: pl.DataFrame) -> None:
    parts = sorted(rows["part"].unique().to_list())
    if parts != ["fit"]:
        raise LearningError(
            f"tuning: expected fit rows alone, found rows to {' and '.join(parts) or 'learn from: none'}. Rows that "
            "judge a model must not choose its parameters."
        )


def _standard_error(left: NDArray[np.bool_], z: Floats, of_own: Floats) -> float:
    """Of the difference of two AUCs on the same rows (DeLong)."""
    interval = auc_difference(left, z, of_own, 2 * _BELOW_ONE_DEVIATION - 1)
    return (interval.upper - interval.lower) / 2


def _luck(noise: float, others: int) -> float:
    """What the best of ``others`` that are no better gains by chance: one standard error for a single one.

    By Šidák, Z. (1967), Rectangular confidence regions for the means of multivariate normal distributions.
    """
    return noise * NormalDist().inv_cdf(_BELOW_ONE_DEVIATION ** (1 / others)) if others else 0.0


def _labels(rows: pl.DataFrame) -> NDArray[np.bool_]:
    return rows["label"].cast(pl.Boolean).to_numpy()


def _code() -> str:
    """A hash of the code that a search is made by."""
    digest = blake2b(digest_size=8)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
