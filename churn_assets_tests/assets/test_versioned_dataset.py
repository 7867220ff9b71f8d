"""What the UI is shown of a dataset."""

from __future__ import annotations

import base64
from pathlib import Path

import dagster as dg
import pytest

from churn_assets_tests.installation import Installation

pytestmark = pytest.mark.e2e


def test_the_split_is_drawn_the_classes_are_counted_and_the_manifest_is_linked(finished: Installation) -> None:
    with finished.instance() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["churn", "versioned_dataset"]))
    assert event is not None and event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    drawn = str(shown["which month serves for what"].value)
    picture = base64.b64decode(drawn.partition("base64,")[2].removesuffix(")")).decode()
    for part in ("fit (2)", "calibrate (1)", "validate (1)", "immature (1)", "2024-05"):
        assert part in picture, part
    balance = shown["class balance"]
    assert isinstance(balance, dg.TableMetadataValue)
    assert [record.data["part"] for record in balance.records] == ["fit", "calibrate", "validate"]
    assert sum(int(str(record.data["rows"])) for record in balance.records) == shown["labelled rows"].value
    pipeline = finished.pipeline()
    manifest = pipeline.datasets.root / f"{shown['dataset version'].value}.json"
    assert Path(str(shown["manifest"].value)).read_bytes() == manifest.read_bytes()
    assert pipeline.datasets.has(str(shown["dataset version"].value))
