"""The online store in PostgreSQL."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from io import BytesIO
from typing import Any

from churn_assets.store.online.connections import Connections
from churn_assets.store.online.generation import Batch, Generation
from churn_assets.store.online.servers import missing_driver, unreadable_address

# The file format of COPY: a signature, rows as (fields, then each one's length and bytes), and an end.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
_FIELDS = struct.pack(">h", 2)
_LENGTH = struct.Struct(">i")


class PostgresTables:
    """Two tables a pipeline: the rows, and the header of what is served.

    A load is one transaction, and takes its lock before anything else: one load goes on at a time. Readers see the
    rows of before until it is committed, and need no more than SELECT on both tables.
    """

    def __init__(self, url: str, pipeline: str) -> None:
        try:
            import psycopg2
            from psycopg2.extensions import parse_dsn
        except ModuleNotFoundError as error:
            raise missing_driver(url, "psycopg2", "postgres") from error
        try:
            self._parameters: dict[str, Any] = {"connect_timeout": 10, **parse_dsn(url), "client_encoding": "UTF8"}
        except psycopg2.Error:
            # The driver would show the whole address.
            raise unreadable_address(url) from None
        self.errors: tuple[type[Exception], ...] = (psycopg2.Error,)
        self._driver = psycopg2
        self._rows, self._serving = f"churn_online_{pipeline}_features", f"churn_online_{pipeline}_serving"
        self._readers = Connections[Any](self._reader)

    def load(self, offered: Generation, batches: Iterator[Batch]) -> Generation:
        """Serves ``offered`` if it supersedes what is served; returns what is served then."""
        with closing(self._driver.connect(**self._parameters)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("set local lock_timeout = '600s'")
            cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [self._rows])
            self._make_tables(cursor)
            cursor.execute(f'select header from "{self._serving}"')
            found = cursor.fetchone()
            served = Generation.parse(found[0]) if found else None
            if served and not offered.supersedes(served):
                return served
            cursor.execute(f'delete from "{self._rows}"')
            for batch in batches:
                cursor.copy_expert(f'copy "{self._rows}" from stdin (format binary)', _copied(batch))
            cursor.execute(f'delete from "{self._serving}"')
            cursor.execute(f'insert into "{self._serving}" values (%s)', [offered.header])
        return offered

    def fetch(self, customers: Sequence[str]) -> tuple[Generation, dict[str, bytes]] | None:
        """What is served, and the rows of those customers that are in it."""
        try:
            found = self._fetched(customers)
        except self._driver.errors.UndefinedTable:
            return None
        except (self._driver.OperationalError, self._driver.InterfaceError):
            # The server may have ended what was idle.
            self._readers.close()
            found = self._fetched(customers)
        headers = [header for customer, _, header in found if customer is None]
        vectors = {customer: bytes(vector) for customer, vector, _ in found if customer is not None}
        return (Generation.parse(headers[0]), vectors) if headers else None

    def close(self) -> None:
        self._readers.close()

    def _fetched(self, customers: Sequence[str]) -> list[tuple[Any, Any, Any]]:
        # One statement, which sees one state of both tables.
        query = f"""
            select null, null, header from "{self._serving}"
            union all select customer, vector, null from "{self._rows}" where customer = any(%s::text[])
        """
        with self._readers.one() as connection, connection.cursor() as cursor:
            cursor.execute(query, [list(customers)])
            found: list[tuple[Any, Any, Any]] = cursor.fetchall()
        return found

    def _make_tables(self, cursor: Any) -> None:
        """Makes the tables if they aren't there: whoever has made them for us needn't let us make others."""
        cursor.execute("select to_regclass(%s)", [self._serving])
        if cursor.fetchone()[0] is None:
            cursor.execute(f"""
                create table "{self._rows}" (customer text collate "C" primary key, vector bytea not null);
                create table "{self._serving}" (header text not null)
            """)

    def _reader(self) -> Any:
        connection = self._driver.connect(**self._parameters)
        connection.autocommit = True
        return connection


def _copied(batch: Batch) -> BytesIO:
    rows = (
        _FIELDS + _LENGTH.pack(len(key := customer.encode())) + key + _LENGTH.pack(len(vector)) + vector
        for customer, vector in batch
    )
    return BytesIO(_SIGNATURE + b"".join(rows) + _END)
