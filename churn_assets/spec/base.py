"""The base of every section of a pipeline's specification: strict, frozen, and with errors a person can act on."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected a text, found {str(value).lower()}. Put it into quotes, such as 'Yes'.")
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_as_text)]
"""A text that YAML may take for a number, such as a category called 1."""


def _responsible(owner: str) -> str:
    if not (owner.startswith("team:") or "@" in owner):
        raise ValueError(f"expected team:<name> or an e-mail address, found {owner!r}.")
    return owner


Owner = Annotated[str, AfterValidator(_responsible)]
"""Who answers for something: a team, or a person by the e-mail address."""


def nearest(name: str, known: list[str]) -> str:
    """A sentence that names what ``name`` may have been meant to be.

    >>> nearest("horizn", ["horizon", "kind"])
    "Did you mean 'horizon'? Known here: horizon, kind."
    """
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known here: {', '.join(sorted(known)) or 'nothing'}."


def finding(loc: tuple[int | str, ...], message: str, value: Any = None) -> InitErrorDetails:
    """One finding, to be raised with others as ``ValidationError.from_exception_data``."""
    # A type of error that pydantic itself knows: Dagster rebuilds every finding to add its line in the file.
    told = message.removeprefix("Value error, ")
    return InitErrorDetails(type="value_error", loc=loc, input=value, ctx={"error": ValueError(told)})


class SpecModel(BaseModel):
    """A section of the specification. Unknown keys are refused with the nearest known one."""

    # A default of 12 where a number is declared is 12.0, as it is once it was kept and read again.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, validate_default=True)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise ValidationError.from_exception_data(
                cls.__name__, [cls._reworded(e) for e in error.errors(include_url=False)]
            ) from None

    @classmethod
    def _reworded(cls, error: ErrorDetails) -> InitErrorDetails:
        loc, value, kind = error["loc"], error["input"], error["type"]
        if kind == "extra_forbidden" and len(loc) == 1:
            known = [f.alias or name for name, f in cls.model_fields.items()]
            return finding(loc, f"unknown key {loc[0]!r}. {nearest(str(loc[0]), known)}", value)
        if kind == "union_tag_invalid":
            tag, tags = error["ctx"]["tag"], error["ctx"]["expected_tags"].replace("'", "").split(", ")
            key = error["ctx"]["discriminator"].strip("'")
            return finding((*loc, key), f"{key} {tag!r} isn't known. {nearest(tag, tags)}", value)
        if kind == "missing":
            return finding(loc, "expected a value, found nothing. Add this key.", None)
        return finding(loc, error["msg"], value)
