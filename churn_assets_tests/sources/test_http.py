from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import http
from churn_assets.sources.http import HttpSource
from churn_assets.spec import HttpSourceSpec
from churn_assets_tests.api import Answer, Api, Request, Route, running_api

JAN = Month(2024, 1)
TOKEN = "t0ken/which nobody sees"


def source(url: str, **more: Any) -> HttpSource:
    return HttpSource(HttpSourceSpec(type="http", url=url, attempts=more.pop("attempts", 1), **more))


def rows(found: HttpSource) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = found.read(JAN).batches.read_all().to_pylist()
    return read


def refused(found: HttpSource, transient: bool = False) -> str:
    with pytest.raises(SourceError) as error:
        found.read(JAN)
    assert error.value.__cause__ is None
    assert error.value.transient == transient
    assert str(error.value).endswith("Nothing was ingested.")
    assert TOKEN not in str(error.value)
    return str(error.value)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number)} for number in range(count)]


def by_page(everything: list[Any], size: int, first: int = 1) -> Route:
    def answer(request: Request) -> list[Any]:
        at = (int(request.params["page"]) - first) * size
        return everything[at : at + size]

    return answer


def by_cursor(everything: list[Any], size: int) -> Route:
    def answer(request: Request) -> dict[str, Any]:
        at = int(request.params.get("cursor", 0))
        end = at + size
        return {"data": everything[at:end], "meta": {"next": end if end < len(everything) else None}}

    return answer


def by_link(everything: list[Any], size: int) -> Route:
    def answer(request: Request) -> Answer:
        at = int(request.params.get("from", 0))
        end = at + size
        link = {"Link": f'</rows?from={end}>; rel="next", </rows>; rel="first"'} if end < len(everything) else {}
        return Answer(everything[at:end], headers=link)

    return answer


CURSOR = {"kind": "cursor", "next": "meta.next"}


class TestPaging:
    @settings(max_examples=12, deadline=None)
    @given(count=st.integers(0, 12), size=st.integers(1, 5))
    def test_of_any_kind_and_size_gives_all_rows_in_their_order(self, count: int, size: int) -> None:
        everything = numbered(count)
        kinds: list[tuple[Callable[[list[Any], int], Route], dict[str, Any]]] = [
            (by_page, {"kind": "page"}), (by_cursor, CURSOR), (by_link, {"kind": "link"}),
            (lambda every, _: lambda _: every, {"kind": "none"}),
        ]  # fmt: skip
        for route, paging in kinds:
            with running_api(rows=route(everything, size)) as api:
                assert rows(source(f"{api.url}/rows", paging=paging)) == everything

    def test_tells_the_size_and_starts_where_it_is_told(self) -> None:
        with running_api(rows=by_page(numbered(5), 2, first=0)) as api:
            paging = {"kind": "page", "start": 0, "size_parameter": "per", "size": 2}
            assert len(rows(source(f"{api.url}/rows", paging=paging, params={"of": "{month}"}))) == 5
        assert [request.params for request in api.asked] == [
            {"of": "2024-01", "per": "2", "page": str(page)} for page in range(4)
        ]

    def test_a_server_that_gives_fewer_rows_than_asked_for_is_asked_on(self) -> None:
        with running_api(rows=by_page(numbered(5), 2)) as api:
            paging = {"kind": "page", "size_parameter": "per", "size": 1000}
            assert len(rows(source(f"{api.url}/rows", paging=paging))) == 5

    def test_a_cursor_may_be_the_whole_address(self) -> None:
        def answer(request: Request) -> dict[str, Any]:
            if "page" in request.params:
                return {"results": [{"id": 2}], "next": None}
            return {"results": [{"id": 1}], "next": f"{api.url}/rows?page=2"}

        with running_api(rows=answer) as api:
            found = source(f"{api.url}/rows", paging={"kind": "cursor", "next": "next"}, token=TOKEN)
            assert rows(found) == [{"id": "1"}, {"id": "2"}]
        assert [request.headers["authorization"] for request in api.asked] == [f"Bearer {TOKEN}"] * 2

    @pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}])
    def test_no_cursor_ends_it(self, end: dict[str, Any]) -> None:
        with running_api(rows=lambda _: {"rows": [{"id": 1}], **end}) as api:
            assert len(rows(source(f"{api.url}/rows", paging={"kind": "cursor", "next": "next"}))) == 1

    def test_what_was_taken_for_the_only_page_is_doubted(self) -> None:
        with running_api(rows=lambda _: {"rows": [{"id": 1}]}) as api:
            cursor = source(f"{api.url}/rows", paging=CURSOR).read(JAN)
            link = source(f"{api.url}/rows", paging={"kind": "link"}).read(JAN)
        assert cursor.doubts == ["The answer had no 'meta.next', so it was taken for the only page."]
        assert link.doubts == ["The answer had no header Link, so it was taken for the only page."]

    def test_a_page_that_has_a_next_one_is_not_taken_for_all(self) -> None:
        with running_api(rows=by_link(numbered(3), 2)) as api:
            assert "found a header Link that leads to a next page. Set source.paging" in refused(
                source(f"{api.url}/rows")
            )

    @pytest.mark.parametrize(("route", "paging", "told"), [
        (lambda _: [{"id": 1}, {"id": 2}], {"kind": "page"}, "found page 2 with the same rows as page 1"),
        (lambda _: [{"id": 1}], {"kind": "page"}, "found page 101 with the same rows as page 1"),
        (
            lambda r: {"data": [{"id": r.params.get("cursor")}], "meta": {"next": "same"}}, CURSOR,
            "found page 3 at an address that was asked before",
        ),
        (
            lambda r: Answer([{"id": time.monotonic_ns()}], headers={"Link": '</rows>; rel="next"'}), {"kind": "link"},
            "found page 2 at an address that was asked before",
        ),
        (lambda _: {"data": [{"id": 1}], "meta": {"next": {"a": 1}}}, CURSOR, "expected a cursor at 'meta.next'"),
    ])  # fmt: skip
    def test_pages_without_end_are_refused(self, route: Route, paging: dict[str, Any], told: str) -> None:
        with running_api(rows=route) as api:
            assert told in refused(source(f"{api.url}/rows", paging=paging))

    def test_records_without_an_id_may_be_equal(self) -> None:
        everything = [{"charge": "9.90"}, {"charge": "9.90"}, {"charge": "5"}, {"charge": "9.90"}]
        with running_api(rows=by_page(everything, 1)) as api:
            assert rows(source(f"{api.url}/rows", paging={"kind": "page"})) == everything

    def test_a_page_that_is_not_found_is_no_end(self) -> None:
        everything = by_page(numbered(4), 2)
        with running_api(
            rows=lambda r: Answer(b"Invalid page.", 404) if r.params["page"] == "3" else everything(r)
        ) as api:
            told = refused(source(f"{api.url}/rows", paging={"kind": "page"}))
        assert "found status 404: 'Invalid page.'. Check source.url" in told
        assert "set source.paging to {kind: cursor} or {kind: link}" in told

    def test_more_pages_than_anybody_has_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "MOST_PAGES", 3)
        with running_api(rows=lambda request: [{"id": request.params["page"]}]) as api:
            assert "found more than 3" in refused(source(f"{api.url}/rows", paging={"kind": "page"}))
        assert len(api.asked) == 3

    def test_a_page_that_fails_leaves_no_shorter_month(self) -> None:
        everything = by_page(numbered(9), 2)
        with running_api(rows=lambda r: Answer(b"x", 500) if r.params["page"] == "4" else everything(r)) as api:
            assert "page=4, 2024-01: expected an answer with rows, found status 500: 'x'" in refused(
                source(f"{api.url}/rows", paging={"kind": "page"}), transient=True
            )

    def test_later_answers_have_their_rows_where_the_first_one_had(self) -> None:
        pages = {"1": {"data": [{"id": 1}]}, "2": {"warnings": [{"text": "busy"}]}}
        with running_api(rows=lambda request: pages[request.params["page"]]) as api:
            told = refused(source(f"{api.url}/rows", paging={"kind": "page"}))
        assert "expected a list at 'data', found no 'data' there. Lists are at: warnings" in told


class TestRows:
    def test_say_what_the_answer_says(self) -> None:
        body = (
            b'{"n": 2, "found": {"customers": [{"id": 1.50, "ok": true, "p": {"fee": 1e2}}, {"id": null, "l": [1]}]}}'
        )
        with running_api(rows=lambda _: Answer(body)) as api:
            delivery = source(f"{api.url}/rows", params={"api_key": "hush-hush", "from": "{month_start}"}).read(JAN)
        assert delivery.batches.read_all().to_pylist() == [
            {"id": "1.50", "ok": "true", "p.fee": "1e2", "l": None},
            {"id": None, "ok": None, "p.fee": None, "l": "[1]"},
        ]
        assert delivery.provenance == {
            "kind": "http", "url": f"{api.url}/rows?api_key=***&from=2024-01-01", "pages": 1, "bytes": len(body),
            "columns": {"id": "string", "ok": "string", "p.fee": "string", "l": "string"},
        }  # fmt: skip
        assert api.asked[0].params == {"api_key": "hush-hush", "from": "2024-01-01"}

    def test_no_rows_are_an_empty_month(self) -> None:
        with running_api(rows=lambda _: [], none=lambda _: Answer(status=204)) as api:
            assert rows(source(f"{api.url}/rows")) == []
            assert rows(source(f"{api.url}/none")) == []

    def test_are_at_the_given_path(self) -> None:
        with running_api(rows=lambda _: {"a": {"rows": [{"id": 1}]}, "errors": []}) as api:
            assert rows(source(f"{api.url}/rows", records="a.rows")) == [{"id": "1"}]
            assert "found 2, at a.rows, errors" in refused(source(f"{api.url}/rows"))
            assert "found no 'b' there. Lists are at: a.rows, errors" in refused(
                source(f"{api.url}/rows", records="a.b")
            )

    @pytest.mark.parametrize(("body", "told"), [
        (b"<!DOCTYPE html><title>Log in</title>" + b"x" * 100, "text/html that is none (Expecting value"),
        (b"", "(Expecting value: line 1 column 1 (char 0)): ''"),
        (b'[{"id": 1}, 7]', "record 2: expected an object, found \"'7'\""),
        (b'[{"a.b": 1, "a": {"b": 2}}]', "record 1: expected each key once"),
        (b'[{"a": 1, "a": 2}]', "the key 'a' twice in one object"),
        (b'[{"_row": 1}]', "found the name '_row'"),
        (b'{"data": null, "errors": [{"message": "no"}]}', "expected a list at 'data', found 'null'"),
        (b'[{"id": "\xe9"}]', "can't decode byte 0xe9"),
    ])  # fmt: skip
    def test_that_are_none_are_refused(self, body: bytes, told: str) -> None:
        path = "data" if b"data" in body else None
        with running_api(rows=lambda _: Answer(body, headers={"Content-Type": "text/html"})) as api:
            found = refused(source(f"{api.url}/rows", records=path))
        assert told in found
        assert len(found) < 400


class TestWaiting:
    @pytest.mark.parametrize("failure", [Answer(b"busy", 503), Answer(b'[{"id": "cut off"}]', cut=5)])
    def test_what_fails_once_is_asked_for_again(self, failure: Answer, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        with running_api(rows=lambda _: failure if len(api.asked) == 1 else numbered(2)) as api:
            found = source(f"{api.url}/rows", attempts=2, token=TOKEN, params={"sig": "hush-hush"})
            assert rows(found) == numbered(2)
        assert f"{api.url}/rows?sig=***, 2024-01: attempt 1 of 2 failed" in caplog.text
        assert TOKEN not in caplog.text

    def test_is_as_long_as_the_api_asks_to(self) -> None:
        limit = Answer(b"", 429, {"Retry-After": "1.4"})
        with running_api(rows=lambda _: limit if len(api.asked) == 1 else numbered(1)) as api:
            began = time.monotonic()
            assert rows(source(f"{api.url}/rows", attempts=2)) == numbered(1)
        assert 1.3 < time.monotonic() - began < 4

    def test_for_hours_is_left_to_who_reads_the_error(self) -> None:
        with running_api(rows=lambda _: Answer(b"", 429, {"Retry-After": "7200"})) as api:
            assert "asks to wait for 7200 s. Read the month again after that." in refused(
                source(f"{api.url}/rows", attempts=5), transient=True
            )
        assert len(api.asked) == 1

    def test_comes_to_an_end(self) -> None:
        with running_api(rows=lambda _: Answer(b"busy", 503)) as api:
            told = refused(source(f"{api.url}/rows", attempts=2), transient=True)
        assert "found status 503: 'busy' (attempts: 2). Read the month again later." in told
        assert len(api.asked) == 2

    def test_for_a_slow_answer_comes_to_an_end_too(self) -> None:
        with running_api(rows=lambda _: time.sleep(1) or []) as api:
            told = refused(source(f"{api.url}/rows", timeout=0.2), transient=True)
        assert "found none within 0.2 s (attempts: 1). Check source.url" in told


class TestRefusal:
    @pytest.mark.parametrize(("more", "told"), [
        ({}, "neither a token nor a header was sent"),
        ({"token": TOKEN}, "the token was refused"),
        ({"token": ""}, "the token that was sent is empty (is its variable set?)"),
        ({"headers": {"X-Api-Key": TOKEN, "Accept": "text/csv"}}, "the header X-Api-Key was refused"),
    ])  # fmt: skip
    @pytest.mark.parametrize("status", [401, 403])
    def test_names_what_was_sent_but_does_not_show_it(self, status: int, more: dict[str, Any], told: str) -> None:
        def answer(request: Request) -> Answer:
            said = request.headers.get("authorization", "") + request.headers.get("x-api-key", "")
            return Answer(f"not with {said}".encode(), status)

        with running_api(rows=answer) as api:
            found = refused(source(f"{api.url}/rows", attempts=5, **more))
        assert f"found status {status}: 'not with" in found
        assert f"{told}. Check source.token, source.headers" in found
        assert len(api.asked) == 1

    def test_of_an_unknown_path_says_so_at_once(self) -> None:
        with running_api() as api:
            assert "found status 404: 'nothing here'. Check source.url" in refused(source(f"{api.url}/x", attempts=5))
        assert len(api.asked) == 1

    @pytest.mark.parametrize(("url", "told"), [
        ("http://no-such-host.invalid/rows", "no-such-host.invalid"),
        ("http://[", "expected an address"),
        ("http://", "expected an address"),
        ("http://user:s3cret-word@host:port/", "expected an address"),
        ("http://user:s3cret-word@no-such-host.invalid/rows?token=hush", "http://no-such-host.invalid/rows?token=***"),
    ])  # fmt: skip
    def test_of_an_address_that_is_none(self, url: str, told: str) -> None:
        found = refused(source(url), transient="no-such-host" in url)
        assert told in found
        assert "s3cret-word" not in found

    def test_of_a_port_that_nobody_listens_on(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        told = refused(source(f"http://127.0.0.1:{port}/rows?api_key=hush-hush"), transient=True)
        assert "expected an answer, found [Errno 111] Connection refused. Check source.url" in told
        assert "hush-hush" not in told

    def test_of_a_header_that_can_not_be_sent_does_not_show_it(self) -> None:
        with running_api(rows=lambda _: []) as api:
            for token in (f"{TOKEN}\n", f"{TOKEN}…"):
                assert "found a header that can't be sent. Look for" in refused(source(f"{api.url}/rows", token=token))

    def test_of_links_that_lead_nowhere(self) -> None:
        for answer in (
            Answer([], headers={"Link": '<http://[>; rel="next"'}), Answer(status=302, headers={"Location": "http://["}),
            Answer(status=302, headers={"Location": "file:///etc/passwd"}),
        ):  # fmt: skip
            with running_api(rows=lambda _, answer=answer: answer) as api:
                assert "2024-01: expected" in refused(source(f"{api.url}/rows", paging={"kind": "link"}))

    def test_of_redirects_without_end(self) -> None:
        with running_api(rows=lambda _: Answer(status=302, headers={"Location": "/rows"})) as api:
            assert "found 10 redirects" in refused(source(f"{api.url}/rows", attempts=5))
        assert len(api.asked) == 10


class TestSecrets:
    HEADERS = {"X-Api-Key": TOKEN}

    def sent(self, api: Api) -> list[bool]:
        return [bool({"authorization", "x-api-key"} & set(request.headers)) for request in api.asked]

    def test_follow_a_redirect_to_the_same_origin_only(self) -> None:
        with (
            running_api(rows=lambda _: numbered(2)) as other,
            running_api(
                rows=lambda _: Answer(status=302, headers={"Location": f"{api.url}/here"}),
                here=lambda _: Answer(status=307, headers={"Location": f"{other.url}/rows?x=1"}),
            ) as api,
        ):
            found = source(f"{api.url}/rows", token=TOKEN, headers=self.HEADERS, params={"y": "1"})
            assert rows(found) == numbered(2)
        assert self.sent(api) == [True, True]
        assert self.sent(other) == [False]
        assert other.asked[0].params == {"x": "1"}

    def test_follow_a_next_page_on_the_same_origin_only(self) -> None:
        with running_api(rows=lambda _: Answer(b"who?", 401)) as other:
            link = {"Link": f'<{other.url}/rows>; rel="next"'}
            with running_api(rows=lambda _: Answer(numbered(1), headers=link)) as api:
                told = refused(source(f"{api.url}/rows", token=TOKEN, headers=self.HEADERS, paging={"kind": "link"}))
        assert self.sent(api) == [True]
        assert self.sent(other) == [False]
        assert f"neither token nor headers were sent, since {other.url[7:]} isn't the host of source.url" in told

    def test_that_the_api_itself_made_are_not_shown(self) -> None:
        link = {"Link": '</gone?X-Amz-Signature=abcdef&page=2>; rel="next"'}
        with running_api(rows=lambda _: Answer(numbered(1), headers=link)) as api:
            told = refused(source(f"{api.url}/rows", paging={"kind": "link"}))
        assert told.startswith(f"{api.url}/gone?X-Amz-Signature=***&page=2, 2024-01: ")

    def test_of_this_machine_are_not_sent(self, tmp_path: Path) -> None:
        """A .netrc would replace the token."""
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
        (tmp_path / ".netrc").chmod(0o600)
        code = (
            "import sys\n"
            "from churn_assets.months import Month\n"
            "from churn_assets.sources.http import HttpSource\n"
            "from churn_assets.spec import HttpSourceSpec\n"
            "HttpSource(HttpSourceSpec(type='http', url=sys.argv[1], token='own')).read(Month(2024, 1))\n"
            "HttpSource(HttpSourceSpec(type='http', url=sys.argv[1])).read(Month(2024, 1))\n"
        )
        with running_api(rows=lambda _: []) as api:
            environment = {"HOME": str(tmp_path), "PATH": "/usr/bin"}
            subprocess.run([sys.executable, "-c", code, f"{api.url}/rows"], check=True, env=environment)
        assert [request.headers.get("authorization") for request in api.asked] == ["Bearer own", None]

    def test_in_the_address_are_sent_as_a_user_and_shown_nowhere(self) -> None:
        with running_api(rows=lambda _: numbered(1)) as api:
            delivery = source(f"{api.url}/rows".replace("//", "//me:s3cret%2Dword@")).read(JAN)
        assert api.asked[0].headers["authorization"] == "Basic bWU6czNjcmV0LXdvcmQ="
        assert delivery.provenance["url"] == f"{api.url}/rows"


class TestIdentity:
    """What an API says of its content before anybody reads it."""

    def test_changes_with_the_etag_and_with_the_address_and_is_no_secret(self) -> None:
        tag = {"ETag": '"one"'}
        with running_api(rows=lambda _: Answer([{"id": 1}], headers=tag)) as api:
            url = f"{api.url}/rows?of={{month}}"
            first = source(url, token=TOKEN).identity(JAN)
            assert first == source(url, token="another").identity(JAN)
            assert first != source(url, token=TOKEN).identity(JAN + 1)
            assert first != source(f"{url}&by=day", token=TOKEN).identity(JAN)
            tag["ETag"] = '"two"'
            assert first != source(url, token=TOKEN).identity(JAN)
        assert first is not None
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert {request.method for request in api.asked} == {"HEAD"}

    @pytest.mark.parametrize(
        ("headers", "known"),
        [
            ({"ETag": '"one"'}, True),
            ({"ETag": 'W/"one"'}, False),
            ({"Last-Modified": "Mon, 01 Jan 2024 06:00:00 GMT"}, True),
            ({"Last-Modified": "Fri, 01 Jan 2100 06:00:00 GMT"}, False),
            ({"Last-Modified": "yesterday"}, False),
            ({"ETag": 'W/"one"', "Last-Modified": "Mon, 01 Jan 2024 06:00:00 GMT"}, False),
            ({}, False),
        ],
    )
    def test_is_known_by_what_changes_with_every_byte(self, headers: dict[str, str], known: bool) -> None:
        with running_api(rows=lambda _: Answer([{"id": 1}], headers=headers)) as api:
            assert (source(f"{api.url}/rows").identity(JAN) is not None) == known

    @pytest.mark.parametrize("paging", [{"kind": "page"}, CURSOR, {"kind": "link"}])
    def test_of_several_pages_none_speaks_for_the_others(self, paging: dict[str, Any]) -> None:
        with running_api(rows=lambda _: Answer([], headers={"ETag": '"one"'})) as api:
            assert source(f"{api.url}/rows", paging=paging).identity(JAN) is None
        assert api.asked == []

    def test_an_api_without_head_is_asked_as_it_is_read(self) -> None:
        def answer(request: Request) -> Answer:
            refused = Answer(b"", 405)
            return refused if request.method == "HEAD" else Answer([{"id": 1}], headers={"ETag": '"one"'})

        with running_api(rows=answer) as api:
            assert source(f"{api.url}/rows").identity(JAN) is not None
        assert [request.method for request in api.asked] == ["HEAD", "GET"]

    def test_what_is_refused_or_down_is_told_as_by_reading(self) -> None:
        with running_api() as api, pytest.raises(SourceError, match=r"found status 404: 'nothing here'") as error:
            source(f"{api.url}/rows?token={quote(TOKEN, safe='')}").identity(JAN)
        assert quote(TOKEN, safe="") not in str(error.value)
        answers = [Answer(b"", 503), Answer([{"id": 1}], headers={"ETag": '"one"'})]
        with running_api(rows=lambda _: answers.pop(0)) as api:
            assert source(f"{api.url}/rows", attempts=2).identity(JAN) is not None
        with pytest.raises(SourceError, match="Connection refused") as down:
            source("http://127.0.0.1:1/rows").identity(JAN)
        assert down.value.transient
