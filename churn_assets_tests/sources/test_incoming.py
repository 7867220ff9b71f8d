from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from churn_assets.errors import SourceError
from churn_assets.months import Month, month_range
from churn_assets.sources import Delivery, open_source
from churn_assets.sources.incoming import PATIENCE, IncomingSource
from churn_assets.spec import IncomingSourceSpec
from churn_assets_tests.declared import declared

JAN, FEB = Month(2024, 1), Month(2024, 2)


class Clock:
    """A clock that stands still unless someone sleeps; ``meanwhile`` happens whenever someone does."""

    def __init__(self) -> None:
        self.now = time.time()
        self.slept = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.meanwhile()


def source(root: Path, clock: Clock | None = None, pipeline: str = "shop", **given: Any) -> IncomingSource:
    clock = clock or Clock()
    spec = IncomingSourceSpec.model_validate({"type": "incoming", "settle_seconds": 0, **given})
    return IncomingSource(spec, root, pipeline, clock, clock.sleep)


def put(root: Path, name: str = "2024-01.csv", customer: str = "c1", age: float = 3600) -> Path:
    path = root / "incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"id\n{customer}\n")
    os.utime(path, (time.time() - age,) * 2)
    return path


def read(given: IncomingSource, month: Month = JAN) -> tuple[pl.DataFrame, Delivery]:
    delivery = given.read(month)
    return pl.DataFrame(pl.from_arrow(delivery.batches.read_all())), delivery


def accept(given: IncomingSource, month: Month = JAN) -> None:
    _, delivery = read(given, month)
    assert delivery.accept
    delivery.accept()


def customers(given: IncomingSource, month: Month = JAN) -> list[str]:
    return read(given, month)[0]["id"].to_list()


def lying(root: Path) -> list[str]:
    """Every file below the drop folder, but for the lock."""
    folder = root / "incoming"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def identity_of(customer: str) -> str:
    """The identity of a month with this customer alone."""
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), customer=customer)
        return source(Path(folder)).identity(JAN)


def statuses(given: IncomingSource) -> dict[str, str]:
    return {waiting.name: waiting.status for waiting in given.look()}


def test_a_file_is_the_delivery_of_the_month_in_its_name(tmp_path: Path) -> None:
    put(tmp_path, "2024-01.csv", "c1")
    put(tmp_path, "2024-02.csv", "c2")
    given = source(tmp_path)
    assert (customers(given), customers(given, FEB)) == (["c1"], ["c2"])


def test_an_accepted_file_is_moved_aside_and_stays_the_months_delivery(tmp_path: Path) -> None:
    given = source(tmp_path)
    content = put(tmp_path).read_bytes()
    before, (rows, delivery) = given.identity(JAN), read(given)
    assert delivery.accept
    assert lying(tmp_path) == ["2024-01.csv"]
    delivery.accept()
    delivery.accept()
    assert lying(tmp_path) == [".ingested/shop/2024-01/0001-2024-01.csv"]
    assert (tmp_path / "incoming/.ingested/shop/2024-01/0001-2024-01.csv").read_bytes() == content
    assert given.identity(JAN) == before
    assert read(given)[0].equals(rows)
    assert given.look() == []


def test_a_later_file_replaces_the_month(tmp_path: Path) -> None:
    given = source(tmp_path)
    for number, customer in enumerate(["c1", "c2", "c1"], start=1):
        before = given.identity(JAN) if number > 1 else None
        put(tmp_path, customer=customer)
        assert given.identity(JAN) != before
        accept(given)
        assert customers(given) == [customer]
        assert lying(tmp_path)[-1] == f".ingested/shop/2024-01/{number:04d}-2024-01.csv"
    assert len(lying(tmp_path)) == 3


def test_the_same_content_dropped_again_changes_nothing_and_is_kept(tmp_path: Path) -> None:
    given = source(tmp_path)
    put(tmp_path)
    accept(given)
    before = given.identity(JAN)
    put(tmp_path, "2024-01.txt")
    [waiting] = given.look()
    assert (waiting.status, waiting.month, waiting.sha256) == ("known", JAN, None)
    assert "ingested with the same content, as 0001-2024-01.csv" in waiting.note
    assert given.identity(JAN) == before
    accept(given)
    assert [Path(p).name for p in lying(tmp_path)] == ["0001-2024-01.csv", "0002-2024-01.txt"]
    assert given.identity(JAN) == before


def test_numbers_grow_beyond_four_digits(tmp_path: Path) -> None:
    shelf = tmp_path / "incoming/.ingested/shop/2024-01"
    shelf.mkdir(parents=True)
    (shelf / "9999-2024-01.csv").write_text("id\nc1\n")
    given = source(tmp_path)
    for customer in ("c2", "c3"):
        put(tmp_path, customer=customer)
        accept(given)
    assert {"10000-2024-01.csv", "10001-2024-01.csv"} <= {path.name for path in shelf.iterdir()}
    assert customers(given) == ["c3"]


def test_a_delivery_says_by_which_name_it_arrived(tmp_path: Path) -> None:
    put(tmp_path, "Customers_2024-01 (1).CSV")
    given = source(tmp_path, pattern="customers_{month}*.csv")
    for path in ("Customers_2024-01 (1).CSV", "0001-Customers_2024-01 (1).CSV"):
        rows, delivery = read(given)
        assert rows["_file"].to_list() == ["Customers_2024-01 (1).CSV"]
        assert delivery.provenance["kind"] == "incoming"
        assert delivery.provenance["arrived"] == "Customers_2024-01 (1).CSV"
        assert [file["name"] for file in delivery.provenance["files"]] == [path]
        assert delivery.accept
        delivery.accept()


def test_a_month_without_a_file_says_what_to_drop_where(tmp_path: Path) -> None:
    for given, example in [
        (source(tmp_path, pattern="customers_{month}.csv"), "customers_2024-01.csv"),
        (source(tmp_path), "2024-01.csv"),
        (source(tmp_path, pattern="{month}.*", format="excel"), "2024-01.xlsx"),
        (source(tmp_path, pattern="*_{year}{number}_*.csv"), "_202401_.csv"),
    ]:
        for asked in (given.identity, given.read):
            with pytest.raises(SourceError) as error:
                asked(JAN)
            assert str(error.value) == (
                f"2024-01: expected a file such as {example} in {tmp_path}/incoming, found none. Drop it there. "
                "Nothing was ingested."
            )
        assert given.look() == []


def test_two_differing_files_of_a_month_are_asked_about(tmp_path: Path) -> None:
    put(tmp_path, "2024-01.csv", "c1")
    put(tmp_path, "2024-01.txt", "c2")
    put(tmp_path, "2024-02.csv", "c2")
    given = source(tmp_path)
    for asked in (given.identity, given.read):
        with pytest.raises(SourceError) as error:
            asked(JAN)
        assert str(error.value) == (
            f"{tmp_path}/incoming: expected one file of 2024-01, found 2 that differ: 2024-01.csv, 2024-01.txt. Leave "
            "one there. Nothing was ingested."
        )
    first, second, other = given.look()
    assert (first.status, second.status, other.status) == ("conflict", "conflict", "ready")
    assert first.note == "It differs from 2024-01.txt, of 2024-01 as well. Leave the right one."
    assert len(lying(tmp_path)) == 3


def test_two_equal_files_of_a_month_are_one_and_both_move(tmp_path: Path) -> None:
    put(tmp_path, "2024-01.csv")
    put(tmp_path, "2024-01.txt")
    given = source(tmp_path)
    assert [w.status for w in given.look()] == ["ready", "ready"]
    assert len({w.sha256 for w in given.look()}) == 1
    accept(given)
    assert [Path(p).name for p in lying(tmp_path)] == ["0001-2024-01.csv", "0002-2024-01.txt"]


def test_a_file_that_replaces_the_one_being_read_is_not_accepted_with_it(tmp_path: Path) -> None:
    given = source(tmp_path)
    put(tmp_path, customer="c1")
    _, delivery = read(given)
    put(tmp_path, customer="c2")
    assert delivery.accept
    delivery.accept()
    assert lying(tmp_path) == ["2024-01.csv"]
    assert customers(given) == ["c2"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    put(tmp_path)
    delivery = source(tmp_path).read(JAN)
    put(tmp_path, customer="another", age=10)
    with pytest.raises(SourceError, match="changed while it was read"):
        delivery.batches.read_all()


def test_what_was_read_can_be_accepted_after_its_time_changed(tmp_path: Path) -> None:
    path = put(tmp_path)
    _, delivery = read(source(tmp_path))
    os.utime(path)
    assert delivery.accept
    delivery.accept()
    assert lying(tmp_path) == [".ingested/shop/2024-01/0001-2024-01.csv"]


@pytest.mark.parametrize(
    "name",
    [
        ".2024-01.csv", "2024-01.csv.part", "2024-01.csv.PARTIAL", "2024-01.tmp", "2024-01.csv.crdownload",
        "2024-01.csv.filepart", "2024-01.csv.download", "~$2024-01.xlsx", ".~lock.2024-01.xlsx#",
    ],
)  # fmt: skip
def test_what_is_still_being_written_by_its_name_is_left_alone(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    given = source(tmp_path, pattern="*{month}*")
    assert statuses(given) == {name: "settling"}
    with pytest.raises(SourceError, match="found none"):
        given.read(JAN)
    put(tmp_path, "2024-01.csv", "c2")
    accept(given)
    assert name in lying(tmp_path)


def test_a_young_file_is_waited_for(tmp_path: Path) -> None:
    put(tmp_path, age=2)
    clock = Clock()
    given = source(tmp_path, clock, settle_seconds=5)
    [waiting] = given.look()
    assert (waiting.status, waiting.sha256) == ("settling", None)
    assert waiting.note == "It must stay as it is for 5 s before it is read."
    assert clock.slept == 0
    assert customers(given) == ["c1"]
    assert 2.5 < clock.slept < 3.5
    assert statuses(given) == {"2024-01.csv": "ready"}


def test_a_growing_file_is_waited_for_until_it_is_whole(tmp_path: Path) -> None:
    path, clock = put(tmp_path, customer="c0", age=0), Clock()
    grown = 0

    def grow() -> None:
        nonlocal grown
        if grown < 9:
            grown += 1
            with path.open("a") as file:
                file.write(f"c{grown}\n")
            os.utime(path, (clock.now, clock.now))

    clock.meanwhile = grow
    assert len(customers(source(tmp_path, clock, settle_seconds=5))) == 10


def test_a_copy_that_keeps_its_old_time_is_told_by_its_size(tmp_path: Path) -> None:
    clock = Clock()
    given = source(tmp_path, clock, settle_seconds=5)
    put(tmp_path, customer="c1")
    assert statuses(given) == {"2024-01.csv": "ready"}
    put(tmp_path, customer="another")
    assert statuses(given) == {"2024-01.csv": "settling"}
    clock.sleep(6)
    assert statuses(given) == {"2024-01.csv": "ready"}


def test_a_time_in_the_future_is_no_reason_to_wait_for_it(tmp_path: Path) -> None:
    put(tmp_path, age=-86400)
    clock = Clock()
    given = source(tmp_path, clock, settle_seconds=5)
    assert statuses(given) == {"2024-01.csv": "settling"}
    assert customers(given) == ["c1"]
    assert clock.slept < 6


def test_a_file_that_never_settles_is_given_up(tmp_path: Path) -> None:
    path, clock = put(tmp_path), Clock()
    clock.meanwhile = lambda: os.utime(path, (clock.now, clock.now))
    clock.meanwhile()
    given = source(tmp_path, clock, settle_seconds=5)
    for asked in (given.identity, given.read):
        with pytest.raises(SourceError, match=r"expected a finished file of 2024-01, found 2024-01\.csv still being"):
            asked(JAN)
    assert PATIENCE + 5 <= clock.slept / 2 < PATIENCE + 8


def test_other_months_need_not_settle(tmp_path: Path) -> None:
    put(tmp_path, "2024-01.csv")
    put(tmp_path, "2024-02.csv", age=0)
    clock = Clock()
    assert customers(source(tmp_path, clock, settle_seconds=5)) == ["c1"]
    assert clock.slept == 0


@pytest.mark.parametrize(
    ("pattern", "name", "month"),
    [
        ("{month}.*", "2024-01.csv", JAN), ("{month}.*", "2024-01.csv.gz", JAN), ("{month}.*", "2024-01", None),
        ("{month}.*", "a2024-01.csv", None), ("customers_{month}.csv", "CUSTOMERS_2024-01.CSV", JAN),
        ("{year}_{number}.csv", "2024_01.csv", JAN), ("{year}{number}*.csv", "20240131.csv", JAN),
        ("*{year}{number}*", "20201012.csv", Month(2020, 10)), ("*_{number}.{year}.csv", "x_01.2024.csv", JAN),
        ("*{month}*", "a 2024-01 b", JAN), ("*{month}*", "2024-01 to 2024-02.csv", None),
        ("*{month}*", "12024-01.csv", None), ("{month}.*", "2024-13.csv", None), ("{month}.*", "2024-00.csv", None),
        ("{month}.csv", "2024-01xcsv", None), ("[{month}].csv", "[2024-01].csv", JAN),
        ("{month}_{month_start}.csv", "2024-01_2024-01-01.csv", JAN),
        ("{month}_{month_start}.csv", "2024-01_2024-02-01.csv", None),
        ("Ka\u0308ufe {month}.csv", "K\u00e4ufe 2024-01.csv", JAN), ("{month}.*", "2024-01.a\nb", JAN),
    ],
)  # fmt: skip
def test_names_tell_months(tmp_path: Path, pattern: str, name: str, month: Month | None) -> None:
    put(tmp_path, name)
    [waiting] = source(tmp_path, pattern=pattern).look()
    assert waiting.month == month
    assert waiting.status == ("ready" if month else "unnamed")


def test_what_names_no_month_is_never_silently_ignored(tmp_path: Path) -> None:
    put(tmp_path, "2024-13.csv")
    put(tmp_path, "customers.csv")
    (tmp_path / "incoming/2024-01").mkdir()
    (tmp_path / "incoming/2024-02.csv").symlink_to(put(tmp_path, "../elsewhere.csv"))
    put(tmp_path, ".DS_Store")
    given = source(tmp_path)
    assert {w.name: (w.status, w.note) for w in given.look()} == {
        "2024-01": ("unnamed", "It is a folder. Put its files here."),
        "2024-02.csv": ("unnamed", "It is a link. Put the file itself here."),
        "2024-13.csv": (
            "unnamed", "Its name has a month that doesn't exist. Expected a name such as 2025-06.csv; rename it.",
        ),
        "customers.csv": (
            "unnamed", "Its name has no month where the pattern {month}.* has it. Expected a name such as 2025-06.csv; "
            "rename it.",
        ),
    }  # fmt: skip
    with pytest.raises(SourceError, match="found none"):
        given.read(FEB)
    put(tmp_path, "2024-01 2024-02.csv")
    [waiting] = [w for w in source(tmp_path, pattern="*{month}*").look() if " " in w.name]
    assert waiting.note.startswith("Its name may mean 2024-01 or 2024-02.")


def test_the_identity_follows_content_and_format_but_no_name_or_time(tmp_path: Path) -> None:
    path = put(tmp_path)
    first = source(tmp_path).identity(JAN)
    os.utime(path, (1, 1))
    path.rename(path.with_suffix(".txt"))
    assert source(tmp_path).identity(JAN) == first
    assert source(tmp_path, settle_seconds=1).identity(JAN) == first
    assert source(tmp_path, delimiter=";").identity(JAN) != first
    put(tmp_path, "2024-01.txt", "c2")
    assert source(tmp_path).identity(JAN) != first


def test_contents_that_follow_within_a_tick_of_the_clock_are_told_apart(tmp_path: Path) -> None:
    path = put(tmp_path)
    given = source(tmp_path)
    identities = set()
    for number in range(100, 140):
        path.write_text(f"id\n{number}\n")
        identities.add(given.identity(JAN))
    assert len(identities) == 40


def test_a_file_that_was_looked_at_is_not_hashed_again(tmp_path: Path) -> None:
    path = put(tmp_path)
    os.truncate(path, 300_000_000)
    os.utime(path, (0, 0))
    taken = []
    for _ in range(2):
        # A sensor opens its source anew each time.
        began = time.perf_counter()
        [waiting] = source(tmp_path).look()
        taken.append(time.perf_counter() - began)
        assert waiting.sha256
    assert taken[1] < taken[0] / 10


def test_pipelines_share_a_folder_by_their_patterns(tmp_path: Path) -> None:
    put(tmp_path, "a_2024-01.csv", "c1")
    put(tmp_path, "b_2024-01.csv", "c2")
    a, b = (source(tmp_path, pipeline=name, pattern=f"{name}_{{month}}.csv") for name in "ab")
    assert statuses(a) == {"a_2024-01.csv": "ready", "b_2024-01.csv": "unnamed"}
    accept(a)
    accept(b)
    assert lying(tmp_path) == [".ingested/a/2024-01/0001-a_2024-01.csv", ".ingested/b/2024-01/0001-b_2024-01.csv"]


def test_another_folder_may_be_named(tmp_path: Path) -> None:
    put(tmp_path / "data")
    assert customers(source(Path("/nowhere"), folder=str(tmp_path / "data/incoming"))) == ["c1"]
    assert customers(source(tmp_path, folder="data/incoming")) == ["c1"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_text("")
    with pytest.raises(SourceError, match=r"incoming: expected that it can be read, found Not a directory"):
        source(tmp_path).look()


def test_a_specification_opens_its_drop_folder(tmp_path: Path) -> None:
    put(tmp_path, "shop 2024-01.csv")
    given = {"type": "incoming", "pattern": "shop {month}.csv", "settle_seconds": 0}
    opened = open_source(declared(source=given), tmp_path)
    assert isinstance(opened, IncomingSource)
    accept(opened)
    assert lying(tmp_path) == [".ingested/shop/2024-01/0001-shop 2024-01.csv"]


@pytest.fixture
def other_device(tmp_path: Path) -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


def test_a_file_moves_to_another_file_system_as_a_whole(tmp_path: Path, other_device: Path) -> None:
    content = put(tmp_path).read_bytes()
    (tmp_path / "incoming/.ingested").symlink_to(other_device)
    given = source(tmp_path)
    before = given.identity(JAN)
    accept(given)
    assert given.look() == []
    assert [p.name for p in (other_device / "shop/2024-01").iterdir()] == ["0001-2024-01.csv"]
    assert (other_device / "shop/2024-01/0001-2024-01.csv").read_bytes() == content
    assert given.identity(JAN) == before


ACCEPTOR = """
import sys
from pathlib import Path
from churn_assets.months import Month
from churn_assets.sources.incoming import IncomingSource
from churn_assets.spec import IncomingSourceSpec

given = IncomingSource(IncomingSourceSpec(type="incoming", settle_seconds=0), Path(sys.argv[1]), "shop")
deliveries = {Month(2000, 1) + i: given.read(Month(2000, 1) + i) for i in range(60)}
print("ready", flush=True)
sys.stdin.readline()
for month, delivery in deliveries.items():
    delivery.accept()
    print(month, flush=True)
"""


def test_processes_that_accept_at_once_and_are_killed_lose_no_file(tmp_path: Path) -> None:
    months = month_range(Month(2000, 1), Month(2000, 1) + 59)
    for month in months:
        put(tmp_path, f"{month}.csv", f"c{month}")
        put(tmp_path, f"{month}.txt", f"c{month}")
    command = [sys.executable, "-c", ACCEPTOR, str(tmp_path)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]  # fmt: skip
    for process in started:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert started[0].stdout and [started[0].stdout.readline() for _ in range(20)]
    started[0].send_signal(signal.SIGKILL)
    for process in started:
        process.communicate()
    assert [process.returncode for process in started] == [-signal.SIGKILL, 0, 0]
    found = Counter(path.read_text() for path in (tmp_path / "incoming").rglob("*") if path.suffix in (".csv", ".txt"))
    assert found == {f"id\nc{month}\n": 2 for month in months}
    given = source(tmp_path)
    assert all(customers(given, month) == [f"c{month}"] for month in months[::20])


class DropFolder(RuleBasedStateMachine):
    """Whatever is dropped, replaced, read, accepted, forgotten: no byte is lost, and a month is what it should be."""

    MONTHS = (JAN, FEB)

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        (self.root / "incoming").mkdir()
        self.source = source(self.root)
        self.waiting: dict[str, str] = {}
        self.accepted: dict[Month, list[str]] = {month: [] for month in self.MONTHS}
        self.read: list[tuple[Month, str, Delivery]] = []

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def waiting_of(self, month: Month) -> list[str]:
        return [content for name, content in sorted(self.waiting.items()) if name.startswith(str(month))]

    @rule(month=st.sampled_from(MONTHS), suffix=st.sampled_from(["csv", "txt"]), customer=st.sampled_from("abc"))
    def somebody_drops(self, month: Month, suffix: str, customer: str) -> None:
        put(self.root, f"{month}.{suffix}", customer, age=0)
        self.waiting[f"{month}.{suffix}"] = customer

    @rule(name=st.sampled_from([f"{m}.{s}" for m in MONTHS for s in ("csv", "txt")]))
    def somebody_takes_away(self, name: str) -> None:
        (self.root / "incoming" / name).unlink(missing_ok=True)
        self.waiting.pop(name, None)

    @rule(month=st.sampled_from(MONTHS))
    def a_run_reads(self, month: Month) -> None:
        expected = self.expected(month)
        if expected is None:
            with pytest.raises(SourceError):
                self.source.read(month)
        else:
            rows, delivery = read(self.source, month)
            assert rows["id"].to_list() == [expected]
            self.read.append((month, expected, delivery))

    @precondition(lambda self: self.read)
    @rule(data=st.data(), again=st.booleans())
    def a_run_accepts(self, data: st.DataObject, again: bool) -> None:
        at = data.draw(st.integers(0, len(self.read) - 1))
        month, content, delivery = self.read[at] if again else self.read.pop(at)
        assert delivery.accept
        delivery.accept()
        moved = [name for name, own in self.waiting.items() if name.startswith(str(month)) and own == content]
        for name in moved:
            self.accepted[month].append(self.waiting.pop(name))

    @precondition(lambda self: self.read)
    @rule()
    def a_run_is_killed(self) -> None:
        self.read.pop()

    @rule()
    def the_platform_starts_anew(self) -> None:
        self.source = source(self.root)

    def expected(self, month: Month) -> str | None:
        waiting = self.waiting_of(month)
        if len(set(waiting)) > 1:
            return None
        return next(iter(waiting or self.accepted[month][-1:]), None)

    @invariant()
    def every_byte_is_somewhere(self) -> None:
        if hasattr(self, "root"):
            found = Counter((self.root / "incoming" / path).read_text().split()[1] for path in lying(self.root))
            assert found == Counter([*self.waiting.values(), *(c for all in self.accepted.values() for c in all)])

    @invariant()
    def a_months_identity_is_that_of_what_it_is(self) -> None:
        for month in self.MONTHS if hasattr(self, "root") else ():
            expected = self.expected(month)
            if expected is None:
                with pytest.raises(SourceError):
                    self.source.identity(month)
            else:
                assert self.source.identity(month) == identity_of(expected)

    @invariant()
    def each_waiting_file_is_shown(self) -> None:
        if hasattr(self, "root"):
            seen = {w.name: w.status for w in self.source.look()}
            assert set(seen) == set(self.waiting)
            for name, content in self.waiting.items():
                month = Month.parse(name[:7])
                newest = self.accepted[month][-1:]
                status = "known" if newest == [content] else "ready"
                assert seen[name] == ("conflict" if self.expected(month) is None else status)


TestDropFolder = DropFolder.TestCase
TestDropFolder.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
