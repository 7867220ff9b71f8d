from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from churn_assets.alerts import Alert, Report, journal_of, tell, try_channels
from churn_assets.errors import AlertError
from churn_assets.spec import PipelineSpec
from churn_assets_tests.alerts.receivers import webhook
from churn_assets_tests.declared import declared

NOW = datetime(2024, 6, 3, 6, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAY = Alert("run_failed", "2024-05", "2024-05 failed at features", "It broke.", "Mend it.")
JUNE = replace(MAY, subject="2024-06", title="2024-06 failed at features")
LATE = Alert("late_data", "raw_data", "2024-04 is late", "It was due.", "Ask for it.")


@dataclass(frozen=True)
class Shop:
    """A pipeline, as far as alerts go."""

    data: Path
    spec: PipelineSpec
    name: str = "shop"

    def told(self, file: str = "shop.jsonl") -> list[tuple[str, str]]:
        """What a file channel was told: occasion and title."""
        place = self.data / "alerts" / file
        lines = [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []
        return [(line["occasion"], line["title"]) for line in lines]


def shop(data: Path, *channels: dict[str, Any], **alerts: Any) -> Shop:
    return Shop(data, declared(alerts={**({"channels": channels} if channels else {}), **alerts}))


def test_a_matter_is_told_once_and_when_it_is_over(tmp_path: Path) -> None:
    own = shop(tmp_path)
    assert tell(own, [MAY], NOW).sent == {"file": 1}
    assert tell(own, [MAY], NOW + HOUR).sent == {}
    assert tell(own, [], NOW + 2 * HOUR).sent == {}, "it goes on until somebody says that it is over"
    assert tell(own, [JUNE], NOW + 2 * HOUR, ended=[MAY.key]).open[0].alert == JUNE
    tell(own, [], NOW + 3 * HOUR, ended=[MAY.key])
    assert own.told() == [("begins", MAY.title), ("over", MAY.title), ("begins", JUNE.title)]


def test_a_matter_that_comes_back_is_a_new_one(tmp_path: Path) -> None:
    own = shop(tmp_path)
    for hour, (alerts, ended) in enumerate([([MAY], []), ([], [MAY.key])] * 2):
        tell(own, alerts, NOW + hour * HOUR, ended)
    assert [occasion for occasion, _ in own.told()] == ["begins", "over", "begins", "over"]


def test_another_title_is_news_and_another_text_is_not(tmp_path: Path) -> None:
    own = shop(tmp_path)
    for alert in (MAY, replace(MAY, text="It broke again."), replace(MAY, title="2024-05 failed at model")):
        report = tell(own, [alert], NOW)
    assert [title for _, title in own.told()] == [MAY.title, "2024-05 failed at model"]
    assert len(report.open) == 1
    assert report.open[0].since == NOW


@pytest.mark.parametrize(
    ("hours", "told_after"), [(24, [0, 24, 48]), (6, [0, 6, 12, 18, 24, 30, 36, 42, 48]), (0, [0])]
)
def test_what_goes_on_is_told_again_after_a_while(hours: float, told_after: list[int], tmp_path: Path) -> None:
    own = shop(tmp_path, remind_hours=hours)
    tell(own, [MAY], NOW)
    for hour in range(1, 49):
        tell(own, [], NOW + hour * HOUR)
    lines = [json.loads(line) for line in (tmp_path / "alerts/shop.jsonl").read_text().splitlines()]
    assert [datetime.fromisoformat(line["at"]) for line in lines] == [NOW + hour * HOUR for hour in told_after]
    assert {line["occasion"] for line in lines[1:]} <= {"goes_on"}


def test_a_channel_is_told_of_its_kinds_only(tmp_path: Path) -> None:
    own = shop(
        tmp_path,
        {"type": "file"},
        {"type": "file", "name": "late", "path": "alerts/late.jsonl", "kinds": ["late_data"]},
    )
    tell(own, [MAY, LATE], NOW)
    tell(own, [], NOW, ended=[MAY.key, LATE.key])
    assert len(own.told()) == 4
    assert own.told("late.jsonl") == [("begins", LATE.title), ("over", LATE.title)]


def test_a_channel_that_fails_stops_no_other_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop(tmp_path, {"type": "webhook", "url": "{{ env.HOOK }}"}, {"type": "file"})
    with webhook() as hook:
        monkeypatch.setenv("HOOK", hook.url)
        hook.status = 503
        first = tell(own, [MAY], NOW)
        assert first.sent == {"file": 1}
        assert "503" in first.failed["webhook"]
        assert "Not told by webhook" in first.words
        tell(own, [MAY], NOW + HOUR)
        [matter] = journal_of(tmp_path / "alerts", "shop").matters()
        failed = [telling for telling in matter.tellings if telling.error]
        assert [(t.channel, t.at) for t in failed] == [("webhook", NOW + HOUR)], "the last failure is remembered"
        hook.status = 200
        assert tell(own, [MAY], NOW + 2 * HOUR).sent == {"webhook": 1}
        assert [payload["text"] for payload in hook.taken] == ["[shop] 2024-05 failed at features"]
        assert tell(own, [MAY], NOW + 3 * HOUR).sent == {}
        [matter] = journal_of(tmp_path / "alerts", "shop").matters()
        assert not [telling for telling in matter.tellings if telling.error]
    assert "s3cret" not in (tmp_path / "alerts/shop.journal.json").read_text() + first.words


def test_nobody_hears_the_end_of_what_they_were_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shop(tmp_path, {"type": "webhook", "url": "{{ env.HOOK }}"})
    with webhook() as hook:
        monkeypatch.setenv("HOOK", hook.url)
        hook.status = 500
        tell(own, [MAY], NOW)
        hook.status = 200
        assert tell(own, [], NOW, ended=[MAY.key]).sent == {}
    assert hook.taken == []


def test_a_burst_comes_as_one_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shop(tmp_path, {"type": "webhook", "url": "{{ env.HOOK }}"}, {"type": "file"})
    failed = [replace(MAY, subject=f"2024-{n:02d}", title=f"2024-{n:02d} failed") for n in range(1, 13)]
    with webhook() as hook:
        monkeypatch.setenv("HOOK", hook.url)
        for minute, alert in enumerate(failed[:9]):
            report = tell(own, [alert], NOW + timedelta(seconds=minute))
        assert len(hook.taken) == 5
        assert report.waiting == {"webhook": 4}
        assert len(own.told()) == 9, "a file bothers nobody"
        tell(own, failed[9:], NOW + timedelta(minutes=11))
    assert hook.taken[5]["text"] == "[shop] 2024-06 failed (and 6 more)"
    assert len(hook.taken) == 6


def _many(own: Shop, begin: int) -> None:
    for number in range(begin, begin + 10):
        alert = replace(MAY, subject=str(number), title=str(number))
        tell(own, [alert, replace(MAY, subject="shared")], NOW)


def test_two_writers_lose_nothing_and_tell_nothing_twice(tmp_path: Path) -> None:
    own = shop(tmp_path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_many, args=(own, begin)) for begin in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    tell(own, [], NOW)
    numbers = [str(n) for begin in (0, 100) for n in range(begin, begin + 10)]
    assert sorted(title for _, title in own.told()) == sorted([*numbers, MAY.title])
    assert {m.alert.subject for m in journal_of(tmp_path / "alerts", "shop").matters()} == {*numbers, "shared"}


def test_who_is_telling_is_left_to_it_and_the_next_look_tells_the_rest(tmp_path: Path) -> None:
    own = shop(tmp_path)
    with journal_of(tmp_path / "alerts", "shop").telling() as first:
        assert first
        assert tell(own, [MAY], NOW) == Report(tell(own, [], NOW).open, {}, {}, {})
    assert tell(own, [], NOW).sent == {"file": 1}


def test_what_is_over_is_forgotten_after_a_while(tmp_path: Path) -> None:
    own = shop(tmp_path)
    tell(own, [MAY, JUNE], NOW)
    tell(own, [], NOW, ended=[MAY.key])
    tell(own, [LATE], NOW + timedelta(days=100))
    assert [m.alert for m in journal_of(tmp_path / "alerts", "shop").matters()] == [JUNE, LATE]


def test_a_broken_journal_says_what_to_do(tmp_path: Path) -> None:
    own = shop(tmp_path)
    tell(own, [MAY], NOW)
    (tmp_path / "alerts/shop.journal.json").write_text("{")
    with pytest.raises(AlertError, match="Move the file away"):
        tell(own, [MAY], NOW)


def test_a_test_goes_through_every_channel_and_stays_out_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop(tmp_path, {"type": "webhook", "url": "{{ env.HOOK }}"}, {"type": "file", "kinds": ["late_data"]})
    monkeypatch.delenv("HOOK", raising=False)
    tried = {telling.channel: telling.error for telling in try_channels(own, NOW)}
    assert "environment variable HOOK" in tried["webhook"]
    assert tried["file"] == ""
    assert own.told() == [("begins", "This is a test")]
    assert journal_of(tmp_path / "alerts", "shop").matters() == []
