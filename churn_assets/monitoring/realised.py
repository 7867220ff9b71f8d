"""What became of predictions, once it is known who left.

Intervals: of the AUC DeLong's, of the calibration error that of ``learning/evaluation.py``; of the area under the
precision-recall curve the one on the scale of its log-odds (Boyd, K., Eng, K. and Page, C. 2013, Area under the
precision-recall curve: point estimates and confidence intervals); of the lift that of the share of the leavers who were
in the top tenth, and of a rate, both Wilson's; of a mean of losses the one of the central limit theorem. The same
intervals are given to what was promised in the validation month, on as many rows and leavers as it was found on; the
losses of a row are taken to scatter as they did now. Champion and challenger are compared on the same customers, row by
row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import polars as pl

from churn_assets.errors import LearningError
from churn_assets.learning.calibration import expit, log_odds
from churn_assets.learning.evaluation import Flags, Floats, Interval, auc_difference, evaluate, rate_interval
from churn_assets.monitoring.figures import CHALLENGER, CHAMPION, DIFFERENCE, Figure, is_kept, table

_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Scorer:
    """A model that scored the customers.

    Attributes:
        role: ``champion`` or ``challenger``; also the column of its scores.
        model: its id.
        promise: its figures of the validation month, as ``Evaluation.as_dict`` has them; none if nothing was promised.
    """

    role: str
    model: str
    promise: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Realised:
    """What became of the predictions of the month ``snapshot``.

    Attributes:
        customers: how many were scored.
        known: of how many of them it is known whether they left.
        left: how many of those left.
        figures: of each model, and of champion less challenger.
        problems: role -> why its scores, or their ``difference``, can't be judged.
    """

    snapshot: str
    customers: int
    known: int
    left: int
    figures: tuple[Figure, ...]
    problems: Mapping[str, str]

    @property
    def unknown(self) -> int:
        """Customers of whom it stays unknown whether they left; no figure counts them."""
        return self.customers - self.known

    @property
    def table(self) -> pl.DataFrame:
        """A row a figure."""
        return table(self.figures)

    def of(self, role: str, name: str) -> Figure | None:
        """The figure ``realised_<name>`` of a role, if there is one."""
        return next((f for f in self.figures if (f.role, f.metric) == (role, f"realised_{name}")), None)

    @property
    def broken(self) -> tuple[Figure, ...]:
        """The champion's figures that leave no room for what was promised."""
        return tuple(f for f in self.figures if f.role == CHAMPION and f.kept is False)


def judge(snapshot: str, rows: pl.DataFrame, scorers: Sequence[Scorer], confidence: float = 0.95) -> Realised:
    """Judges what was predicted in the month ``snapshot``; what stands in the way is told, and never raised.

    Args:
        snapshot: the month whose customers were scored.
        rows: (n, ...) customers in any order: ``label``, True for those who left and null where it isn't known, and a
            column of P(leave) a scorer, named by its role, null for customers whom it didn't score.
        scorers: the champion, and the challenger if there is one.
        confidence: of the intervals.
    """
    known, figures, problems = rows.filter(pl.col("label").is_not_null()), [], {}
    for scorer in scorers:
        scored = known.filter(pl.col(scorer.role).is_not_null())
        try:
            figures += _of_scorer(snapshot, scored["label"].to_numpy(), scored[scorer.role].to_numpy(), scorer,
                                  confidence)  # fmt: skip
        except LearningError as error:
            problems[scorer.role] = str(error)
    if len(scorers) > 1 and not problems:
        try:
            figures += _compared(snapshot, known, scorers, confidence)
        except LearningError as error:
            problems[DIFFERENCE] = str(error)
    return Realised(snapshot, len(rows), len(known), int(known["label"].sum()), tuple(figures), problems)


def _of_scorer(snapshot: str, left: Flags, p: Floats, scorer: Scorer, confidence: float) -> list[Figure]:
    found, (squares, logs) = evaluate(left, p, confidence).as_dict(), _losses(left, p)
    spread = {"brier": float(squares.std(ddof=1)), "log_loss": float(logs.std(ddof=1))}
    realised = _intervals(found, spread, confidence)
    promised = _intervals(scorer.promise, spread, confidence) if scorer.promise else {}
    # Nobody promises another number of leavers than the scores add up to.
    realised["level"] = _level(found, realised["rate"])
    promised["level"] = Interval(0.0, 0.0, 0.0)
    return [
        _figure(name, snapshot, scorer.role, scorer.model, interval, promised.get(name))
        for name, interval in realised.items()
    ]


def _figure(
    name: str, snapshot: str, role: str, model: str, realised: Interval, promised: Interval | None = None
) -> Figure:
    said = (promised.value, promised.lower, promised.upper, is_kept(name, realised, promised)) if promised else ()
    return Figure(f"realised_{name}", snapshot, role, model, realised.value, realised.lower, realised.upper, *said)


def _intervals(found: Mapping[str, float], spread: Mapping[str, float], confidence: float) -> dict[str, Interval]:
    """The figures of an evaluation with their intervals; ``spread`` is the deviation of a row's losses."""
    rows, positives = int(found["rows"]), int(found["positives"])
    lift, tenth = found["top_decile_lift"], np.ceil(rows / 10) / rows
    # Rounding must not find more leavers in the tenth than there are.
    hits = rate_interval(min(lift * tenth, 1.0) * positives, positives, confidence)
    rate = rate_interval(positives, rows, confidence)
    return {
        "auc": Interval(found["auc"], found["auc_lower"], found["auc_upper"]),
        "pr_auc": _of_precision(found["pr_auc"], positives, confidence),
        "top_decile_lift": Interval(lift, float(hits[0] / tenth), float(hits[1] / tenth)),
        "calibration_error": Interval(
            found["calibration_error"], found["calibration_error_lower"], found["calibration_error_upper"]
        ),
        **{name: _of_mean(found[name], spread[name], rows, confidence, 0.0) for name in ("brier", "log_loss")},
        "rate": Interval(found["rate"], float(rate[0]), float(rate[1])),
    }


def _level(found: Mapping[str, float], rate: Interval) -> Interval:
    """Mean prediction less the rate of those who left."""
    said = found["mean_prediction"]
    return Interval(said - rate.value, said - rate.upper, said - rate.lower)


def _of_precision(value: float, positives: int, confidence: float) -> Interval:
    if not 0 < value < 1:
        return Interval(value, 0.0, 1.0)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) / (positives * value * (1 - value)) ** 0.5
    low, high = expit(log_odds([value]) + np.array([-reach, reach]))
    return Interval(value, float(low), float(high))


def _of_mean(value: float, spread: float, rows: int, confidence: float, least: float) -> Interval:
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * spread / rows**0.5
    return Interval(value, max(least, value - reach), value + reach)


def _losses(left: Flags, p: Floats) -> tuple[Floats, Floats]:
    """Squared error and logarithmic loss of every row, (n,) each."""
    right = np.where(left, p, 1 - p)
    return (1 - right) ** 2, -np.log(np.maximum(right, _SMALLEST))


def _compared(snapshot: str, known: pl.DataFrame, scorers: Sequence[Scorer], confidence: float) -> list[Figure]:
    """Champion less challenger on the customers whom both scored."""
    both = known.filter(pl.col(CHAMPION).is_not_null() & pl.col(CHALLENGER).is_not_null())
    left = both["label"].to_numpy()
    ours, theirs = both[CHAMPION].to_numpy(), both[CHALLENGER].to_numpy()
    found = {"auc": auc_difference(left, ours, theirs, confidence)}
    for name, one, other in zip(("brier", "log_loss"), _losses(left, ours), _losses(left, theirs), strict=True):
        gap = one - other
        found[name] = _of_mean(float(gap.mean()), float(gap.std(ddof=1)), len(gap), confidence, -np.inf)
    models = " less ".join(scorer.model for scorer in scorers)
    return [_figure(name, snapshot, DIFFERENCE, models, interval) for name, interval in found.items()]
