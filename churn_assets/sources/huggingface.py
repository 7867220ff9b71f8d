"""A data set on the Hugging Face hub, through its own client, which keeps what it downloaded."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.file import File, deliver
from churn_assets.sources.formats import refusal
from churn_assets.sources.retrying import retrying, status_of, transient
from churn_assets.spec import FileFormat, HuggingFaceSourceSpec
from churn_assets.spec.base import nearest
from churn_assets.spec.source import filled
from churn_assets.store.content import json_hash

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FRESH = 60.0
"""Seconds for which the hub isn't asked again what there is: a look at five years of months is one question."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

T = TypeVar("T")


@dataclass(frozen=True)
class _Listing:
    """The files of a commit, each with the hash of its content."""

    commit: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class HuggingFaceSource:
    """The files of a data set that ``path``, a name or a glob, stands for.

    A month's identity is that of its own files, so that a commit which adds a month leaves the others as they are. A
    full commit as the revision needs no question at all: it is the identity.

    Attributes:
        attempts: how often the hub is asked while it can't be reached; a download has the client's own attempts.
        endpoint: address of the hub; the client's own (``HF_ENDPOINT``) if not given.
        cache: folder of downloads; the client's own (``HF_HUB_CACHE``) if not given.
    """

    given: HuggingFaceSourceSpec
    attempts: int = 5
    endpoint: str | None = None
    cache: Path | None = None
    _known: dict[float, _Listing] = field(default_factory=dict, init=False, repr=False, compare=False)

    def identity(self, month: Month) -> str:
        path, how = self._path(month), self.given.model_dump(mode="json", include=set(FileFormat.model_fields))
        if self._pinned:
            return json_hash([self.given.dataset, self.given.revision, path, how])
        listing = self._listing()
        found = [[name, listing.files[name]] for name in self._matching(path, listing)]
        return json_hash([self.given.dataset, found, how])

    def read(self, month: Month) -> Delivery:
        path = self._path(month)
        if self._pinned and not re.search(r"[*?[]", path):
            commit, names = str(self.given.revision), [path]
        else:
            listing = self._listing()
            commit, names = listing.commit, self._matching(path, listing)
        files = [File.local(self._downloaded(name, commit)) for name in names]
        delivery = deliver(files, self.given, month)
        delivery.provenance.update(kind="huggingface", dataset=self.given.dataset, commit=commit, path=names)
        return delivery

    @property
    def _pinned(self) -> bool:
        return _COMMIT.fullmatch(self.given.revision or "") is not None

    def _path(self, month: Month) -> str:
        return filled(self.given.path, month)

    def _listing(self) -> _Listing:
        now = time.monotonic()
        fresh = [listing for asked, listing in self._known.items() if now - asked < FRESH]
        if not fresh:
            fresh = [self._asked_listing()]
            self._known.clear()
            self._known[now] = fresh[0]
        return fresh[-1]

    def _asked_listing(self) -> _Listing:
        def ask() -> _Listing:
            found = self._api().dataset_info(self.given.dataset, revision=self.given.revision, files_metadata=True)
            files = {file.rfilename: file.blob_id or "" for file in found.siblings or []}
            return _Listing(str(found.sha), files)

        return self._told(lambda: retrying(ask, self._place, self.attempts))

    def _matching(self, path: str, listing: _Listing) -> list[str]:
        if path in listing.files:
            return [path]
        if found := sorted(name for name in listing.files if _matches(name, path)):
            return found
        raise self._no_file(path, nearest(path, list(listing.files)))

    def _downloaded(self, name: str, commit: str) -> Path:
        """The file in the client's cache, downloaded if it isn't there yet."""
        api = self._api()
        return Path(
            self._told(
                lambda: retrying(
                    lambda: api.hf_hub_download(
                        self.given.dataset, name, repo_type="dataset", revision=commit, cache_dir=self.cache
                    ),
                    self._place,
                    attempts=1,
                ),
                name,
            )
        )

    def _told(self, call: Callable[[], T], name: str = "") -> T:
        """What ``call`` returns; an error of the client's as one that says what to do."""
        try:
            return call()
        except SourceError:
            raise
        except Exception as error:
            if (told := self._refusal(error, name)) is None:
                raise
            raise told from error

    def _refusal(self, error: Exception, name: str) -> SourceError | None:
        from huggingface_hub import errors

        match error:
            case errors.GatedRepoError():
                return refusal(
                    self._place, "a data set that may be read", "that it is handed out on request",
                    "Ask for it on its page, then set HF_TOKEN to a token of that account.",
                )  # fmt: skip
            case errors.RepositoryNotFoundError():
                return refusal(
                    self._place, "a data set", "none of that name, or a private one",
                    "Mend source.dataset, or set HF_TOKEN to a token that may read it.",
                )  # fmt: skip
            case errors.RevisionNotFoundError():
                return refusal(self._place, f"a revision {self.given.revision}", "none", "Mend source.revision.")
            case errors.RemoteEntryNotFoundError():
                return self._no_file(name)
            case errors.HFValidationError():
                return refusal(self._place, "the name of a data set", str(error), "Mend source.dataset.")
        if (status := status_of(error)) in (401, 403):
            return refusal(
                self._place, "a token that may read it", f"one that may not ({status})",
                "Set HF_TOKEN to another one, or to none for a public data set.",
            )  # fmt: skip
        if status is not None:
            return refusal(
                self._place, "an answer", f"status {status}", "Run the month again later.", transient=transient(error)
            )
        # Whatever the client sends its requests with (httpx, or httpx2), this is the root of its errors.
        unreached = (errors.HTTPError, errors.LocalEntryNotFoundError, json.JSONDecodeError)  # type: ignore[attr-defined]
        if isinstance(error, unreached) or transient(error):
            return refusal(
                self._place, "an answer", f"none ({type(error).__name__})",
                "Look whether this machine reaches huggingface.co (HF_ENDPOINT, proxy), then run again.",
                transient=transient(error),
            )  # fmt: skip
        return None

    def _no_file(self, path: str, hint: str = "") -> SourceError:
        return refusal(self._place, f"a file {path}", "none", f"{hint} Mend source.path or source.revision.".strip())

    @property
    def _place(self) -> str:
        return f"Hugging Face's {self.given.dataset}"

    def _api(self) -> HfApi:
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise refusal(
                self._place, "the package huggingface-hub", "none",
                "Install it: pip install 'churn-assets[huggingface]'.",
            ) from error  # fmt: skip
        return HfApi(endpoint=self.endpoint)


def _matches(name: str, pattern: str) -> bool:
    """Whether ``name`` matches, folder by folder: no star reaches beyond a slash."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
