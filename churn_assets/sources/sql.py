"""A month's rows from any database that SQLAlchemy knows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, CursorResult, Date, Engine, TextClause, bindparam, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.formats import check_names, refusal
from churn_assets.sources.formats.documents import text as as_text
from churn_assets.sources.records import columns, stream
from churn_assets.sources.retrying import retrying, sqlstate, transient
from churn_assets.spec import SqlSourceSpec

T = TypeVar("T")

PARAMETERS = ("month_start", "month_end")

PACKAGES = {
    "psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient", "pymysql": "pymysql",
    "redshift": "sqlalchemy-redshift", "snowflake": "snowflake-sqlalchemy", "bigquery": "sqlalchemy-bigquery",
    "databricks": "databricks-sqlalchemy", "duckdb": "duckdb-engine", "trino": "trino[sqlalchemy]",
    "clickhouse": "clickhouse-sqlalchemy", "clickhousedb": "clickhouse-connect", "awsathena": "pyathena[sqlalchemy]",
}  # fmt: skip
"""Packages that have another name than the module, or the kind of database, that they bring."""

_ADVICE = (
    (r"28p01|28000|password|access denied|login failed|authenticat", "Check the user and the password in source.url."),
    (r"host name|name or service|name resolution|unknown .*host", "Check the host's name in source.url."),
    (
        r"refused|server running|time[d]? ?out|unreachable|no route|can't connect",
        "Check that the database runs at the host and port of source.url, and can be reached from here.",
    ),
    (
        r"57p0|closed the connection|gone away|terminat|shutting down|connection reset|lost connection",
        "The database ended the connection: see why in its log, then read the month again.",
    ),
    (r"3d000|unknown database|database \S+ does not exist", "Check the database's name in source.url."),
    (r"42501|permission|denied", "Let the user read what the query names (GRANT SELECT)."),
    (r"25006|read-?only|readonly", "Give a SELECT: it runs in a transaction that can only read."),
    (r"42p01|42703|no such (table|column)|unknown (table|column)|does not exist", "Mend the name in {queries}."),
    (r"42601|syntax|unrecognized token|incomplete input", "Mend {queries}; a colon in front of a word is written \\:."),
)
_SECRET = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)
_TEXTS_AND_COMMENTS = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_INNERMOST_PARENTHESES = re.compile(r"\([^()]*\)")


@dataclass(frozen=True)
class SqlSource:
    r"""A query with ``:month_start``, the month's first day, and ``:month_end``, the first day of the next one.

    The rows keep the order of the query's ORDER BY, which should leave no ties. Without one a database promises no
    order, and a month that is read again would look like a changed one; so the rows are then ordered by all columns
    here, which takes the memory of a month's rows. A query with ORDER BY takes that of a few batches.

    Integers, floats, booleans, dates and timestamps keep their types (those with a time zone are in UTC). Decimals,
    UUIDs and other types become text that nothing is lost in, arrays JSON, and bytes hexadecimal digits.

    On PostgreSQL, MySQL, MariaDB and SQLite it reads within one transaction that can't write, and that sees ``version``
    and the rows at the same point in time.

    Attributes:
        given: the section ``source``.
    """

    given: SqlSourceSpec

    def identity(self, month: Month) -> str | None:
        """A hash of the database, the query and what ``version`` answers for ``month``; None without a ``version``.

        Raises:
            SourceError: the database can't be asked.
        """
        if self.given.version is None:
            return None
        return self._asked(month, self._identity)

    def read(self, month: Month) -> Delivery:
        """What the query answers for ``month``.

        Raises:
            SourceError: the database can't be asked, or two columns of the answer have one name.
        """
        return self._asked(month, self._delivery)

    def _asked(self, month: Month, ask: Callable[[Connection, Month], T]) -> T:
        url = _address(self.given.url)
        where = f"{_shown(url)}, {month}"

        def attempt() -> T:
            with _transaction(url) as connection:
                return ask(connection, month)

        try:
            return retrying(attempt, where, self.given.attempts)
        except SQLAlchemyError as error:
            # Neither the driver's error nor SQLAlchemy's is shown with this one: a password may stand in them.
            raise self._refusal(where, error, url) from None
        except (ArithmeticError, ValueError) as error:
            raise refusal(
                where, "values that Python has room for", f"one that it can't take ({error})",
                "Cast its column to text in source.query.",
            ) from error  # fmt: skip

    def _identity(self, connection: Connection, month: Month) -> str | None:
        if self.given.version is None:
            return None
        answer = connection.execute(*_statement(self.given.version, month, "source.version"))
        told = [
            _shown(connection.engine.url), self.given.query, self.given.version, str(month),
            [[as_text(value) for value in row] for row in answer],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def _delivery(self, connection: Connection, month: Month) -> Delivery:
        identity = self._identity(connection, month)
        options = {"stream_results": True, "yield_per": self.given.batch_rows}
        result = connection.execute(*_statement(self.given.query, month, "source.query"), execution_options=options)
        names = _names(result)
        ordered = has_order(self.given.query)
        # Without a size, all rows come in one part, whatever ``yield_per`` says.
        parts = result.partitions(self.given.batch_rows)
        batches = (columns(dict(zip(names, zip(*rows, strict=True), strict=True))) for rows in parts)
        reader = stream(chain([columns({name: [] for name in names})], batches), sort=not ordered)
        provenance = {
            "kind": "sql",
            "database": _shown(connection.engine.url),
            "query": self.given.query,
            "order": "query" if ordered else "all columns",
            "columns": {field.name: str(field.type) for field in reader.schema},
            "identity": identity,
        }
        return Delivery(reader, provenance)

    def _refusal(self, where: str, error: SQLAlchemyError, url: URL) -> SourceError:
        queries = "source.query" + (" or source.version" if self.given.version is not None else "")
        found = _without_secrets(" ".join(str(getattr(error, "orig", None) or error).split()), url)
        advice = (what for how, what in _ADVICE if re.search(how, f"{sqlstate(error)} {found}".lower()))
        todo = next(advice, "Mend source.url or {queries}.").format(queries=queries)
        return refusal(
            where, f"an answer to {queries}", f"an error: {found[:500].rstrip('.')}", todo, transient=transient(error)
        )


def has_order(query: str) -> bool:
    """Whether ``query`` itself orders its rows, and not just a part of it in parentheses.

    >>> has_order("SELECT * FROM t ORDER BY id"), has_order("SELECT row_number() OVER (ORDER BY id) FROM t")
    (True, False)
    """
    rest = _TEXTS_AND_COMMENTS.sub(" ", query)
    while rest != (outer := _INNERMOST_PARENTHESES.sub(" ", rest)):
        rest = outer
    return re.search(r"\border\s+by\b", rest, re.IGNORECASE) is not None


def _address(given: str) -> URL:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise refusal(
            "source.url", "an address such as postgresql://user:password@host:5432/database", "a text that is none",
            "Mend it, or the variable that it comes from.",
        ) from None  # fmt: skip
    file = url.database or ""
    if url.get_backend_name() == "sqlite" and not file.startswith((":memory:", "file:")) and not Path(file).is_file():
        # SQLite would make an empty database there.
        raise refusal(_shown(url), f"a database at {file!r}", "no such file", "Put it there, or mend source.url.")
    return url


def _shown(url: URL) -> str:
    secrets = {name: "***" for name in url.query if _SECRET.search(name)}
    shown: str = url.update_query_dict(secrets).render_as_string(hide_password=True)
    return shown.replace("%2A%2A%2A", "***")


def _without_secrets(told: str, url: URL) -> str:
    secrets = [url.password or "", *(str(value) for name, value in url.query.items() if _SECRET.search(name))]
    # Three letters stand in any text, and are no secret.
    for secret in (secret for secret in secrets if len(secret) > 3):
        for written in {secret, quote(secret, safe=""), quote_plus(secret)}:
            told = told.replace(written, "***")
    return told


@contextmanager
def _transaction(url: URL) -> Iterator[Connection]:
    """A transaction that can't write, where the database has such; nothing of it stays open."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            match engine.dialect.name:
                case "postgresql":
                    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                case "sqlite":
                    connection.exec_driver_sql("PRAGMA query_only = ON")
                    connection.exec_driver_sql("BEGIN")
                case "mysql" | "mariadb":
                    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            yield connection
    finally:
        engine.dispose()


def _engine(url: URL) -> Engine:
    # A driver parses JSON into floats; its text is what was received.
    options: dict[str, Any] = {"json_deserializer": str} if url.get_backend_name() == "postgresql" else {}
    try:
        return create_engine(url, poolclass=NullPool, **options)
    except ModuleNotFoundError as error:
        missing = str(error.name)
    except NoSuchModuleError:
        missing = url.drivername
    package = PACKAGES.get(missing.split(".")[0], missing)
    raise refusal(
        _shown(url), f"a driver for {url.drivername}", f"that {missing} isn't installed",
        f"Install it (pip install {package!r}), or mend source.url.",
    )  # fmt: skip


def _statement(query: str, month: Month, key: str) -> tuple[TextClause, dict[str, date]]:
    given = dict(zip(PARAMETERS, (month.first_day, (month + 1).first_day), strict=True))
    clause = text(query)
    named = clause.compile().params.keys()
    if unknown := sorted(set(named) - set(PARAMETERS)):
        raise refusal(
            key, "the parameters :month_start and :month_end", f":{', :'.join(unknown)}",
            "A colon that begins no parameter is written \\:.",
        )  # fmt: skip
    used = {name: value for name, value in given.items() if name in named}
    return clause.bindparams(*(bindparam(name, type_=Date()) for name in used)), used


def _names(result: CursorResult[Any]) -> list[str]:
    if not result.returns_rows:
        raise refusal("source.query", "a SELECT", "a statement that returns no rows", "Mend source.query.")
    names = list(result.keys())
    check_names("source.query", names)
    return names
