"""The curves of an evaluation, thinned to a number of points that can be drawn; what is kept is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from churn_assets.learning.evaluation import BINS, Floats, binned, checked, cumulated, rate_interval

POINTS = 200


@dataclass(frozen=True)
class Curves:
    """What every threshold of the predictions would mean; a row each, from the strictest to the loosest.

    Attributes:
        roc: ``fpr``, share of those who stayed at or above the threshold, and ``tpr``, of those who left; from (0, 0).
        precision_recall: ``recall`` and ``precision`` of contacting all at or above it.
        gains: ``share`` of customers contacted, ``found``, the share of leavers among them of all who left, and
            ``lift``, the one divided by the other.
    """

    roc: pl.DataFrame
    precision_recall: pl.DataFrame
    gains: pl.DataFrame


def curves(y: ArrayLike, p: ArrayLike, most: int = POINTS) -> Curves:
    """ROC, precision against recall, and cumulative gains, of at most ``most`` points each.

    Args:
        y: (n,) booleans, True for those who left.
        p: (n,) predictions; equal ones share a threshold.
        most: points of a curve, at least 2.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = checked(y, p)
    rows, hits = cumulated(left, prediction)
    found, share = hits / hits[-1], rows / rows[-1]
    missed = (rows - hits) / (rows[-1] - hits[-1])
    roc = np.column_stack([np.append(0.0, missed), np.append(0.0, found)])
    return Curves(
        roc=_thinned({"fpr": roc[:, 0], "tpr": roc[:, 1]}, roc.sum(axis=1), most),
        precision_recall=_thinned({"recall": found, "precision": hits / rows}, found + share, most),
        gains=_thinned({"share": share, "found": found, "lift": found / share}, share, most),
    )


def reliability(y: ArrayLike, p: ArrayLike, bins: int = BINS, confidence: float = 0.95) -> pl.DataFrame:
    """Predicted against observed rate in bins of equal mass, by ascending prediction.

    Returns:
        ``rows``, ``predicted`` (mean), ``observed`` (rate), and ``lower`` and ``upper``, the ends of Wilson's interval
        of the rate.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    rows, left, predicted = binned(y, p, bins)
    lower, upper = rate_interval(left, rows, confidence)
    return pl.DataFrame(
        {"rows": rows, "predicted": predicted / rows, "observed": left / rows, "lower": lower, "upper": upper}
    )


def score_distribution(y: ArrayLike, p: ArrayLike, bins: int = 40) -> pl.DataFrame:
    """Predictions of those who left and of those who stayed, in bins of equal width from 0 to the largest one.

    Returns:
        ``from`` and ``to``, the ends of a bin, and ``left`` and ``stayed``, the shares of either group in it; each
        adds up to 1.

    Raises:
        LearningError: one class only, different lengths, or predictions that aren't finite.
    """
    left, prediction = checked(y, p)
    edges = np.linspace(min(0.0, prediction.min()), prediction.max() or 1.0, bins + 1)
    groups = {"left": prediction[left], "stayed": prediction[~left]}
    shares = {name: np.histogram(own, edges)[0] / len(own) for name, own in groups.items()}
    return pl.DataFrame({"from": edges[:-1], "to": edges[1:], **shares})


def _thinned(columns: dict[str, Floats], place: Floats, most: int) -> pl.DataFrame:
    """The points nearest above equal steps of ``place``, which ascends; the first and the last are kept."""
    steps = np.linspace(place[0], place[-1], most)
    at = np.unique(np.minimum(np.searchsorted(place, steps), len(place) - 1)) if len(place) > most else slice(None)
    return pl.DataFrame({name: values[at] for name, values in columns.items()})
