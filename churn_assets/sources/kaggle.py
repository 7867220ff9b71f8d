"""A data set on Kaggle, through its own client, which keeps what it downloaded."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.file import File, deliver
from churn_assets.sources.formats import refusal
from churn_assets.sources.retrying import retrying, status_of, transient
from churn_assets.spec import FileFormat, KaggleSourceSpec
from churn_assets.spec.base import nearest
from churn_assets.spec.source import filled
from churn_assets.store.content import json_hash

FRESH = 60.0
"""Seconds for which the newest version isn't asked for again: a look at five years of months is one question."""

CREDENTIALS = "Set KAGGLE_API_TOKEN, or put a kaggle.json into ~/.kaggle (kaggle.com, Settings, API)."

T = TypeVar("T")


@dataclass(frozen=True)
class KaggleSource:
    """A file of a Kaggle data set; public ones need no credentials.

    All files of a data set have one version, so any new version gives every month another identity, even if its own
    file stayed as it was.
    """

    given: KaggleSourceSpec
    attempts: int = 5
    _known: dict[float, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def identity(self, month: Month) -> str:
        how = self.given.model_dump(mode="json", include=set(FileFormat.model_fields))
        return json_hash([self.given.dataset, self._version(), filled(self.given.path, month), how])

    def read(self, month: Month) -> Delivery:
        path, version = filled(self.given.path, month), self._version()
        delivery = deliver([File.local(self._downloaded(path, version))], self.given, month)
        delivery.provenance.update(kind="kaggle", dataset=self.given.dataset, version=version, path=path)
        return delivery

    def _version(self) -> int:
        if self.given.version is not None:
            return self.given.version
        now = time.monotonic()
        fresh = [version for asked, version in self._known.items() if now - asked < FRESH]
        if not fresh:
            fresh = [self._newest()]
            self._known.clear()
            self._known[now] = fresh[0]
        return fresh[-1]

    def _newest(self) -> int:
        found = self._asked(lambda api, about: api.get_dataset(about("ApiGetDatasetRequest")), self._none)
        return int(found.current_version_number)

    def _downloaded(self, path: str, version: int) -> Path:
        """The file in the client's cache, downloaded if it isn't there yet."""
        kagglehub = self._client()

        def download(*_: Any) -> str:
            try:
                return str(kagglehub.dataset_download(f"{self.given.dataset}/versions/{version}", path))
            except kagglehub.exceptions.DataCorruptionError as error:
                raise ConnectionError("the download was damaged on its way") from error

        return Path(self._asked(download, lambda: self._no_file(path, version)))

    def _no_file(self, path: str, version: int) -> SourceError:
        listed = self._asked(
            lambda api, about: api.list_dataset_files(
                about("ApiListDatasetFilesRequest", dataset_version_number=version)
            ),
            lambda: refusal(self._place, f"version {version}", "none", "Mend source.version."),
        )
        names = [str(file.name) for file in listed.dataset_files]
        return refusal(
            f"{self._place}, version {version}", f"a file {path}", "none",
            f"{nearest(path, names)} Mend source.path or source.version.",
        )  # fmt: skip

    def _asked(self, call: Callable[..., T], none: Callable[[], SourceError]) -> T:
        """What ``call`` returns, given Kaggle's API and a maker of requests about the data set."""
        kagglehub = self._client()
        import requests
        from kagglesdk.datasets.types import dataset_api_service as types  # type: ignore[import-untyped]

        owner, name = self.given.dataset.split("/")

        def about(kind: str, **more: Any) -> Any:
            request = getattr(types, kind)()
            for key, value in {"owner_slug": owner, "dataset_slug": name, **more}.items():
                setattr(request, key, value)
            return request

        def attempt() -> T:
            with kagglehub.clients.build_kaggle_client() as client:
                return call(client.datasets.dataset_api_client, about)

        try:
            return retrying(attempt, self._place, self.attempts)
        except requests.HTTPError as error:
            # The client's own texts may hold the signed address of a download.
            status = status_of(error)
            if status == 404:
                raise none() from error
            if status in (401, 403):
                raise self._forbidden(status) from error
            raise refusal(
                self._place, "an answer", f"status {status}", "Run the month again later.", transient=transient(error)
            ) from error
        except (requests.RequestException, ConnectionError, json.JSONDecodeError) as error:
            raise refusal(
                self._place, "an answer", f"none ({type(error).__name__})",
                "Look whether this machine reaches api.kaggle.com, through a proxy if it must, then run again.",
                transient=transient(error),
            ) from error  # fmt: skip
        except ValueError as error:
            raise refusal(self._place, "credentials that can be read", str(error), CREDENTIALS) from error

    @property
    def _place(self) -> str:
        return f"Kaggle's {self.given.dataset}"

    def _none(self) -> SourceError:
        return refusal(self._place, "a data set", "none of that name", "Mend source.dataset.")

    def _forbidden(self, status: int) -> SourceError:
        return refusal(
            self._place, "a data set that may be read", f"no permission, or no such data set ({status})",
            f"Mend source.dataset, or accept the terms on its page. {CREDENTIALS}",
        )  # fmt: skip

    def _client(self) -> Any:
        try:
            import kagglehub  # type: ignore[import-untyped]
        except ImportError as error:
            raise refusal(
                self._place, "the package kagglehub", "none", "Install it: pip install 'churn-assets[kaggle]'."
            ) from error
        # It tells of each download on stdout, which is the command line's own.
        logging.getLogger("kagglehub").setLevel(logging.WARNING)
        return kagglehub
