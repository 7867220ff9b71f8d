"""Values that the specification takes from the environment, ``{{ env.NAME }}``: secrets, as a rule.

They are looked up where they are used. A specification holds but their names, so that no secret stands in metadata, a
new password makes nothing stale, and a process that lacks one (a web server) can load the pipeline all the same.
"""

from __future__ import annotations

import os
import re
from typing import Any, TypeVar

from pydantic import ValidationError

from churn_assets.errors import SpecError
from churn_assets.spec.base import SpecModel

Section = TypeVar("Section", bound=SpecModel)

_NAMED = re.compile(r"\{\{\s*env(?:\.(?P<plain>\w+)|\(\s*(?P<quote>['\"])(?P<name>\w+)(?P=quote)\s*\))\s*\}\}")


def names_environment(text: str) -> bool:
    """Whether a text takes something from the environment."""
    return _NAMED.search(text) is not None


def with_environment(section: Section, place: str) -> Section:
    """``section`` with the environment's values in place of their names.

    Args:
        section: a part of a specification.
        place: its name there, for the error.

    Raises:
        SpecError: a variable isn't set, or a value doesn't fit.
    """
    missing: set[str] = set()
    given = _looked_up(section.model_dump(mode="json", by_alias=True, exclude_unset=True), missing)
    if missing:
        raise SpecError(
            f"{place}: expected the environment variable {', '.join(sorted(missing))}, which the specification names, "
            "found it isn't set. Set it where this runs, or in a file .env in the folder that this was started in."
        )
    try:
        return type(section).model_validate(given)
    except ValidationError as error:
        # The values themselves aren't shown: they are secrets, as a rule.
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise SpecError(f"{place}, with what the environment gives: {told}") from None


def _looked_up(value: Any, missing: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _looked_up(one, missing) for key, one in value.items()}
    if isinstance(value, list):
        return [_looked_up(one, missing) for one in value]
    return _NAMED.sub(lambda found: _value(found, missing), value) if isinstance(value, str) else value


def _value(found: re.Match[str], missing: set[str]) -> str:
    name = found["plain"] or found["name"]
    if name not in os.environ:
        missing.add(name)
    return os.environ.get(name, "")
