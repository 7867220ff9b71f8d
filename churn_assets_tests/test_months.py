import contextlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import MonthError
from churn_assets.months import POOLED_MONTHS, STAGES, Calendar, Month, Window, month_range

months = st.builds(Month, st.integers(1900, 2200), st.integers(1, 12))
calendars = st.builds(
    Calendar,
    start=months,
    horizon=st.integers(0, 6),
    lookback=st.integers(0, 8),
    training_months=st.integers(1, 15),
    split=st.sampled_from(["out_of_time", "holdout"]),
)
ages = st.integers(0, 30)
everything = settings(max_examples=300, deadline=None)


@everything
@given(months, st.integers(-500, 500))
def test_adding_and_subtracting_months_round_trips(month: Month, step: int) -> None:
    assert month + step - step == month
    assert (month + step) - month == step
    assert Month.parse(str(month)) == month == Month.parse(month)
    assert Month.of(month.first_day) == month
    assert month.first_day.day == 1
    assert (month < month + step) == (step > 0)


def test_a_year_ends_with_december() -> None:
    assert Month(2024, 12) + 1 == Month(2025, 1)
    assert Month(2025, 1) - 1 == Month(2024, 12)
    assert str(Month(987, 3)) == "0987-03"
    assert Month.of(date(2024, 2, 29)) == Month(2024, 2)


GARBAGE = [
    "", "2024", "2024-13", "2024-00", "2024-1", "24-01", "2024-01-01", " 2024-01", "2024-01\n", "2024-01 ", "2024/01",
    "0000-01", "-024-01", "x2024-01", "２０２４-01", "٢٠٢٤-01", None, 202401, date(2024, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("text", GARBAGE)
def test_only_a_year_and_a_month_are_a_month(text: str) -> None:
    with pytest.raises(MonthError, match="expected a month as YYYY-MM"):
        Month.parse(text)


@everything
@given(st.text(max_size=9))
def test_what_is_read_is_written_the_same(text: str) -> None:
    with contextlib.suppress(MonthError):
        assert str(Month.parse(text)) == text


def test_a_range_has_both_ends_and_may_have_none() -> None:
    assert month_range(Month(2024, 11), Month(2025, 1)) == (Month(2024, 11), Month(2024, 12), Month(2025, 1))
    assert month_range(Month(2024, 2), Month(2024, 1)) == ()


@everything
@given(calendars, ages)
def test_every_label_of_a_dataset_is_mature(calendar: Calendar, age: int) -> None:
    month = calendar.start + age
    split = calendar.split_of(month)
    for snapshot in split.months:
        assert max(calendar.label_months(snapshot)) <= month
        assert calendar.is_mature(snapshot, month)
        assert snapshot >= calendar.start


@everything
@given(months, st.integers(1, 24), ages, st.integers(0, 40))
def test_a_model_is_due_in_every_nth_month_from_the_start_on(start: Month, every: int, age: int, last: int) -> None:
    calendar, month = Calendar(start, start + last, train_every=every), start + age
    due = [m for m in month_range(start, start + age + every) if (m.ordinal - start.ordinal) % every == 0]
    assert calendar.due_by(month) == max(m for m in due if m <= month)
    following = min(m for m in due if m > month)
    assert calendar.due_after(month) == (following if following <= start + last else None)
    assert Calendar(start, train_every=every).due_after(month) == following


@everything
@given(calendars, ages)
def test_the_purge_gap_holds_between_all_parts(calendar: Calendar, age: int) -> None:
    split = calendar.split_of(calendar.start + age)
    if split.kind != "out_of_time":
        return
    (validation,) = split.validate
    for snapshot in (*split.fit, *split.calibrate):
        assert max(calendar.label_months(snapshot)) <= validation
    for later in split.calibrate:
        assert all(max(calendar.label_months(j)) <= later for j in split.fit)
    assert len(split.calibrate) <= 1
    assert not split.calibrate or split.calibrate[0] > max(split.fit)
    parts = [*split.fit, *split.calibrate, *split.validate, *split.purged]
    assert len(parts) == len(set(parts))
    assert sorted(parts) == list(month_range(min(parts), validation))


@everything
@given(calendars, ages)
def test_a_dataset_is_as_new_and_as_long_as_it_may_be(calendar: Calendar, age: int) -> None:
    month = calendar.start + age
    split = calendar.split_of(month)
    if split.kind == "none":
        assert not split.months
        assert split.immature == month_range(calendar.start, month)
        return
    validation = month - calendar.horizon
    assert split.validate == (validation,)
    assert split.immature == month_range(validation + 1, month)
    assert not any(calendar.is_mature(snapshot, month) for snapshot in split.immature)
    if split.kind == "holdout":
        assert split.fit == (validation,)
        assert not split.calibrate
        assert not split.purged
        history = validation - calendar.horizon >= calendar.start
        assert calendar.split == "holdout" or calendar.horizon == 0 or not history
    else:
        newest = validation - calendar.horizon
        oldest = max(calendar.start, newest + 1 - calendar.training_months)
        assert min(split.fit) == oldest
        assert max(split.fit + split.calibrate) == newest


def test_the_months_of_the_classic_set_up() -> None:
    split = Calendar(Month(2024, 1), training_months=4).split_of(Month(2024, 12))
    assert split.validate == (Month(2024, 11),)
    assert split.calibrate == (Month(2024, 10),)
    assert split.fit == month_range(Month(2024, 7), Month(2024, 9))
    assert split.purged == ()
    assert split.immature == (Month(2024, 12),)


def test_the_months_of_a_horizon_of_two() -> None:
    split = Calendar(Month(2024, 1), horizon=2, training_months=6).split_of(Month(2024, 12))
    assert split.validate == (Month(2024, 10),)
    assert split.calibrate == (Month(2024, 8),)
    assert split.fit == month_range(Month(2024, 3), Month(2024, 6))
    assert split.purged == (Month(2024, 7), Month(2024, 9))
    assert [split.part_of(Month(2024, n)) for n in (6, 8, 10)] == ["fit", "calibrate", "validate"]


@everything
@given(calendars, ages)
def test_months_needed_is_exact(calendar: Calendar, age: int) -> None:
    month = calendar.start + age
    split = calendar.split_of(month)
    assert (split.kind == "none") == (split.months_needed > 0)
    if split.kind == "none":
        assert calendar.split_of(month + split.months_needed).kind != "none"
        assert calendar.split_of(month + split.months_needed - 1).kind == "none"


@everything
@given(calendars, ages, st.sampled_from(STAGES))
def test_no_stage_reads_a_later_month_or_one_before_the_start(calendar: Calendar, age: int, stage: str) -> None:
    month = calendar.start + age
    for window in calendar.windows(stage, month):
        assert window.months
        assert all(calendar.start <= m <= month for m in window)
        assert list(window) == sorted(set(window))
        assert (window.reader, window.month) == (stage, month)
        assert calendar.window(stage, month, window.table) == window


@everything
@given(calendars, ages)
def test_the_end_of_a_pipeline_changes_no_window(calendar: Calendar, age: int) -> None:
    month = calendar.start + age
    ended = Calendar(
        calendar.start, month, calendar.horizon, calendar.lookback, calendar.training_months, calendar.split
    )
    assert all(ended.windows(s, month) == calendar.windows(s, month) for s in STAGES)


@everything
@given(calendars, ages)
def test_labels_are_read_from_valid_and_quarantined_rows_alike(calendar: Calendar, age: int) -> None:
    for stage in ("feature_store", "versioned_dataset", "model", "retention_list", "monitoring"):
        month = calendar.start + age
        valid = calendar.window(stage, month, "validated_data").months
        assert valid == calendar.window(stage, month, "quarantined_data").months


@everything
@given(calendars, ages)
def test_save_rates_are_measured_on_lists_whose_labels_are_mature(calendar: Calendar, age: int) -> None:
    month = calendar.start + age
    for table in ("validated_data", "quarantined_data"):
        labels = calendar.window("retention_list", month, table).months
        assert all(m <= month for m in labels)
        assert not labels or labels == calendar.label_months(month - calendar.horizon)
    # What stands in a month of list_outcomes was mature then, and is so now.
    pooled = calendar.window("retention_list", month, "list_outcomes").months
    assert len(pooled) < POOLED_MONTHS
    assert pooled == month_range(max(calendar.start, month - POOLED_MONTHS + 1), month - 1)
    assert all(calendar.is_mature(m - calendar.horizon, month) for m in pooled)


@everything
@given(calendars, ages)
def test_a_month_is_learned_from_first_where_its_labels_are_fitted_on(calendar: Calendar, age: int) -> None:
    snapshot = calendar.start + age
    first = calendar.taught_by(snapshot)
    assert snapshot in calendar.split_of(first).fit
    assert not any(snapshot in calendar.split_of(m).fit for m in month_range(calendar.start, first - 1))
    assert first - snapshot <= 3 * calendar.horizon


@everything
@given(calendars, ages, st.integers(0, 24))
def test_monitoring_remembers_earlier_months_alone_until_a_training_has_been_judged(
    calendar: Calendar, age: int, hindsight: int
) -> None:
    month = calendar.start + age
    remembered = replace(calendar, hindsight=hindsight).window("monitoring", month, "monitoring").months
    back = max(hindsight, 4 * calendar.horizon, calendar.lookback + calendar.horizon)
    assert remembered == month_range(max(calendar.start, month - back), month - 1)


def test_features_look_back_and_nothing_looks_ahead() -> None:
    calendar = Calendar(Month(2024, 1), lookback=2)
    assert calendar.window("features", Month(2024, 2), "validated_data").months == (Month(2024, 1), Month(2024, 2))
    assert calendar.window("features", Month(2024, 9), "validated_data").months == month_range(
        Month(2024, 7), Month(2024, 9)
    )
    model = {w.table: w.months for w in calendar.windows("model", Month(2024, 4))}
    assert model["promotions"] == (Month(2024, 3),)
    assert model["features"] == month_range(Month(2024, 1), Month(2024, 3))
    assert model["validated_data"] == month_range(Month(2024, 2), Month(2024, 4))
    assert not [w for w in calendar.windows("model", Month(2024, 1)) if w.table == "promotions"]
    watched = {w.table: w.months for w in calendar.windows("monitoring", Month(2024, 4))}
    assert watched["predictions"] == (Month(2024, 3), Month(2024, 4))
    assert watched["validated_data"] == (Month(2024, 4),)


def test_the_catalogue_compares_with_the_month_before_and_judges_the_newest_mature_one() -> None:
    month = Month(2024, 6)
    read = {w.table: w.months for w in Calendar(Month(2024, 1), horizon=3).windows("feature_store", month)}
    assert read["features"] == (month - 3, month - 1, month)
    assert read["validated_data"] == read["quarantined_data"] == month_range(month - 2, month)
    first = {w.table: w.months for w in Calendar(month).windows("feature_store", month)}
    assert first == {"features": (month,)}
    own_row = {w.table: w.months for w in Calendar(Month(2024, 1), horizon=0).windows("feature_store", month)}
    assert own_row["features"] == (month - 1, month)
    assert own_row["validated_data"] == (month,)


def test_a_label_in_its_own_row_is_mature_at_once() -> None:
    calendar = Calendar(Month(2024, 1), horizon=0)
    assert calendar.label_months(Month(2024, 1)) == (Month(2024, 1),)
    split = calendar.split_of(Month(2024, 1))
    assert split.kind == "holdout"
    assert split.part_of(Month(2024, 1)) == "fit+validate"
    assert split.immature == ()
    assert split.months == (Month(2024, 1),)


def test_a_month_outside_the_pipeline_is_refused_with_its_range() -> None:
    calendar = Calendar(Month(2024, 3), Month(2024, 5))
    assert calendar.check(Month(2024, 3)) == Month(2024, 3)
    assert calendar.check(Month(2024, 5)) == Month(2024, 5)
    with pytest.raises(MonthError, match="from 2024-03 to 2024-05, found 2024-02"):
        calendar.check(Month(2024, 2))
    with pytest.raises(MonthError, match="found 2024-06"):
        calendar.check(Month(2024, 6))
    with pytest.raises(MonthError, match="from 2024-03 on, found 2024-02"):
        Calendar(Month(2024, 3)).check(Month(2024, 2))


def test_a_window_is_read_in_order() -> None:
    window = Window("features", Month(2024, 2), "validated_data", (Month(2024, 1), Month(2024, 2)))
    assert list(window) == [Month(2024, 1), Month(2024, 2)]


@everything
@given(months, st.integers(0, 27))
def test_a_month_is_complete_from_a_moment_on_and_not_a_microsecond_before(month: Month, lag: int) -> None:
    calendar = Calendar(Month(1900, 1), lag_days=lag)
    moment = calendar.available_from(month)
    assert calendar.complete_at(moment) == month
    assert calendar.complete_at(moment - timedelta(microseconds=1)) == month - 1


def test_the_days_until_data_is_complete_are_counted_from_the_months_end() -> None:
    calendar = Calendar(Month(2024, 1), lag_days=3)
    assert calendar.available_from(Month(2024, 12)) == datetime(2025, 1, 4, tzinfo=UTC)
    assert calendar.complete_at(datetime.fromisoformat("2025-01-04T00:59+01:00")) == Month(2024, 11)


def test_the_months_so_far_reach_from_the_start_to_the_newest_that_was_made() -> None:
    jan, feb, mar, apr = (Month(2024, n) for n in (1, 2, 3, 4))
    assert list(Calendar(feb).so_far("reader", "features", [jan, apr])) == [feb, mar, apr]
    assert list(Calendar(feb, mar).so_far("reader", "features", [jan, apr, mar])) == [feb, mar]
    assert not list(Calendar(feb).so_far("reader", "features", [jan]))
    assert not list(Calendar(feb).so_far("reader", "features", []))
