"""What is open and what was told, in one file a pipeline, which several processes may write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from churn_assets.alerts.matters import Alert, Key, Matter, Telling
from churn_assets.errors import AlertError
from churn_assets.store.lake import replace_file

KEPT = timedelta(days=90)
"""For how long a matter is remembered once it is over."""
TELLINGS = 20
"""A channel's newest tellings of a matter that are remembered."""


@dataclass(frozen=True)
class Journal:
    """The matters of one pipeline, in ``place``."""

    place: Path

    def matters(self) -> list[Matter]:
        """All that are remembered, the oldest first.

        Raises:
            AlertError: the file isn't what was written.
        """
        try:
            return [_matter(one) for one in json.loads(self.place.read_text())["matters"]]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise AlertError(
                f"{self.place}: expected the journal of alerts as JSON, found {error}. Move the file away; what is "
                "still open is then told once more."
            ) from error

    def note(self, alerts: Iterable[Alert], ended: Iterable[Key], now: datetime) -> None:
        """Remembers what is the matter now, and what no longer is."""
        by_key, over = {alert.key: alert for alert in alerts}, set(ended)

        def noted(matters: list[Matter]) -> Iterator[Matter]:
            open_keys = {matter.alert.key for matter in matters if not matter.over}
            for matter in matters:
                if matter.over:
                    yield matter
                elif matter.alert.key in by_key:
                    yield replace(matter, alert=by_key[matter.alert.key])
                else:
                    yield replace(matter, over=now if matter.alert.key in over else None)
            yield from (Matter(alert, now) for key, alert in by_key.items() if key not in open_keys)

        self._change(lambda matters: [m for m in noted(matters) if not m.over or now - m.over < KEPT])

    def told(self, tellings: Sequence[tuple[Matter, Telling]]) -> None:
        """Remembers what was told of matters; one that fails again and again is remembered once."""
        news = [((matter.alert.key, matter.since), telling) for matter, telling in tellings]

        def with_news(matter: Matter) -> Matter:
            for telling in (telling for of, telling in news if of == (matter.alert.key, matter.since)):
                others = [t for t in matter.tellings if t.channel != telling.channel]
                own = [t for t in matter.tellings if t.channel == telling.channel and not t.error]
                kept = sorted([*others, *own[1 - TELLINGS :], telling], key=lambda t: t.at)
                matter = replace(matter, tellings=tuple(kept))
            return matter

        self._change(lambda matters: [with_news(matter) for matter in matters])

    @contextmanager
    def telling(self) -> Iterator[bool]:
        """Whether this process may tell now; another one that is at it sees what is new at its next look."""
        from filelock import FileLock, Timeout

        self.place.parent.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(self.place.with_suffix(".telling.lock")).acquire(timeout=0)
        except Timeout:
            yield False
            return
        with held:
            yield True

    def _change(self, change: Callable[[list[Matter]], list[Matter]]) -> None:
        from filelock import FileLock

        self.place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.place.with_suffix(".lock")):
            before = self.matters()
            after = change(before)
            if after != before:
                document = {"matters": [asdict(matter) for matter in after]}
                replace_file(self.place, json.dumps(document, indent=1, default=datetime.isoformat).encode())


def journal_of(folder: Path, pipeline: str) -> Journal:
    """The journal of a pipeline, in the folder of its installation's alerts."""
    return Journal(folder / f"{pipeline}.journal.json")


def _matter(value: dict[str, Any]) -> Matter:
    return Matter(
        alert=Alert(**value["alert"]),
        since=datetime.fromisoformat(value["since"]),
        over=datetime.fromisoformat(value["over"]) if value["over"] else None,
        tellings=tuple(Telling(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in value["tellings"]),
    )
