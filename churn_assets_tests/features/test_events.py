from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churn_assets.errors import QualityError
from churn_assets.features import compute
from churn_assets.features.events import customer_months
from churn_assets.months import Month, month_range
from churn_assets.spec import EventsSpec, MeasureSpec, PipelineSpec
from churn_assets.store.lake import Commit, Lake
from churn_assets_tests.declared import document
from churn_assets_tests.engines.cluster import needs_spark

MARCH = Month(2024, 3)
SCHEMA = {
    "id": pl.String, "at": pl.Datetime("us"), "amount": pl.Float64, "cancelled": pl.Boolean, "product": pl.String,
}  # fmt: skip


class Event(NamedTuple):
    """One event of a customer, at a time such as ``2024-03-31 23:59:59`` or on a day."""

    id: str
    at: datetime
    amount: float | None = 1.0
    cancelled: bool | None = False
    product: str | None = "p"


def event(customer: str, at: str, *more: Any) -> Event:
    return Event(customer, datetime.fromisoformat(at), *more)


def spec(*measures: dict[str, Any], active_months: int = 1, **more: Any) -> EventsSpec:
    named = [{"name": "x", **m} for m in measures]
    return EventsSpec.model_validate({"active_months": active_months, "measures": named, **more})


def frames(events: Iterable[Event], month: Month = MARCH, back: int = 3) -> dict[int, pl.LazyFrame]:
    """The events by lag, as the lake would hand them out."""
    lines = list(events)
    return {
        lag: pl.LazyFrame([e for e in lines if Month.of(e.at.date()) == month - lag], SCHEMA, orient="row")
        for lag in range(back + 1)
    }


def measured(
    events: Iterable[Event] | dict[int, pl.LazyFrame], declared: EventsSpec, month: Month = MARCH
) -> dict[int, dict[str, dict[str, Any]]]:
    """The measures by lag and customer."""
    months = events if isinstance(events, dict) else frames(events, month)
    found = customer_months(months, "id", "at", declared, month)
    return {lag: {r.pop("id"): r for r in f.collect().iter_rows(named=True)} for lag, f in found.items()}


def figure(measure: dict[str, Any], *events: Event, month: Month = MARCH) -> Any:
    """One measure of customer c at the month itself; the other customer is there to be left out."""
    other = Event("other", datetime(month.year, month.number, 2), 99.0, True, "q")
    declared = spec(measure, active_months=4)
    return measured([*events, other], declared, month)[0]["c"]["x"]


LINES = (
    event("c", "2024-03-01 00:00:00", 2.5, False, "a"),
    event("c", "2024-03-11 10:00:00", 4.0, True, "b"),
    event("c", "2024-03-11 23:59:59", None, False, "b"),
    event("c", "2024-03-21 00:00:00", -1.0, None, None),
    event("c", "2024-02-29 23:59:59", 8.0, False, "c"),
    event("c", "2024-01-31 12:00:00", 16.0, True, "a"),
    event("c", "2023-12-31 12:00:00", 32.0, False, "a"),
)
OPEN = {"where": {"cancelled": False}}
MEASURES: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "count"}, 4),
    ({"kind": "count", **OPEN}, 2),
    ({"kind": "count", "where": {"cancelled": True}}, 1),
    ({"kind": "count", "where": {"product": ["a", "b"], "cancelled": False}}, 2),
    ({"kind": "count", "where": {"amount": 4}}, 1),
    ({"kind": "count", "where": {"product": "z"}}, 0),
    ({"kind": "days"}, 3),
    ({"kind": "days", "months": 2}, 4),
    ({"kind": "sum", "column": "amount"}, 5.5),
    ({"kind": "sum", "column": "amount", **OPEN}, 2.5),
    ({"kind": "sum", "column": "amount", "where": {"product": "z"}}, 0),
    ({"kind": "sum", "column": "cancelled"}, 1),
    ({"kind": "mean", "column": "amount"}, 5.5 / 3),
    ({"kind": "mean", "column": "amount", "where": {"product": "z"}}, None),
    ({"kind": "min", "column": "amount"}, -1),
    ({"kind": "max", "column": "amount"}, 4),
    ({"kind": "max", "column": "amount", "where": {"product": "z"}}, None),
    ({"kind": "distinct", "column": "product"}, 2),
    ({"kind": "distinct", "column": "product", "months": 2}, 3),
    ({"kind": "distinct", "column": "product", "months": 3, "where": {"cancelled": True}}, 2),
    ({"kind": "distinct", "column": "product", "where": {"product": "z"}}, 0),
    ({"kind": "most_frequent", "column": "product"}, "b"),
    ({"kind": "most_frequent", "column": "product", "months": 3}, "a"),
    ({"kind": "most_frequent", "column": "product", "where": {"cancelled": True}, "months": 3}, "a"),
    ({"kind": "most_frequent", "column": "product", "where": {"product": "z"}}, None),
    ({"kind": "recency"}, 10),
    ({"kind": "recency", "where": {"product": "c"}}, None),
    ({"kind": "recency", "where": {"product": "c"}, "months": 2}, 31),
    ({"kind": "recency", "where": {"amount": 16}, "months": 3}, 60),
    ({"kind": "recency", "where": {"amount": 32}, "months": 4}, 91),
    ({"kind": "gap"}, 10.0),
    ({"kind": "gap", **OPEN}, 10.0),
    ({"kind": "gap", "where": {"product": "b"}}, None),
    ({"kind": "gap", "months": 2}, 7.0),
    ({"kind": "gap", "months": 4}, 81 / 5),
]


@pytest.mark.parametrize(("measure", "expected"), MEASURES)
def test_each_measure_is_what_was_computed_by_hand(measure: dict[str, Any], expected: Any) -> None:
    assert same(figure(measure, *LINES), expected)


@pytest.mark.parametrize(
    ("at", "month", "days"),
    [
        ("2024-03-31 23:59:59", "2024-03", 0), ("2024-03-31 00:00:00", "2024-03", 0),
        ("2024-03-01 00:00:00", "2024-03", 30), ("2024-02-29 23:59:59", "2024-03", 31),
        ("2024-02-29 00:00:00", "2024-02", 0), ("2024-02-28 12:00:00", "2024-02", 1),
        ("2023-02-28 12:00:00", "2023-02", 0), ("2023-12-31 23:59:59", "2024-01", 31),
        ("2023-12-01 00:00:00", "2024-02", 90), ("2022-12-01 00:00:00", "2023-02", 89),
    ],
)  # fmt: skip
def test_recency_counts_whole_days_to_the_months_last_day(at: str, month: str, days: int) -> None:
    assert figure({"kind": "recency", "months": 3}, event("c", at), month=Month.parse(month)) == days


def test_several_events_of_a_day_are_one_day_for_days_and_gaps() -> None:
    events = [event("c", f"2024-03-{day:02d} {hour:02d}:00:00") for day in (1, 4, 13) for hour in (0, 9, 23)]
    assert figure({"kind": "days"}, *events) == 3
    assert figure({"kind": "gap"}, *events) == 6.0
    assert figure({"kind": "gap"}, *events[:3]) is None


def test_a_known_customers_month_without_events_has_no_sums_and_no_mean() -> None:
    declared = spec(
        {"name": "n", "kind": "count"}, {"name": "total", "kind": "sum", "column": "amount"},
        {"name": "products", "kind": "distinct", "column": "product"}, {"name": "days", "kind": "days"},
        {"name": "mean", "kind": "mean", "column": "amount"}, {"name": "last", "kind": "recency"},
    )  # fmt: skip
    nothing = {"n": 0, "total": 0.0, "products": 0, "days": 0, "mean": None, "last": None}
    found = measured([event("c", "2024-03-02", 3.0), event("c", "2024-01-30", 5.0)], declared)
    assert found[0]["c"] == {"n": 1, "total": 3.0, "products": 1, "days": 1, "mean": 3.0, "last": 29}
    assert found[1]["c"] == nothing
    assert found[2]["c"] == {"n": 1, "total": 5.0, "products": 1, "days": 1, "mean": 5.0, "last": 1}
    assert "c" not in found[3], "not known before the first event of the window"


def test_months_before_the_first_event_are_not_observed() -> None:
    declared = spec({"name": "n", "kind": "count"})
    months = customer_months(frames([event("c", "2024-03-02"), event("c", "2024-01-30")]), "id", "at", declared, MARCH)
    features = PipelineSpec.model_validate(pipeline(declared)).features
    (row,) = compute(months, "id", features).collect().iter_rows(named=True)
    assert row == {"id": "c", "n": 1, "n_sum_4m": 2.0, "n_mean_4m": 2 / 3, "n_lag_3m": None, "months_observed": 3}


def test_a_month_that_was_delivered_empty_is_missing_and_not_zero() -> None:
    events = frames([event("c", "2024-03-02"), event("c", "2024-01-30")])
    del events[1]
    found = measured(events, spec({"name": "n", "kind": "count"}, {"name": "d", "kind": "days", "months": 3}))
    assert 1 not in found
    assert found[0]["c"] == {"n": 1, "d": 2}
    assert found[2]["c"] == {"n": 1}


@pytest.mark.parametrize(("active_months", "customers"), [(1, "ac"), (2, "abc"), (3, "abcd")])
def test_active_is_who_had_an_event_that_counts_within_the_last_months(active_months: int, customers: str) -> None:
    events = [
        event("a", "2024-03-31 23:59:59"), event("b", "2024-02-29 23:59:59"), event("c", "2024-03-01 00:00:00"),
        event("d", "2024-01-31"), event("e", "2023-12-31 23:59:59"),
        event("f", "2024-03-05", 1.0, True), event("g", "2024-03-05", 1.0, None),
    ]  # fmt: skip
    declared = spec({"kind": "count"}, active_months=active_months, activity={"cancelled": False})
    assert sorted(measured(events, declared)[0]) == list(customers)


def test_what_is_no_activity_still_makes_a_customer_known_and_is_measured() -> None:
    events = [event("c", "2024-03-05", 2.0), event("c", "2024-01-05", -2.0, True)]
    declared = spec({"kind": "sum", "column": "amount"}, activity={"cancelled": False})
    found = measured(events, declared)
    assert [found[lag].get("c") for lag in range(4)] == [{"x": 2.0}, {"x": 0.0}, {"x": -2.0}, None]


def test_a_share_of_cancelled_events_is_a_ratio_of_two_sums() -> None:
    declared = spec({"name": "lines", "kind": "count"}, {"name": "back", "kind": "count", "where": {"cancelled": True}})
    given = pipeline(declared, [
        {"kind": "sum", "column": "lines", "months": 2}, {"kind": "sum", "column": "back", "months": 2},
        {"kind": "ratio", "name": "share", "numerator": "back_sum_2m", "denominator": "lines_sum_2m"},
    ])  # fmt: skip
    events = [event("c", "2024-03-05"), event("c", "2024-03-06", 1.0, True), event("c", "2024-02-05"),
              event("c", "2024-02-05")]  # fmt: skip
    months = customer_months(frames(events), "id", "at", declared, MARCH)
    rows = compute(months, "id", PipelineSpec.model_validate(given).features).collect()
    assert rows["share"].to_list() == [0.25]


def test_of_values_that_are_equally_frequent_the_first_in_order_is_taken() -> None:
    events = [event("c", "2024-03-05", 1.0, False, product) for product in ("b", "a", "b", "a", "c", None, None, None)]
    assert figure({"kind": "most_frequent", "column": "product"}, *events) == "a"


def test_cents_add_up_to_the_cent_in_any_order() -> None:
    amounts = [0.1, 0.2, 0.7, -0.3, 1e9, 2.55, 15.3, 1e-9] * 50
    sums = {
        figure({"kind": "sum", "column": "amount"}, *(event("c", "2024-03-05", a) for a in order))
        for order in (amounts, amounts[::-1], sorted(amounts))
    }
    assert sums == {50_000_000_927.50000005}


def test_measures_stand_in_their_types_whether_or_not_there_are_events() -> None:
    kinds = ("count", "days", "recency", "gap", "sum", "mean", "min", "max", "distinct", "most_frequent")
    of_column = {**dict.fromkeys(kinds[4:8], "amount"), **dict.fromkeys(kinds[8:], "product")}
    declared = spec(*({"name": k, "kind": k, "column": of_column.get(k)} for k in kinds), active_months=2)
    for events in (LINES, LINES[4:5], ()):
        found = customer_months(frames(events), "id", "at", declared, MARCH)
        assert dict(found[0].collect_schema()) == {
            "id": pl.String, **dict.fromkeys(("count", "days", "recency", "distinct"), pl.Int64),
            **dict.fromkeys(("gap", "sum", "mean", "min", "max"), pl.Float64), "most_frequent": pl.String,
        }  # fmt: skip


def test_a_month_that_was_made_by_another_schema_is_named() -> None:
    months = frames([event("c", "2024-03-05")])
    months[2] = months[2].drop("amount")
    declared = spec({"kind": "sum", "column": "amount"})
    with pytest.raises(QualityError, match=r"features 2024-03 .* column amount of validated_data 2024-01.* not at all"):
        customer_months(months, "id", "at", declared, MARCH)
    months[2] = frames([])[2].with_columns(pl.col("amount").cast(pl.Int64))
    with pytest.raises(QualityError, match="found it as Int64"):
        customer_months(months, "id", "at", declared, MARCH)


ALL = spec(
    {"name": "lines", "kind": "count"},
    {"name": "open", "kind": "count", **OPEN},
    {"name": "amount", "kind": "sum", "column": "amount"},
    {"name": "paid", "kind": "mean", "column": "amount", **OPEN},
    {"name": "least", "kind": "min", "column": "amount"},
    {"name": "most", "kind": "max", "column": "amount", "where": {"product": ["a", "b"]}},
    {"name": "days", "kind": "days"},
    {"name": "products", "kind": "distinct", "column": "product"},
    {"name": "breadth", "kind": "distinct", "column": "product", "months": 3, **OPEN},
    {"name": "favourite", "kind": "most_frequent", "column": "product", "months": 2},
    {"name": "last", "kind": "recency", "months": 2, **OPEN},
    {"name": "pause", "kind": "gap", "months": 4},
    active_months=2,
    activity={"cancelled": False},
)


def expected(events: list[Event], declared: EventsSpec, month: Month, back: int) -> dict[int, dict[str, Any]]:
    """The same measures by plain Python, customer by customer and event by event."""
    months = {id(e): Month.of(e.at.date()) for e in events}

    def of(customer: str, end: Month, length: int) -> list[Event]:
        return [e for e in events if e.id == customer and end - length < months[id(e)] <= end]

    active = {
        e.id for e in events if month - declared.active_months < months[id(e)] <= month and fits(e, declared.activity)
    }
    found: dict[int, dict[str, Any]] = {}
    for lag in range(back + 1):
        measures = [m for m in declared.measures if m.months == 1 or lag == 0]
        known = [c for c in active if any(month - back <= months[id(e)] <= month - lag for e in events if e.id == c)]
        found[lag] = {c: {m.name: plain(m, of(c, month - lag, m.months), month - lag) for m in measures} for c in known}
    return found


def fits(e: Event, condition: dict[str, Any]) -> bool:
    return all(getattr(e, name) in (v if isinstance(v, list) else [v]) for name, v in condition.items())


def plain(measure: MeasureSpec, events: list[Event], end: Month) -> Any:
    events = [e for e in events if fits(e, measure.where)]
    values = [v for e in events if measure.column and (v := getattr(e, measure.column)) is not None]
    days = sorted({e.at.date() for e in events})
    last = (end + 1).first_day - timedelta(days=1)
    match measure.kind:
        case "count":
            return len(events)
        case "days":
            return len(days)
        case "sum":
            return math.fsum(values)
        case "mean":
            return math.fsum(values) / len(values) if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
        case "distinct":
            return len(set(values))
        case "most_frequent":
            return min(Counter(values).items(), key=lambda n: (-n[1], n[0]))[0] if values else None
        case "recency":
            return (last - days[-1]).days if days else None
    gaps = [(b - a).days for a, b in pairwise(days)]
    return sum(gaps) / len(gaps) if gaps else None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


TIMES = st.datetimes(datetime(2023, 12, 1), datetime(2024, 3, 31, 23, 59, 59)) | st.sampled_from(
    [datetime(2024, 2, 29, 23, 59, 59), datetime(2024, 3, 1), datetime(2024, 3, 31, 23, 59, 59, 999999)]
)
EVENTS = st.lists(
    st.builds(
        Event, id=st.sampled_from(["c1", "c2", "c3"]), at=TIMES,
        amount=st.none() | st.integers(-500_000, 500_000).map(lambda n: n / 100),
        cancelled=st.sampled_from([False, False, True, None]), product=st.sampled_from(["a", "b", "c", None]),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_measures_are_what_plain_python_makes_of_the_window(events: list[Event]) -> None:
    found, wanted = measured(events, ALL), expected(events, ALL, MARCH, 3)
    for lag, customers in wanted.items():
        assert set(found[lag]) == set(customers)
        for customer, row in customers.items():
            got = found[lag][customer]
            assert set(got) == set(row)
            assert {n: (got[n], row[n]) for n in row if not same(got[n], row[n])} == {}


FEATURES: list[dict[str, Any]] = [
    {"kind": "columns", "columns": [m.name for m in ALL.measures]},
    {"kind": "mean", "column": "amount", "months": 4},
    {"kind": "sum", "column": "lines", "months": 3},
    {"kind": "delta", "column": "amount", "months": 1},
    {"kind": "lag", "column": "open", "months": 2},
    {"kind": "ratio", "name": "trend", "numerator": "amount", "denominator": "amount_mean_4m"},
]


def pipeline(declared: EventsSpec, features: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A pipeline of events as it stands in YAML."""
    columns = [
        {"name": "at", "type": "timestamp", "role": "time"}, {"name": "amount", "type": "number", "nullable": True},
        {"name": "cancelled", "type": "boolean"}, {"name": "product", "type": "category"},
    ]  # fmt: skip
    chosen = features or [
        {"kind": "columns", "columns": ["n"]},
        *({"kind": kind, "column": "n", "months": 4} for kind in ("sum", "mean")),
        {"kind": "lag", "column": "n", "months": 3},
    ]
    return document(
        months={"start": "2023-12"}, schema={"key": "id", "columns": columns}, label={"kind": "inactivity"},
        events=declared.model_dump(mode="json"), features=chosen, value={"monthly_value": 1},
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(before=EVENTS, poison=EVENTS)
def test_features_are_the_same_whatever_happens_later(
    before: list[Event], poison: list[Event], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = PipelineSpec.model_validate(pipeline(ALL, FEATURES))
    later = [e._replace(at=e.at + timedelta(days=122)) for e in poison]
    assert all(e.at >= datetime(2024, 4, 1) for e in later)
    alone, poisoned = (
        features_of(spec, [*before, *more], tmp_path_factory.mktemp("lake")) for more in ([], later)
    )  # fmt: skip
    assert_frame_equal(alone, poisoned, check_exact=True)


def features_of(spec: PipelineSpec, events: list[Event], folder: Path) -> pl.DataFrame:
    """The features of March, read from a lake that has the months after it too."""
    lake = Lake(folder)
    for month in month_range(spec.months.start, MARCH + 5):
        rows = pl.DataFrame([e for e in events if Month.of(e.at.date()) == month], SCHEMA, orient="row")
        lake.write("validated_data", month, rows, Commit("f"))
    window = spec.calendar.window("features", MARCH, "validated_data")
    months = {MARCH - m: f for m in window if (f := lake.scan_month(window, m)) is not None}
    if 0 not in months:
        return pl.DataFrame()
    assert spec.events
    frames = customer_months(months, spec.schema_.key, spec.schema_.time or "", spec.events, MARCH)
    return compute(frames, spec.schema_.key, spec.features).collect()


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Spark in this process, with one thread."""
    sql = pytest.importorskip("pyspark.sql")
    running = sql.SparkSession.getActiveSession()
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.sql.caseSensitive": "true"}
    session = running or sql.SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    yield session
    if running is None:
        session.stop()


@pytest.mark.slow
@needs_spark
def test_spark_measures_what_polars_does(spark: Any, tmp_path: Path) -> None:
    rng = random.Random(5)
    begin = datetime(2023, 12, 1)
    events = [
        Event(f"c{rng.randrange(30)}", begin + timedelta(minutes=rng.randrange(122 * 24 * 60)),
              rng.choice([None, rng.gauss(0, 1e3), rng.randrange(10**6) / 100]), rng.choice([False, False, True, None]),
              rng.choice(["a", "b", "é", "c", None]))
        for _ in range(600)
    ]  # fmt: skip
    months = frames([*events, *LINES])
    for lag, frame in months.items():
        frame.sink_parquet(tmp_path / f"{lag}.parquet")
    distributed = {lag: spark.read.parquet(str(tmp_path / f"{lag}.parquet")) for lag in months}
    wanted, found = (customer_months(m, "id", "at", ALL, MARCH) for m in (months, distributed))
    features = PipelineSpec.model_validate(pipeline(ALL, FEATURES)).features
    for one, other in [*((wanted[lag], found[lag]) for lag in months),
                       (compute(wanted, "id", features), compute(found, "id", features))]:  # fmt: skip
        here, there = one.sort("id").collect(), pl.DataFrame(pl.from_arrow(other.toArrow())).sort("id")
        assert len(here) > 20
        assert_frame_equal(there.select(here.columns), here, check_exact=False, rel_tol=1e-9, abs_tol=1e-9)
        sums = [n for n in ("lines", "amount", "paid", "favourite", "pause") if n in here.columns]
        assert_frame_equal(there.select(sums), here.select(sums), check_exact=True)
