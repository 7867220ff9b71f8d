from pathlib import Path

import pytest

from churn_assets.errors import LakeError
from churn_assets.store.models import ModelShelf


def test_a_model_comes_back_as_it_was_put(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path / "_models")
    assert not shelf.has("m1")
    folder = shelf.put("m1", b"\x00model", {"auc": 0.1, "features": ["a"]})
    shelf.put("m2", b"other", {})
    assert shelf.has("m1")
    assert folder == tmp_path / "_models" / "m1"
    assert shelf.artefact("m1") == b"\x00model"
    assert shelf.facts("m1") == {"auc": 0.1, "features": ["a"]}
    assert (shelf.artefact("m2"), shelf.facts("m2")) == (b"other", {})


def test_putting_the_same_model_again_changes_nothing(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path)
    folder = shelf.put("m1", b"model", {"b": 1, "a": 2})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    shelf.put("m1", b"model", {"a": 2, "b": 1})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("lost", ["model.pkl", "facts.json", "card.md"])
def test_a_model_that_has_lost_a_file_is_not_there(tmp_path: Path, lost: str) -> None:
    shelf = ModelShelf(tmp_path)
    (shelf.put("m1", b"model", {}, "# m1") / lost).unlink()
    assert not shelf.has("m1")
    read = {"model.pkl": shelf.artefact, "facts.json": shelf.facts, "card.md": shelf.card}
    with pytest.raises(LakeError, match=rf"model m1: expected .*{lost}, found no such file"):
        read[lost]("m1")


def test_a_models_card_is_kept_with_it_and_follows_its_decision(tmp_path: Path) -> None:
    shelf = ModelShelf(tmp_path)
    shelf.put("m1", b"model", {}, "# Model m1")
    assert shelf.card("m1") == "# Model m1"
    shelf.put("m1", b"model", {}, "# Model m1, rejected")
    assert shelf.card("m1") == "# Model m1, rejected"
    with pytest.raises(LakeError):
        shelf.card("m2")
