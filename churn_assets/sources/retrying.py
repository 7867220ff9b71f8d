"""Calling what may be unreachable for a while, again and again, but only while waiting can help."""

from __future__ import annotations

import errno
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from churn_assets.errors import ChurnAssetsError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

GATE: ContextVar[Callable[[], None] | None] = ContextVar("gate", default=None)
"""Called before anything is asked that may be unreachable; what it raises keeps that from being asked."""

IN_A_HURRY: ContextVar[bool] = ContextVar("in a hurry", default=False)
"""Set where nobody can wait for a second attempt."""

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_ASKED_WAIT = 900.0
"""Seconds that a server may ask to wait for; whoever asks for more gets the error instead of a blocked run."""

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

_TRANSIENT_ERRNO = frozenset({
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.ENETUNREACH,
    errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN,
})  # fmt: skip

# Told by name: a client that isn't installed can't have raised anything, and none must be imported to find out.
_PERMANENT = frozenset({
    "SSLError", "SSLCertVerificationError", "ClientConnectorCertificateError", "ClientSSLError", "AuthenticationError",
    "AuthorizationError",
})  # fmt: skip
_TRANSIENT = {
    "requests": {"ConnectionError", "Timeout", "ChunkedEncodingError"},
    "urllib3": {"ProtocolError", "TimeoutError", "NewConnectionError", "NameResolutionError", "MaxRetryError"},
    "http": {"IncompleteRead"},
    "httpx": {"TransportError"},
    "httpx2": {"TransportError"},
    "httpcore": {"NetworkError", "TimeoutException", "ProtocolError"},
    "httpcore2": {"NetworkError", "TimeoutException", "ProtocolError"},
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "botocore": {
        "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
        "ConnectionError", "HTTPClientError", "ResponseStreamingError",
    },
    "redis": {"ConnectionError", "TimeoutError"},
}  # fmt: skip

# Classes 08 (connection), 40 (serialization, deadlock) and 57P (shut down, starting up) pass; so does a full server.
_TRANSIENT_SQLSTATE = re.compile(r"08(?!P01|004)...|40001|40P01|57P0[123]|53300|HYT0[01]")
_TRANSIENT_MYSQL = frozenset({1040, 1053, 1205, 1213, 2002, 2003, 2005, 2006, 2013, 2055})
_TRANSIENT_SQLITE = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})
# While no connection stands, drivers tell what happened by nothing but a text.
_TRANSIENT_TEXT = re.compile(
    r"connection (was )?(refused|reset|timed out|aborted|closed)|closed the connection|server has gone away"
    r"|time(d)? ?out|could not translate host name|name or service not known|name resolution|unknown (mysql )?host"
    r"|is the server running|broken pipe|network is unreachable|no route to host|too many (clients|connections)"
    r"|remaining connection slots|is (starting up|shutting down|in recovery)|database is locked"
)


def retrying(
    call: Callable[[], T],
    what: str,
    attempts: int = 5,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> T:
    """What ``call()`` returns, tried up to ``attempts`` times while its errors are ``transient``.

    Waits twice as long each time (0.5 s at first, 30 s at the most, with jitter), or for as long as a server asks to.

    Args:
        call: is called anew for each attempt, so it must leave nothing behind when it fails.
        what: whom the log says that the wait is for, without secrets.
        attempts: how often ``call`` is called at the most.
        sleep: waits for that many seconds.
        now: the time, in seconds since 1970; a server may ask to wait until a date.

    Raises:
        Exception: whatever ``call`` raised, unchanged: at the last attempt, or for good; or what the ``GATE`` raised.
    """
    if gate := GATE.get():
        gate()
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    backoff = wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT) + wait_random(0, FIRST_WAIT)

    def wait(state: RetryCallState) -> float:
        return max(backoff(state), asked_wait(_error(state), now()) or 0.0)

    def worth_it(error: BaseException) -> bool:
        return transient(error) and (asked_wait(error, now()) or 0.0) <= LONGEST_ASKED_WAIT

    def log(state: RetryCallState) -> None:
        logging.getLogger(__name__).warning(
            "%s: attempt %d of %d failed (%s); the next one in %.1f s.",
            what, state.attempt_number, attempts, _name(_error(state)), state.upcoming_sleep,
        )  # fmt: skip

    return Retrying(
        stop=stop_after_attempt(1 if IN_A_HURRY.get() else attempts),
        wait=wait,
        retry=retry_if_exception(worth_it),
        before_sleep=log,
        sleep=sleep,
        reraise=True,
    )(call)


def transient(error: BaseException) -> bool:
    """Whether the call that raised ``error`` may succeed by and by, with nobody doing anything.

    >>> transient(ConnectionRefusedError()), transient(FileNotFoundError())
    (True, False)
    """
    verdicts = (_verdict(cause) for cause in _causes(error))
    return next((verdict for verdict in verdicts if verdict is not None), False)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that ``error`` carries, whichever client raised it."""
    found = (status for status in _statuses(error) if isinstance(status, int) and 100 <= status < 600)
    return next(found, None)


def _statuses(error: BaseException) -> Iterator[Any]:
    """What may be a status, one by one: where aiohttp has told one, asking for its ``code`` too is deprecated."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        yield (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    else:
        yield from (getattr(response, name, None) for name in ("status_code", "status"))
    yield from (getattr(error, name, None) for name in ("status_code", "status", "code"))


def asked_wait(error: BaseException, now: float) -> float | None:
    """The seconds that the server asks to wait: ``Retry-After``, or ``X-RateLimit-Reset`` once nothing remains."""
    for cause in _causes(error):
        headers = _headers(cause)
        if "retry-after" in headers:
            return _seconds(headers["retry-after"], now)
        if status_of(cause) in (403, 429):
            reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset")
            return _seconds(reset, now) if reset else None
    return None


def _seconds(given: str, now: float) -> float | None:
    try:
        number = float(given)
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(given).timestamp() - now)
        except ValueError:
            return None
    # No server asks to wait for thirty years: such a number is a point in time.
    return max(0.0, number - now if number > 1e9 else number)


def _headers(error: BaseException) -> dict[str, str]:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        headers = (response.get("ResponseMetadata") or {}).get("HTTPHeaders")
    else:
        headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    items = headers.items() if headers is not None and hasattr(headers, "items") else ()
    return {str(name).lower(): str(value) for name, value in items}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error``, and what it was raised from: clients of clouds wrap what happened into errors of files."""
    seen: set[int] = set()
    found: Any = error
    while isinstance(found, BaseException) and id(found) not in seen:
        seen.add(id(found))
        yield found
        reason = getattr(found, "reason", None)
        found = found.__cause__ or (reason if isinstance(reason, BaseException) else None)


def _verdict(error: BaseException) -> bool | None:
    """Whether ``error`` is transient; None if that hangs on its cause."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ChurnAssetsError) or names & _PERMANENT or "certificate verify failed" in str(error).lower():
        return False
    # SQLAlchemy's, or those of a driver that is used without it.
    if any(hasattr(error, name) for name in ("connection_invalidated", "pgcode", "sqlite_errorname")):
        return _database_verdict(error, names)
    if (status := status_of(error)) is not None:
        return status in TRANSIENT_STATUS or (status == 403 and _is_rate_limit(error))
    if any(kind.__name__ in _TRANSIENT.get(kind.__module__.partition(".")[0], ()) for kind in type(error).__mro__):
        return True
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _TRANSIENT_ERRNO or None
    return None


def _is_rate_limit(error: BaseException) -> bool:
    headers = _headers(error)
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"


def _database_verdict(error: BaseException, names: set[str]) -> bool:
    if getattr(error, "connection_invalidated", False):
        return True
    if not names & {"OperationalError", "InterfaceError", "InternalError"}:
        return False
    origin = getattr(error, "orig", error)
    if (state := sqlstate(error)) is not None:
        return _TRANSIENT_SQLSTATE.fullmatch(state) is not None
    if isinstance(code := next(iter(getattr(origin, "args", ())), None), int):
        return code in _TRANSIENT_MYSQL
    if (name := getattr(origin, "sqlite_errorname", None)) is not None:
        return name in _TRANSIENT_SQLITE
    return _TRANSIENT_TEXT.search(str(origin).lower()) is not None


def sqlstate(error: BaseException) -> str | None:
    """The five characters by which SQL classes an error of a database, if its driver tells them."""
    origin = getattr(error, "orig", error)
    told = [getattr(origin, name, None) for name in ("pgcode", "sqlstate")] + list(getattr(origin, "args", ()))[:1]
    return next((code for code in told if isinstance(code, str) and re.fullmatch("[0-9A-Z]{5}", code)), None)


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None, "only a failed attempt is waited for"
    return error


def _name(error: BaseException) -> str:
    """The error's class and status, never its text: an address in it may hold a secret."""
    status = status_of(error)
    return type(getattr(error, "orig", None) or error).__name__ + (f" {status}" if status else "")
