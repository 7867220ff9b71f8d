from __future__ import annotations

import logging
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources.sql import SqlSource, has_order
from churn_assets.spec import SqlSourceSpec
from churn_assets_tests.postgres import PASSWORD, Postgres, running_postgres

JAN, FEB, DEC = Month(2024, 1), Month(2024, 2), Month(2024, 12)
ROWS = "SELECT * FROM usage WHERE day >= :month_start AND day < :month_end"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        server.execute(
            "CREATE TABLE usage (id int, day date, charge numeric(10, 2))",
            "INSERT INTO usage VALUES (1, '2024-01-01', 1.50), (2, '2024-01-31', NULL), (3, '2024-02-01', 3.00), "
            "(4, '2024-12-31', 4.00)",
        )
        yield server


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "base.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE usage (id INTEGER, day DATE, charge)")
        connection.executemany(
            "INSERT INTO usage VALUES (?, ?, ?)",
            [(1, "2024-01-01", 1.5), (2, "2024-01-31", None), (3, "2024-02-01", "free")],
        )
    return f"sqlite:///{path}"


def source(url: str, query: str = ROWS, **more: Any) -> SqlSource:
    return SqlSource(SqlSourceSpec(type="sql", url=url, query=query, attempts=more.pop("attempts", 1), **more))


def rows(given: SqlSource, month: Month = JAN) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = given.read(month).batches.read_all().to_pylist()
    return found


def refused(given: SqlSource, month: Month = JAN, transient: bool = False) -> str:
    with pytest.raises(SourceError) as error:
        given.read(month)
    assert error.value.__cause__ is None
    assert error.value.transient == transient
    assert str(error.value).endswith("Nothing was ingested.")
    assert PASSWORD not in str(error.value)
    return str(error.value)


class TestAMonth:
    def test_begins_with_its_first_day_and_ends_before_the_next_months(self, postgres: Postgres, sqlite: str) -> None:
        for url in (postgres.as_reader(), sqlite):
            assert [row["id"] for row in rows(source(url))] == [1, 2]
            assert [row["id"] for row in rows(source(url), FEB)] == [3]
        assert [row["id"] for row in rows(source(postgres.as_reader()), DEC)] == [4]

    def test_without_rows_has_the_columns_still(self, postgres: Postgres) -> None:
        table = source(postgres.as_reader()).read(Month(2023, 1)).batches.read_all()
        assert (table.num_rows, table.column_names) == (0, ["id", "day", "charge"])

    def test_says_where_it_came_from(self, postgres: Postgres) -> None:
        delivery = source(postgres.as_reader(sslmode="disable")).read(JAN)
        shown = delivery.provenance.pop("database")
        assert shown.startswith("postgresql://reader:***@/postgres?host=")
        assert delivery.provenance == {
            "kind": "sql", "query": ROWS, "order": "all columns", "identity": None,
            "columns": {"id": "int64", "day": "date32[day]", "charge": "string"},
        }  # fmt: skip

    @pytest.mark.parametrize("batch_rows", [1, 2, 3, 1000])
    def test_is_the_same_whatever_is_fetched_at_a_time(self, sqlite: str, batch_rows: int) -> None:
        given = source(sqlite, "SELECT id, charge FROM usage ORDER BY id", batch_rows=batch_rows)
        assert rows(given) == [{"id": 1, "charge": "1.5"}, {"id": 2, "charge": None}, {"id": 3, "charge": "free"}]

    def test_needs_no_parameter(self, sqlite: str) -> None:
        assert rows(source(sqlite, "SELECT count(*) AS n, '10:30' AS at FROM usage")) == [{"n": 3, "at": "10:30"}]


class TestValues:
    def test_of_postgres_keep_what_they_say(self, postgres: Postgres) -> None:
        query = """
            SELECT 7::bigint AS big, 0.1::float8 AS share, true AS yes, 12345678901234567890.1200::numeric AS exact,
                   '2024-01-31'::date AS day, '2024-01-31 10:00'::timestamp AS local,
                   '2024-01-31 10:00+05:30'::timestamptz AS moment,
                   '00000000-0000-0000-0000-000000000001'::uuid AS uuid, '{"a": 1.10}'::json AS json,
                   '{"b":[1,null]}'::jsonb AS jsonb, ARRAY[1, NULL] AS list, '\\xdead'::bytea AS bytes,
                   '1 day 02:00'::interval AS span, NULL AS nothing, 'a%b' AS percent, numeric 'NaN' AS nan
        """
        assert rows(source(postgres.as_reader(), query)) == [{
            "big": 7, "share": 0.1, "yes": True, "exact": "12345678901234567890.1200",
            "day": date(2024, 1, 31), "local": datetime(2024, 1, 31, 10),
            "moment": datetime(2024, 1, 31, 4, 30, tzinfo=UTC),
            "uuid": "00000000-0000-0000-0000-000000000001", "json": '{"a": 1.10}',
            "jsonb": '{"b": [1, null]}', "list": "[1, null]", "bytes": "dead",
            "span": "1 day, 2:00:00", "nothing": None, "percent": "a%b", "nan": "NaN",
        }]  # fmt: skip

    def test_that_python_has_no_room_for_are_refused(self, postgres: Postgres) -> None:
        with pytest.raises(SourceError, match=r"room for.*year.*Cast its column to text.*Nothing was ingested"):
            source(postgres.as_reader(), "SELECT '0044-03-15 BC'::date AS day").read(JAN)


class TestOrder:
    def test_is_the_querys_own(self, postgres: Postgres) -> None:
        given = source(postgres.as_reader(), "SELECT id FROM usage ORDER BY id DESC", batch_rows=2)
        assert [row["id"] for row in rows(given)] == [4, 3, 2, 1]
        assert given.read(JAN).provenance["order"] == "query"

    def test_without_one_hangs_on_nothing_but_the_rows(self, postgres: Postgres) -> None:
        postgres.execute("CREATE TABLE loose AS SELECT i % 3 AS a, i AS b FROM generate_series(1, 10) i")
        before = source(postgres.as_reader(), "SELECT * FROM loose").read(JAN).batches.read_all()
        # An update puts a row to the end of the table, and changes nothing here.
        postgres.execute("UPDATE loose SET b = b WHERE b < 5")
        with_order_by_place = source(postgres.as_reader(), "SELECT * FROM loose ORDER BY ctid")
        assert [row["b"] for row in rows(with_order_by_place)] == [5, 6, 7, 8, 9, 10, 1, 2, 3, 4]
        after = source(postgres.as_reader(), "SELECT * FROM loose").read(JAN).batches.read_all()
        assert after.equals(before)
        assert after.to_pydict() == {"a": [0, 0, 0, 1, 1, 1, 1, 2, 2, 2], "b": [3, 6, 9, 1, 4, 7, 10, 2, 5, 8]}

    @pytest.mark.parametrize(("query", "ordered"), [
        ("select 1 ORDER\n BY 1", True),
        ("WITH t AS (SELECT 1 a ORDER BY 1) SELECT * FROM t", False),
        ("WITH t AS (SELECT (1) a) SELECT * FROM t ORDER BY (a)", True),
        ("SELECT sum(x) OVER (PARTITION BY (y) ORDER BY z) FROM t", False),
        ("SELECT 'x order by' FROM t", False),
        ("SELECT 'it''s' FROM t ORDER BY ')'", True),
        ("SELECT \"order by\" FROM t -- ORDER BY 1", False),
        ("SELECT 1 /* ORDER BY\n 1 */", False),
        ("SELECT $q$ ORDER BY $q$", False),
        ("SELECT reorder by_ FROM t", False),
    ])  # fmt: skip
    def test_is_told_from_one_of_a_part(self, query: str, ordered: bool) -> None:
        assert has_order(query) == ordered


class TestIdentity:
    VERSION = "SELECT count(*), max(charge) FROM usage WHERE day >= :month_start AND day < :month_end"

    def test_is_unknown_without_a_version(self, sqlite: str) -> None:
        assert source(sqlite).identity(JAN) is None

    def test_is_a_months_own(self, sqlite: str) -> None:
        given = source(sqlite, version="SELECT 'always the same'")
        assert given.identity(JAN) != given.identity(FEB)
        assert given.identity(JAN) == given.identity(JAN)

    def test_changes_with_the_months_rows_only(self, postgres: Postgres) -> None:
        postgres.execute("CREATE TABLE changing AS SELECT * FROM usage")
        given = source(
            postgres.as_reader(), ROWS.replace("usage", "changing"), version=self.VERSION.replace("usage", "changing")
        )
        before = given.identity(JAN), given.identity(FEB)
        assert before[0] != before[1]
        postgres.execute("INSERT INTO changing VALUES (9, '2024-02-03', 9.00)")
        assert given.identity(JAN) == before[0] == given.read(JAN).provenance["identity"]
        assert given.identity(FEB) == given.read(FEB).provenance["identity"] != before[1]

    def test_hangs_on_the_query_but_not_on_the_password(self, postgres: Postgres) -> None:
        queries = (ROWS, ROWS + " ")
        one, other = (source(postgres.as_reader(), query, version=self.VERSION).identity(JAN) for query in queries)
        assert one != other
        postgres.execute("CREATE ROLE other LOGIN PASSWORD 'one' IN ROLE pg_read_all_data")
        url = postgres.url.set(username="other", password="one")
        first = source(url.render_as_string(False), version=self.VERSION).identity(JAN)
        postgres.execute("ALTER ROLE other PASSWORD 'two'")
        second = source(url.set(password="two").render_as_string(False), version=self.VERSION).identity(JAN)
        assert first == second

    def test_and_the_rows_are_of_one_point_in_time(self, postgres: Postgres) -> None:
        """The version is slow, and a row is added meanwhile: the rows that are read after it don't have it."""
        postgres.execute("CREATE TABLE moving (id int)")
        given = source(
            postgres.as_reader(application_name="mover"), "SELECT * FROM moving",
            version="SELECT count(*), pg_sleep(0.5) FROM moving",
        )  # fmt: skip
        adding = threading.Timer(0.25, postgres.execute, ["INSERT INTO moving VALUES (1)"])
        adding.start()
        assert rows(given) == []
        adding.join()
        assert rows(given) == [{"id": 1}]


class TestRefused:
    def test_a_wrong_password(self, postgres: Postgres) -> None:
        told = refused(source(postgres.as_reader("wr0ng-one"), attempts=5))
        assert "reader:***@" in told
        assert "wr0ng-one" not in told
        assert 'password authentication failed for user "reader". Check the user and the password' in told

    def test_a_secret_in_the_address(self, sqlite: str) -> None:
        told = refused(source(f"postgresql://u:{'hid/den'.replace('/', '%2F')}@127.0.0.1:1/d?sslpassword=hush&x=1"))
        assert "hid" not in told
        assert "hush" not in told

    def test_a_secret_in_the_databases_own_words(self, postgres: Postgres) -> None:
        told = refused(source(postgres.as_reader(), f"SELECT '{PASSWORD}'::int"))
        assert 'invalid input syntax for type integer: "***"' in told

    def test_an_unknown_host(self) -> None:
        told = refused(source("postgresql://u:p@no-such-host.invalid/d"), transient=True)
        assert "no-such-host.invalid" in told
        assert "Check the host's name in source.url." in told

    def test_a_port_that_nobody_listens_on(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        told = refused(source(f"postgresql://u:p@127.0.0.1:{port}/d"), transient=True)
        assert "Connection refused" in told
        assert "Check that the database runs at the host and port" in told

    @pytest.mark.parametrize(("query", "told"), [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT wrong FROM usage", 'column "wrong" does not exist'),
        ("SELEC * FROM usage", "syntax error"),
        ("SELECT 1 AS x, 2 AS y, 3 AS x", "expected each column once, found twice: 'x'"),
        ("SELECT 1 AS id, 'a' AS _file", "found the name '_file', which the platform uses itself"),
        ("SELECT * FROM usage WHERE day > :since", "found :since. A colon that begins no parameter is written \\:"),
        ("DELETE FROM usage", "syntax error"),
        ("SELECT 1; DELETE FROM usage", "read-only transaction. Give a SELECT"),
        ("SELECT 1 / (id - 1) FROM usage", "division by zero"),
    ])  # fmt: skip
    def test_a_wrong_query(self, postgres: Postgres, query: str, told: str) -> None:
        assert told in refused(source(postgres.as_reader(), query))
        postgres.execute("SELECT 1 / count(*) FROM usage")

    def test_a_database_that_does_not_exist(self, postgres: Postgres) -> None:
        url = postgres.url.set(database="elsewhere").render_as_string(False)
        assert 'database "elsewhere" does not exist. Check the database\'s name' in refused(source(url))

    def test_a_table_that_may_not_be_read(self, postgres: Postgres) -> None:
        postgres.execute("CREATE ROLE nobody LOGIN PASSWORD 'x'")
        url = postgres.url.set(username="nobody", password="x").render_as_string(False)
        assert "permission denied for table usage. Let the user read" in refused(source(url))

    def test_writing_and_what_sqlite_does_not_know(self, sqlite: str) -> None:
        assert "readonly database. Give a SELECT" in refused(source(sqlite, "DELETE FROM usage"))
        assert "no such table: nowhere. Mend the name in source.query." in refused(
            source(sqlite, "SELECT * FROM nowhere")
        )
        assert "syntax error" in refused(source(sqlite, "SELEC 1"))
        assert "found a statement that returns no rows" in refused(source(sqlite, "SAVEPOINT x"))
        told = refused(source(sqlite, version="SELECT * FROM nowhere"))
        assert "Mend the name in source.query or source.version." in told

    def test_a_file_that_is_not_there_and_is_not_made(self, tmp_path: Path) -> None:
        assert "found no such file" in refused(source(f"sqlite:///{tmp_path}/none.db"))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("url", "told"), [
        ("oracle+oracledb://u:p@h/d", "pip install 'oracledb'"),
        ("mysql://u:p@h/d", "pip install 'mysqlclient'"),
        ("snowflake://u:p@h/d", "pip install 'snowflake-sqlalchemy'"),
        ("nosuch://u:p@h/d", "pip install 'nosuch'"),
        ("s3cret/p@ss", "source.url: expected an address such as postgresql://user:password@host:5432/database"),
        ("postgresql://u:s3cret/p@ss:port/d", "source.url: expected an address"),
    ])  # fmt: skip
    def test_an_address_that_nothing_here_can_open(self, url: str, told: str) -> None:
        assert told in refused(source(url))


class TestABrokenConnection:
    @pytest.fixture
    def breaking(self, postgres: Postgres) -> Iterator[list[int]]:
        """Ends the first connection that reads slowly, half way."""
        broken: list[int] = []

        def breaks() -> None:
            while not broken:
                time.sleep(0.3)
                postgres.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'slow' AND starts_with(query, 'FETCH')"
                )
                broken.append(1)

        thread = threading.Thread(target=breaks)
        thread.start()
        yield broken
        thread.join()

    SLOW = "SELECT i, pg_sleep(0.02) IS NULL AS slept FROM generate_series(1, 40) i ORDER BY i"

    def test_is_opened_anew_and_the_month_read_from_its_beginning(
        self, postgres: Postgres, breaking: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        url = postgres.as_reader(application_name="slow")
        with caplog.at_level(logging.WARNING):
            found = rows(source(url, self.SLOW, batch_rows=5, attempts=3))
        assert [row["i"] for row in found] == list(range(1, 41))
        assert "attempt 1 of 3 failed" in caplog.text
        assert PASSWORD not in caplog.text

    def test_never_looks_like_a_shorter_month(self, postgres: Postgres, breaking: list[int]) -> None:
        url = postgres.as_reader(application_name="slow")
        told = refused(source(url, self.SLOW, batch_rows=5), transient=True)
        assert "The database ended the connection" in told


def test_a_month_is_never_in_memory_as_a_whole(postgres: Postgres) -> None:
    """Two hundred thousand rows of five hundred bytes: 100 MB as text, 460 MB where all are fetched at once."""
    code = (
        "import resource, sys\n"
        "from churn_assets.months import Month\n"
        "from churn_assets.sources.sql import SqlSource\n"
        "from churn_assets.spec import SqlSourceSpec\n"
        "def read(query):\n"
        "    spec = SqlSourceSpec(type='sql', url=sys.argv[1], query=query, batch_rows=10_000)\n"
        "    rows = sum(batch.num_rows for batch in SqlSource(spec).read(Month(2024, 1)).batches)\n"
        "    return rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "one = read(sys.argv[2].replace('200000', '10000'))\n"
        "all = read(sys.argv[2])\n"
        "print(one[0], all[0], (all[1] - one[1]) // 1024)"
    )  # fmt: skip
    query = "SELECT i, md5(i::text) || repeat('x', 468) AS t FROM generate_series(1, 200000) i ORDER BY i"
    ran = subprocess.run(
        [sys.executable, "-c", code, postgres.as_reader(), query], capture_output=True, text=True, check=True
    )
    one, every, megabytes = map(int, ran.stdout.split())
    assert (one, every) == (10_000, 200_000)
    assert megabytes < 60, f"all rows took {megabytes} MB more than a twentieth of them"
