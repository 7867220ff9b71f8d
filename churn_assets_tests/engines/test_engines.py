from pathlib import Path
from typing import Any

from churn_assets.assets import ALL
from churn_assets.engines import PolarsEngine, open_engine
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets.spec import EngineSpec
from churn_assets_tests.declared import declared


def test_everything_runs_in_this_process_unless_a_cluster_is_declared() -> None:
    assert isinstance(open_engine(EngineSpec()), PolarsEngine)


def test_another_engine_is_other_code(tmp_path: Path) -> None:
    assert changed(tmp_path, "polars", "spark") == {"features", "model"}


def test_another_cluster_is_not_and_how_it_trains_concerns_the_model_alone(tmp_path: Path) -> None:
    before = {"kind": "spark", "master": "local[2]"}
    settings = {"spark.executor.memory": "8g"}
    assert changed(tmp_path, before, {"kind": "spark", "master": "yarn", "settings": settings}) == set()
    assert changed(tmp_path, before, {**before, "workers": 4}) == {"model"}
    assert changed(tmp_path, before, {**before, "driver_rows": 5000}) == {"model"}


def changed(folder: Path, before: Any, after: Any) -> set[str]:
    """The stages to which another engine is other code."""
    codes = [
        {name: stage.code(Pipeline(declared(engine=engine), Settings(folder, folder))) for name, stage in ALL.items()}
        for engine in (before, after)
    ]
    return {name for name in ALL if codes[0][name] != codes[1][name]}
