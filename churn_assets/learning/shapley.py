"""Shapley values of any model, sampled: what each feature adds to a row's log-odds against rows of the fit.

For each row of the background and an order of the features, the background row becomes the row to explain, one
feature after the other, and every feature is credited with the step that it makes. Averaged over background rows and
orders that is its Shapley value (Strumbelj & Kononenko 2014; Castro, Gomez & Tejada 2009). Each order is walked
backwards too, which halves the variance of what two features do together. The steps of a walk add up to the whole way,
so that the values and ``bias`` add up to the log-odds however few walks there are; rows and orders are drawn once, by
the seed, so that a row's values depend on no other row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matrix = NDArray[np.float32]

WALKS = 16
"""Background rows, each with an order of its own and that order backwards."""

SAMPLE = 500
"""Rows that the importance of features is measured on."""

_AT_ONCE = 200_000
"""Rows that a model is asked for at once, which bounds the memory."""


@dataclass(frozen=True)
class Sampling:
    """Rows of the fit that a model is explained against.

    Attributes:
        rows: (at most SAMPLE, features) of the fit; the first WALKS of them are the background.
        orders: (background rows, features) places of the features.
    """

    rows: Matrix
    orders: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: Matrix, seed: int) -> Sampling:
        """A sampling of a fit's rows, (n, features)."""
        random = np.random.default_rng(seed)
        rows = matrix[random.permutation(len(matrix))[:SAMPLE]]
        walks = min(WALKS, len(rows))
        return cls(rows, np.array([random.permutation(matrix.shape[1]) for _ in range(walks)]))

    @property
    def background(self) -> Matrix:
        """The rows that walks begin at."""
        return self.rows[: len(self.orders)]

    def bias(self, log_odds: Callable[[Matrix], Floats]) -> float:
        """Mean log-odds of the background."""
        return float(log_odds(self.background).mean())

    def contributions(self, log_odds: Callable[[Matrix], Floats], matrix: Matrix) -> Floats:
        """Shapley values of (n, features) rows, as many; with ``bias`` they add up to the rows' log-odds."""
        step = max(1, _AT_ONCE // matrix.shape[1])
        blocks = [matrix[at : at + step] for at in range(0, len(matrix), step)]
        total = [sum(_walked(log_odds, block, *walk) for walk in self._walks()) for block in blocks]
        result: Floats = np.concatenate(total) / (2 * len(self.orders))
        return result

    def importance(self, log_odds: Callable[[Matrix], Floats]) -> Floats:
        """How far the log-odds of the rows move, on average, if a feature takes another row's value, (features,)."""
        own = log_odds(self.rows)
        moved = []
        for feature in range(self.rows.shape[1]):
            other = self.rows.copy()
            other[:, feature] = np.roll(other[:, feature], 1)
            moved.append(np.abs(log_odds(other) - own).mean())
        return np.array(moved)

    def _walks(self) -> list[tuple[Matrix, NDArray[np.int64]]]:
        return [(row, way) for row, order in zip(self.background, self.orders, strict=True)
                for way in (order, order[::-1])]  # fmt: skip


def _walked(log_odds: Callable[[Matrix], Floats], matrix: Matrix, start: Matrix, order: NDArray[np.int64]) -> Floats:
    """The step that each feature makes on the way from ``start`` to every row of ``matrix``, (n, features)."""
    n, features = matrix.shape
    stages = np.broadcast_to(start, (features + 1, n, features)).copy()
    for stage, feature in enumerate(order, start=1):
        stages[stage:, :, feature] = matrix[:, feature]
    equal = (matrix == start) | (np.isnan(matrix) & np.isnan(start))
    # A feature that has its value already makes no step, and the model isn't asked.
    moves = np.vstack([np.ones((1, n), dtype=bool), ~equal[:, order].T])
    asked = np.full((features + 1, n), np.nan)
    asked[moves] = log_odds(stages[moves])
    latest = np.maximum.accumulate(np.where(moves, np.arange(features + 1)[:, None], 0), axis=0)
    steps = np.zeros((n, features))
    steps[:, order] = np.diff(np.take_along_axis(asked, latest, axis=0), axis=0).T
    return steps
