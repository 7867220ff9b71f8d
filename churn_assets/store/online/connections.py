"""Connections kept open between two lookups, for whichever thread comes next."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection of any driver."""

    def close(self) -> object: ...


C = TypeVar("C", bound=Closable)

_INHERITED: list[object] = []
"""A parent process's connections in its child. They are kept from being closed: that would end them for the parent."""


class Connections(Generic[C]):
    """Connections that no thread uses at the moment. A process that was forked opens its own."""

    def __init__(self, open: Callable[[], C]) -> None:
        self._open = open
        self._idle: list[tuple[Hashable, C]] = []
        self._process = os.getpid()

    @contextmanager
    def one(self, target: Hashable = None) -> Iterator[C]:
        """A connection for this thread alone; it is closed if its use fails.

        Args:
            target: what the connection leads to; one that leads elsewhere is closed instead of being used.
        """
        if self._process != os.getpid():
            _INHERITED.append(self._idle)
            self._idle, self._process = [], os.getpid()
        connection = self._taken(target) or self._open()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append((target, connection))

    def close(self) -> None:
        """Closes those that aren't in use."""
        while self._idle and self._process == os.getpid():
            self._idle.pop()[1].close()

    def _taken(self, target: Hashable) -> C | None:
        while True:
            try:
                leads_to, connection = self._idle.pop()
            except IndexError:
                return None
            if leads_to == target:
                return connection
            connection.close()
