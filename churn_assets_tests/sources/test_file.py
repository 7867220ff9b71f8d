from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import open_source
from churn_assets.sources.file import FileSource
from churn_assets_tests.declared import declared

JAN, FEB = Month(2024, 1), Month(2024, 2)


def source(root: Path, path: str = "{month}.csv", **more: Any) -> FileSource:
    return FileSource(path, root, **more)


def read(given: FileSource, month: Month = JAN) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(given.read(month).batches.read_all()))


def put(root: Path, content: bytes | str, name: str = "2024-01.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(root: Path, content: bytes | str, **more: Any) -> str:
    path = put(root, content)
    with pytest.raises(SourceError) as error:
        source(root, **more).read(JAN)
    assert str(path) in str(error.value)
    return str(error.value)


def test_values_are_received_as_text_with_their_place(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc1,007\nc2, 1.50 \nc3,\n")
    assert read(source(tmp_path)).rows(named=True) == [
        {"_row": 1, "id": "c1", "x": "007", "_file": "2024-01.csv"},
        {"_row": 2, "id": "c2", "x": " 1.50 ", "_file": "2024-01.csv"},
        {"_row": 3, "id": "c3", "x": None, "_file": "2024-01.csv"},
    ]


def test_a_delivery_says_where_it_came_from(tmp_path: Path) -> None:
    path = put(tmp_path, "id,x\nc1,1\n")
    delivery = source(tmp_path).read(JAN)
    assert delivery.provenance == {
        "kind": "file", "files": ["2024-01.csv"], "bytes": path.stat().st_size, "columns": ["id", "x"],
        "content": source(tmp_path).identity(JAN),
    }  # fmt: skip


@pytest.mark.parametrize("path", ["{month}.csv", "{year}-{number}.csv", "20{number}-{number}.csv", "*{month}*"])
def test_a_path_names_the_month(tmp_path: Path, path: str) -> None:
    put(tmp_path, "id\nc1\n")
    put(tmp_path, "id\nc2\n", "2024-02.csv")
    if "20{" in path:
        with pytest.raises(SourceError):
            read(source(tmp_path, path))
    else:
        csv = source(tmp_path, path, format="csv")
        assert (read(csv)["id"].item(), read(csv, FEB)["id"].item()) == ("c1", "c2")


def test_a_glob_takes_several_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc2,2\n", "2024-01/b.csv")
    put(tmp_path, "x,id\n1,c1\n", "2024-01/a.csv")
    put(tmp_path, "id,x\nc9,9\n", "2024-02/a.csv")
    found = read(source(tmp_path, "{month}/*.csv"))
    assert found.select("id", "x", "_row", "_file").rows() == [("c1", "1", 1, "a.csv"), ("c2", "2", 1, "b.csv")]


@pytest.mark.parametrize("folder", ["plain", "data [2024]", "a*b", "with {braces}"])
def test_the_data_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, "id\nc1\n")
    assert read(source(tmp_path / folder))["id"].to_list() == ["c1"]
    assert read(source(tmp_path / folder, "*.csv"))["id"].to_list() == ["c1"]


def test_a_file_whose_name_looks_like_a_glob_is_found(tmp_path: Path) -> None:
    put(tmp_path, "id\nc1\n", "sales [2024-01].csv")
    assert read(source(tmp_path, "sales [{month}].csv"))["id"].to_list() == ["c1"]


def test_an_absolute_path_needs_no_root(tmp_path: Path) -> None:
    put(tmp_path, "id\nc1\n")
    assert len(read(source(Path("/nowhere"), f"{tmp_path}/{{month}}.csv"))) == 1
    assert len(read(source(Path("/nowhere"), f"{tmp_path}/*.csv"))) == 1


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    for asked in (source(tmp_path).read, source(tmp_path).identity):
        with pytest.raises(SourceError) as error:
            asked(JAN)
        assert str(error.value) == (
            f"{tmp_path}/2024-01.csv: expected the file of 2024-01, found none. Put it there (an empty month is a file "
            "with just its header), or mend source.path."
        )
    (tmp_path / "2024-01.csv").mkdir()
    with pytest.raises(SourceError, match="found none"):
        source(tmp_path).read(JAN)


@pytest.mark.parametrize("text", ["id,x\n", "id,x"])
def test_a_header_alone_is_an_empty_month(tmp_path: Path, text: str) -> None:
    put(tmp_path, text)
    assert read(source(tmp_path)).is_empty()
    assert "id" in read(source(tmp_path)).columns


@pytest.mark.parametrize("content", ["", "\n", " \n", "\ufeff", "\ufeff\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    assert "found an empty file. Nothing was ingested." in refused(tmp_path, content)


def test_a_merge_conflict_is_refused_wherever_it_begins(tmp_path: Path) -> None:
    top = refused(tmp_path, "<<<<<<< HEAD\nid,x\nc1,1\n=======\nid,x\n>>>>>>> main\n")
    assert "line 1: expected a header, found '<<<<<<< HEAD' (a merge conflict)" in top
    middle = refused(tmp_path, "id,x\nc1,1\n<<<<<<< HEAD\nc2,1\n=======\nc2,2\n>>>>>>> main\n")
    assert "row 2: expected a customer, found '<<<<<<< HEAD' (a merge conflict)" in middle
    assert "merge conflict" in refused(tmp_path, "id,x\nc1,1\n=======\nc2,2\n")


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    assert "line 1: expected each column once, found twice: 'x'" in refused(tmp_path, "id,x,x\nc1,1,2\n")
    assert "found twice: 'x'" in refused(tmp_path, 'id,"x", x\nc1,1,2\n')
    put(tmp_path, '"a,b","a,c"\n1,2\n')
    assert read(source(tmp_path)).columns[1:3] == ["a,b", "a,c"]


def test_a_wrong_encoding_is_refused_and_the_right_one_read(tmp_path: Path) -> None:
    latin = "id,x\nc1,é\n".encode("latin-1")
    assert "expected readable csv (utf-8, delimiter ',')" in refused(tmp_path, latin)
    assert read(source(tmp_path, encoding="latin-1"))["x"].to_list() == ["é"]
    assert "unknown encoding" in refused(tmp_path, latin, encoding="latin-one")
    put(tmp_path, "id,x\nc1,é\n".encode("utf-16"))
    assert read(source(tmp_path, encoding="utf-16"))["x"].to_list() == ["é"]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, b"\xef\xbb\xbfid,x\nc1,1\n")
    assert read(source(tmp_path, encoding=encoding)).columns[1] == "id"


def test_files_of_one_month_have_the_same_columns(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc1,1\n", "2024-01a.csv")
    put(tmp_path, "id,y\nc2,2\n", "2024-01b.csv")
    with pytest.raises(SourceError, match=r"2024-01b\.csv: expected the columns of 2024-01a\.csv, .* \['x', 'y'\]"):
        source(tmp_path, "{month}*.csv").read(JAN)


def test_a_row_that_is_too_long_is_refused_and_a_short_one_lacks_its_end(tmp_path: Path) -> None:
    assert "Nothing was ingested." in refused(tmp_path, "id,x\nc1,1,extra\n")
    put(tmp_path, "id,x,y\nc1,1\n")
    assert read(source(tmp_path)).select("id", "x", "y").row(0) == ("c1", "1", None)


def test_quotes_may_hold_delimiters_newlines_and_quotes(tmp_path: Path) -> None:
    put(tmp_path, 'id,x\r\n"c,1","a\r\nb"\r\nc2,"say ""hi"""\r\n')
    assert read(source(tmp_path)).select("id", "x").rows() == [("c,1", "a\r\nb"), ("c2", 'say "hi"')]
    assert "Nothing was ingested." in refused(tmp_path, 'id,x\n"c1,1\n')


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_read_if_it_is_declared(tmp_path: Path, delimiter: str) -> None:
    put(tmp_path, f"id{delimiter}x\nc1{delimiter}1,5\n")
    assert read(source(tmp_path, delimiter=delimiter)).select("id", "x").row(0) == ("c1", "1,5")


def test_a_file_may_not_use_the_names_of_its_places(tmp_path: Path) -> None:
    assert "_row" in refused(tmp_path, "id,_row\nc1,1\n")


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "x": [0.5, None], "day": [date(2024, 1, 1)] * 2})
    frame.write_parquet(tmp_path / "2024-01.parquet")
    found = read(source(tmp_path, "{month}.parquet"))
    assert found.drop("_row", "_file").equals(frame)
    assert found["_row"].to_list() == [1, 2]


def test_parquet_files_of_other_types_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"x": [date(2024, 1, 1)]}).write_parquet(tmp_path / "2024-01a.parquet")
    pl.DataFrame({"x": [[1]]}).write_parquet(tmp_path / "2024-01b.parquet")
    with pytest.raises(SourceError, match="expected the same types in all files of 2024-01"):
        source(tmp_path, "{month}*.parquet").read(JAN)


def test_what_is_neither_csv_nor_parquet_is_refused_unless_its_format_is_declared(tmp_path: Path) -> None:
    put(tmp_path, "id\nc1\n", "2024-01.txt")
    with pytest.raises(SourceError, match=r"expected .csv or .parquet, found '.txt'. Set source.format."):
        source(tmp_path, "{month}.txt").read(JAN)
    assert len(read(source(tmp_path, "{month}.txt", format="csv"))) == 1
    put(tmp_path, "no parquet", "2024-01.parquet")
    with pytest.raises(SourceError, match="expected readable parquet"):
        source(tmp_path, "{month}.parquet").read(JAN)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    assert "found bytes that are no text" in refused(tmp_path, b"\x00\x01PK")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("incoming")
    put(root, content)
    try:
        found = set(read(source(root)).columns)
    except SourceError:
        return
    assert {"_row", "_file"} <= found


def test_the_identity_follows_the_content_and_not_the_time(tmp_path: Path) -> None:
    path = put(tmp_path, "id,x\nc1,1\n")
    first = source(tmp_path).identity(JAN)
    os.utime(path, (1, 1))
    assert source(tmp_path).identity(JAN) == first
    put(tmp_path, "id,x\nc1,2\n")
    os.utime(path, (1, 1))
    assert source(tmp_path).identity(JAN) != first
    put(tmp_path, "id,x\nc1,1\n")
    assert source(tmp_path).identity(JAN) == first


def test_the_identity_follows_how_and_from_how_many_files_it_is_read(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc1,1\n")
    identities = {
        source(tmp_path).identity(JAN), source(tmp_path, delimiter=";").identity(JAN),
        source(tmp_path, encoding="latin-1").identity(JAN), source(tmp_path, format="csv").identity(JAN),
    }  # fmt: skip
    put(tmp_path, "id,x\nc1,1\n", "2024-01b.csv")
    assert len({*identities, source(tmp_path, "{month}*.csv").identity(JAN)}) == 5


def test_a_specification_opens_its_source(tmp_path: Path) -> None:
    given = {"type": "file", "path": "in/{month}.txt", "format": "csv", "delimiter": ";", "encoding": "latin-1"}
    put(tmp_path, "id;x\nc1;é\n".encode("latin-1"), "in/2024-01.txt")
    opened = open_source(declared(source=given), tmp_path)
    table = opened.read(JAN).batches.read_all()
    assert table.column("x").to_pylist() == ["é"]
