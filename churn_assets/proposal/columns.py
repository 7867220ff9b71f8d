"""What a column is, proven by its values, which are read as each type in turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from churn_assets.proposal.reading import Reading, Values
from churn_assets.proposal.words import MONEY, NAMES_SOMEBODY, words
from churn_assets.quality.conventions import counted

MISSING = ("?", "na", "n/a", "#n/a", "nan", "null", "none", "-", "n.a.")
"""Texts that are known to stand for a missing value, in small letters."""

MOST_CATEGORIES = 20

MOST_CODES = 6
"""Different whole numbers that may well be codes."""

TOLERATED = 0.02
"""Share of values that may not be what all others are, for the column to be taken for what the others are."""

_UNITS = ("%", "EUR", "USD", "GBP", "CHF", "GB", "MB")
_A_MONTH = re.compile(r"(?:19|20)[0-9]{2}[-/.]?(?:0[1-9]|1[0-2])")
_TIMED = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")
_DAYS = ("date", "day", "since", "birth", "birthday", "dob", "signup", "joined", "start", "end")
_TRUTH = ("yes", "no", "true", "false")


@dataclass(frozen=True)
class Column:
    """A column as it is proposed.

    Attributes:
        name: its name in the specification.
        received: its name in the files.
        given: the keys of its specification, but for the name.
        seen: what its values are, in a few words.
        remarks: what a person should know or check, in sentences.
        question: what validation will ask before it takes a month; empty if nothing.
        learnable: whether a feature can be made of it.
        distinct: number of its different values.
        rows: number of its values.
    """

    name: str
    received: str
    given: dict[str, Any]
    seen: str
    remarks: tuple[str, ...] = ()
    question: str = ""
    learnable: bool = True
    distinct: int = 0
    rows: int = 0

    @property
    def type(self) -> str:
        return str(self.given["type"])

    @property
    def ignored(self) -> bool:
        return self.given.get("role") == "ignored"

    @property
    def attribute(self) -> bool:
        """Whether a feature is to be made of it."""
        return self.learnable and "role" not in self.given

    def told(self, *remarks: str) -> Column:
        """The column with further remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))


def prove(values: Values, name: str) -> Column:
    """The column that the values show, under ``name``."""
    if not values.readable:
        return _unread(values, name, f"values of type {values.pieces[0]['value'].dtype}")
    tokens = [t for t in values.texts if t.casefold() in MISSING] + ["NaN"] * values.has_nan
    missing = {"missing": tokens} if tokens else {}
    if all(p["value"].null_count() == len(p) for p in values.pieces) or not len(_known(values.texts, tokens, values)):
        return _unread(values, name, "nothing but blanks")
    known = words(values.received)
    for kind in (_boolean, _number, _date):
        if found := kind(values, missing, known):
            return _described(values, name, *found)
    return _text(values, name, missing)


def _known(texts: pl.Series, tokens: Sequence[str], values: Values) -> Sequence[Any]:
    """The values that are neither blank nor stand for a missing one."""
    if any(p["value"].dtype not in (pl.String, pl.Categorical, pl.Null) for p in values.pieces):
        return [True]
    return texts.filter(~texts.is_in([*tokens, ""])).to_list()


def _boolean(values: Values, missing: dict[str, Any], known: frozenset[str]) -> tuple[Reading, list[str]] | None:
    found = values.read(type="boolean", **missing)
    if not found.proven:
        return None
    typed = all(p["value"].dtype == pl.Boolean for p in values.pieces)
    spelt = any(t.casefold() in _TRUTH for t in values.texts)
    # A column of zeros alone may count what nobody did in this month.
    if not typed and not spelt and found.values["value"].drop_nulls().len() < 2:
        return None
    return found, []


def _number(values: Values, missing: dict[str, Any], known: frozenset[str]) -> tuple[Reading, list[str]] | None:
    if values.texts.str.contains("^0[0-9]+$").any():
        return None  # 01234 is a code: as a number it would lose its zero.
    if known & set(_DAYS) and (days := _written(values, values.read(type="date", **missing), "format")).proven:
        return days, []
    marked = values.texts.filter(~values.texts.is_in(missing.get("missing", []))).str.contains("[.,]").any()
    whole = not marked and not any(p["value"].dtype.is_float() for p in values.pieces)
    kinds = ("integer", "number") if whole and not known & MONEY else ("number",)
    forms: list[dict[str, Any]] = [{"type": kind} for kind in kinds]
    forms += [{"type": "number", "unit": u} for u in _UNITS if values.texts.str.contains(u, literal=True).any()]
    for form in forms:
        found = _written(values, values.read(**form, **missing), "decimal")
        if found.proven:
            return found, []
    if asked := _asked_number(values, missing):
        return asked
    return _nearly(values, [values.read(**form, **missing) for form in forms])


def _asked_number(values: Values, missing: dict[str, Any]) -> tuple[Reading, list[str]] | None:
    asked = values.read(type="number", **missing)
    if not asked.asked:
        return None
    signs = values.texts.str.extract(r"(\p{Sc})").drop_nulls().unique().sort().to_list()
    units: list[dict[str, Any]] = [{"unit": sign} for sign in signs] if len(signs) > 1 else [{}]
    answers = [values.read(type="number", decimal=mark, **unit, **missing) for mark in (".", ",") for unit in units]
    return (asked, []) if _fail_always(answers) <= TOLERATED else None


def _date(values: Values, missing: dict[str, Any], known: frozenset[str]) -> tuple[Reading, list[str]] | None:
    found = _written(values, values.read(type="date", **missing), "format")
    if found.proven:
        return found, []
    if found.asked:
        answers = [values.read(type="date", format=f, **missing) for f in _formats(values)]
        return (found, []) if _fail_always(answers) <= TOLERATED else None
    for form in _TIMED:
        timed = values.read(type="date", format=form, **missing)
        if timed.proven:
            return timed, ["The time of day is dropped."]
    return _nearly(values, [found])


def _formats(values: Values) -> list[str]:
    mark = next((m for m in "/-." if values.texts.str.contains(m, literal=True).any()), "/")
    return [f"%d{mark}%m{mark}%Y", f"%m{mark}%d{mark}%Y"]


def _nearly(values: Values, readings: Sequence[Reading]) -> tuple[Reading, list[str]] | None:
    """A reading in which few values fail, if there is one: they are mistakes, and not another type."""
    for found in readings:
        if found.asked or not 0 < found.share_failed <= TOLERATED:
            continue
        return found, [
            f"{counted(int(found.failed['rows'].sum()), 'value')} such as {found.example} can't be read: their rows go "
            "to quarantine. If such a text means that there is no value, add it to missing."
        ]
    return None


def _fail_always(readings: Sequence[Reading]) -> float:
    """Share of the rows whose value can be read in none of several ways."""
    failed = readings[0].failed
    for other in readings[1:]:
        failed = failed.join(other.failed, on="value", how="semi")
    return float(failed["rows"].sum() / readings[0].rows)


def _written(values: Values, found: Reading, key: str) -> Reading:
    """The reading with its convention declared, if a file proves it, for months whose values don't."""
    proven = {c.split(", proven by")[0].removeprefix("decimal ").strip("'") for c in found.conventions if "proven" in c}
    if len(proven) != 1 or ((mark := proven.pop()) == "." and not found.asked):
        return found
    declared = values.read(**found.given, **{key: mark})
    return declared if declared.proven else found


def _described(values: Values, name: str, found: Reading, remarks: list[str]) -> Column:
    known = found.values.filter(pl.col("value").is_not_null())
    blank = 0 if found.asked else found.rows - int(known["rows"].sum()) - int(found.failed["rows"].sum())
    given = dict(found.given)
    question = found.asked
    if given["type"] == "integer" and 2 <= len(known) <= MOST_CODES and int(known["rows"].sum()) >= 2 * MOST_CATEGORIES:
        listed = ", ".join(map(str, sorted(known["value"])))
        remarks = [*remarks, f"If these are codes rather than amounts: {{type: category, allowed: [{listed}]}}."]
    if given["type"] in ("integer", "number") and len(known) and known["value"].min() >= 0:  # type: ignore[operator]
        given["min"] = 0
    if question and given["type"] == "date":
        # No feature is made of a date, so that the question needn't stop a month.
        given["role"] = "ignored"
        remarks, question = [f"Not used, for {question[0].lower()}{question[1:]} Then it can be used."], ""
    return _with_blanks(
        Column(name, values.received, given, _seen(found, known), tuple(remarks), question,
               given["type"] != "date", len(known), int(known["rows"].sum())),
        blank, found,
    )  # fmt: skip


def _text(values: Values, name: str, missing: dict[str, Any]) -> Column:
    # A plan may well be called none.
    tokens = [t for t in missing.get("missing", []) if t.casefold() != "none"]
    found = values.read(type="string", **({"missing": tokens} if tokens else {}))
    if len(found.failed):
        return _unread(values, name, f"values of type {values.pieces[0]['value'].dtype}")
    known = found.values.filter(pl.col("value").is_not_null()).sort("value")
    texts, rows = known["value"].to_list(), int(known["rows"].sum())
    given, remarks = dict(found.given), []
    if all(_A_MONTH.fullmatch(t) for t in texts):
        given["role"] = "ignored"
        remarks = ["Names a month, not what a customer is like, and the next month has another."]
    elif 2 <= len(texts) <= MOST_CATEGORIES and 2 * len(texts) <= rows and not any(_is_template(t) for t in texts):
        given = {"type": "category", "allowed": texts, **{k: v for k, v in given.items() if k != "type"}}
        if len({t.casefold() for t in texts}) < len(texts):
            remarks = ["Some of these differ in capitals alone: keep one of them, and the others are read as it."]
    elif 2 * len(texts) > rows:
        given["role"] = "ignored"
        remarks = ["Differs from row to row: there is nothing to learn from it."]
    blank = found.rows - rows
    column = Column(name, values.received, given, f"{len(texts):,} different texts", tuple(remarks), "", True,
                    len(texts), rows)  # fmt: skip
    return _with_blanks(column, blank, found)


def _with_blanks(column: Column, blank: int, found: Reading) -> Column:
    given = column.given
    tokens = given.pop("missing", None)
    if blank and "role" not in given:
        given["nullable"] = True
    if tokens and "role" not in given:
        given["missing"] = tokens
    named = f" ({', '.join(tokens)})" if tokens else ""
    return replace(column, seen=f"{column.seen}, {blank:,} missing{named}") if blank else column


def _seen(found: Reading, known: pl.DataFrame) -> str:
    values = known["value"]
    if found.asked or values.is_empty():
        return "can be read in two ways"
    if found.given["type"] == "boolean":
        true = int(known.filter(pl.col("value"))["rows"].sum())
        return f"{true:,} of {int(known['rows'].sum()):,} are true"
    low: Any = values.min()
    high: Any = values.max()
    if found.given["type"] == "date":
        return f"{low} to {high}"
    return f"{float(low):,.12g} to {float(high):,.12g}, {len(values):,} different"


def _unread(values: Values, name: str, seen: str) -> Column:
    return Column(name, values.received, {"type": "string", "role": "ignored"}, seen, ("Not used.",), learnable=False)


def _is_template(text: str) -> bool:
    """Whether Dagster would take a text in YAML for a template."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def names_somebody(column: Column) -> bool:
    """Whether the values of a column tell one row from another, and nothing else."""
    different = column.rows > MOST_CATEGORIES and column.distinct == column.rows
    return different and column.type in ("string", "integer") and bool(words(column.received) & NAMES_SOMEBODY)


def neat_names(names: Sequence[str], taken: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each received name with the one it has in the specification.

    >>> list(neat_names(["customerID", "Call  Failure", "month"], ["month"]))
    [('customerID', 'customerID'), ('Call  Failure', 'call_failure'), ('month', 'month_received')]
    """
    used = {n.casefold() for n in taken}
    plain = {n.casefold() for n in names if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", n)}
    for name in names:
        neat = name if name.casefold() in plain else "_".join(re.findall(r"[^\W_]+", name.lower()))
        if neat != name and (neat.casefold() in plain or not neat or neat.casefold() in used - set(taken)):
            neat = name
        while neat.casefold() in used:
            neat += "_received"
        used.add(neat.casefold())
        yield name, neat
