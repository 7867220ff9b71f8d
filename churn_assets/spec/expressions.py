"""Rules and columns that are given as SQL expressions: which columns they name, and what they are in Polars."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.spec.base import nearest
from churn_assets.spec.data import ColumnSpec, ColumnType, RuleSpec, SchemaSpec

if TYPE_CHECKING:
    import polars as pl

PREVIOUS = "previous."
"""What the names of the previous row's columns begin with, in the frame that a rule is evaluated on."""

BOUNDS = ("month_start", "month_end")
"""Names that stand for the month's first day and for the first day of the next."""

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^']|'')*') | (?P<previous>\bprevious\s*\.\s*(?:"(?:[^"]|"")+"|[^\W\d]\w*))
      | (?P<quoted>"(?:[^"]|"")*") | (?P<comment>--|/\*) | (?P<word>[^\W\d]\w*)(?P<call>\s*\()?""",
    re.VERBOSE | re.IGNORECASE,
)
_ACROSS_ROWS = ("select", "over", "all", "any", "some", "exists")
_CALLED = ("and", "or", "not", "in", "is", "when", "then", "else", "between", "like", "ilike", "values", "case")
_FUNCTIONS = (
    "abs", "ceil", "ceiling", "floor", "round", "sign", "sqrt", "cbrt", "pow", "power", "exp", "ln", "log", "log2",
    "log10", "mod", "div", "greatest", "least", "coalesce", "ifnull", "nullif", "if", "length", "char_length",
    "octet_length", "bit_length", "lower", "upper", "initcap", "trim", "ltrim", "rtrim", "left", "right", "substr",
    "substring", "replace", "reverse", "concat", "concat_ws", "starts_with", "ends_with", "strpos", "position",
    "regexp_like", "extract", "date_part", "cast", "try_cast", "date", "decimal", "numeric", "varchar", "char",
)  # fmt: skip


@dataclass(frozen=True)
class _Scan:
    """An expression taken apart, as far as it must be to be judged and rewritten."""

    sql: str
    previous: tuple[str, ...]
    calls: tuple[str, ...]
    words: tuple[str, ...]
    misspelt: bool
    commented: bool


def dtype_of(kind: ColumnType) -> pl.DataType:
    """The Polars type of a column's values."""
    import polars as pl

    return {
        "string": pl.String(), "category": pl.String(), "integer": pl.Int64(), "number": pl.Float64(),
        "boolean": pl.Boolean(), "date": pl.Date(), "timestamp": pl.Datetime("us"),
    }[kind]  # fmt: skip


def compiled(expression: str) -> pl.Expr:
    """A rule's or a column's expression as one of Polars.

    It names the row's own columns as the schema does, those of the customer's earlier row with ``previous.`` before
    them, and ``month_start`` and ``month_end``; all of them must be columns of the frame.

    Raises:
        ValueError: the expression isn't SQL.
    """
    import polars as pl

    try:
        return pl.sql_expr(_scan(expression).sql)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(_first_line(error)) from None


def columns_of(rule: RuleSpec, schema: SchemaSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns of the row, and of the customer's earlier row, that a rule names.

    Names that the schema doesn't declare are among them; ``month_start`` and ``month_end`` are not.
    """
    names = list(dict.fromkeys(compiled(rule.expression).meta.root_names()))
    before = _scan(rule.expression).previous
    earlier = tuple(n for n in before if f"{PREVIOUS}{n}" in names)
    known = {f"{PREVIOUS}{n}" for n in earlier} | set(BOUNDS)
    first_named = {name: rule.expression.find(name) for name in names}
    return tuple(sorted((n for n in names if n not in known), key=first_named.__getitem__)), earlier


def problem_of(rule: RuleSpec, schema: SchemaSpec) -> str:
    """What is wrong with a rule's expression, in a sentence; empty if nothing is."""
    scan = _scan(rule.expression)
    if sentence := _refused(scan):
        return sentence
    try:
        own, earlier = columns_of(rule, schema)
    except ValueError as error:
        return f"expected an SQL expression such as 'tenure >= previous.tenure', found {rule.expression!r} ({error})."
    types = types_of(schema)
    if sentence := _unknown_columns(own, earlier, schema, list(types)):
        return sentence
    named = {**{n: types[n] for n in own}, **{f"{PREVIOUS}{n}": _earlier(n, types) for n in earlier}}
    result = _evaluated(rule.expression, named)
    if isinstance(result, str):
        return result
    if str(result) not in ("Boolean", "Null"):
        return f"expected an expression that is true or false, found {result} in {rule.expression!r}."
    return ""


def problem_of_column(column: ColumnSpec, schema: SchemaSpec) -> str:
    """What is wrong with a column's expression, in a sentence; empty if nothing is."""
    expression = column.expression or ""
    scan = _scan(expression)
    if sentence := _refused(scan):
        return sentence
    if scan.previous:
        return f"a column is made of its own row; {PREVIOUS} is for rules."
    try:
        own = tuple(n for n in dict.fromkeys(compiled(expression).meta.root_names()) if n not in BOUNDS)
    except ValueError as error:
        return f"expected an SQL expression such as 'price * pieces', found {expression!r} ({error})."
    made = [c.name for c in schema.columns if c.expression]
    later = made[made.index(column.name) :]
    types = {name: dtype for name, dtype in types_of(schema).items() if name not in later}
    if sentence := _unknown_columns(own, (), schema, list(types)):
        return sentence
    result = _evaluated(expression, {n: types[n] for n in own})
    if isinstance(result, str):
        return result
    if not _fits(result, column.type):
        return f"expected an expression of type {column.type}, found {result} in {expression!r}. Use CAST or mend type."
    return ""


def _fits(found: pl.DataType, kind: ColumnType) -> bool:
    if kind == "number":
        return found.is_numeric()
    return found.is_integer() if kind == "integer" else found == dtype_of(kind)


def types_of(schema: SchemaSpec) -> dict[str, pl.DataType]:
    """The columns that rules may name, in their types."""
    columns = {c.name: dtype_of(c.type) for c in schema.columns if c.role != "ignored" or c.name == schema.key}
    return {schema.key: dtype_of("string")} | columns


def _scan(expression: str) -> _Scan:
    previous: list[str] = []
    calls: list[str] = []
    words: list[str] = []
    marks: set[str] = set()

    def rewritten(found: re.Match[str]) -> str:
        if (name := found["previous"]) is not None:
            if not name.startswith(PREVIOUS) or name[len(PREVIOUS)].isspace():
                marks.add("misspelt")
            column = re.sub(r"(?i)^previous\s*\.\s*", "", name)
            column = column[1:-1].replace('""', '"') if column.startswith('"') else column
            previous.append(column)
            return '"' + (PREVIOUS + column).replace('"', '""') + '"'
        if found["comment"]:
            marks.add("comment")
        if word := found["word"]:
            (calls if found["call"] and word.lower() not in _CALLED else words).append(word)
        return found[0]

    sql = _TOKEN.sub(rewritten, expression)
    return _Scan(
        sql, tuple(dict.fromkeys(previous)), tuple(calls), tuple(words), "misspelt" in marks, "comment" in marks
    )


def _refused(scan: _Scan) -> str:
    if scan.commented:
        return "expected an expression without comments. Put the words into description."
    if scan.misspelt:
        return f"write {PREVIOUS}<column> in small letters and without blanks."
    if across := [w for w in (*scan.words, *scan.calls) if w.lower() in _ACROSS_ROWS]:
        return (
            f"expected an expression on single rows, found {across[0].upper()}. Put a column of that name in double "
            "quotes."
        )
    if unknown := [c for c in scan.calls if c.lower() not in _FUNCTIONS]:
        return f"{unknown[0]} is no function of single rows. {nearest(unknown[0].lower(), list(_FUNCTIONS))}"
    return ""


def _unknown_columns(own: tuple[str, ...], earlier: tuple[str, ...], schema: SchemaSpec, known: list[str]) -> str:
    if not own and not earlier:
        return f"expected a column, found none. Known here: {', '.join(sorted(known))}."
    for name in own:
        if name not in known:
            ignored = any(c.name == name and c.role == "ignored" for c in schema.columns)
            return f"column {name!r} has 'role: ignored'." if ignored else f"no column {name!r}. {nearest(name, known)}"
    for name in earlier:
        if name not in (*known, "month"):
            return f"no column {PREVIOUS}{name}. {nearest(name, [*known, 'month'])}"
    if taken := [c.name for c in schema.columns if c.name in BOUNDS or c.name.startswith(PREVIOUS)]:
        return f"the column {taken[0]!r} has a name that rules use themselves. Rename it with source."
    return ""


def _earlier(name: str, types: dict[str, pl.DataType]) -> pl.DataType:
    return dtype_of("date") if name == "month" else types[name]


def _evaluated(expression: str, types: dict[str, pl.DataType]) -> pl.DataType | str:
    """The type of an expression over columns of these types, or why it can't be evaluated."""
    import polars as pl

    # A row without values: constants that can't be cast fail here, and not on a month's data.
    frame = pl.DataFrame({name: [None] for name in types}, schema=types)
    frame = frame.with_columns(pl.lit(None, pl.Date).alias(name) for name in BOUNDS)
    try:
        return frame.select(compiled(expression)).to_series().dtype
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return f"the expression can't be evaluated: {_first_line(error)}."


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
