"""Drift of features against what the champion was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

STABLE, MOVED = 0.10, 0.25


def psi(expected: Sequence[float], actual: Sequence[float], floor: float = 1e-4) -> float:
    """Population stability index of two distributions over the same bins; 0 if they are equal.

    Below 0.10 is read as stable, above 0.25 as moved (Siddiqi, Credit Risk Scorecards, 2006). Empty bins count as
    ``floor``, which bounds what a single new category can add.

    >>> round(psi([0.5, 0.5], [0.5, 0.5]), 3), round(psi([0.5, 0.5], [0.9, 0.1]), 3)
    (0.0, 0.879)
    """
    pairs = [(max(e, floor), max(a, floor)) for e, a in zip(expected, actual, strict=True)]
    return sum((a - e) * math.log(a / e) for e, a in pairs)


def drift(shares: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> dict[str, float]:
    """The stability index of every feature, largest first."""
    values = {name: psi(expected, actual) for name, (expected, actual) in shares.items()}
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0])))
