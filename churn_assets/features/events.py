"""Events as customers and their months: the frames that features are computed from, for a source of events.

A month's frames need only the events of its window, and are narwhals expressions, the same on every engine. Days are
counted from the day of the month, since an event stands in its own month or in quarantine.

A customer is known from the first event within the window on. In a known customer's month without events counts and
sums are 0, and what has no value without an event is missing; months before the first event are missing as a whole,
and so is a month that was delivered empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import narwhals as nw

from churn_assets.errors import QualityError
from churn_assets.months import Month
from churn_assets.spec import EventsSpec, MeasureSpec
from churn_assets.spec.events import Condition, alternatives

_AGE, _FIRST, _TIMES = "@age", "@first", "@times"
_ZERO_WITHOUT_EVENTS = ("count", "days", "sum", "distinct")
_PARTS = 1e12


def customer_months(months: Mapping[int, Any], key: str, time: str, events: EventsSpec, month: Month) -> dict[int, Any]:
    """The customers who are active at the end of ``month``, and their measures in each month of the window.

    Args:
        months: the window's events by lag; 0 is ``month`` itself and must be there. Lazy frames of any engine; lags
            without an entry are months that were delivered empty.
        key: the customer's column.
        time: when an event happened; it lies in the event's month.
        events: who is active, and what is measured.
        month: the month that the lags count from.

    Returns:
        Native lazy frames by lag, one row a customer known by then: ``key`` and the measures of one month; at lag 0
        all measures.

    Raises:
        QualityError: a month lacks a column that is measured, or has it in another type.
    """
    columns = list(dict.fromkeys([key, time, *_columns(events)]))
    _require_columns({month - lag: frame for lag, frame in months.items()}, columns, month)
    rows = {lag: nw.from_native(frame).select(columns) for lag, frame in months.items()}
    recent = [frame for lag, frame in months.items() if lag < events.active_months]
    active = nw.from_native(active_customers(recent, key, events.activity))
    customers = _first_seen(rows, key).join(active, on=key, how="semi")
    monthly = [m for m in events.measures if m.months == 1]
    frames = {}
    for lag, frame in rows.items():
        known = customers.filter(nw.col(_FIRST) >= lag).select(key)
        frames[lag] = _measured(known, _aged(frame, time, month - lag, month - lag), key, monthly)
    for length in sorted({m.months for m in events.measures} - {1}):
        window = nw.concat([_aged(frame, time, month - lag, month) for lag, frame in rows.items() if lag < length])
        frames[0] = _measured(frames[0], window, key, [m for m in events.measures if m.months == length])
    return {lag: frame.to_native() for lag, frame in frames.items()}


def active_customers(months: Iterable[Any], key: str, activity: Condition) -> Any:
    """The customers with an event that counts as activity in any of ``months``, each once.

    Args:
        months: lazy frames of events, of any engine; at least one.
        key: the customer's column.
        activity: which events count.

    Returns:
        A native lazy frame with ``key``.
    """
    frames = [nw.from_native(frame) for frame in months]
    acting = [frame.filter(_holds(activity)) if activity else frame for frame in frames]
    return nw.concat([frame.select(key) for frame in acting]).unique().to_native()


def _first_seen(rows: Mapping[int, nw.LazyFrame[Any]], key: str) -> nw.LazyFrame[Any]:
    """Every customer of the window, and the lag of the first month with an event."""
    seen = [frame.select(key, nw.lit(lag).alias(_FIRST)) for lag, frame in rows.items()]
    return nw.concat(seen).group_by(key).agg(nw.col(_FIRST).max())


def _aged(rows: nw.LazyFrame[Any], time: str, own: Month, end: Month) -> nw.LazyFrame[Any]:
    """Events of the month ``own`` with their age: whole days from the event's day to the last day of ``end``."""
    days = ((end + 1).first_day - own.first_day).days
    return rows.with_columns((days - nw.col(time).dt.day().cast(nw.Int64)).alias(_AGE))


def _measured(
    customers: nw.LazyFrame[Any], rows: nw.LazyFrame[Any], key: str, measures: Sequence[MeasureSpec]
) -> nw.LazyFrame[Any]:
    """``customers`` with the measures of their events among ``rows``."""
    figures = {m.name: _figure(m) for m in measures if m.kind != "most_frequent"}
    if figures:
        found = rows.group_by(key).agg(*(figure.alias(name) for name, figure in figures.items()))
        customers = customers.join(found, on=key, how="left")
    for measure in measures:
        if measure.kind == "most_frequent":
            customers = customers.join(_most_frequent(rows, key, measure), on=key, how="left")
    zeros = [nw.col(m.name).fill_null(0) for m in measures if m.kind in _ZERO_WITHOUT_EVENTS]
    return customers.with_columns(*zeros) if zeros else customers


def _figure(measure: MeasureSpec) -> nw.Expr:
    """A customer's figure among the customer's events."""
    age = _where(measure, nw.col(_AGE))
    days = _distinct(age)
    match measure.kind:
        case "count":
            return age.count().cast(nw.Int64)
        case "days":
            return days
        case "recency":
            return age.min()
        case "gap":
            # The days between one day and the next add up to those between the first and the last.
            return nw.when(days > 1).then((age.max() - age.min()).cast(nw.Float64) / (days - 1))
    value = _where(measure, nw.col(measure.column or ""))
    if measure.kind == "distinct":
        return _distinct(value)
    number = value.cast(nw.Float64)
    match measure.kind:
        case "min":
            return number.min()
        case "max":
            return number.max()
        case "sum":
            return _total(number)
    return nw.when(number.count() > 0).then(_total(number) / number.count())


def _total(number: nw.Expr) -> nw.Expr:
    """A sum that doesn't depend on the order in which an engine adds: of whole numbers and of their parts.

    Floats added in another order differ in their last digits, and the order changes from run to run. The parts are
    taken in units of 1e-12, which leaves room for nine million events of one customer.
    """
    whole = number.floor()
    parts = ((number - whole) * _PARTS + 0.5).floor().cast(nw.Int64).sum()
    return whole.cast(nw.Int64).sum().cast(nw.Float64) + parts.cast(nw.Float64) / _PARTS


def _distinct(value: nw.Expr) -> nw.Expr:
    return value.n_unique().cast(nw.Int64) - value.is_null().cast(nw.Int64).max()


def _most_frequent(rows: nw.LazyFrame[Any], key: str, measure: MeasureSpec) -> nw.LazyFrame[Any]:
    value = nw.col(measure.column or "").alias(measure.name)
    matching = rows.filter(_holds(measure.where)) if measure.where else rows
    times = matching.select(key, value).filter(~nw.col(measure.name).is_null())
    counted = times.group_by(key, measure.name).agg(nw.len().alias(_TIMES))
    most = counted.filter(nw.col(_TIMES) == nw.col(_TIMES).max().over(key))
    return most.group_by(key).agg(nw.col(measure.name).min())


def _where(measure: MeasureSpec, value: nw.Expr) -> nw.Expr:
    return nw.when(_holds(measure.where)).then(value) if measure.where else value


def _holds(condition: Condition) -> nw.Expr:
    each = (reduce(or_, (nw.col(name) == v for v in alternatives(given))) for name, given in condition.items())
    return reduce(and_, each)


def _columns(events: EventsSpec) -> list[str]:
    """The columns that are measured, or decide whether an event counts."""
    names = [n for m in events.measures for n in (*m.where, *([m.column] if m.column else []))]
    return list(dict.fromkeys([*events.activity, *names]))


def _require_columns(months: Mapping[Month, Any], columns: Sequence[str], month: Month) -> None:
    newest = nw.from_native(months[month]).collect_schema()
    for own, frame in months.items():
        types = nw.from_native(frame).collect_schema()
        if odd := [n for n in columns if n not in types or types[n] != newest[n]]:
            found = f"as {types[odd[0]]}" if odd[0] in types else "not at all"
            raise QualityError(
                f"features {month} measure the column {odd[0]} of validated_data {own}: expected it as in {month}, "
                f"found it {found}. The schema has changed since: make {own} and the months after it anew."
            )
