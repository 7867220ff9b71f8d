"""The calendar: windows, label maturity and the purge gap.

A partition is a calendar month, and the partition key is the only clock. This is the one module that does
arithmetic on months; every stage asks it which months it may read, and no other module can build a training window.

For month m, with label horizon h:

- ``features[m]`` read ``validated_data`` of m-k..m;
- the label of j is *mature* at the end of j+h: it may be known in month m only if j <= m-h;
- validation is j = m-h; training is j <= m-2h, so that every training label was knowable when the features of the
  validation month were taken (the purge gap);
- calibration takes the last training month c = m-2h; the fit takes j <= c-h, purged in the same way;
- what became of the list of j is put down in m = j+h, once, and later months read just that.

A model is due in every n-th month, counted from the pipeline's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import total_ordering
from typing import Literal, overload

from churn_assets.errors import MonthError

POOLED_MONTHS = 12
"""How many months' lists, the newest whose outcome is known, tell together what a contact does."""

_MONTH = re.compile(r"(?!0000)([0-9]{4})-(0[1-9]|1[0-2])")


@total_ordering
@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month.

    >>> Month.parse("2025-11") + 3
    Month('2026-02')
    >>> Month.parse("2026-02") - Month.parse("2025-11")
    3
    """

    year: int
    number: int

    @classmethod
    def parse(cls, text: str | Month) -> Month:
        """The month that ``text`` (YYYY-MM) names.

        Raises:
            MonthError: ``text`` has another form.
        """
        if isinstance(text, Month):
            return text
        found = _MONTH.fullmatch(str(text))
        if not found:
            raise MonthError(f"expected a month as YYYY-MM, such as 2025-06; found {text!r}.")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that ``day`` lies in."""
        return cls(day.year, day.month)

    @property
    def ordinal(self) -> int:
        """Months since year 0."""
        return self.year * 12 + self.number - 1

    @property
    def first_day(self) -> date:
        """The month's first day, which stands for it in every table."""
        return date(self.year, self.number, 1)

    def __add__(self, months: int) -> Month:
        year, rest = divmod(self.ordinal + months, 12)
        return Month(year, rest + 1)

    @overload
    def __sub__(self, other: Month) -> int: ...
    @overload
    def __sub__(self, other: int) -> Month: ...
    def __sub__(self, other: Month | int) -> Month | int:
        return self.ordinal - other.ordinal if isinstance(other, Month) else self + -other

    def __lt__(self, other: Month) -> bool:
        return self.ordinal < other.ordinal

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def __repr__(self) -> str:
        return f"Month('{self}')"


def month_range(first: Month, last: Month) -> tuple[Month, ...]:
    """The months from ``first`` to ``last``, both included, ascending; none if ``last`` is the earlier one."""
    return tuple(first + i for i in range(last - first + 1))


@dataclass(frozen=True)
class Window:
    """The months of ``table`` that ``reader`` must read to make its own ``month``, ascending.

    Only a ``Calendar`` makes windows, and the lake hands out nothing but windows.
    """

    reader: str
    month: Month
    table: str
    months: tuple[Month, ...]

    def __iter__(self) -> Iterator[Month]:
        return iter(self.months)


SplitKind = Literal["out_of_time", "holdout", "none"]


@dataclass(frozen=True)
class Fold:
    """Months inside a training window: those that teach, and a later one that judges what they taught."""

    taught: tuple[Month, ...]
    judge: Month


@dataclass(frozen=True)
class Split:
    """Which months a dataset trains, calibrates and validates on.

    ``kind`` is ``out_of_time`` (later months judge earlier ones), ``holdout`` (too little history: customers of
    ``validate`` are divided) or ``none`` (no mature label yet; ``months_needed`` says for how much longer). An empty
    ``calibrate`` asks for cross-fitting on the fit months. ``purged`` are months left out by the purge gap, and
    ``immature`` those whose label can't be known yet.
    """

    kind: SplitKind
    fit: tuple[Month, ...] = ()
    calibrate: tuple[Month, ...] = ()
    validate: tuple[Month, ...] = ()
    purged: tuple[Month, ...] = ()
    immature: tuple[Month, ...] = ()
    months_needed: int = 0

    @property
    def months(self) -> tuple[Month, ...]:
        """All months whose rows the dataset holds, ascending."""
        return tuple(sorted({*self.fit, *self.calibrate, *self.validate}))

    def part_of(self, month: Month) -> str:
        """``fit``, ``calibrate``, ``validate``, or ``fit+validate`` where customers of one month are divided."""
        if self.kind == "holdout":
            return "fit+validate"
        parts = {"fit": self.fit, "calibrate": self.calibrate, "validate": self.validate}
        return next(name for name, months in parts.items() if month in months)


@dataclass(frozen=True)
class Calendar:
    """What each stage of one pipeline may read.

    Args:
        start: the pipeline's first month; no window reaches behind it.
        end: its last month, or None while it goes on.
        horizon: months h after a snapshot in which leaving counts; 0 where a label stands in its own month's row.
        lookback: months k that features look back, to know who is active included.
        training_months: how many months of snapshots a model trains on at the most.
        split: ``holdout`` divides customers even where history would allow an out-of-time split.
        history: how many earlier months the rules compare a row with.
        lag_days: days after a month's end until its data is complete.
        train_every: a model is due in the start, and in every so many-th month after it.
        hindsight: how many earlier months' findings monitoring looks at, to decide whether a model is wanted.
    """

    start: Month
    end: Month | None = None
    horizon: int = 1
    lookback: int = 3
    training_months: int = 12
    split: Literal["out_of_time", "holdout"] = "out_of_time"
    history: int = 0
    lag_days: int = 2
    train_every: int = 1
    hindsight: int = 3

    def check(self, month: Month) -> Month:
        """``month`` itself, if the pipeline has it.

        Raises:
            MonthError: ``month`` lies before the start or after the end.
        """
        if month < self.start or (self.end is not None and month > self.end):
            last = f" to {self.end}" if self.end else " on"
            raise MonthError(f"expected a month from {self.start}{last}, found {month}.")
        return month

    def available_from(self, month: Month) -> datetime:
        """The moment, a midnight of UTC, at which the data of ``month`` is complete, and its features may be used."""
        return datetime.combine((month + 1).first_day, time.min, UTC) + timedelta(days=self.lag_days)

    def complete_at(self, moment: datetime) -> Month:
        """The newest month whose data is complete at ``moment``, whether or not the pipeline has that month."""
        return Month.of((moment.astimezone(UTC) - timedelta(days=self.lag_days)).date()) - 1

    def so_far(self, reader: str, table: str, made: Iterable[Month]) -> Window:
        """Every month of ``table`` from the start to the newest one that was ``made``: none of them may be missing."""
        last = max((m for m in made if self.end is None or m <= self.end), default=self.start - 1)
        return Window(reader, last, table, month_range(self.start, last))

    def trailing(self, month: Month, back: int) -> tuple[Month, ...]:
        """``month`` and the ``back`` months before it, as far as the pipeline reaches."""
        return month_range(max(self.start, month - back), month)

    def label_months(self, snapshot: Month) -> tuple[Month, ...]:
        """The months in which leaving makes the label of ``snapshot``: j+1..j+h, or j itself at horizon 0."""
        return month_range(snapshot + 1, snapshot + self.horizon) if self.horizon else (snapshot,)

    def is_mature(self, snapshot: Month, at: Month) -> bool:
        """Whether the label of ``snapshot`` may be known at the end of ``at``."""
        return snapshot + self.horizon <= at

    def matured_by(self, month: Month) -> Month | None:
        """The snapshot whose label becomes known at the end of ``month``, if the pipeline had begun by then."""
        snapshot = month - self.horizon
        return snapshot if snapshot >= self.start else None

    def due_by(self, month: Month) -> Month:
        """The newest month up to ``month`` in which a model is due."""
        return month - (month - self.start) % self.train_every

    def due_after(self, month: Month) -> Month | None:
        """The first month after ``month`` in which a model is due; None if the pipeline ends before."""
        following = self.due_by(month) + self.train_every
        return following if self.end is None or following <= self.end else None

    def taught_by(self, snapshot: Month) -> Month:
        """The first month whose model is fitted on the labels of ``snapshot``."""
        known = snapshot + self.horizon
        return next(m for m in month_range(known, known + 2 * self.horizon) if snapshot in self.split_of(m).fit)

    def split_of(self, month: Month) -> Split:
        """The split of the dataset that is made at the end of ``month``."""
        validation = self.matured_by(month)
        if validation is None:
            return Split(
                "none", immature=month_range(self.start, month), months_needed=self.start + self.horizon - month
            )
        immature = month_range(validation + 1, month)
        last = validation - self.horizon
        training = month_range(max(self.start, last + 1 - self.training_months), last)
        if self.split == "holdout" or self.horizon == 0 or not training:
            return Split("holdout", fit=(validation,), validate=(validation,), immature=immature)
        fit = tuple(j for j in training if j <= last - self.horizon)
        return Split(
            "out_of_time",
            fit=fit or training,
            calibrate=(last,) if fit else (),
            validate=(validation,),
            purged=tuple(
                j for j in month_range(training[0], validation - 1) if j > last or (fit and fit[-1] < j < last)
            ),
            immature=immature,
        )

    def folds(self, split: Split, most: int = 3) -> tuple[Fold, ...]:
        """The newest ``most`` ways to judge inside the fit months, ascending; purged as the split itself is.

        None where the fit months are too few, or customers of one month are divided.
        """
        if split.kind != "out_of_time":
            return ()
        found = [Fold(tuple(j for j in split.fit if j <= judge - self.horizon), judge) for judge in split.fit]
        return tuple(fold for fold in found if fold.taught)[-most:]

    @property
    def _remembered(self) -> int:
        """Months for which a decision to retrain matters: until the model that it orders has been judged, and longer.

        A model that is to learn from a month is trained 3h later at the most, and judged after h more. What it
        predicts may rest on a month that lies k behind, and is known h later.
        """
        return max(self.hindsight, 4 * self.horizon, self.lookback + self.horizon)

    def windows(self, reader: str, month: Month) -> tuple[Window, ...]:
        """Every window that ``reader`` reads to make ``month``."""
        return tuple(
            Window(reader, month, table, months) for table, months in self._reads(reader, month).items() if months
        )

    def window(self, reader: str, month: Month, table: str) -> Window:
        """The months of ``table`` that ``reader`` reads to make ``month``; possibly none."""
        return Window(reader, month, table, self._reads(reader, month)[table])

    def _reads(self, reader: str, month: Month) -> dict[str, tuple[Month, ...]]:
        split, matured = self.split_of(month), self.matured_by(month)
        before = (month - 1,) if month > self.start else ()
        earlier = tuple(m for m in self.trailing(month, self.history) if m < month)
        labelled = tuple(sorted({k for j in split.months for k in self.label_months(j)}))
        matured_labels = self.label_months(matured) if matured else ()
        dataset = {"features": split.months, "validated_data": labelled, "quarantined_data": labelled}
        reads: dict[str, dict[str, tuple[Month, ...]]] = {
            "raw_data": {"raw_data": before},
            "validated_data": {"raw_data": (month,), "validated_data": earlier},
            "features": {"validated_data": self.trailing(month, self.lookback)},
            "feature_store": {
                "features": tuple(sorted({month, *before, *((matured,) if matured else ())})),
                "validated_data": matured_labels,
                "quarantined_data": matured_labels,
            },
            "versioned_dataset": dataset,
            "model": {"versioned_dataset": (month,), "promotions": before, **dataset},
            "predictions": {
                "features": (month,),
                "promotions": (month,),
                # Who has left already stands in the snapshot itself only where the label does.
                "validated_data": () if self.horizon else (month,),
            },
            "retention_list": {
                "predictions": (month,),
                "features": (month,),
                "list_outcomes": tuple(m for m in self.trailing(month, POOLED_MONTHS - 1) if m < month),
                "validated_data": matured_labels if self.horizon else (),
                "quarantined_data": matured_labels if self.horizon else (),
            },
            "monitoring": {
                "features": (*before, month),
                "promotions": (month,),
                "predictions": tuple(sorted({month} | ({matured} if matured else set()))),
                "shadow_predictions": tuple(sorted({month} | ({matured} if matured else set()))),
                "validated_data": tuple(sorted({*matured_labels, month})),
                "quarantined_data": tuple(sorted({*matured_labels, month})),
                "raw_data": (month,),
                "retention_list": (month,),
                "list_outcomes": (month,),
                "monitoring": tuple(m for m in self.trailing(month, self._remembered) if m < month),
            },
        }
        return reads[reader]


STAGES = (
    "raw_data", "validated_data", "features", "feature_store", "versioned_dataset", "model", "predictions",
    "retention_list", "monitoring",
)  # fmt: skip
