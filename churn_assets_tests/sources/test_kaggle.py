"""Kaggle's own client against a small server that speaks Kaggle's protocol."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import open_source
from churn_assets.sources.kaggle import KaggleSource
from churn_assets.spec import KaggleSourceSpec
from churn_assets_tests.declared import declared

pytest.importorskip("kagglehub")

JAN, FEB = Month(2024, 1), Month(2024, 2)


@dataclass
class Answer:
    """What a server answers."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})


@dataclass
class Asked:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[str]:
    """The address of a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            path = unquote(urlsplit(self.path).path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = answer(Asked(self.command, path, headers, self.rfile.read(length)))
            self.send_response(told.status)
            for name, value in {"Content-Length": str(len(told.body)), **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)

        do_GET = do_POST = do_HEAD = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Kaggle:
    """Data sets as Kaggle serves them, and what it was asked."""

    versions: dict[int, dict[str, bytes]]
    private: bool = False
    zipped: bool = False
    trouble: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    damaged: int = 0
    lost: bool = False

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(asked.path.rpartition("/")[2])
        self.authorizations.append(asked.headers.get("authorization"))
        if self.trouble:
            return self.trouble.pop(0)
        if asked.path.startswith("/storage/"):
            if self.lost:
                return Answer(status=410)
            return self._stored(asked.path)
        request = json.loads(asked.body)
        if self.private and asked.headers.get("authorization") != "Bearer secret":
            return Answer.of_json({"code": 403, "message": "Permission 'datasets.get' was denied"}, 403)
        if (request["ownerSlug"], request["datasetSlug"]) != ("blastchar", "telco"):
            return Answer.of_json({"code": 404, "message": "Not found"}, 404)
        if asked.path.endswith("GetDataset"):
            return Answer.of_json({"ref": "blastchar/telco", "currentVersionNumber": max(self.versions)})
        files = self.versions.get(request["datasetVersionNumber"], {})
        if asked.path.endswith("ListDatasetFiles") and files:
            return Answer.of_json({"datasetFiles": [{"name": name} for name in files]})
        if asked.path.endswith("DownloadDataset") and request.get("fileName") in files:
            zipped = ".zip" if self.zipped else ""
            address = f"http://localhost/storage/{request['datasetVersionNumber']}/{request['fileName']}{zipped}?sign=s"
            return Answer(status=302, headers={"Location": address})
        return Answer.of_json({"code": 404, "message": "Not found"}, 404)

    def _stored(self, path: str) -> Answer:
        _, _, version, name = path.split("/", 3)
        content = self.versions[int(version)][name.removesuffix(".zip")]
        if self.zipped:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(Path(name).stem, content)
            content = packed.getvalue()
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        if self.damaged:
            self.damaged -= 1
            content = content[:-1] + b"?"
        return Answer(content, headers={"X-Goog-Hash": f"crc32c=AAAAAA==,md5={digest}", "Accept-Ranges": "bytes"})


CSV = {"2024-01.csv": b"id,x\nc1,007\n", "2024-02.csv": b"id,x\nc2,8\n", "deep/all.csv": b"id,x\nc3,9\n"}


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    served = Kaggle({1: {"2024-01.csv": b"id,x\nold,1\n"}, 3: dict(CSV)})
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home/.kaggle"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    # The client can be sent to http://localhost, at port 80 alone: a proxy leads it to any other.
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    with serving(served) as address:
        monkeypatch.setenv("http_proxy", address)
        yield served


def source(path: str = "{month}.csv", attempts: int = 1, **given: Any) -> KaggleSource:
    spec = {"type": "kaggle", "dataset": "blastchar/telco", "path": path, **given}
    return KaggleSource(KaggleSourceSpec.model_validate(spec), attempts)


def rows(given: KaggleSource, month: Month = JAN) -> list[tuple[Any, ...]]:
    return pl.DataFrame(pl.from_arrow(given.read(month).batches.read_all())).select("id", "x").rows()


def refused(given: KaggleSource, month: Month = JAN, transient: bool = False) -> str:
    with pytest.raises(SourceError) as error:
        given.read(month)
    assert error.value.transient == transient
    assert str(error.value).endswith("Nothing was ingested.")
    return str(error.value)


def test_the_newest_version_is_read_without_credentials(kaggle: Kaggle) -> None:
    delivery = source().read(JAN)
    found = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    assert found.select("id", "x", "_file").rows() == [("c1", "007", "2024-01.csv")]
    told = {name: delivery.provenance[name] for name in ("kind", "dataset", "version", "path")}
    assert told == {"kind": "kaggle", "dataset": "blastchar/telco", "version": 3, "path": "2024-01.csv"}
    assert delivery.provenance["files"][0]["sha256"] == hashlib.sha256(CSV["2024-01.csv"]).hexdigest()
    assert kaggle.authorizations == [None] * 3
    assert rows(source(), FEB) == [("c2", "8")]


def test_a_pinned_version_is_read(kaggle: Kaggle) -> None:
    assert rows(source(version=1)) == [("old", "1")]
    assert kaggle.asked == ["DownloadDataset", "2024-01.csv"]


def test_what_was_downloaded_is_not_downloaded_again(kaggle: Kaggle) -> None:
    assert rows(source(version=3)) == rows(source(version=3))
    assert kaggle.asked == ["DownloadDataset", "2024-01.csv"]
    kaggle.trouble = [Answer(status=500)] * 9
    assert rows(source(version=3)) == [("c1", "007")]


def test_a_file_in_a_folder_and_one_for_all_months(kaggle: Kaggle) -> None:
    assert rows(source("deep/all.csv")) == [("c3", "9")]


def test_a_file_that_kaggle_packed_is_unpacked(kaggle: Kaggle) -> None:
    kaggle.zipped = True
    assert rows(source()) == [("c1", "007")]


def test_the_identity_follows_version_path_and_settings(kaggle: Kaggle) -> None:
    newest = source().identity(JAN)
    assert newest == source().identity(JAN) == source(version=3).identity(JAN)
    others = [source(version=1), source(delimiter=";"), source("{year}.csv", version=3)]
    assert len({newest, source().identity(FEB), *(o.identity(JAN) for o in others)}) == 5
    kaggle.versions[4] = dict(CSV)
    assert source().identity(JAN) != newest


def test_a_pinned_version_needs_no_question(kaggle: Kaggle) -> None:
    source(version=3).identity(JAN)
    assert kaggle.asked == []


def test_many_months_are_one_question(kaggle: Kaggle) -> None:
    given = source()
    assert len({given.identity(JAN + i) for i in range(60)}) == 60
    assert kaggle.asked == ["GetDataset"]


def test_a_token_opens_a_private_data_set(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.private = True
    for asked in (source(), source(version=3)):
        assert refused(asked) == (
            "Kaggle's blastchar/telco: expected a data set that may be read, found no permission, or no such data set "
            "(403). Mend source.dataset, or accept the terms on its page. Set KAGGLE_API_TOKEN, or put a kaggle.json "
            "into ~/.kaggle (kaggle.com, Settings, API). Nothing was ingested."
        )
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    assert rows(source()) == [("c1", "007")]


def test_an_old_kind_of_credentials_is_sent(kaggle: Kaggle, tmp_path: Path) -> None:
    folder = tmp_path / "home/.kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text('{"username": "ada", "key": "k"}')
    source().identity(JAN)
    assert kaggle.authorizations == ["Basic " + base64.b64encode(b"ada:k").decode()]
    (folder / "kaggle.json").write_text('{"username": "ada"}')
    assert "expected credentials that can be read, found Kaggle credentials file at" in refused(source())


def test_an_unknown_data_set_is_named(kaggle: Kaggle) -> None:
    assert refused(source(dataset="blastchar/telcos")) == (
        "Kaggle's blastchar/telcos: expected a data set, found none of that name. Mend source.dataset. Nothing was "
        "ingested."
    )


def test_an_unknown_file_or_version_is_named_with_the_nearest(kaggle: Kaggle) -> None:
    assert refused(source("{year}_{number}.csv")) == (
        "Kaggle's blastchar/telco, version 3: expected a file 2024_01.csv, found none. Did you mean '2024-01.csv'? "
        "Known here: 2024-01.csv, 2024-02.csv, deep/all.csv. Mend source.path or source.version. Nothing was ingested."
    )
    assert "expected version 2, found none. Mend source.version." in refused(source(version=2))


def test_passing_trouble_is_waited_out(kaggle: Kaggle) -> None:
    kaggle.trouble = [Answer(status=503)]
    kaggle.damaged = 1
    assert rows(source(attempts=2)) == [("c1", "007")]


def test_lasting_trouble_is_told(kaggle: Kaggle) -> None:
    kaggle.trouble = [Answer(status=502)]
    assert "expected an answer, found status 502. Run the month again later." in refused(source(), transient=True)
    kaggle.damaged = 1
    assert "expected an answer, found none (ConnectionError)." in refused(source(), transient=True)
    kaggle.trouble = [Answer(b"<html>log in", headers={"Content-Type": "text/html"})]
    assert "expected an answer, found none" in refused(source())


def test_a_refusal_is_not_asked_for_again(kaggle: Kaggle) -> None:
    kaggle.private = True
    refused(source(attempts=5))
    assert kaggle.asked == ["GetDataset"]


def test_without_a_network_it_says_where_to_look(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert refused(source(), transient=True) == (
        "Kaggle's blastchar/telco: expected an answer, found none (ProxyError). Look whether this machine reaches "
        "api.kaggle.com, through a proxy if it must, then run again. Nothing was ingested."
    )


def test_no_error_tells_the_signed_address_of_a_download(kaggle: Kaggle) -> None:
    kaggle.lost = True
    told = refused(source(version=3))
    assert kaggle.asked == ["DownloadDataset", "2024-01.csv"]
    assert "status 410" in told and "sign" not in told


WITHOUT = """
import sys
from churn_assets.months import Month
from churn_assets.sources.kaggle import KaggleSource
from churn_assets.spec import KaggleSourceSpec

sys.modules["kagglehub"] = None
KaggleSource(KaggleSourceSpec(type="kaggle", dataset="a/b", path="x.csv", version=1)).read(Month(2024, 1))
"""


def test_without_the_package_it_names_the_extra() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1] == (
        "churn_assets.errors.SourceError: Kaggle's a/b: expected the package kagglehub, found none. Install it: "
        "pip install 'churn-assets[kaggle]'. Nothing was ingested."
    )


def test_a_specification_opens_its_data_set(kaggle: Kaggle, tmp_path: Path) -> None:
    given = {"type": "kaggle", "dataset": "blastchar/telco", "path": "{month}.csv", "version": 3}
    opened = open_source(declared(source=given), tmp_path)
    assert opened.read(JAN).batches.read_all().column("id").to_pylist() == ["c1"]
