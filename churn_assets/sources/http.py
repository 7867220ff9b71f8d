"""A month's rows from a JSON API."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urljoin, urlsplit, urlunsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.formats import check_names, excerpt, refusal
from churn_assets.sources.formats.documents import decoded, flattened, path_to_rows, rows_in
from churn_assets.sources.records import stream
from churn_assets.sources.retrying import LONGEST_ASKED_WAIT, asked_wait, retrying, transient
from churn_assets.spec import HttpSourceSpec
from churn_assets.spec.source import CursorPaging, LinkPaging, NoPaging, PagePaging, Paging, filled

MOST_PAGES = 100_000
MOST_ALIKE = 100
"""Pages of one and the same single row: records without an id may be equal, and a few more questions cost little."""

MOST_REDIRECTS = 10

LATELY = timedelta(minutes=1)
"""Before an answer is given; what changed then may change again within the same second."""

_NO_LIST = "Check that source.url is the address of a list of rows."

_SECRET = re.compile(r"pass|pwd|secret|token|key|auth|sig|credential", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(rf"([?&][^=&\s]*(?:{_SECRET.pattern})[^=&\s]*=)[^&\s'\")]*", re.IGNORECASE)
_OPEN_HEADERS = {"accept", "accept-language", "content-type", "user-agent"}


@dataclass(frozen=True)
class HttpSource:
    """An API that answers with JSON, at once or in pages.

    Each record is a row: its values are kept as they are written, as text; nested objects become columns by dotted
    names, and lists stay JSON. A month is delivered once its last page was received; if a page can't be had, nothing
    is. A page is held in memory as a whole.

    Numbered pages end with the first empty one. A 404 is an error and no end: whatever else made a server say so half
    way would cut the month off unseen, and APIs that end with it (Django's, for one) give the next page's address as
    well. Several rows that were on a page before are an error too, since an API that doesn't know the page's parameter
    answers with the first page for ever.

    The token and the headers go to the origin (scheme, host and port) of ``url`` only: where an answer or a redirect
    leads elsewhere, it is followed without them.

    Attributes:
        given: the section ``source``.
    """

    given: HttpSourceSpec

    def identity(self, month: Month) -> str | None:
        """A hash of the address and of what the API says of the content there; None if only reading tells.

        A strong ETag, or a Last-Modified that lies a minute back, changes with the content of one answer. Of several
        pages, none of them says that the others are unchanged.

        Raises:
            SourceError: as ``read``.
        """
        if not isinstance(self.given.paging, NoPaging):
            return None
        with requests.Session() as session:
            api = _Api(self.given, month, session)
            address = api.address(_params(self.given, month))
            said = _validator(api.headers(address))
        return said and hashlib.sha256(json.dumps([api.shown(address), said]).encode()).hexdigest()

    def read(self, month: Month) -> Delivery:
        """What the API answers for ``month``.

        Raises:
            SourceError: it can't be reached, refuses, or answers with something else than rows; or its pages don't end.
        """
        with requests.Session() as session:
            api = _Api(self.given, month, session)
            params = _params(self.given, month)
            pages = _Pages(api, self.given.paging, params, self.given.records)
            reader = stream(pages, nested=True)
        url = api.shown(api.address(params))
        check_names(url, reader.schema.names)
        provenance = {
            "kind": "http",
            "url": url,
            "pages": pages.count,
            "bytes": pages.bytes,
            "columns": {field.name: str(field.type) for field in reader.schema},
        }
        return Delivery(reader, provenance, pages.doubts)


def _params(given: HttpSourceSpec, month: Month) -> dict[str, str]:
    return {name: filled(str(value), month) for name, value in given.params.items()}


def _validator(headers: Mapping[str, str]) -> str | None:
    """What an answer's headers say of its content (RFC 9110, 8.8); None if nothing that can be relied on."""
    etag = headers.get("ETag", "")
    if etag:
        return None if etag.startswith("W/") else etag
    try:
        changed, now = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        # It counts seconds, and within the last ones more may still change.
        return headers["Last-Modified"] if now - changed >= LATELY else None
    except (KeyError, ValueError, TypeError):
        return None


class _Api:
    """Answers of one API, whatever goes wrong for a while; and none of its secrets in what is told about it."""

    def __init__(self, given: HttpSourceSpec, month: Month, session: requests.Session) -> None:
        try:
            parts = urlsplit(filled(given.url, month))
            self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            self._own = {_origin(self.url)}
        except ValueError:
            raise refusal("source.url", "an address", "a text that is none", "Mend it.") from None
        self._given, self._month, self._session = given, month, session
        self._headers = dict(given.headers)
        if given.token is not None:
            self._headers["Authorization"] = f"Bearer {given.token}"
        if (host := parts.hostname) and ("http", host, 80) in self._own:
            self._own.add(("https", host, 443))
        # Any kind of it, even one that adds nothing, keeps requests from looking for passwords in ~/.netrc.
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._user: AuthBase = HTTPBasicAuth(user, password) if user else _Nobody()
        secrets = {value for name, value in given.headers.items() if name.lower() not in _OPEN_HEADERS}
        secrets |= {given.token or "", password}
        secrets |= {str(value) for name, value in given.params.items() if _SECRET.search(name)}
        secrets |= {value for name, value in parse_qsl(parts.query) if _SECRET.search(name)}
        bare = {secret.strip() for secret in secrets}
        written = {form for secret in bare for form in (secret, quote(secret, safe=""), quote_plus(secret))}
        # Three letters stand in any text, and are no secret. The longest first: one may be a part of another.
        self._secrets = sorted((secret for secret in written if len(secret) > 3), key=len, reverse=True)

    def address(self, params: Mapping[str, str]) -> str:
        """The API's address with ``params``."""
        try:
            return str(requests.Request("GET", self.url, params=dict(params)).prepare().url)
        except requests.RequestException as error:
            raise refusal("source.url", "an address", self.shown(str(error)), "Mend it.") from None

    def shown(self, told: str) -> str:
        """``told`` without secrets."""
        for secret in self._secrets:
            told = told.replace(secret, "***")
        return _SECRET_PARAMETER.sub(r"\1***", re.sub(r"//[^/@\s]*@", "//", told))

    def place(self, address: str) -> str:
        """Where an error happened."""
        return f"{self.shown(address)}, {self._month}"

    def headers(self, address: str) -> Mapping[str, str]:
        """The headers of the answer that ``address`` gives; its body isn't received.

        Raises:
            SourceError: there is none, or it is a refusal.
        """
        try:
            return self.answer(address, "HEAD").headers
        except SourceError as error:
            if error.transient:
                raise
            # Not every API understands HEAD, or allows it.
            return self.answer(address, stream=True).headers

    def answer(self, address: str, method: str = "GET", *, stream: bool = False) -> requests.Response:
        """The answer that ``address`` gives, after some attempts if need be; with ``stream`` without its body yet.

        Raises:
            SourceError: there is none, or it is a refusal.
        """
        place = self.place(address)
        try:
            return retrying(lambda: self._asked(address, method, stream), place, self._given.attempts)
        except requests.HTTPError as error:
            raise refusal(place, "an answer with rows", *self._refused(error), transient=transient(error)) from None
        except (requests.exceptions.InvalidHeader, UnicodeError):
            # Its text has the header's value in it.
            found, todo = "a header that can't be sent", "Look for line breaks in source.token and source.headers."
            raise refusal(place, "headers that can be sent", found, todo) from None
        except (requests.RequestException, ValueError) as error:
            # Its text has the whole address in it, and its last words say what happened.
            found = self.shown(str(error).rpartition(": ")[2].strip("()'\" "))
            if isinstance(error, requests.Timeout):
                found = f"none within {self._given.timeout:g} s (attempts: {self._given.attempts})"
            todo = "Check source.url, and that its host can be reached from here (source.timeout is how long to wait)."
            raise refusal(place, "an answer", found, todo, transient=transient(error)) from None

    def start_of(self, response: requests.Response) -> str:
        """The first characters of an answer, in quotes."""
        return excerpt(self.shown(response.content[:300].decode(errors="replace")).strip(), 80)

    def _asked(self, address: str, method: str, stream: bool) -> requests.Response:
        url = address
        for _ in range(MOST_REDIRECTS):
            foreign = self._is_foreign(url)
            response = self._session.request(
                method,
                url,
                headers={"Accept": "application/json", **({} if foreign else self._headers)},
                auth=_Nobody() if foreign else self._user,
                timeout=self._given.timeout,
                allow_redirects=False,
                stream=stream,
            )
            if not response.is_redirect:
                if response.status_code >= 300:
                    raise requests.HTTPError(f"status {response.status_code}", response=response)
                return response
            url = urljoin(url, response.headers["Location"])
        raise requests.TooManyRedirects(f"redirects: {MOST_REDIRECTS} redirects one after the other")

    def _is_foreign(self, url: str) -> bool:
        return _origin(url) not in self._own

    def _refused(self, error: requests.HTTPError) -> tuple[str, str]:
        response = error.response
        assert response is not None, "what was asked for and refused was answered"
        status, asked = response.status_code, asked_wait(error, time.time()) or 0
        found = f"status {status}: {self.start_of(response)}"
        if asked > LONGEST_ASKED_WAIT:
            return f"{found}, which asks to wait for {asked:.0f} s", "Read the month again after that."
        if transient(error):
            return f"{found} (attempts: {self._given.attempts})", "Read the month again later."
        if status in (401, 403):
            return f"{found}; {self._sent(response.url)}", "Check source.token, source.headers and what they may read."
        if status == 404:
            todo = (
                "Check source.url and source.params; if the API answers so after its last page, follow the next "
                "address that it gives: set source.paging to {kind: cursor} or {kind: link}."
            )
            return found, todo
        return found, "Check source.url, source.params and source.headers."

    def _sent(self, url: str) -> str:
        if self._is_foreign(url):
            return f"neither token nor headers were sent, since {urlsplit(url).netloc} isn't the host of source.url"
        if self._given.token == "":
            return "the token that was sent is empty (is its variable set?)"
        sent = ["the token"] if self._given.token else []
        sent += [f"the header {name}" for name in self._given.headers if name.lower() not in _OPEN_HEADERS]
        sent += ["the user of source.url"] if isinstance(self._user, HTTPBasicAuth) else []
        return f"{' and '.join(sent)} was refused" if sent else "neither a token nor a header was sent"


class _Nobody(AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@dataclass(frozen=True)
class _Page:
    """One answer: where it came from, what it says as a whole, and the rows in it."""

    place: str
    document: Any
    rows: list[Any]
    links: Mapping[str, str]
    """The addresses in its header ``Link``, by relation."""


@dataclass
class _Pages:
    """The pages of one month, each a list of rows; counted while they are read."""

    api: _Api
    paging: Paging
    params: dict[str, str]
    path: str | None
    count: int = 0
    bytes: int = 0
    doubts: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[dict[str, str | None]]]:
        address = self._first()
        asked: set[str] = set()
        known: dict[bytes, list[int]] = {}
        while address is not None:
            place = self.api.place(address)
            if address in asked:
                raise _endless(place, f"page {self.count + 1} at an address that was asked before")
            if self.count == MOST_PAGES:
                raise _endless(place, f"more than {MOST_PAGES}")
            asked.add(address)
            page = self._page(address, place)
            alike = known.setdefault(hashlib.blake2b(repr(page.rows).encode()).digest(), [])
            if alike and page.rows and (len(page.rows) > 1 or len(alike) == MOST_ALIKE):
                raise _endless(place, f"page {self.count} with the same rows as page {alike[0]}")
            alike.append(self.count)
            yield [_row(row, number, place) for number, row in enumerate(page.rows, 1)]
            address = self._next(page)

    def _page(self, address: str, place: str) -> _Page:
        response = self.api.answer(address)
        self.count += 1
        self.bytes += len(response.content)
        links = self._links(response, place)
        if response.status_code == 204:
            return _Page(place, {}, [], links)
        document = self._document(response, place)
        if self.path is None:
            # The first answer settles it: in a later one, a list of something else may be the only one.
            self.path = path_to_rows(document, place, _NO_LIST)
        return _Page(place, document, rows_in(document, self.path, place, _NO_LIST), links)

    def _links(self, response: requests.Response, place: str) -> dict[str, str]:
        try:
            return {relation: urljoin(response.url, link["url"]) for relation, link in response.links.items()}
        except ValueError as error:
            raise refusal(
                place, "addresses in the header Link", f"one that is none ({error})", "Ask the API."
            ) from None

    def _document(self, response: requests.Response, place: str) -> Any:
        try:
            return decoded(response.content)
        except ValueError as error:
            kind = response.headers.get("Content-Type", "an answer")
            found = f"{kind} that is none ({error}): {self.api.start_of(response)}"
            todo = "If it is a page to log in, give source.token or source.headers; else mend source.url."
            raise refusal(place, "JSON", found, todo) from None

    def _first(self) -> str | None:
        return self._numbered(self.paging) if isinstance(self.paging, PagePaging) else self.api.address(self.params)

    def _next(self, page: _Page) -> str | None:
        match self.paging:
            case PagePaging():
                return self._numbered(self.paging) if page.rows else None
            case CursorPaging():
                return self._after_cursor(page, self.paging)
            case LinkPaging():
                if self.count == 1 and not page.links:
                    self.doubts.append("The answer had no header Link, so it was taken for the only page.")
                return page.links.get("next")
        if "next" in page.links:
            expected, found = "all rows in one answer", "a header Link that leads to a next page"
            raise refusal(page.place, expected, found, "Set source.paging to {kind: link}.")
        return None

    def _numbered(self, paging: PagePaging) -> str:
        size = {paging.size_parameter: str(paging.size)} if paging.size_parameter else {}
        return self.api.address({**self.params, **size, paging.parameter: str(paging.start + self.count)})

    def _after_cursor(self, page: _Page, paging: CursorPaging) -> str | None:
        cursor = page.document
        for part in paging.next.split("."):
            if not isinstance(cursor, Mapping) or part not in cursor:
                if self.count == 1 and page.rows:
                    self.doubts.append(f"The answer had no {paging.next!r}, so it was taken for the only page.")
                return None
            cursor = cursor[part]
        if cursor is None or cursor is False or cursor == "":
            return None
        if not isinstance(cursor, str):
            raise refusal(page.place, f"a cursor at {paging.next!r}", excerpt(repr(cursor)), "Mend source.paging.next.")
        # Some APIs give the whole address of the next page.
        whole = re.match("https?://", cursor)
        return cursor if whole else self.api.address({**self.params, paging.parameter: cursor})


def _row(record: Any, number: int, place: str) -> dict[str, str | None]:
    if not isinstance(record, Mapping):
        raise refusal(f"{place}, record {number}", "an object", excerpt(repr(record)), "Mend source.records.")
    try:
        return flattened(record)
    except ValueError as error:
        raise refusal(f"{place}, record {number}", "each key once", str(error), "Mend it in the API.") from None


def _endless(place: str, found: str) -> SourceError:
    todo = "Check that source.paging is what the API understands."
    return refusal(place, "pages that come to an end", found, todo)
