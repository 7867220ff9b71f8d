from __future__ import annotations

import errno
import logging
import socket
import sqlite3
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from churn_assets.errors import SourceError
from churn_assets.sources.retrying import LONGEST_ASKED_WAIT, asked_wait, retrying, sqlstate, status_of, transient
from churn_assets_tests.api import Answer, running_api

NOW = 1_700_000_000.0


class Flapping:
    """Fails with each of ``errors`` in turn, and then is well."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "well"


def tried(call: Callable[[], str], attempts: int = 5) -> tuple[str | BaseException, list[float]]:
    waits: list[float] = []
    try:
        return retrying(call, "the API", attempts, sleep=waits.append, now=lambda: NOW), waits
    except BaseException as error:
        return error, waits


def raised(call: Callable[[], Any], kind: type[BaseException] = Exception) -> BaseException:
    with pytest.raises(kind) as error:
        call()
    return error.value


def status(code: int, **headers: str) -> BaseException:
    """What requests raises upon a real answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with running_api(at=lambda _: Answer(b"x", code, named)) as api:
        return raised(lambda: requests.get(f"{api.url}/at", timeout=5).raise_for_status(), requests.HTTPError)


class TestRetrying:
    def test_ends_with_the_first_success(self) -> None:
        call = Flapping(ConnectionResetError(), TimeoutError())
        assert tried(call)[0] == "well"
        assert call.calls == 3

    def test_waits_twice_as_long_each_time_but_not_for_ever(self) -> None:
        waits = tried(Flapping(*(ConnectionResetError() for _ in range(9))), attempts=10)[1]
        for wait, least in zip(waits, (0.5, 1, 2, 4, 8, 16, 30, 30, 30), strict=True):
            assert least <= wait <= least + 0.5

    def test_gives_the_last_error_as_it_is(self) -> None:
        errors = [ConnectionResetError(number) for number in range(3)]
        found, waits = tried(Flapping(*errors), attempts=3)
        assert found is errors[2]
        assert len(waits) == 2

    @pytest.mark.parametrize(
        "error", [PermissionError(13, "no"), ValueError(), SourceError("told"), KeyboardInterrupt()]
    )
    def test_gives_an_error_for_good_at_once(self, error: BaseException) -> None:
        call = Flapping(error)
        assert tried(call) == (error, [])
        assert call.calls == 1

    def test_waits_for_as_long_as_the_server_asks_to(self) -> None:
        found, waits = tried(Flapping(status(429, Retry_After="17"), status(503, Retry_After="0")))
        assert found == "well"
        assert waits[0] == 17
        assert 1 <= waits[1] <= 1.5

    def test_does_not_wait_for_hours(self) -> None:
        error = status(429, Retry_After=str(LONGEST_ASKED_WAIT + 1))
        assert tried(Flapping(error)) == (error, [])

    def test_tells_the_log_but_not_the_errors_text(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        tried(Flapping(status(503), ConnectionRefusedError("http://h/?key=secret")), attempts=4)
        first, second = (record.getMessage() for record in caplog.records)
        assert first.startswith("the API: attempt 1 of 4 failed (HTTPError 503); the next one in ")
        assert second.startswith("the API: attempt 2 of 4 failed (ConnectionRefusedError); the next one in 1.")
        assert "secret" not in caplog.text


class TestTransient:
    @pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
    def test_is_a_status_that_passes(self, code: int) -> None:
        assert transient(status(code))

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 422, 501])
    def test_is_no_status_that_stays(self, code: int) -> None:
        assert not transient(status(code))

    def test_is_a_rate_limit_that_calls_itself_forbidden(self) -> None:
        assert transient(status(403, Retry_After="3"))
        assert transient(status(403, X_RateLimit_Remaining="0"))
        assert not transient(status(403, X_RateLimit_Remaining="7"))

    def test_is_a_network_that_is_away(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = f"http://127.0.0.1:{server.getsockname()[1]}"
            slow = raised(lambda: requests.get(closed, timeout=0.05))
        assert transient(slow), "nobody answers there"
        for call in (
            lambda: requests.get(closed, timeout=5), lambda: urllib.request.urlopen(closed, timeout=5),
            lambda: requests.get("http://no-such-host.invalid", timeout=5),
            lambda: socket.create_connection(("no-such-host.invalid", 80)),
        ):  # fmt: skip
            assert transient(raised(call))
        assert transient(OSError(errno.EHOSTUNREACH, "no route"))

    @pytest.mark.parametrize("client", ["httpx", "httpx2"])
    def test_is_a_connection_that_is_refused_whatever_the_client(self, client: str) -> None:
        get = pytest.importorskip(client).get
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert transient(raised(lambda: get(closed)))

    def test_is_an_answer_that_breaks_off(self) -> None:
        with running_api(at=lambda _: Answer(b"long enough", cut=3)) as api:
            assert transient(raised(lambda: requests.get(f"{api.url}/at", timeout=5)))
            assert transient(raised(lambda: urllib.request.urlopen(f"{api.url}/at", timeout=5).read()))

    def test_is_no_certificate_and_no_address_that_is_wrong(self) -> None:
        assert not transient(raised(lambda: requests.get("nowhere", timeout=5)))
        assert not transient(requests.exceptions.SSLError("certificate verify failed"))
        assert not transient(ssl.SSLCertVerificationError("certificate verify failed"))

    def test_is_no_file_that_is_missing_and_no_disk_that_is_full(self, tmp_path: Path) -> None:
        assert not transient(raised(lambda: (tmp_path / "none").read_text()))
        assert not transient(OSError(errno.ENOSPC, "full"))

    def test_hangs_on_the_cause_where_a_client_wraps_it(self) -> None:
        class ClientError(Exception):
            """As botocore's has it."""

            def __init__(self, code: int) -> None:
                self.response = {"ResponseMetadata": {"HTTPStatusCode": code, "HTTPHeaders": {"retry-after": "3"}}}

        def wrapped(code: int) -> OSError:
            error = OSError("a file system's own words")
            error.__cause__ = ClientError(code)
            return error

        assert (transient(wrapped(503)), transient(wrapped(403)), transient(wrapped(404))) == (True, True, False)
        assert (asked_wait(wrapped(503), NOW), status_of(ClientError(503))) == (3, 503)


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_a_status_is_told_without_asking_for_what_is_deprecated() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    for code in (403, 404, 503):
        assert status_of(aiohttp.ClientResponseError(None, (), status=code)) == code


class TestTransientDatabase:
    def asked(self, path: Path, query: str) -> BaseException:
        engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
        with engine.connect() as connection:
            return raised(lambda: connection.execute(sa.text(query)), sa.exc.OperationalError)

    def test_is_one_that_is_locked(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "x.db") as other:
            other.execute("CREATE TABLE t (a)")
            other.commit()
            other.execute("BEGIN EXCLUSIVE")
            assert transient(self.asked(tmp_path / "x.db", "SELECT * FROM t"))

    @pytest.mark.parametrize("query", ["SELECT * FROM nowhere", "SELEC 1"])
    def test_is_no_question_that_is_wrong(self, tmp_path: Path, query: str) -> None:
        assert not transient(self.asked(tmp_path / "x.db", query))

    @pytest.mark.parametrize(("code", "passes"), [
        ("08006", True), ("08001", True), ("57P01", True), ("57P03", True), ("53300", True), ("40001", True),
        ("40P01", True), ("HYT00", True), ("08P01", False), ("28P01", False), ("42601", False), ("57014", False),
        ("53100", False),
    ])  # fmt: skip
    def test_hangs_on_the_code_that_it_tells(self, code: str, passes: bool) -> None:
        error = sa.exc.OperationalError("SELECT 1", {}, Exception(code, "words"))
        assert (sqlstate(error), transient(error)) == (code, passes)

    @pytest.mark.parametrize(("told", "passes"), [
        (Exception(2003, "Can't connect"), True), (Exception(1045, "Access denied"), False),
        (Exception("server closed the connection unexpectedly"), True),
        (Exception('could not translate host name "h" to address'), True),
        (Exception("FATAL: the database system is starting up"), True),
        (Exception('FATAL: password authentication failed for user "u"'), False),
        (Exception('FATAL: database "d" does not exist'), False),
    ])  # fmt: skip
    def test_hangs_on_the_words_where_there_is_no_code(self, told: Exception, passes: bool) -> None:
        assert transient(sa.exc.OperationalError(None, None, told)) == passes
        assert not transient(sa.exc.ProgrammingError(None, None, told)), "it was asked, and answered"

    def test_is_any_connection_that_was_lost(self) -> None:
        assert transient(sa.exc.DBAPIError("SELECT 1", {}, Exception("words"), connection_invalidated=True))


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"Retry_After": "7"}, 7.0), ({"Retry_After": formatdate(NOW + 60, usegmt=True)}, 60.0),
    ({"Retry_After": formatdate(NOW - 60, usegmt=True)}, 0.0), ({"Retry_After": "soon"}, None),
    ({"X_RateLimit_Reset": "9"}, 9.0), ({"X_RateLimit_Reset": str(NOW + 30)}, 30.0), ({}, None),
    ({"Retry_After": "7", "X_RateLimit_Reset": "9"}, 7.0),
])  # fmt: skip
def test_a_server_may_ask_to_wait_for_seconds_or_until_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(status(429, **headers), NOW) == seconds


def test_no_client_is_loaded_to_tell_its_errors() -> None:
    code = (
        "import sys\n"
        "from churn_assets.sources.retrying import retrying\n"
        "retrying(lambda: 1, 'x')\n"
        "print({'requests', 'sqlalchemy', 'urllib3', 'httpx', 'botocore', 'aiohttp'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
