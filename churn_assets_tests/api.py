"""A real HTTP server in this process, whose answers a test writes as functions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"


@dataclass(frozen=True)
class Answer:
    """What the server says: ``body`` as it is, or as JSON; ``cut`` ends the connection before its last bytes."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0


Route = Callable[[Request], Any]


@dataclass
class Api:
    """A server, and what it was asked for until now."""

    url: str
    asked: list[Request] = field(default_factory=list)


@contextmanager
def running_api(**routes: Route) -> Iterator[Api]:
    """Serves each route under its name; what it returns is an ``Answer``, or what one says as JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {k.lower(): v for k, v in self.headers.items()}
            request = Request(parts.path, dict(parse_qsl(parts.query)), headers, self.command)
            api.asked.append(request)
            route = routes.get(parts.path.strip("/"))
            given = route(request) if route else Answer(b"nothing here", 404)
            answer = given if isinstance(given, Answer) else Answer(given)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                self.wfile.write(body[: len(body) - answer.cut])
            except ConnectionError:
                # Whoever asked has gone: it waited for long enough.
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api = Api(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
