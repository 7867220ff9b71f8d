from __future__ import annotations

from pathlib import Path
from typing import Any

from churn_assets.assets import ALL
from churn_assets.component import build_definitions
from churn_assets.pipeline import Pipeline
from churn_assets.settings import Settings
from churn_assets_tests.declared import COLUMNS, declared

FEATURES = [{"kind": "columns", "columns": ["calls", "charge"]}, {"kind": "lag", "column": "calls", "months": 2}]
BEHIND = {"features", "feature_store", "versioned_dataset", "model", "predictions", "retention_list", "monitoring"}


def pipeline(**changes: Any) -> Pipeline:
    return Pipeline(declared(features=FEATURES, **changes), Settings(Path("data"), Path("defs")))


def changed(lag: dict[str, Any]) -> set[str]:
    """The stages whose months are out of date once the lag is declared otherwise."""
    other = Pipeline(declared(features=[FEATURES[0], {**FEATURES[1], **lag}]), Settings(Path("data"), Path("defs")))
    return {name for name, stage in ALL.items() if stage.code(other) != stage.code(pipeline())}


def test_a_changed_definition_concerns_the_features_and_what_is_behind_them() -> None:
    assert changed({"months": 3}) == BEHIND


def test_what_is_said_of_a_feature_concerns_its_page_alone() -> None:
    assert changed({"description": "Calls two months ago."}) == {"feature_store"}
    assert changed({"owner": "ann@example.com"}) == {"feature_store"}


def test_what_a_missing_value_says_concerns_the_list_and_what_repeats_the_specification() -> None:
    columns = [{**c, "when_missing": "no calls"} if c["name"] == "calls" else c for c in COLUMNS]
    other = pipeline(schema={"key": "customer_id", "columns": columns})
    found = {name for name, stage in ALL.items() if stage.code(other) != stage.code(pipeline())}
    assert found == {"validated_data", "feature_store", "retention_list"}


def kinds(**changes: Any) -> dict[str, set[str]]:
    specs = build_definitions(pipeline(**changes)).resolve_all_asset_specs()
    return {spec.key.path[-1]: set(spec.kinds) for spec in specs}


def test_the_kinds_of_an_asset_say_what_it_is_made_with() -> None:
    assert kinds()["features"] == {"deltalake", "polars"}
    assert kinds(engine="spark")["features"] == {"deltalake", "spark"}
    assert kinds()["feature_store"] == {"deltalake", "sqlite"}
    assert kinds(online={"url": "redis://host:6379/0"})["feature_store"] == {"deltalake"}
