from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources.file import File, deliver
from churn_assets.sources.formats import text
from churn_assets.spec.source import FileFormat

JAN = Month(2024, 1)
PLACE = ("_file", "_line", "_defect", "_text")


def read(path: Path, **how: object) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(deliver([File.local(path)], FileFormat(**how), JAN).batches.read_all()))


def lines_of(rows: list[str]) -> list[int]:
    """The lines on which records begin, each given with its line end."""
    at, found = 2, []
    for row in rows:
        found.append(at)
        at += row.count("\n") + row.count("\r") - row.count("\r\n")
    return found


VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufdd0"), max_size=6) | st.text(
    '",;\t|\n\r aé', max_size=6
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(VALUE, min_size=width, max_size=width), max_size=6))


def written(rows: list[list[str]], delimiter: str, end: str, quoting: int) -> list[str]:
    found = []
    for row in rows:
        target = io.StringIO(newline="")
        # It quotes those line ends only that it writes itself.
        csv.writer(target, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerow(row)
        found.append(target.getvalue().removesuffix("\r\n") + end)
    return found


@settings(max_examples=400, deadline=None)
@given(
    rows=tables(), delimiter=st.sampled_from(",;\t|"), end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from([None, "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
)  # fmt: skip
def test_what_is_written_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, end: str, quoting: int,
    encoding: str | None,
) -> None:  # fmt: skip
    header = [f"c{i}" for i in range(len(rows[0]) if rows else 1)]
    records = written(rows, delimiter, end, quoting)
    path = tmp_path_factory.mktemp("text") / "a.csv"
    path.write_bytes((delimiter.join(header) + end + "".join(records)).encode(encoding or "utf-8"))
    found = read(path, delimiter=delimiter, encoding=encoding)
    again = [i for i, row in enumerate(rows) if row == header]
    assert found.filter(pl.col("_defect").is_null()).select(header).rows() == [
        tuple(value or None for value in rows[i]) for i in range(len(rows)) if i not in again
    ]
    assert found["_line"].to_list() == lines_of(records)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text('"a,\n\r;\ufeff', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.csv"
    path.write_bytes(content)
    try:
        found = read(path)
    except SourceError as error:
        told = str(error)
    else:
        told = "" if set(PLACE) <= set(found.columns) else "places are missing"
    assert not told or told.endswith("Nothing was ingested.")


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(st.text("ab\n\r", max_size=5), min_size=1, max_size=4), max_size=40),
    block=st.integers(150, 300),
)
def test_lines_are_right_across_blocks(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], block: int
) -> None:
    rows = [["a", "b"], *rows]
    records = written(rows, ",", "\n", csv.QUOTE_ALL)
    path = tmp_path_factory.mktemp("blocks") / "a.csv"
    path.write_text("x,y\n" + "".join(records), newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", block)
        found = read(path, delimiter=",")
    assert found["_line"].to_list() == lines_of(records)
    broken = found.filter(pl.col("_defect").is_not_null())
    assert broken["_text"].to_list() == [r[:-1] for r, row in zip(records, rows, strict=True) if len(row) != 2]
    assert found.filter(pl.col("_defect").is_null()).select("x", "y").rows() == [
        tuple(value or None for value in row) for row in rows if len(row) == 2
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\n\n"])
def test_a_line_end_may_stand_at_the_edge_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(text, "BLOCK", 100)
    path = tmp_path / "a.csv"
    for pad in range(100):
        path.write_bytes(f'id,x\nc1,{"1" * pad}\nc2,"a{end}b"{end}c3,3{end}'.encode())
        found = read(path, delimiter=",")
        assert found["x"].to_list()[1:] == [f"a{end}b", "3"]
        assert found["_line"].to_list() == [2, 3, 4 + 2 * (end.count("\n") + end.count("\r") - end.count("\r\n")) - 1]


def test_a_row_longer_than_a_block_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "BLOCK", 1000)
    path = tmp_path / "a.csv"
    path.write_text("id,x\n" + "c,1\n" * 1000 + "c," + "1" * 5000 + "\nc,1\n")
    with pytest.raises(SourceError, match=r"after line \d+: expected rows of at most .*Nothing was ingested\."):
        read(path)
    path.write_text("id,x\n" + "c,1\n" * 1000 + 'c,"' + "1\n" * 5000 + "\nc,1\n")
    with pytest.raises(SourceError, match=r"line 1002: expected a quote that is closed .*Nothing was ingested\."):
        read(path)


def test_an_error_comes_out_of_the_stream_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,x\n" + "c,1\n" * 3_000_000 + 'c,"1\n')
    batches = deliver([File.local(path)], FileFormat(), JAN).batches
    assert batches.read_next_batch().num_rows > 0
    with pytest.raises(SourceError, match="line 3000002: expected a quote that is closed"):
        list(batches)
