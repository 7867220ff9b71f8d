"""What is said when the online store, or the server that holds it, can't be used; no address shows who may use it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from churn_assets.errors import OnlineStoreError
from churn_assets.sources.retrying import transient

_ADVICE = (
    (r"28p01|28000|wrongpass|noauth|password|authenticat", "Check the user and the password in online.url."),
    (r"host name|name or service|name resolution", "Check the host's name in online.url."),
    (
        r"refused|server running|time[d]? ?out|unreachable|no route",
        "Check that the server runs where online.url says, and can be reached from here.",
    ),
    (r"3d000|does not exist|db index|not an integer", "Check the database in online.url."),
    (r"42501|noperm|permission", "Let the user do this (docs/operations.md names what it needs)."),
    (r"25006|read.?only", "It may only be read: let it be written, or name the server that can be in online.url."),
    (r"oom|53100|disk is full|no space|maxmemory", "Give it room for two months' rows: both are there while loading."),
    (r"not a database|malformed", "Remove the file, then run the newest month again."),
    (r"55p03|locked", "Another load goes on; if its process hangs, end it."),
    (r"\[errno|unable to open", "Let this process write the file and its folder."),
)
_COMMAND = re.compile(r"^Command # .* of pipeline caused error: ", re.DOTALL)


def shown(url: str) -> str:
    """An address without who may use it, and without its options.

    >>> shown("redis://app:s3cret@cache.example:6379/1?ssl_keyfile=/x")
    'redis://cache.example:6379/1'
    """
    return re.sub(r"//[^/?#]*@", "//", url).partition("?")[0]


def missing_driver(url: str, package: str, extra: str) -> OnlineStoreError:
    """The error where an address needs a package that isn't installed."""
    return OnlineStoreError(
        f"online store {shown(url)}: expected the package {package}, found none. Install it: "
        f"pip install 'churn_assets[{extra}]'."
    )


def unreadable_address(url: str) -> OnlineStoreError:
    """The error where a driver can't read an address."""
    scheme = urlsplit(url).scheme
    return OnlineStoreError(
        f"online.url: expected an address such as {scheme}://user:password@host:1234/name, found one that can't be "
        "read. Mend it, or the variable that it comes from; blanks and /@:?#%[] in a password are written as %20 and "
        "so on."
    )


def refusal(place: Path | str, error: Exception, url: str | None) -> OnlineStoreError:
    """The error that says what a driver's means, and what to do."""
    told = _without_secrets(" ".join(_COMMAND.sub("", str(error)).split()), url)
    known = f"{getattr(error, 'pgcode', None) or ''} {told}".lower()
    todo = next((todo for how, todo in _ADVICE if re.search(how, known)), "See its log, then run the month again.")
    return OnlineStoreError(
        f"online store {place}: expected an answer, found an error: {told[:300].rstrip('.')}. {todo}",
        transient=transient(error),
    )


def _without_secrets(told: str, url: str | None) -> str:
    parts = urlsplit(url or "")
    written = {parts.password or "", *re.findall(r"password=([^&]*)", parts.query)} - {""}
    for secret in written | {unquote(text) for text in written}:
        told = told.replace(secret, "***")
    return told
