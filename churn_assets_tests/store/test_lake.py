from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import LakeError, MissingMonth, MonthError
from churn_assets.months import Calendar, Month, Window, month_range
from churn_assets.store.content import content_hash
from churn_assets.store.lake import Commit, Lake, replace_file

JAN, FEB, MAR = Month(2024, 1), Month(2024, 2), Month(2024, 3)
CALENDAR = Calendar(JAN, lookback=5)
COMMIT = Commit("made from this", {"raw_data 2024-01": "abc"}, "code 1", "run 1")


def rows(*numbers: int, text: str = "x") -> pl.DataFrame:
    return pl.DataFrame({"customer": [f"c{n}" for n in numbers], "n": numbers, "text": [text] * len(numbers)})


def window(last: Month, table: str = "validated_data") -> Window:
    return CALENDAR.window("features", last, table)


def held(lake: Lake, month: Month, table: str = "validated_data") -> pl.DataFrame:
    record = lake.record(table, month)
    assert record is not None
    return lake.scan_record(record).drop("month").collect().sort("customer")


def version(lake: Lake, table: str = "validated_data") -> int:
    return DeltaTable(lake.root / table).version()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "shop")


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(-5, 5), unique=True, max_size=3)), max_size=6))
def test_a_month_holds_what_was_written_last_and_the_others_stay(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, list[int]]]
) -> None:
    lake, expected = Lake(tmp_path_factory.mktemp("lake")), {}
    for later, numbers in writes:
        record = lake.write("validated_data", JAN + later, rows(*numbers), COMMIT, reason="" if numbers else "none")
        expected[JAN + later] = rows(*numbers).sort("customer")
        assert record == lake.record("validated_data", JAN + later)
    assert lake.months("validated_data") == sorted(expected)
    for month, frame in expected.items():
        record = lake.record("validated_data", month)
        assert record is not None
        assert (record.status, record.rows) == ("present" if len(frame) else "empty", len(frame))
        if len(frame):
            assert held(lake, month).equals(frame)
    if DeltaTable.is_deltatable(str(lake.root / "validated_data")):
        outside = pl.read_delta(str(lake.root / "validated_data"))
        assert len(outside) == sum(map(len, expected.values()))


def test_rows_have_their_month_as_a_date_and_keep_their_types(lake: Lake) -> None:
    given = rows(1).with_columns(
        day=pl.lit(date(2024, 1, 5)), at=pl.lit(datetime(2024, 1, 5, 7)), real=pl.lit(0.1), flag=pl.lit(True),
        gone=pl.lit(None, pl.Int64),
    )  # fmt: skip
    lake.write("validated_data", FEB, given, COMMIT)
    assert held(lake, FEB).equals(given)
    assert held(lake, FEB).schema == given.schema
    lake.write("validated_data", JAN, None, COMMIT, reason="nothing came")
    assert lake.scan(window(FEB)).collect()["month"].to_list() == [date(2024, 2, 1)]


@pytest.mark.parametrize("folder", ["my data", "größe", "a*b", "a#b", "a?b", "{x}"])
def test_the_lakes_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    lake = Lake(tmp_path / folder)
    lake.write("validated_data", JAN, rows(1), COMMIT)
    assert held(lake, JAN).equals(rows(1))


def test_equal_rows_bring_a_new_record_but_no_new_version(lake: Lake) -> None:
    first = lake.write("validated_data", JAN, rows(1, 2), COMMIT)
    at = version(lake)
    again = lake.write(
        "validated_data", JAN, rows(1, 2).select("text", "n", "customer"), Commit("other", {}, "code 2", "run 2")
    )
    assert version(lake) == at
    assert (again.version, again.files, again.content) == (first.version, first.files, first.content)
    assert (again.fingerprint, again.code, again.run_id) == ("other", "code 2", "run 2")
    assert lake.history("validated_data", JAN) == [again]


def test_equal_rows_whose_file_was_lost_are_written_again(lake: Lake) -> None:
    record = lake.write("validated_data", JAN, rows(1, 2), COMMIT)
    (lake.root / "validated_data" / record.files[0]).unlink()
    lake.write("validated_data", JAN, rows(1, 2), COMMIT)
    assert held(lake, JAN).equals(rows(1, 2))


def test_a_writer_that_dies_before_its_record_leaves_the_month_as_it_was(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1, 2), COMMIT)
    path = lake.root / "_records" / "validated_data" / "2024-01.json"
    before = path.read_bytes()
    lake.write("validated_data", JAN, rows(7, 8, 9), COMMIT)
    path.write_bytes(before)
    assert held(lake, JAN).equals(rows(1, 2))
    lake.write("validated_data", JAN, rows(7), COMMIT)
    assert held(lake, JAN).equals(rows(7))
    assert len(pl.read_delta(str(lake.root / "validated_data"))) == 1


def test_a_first_writer_that_dies_before_its_record_leaves_the_month_missing(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1, 2), COMMIT)
    (lake.root / "_records" / "validated_data" / "2024-01.json").unlink()
    assert lake.record("validated_data", JAN) is None
    with pytest.raises(MissingMonth):
        lake.scan(window(JAN))
    lake.write("validated_data", JAN, None, COMMIT, reason="nothing came")
    assert len(pl.read_delta(str(lake.root / "validated_data"))) == 0


def test_every_earlier_version_stays_readable(lake: Lake) -> None:
    for numbers in ((1, 2), (3,), (), (4, 5)):
        lake.write("validated_data", JAN, rows(*numbers) if numbers else None, COMMIT, reason="" if numbers else "none")
    versions = lake.history("validated_data", JAN)
    assert [r.rows for r in versions] == [2, 1, 0, 2]
    assert [r.status for r in versions] == ["present", "present", "empty", "present"]
    assert lake.scan_record(versions[0]).drop("month").collect().sort("n").equals(rows(1, 2))
    assert lake.scan_record(versions[1]).drop("month").collect().equals(rows(3))
    assert versions[-1] == lake.record("validated_data", JAN)
    assert lake.history("validated_data", FEB) == []


def test_the_version_of_a_record_has_its_rows_in_delta_too(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", FEB, rows(2), COMMIT)
    lake.write("validated_data", JAN, rows(3), COMMIT)
    old = lake.history("validated_data", JAN)[0]
    seen = pl.read_delta(str(lake.root / "validated_data"), version=old.version)
    assert seen.filter(pl.col("month") == date(2024, 1, 1))["n"].to_list() == [1]


def test_a_commit_says_who_wrote_which_month(lake: Lake) -> None:
    record = lake.write("validated_data", JAN, rows(1), COMMIT, facts={"repairs": {"calls": 2}})
    last = DeltaTable(lake.root / "validated_data").history(1)[0]
    assert (last["month"], last["run_id"], last["code_version"]) == ("2024-01", "run 1", "code 1")
    assert record.inputs == {"raw_data 2024-01": "abc"}
    assert record.facts == {"repairs": {"calls": 2}}
    assert record.content == content_hash(rows(1))


def test_empty_is_not_missing(lake: Lake) -> None:
    record = lake.write("validated_data", JAN, None, COMMIT, reason="The source delivered no rows.")
    assert (record.status, record.rows, record.files, record.reason) == (
        "empty", 0, (), "The source delivered no rows.",
    )  # fmt: skip
    assert lake.scan(window(JAN)).collect().is_empty()
    assert lake.scan_month(window(JAN), JAN) is None
    with pytest.raises(MissingMonth):
        lake.scan_month(window(FEB), FEB)


def test_a_month_may_become_empty(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", FEB, rows(2), COMMIT)
    lake.write("validated_data", JAN, rows(), COMMIT, reason="withdrawn")
    assert lake.scan(window(FEB)).collect()["n"].to_list() == [2]
    assert pl.read_delta(str(lake.root / "validated_data"))["n"].to_list() == [2]


def test_a_missing_month_fails_closed_with_the_command_that_mends_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "churn backfill --pipeline shop")
    lake.write("validated_data", FEB, rows(1), COMMIT)
    with pytest.raises(MissingMonth) as error:
        lake.scan(window(Month(2024, 4)))
    assert str(error.value) == (
        "features 2024-04 needs validated_data 2024-01, 2024-03, 2024-04, which isn't there: run "
        "`churn backfill --pipeline shop --missing`."
    )


def test_only_a_month_of_the_window_is_handed_out(lake: Lake) -> None:
    lake.write("validated_data", FEB, rows(1), COMMIT)
    with pytest.raises(MonthError, match="features 2024-01 asked for validated_data 2024-02"):
        lake.scan_month(window(JAN), FEB)


def test_poisoned_later_months_reach_no_window(lake: Lake) -> None:
    for month in month_range(JAN, MAR):
        lake.write("validated_data", month, rows(month.number), COMMIT)
    seen = lake.scan(window(FEB)).collect()
    path = lake.root / "_records" / "validated_data" / "2024-03.json"
    path.write_text("poison")
    assert lake.scan(window(FEB)).collect().equals(seen)
    lake.write("validated_data", Month(2024, 4), rows(99).with_columns(poison=pl.lit(1)), COMMIT)
    assert lake.scan(window(FEB)).collect().equals(seen)
    assert seen["n"].to_list() == [1, 2]


def test_a_month_has_just_the_columns_that_it_was_written_with(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1).with_columns(old=pl.lit(1)), COMMIT)
    again = rows(2).select("text", "customer", "n")
    record = lake.write("validated_data", JAN, again, COMMIT)
    assert held(lake, JAN).columns == ["text", "customer", "n"]
    assert content_hash(held(lake, JAN)) == record.content


@pytest.mark.parametrize("own", [pl.Series("month", ["May"]), pl.Series("month", [date(2023, 5, 1)])])
def test_a_month_that_was_delivered_is_kept_beside_the_tables_own(lake: Lake, own: pl.Series) -> None:
    delivered = rows(1).with_columns(own)
    record = lake.write("raw_data", JAN, lake.draft(delivered), COMMIT)
    (piece,) = lake.pieces(record)
    assert piece.equals(delivered)
    assert lake.scan_record(record).collect()["month"].to_list() == [JAN.first_day]


def test_new_columns_are_missing_in_older_months(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", FEB, rows(2).with_columns(new=pl.lit(0.5)).drop("text"), COMMIT)
    both = lake.scan(window(FEB)).collect().sort("n")
    assert both["new"].to_list() == [None, 0.5]
    assert both["text"].to_list() == ["x", None]
    assert held(lake, JAN).columns == ["customer", "n", "text"]


CHANGED = [
    pl.Series("n", ["one"]),
    pl.Series("n", [1.5]),
    pl.Series("n", [float("nan")]),
    pl.Series("n", [True]),
    pl.Series("n", [date(2024, 1, 1)]),
    pl.Series("n", [[1]]),
]


@pytest.mark.parametrize("column", CHANGED, ids=lambda s: str(s.dtype))
@pytest.mark.parametrize("month", [JAN, FEB])
def test_a_column_of_another_type_is_kept_as_it_is_and_other_months_too(
    lake: Lake, month: Month, column: pl.Series
) -> None:
    lake.write("raw_data", JAN, rows(1), COMMIT)
    record = lake.write("raw_data", month, rows(1).with_columns(column), COMMIT)
    again = lake.write("raw_data", MAR, rows(1).with_columns(column), COMMIT)
    assert held(lake, month, "raw_data").equals(rows(1).with_columns(column))
    assert record.columns == again.columns
    assert lake.scan_record(lake.history("raw_data", JAN)[0]).drop("month").collect().equals(rows(1))
    assert len(pl.read_delta(str(lake.root / "raw_data"))) == len({JAN, month, MAR})


@pytest.mark.parametrize("column", [c for c in CHANGED if not c.dtype.is_numeric()], ids=lambda s: str(s.dtype))
def test_months_of_differing_types_are_not_read_as_one(lake: Lake, column: pl.Series) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", FEB, rows(1).with_columns(column), COMMIT)
    with pytest.raises(LakeError, match=r"reads validated_data 2024-01 with n as Int64, and 2024-02 as .*churn back"):
        lake.scan(window(FEB))


@pytest.mark.parametrize("column", [pl.Series("n", [2.5]), pl.Series("n", [2], dtype=pl.Int8), pl.Series("n", [None])])
def test_months_whose_numbers_differ_in_width_are_read_as_one(lake: Lake, column: pl.Series) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", FEB, rows(2).with_columns(column), COMMIT)
    assert lake.scan(window(FEB)).collect().sort("month")["n"].to_list() == [1, column[0]]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("n", ["x"], dtype=pl.Categorical),
        pl.Series("n", ["x"], dtype=pl.Enum(["x"])),
        pl.Series("n", [None]),
        pl.Series("n", [datetime(2024, 1, 1)], dtype=pl.Datetime("ns")),
        pl.Series("n", [datetime(2024, 1, 1)], dtype=pl.Datetime("ms", "Europe/Berlin")),
        pl.Series("n", [1], dtype=pl.Duration("us")),
        pl.Series("n", [1], dtype=pl.Time),
        pl.Series("n", [1], dtype=pl.UInt32),
        pl.Series("n", ["1.50"]).cast(pl.Decimal(10, 2)),
    ],
    ids=lambda s: str(s.dtype),
)
def test_types_that_delta_does_not_know_can_be_delivered_again_and_again(lake: Lake, column: pl.Series) -> None:
    first = lake.write("raw_data", JAN, rows(1).with_columns(column), COMMIT)
    assert lake.write("raw_data", JAN, rows(1).with_columns(column), COMMIT).version == first.version
    lake.write("raw_data", JAN, rows(1, 2).with_columns(pl.concat([column, column])), COMMIT)
    assert len(held(lake, JAN, "raw_data")) == 2


def test_a_month_may_have_other_capitals(lake: Lake) -> None:
    lake.write("raw_data", JAN, rows(1), COMMIT)
    shouted = rows(2).rename({"n": "N", "text": "Text"})
    lake.write("raw_data", FEB, shouted, COMMIT)
    assert held(lake, FEB, "raw_data").equals(shouted)
    assert held(lake, JAN, "raw_data").equals(rows(1))
    outside = pl.read_delta(str(lake.root / "raw_data"))
    assert sorted(outside["n"]) == [1, 2]


@pytest.mark.parametrize("name", ["Call  Failure", "a,b;c{d}(e)=f", "größe", "x\ty", "100%", "Ünïcode 🙂"])
def test_a_column_may_have_any_name(lake: Lake, name: str) -> None:
    given = rows(1).rename({"n": name})
    lake.write("raw_data", JAN, rows(9), COMMIT)
    lake.write("raw_data", FEB, given, COMMIT)
    assert held(lake, FEB, "raw_data").equals(given)


def test_columns_of_one_month_that_differ_in_case_alone_are_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="more than capitals, found n, N"):
        lake.write("validated_data", JAN, rows(1).with_columns(N=pl.lit(1)), COMMIT)
    assert not list((lake.root / "_drafts").rglob("*.parquet"))


def test_rows_may_come_in_pieces(lake: Lake) -> None:
    whole = rows(*range(300_000))
    draft = lake.draft(whole.slice(at, 37_123) for at in range(0, len(whole), 37_123))
    assert (draft.rows, draft.content) == (300_000, content_hash(whole))
    assert lake.months("raw_data") == []
    record = lake.write("raw_data", JAN, draft, COMMIT)
    assert lake.scan_record(record).drop("month").collect().equals(whole), "in their order"
    assert lake.write("raw_data", JAN, whole, COMMIT).version == record.version
    assert not list((lake.root / "_drafts").rglob("*.parquet"))


def test_pieces_that_break_off_leave_nothing(lake: Lake) -> None:
    def pieces() -> Iterator[pl.DataFrame]:
        yield rows(*range(200_000))
        raise OSError("the line went dead")

    with pytest.raises(OSError, match="the line went dead"):
        lake.draft(pieces())
    assert not list(lake.root.rglob("*.parquet"))


def test_what_a_killed_writer_left_is_swept_away(lake: Lake) -> None:
    code = f"""
import os, signal
from pathlib import Path
import polars as pl
from churn_assets.store.lake import Lake
Lake(Path({str(lake.root)!r})).draft(pl.DataFrame({{"a": [1]}}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(lake.root.rglob("*.parquet"))) == 1
    lake.write("raw_data", JAN, rows(1), COMMIT)
    assert len(list(lake.root.rglob("*.parquet"))) == 1
    assert held(lake, JAN, "raw_data").equals(rows(1))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "{}", '{"table": "x"}'])
def test_a_damaged_record_is_named_with_its_remedy(lake: Lake, text: str) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    path = lake.root / "_records" / "validated_data" / "2024-01.json"
    path.write_text(text)
    with pytest.raises(LakeError, match="expected the record of validated_data 2024-01 as JSON") as error:
        lake.scan(window(JAN))
    assert str(path) in str(error.value)
    assert "churn backfill --from 2024-01 --to 2024-01" in str(error.value)


def test_a_damaged_history_is_named(lake: Lake) -> None:
    lake.write("validated_data", JAN, rows(1), COMMIT)
    lake.write("validated_data", JAN, rows(2), COMMIT)
    path = lake.root / "_records" / "validated_data" / "2024-01.history.jsonl"
    path.write_text(path.read_text() + '{"half')
    with pytest.raises(LakeError, match=r"history\.jsonl: expected a record of validated_data 2024-01"):
        lake.history("validated_data", JAN)


def test_a_lost_file_is_named_with_its_remedy(lake: Lake) -> None:
    record = lake.write("validated_data", JAN, rows(1), COMMIT)
    (lake.root / "validated_data" / record.files[0]).unlink()
    with pytest.raises(LakeError, match=r"expected .*\.parquet, found no such file.*Run `churn backfill") as error:
        lake.scan(window(JAN))
    assert record.files[0] in str(error.value)


def test_a_record_is_json_that_anybody_can_read(lake: Lake) -> None:
    record = lake.write("validated_data", JAN, rows(1), COMMIT)
    text = (lake.root / "_records" / "validated_data" / "2024-01.json").read_text()
    assert json.loads(text) == {**record.__dict__, "files": list(record.files)}
    assert record.columns == {"customer": "customer", "n": "n", "text": "text"}
    assert not list(lake.root.rglob("*.part"))
    assert replace(record, rows=1) == record


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    replace_file(tmp_path / "deep" / "file", b"old")
    replace_file(tmp_path / "deep" / "file", b"new")
    assert [p.read_bytes() for p in (tmp_path / "deep").iterdir()] == [b"new"]


def _write(root: Path, month: Month, numbers: list[int], barrier: Any, extra: str | None, tables: list[str]) -> None:
    for table in tables:
        barrier.wait(60)
        for i in range(12 // len(tables)):
            given = rows(*numbers).with_columns(n=pl.col("n") + i)
            given = given.with_columns(pl.lit(1).alias(extra)) if extra else given
            record = Lake(root).write(table, month, given, Commit(f"{numbers[0]}"))
            assert content_hash(Lake(root).scan_record(record).drop("month").collect()) == record.content


def _both(root: Path, first: tuple[Any, ...], second: tuple[Any, ...], tables: list[str]) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=_write, args=(root, month, numbers, barrier, extra, tables))
        for month, numbers, extra in (first, second)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [p.exitcode for p in processes] == [0, 0]


def test_two_processes_write_different_months_of_new_tables_at_once(tmp_path: Path) -> None:
    tables = [f"table_{i}" for i in range(6)]
    _both(tmp_path, (JAN, [10, 11], "left"), (FEB, [20], "right"), tables)
    lake = Lake(tmp_path)
    for table in tables:
        assert held(lake, JAN, table)["n"].to_list() == [11, 12]
        assert held(lake, FEB, table)["n"].to_list() == [21]
        assert len(pl.read_delta(str(tmp_path / table))) == 3


def test_two_processes_that_write_one_month_leave_it_whole(tmp_path: Path) -> None:
    _both(tmp_path, (JAN, [10, 11], None), (JAN, [20, 21, 22], None), ["validated_data"])
    lake = Lake(tmp_path)
    record = lake.record("validated_data", JAN)
    assert record is not None
    expected = rows(10, 11) if record.fingerprint == "10" else rows(20, 21, 22)
    expected = expected.with_columns(n=pl.col("n") + 11)
    assert held(lake, JAN).equals(expected)
    assert record.content == content_hash(expected)
    assert pl.read_delta(str(tmp_path / "validated_data"))["n"].sort().to_list() == expected["n"].to_list()
    history = lake.history("validated_data", JAN)
    assert len(history) == len({v.content for v in history}) == 24, "every version stood once, and none was lost"
    for version in history:
        assert content_hash(lake.scan_record(version).drop("month").collect()) == version.content
