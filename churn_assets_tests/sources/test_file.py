from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import retrying
from churn_assets.sources.file import File, FileSource, deliver, identity_of
from churn_assets.spec.source import FileFormat, FileSourceSpec

JAN, FEB = Month(2024, 1), Month(2024, 2)


def source(root: Path, path: str = "{month}.csv", **more: Any) -> FileSource:
    return FileSource(FileSourceSpec(type="file", path=path, **more), root)


def read(given: FileSource, month: Month = JAN) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(given.read(month).batches.read_all()))


def put(root: Path, content: bytes | str, name: str = "2024-01.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(given: FileSource, month: Month = JAN, transient: bool = False) -> str:
    with pytest.raises(SourceError) as error:
        given.read(month).batches.read_all()
    assert error.value.transient == transient
    assert str(error.value).endswith("Nothing was ingested.")
    return str(error.value)


def test_values_are_received_as_text_with_their_place(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc1,007\nc2, 1.50 \nc3,\nc4\n")
    place = {"_file": "2024-01.csv", "_defect": None, "_text": None}
    assert read(source(tmp_path)).rows(named=True) == [
        {"id": "c1", "x": "007", "_line": 2, **place},
        {"id": "c2", "x": " 1.50 ", "_line": 3, **place},
        {"id": "c3", "x": None, "_line": 4, **place},
        {"id": None, "x": None, "_line": 5, **place, "_defect": "1 field where the header has 2", "_text": "c4"},
    ]


def test_a_delivery_says_where_it_came_from(tmp_path: Path) -> None:
    content = gzip.compress(b"id;x\nc1;1\n")
    put(tmp_path, content, "2024-01.csv.gz")
    delivery = source(tmp_path, "{month}.csv.gz").read(JAN)
    assert delivery.provenance == {
        "kind": "file",
        "files": [
            {"name": "2024-01.csv.gz", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
             "format": "csv", "encoding": "utf-8", "delimiter": ";", "compression": "gz"},
        ],
        "columns": {"id": "string", "x": "string"},
    }  # fmt: skip
    assert delivery.doubts == [] and delivery.accept is None


@pytest.mark.parametrize("path", ["{month}.csv", "{year}-{number}.csv", "*{month}*"])
def test_a_path_names_the_month(tmp_path: Path, path: str) -> None:
    put(tmp_path, "id\nc1\n")
    put(tmp_path, "id\nc2\n", "2024-02.csv")
    given = source(tmp_path, path)
    assert (read(given)["id"].item(), read(given, FEB)["id"].item()) == ("c1", "c2")


def test_a_glob_takes_several_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc2,2\n", "2024-01/b.csv")
    put(tmp_path, "x;id\n1;c1\n", "2024-01/a.csv")
    put(tmp_path, "id,x\nc9,9\n", "2024-02/a.csv")
    found = read(source(tmp_path, "{month}/*.csv"))
    assert found.select("id", "x", "_line", "_file").rows() == [("c1", "1", 2, "a.csv"), ("c2", "2", 2, "b.csv")]


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
    for path in (f"{tmp_path}/{{month}}.csv", f"{tmp_path}/*.csv", f"file://{tmp_path}/{{month}}.csv"):
        assert len(read(source(Path("/nowhere"), path))) == 1


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    for asked in (source(tmp_path).read, source(tmp_path).identity):
        with pytest.raises(SourceError) as error:
            asked(JAN)
        assert str(error.value) == (
            f"{tmp_path}/2024-01.csv: expected the file of 2024-01, found none. Put it there (an empty month is a file "
            "with just its header), or mend source.path. Nothing was ingested."
        )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "2024-01.csv").mkdir()
    assert "2024-01.csv: expected a file, found a folder" in refused(source(tmp_path))
    with pytest.raises(SourceError, match="found a folder"):
        source(tmp_path).identity(JAN)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "id\nc1\n")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything
        opened = Path.open

        def denied(self: Path, *how: Any, **more: Any) -> Any:
            if self == path:
                raise PermissionError(13, "Permission denied", str(self))
            return opened(self, *how, **more)

        monkeypatch.setattr(Path, "open", denied)
    assert "expected a file that may be read, found no permission" in refused(source(tmp_path))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "id,x\nc1,1\n")
    delivery = source(tmp_path).read(JAN)
    with path.open("a") as more:
        more.write("c2,2\n")
    with pytest.raises(SourceError, match=r"2024-01\.csv: .* it changed while it was read .*Nothing was ingested\."):
        delivery.batches.read_all()
    path = put(tmp_path, "id,x\n" + "c1,1\n" * 2_000_000)
    delivery = source(tmp_path).read(JAN)
    delivery.batches.read_next_batch()
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceError, match="it changed while it was read"):
        delivery.batches.read_all()


def test_files_of_one_month_have_the_same_columns(tmp_path: Path) -> None:
    put(tmp_path, "id,x\nc1,1\n", "2024-01a.csv")
    put(tmp_path, "id,y\nc2,2\n", "2024-01b.csv")
    told = refused(source(tmp_path, "{month}*.csv"))
    assert "2024-01b.csv: expected the columns of 2024-01a.csv, found the difference ['x', 'y']" in told


def test_objects_of_one_month_may_have_other_keys_in_each_file(tmp_path: Path) -> None:
    put(tmp_path, '{"id": 1}\n', "2024-01a.jsonl")
    put(tmp_path, '{"id": 2, "x": 2}\n', "2024-01b.jsonl")
    assert read(source(tmp_path, "{month}*.jsonl")).select("id", "x").rows() == [("1", None), ("2", "2")]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "x": [0.5, None], "day": [date(2024, 1, 1)] * 2, "none": [None, None]})
    frame.write_parquet(tmp_path / "2024-01.parquet")
    found = read(source(tmp_path, "{month}.parquet"))
    assert found.columns == [*frame.columns, "_file", "_line"]
    assert found.select(frame.columns).rows() == frame.rows()
    assert found.schema["day"] == pl.Date and found.schema["id"] == pl.Int64
    assert found["_line"].to_list() == [1, 2]


def test_types_that_hold_each_others_values_are_brought_together(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1], "k": pl.Series(["a"], dtype=pl.Categorical)}).write_parquet(tmp_path / "2024-01a.parquet")
    pl.DataFrame({"x": [1.5], "k": ["b"]}).write_parquet(tmp_path / "2024-01b.parquet")
    pl.DataFrame({"x": [None], "k": [None]}).write_parquet(tmp_path / "2024-01c.parquet")
    found = read(source(tmp_path, "{month}*.parquet"))
    assert found.select("x", "k").rows() == [(1.0, "a"), (1.5, "b"), (None, None)]


def test_parquet_files_of_other_types_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"x": [date(2024, 1, 1)]}).write_parquet(tmp_path / "2024-01a.parquet")
    pl.DataFrame({"x": [[1]]}).write_parquet(tmp_path / "2024-01b.parquet")
    assert "2024-01b.parquet: expected the same types in all files" in refused(source(tmp_path, "{month}*.parquet"))


def test_another_name_needs_a_declared_format(tmp_path: Path) -> None:
    put(tmp_path, "id\nc1\n", "2024-01.log")
    assert "found '.log'. Set source.format." in refused(source(tmp_path, "{month}.log"))
    assert len(read(source(tmp_path, "{month}.log", format="csv"))) == 1
    put(tmp_path, '{"id": 1}\n{"id": 2}\n', "2024-01")
    assert len(read(source(tmp_path, "{month}"))) == 2


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
    how: list[dict[str, Any]] = [
        {}, {"delimiter": ";"}, {"encoding": "latin-1"}, {"format": "csv"}, {"skip_rows": 1}, {"sheet": "a"},
        {"records": "a"},
    ]  # fmt: skip
    identities = {source(tmp_path, **given).identity(JAN) for given in how}
    put(tmp_path, "id,x\nc1,1\n", "2024-01b.csv")
    assert len({*identities, source(tmp_path, "{month}*.csv").identity(JAN)}) == len(how) + 1


def test_opening_the_source_imports_no_reader() -> None:
    heavy = [
        "fastexcel",
        "s3fs",
        "fsspec",
        "charset_normalizer",
        "requests",
        "pyarrow.csv",
        "pyarrow.parquet",
        "polars",
    ]
    code = f"import sys, churn_assets.sources.file as f; print([n for n in {heavy} if n in sys.modules])"
    before = "import sys, churn_assets.sources, churn_assets.spec.source; " + code.partition("; ")[2].replace("f; ", "")
    run = [
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (code, before)
    ]
    assert run[0] == run[1]


def test_a_file_system_whose_client_is_not_installed_says_what_to_install(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    told = refused(source(tmp_path, "gs://bucket/{month}.csv"))
    assert (
        "gs://bucket/2024-01.csv: expected a client for gs://, found none installed. Install it: pip install gcsfs"
        in told
    )
    assert "expected a kind of address that fsspec knows" in refused(source(tmp_path, "nowhere://bucket/{month}.csv"))


def test_files_in_memory_are_read_like_others(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/in/2024-01/b.csv": b"id,x\nc2,2\n", "/in/2024-01/a.csv.gz": gzip.compress(b"id,x\nc1,1\n")})
    given = source(tmp_path, "memory://in/{month}/*")
    assert read(given).select("id", "_file").rows() == [("c1", "a.csv.gz"), ("c2", "b.csv")]
    assert given.identity(JAN) is None
    assert "memory://in/2024-02/*: expected the file of 2024-02, found none" in refused(given, FEB)


class Handler(BaseHTTPRequestHandler):
    """Serves ``files``; a name's first answers may be errors."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}
    errors: dict[str, list[int]] = {}
    tag: str | None = '"v1"'

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        status = self.errors.get(path, []).pop(0) if self.errors.get(path) else 200 if path in self.files else 404
        content = self.files.get(path, b"") if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if self.tag:
            self.send_header("ETag", self.tag)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(Handler, "files", {"/2024-01.csv": b"id,x\nc1,1\n"})
    monkeypatch.setattr(Handler, "errors", {})
    monkeypatch.setattr(Handler, "tag", '"v1"')
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_a_file_is_read_over_http(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = source(tmp_path, server + "/{month}.csv?token=secret")
    delivery = given.read(JAN)
    assert delivery.batches.read_all().select(["id", "x", "_file"]).to_pylist() == [
        {"id": "c1", "x": "1", "_file": "2024-01.csv"}
    ]
    assert delivery.provenance["files"][0]["sha256"] == hashlib.sha256(b"id,x\nc1,1\n").hexdigest()
    first = given.identity(JAN)
    assert first is not None and given.identity(JAN) == first
    monkeypatch.setattr(Handler, "tag", '"v2"')
    assert given.identity(JAN) not in (None, first)
    for tag in ('W/"v2"', None):
        monkeypatch.setattr(Handler, "tag", tag)
        assert given.identity(JAN) is None


def test_what_passes_by_itself_is_tried_again(server: str, tmp_path: Path) -> None:
    Handler.errors["/2024-01.csv"] = [503, 503]
    assert len(read(source(tmp_path, server + "/{month}.csv"))) == 1
    assert Handler.errors["/2024-01.csv"] == []


@pytest.mark.parametrize(("status", "told"), [(403, "no permission"), (401, "no permission"), (500, "the answer 500")])
def test_a_server_that_refuses_is_named(server: str, tmp_path: Path, status: int, told: str) -> None:
    Handler.errors["/2024-01.csv"] = [status] * 50
    found = refused(source(tmp_path, server + "/{month}.csv?token=secret"), transient=status == 500)
    assert found.startswith(f"{server}/2024-01.csv: ") and told in found and "secret" not in found


def test_a_file_that_a_server_does_not_have_is_missing(server: str, tmp_path: Path) -> None:
    assert f"{server}/2024-02.csv: expected the file of 2024-02, found none" in refused(
        source(tmp_path, server + "/{month}.csv"), FEB
    )


def test_a_server_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.01)
    found = refused(source(tmp_path, "http://127.0.0.1:9/{month}.csv"), transient=True)
    assert "http://127.0.0.1:9/2024-01.csv: expected a file that can be reached, found no answer" in found


def test_files_are_read_from_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        import s3fs

        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        system = s3fs.S3FileSystem(endpoint_url=url, skip_instance_cache=True)
        system.mkdir("sales")
        system.pipe({"sales/in/2024-01/b.csv": b"id,x\nc2,2\n", "sales/in/2024-01/a.csv": b"id,x\nc1,1\n"})
        given = source(tmp_path, "s3://sales/in/{month}/*.csv", options={"endpoint_url": url})
        assert read(given).select("id", "_file").rows() == [("c1", "a.csv"), ("c2", "b.csv")]
        first = given.identity(JAN)
        assert first is not None
        system.pipe({"sales/in/2024-01/a.csv": b"id,x\nc1,3\n"})
        assert given.identity(JAN) not in (None, first)
        assert read(given)["x"].to_list() == ["3", "2"]
        told = refused(given, FEB)
        assert "s3://sales/in/2024-02/*.csv: expected the file of 2024-02, found none" in told
    finally:
        server.stop()


def test_other_sources_deliver_files_of_their_own(tmp_path: Path) -> None:
    import fsspec

    path = put(tmp_path, "id,x\nc1,1\n")
    fsspec.filesystem("memory").pipe("/own/b.csv", b"id,x\nc2,2\n")
    files = [File.local(path), File("/own/b.csv", fsspec.filesystem("memory"))]
    delivery = deliver(files, FileFormat(), JAN)
    assert isinstance(delivery.batches, pa.RecordBatchReader)
    assert delivery.batches.read_all().column("_file").to_pylist() == ["2024-01.csv", "b.csv"]
    assert identity_of(files[:1], FileFormat()) is not None and identity_of(files, FileFormat()) is None
