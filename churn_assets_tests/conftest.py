from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from xdist.scheduler import Scheduling

    from churn_assets_tests.installation import Installation

    Make = Callable[[Path], Installation]
    Prepare = Callable[[str, Make], Installation]

MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]

SETTINGS = ("CHURN_DATA", "CHURN_DEFS", "DAGSTER_HOME", "MLFLOW_TRACKING_URI")

MEMORY, SPACE = Path("/dev/shm"), 6 * 2**30
"""A disk in memory, and the bytes that must be free there: a run of all tests leaves up to two gigabytes."""

ON_CLUSTER = ("engines/test_spark.py", "learning/test_distributed.py", "features/test_events.py", "e2e/test_spark.py")
"""Files whose tests need a Spark cluster: one worker starts one for all of them."""

WEIGHTY = ("e2e/test_ui", *ON_CLUSTER, "e2e/", "cli/", "store/online/", "learning/", "test_proposal")
"""Where tests take long, longest first: begun last, one of them would hold up the end while other workers idle."""


def pytest_configure() -> None:
    """Puts what tests write on a disk in memory: Dagster's database waits for the disk at every event.

    Several workers leave each other the processors: threads that wait for one another would only burn them.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > SPACE:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def weight(item: pytest.Item) -> int:
        place = item.path.as_posix()
        return next((i for i, part in enumerate(WEIGHTY) if part in place), len(WEIGHTY))

    items.sort(key=weight)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, for some tests mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Gives whole files to workers, in the order above; those that need a cluster go to one worker."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "on a Spark cluster" if file.endswith(ON_CLUSTER) else file

    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByFileOrCluster(config, log)


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    """A test that leaves a setting behind fails, and not the one that comes next in its process."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    yield
    assert {name: os.environ.get(name) for name in SETTINGS} == before


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Makes an installation once for all workers of a test run, by its name, and gives each worker a copy.

    Nobody opens the one that is copied: beside an open database lie files that come and go.
    """
    from churn_assets_tests.installation import Installation

    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prepared"

    def prepare(name: str, make: Make) -> Installation:
        home, made = shared / name / "home", shared / name / "made"
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{home}.lock"):
            if not made.exists():
                shutil.rmtree(home, ignore_errors=True)  # Left by a worker that failed to make it.
                make(home)
                made.touch()
        return Installation(home).copy(tmp_path_factory.mktemp(name) / "home")

    return prepare


@pytest.fixture(scope="session")
def finished(prepared: Prepare) -> Installation:
    """Five months of the small pipeline; to be looked at, not changed."""
    from churn_assets_tests.installation import Installation, small_spec

    def make(home: Path) -> Installation:
        made = Installation.create(home, churn=small_spec())
        made.run_all(MONTHS)
        return made

    return prepared("finished", make)


@pytest.fixture
def own(finished: Installation, tmp_path: Path) -> Installation:
    """A copy of the five months, to be changed at will."""
    return finished.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def filed(finished: Installation, prepared: Prepare) -> Installation:
    """The small pipeline, fed by one CSV file a month; four are delivered, three months are run."""
    from churn_assets_tests.installation import Installation, small_spec

    def make(home: Path) -> Installation:
        made = Installation.create(home, churn=small_spec(source={"type": "file", "path": "incoming/{month}.csv"}))
        for month in MONTHS[:4]:
            made.deliver(month, finished.received(month))
        made.run_all(MONTHS[:3])
        return made

    return prepared("filed", make)


@pytest.fixture
def own_files(filed: Installation, tmp_path: Path) -> Installation:
    """A copy of it, to be changed at will."""
    return filed.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets, which lie beside the project and never in it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data sets at {folder}")
    return folder
