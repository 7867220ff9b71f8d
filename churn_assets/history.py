"""Dagster's history in SQLite, as Dagster keeps it, through connections that stay open.

Dagster opens and closes a database for each event that it notes, and SQLite brings a database that nobody has open any
more to the disk: a month that has nothing to do waits longer for the disk than it works. The files stay the same, and
either way reads what the other wrote. What is noted survives any end of a process; the power going may take the last
moments.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self

from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import (
    DagsterSqliteStorage,
    _event_logs_directory,
    _runs_directory,
    _schedule_directory,
)
from dagster._serdes import ConfigurableClassData
from dagster._utils import mkdir_p
from sqlalchemy import Connection, Engine, create_engine, event

KEPT_RUNS = 8
"""Runs whose events stay open; each has a database of its own, and the UI may look at thousands."""


def kept_engine(address: str) -> Engine:
    """An engine whose connections stay open and leave it to SQLite when to wait for the disk."""
    engine = create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class KeptRunStorage(SqliteRunStorage):
    """Which runs there are."""

    @cached_property
    def _engine(self) -> Engine:
        return kept_engine(self._conn_string)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        self._engine.dispose()


class KeptEventLogStorage(SqliteEventLogStorage):
    """What happened in the runs: one database for each, and an index of all."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            engine = kept_engine(self.conn_string_for_shard(shard))
            self._initdb(engine)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > KEPT_RUNS + 1:
            self._engines.pop(next(s for s in self._engines if s != INDEX_SHARD_NAME)).dispose()
        return self._engines[shard]

    def store_event(self, event: EventLogEntry) -> None:
        super().store_event(event)
        # The UI watches this file, which an open database doesn't write to at each event.
        os.utime(self.path_for_shard(event.run_id))

    def wipe(self) -> None:
        self._close()
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._close()

    def _close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].dispose()


class KeptHistory(DagsterSqliteStorage):
    """The storage of an instance, as ``dagster.yaml`` names it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        # Not the parent's own, which would open everything in its way as well.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = KeptRunStorage.from_local(_runs_directory(base_dir))
        self._event_log_storage = KeptEventLogStorage(_event_logs_directory(base_dir))
        self._schedule_storage = SqliteScheduleStorage.from_local(_schedule_directory(base_dir))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        mkdir_p(config_value["base_dir"])
        return cls(config_value["base_dir"], inst_data)
