"""The online store in Redis, or a server that speaks as it does (Valkey)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any
from uuid import uuid4

from churn_assets.store.online.generation import Batch, Generation
from churn_assets.store.online.servers import missing_driver, unreadable_address

HEADER = b"\xff"
"""The field that holds the header. No customer's can be called so: it isn't UTF-8."""

LOADING_SECONDS = 600
"""How long a load that was begun stays without news of it. What a killed process leaves is removed by that."""

FIELDS = 500
"""Rows a command, so that readers come in between two of them."""


class RedisHash:
    """A generation is one hash. A load fills a hash of its own, which then takes the place of the one that is served.

    A lookup is one command, so that it sees one generation. Keys are ``churn:online:<pipeline>`` and, while loading,
    that with ``:loading:<id>``.
    """

    def __init__(self, url: str, pipeline: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ModuleNotFoundError as error:
            raise missing_driver(url, "redis", "redis") from error
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._interrupted = redis.WatchError
        self._lost = redis.ConnectionError
        try:
            # One more attempt, at once: left to itself, the client would have a lookup wait for seconds.
            self._redis: Any = redis.Redis.from_url(
                url, retry=Retry(NoBackoff(), 1), socket_connect_timeout=5, socket_timeout=10
            )
        except ValueError:
            raise unreadable_address(url) from None
        self._serving = f"churn:online:{pipeline}"

    def load(self, offered: Generation, batches: Iterator[Batch]) -> Generation:
        """Serves ``offered`` if it supersedes what is served; returns what is served then."""
        served = self._generation(self._redis.hget(self._serving, HEADER))
        if served and not offered.supersedes(served):
            return served
        loading = f"{self._serving}:loading:{uuid4().hex}"
        try:
            self._begin(loading, offered)
            for batch in batches:
                self._put(loading, batch)
            return self._switched(loading, offered)
        finally:
            with suppress(*self.errors):
                self._redis.unlink(loading)

    def fetch(self, customers: Sequence[str]) -> tuple[Generation, dict[str, bytes]] | None:
        """What is served, and the rows of those customers that are in it."""
        header, *vectors = self._redis.hmget(self._serving, [HEADER, *customers])
        served = self._generation(header)
        rows = {customer: v for customer, v in zip(customers, vectors, strict=True) if v is not None}
        return (served, rows) if served else None

    def close(self) -> None:
        self._redis.close()

    def _begin(self, loading: str, offered: Generation) -> None:
        # In one transaction: there is never a key that nothing would remove.
        with self._redis.pipeline() as commands:
            commands.hset(loading, HEADER, offered.header)
            commands.expire(loading, LOADING_SECONDS)
            commands.execute()

    def _put(self, loading: str, batch: Batch) -> None:
        with self._redis.pipeline(transaction=False) as commands:
            for begin in range(0, len(batch), FIELDS):
                commands.hset(loading, items=[*chain.from_iterable(batch[begin : begin + FIELDS])])
            commands.expire(loading, LOADING_SECONDS)
            commands.execute()

    def _switched(self, loading: str, offered: Generation) -> Generation:
        """Lets ``loading`` take the place of what is served, unless that has become a later month meanwhile."""
        with self._redis.pipeline() as commands:
            while True:
                try:
                    commands.watch(self._serving, loading)
                    served = self._generation(commands.hget(self._serving, HEADER))
                    if served and not offered.supersedes(served):
                        return served
                    if (found := commands.hlen(loading) - 1) != offered.customers:
                        raise self._lost(f"of {offered.customers} rows that were loaded, {max(found, 0)} are left")
                    commands.multi()
                    commands.persist(loading)
                    # In the background, while RENAME alone would free the old rows before it answers.
                    commands.unlink(self._serving)
                    commands.rename(loading, self._serving)
                    commands.execute()
                    return offered
                except self._interrupted:
                    continue

    def _generation(self, header: Any) -> Generation | None:
        return Generation.parse(header) if header is not None else None
