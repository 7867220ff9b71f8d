from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from churn_assets.spec import OnlineSpec
from churn_assets_tests.postgres import Postgres, running_postgres
from churn_assets_tests.redis_server import RedisServer, running_redis
from churn_assets_tests.store.online.places import Place

PIPELINES = count()
SERVERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("redis", "postgres")]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", *SERVERS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each backend in turn, where nothing was published under the pipeline's name."""
    url = None
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url()
    elif request.param == "postgres":
        url = request.getfixturevalue("postgres").url.render_as_string(hide_password=False)
    return Place(request.param, OnlineSpec(url=url, attempts=1), tmp_path, f"shop_{next(PIPELINES)}")
