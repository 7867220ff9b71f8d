"""Which received column is which declared one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from churn_assets.errors import QualityError
from churn_assets.spec import SchemaSpec
from churn_assets.spec.base import nearest
from churn_assets.spec.data import PLACE


@dataclass(frozen=True)
class ColumnMatch:
    """Received columns, told apart.

    Attributes:
        received: the received name of every declared column that was found, by declared name.
        undeclared: received columns that the schema doesn't know.
    """

    received: dict[str, str]
    undeclared: tuple[str, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Received name -> declared name, where the two differ."""
        return {theirs: ours for ours, theirs in self.received.items() if ours != theirs}


def folded(name: str) -> str:
    """The letters and digits of a name, in one case.

    >>> folded("Call  Failure") == folded("call_failure") == folded("CALL-FAILURE")
    True
    """
    return "".join(c for c in name.casefold() if c.isalnum())


def match_columns(names: Sequence[str], schema: SchemaSpec) -> ColumnMatch:
    """Finds each declared column by its exact name, else by its source's, else by the same letters and digits.

    Raises:
        QualityError: a column that must be there isn't, or two are equally likely to be it.
    """
    given = [n for n in names if n not in PLACE]
    received = _found(given, schema)
    _require([n for n in _needed(schema) if n not in received], given)
    return ColumnMatch(received, tuple(n for n in given if n not in received.values()))


def missing_columns(names: Sequence[str], schema: SchemaSpec) -> list[str]:
    """Declared columns that must be there and aren't; one that may be either of two is there.

    Args:
        names: the received columns.
        schema: what was declared.
    """
    forms = {folded(n) for n in names if n not in PLACE} - {""}
    known = _known_names(schema)
    return [n for n in _needed(schema) if not {n, *known[n]} & set(names) and not {folded(k) for k in known[n]} & forms]


def _known_names(schema: SchemaSpec) -> dict[str, tuple[str, ...]]:
    sources = {c.name: (c.name, c.source) if c.source else (c.name,) for c in schema.received}
    return {schema.key: (schema.key,), **sources}


def _found(given: list[str], schema: SchemaSpec) -> dict[str, str]:
    wanted = _known_names(schema)
    received: dict[str, str] = {}
    for ours, theirs in _exact(wanted, given):
        received.setdefault(ours, theirs)
    rest = [n for n in given if n not in received.values()]
    return received | _alike({ours: known for ours, known in wanted.items() if ours not in received}, rest)


def _exact(wanted: dict[str, tuple[str, ...]], given: list[str]) -> Iterable[tuple[str, str]]:
    taken = {ours for ours in wanted if ours in given}
    yield from ((ours, ours) for ours in taken)
    for ours, known in wanted.items():
        for source in known[1:]:
            if source in given and source not in taken:
                yield ours, source


def _alike(wanted: dict[str, tuple[str, ...]], given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for ours, known in wanted.items():
        forms = {folded(k) for k in known} - {""}
        alike = [n for n in given if folded(n) in forms]
        if len(alike) > 1:
            raise QualityError(
                f"column {ours!r}: expected one column so named, found {' and '.join(map(repr, alike))}. Name the one "
                f"that is meant with source: in the schema, and give the other 'role: ignored'."
            )
        if alike:
            if rival := next((o for o, theirs in found.items() if theirs == alike[0]), None):
                raise QualityError(
                    f"column {alike[0]!r}: expected it to be one declared column, found that it may be {rival!r} or "
                    f"{ours!r}. Give the one that is meant 'source: {alike[0]}' in the schema."
                )
            found[ours] = alike[0]
    return found


def _needed(schema: SchemaSpec) -> list[str]:
    columns = [c.name for c in schema.received if c.role != "ignored" and not c.optional and c.name != schema.key]
    return [schema.key, *columns] if schema.key_from == "column" else columns


def _require(missing: list[str], given: list[str]) -> None:
    if missing:
        hints = " ".join(f"{n!r}: {nearest(n, given)}" for n in missing[:3])
        raise QualityError(
            f"expected the columns {', '.join(map(repr, missing))}, found none so named. {hints} Mend the file, or the "
            "schema of the pipeline if the source has changed for good."
        )
