from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_assets.errors import LakeError
from churn_assets.months import Month
from churn_assets.store.datasets import (
    PARTS,
    DatasetShelf,
    DatasetVersion,
    Manifest,
    TableMonth,
    closure,
    dataset_version,
    version_of,
)
from churn_assets.store.lake import Commit, Lake

ROWS = [("2024-01", "fit", 90, 9, 1, "f1", "l1"), ("2024-02", "validate", 80, 8, 0, "f2", "l2")]
RECIPE = {"label": {"kind": "flag", "horizon": 1}, "features": ["a", "b"]}


def made(rows: list[tuple[Any, ...]] = ROWS, split: Any = "out_of_time", recipe: Any = RECIPE) -> DatasetVersion:
    return dataset_version(Month(2024, 3), split, "why", pl.DataFrame(rows, PARTS, orient="row"), recipe)


def test_equal_content_gives_the_equal_version_in_any_order() -> None:
    assert made().id == made(ROWS[::-1]).id == made(recipe=dict(reversed(RECIPE.items()))).id
    assert made(ROWS[::-1]).parts.equals(made().parts)
    assert len(made().id) == 16


@pytest.mark.parametrize("column", range(7))
def test_each_figure_of_each_part_makes_another_version(column: int) -> None:
    changed = list(ROWS[1])
    changed[column] = changed[column] + 1 if isinstance(changed[column], int) else f"{changed[column]}x"
    assert made([ROWS[0], tuple(changed)]).id != made().id


def test_the_split_the_recipe_and_the_number_of_parts_make_another_version() -> None:
    others = [made(split="holdout"), made(recipe={**RECIPE, "features": ["b", "a"]}), made(ROWS[:1]), made([])]
    assert len({made().id, *(m.id for m in others)}) == 5


def test_rows_and_churners_are_counted_over_all_parts() -> None:
    assert (made().rows, made().positives) == (170, 17)
    assert (made([]).rows, made([]).positives) == (0, 0)


JANUARY = Month(2024, 1)


def keep(lake: Lake, table: str, rows: list[int], **inputs: str) -> str:
    """Writes January of a table, made from ``inputs`` of January; its content."""
    read = {f"{name} {JANUARY}": content for name, content in inputs.items()}
    commit = Commit(f"{rows} {read}", read, "code")
    return lake.write(table, JANUARY, pl.DataFrame({table: rows}), commit, facts={"spec": "s"}).content


def test_the_closure_goes_down_to_what_was_received_as_it_was_read(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    raw, mended = keep(lake, "raw_data", [1]), keep(lake, "amendments", [9])
    valid = keep(lake, "validated_data", [1], raw_data=raw, amendments=mended)
    features = keep(lake, "features", [1], validated_data=valid)
    keep(lake, "validated_data", [2], raw_data=keep(lake, "raw_data", [2]))
    found = {t.name: t for t in closure(lake, {"features 2024-01": features})}
    assert set(found) == {"features 2024-01", "validated_data 2024-01", "raw_data 2024-01", "amendments 2024-01"}
    assert found["raw_data 2024-01"].content == raw
    assert (found["validated_data 2024-01"].content, found["validated_data 2024-01"].code) == (valid, "code")
    assert (found["validated_data 2024-01"].spec, found["validated_data 2024-01"].rows) == ("s", 1)
    earlier = version_of(lake, "raw_data", JANUARY, raw)
    assert earlier is not None
    assert lake.scan_record(earlier).collect()["raw_data"].to_list() == [1]


def test_what_no_record_is_left_of_stands_in_the_closure_without_a_version(tmp_path: Path) -> None:
    (gone,) = closure(Lake(tmp_path), {"features 2024-01": "f"})
    assert (gone.name, gone.content, gone.version, gone.rows) == ("features 2024-01", "f", None, None)


def manifest(version: str = "0123456789abcdef", **changes: Any) -> Manifest:
    inputs = (TableMonth("features", "2024-01", "f1", 3, 90, "code", "s", {"validated_data 2024-01": "v1"}),)
    given: dict[str, Any] = {
        "id": version, "pipeline": "churn", "month": "2024-03", "kind": "out_of_time", "reason": "why",
        "split": {"fit": ("2024-01",), "validate": ("2024-02",)}, "parts": tuple(made().parts.to_dicts()),
        "content": "c", "features": {"a": "number"}, "reads": {"features 2024-01": "f1"}, "inputs": inputs, "spec": "s",
        "specification": {"name": "churn"}, "code": "code", "libraries": {"polars": "2.1.0"},
    }  # fmt: skip
    return Manifest(**{**given, **changes})


def test_a_manifest_comes_back_as_it_was_put_and_is_never_changed(tmp_path: Path) -> None:
    shelf = DatasetShelf(tmp_path)
    place = shelf.put(manifest())
    assert shelf.get("0123456789abcdef") == manifest()
    assert shelf.put(manifest(reason="another")) == place
    assert shelf.get("0123456789abcdef").reason == "why"
    assert (manifest().rows, manifest().positives, manifest().rate) == (170, 17, 0.1)


def test_a_version_may_be_shortened_as_long_as_it_names_one(tmp_path: Path) -> None:
    shelf = DatasetShelf(tmp_path)
    for version in ("0123456789abcdef", "0123ffffffffffff"):
        shelf.put(manifest(version))
    assert shelf.find("01234").id == "0123456789abcdef"
    assert [m.id for m in shelf.all()] == ["0123456789abcdef", "0123ffffffffffff"]
    for text, told in (("0123", "found 2: 0123456789abcdef, 0123ffffffffffff"), ("beef", "found none"),
                       ("012", "at least 4 characters"), ("../..", "at least 4 characters")):  # fmt: skip
        with pytest.raises(LakeError, match=told):
            shelf.find(text)


def test_a_manifest_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    shelf = DatasetShelf(tmp_path)
    with pytest.raises(LakeError, match="dataset beef: expected its manifest"):
        shelf.get("beef")
    (tmp_path / "beef.json").write_text("{}")
    with pytest.raises(LakeError, match="dataset beef: expected a manifest in"):
        shelf.get("beef")
