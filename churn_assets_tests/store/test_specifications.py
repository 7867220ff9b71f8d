from pathlib import Path
from typing import Any

import pytest

from churn_assets.errors import LakeError
from churn_assets.spec import PipelineSpec
from churn_assets.store.specifications import SpecificationShelf, dumped
from churn_assets_tests.declared import declared
from churn_assets_tests.installation import shipped_spec

SECRET = {"type": "sql", "url": "{{ env.DATABASE }}", "query": "select * from c where m = :month_start"}


@pytest.mark.parametrize(
    "spec",
    [declared(), declared(source=SECRET), PipelineSpec.model_validate({**shipped_spec(), "name": "churn"})],
    ids=["small", "secret", "shipped"],
)
def test_what_is_kept_gives_the_equal_specification(tmp_path: Path, spec: PipelineSpec) -> None:
    shelf = SpecificationShelf(tmp_path)
    assert shelf.get(shelf.put(spec)) == spec


def test_a_secret_stays_the_name_of_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", "postgresql://ann:secret@db/crm")
    name = SpecificationShelf(tmp_path).put(declared(source=SECRET))
    assert "secret" not in (kept := (tmp_path / f"{name}.json").read_text())
    assert "{{ env.DATABASE }}" in kept


def test_equal_specifications_have_one_name_and_others_another(tmp_path: Path) -> None:
    shelf = SpecificationShelf(tmp_path)
    given: dict[str, Any] = {"training": {"months": 6}}
    assert shelf.put(declared(**given)) == shelf.put(declared(**given, automation={}))
    assert shelf.put(declared(training={"months": 7})) != shelf.put(declared(**given))
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert dumped(declared(**given))["training"]["seed"] == 0


def test_one_that_is_gone_or_not_understood_is_named(tmp_path: Path) -> None:
    shelf = SpecificationShelf(tmp_path)
    with pytest.raises(LakeError, match=r"specification abc: expected .*abc\.json, found no such file"):
        shelf.get("abc")
    (tmp_path / "abc.json").write_text('{"name": "shop"}')
    with pytest.raises(LakeError, match="expected one that this release understands"):
        shelf.get("abc")


def test_what_is_kept_stands_for_the_same_code(tmp_path: Path) -> None:
    from churn_assets.assets import ALL
    from churn_assets.pipeline import Pipeline
    from churn_assets.settings import Settings

    spec, shelf = declared(), SpecificationShelf(tmp_path)
    was, now = (Pipeline(s, Settings(tmp_path, tmp_path)) for s in (spec, shelf.get(shelf.put(spec))))
    assert [stage.code(now) for stage in ALL.values()] == [stage.code(was) for stage in ALL.values()]
