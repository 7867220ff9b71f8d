"""The online store: the newest month's features of every customer, looked up by customer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.months import Month

_TABLES = """
create table if not exists published (one integer primary key check (one = 1), month text, content text, rows integer);
create table if not exists features (customer text primary key, vector text) without rowid;
"""


class OnlineStore:
    """A SQLite file in which readers always see one whole month."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def publish(self, month: Month, content: str, rows: pl.DataFrame, key: str) -> bool:
        """Serves ``rows`` from now on, unless a later month is being served; True if they are served.

        The load is one transaction: a reader sees the old month until the new one is complete.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as db:
            db.executescript(_TABLES)
            db.execute("begin immediate")
            served = db.execute("select month, content from published").fetchone()
            if served and (Month.parse(served[0]) > month or tuple(served) == (str(month), content)):
                db.execute("rollback")
                return Month.parse(served[0]) == month
            vectors = rows.select(pl.col(key), pl.struct(pl.exclude(key, "month")).struct.json_encode())
            db.execute("delete from features")
            db.executemany("insert into features values (?, ?)", vectors.iter_rows())
            db.execute("insert or replace into published values (1, ?, ?, ?)", (str(month), content, len(rows)))
            db.execute("commit")
        return True

    def lookup(self, customer: str) -> dict[str, Any] | None:
        """The features of ``customer`` with their ``month``; None if the customer isn't served."""
        if not self.path.exists():
            return None
        with self._connection() as db:
            found = db.execute(
                "select p.month, f.vector from published p, features f where f.customer = ?", (customer,)
            ).fetchone()
        return {"month": found[0], **json.loads(found[1])} if found else None

    def served(self) -> tuple[Month, int] | None:
        """The month that is served, and its customers."""
        if not self.path.exists():
            return None
        with self._connection() as db:
            found = db.execute("select month, rows from published").fetchone()
        return (Month.parse(found[0]), int(found[1])) if found else None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        try:
            db.execute("pragma journal_mode=wal")
            yield db
        finally:
            db.close()
