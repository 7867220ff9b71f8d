"""The online store in a file of SQLite: no server needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from churn_assets.store.online.connections import Connections
from churn_assets.store.online.generation import Batch, Generation

LONGEST_LOAD = 60.0
"""Seconds to wait for another load to end."""

_TABLES = (
    "create table if not exists serving (one integer primary key check (one = 1), header text)",
    "create table if not exists vectors (customer text primary key, vector blob) without rowid",
)
_FETCH = """
select null, header from serving
union all select customer, vector from vectors where customer in (select value from json_each(?))
"""


class SqliteFile:
    """A load is one transaction, and its log (WAL) lets readers go on with what was there before."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path) -> None:
        self.place = Path(path)
        self._readers = Connections(self._reader)

    def load(self, offered: Generation, batches: Iterator[Batch]) -> Generation:
        """Serves ``offered`` if it supersedes what is served; returns what is served then."""
        self.place.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.place, timeout=LONGEST_LOAD, isolation_level=None)) as db:
            db.execute("pragma journal_mode = wal")
            db.execute("begin immediate")
            for table in _TABLES:
                db.execute(table)
            found = db.execute("select header from serving").fetchone()
            served = Generation.parse(found[0]) if found else None
            if served and not offered.supersedes(served):
                return served
            db.execute("delete from vectors")
            for batch in batches:
                db.executemany("insert into vectors values (?, ?)", batch)
            db.execute("insert or replace into serving values (1, ?)", [offered.header])
            db.execute("commit")
        return offered

    def fetch(self, customers: Sequence[str]) -> tuple[Generation, dict[str, bytes]] | None:
        """What is served, and the rows of those customers that are in it."""
        try:
            file = self.place.stat()
            with self._readers.one((file.st_dev, file.st_ino)) as db:
                found = db.execute(_FETCH, [json.dumps(customers)]).fetchall()
        except FileNotFoundError:
            return None
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
        headers = [header for customer, header in found if customer is None]
        vectors = {customer: vector for customer, vector in found if customer is not None}
        return (Generation.parse(headers[0]), vectors) if headers else None

    def close(self) -> None:
        self._readers.close()

    def _reader(self) -> sqlite3.Connection:
        # mode=rw makes no file, and any thread may use the connection, one at a time.
        address = f"{self.place.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
