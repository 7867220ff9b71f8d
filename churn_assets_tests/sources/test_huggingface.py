"""The Hugging Face hub's own client against a small server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import open_source
from churn_assets.sources.huggingface import HuggingFaceSource
from churn_assets.spec import HuggingFaceSourceSpec
from churn_assets_tests.declared import declared
from churn_assets_tests.sources.test_kaggle import Answer, Asked, serving

pytest.importorskip("huggingface_hub")

JAN, FEB = Month(2024, 1), Month(2024, 2)


def commit(number: int) -> str:
    return f"{number:040x}"


@dataclass
class Hub:
    """A data set as the hub serves it: its commits, and what was asked."""

    commits: dict[str, dict[str, bytes]]
    main: str = commit(1)
    private: bool = False
    gated: bool = False
    large: bool = False
    trouble: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def __call__(self, asked: Asked) -> Answer:
        self.asked.append(f"{asked.method} {asked.path}")
        if self.trouble:
            return self.trouble.pop(0)
        token = asked.headers.get("authorization")
        if token not in (None, "Bearer secret"):
            return self._error(401, None, "Invalid credentials in Authorization header")
        _, *parts = asked.path.split("/")
        if parts[0] == "storage":
            # The storage is another host than the hub, and must not see the token.
            assert token is None
            return Answer(self.commits[parts[1]]["/".join(parts[2:])])
        if parts[:3] == ["api", "datasets", "ada"]:
            return self._described(parts[3:], token)
        assert parts[:2] == ["datasets", "ada"] and parts[3] == "resolve"
        return self._resolved(parts[2], parts[4], "/".join(parts[5:]), token)

    def _described(self, parts: list[str], token: str | None) -> Answer:
        name, revision = parts[0], parts[2] if len(parts) > 1 else "main"
        if name != "telco" or (self.private and not token):
            return self._error(401, "RepoNotFound", "Repository not found")
        found = {"main": self.main}.get(revision, revision)
        if found not in self.commits:
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = [self._sibling(name, content) for name, content in self.commits[found].items()]
        told = {"id": "ada/telco", "sha": found, "private": self.private, "gated": False, "siblings": files}
        return Answer.of_json({**told, "disabled": False, "tags": [], "downloads": 0, "likes": 0})

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        return {"rfilename": name, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}

    def _resolved(self, name: str, revision: str, path: str, token: str | None) -> Answer:
        if name != "telco" or (self.private and not token):
            return self._error(401, "RepoNotFound", "Repository not found")
        if self.gated and not token:
            return self._error(401, "GatedRepo", "Access to dataset ada/telco is restricted.")
        if revision not in self.commits:
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if (content := self.commits[revision].get(path)) is None:
            return self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": revision})
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if not self.large:
            return Answer(content, headers={"ETag": etag, "X-Repo-Commit": revision})
        address = self.address.replace("127.0.0.1", "localhost") + f"/storage/{revision}/{path}"
        linked = {"X-Linked-ETag": etag, "X-Linked-Size": str(len(content)), "X-Repo-Commit": revision}
        return Answer(status=302, headers={"Location": address, **linked})

    def _error(self, status: int, code: str | None, told: str, more: dict[str, str] | None = None) -> Answer:
        headers = {"X-Error-Message": told, **({"X-Error-Code": code} if code else {}), **(more or {})}
        return Answer.of_json({"error": told}, status, headers)


FILES = {
    "README.md": b"# Telco\n", "2024-01.csv": b"id,x\nc1,007\n", "2024-02.csv": b"id,x\nc2,8\n",
    "parts/2024-01/b.csv": b"id,x\nb1,2\n", "parts/2024-01/a.csv": b"id,x\na1,1\n",
    "parts/2024-01/old.csv/a.csv": b"id\n",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    served = Hub({commit(1): dict(FILES), commit(7): {"2024-01.csv": b"id,x\nold,1\n"}})
    with serving(served) as address:
        served.address = address
        yield served


@pytest.fixture
def source(hub: Hub, tmp_path: Path) -> Any:
    def opened(path: str = "{month}.csv", attempts: int = 1, **given: Any) -> HuggingFaceSource:
        spec = {"type": "huggingface", "dataset": "ada/telco", "path": path, **given}
        return HuggingFaceSource(
            HuggingFaceSourceSpec.model_validate(spec), attempts, endpoint=hub.address, cache=tmp_path / "cache"
        )

    return opened


def rows(given: HuggingFaceSource, month: Month = JAN) -> list[tuple[Any, ...]]:
    return pl.DataFrame(pl.from_arrow(given.read(month).batches.read_all())).select("id", "x").rows()


def refused(given: HuggingFaceSource, month: Month = JAN, transient: bool = False) -> str:
    with pytest.raises(SourceError) as error:
        given.read(month)
    assert error.value.transient == transient
    assert str(error.value).endswith("Nothing was ingested.")
    return str(error.value)


def test_the_newest_commit_is_read_without_a_token(hub: Hub, source: Any) -> None:
    delivery = source().read(JAN)
    found = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    assert found.select("id", "x", "_file").rows() == [("c1", "007", "2024-01.csv")]
    told = {name: delivery.provenance[name] for name in ("kind", "dataset", "commit", "path")}
    assert told == {"kind": "huggingface", "dataset": "ada/telco", "commit": commit(1), "path": ["2024-01.csv"]}
    assert delivery.provenance["files"][0]["sha256"] == hashlib.sha256(FILES["2024-01.csv"]).hexdigest()
    assert rows(source(), FEB) == [("c2", "8")]


@pytest.mark.parametrize("revision", [commit(7), "main"])
def test_a_revision_is_read(hub: Hub, source: Any, revision: str) -> None:
    hub.main = commit(7)
    assert rows(source(revision=revision)) == [("old", "1")]


def test_a_pinned_commit_is_downloaded_once_and_never_asked_about(hub: Hub, source: Any) -> None:
    given = source(revision=commit(7))
    given.identity(JAN)
    assert hub.asked == []
    assert rows(given) == [("old", "1")]
    asked = [f"{method} /datasets/ada/telco/resolve/{commit(7)}/2024-01.csv" for method in ("HEAD", "GET")]
    assert hub.asked == asked
    assert rows(source(revision=commit(7))) == [("old", "1")]
    assert hub.asked == asked


def test_a_glob_takes_the_months_files_in_the_order_of_their_names(hub: Hub, source: Any) -> None:
    delivery = source("parts/{month}/*.csv").read(JAN)
    found = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    assert found.select("id", "_file").rows() == [("a1", "a.csv"), ("b1", "b.csv")]
    assert delivery.provenance["path"] == ["parts/2024-01/a.csv", "parts/2024-01/b.csv"]
    assert rows(source("parts/{month}/*.csv", revision=commit(1))) == [("a1", "1"), ("b1", "2")]


def test_a_name_that_looks_like_a_glob_is_a_name(hub: Hub, source: Any) -> None:
    hub.commits[commit(1)]["sales [2024-01].csv"] = b"id,x\ns,1\n"
    assert rows(source("sales [{month}].csv")) == [("s", "1")]


def test_a_large_file_comes_from_the_storage_without_the_token(
    hub: Hub, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.large = hub.private = True
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert rows(source()) == [("c1", "007")]
    assert hub.asked[-1] == f"GET /storage/{commit(1)}/2024-01.csv"


def test_the_identity_is_that_of_the_months_own_files(hub: Hub, source: Any) -> None:
    first, parts = source().identity(JAN), source("parts/{month}/*.csv").identity(JAN)
    assert len({first, parts, source().identity(FEB), source(delimiter=";").identity(JAN)}) == 4
    hub.main = commit(2)
    hub.commits[commit(2)] = {**FILES, "2024-03.csv": b"id,x\n", "README.md": b"# More\n"}
    assert (source().identity(JAN), source("parts/{month}/*.csv").identity(JAN)) == (first, parts)
    hub.commits[commit(2)] |= {"2024-01.csv": b"id,x\nc1,008\n", "parts/2024-01/c.csv": b"id,x\n"}
    assert source().identity(JAN) != first
    assert source("parts/{month}/*.csv").identity(JAN) != parts
    assert source(revision=commit(1)).identity(JAN) != source(revision=commit(7)).identity(JAN)


def test_many_months_are_one_question(hub: Hub, source: Any) -> None:
    hub.commits[commit(1)] |= {f"{JAN + i}.csv": b"id,x\n%d,1\n" % i for i in range(60)}
    given = source()
    assert len({given.identity(JAN + i) for i in range(60)}) == 60
    assert hub.asked == ["GET /api/datasets/ada/telco"]


def test_a_token_opens_a_private_data_set(hub: Hub, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.private = True
    for given in (source(), source(revision=commit(1))):
        assert refused(given) == (
            "Hugging Face's ada/telco: expected a data set, found none of that name, or a private one. Mend "
            "source.dataset, or set HF_TOKEN to a token that may read it. Nothing was ingested."
        )
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert "expected a token that may read it, found one that may not (401). Set HF_TOKEN" in refused(source())
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert rows(source()) == [("c1", "007")]


def test_a_gated_data_set_says_where_to_ask(hub: Hub, source: Any) -> None:
    hub.gated = True
    assert refused(source()) == (
        "Hugging Face's ada/telco: expected a data set that may be read, found that it is handed out on request. Ask "
        "for it on its page, then set HF_TOKEN to a token of that account. Nothing was ingested."
    )


def test_an_unknown_data_set_or_revision_is_named(hub: Hub, source: Any) -> None:
    assert "Hugging Face's ada/nothing: expected a data set, found none of" in refused(source(dataset="ada/nothing"))
    told = "expected a revision {}, found none. Mend source.revision."
    assert told.format("v9") in refused(source(revision="v9"))
    assert told.format(commit(9)) in refused(source(revision=commit(9)))
    assert "expected the name of a data set, found" in refused(source(dataset="ada/a--b"))


def test_an_unknown_file_is_named_with_the_nearest(hub: Hub, source: Any) -> None:
    assert refused(source("{year}_{number}.csv")).startswith(
        "Hugging Face's ada/telco: expected a file 2024_01.csv, found none. Did you mean '2024-01.csv'? Known here: "
    )
    assert "expected a file 2024-02.csv, found none. Mend" in refused(source(revision=commit(7)), FEB)
    with pytest.raises(SourceError, match=r"expected a file parts/2024-02/\*\.csv, found none"):
        source("parts/{month}/*.csv").identity(FEB)


def test_passing_trouble_is_waited_out(hub: Hub, source: Any) -> None:
    hub.trouble = [Answer(status=503)]
    assert rows(source(attempts=2)) == [("c1", "007")]


def test_lasting_trouble_is_told(hub: Hub, source: Any) -> None:
    hub.trouble = [Answer(status=502)]
    assert "expected an answer, found status 502. Run the month again later." in refused(source(), transient=True)


def test_a_refusal_is_not_asked_for_again(hub: Hub, source: Any) -> None:
    hub.private = True
    refused(source(attempts=5))
    assert len(hub.asked) == 1


def test_without_a_network_it_says_where_to_look(hub: Hub, source: Any) -> None:
    assert refused(replace(source(), endpoint="http://127.0.0.1:9"), transient=True) == (
        "Hugging Face's ada/telco: expected an answer, found none (ConnectError). Look whether this machine reaches "
        "huggingface.co (HF_ENDPOINT, proxy), then run again. Nothing was ingested."
    )


def test_what_is_no_hub_is_told(hub: Hub, source: Any) -> None:
    hub.trouble = [Answer(b"<html>log in")]
    assert "expected an answer, found none" in refused(source())
    hub.trouble = [Answer(b"<html>log in")]
    assert "expected an answer, found none" in refused(source(revision=commit(7)))


WITHOUT = """
import sys
from churn_assets.months import Month
from churn_assets.sources.huggingface import HuggingFaceSource
from churn_assets.spec import HuggingFaceSourceSpec

sys.modules["huggingface_hub"] = None
HuggingFaceSource(HuggingFaceSourceSpec(type="huggingface", dataset="a/b", path="x.csv")).read(Month(2024, 1))
"""


def test_without_the_package_it_names_the_extra() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1] == (
        "churn_assets.errors.SourceError: Hugging Face's a/b: expected the package huggingface-hub, found none. "
        "Install it: pip install 'churn-assets[huggingface]'. Nothing was ingested."
    )


def test_a_specification_opens_its_data_set(tmp_path: Path) -> None:
    given = {"type": "huggingface", "dataset": "ada/telco", "path": "{month}.csv", "revision": commit(7)}
    opened = open_source(declared(source=given), tmp_path)
    assert isinstance(opened, HuggingFaceSource)
    assert opened.identity(JAN) != opened.identity(FEB)
