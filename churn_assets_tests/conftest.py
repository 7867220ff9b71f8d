from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from churn_assets_tests.installation import Installation

MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Five months of the small pipeline, run once; to be looked at, not changed."""
    from churn_assets_tests.installation import Installation, small_spec

    made = Installation.create(tmp_path_factory.mktemp("finished") / "home", churn=small_spec())
    results = made.run(MONTHS)
    assert all(r.success for r in results), [r.problems for r in results]
    return made


@pytest.fixture
def own(finished: Installation, tmp_path: Path) -> Installation:
    """A copy of the five months, to be changed at will."""
    return finished.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def filed(finished: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The small pipeline, fed by one CSV file a month; four are delivered, three months are run."""
    from churn_assets_tests.installation import Installation, small_spec

    spec = small_spec(source={"type": "file", "path": "incoming/{month}.csv"})
    made = Installation.create(tmp_path_factory.mktemp("filed") / "home", churn=spec)
    for month in MONTHS[:4]:
        made.deliver(month, finished.received(month))
    results = made.run(MONTHS[:3])
    assert all(r.success for r in results), [r.problems for r in results]
    return made


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
