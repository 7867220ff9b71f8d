"""Functions that a specification of the tests names, good ones and bad ones."""

from __future__ import annotations

from typing import Any

import narwhals as nw

Frame = nw.LazyFrame[Any]


def spread(frame: Frame) -> Frame:
    values = [nw.col(name) for name in ("x", "x_lag_1", "x_lag_2")]
    known = nw.sum_horizontal(*((~v.is_null()).cast(nw.Int64) for v in values))
    return frame.select(
        "id",
        (nw.max_horizontal(*values) - nw.min_horizontal(*values)).alias("spread"),
        known.alias("known"),
        nw.col("plan_lag_2").alias("plan_before"),
    )


def keeps_what_it_was_given(frame: Frame) -> Frame:
    return frame.with_columns((nw.col("n") * 2).alias("double"))


def misnamed(frame: Frame) -> Frame:
    return frame.select("id", nw.col("n").alias("dubble"))


def undeclared(frame: Frame) -> Frame:
    return frame.with_columns(nw.col("n").alias("double"), nw.col("n").alias("treble"))


def without_key(frame: Frame) -> Frame:
    return frame.select(nw.col("n").alias("double"))


def with_another_key(frame: Frame) -> Frame:
    return frame.select(nw.lit(1).alias("id"), nw.col("n").alias("double"))


def a_text(frame: Frame) -> Frame:
    return frame.select("id", nw.col("n").cast(nw.String).alias("double"))


def a_fraction(frame: Frame) -> Frame:
    return frame.select("id", (nw.col("n") / 2).alias("double"))


def some_rows(frame: Frame) -> Frame:
    return keeps_what_it_was_given(frame.filter(nw.col("n") > 1))


def rows_twice(frame: Frame) -> Frame:
    return keeps_what_it_was_given(nw.concat([frame, frame]))


def other_rows(frame: Frame) -> Frame:
    return keeps_what_it_was_given(frame.with_columns(nw.concat_str(nw.col("id"), nw.lit("x")).alias("id")))


def eager(frame: Frame) -> Any:
    return keeps_what_it_was_given(frame).collect()


def nothing(frame: Frame) -> None:
    return None


def raises(frame: Frame) -> Frame:
    raise KeyError("tariffs")


def fails_when_computed(frame: Frame) -> Frame:
    return frame.select("id", nw.col("plan").cast(nw.Int64).alias("double"))


def by_zero(frame: Frame) -> Frame:
    return frame.select("id", (nw.lit(1.0) / (nw.col("n") - 1)).alias("double"))
