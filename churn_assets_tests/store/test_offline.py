from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import LakeError, MissingMonth, QualityError
from churn_assets.months import Calendar, Month
from churn_assets.store.lake import Commit, Lake
from churn_assets.store.offline import OfflineStore

JAN, FEB, MAR, APR = (Month(2024, n) for n in (1, 2, 3, 4))
LAG = 3
AVAILABLE = [datetime(2024, 2, 4), datetime(2024, 3, 4), datetime(2024, 4, 4), datetime(2024, 5, 4)]
"""From when on the features of January to April may be used."""

TICK = timedelta(microseconds=1)
COMMIT = Commit("")


def features(values: Mapping[str, int], **more: Any) -> pl.DataFrame:
    made = {"id": list(values), "calls": list(values.values()), "plan": [f"plan {v}" for v in values.values()]}
    return pl.DataFrame(made, schema={"id": pl.String, "calls": pl.Int64, "plan": pl.String}).with_columns(**more)


def store(folder: Path, *months: Mapping[str, int] | None, calendar: Calendar | None = None) -> OfflineStore:
    """A store of January on: what each month says of whom, ``None`` for a month that was never made."""
    made = OfflineStore(
        Lake(folder / "shop"),
        calendar or Calendar(JAN, lag_days=LAG),
        "id",
        {"calls": pl.Int64(), "plan": pl.String()},
    )
    for later, values in enumerate(months):
        if values is not None:
            made.lake.write("features", JAN + later, features(values), COMMIT, reason="" if values else "no rows came")
    return made


def asked(*rows: tuple[str, object], dtype: Any = None) -> pl.DataFrame:
    moments = pl.Series("timestamp", [moment for _, moment in rows], dtype)
    return pl.DataFrame({"id": [customer for customer, _ in rows], "timestamp": moments}, schema_overrides={"id": str})


def calls(frame: pl.DataFrame) -> list[int | None]:
    return frame["calls"].to_list()


def sent(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.rechunk().write_ipc(file)
    return file.getvalue()


def test_features_are_known_from_the_moment_on_at_which_their_month_is_complete(tmp_path: Path) -> None:
    found = store(tmp_path, {"a": 1}, {"a": 2}).get_training_frame(
        asked(("a", datetime(1, 1, 1)), ("a", AVAILABLE[0] - TICK), ("a", AVAILABLE[0]), ("a", AVAILABLE[1] - TICK),
              ("a", AVAILABLE[1]), ("a", datetime(9999, 12, 31)))
    )  # fmt: skip
    assert calls(found) == [None, None, 1, 1, 2, 2]
    assert found["plan"].to_list() == [None, None, "plan 1", "plan 1", "plan 2", "plan 2"]
    assert found["event_month"].to_list() == [None, None, *[date(2024, 1, 1)] * 2, *[date(2024, 2, 1)] * 2]
    assert found.columns == ["id", "timestamp", "event_month", "feature_version", "calls", "plan"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_every_unit_of_time_is_compared_exactly(tmp_path: Path, unit: Any) -> None:
    made = store(tmp_path, {"a": 1})
    exact = asked(("a", AVAILABLE[0])).with_columns(pl.col("timestamp").cast(pl.Datetime(unit)))
    before = exact.with_columns((pl.col("timestamp").to_physical() - 1).cast(pl.Datetime(unit)))
    assert calls(made.get_training_frame(pl.concat([before, exact]))) == [None, 1]


def test_the_features_of_who_has_left_stay_known_and_those_of_who_returns_are_new(tmp_path: Path) -> None:
    made = store(tmp_path, {"left": 1, "back": 1}, {"back": 2}, {}, {"back": 4})
    found = made.get_training_frame(
        asked(*((who, moment) for who in ("left", "back", "nobody") for moment in AVAILABLE))
    )
    assert calls(found) == [1, 1, 1, 1, 1, 2, 2, 4, None, None, None, None]


def test_rows_keep_their_order_their_duplicates_and_their_further_columns(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1, "b": 10}, {"a": 2})
    given = asked(("b", AVAILABLE[1]), ("a", AVAILABLE[1]), ("b", AVAILABLE[0]), ("b", AVAILABLE[1])).with_columns(
        label=pl.Series([True, None, False, True]), note=pl.Series(["x", "y", "z", "x"], dtype=pl.Categorical)
    )
    found = made.get_training_frame(given)
    assert calls(found) == [10, 2, 10, 10]
    assert found.select(given.columns).equals(given)
    assert found.schema["note"] == given.schema["note"]
    assert made.get_training_frame(given.lazy()).equals(found)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    given = asked(("a", AVAILABLE[0])).rename({"id": "subscriber", "timestamp": "signed"})
    found = store(tmp_path, {"a": 1}).get_training_frame(given, customer="subscriber", timestamp="signed")
    assert found.columns[:2] == ["subscriber", "signed"]
    assert calls(found) == [1]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([date(2024, 2, 3), date(2024, 2, 4)], [None, 1]),
        ([d.replace(tzinfo=UTC) for d in (AVAILABLE[0] - TICK, AVAILABLE[0])], [None, 1]),
        ([datetime(2024, 2, 4, 0, 59, tzinfo=timezone(timedelta(hours=1)))], [None]),
        ([datetime(2024, 2, 4, 1, tzinfo=timezone(timedelta(hours=1)))], [1]),
        (["2024-02-03", "2024-02-04", "2024-02-03 23:59:59.999999999", "2024-02-04T00:00"], [None, 1, None, 1]),
        (["2024-02-04T00:59:59+01:00", "2024-02-04 01:00+0100", "2024-02-03T23:00:00.5-01:00"], [None, 1, 1]),
    ],
)
def test_dates_timestamps_and_texts_of_them_are_moments(
    tmp_path: Path, moments: list[object], expected: list[int | None]
) -> None:
    made = store(tmp_path, {"a": 1})
    assert calls(made.get_training_frame(asked(*(("a", m) for m in moments)))) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"])
def test_a_moment_is_the_same_in_every_zone(tmp_path: Path, zone: str) -> None:
    made = store(tmp_path, {"a": 1}, {"a": 2})
    naive = asked(*(("a", moment + d) for moment in AVAILABLE[:2] for d in (-TICK, timedelta())))
    elsewhere = naive.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    assert calls(made.get_training_frame(elsewhere)) == [None, 1, 1, 2]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, int]], list[tuple[str, datetime]], int | None]:
    """What four months say of whom, who is asked for and when, and the greatest age."""
    months = draw(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 99), max_size=3), max_size=4))
    moments = st.one_of(
        st.datetimes(datetime(2023, 12, 1), datetime(2024, 8, 1)),
        st.builds(lambda at, d: at + d * TICK, st.sampled_from(AVAILABLE), st.integers(-1, 1)),
    )
    rows = draw(st.lists(st.tuples(st.sampled_from("abcd"), moments), max_size=12))
    return months, rows, draw(st.none() | st.integers(0, 3))


def expected(
    months: Sequence[Mapping[str, int]], rows: Sequence[tuple[str, datetime]], max_age: int | None
) -> list[int | None]:
    """The same in plain Python; the months go on after the last one that was made, which makes features older."""
    found: list[int | None] = []
    available = [*AVAILABLE, datetime(2024, 6, 4), datetime(2024, 7, 4)]
    for customer, moment in rows:
        known = sum(at <= moment for at in available)
        usable = [j for j, month in enumerate(months) if j < known and customer in month]
        near = [j for j in usable if max_age is None or known - 1 - j <= max_age]
        found.append(months[near[-1]][customer] if near else None)
    return found


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_row_has_what_a_plain_search_finds(
    tmp_path_factory: pytest.TempPathFactory,
    history: tuple[list[dict[str, int]], list[tuple[str, datetime]], int | None],
) -> None:
    months, rows, max_age = history
    made = store(tmp_path_factory.mktemp("lake"), *months)
    found = made.get_training_frame(asked(*rows, dtype=pl.Datetime("us")), max_age=max_age)
    assert calls(found) == expected(months, rows, max_age)
    assert (found["event_month"].is_null() == found["calls"].is_null()).all()


@settings(max_examples=30, deadline=None)
@given(histories(), st.integers(0, 3))
def test_what_later_months_say_never_matters(
    tmp_path_factory: pytest.TempPathFactory,
    history: tuple[list[dict[str, int]], list[tuple[str, datetime]], int | None],
    now: int,
) -> None:
    months, rows, max_age = history
    entities = asked(*((who, min(at, AVAILABLE[now] - TICK)) for who, at in rows), dtype=pl.Datetime("us"))
    made = store(tmp_path_factory.mktemp("lake"), *months, *[{}] * (4 - len(months)))
    before = sent(made.get_training_frame(entities, max_age=max_age))
    poison = features(dict.fromkeys("abcd", -1), calls=pl.lit("poison"))
    for later in range(now, 4):
        made.lake.write("features", JAN + later, poison, COMMIT)
    assert sent(made.get_training_frame(entities, max_age=max_age)) == before


def test_max_age_limits_how_many_newer_months_may_be_complete(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {"b": 2}, {"b": 3})
    entities = asked(*(("a", moment) for moment in AVAILABLE))
    assert calls(made.get_training_frame(entities, max_age=0)) == [1, None, None, None]
    assert calls(made.get_training_frame(entities, max_age=1)) == [1, 1, None, None]
    assert calls(made.get_training_frame(entities, max_age=3)) == [1, 1, 1, 1]
    with pytest.raises(QualityError, match=r"max_age: expected a number of months from 0 on, found -1"):
        made.get_training_frame(entities, max_age=-1)


def test_a_month_that_was_never_made_stops_the_join_and_says_what_makes_it(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, None, {"a": 3}, {"a": 4})
    with pytest.raises(MissingMonth, match=r"features 2024-02, which isn't there: run `churn backfill --missing`"):
        made.get_training_frame(asked(("a", AVAILABLE[2])))
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[0])))) == [1], "it is later, so that it doesn't matter"
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[3])), max_age=1)) == [4], "it is too old to matter"


def test_months_after_the_newest_one_that_was_made_arent_known_yet(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {"a": 2})
    late = asked(("a", AVAILABLE[3]))
    assert calls(made.get_training_frame(late)) == [2]
    assert calls(made.get_training_frame(late, max_age=1)) == [None]
    assert calls(store(tmp_path / "none").get_training_frame(late)) == [None]


def test_months_outside_the_pipelines_range_dont_matter(tmp_path: Path) -> None:
    store(tmp_path, {"a": 1}, {"a": 2}, {"a": 3})
    shorter = store(tmp_path, calendar=Calendar(FEB, FEB, lag_days=LAG))
    found = shorter.get_training_frame(asked(*(("a", moment) for moment in AVAILABLE)))
    assert calls(found) == [None, 2, 2, 2]


def test_an_empty_month_leaves_what_was_known_before(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {}, {})
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[2])))) == [1]
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[2])), max_age=1)) == [None]


def test_the_version_names_a_state_of_the_table_that_has_these_features(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {"a": 2})
    made.lake.write("features", JAN, features({"a": 7}), COMMIT)
    found = made.get_training_frame(asked(("a", AVAILABLE[0]), ("a", AVAILABLE[1]), ("a", AVAILABLE[0] - TICK)))
    assert calls(found) == [7, 2, None]
    for month, version, value in zip(found["event_month"], found["feature_version"], [7, 2, None], strict=True):
        if version is not None:
            rows = pl.read_delta(str(tmp_path / "shop" / "features"), version=version).filter(month=month)
            assert rows["calls"].to_list() == [value]


def test_only_the_features_asked_for_come_in_their_order(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1})
    found = made.get_training_frame(asked(("a", AVAILABLE[0])), features=["plan"])
    assert found.columns == ["id", "timestamp", "event_month", "feature_version", "plan"]
    with pytest.raises(LakeError, match=r"no feature is called 'cals'. Did you mean 'calls'\? Known here: calls, plan"):
        made.get_training_frame(asked(("a", AVAILABLE[0])), features=["plan", "cals"])


def test_a_month_made_before_a_feature_was_declared_stops_the_join(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {"a": 2})
    made.lake.write("features", FEB, features({"a": 2}).drop("plan"), COMMIT)
    with pytest.raises(LakeError, match=r"features 2024-02: expected plan, found a table that was made before.*"
                       r"churn backfill --from 2024-02 --to 2024-02"):  # fmt: skip
        made.get_training_frame(asked(("a", AVAILABLE[1])))
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[1])), features=["calls"])) == [2]


def test_whole_numbers_of_one_month_and_fractions_of_another_come_as_one_type(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1}, {"a": 2})
    made.lake.write("features", FEB, features({"b": 2}, calls=pl.lit(2.5)), COMMIT)
    assert calls(made.get_training_frame(asked(("a", AVAILABLE[1]), ("b", AVAILABLE[1])))) == [1.0, 2.5]


@pytest.mark.parametrize(
    ("entities", "said"),
    [
        (asked(("a", AVAILABLE[0])).rename({"id": "ids"}), r"the customer in a column 'id', .* Did you mean 'ids'\?"),
        (asked(("a", AVAILABLE[0])).drop("timestamp"), "the moment in a column 'timestamp', found none of that name"),
        (asked(("a", "2024-02-04"), ("a", "4.2.2024")), r"row 2: expected a moment .* found '4.2.2024'.* 1 of 2 rows"),
        (asked(("a", "2024-02-30")), "row 1: expected a moment"),
        (asked(("a", AVAILABLE[0]), ("a", None)), r"row 2: expected a moment .* found None"),
        (asked(("a", 20240204)), "expected dates, timestamps or texts of them in 'timestamp', found Int64"),
        (asked(("a", AVAILABLE[0])).with_columns(calls=1), "called like one of the answer, found calls"),
        (asked(("a", AVAILABLE[0])).with_columns(id=17), "expected customers as String in 'id'.* found Int32"),
    ],
)  # fmt: skip
def test_wrong_entities_are_refused_with_the_row_and_what_was_expected(
    tmp_path: Path, entities: pl.DataFrame, said: str
) -> None:
    with pytest.raises(QualityError, match=said):
        store(tmp_path, {"a": 1}).get_training_frame(entities)


def test_customers_may_be_categories_or_missing(tmp_path: Path) -> None:
    made = store(tmp_path, {"a": 1})
    given = pl.DataFrame({"id": ["a", None], "timestamp": [AVAILABLE[0]] * 2})
    assert calls(made.get_training_frame(given.with_columns(pl.col("id").cast(pl.Categorical)))) == [1, None]


def test_no_rows_are_answered_by_none(tmp_path: Path) -> None:
    found = store(tmp_path, {"a": 1}).get_training_frame(asked(dtype=pl.Datetime("us")))
    assert found.is_empty()
    assert found.columns == ["id", "timestamp", "event_month", "feature_version", "calls", "plan"]
