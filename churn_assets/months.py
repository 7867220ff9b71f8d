"""The calendar: windows, label maturity and the purge gap.

A partition is a calendar month, and the partition key is the only clock. This is the one module that does
arithmetic on months; every stage asks it which months it may read, and no other module can build a training window.

For month m, with label horizon h:

- ``features[m]`` read ``validated_data`` of m-k..m;
- the label of j is *mature* at the end of j+h: it may be known in month m only if j <= m-h;
- validation is j = m-h; training is j <= m-2h, so that every training label was knowable when the features of the
  validation month were taken (the purge gap);
- calibration takes the last training month c = m-2h; the fit takes j <= c-h, purged in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import total_ordering
from typing import Literal

from churn_assets.errors import MonthError

_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


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
        found = _MONTH.match(str(text))
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

    def __sub__(self, other: Month) -> int:
        return self.ordinal - other.ordinal

    def __lt__(self, other: Month) -> bool:
        return self.ordinal < other.ordinal

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def __repr__(self) -> str:
        return f"Month('{self}')"


def month_range(first: Month, last: Month) -> tuple[Month, ...]:
    """The months from ``first`` to ``last``, both included, ascending; none if ``last`` is the earlier one."""
    return tuple(first + i for i in range(last - first + 1))
