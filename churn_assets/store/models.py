"""Models that were trained, kept for good: a champion of the past must score its month again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churn_assets.errors import LakeError
from churn_assets.store.lake import replace_file

_FILES = ("model.pkl", "card.md", "facts.json")


@dataclass(frozen=True)
class ModelShelf:
    """The trained models of one pipeline, by id; each is written once and never changed."""

    root: Path

    def put(self, model_id: str, artefact: bytes, facts: dict[str, Any], card: str = "") -> Path:
        """Keeps a model with what must be known of it and its card; putting the same one again changes nothing."""
        folder = self.root / model_id
        replace_file(folder / "model.pkl", artefact)
        replace_file(folder / "card.md", card.encode())
        replace_file(folder / "facts.json", json.dumps(facts, indent=1, sort_keys=True).encode())
        return folder

    def has(self, model_id: str) -> bool:
        """Whether the model is there, whole."""
        return all((self.root / model_id / name).exists() for name in _FILES)

    def artefact(self, model_id: str) -> bytes:
        """The model's bytes.

        Raises:
            LakeError: the model isn't there.
        """
        return self._file(model_id, "model.pkl").read_bytes()

    def facts(self, model_id: str) -> dict[str, Any]:
        """What was kept with the model.

        Raises:
            LakeError: the model isn't there.
        """
        facts: dict[str, Any] = json.loads(self._file(model_id, "facts.json").read_text())
        return facts

    def card(self, model_id: str) -> str:
        """The model's card, in Markdown.

        Raises:
            LakeError: the model isn't there.
        """
        return self._file(model_id, "card.md").read_text()

    def _file(self, model_id: str, name: str) -> Path:
        path = self.root / model_id / name
        if not path.exists():
            raise LakeError(
                f"model {model_id}: expected {path}, found no such file. Restore it, or run the month that the model's "
                "name begins with again."
            )
        return path
