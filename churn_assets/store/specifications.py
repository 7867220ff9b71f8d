"""Specifications as they were, so that what was made in the past can be made again as it was declared then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churn_assets.errors import LakeError
from churn_assets.spec import PipelineSpec
from churn_assets.store.content import json_hash
from churn_assets.store.lake import replace_file


def dumped(spec: PipelineSpec) -> dict[str, Any]:
    """A whole specification as JSON, defaults included; secrets stay the names of environment variables."""
    return spec.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True)
class SpecificationShelf:
    """The specifications that anything in a lake was made by, by the hash of what they say."""

    root: Path

    def put(self, spec: PipelineSpec) -> str:
        """Keeps a specification and gives its hash; one that is kept already is left as it is."""
        document = dumped(spec)
        name = json_hash(document)[:16]
        if not (place := self.root / f"{name}.json").exists():
            replace_file(place, json.dumps(document, indent=1).encode())
        return name

    def get(self, name: str) -> PipelineSpec:
        """The specification of that hash.

        Raises:
            LakeError: it isn't there, or this release doesn't understand it any more.
        """
        place = self.root / f"{name}.json"
        try:
            return PipelineSpec.model_validate(json.loads(place.read_text()))
        except FileNotFoundError:
            raise LakeError(
                f"specification {name}: expected {place}, found no such file. Restore it; without it the months made "
                "by it can't be made again as they were."
            ) from None
        except ValueError as error:
            raise LakeError(
                f"specification {name}: expected one that this release understands, found in {place}: {error}. Use the "
                "release that wrote it."
            ) from error
