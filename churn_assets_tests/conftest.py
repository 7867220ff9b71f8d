from pathlib import Path

import pytest

from churn_assets_tests.installation import Installation, small_spec

MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Five months of the small pipeline, run once; to be looked at, not changed."""
    made = Installation.create(tmp_path_factory.mktemp("finished") / "home", churn=small_spec())
    results = made.run(MONTHS)
    assert all(r.success for r in results), [r.problems for r in results]
    return made


@pytest.fixture
def own(finished: Installation, tmp_path: Path) -> Installation:
    """A copy of the five months, to be changed at will."""
    return finished.copy(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets, which lie beside the project and never in it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data sets at {folder}")
    return folder
