"""The online store: the newest month's features of every customer, looked up by customer.

It is a file of SQLite, or on a server: Redis or PostgreSQL. All three hold the same bytes: for each customer, under
the key as text, a MessagePack array of the values (``encoding``), and once a header in JSON with the month, the
content's hash, the number of customers and the features' names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import polars as pl

from churn_assets.errors import OnlineStoreError
from churn_assets.months import Month
from churn_assets.spec import OnlineSpec
from churn_assets.store.online.encoding import identical
from churn_assets.store.online.generation import Batch, Generation, encoded, key_text, keys_of
from churn_assets.store.online.servers import refusal, shown
from churn_assets.store.online.sqlite import SqliteFile

__all__ = ["OnlineStore", "identical", "open_online_store"]

K = TypeVar("K")


class Backend(Protocol):
    """What holds the rows. A load is seen as a whole or not at all, and never replaces a later month's."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises."""

    def load(self, offered: Generation, batches: Iterator[Batch]) -> Generation:
        """Serves ``offered`` if it supersedes what is served; returns what is served then."""

    def fetch(self, customers: Sequence[str]) -> tuple[Generation, dict[str, bytes]] | None:
        """What is served, and the rows of those customers that are in it."""

    def close(self) -> None:
        """Closes what isn't in use."""


class OnlineStore:
    """The newest month of one pipeline, for any number of readers in threads and processes.

    Attributes:
        place: the file, or the server's address without who may use it.
    """

    def __init__(self, backend: Backend, place: Path | str, url: str | None = None, attempts: int = 1) -> None:
        self.place = place
        self._backend = backend
        self._url = url
        self._attempts = attempts

    def publish(self, month: Month, content: str, rows: pl.DataFrame, key: str) -> bool:
        """Serves ``rows`` from now on, unless a later month is being served; True if the month is served.

        A server that can't be reached is tried again. If a load fails or is killed, what was served still is.

        Args:
            month: the rows' month.
            content: what the rows are known by; what is served already isn't loaded again.
            rows: one row a customer, with the features; a column ``month`` is left out.
            key: the customer's column.

        Raises:
            OnlineStoreError: the rows can't be served, or the store can't be used.
        """
        from churn_assets.sources.retrying import retrying

        keys = keys_of(rows, key)
        features = rows.drop(key, "month", strict=False)
        offered = Generation(month, content, len(rows), tuple(features.columns))
        with self._explaining():
            served = retrying(
                lambda: self._backend.load(offered, encoded(features, keys)), f"online store {self.place}",
                self._attempts,
            )  # fmt: skip
        return served.month == month

    def lookup(self, customer: object) -> dict[str, Any] | None:
        """The features of ``customer`` with their ``month``; None if the customer isn't served.

        Values have the types and bits of the offline table's row. Keys may be given in their type or as text.

        Raises:
            OnlineStoreError: the store can't be used.
        """
        return self.lookup_many([customer]).get(customer)

    def lookup_many(self, customers: Iterable[K]) -> dict[K, dict[str, Any]]:
        """The same of several customers at once, all of one month, by customer as given; the unknown aren't in it.

        Raises:
            OnlineStoreError: the store can't be used.
        """
        asked = {customer: text for customer in customers if (text := key_text(customer)) is not None}
        with self._explaining():
            found = self._backend.fetch(list(asked.values()))
        if found is None:
            return {}
        served, vectors = found
        return {customer: served.row(vectors[text]) for customer, text in asked.items() if text in vectors}

    def served(self) -> tuple[Month, int] | None:
        """The month that is served, and its customers.

        Raises:
            OnlineStoreError: the store can't be used.
        """
        with self._explaining():
            found = self._backend.fetch([])
        return (found[0].month, found[0].customers) if found else None

    def close(self) -> None:
        """Closes connections that aren't in use; the store can be used on."""
        self._backend.close()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OnlineStoreError:
            raise
        except self._backend.errors as error:
            # The driver's error isn't shown with this one: an address may stand in it.
            raise refusal(self.place, error, self._url) from None


def open_online_store(given: OnlineSpec, pipeline: str, file: Path) -> OnlineStore:
    """The online store of ``pipeline``: on the server that the section ``online`` names, else in ``file``.

    Raises:
        OnlineStoreError: the server's driver isn't installed, or can't read its address.
    """
    if given.url is None:
        return OnlineStore(SqliteFile(file), file, attempts=given.attempts)
    if given.url.startswith("postgres"):
        from churn_assets.store.online.postgres import PostgresTables

        return OnlineStore(PostgresTables(given.url, pipeline), shown(given.url), given.url, given.attempts)
    from churn_assets.store.online.redis import RedisHash

    return OnlineStore(RedisHash(given.url, pipeline), shown(given.url), given.url, given.attempts)
