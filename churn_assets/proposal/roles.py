"""Which column says who has left, and which one names the customer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from churn_assets.errors import SpecError
from churn_assets.proposal.columns import Column
from churn_assets.proposal.delivered import Looked
from churn_assets.proposal.reading import Reading, Values
from churn_assets.proposal.words import LEFT, key_rank, tells_left, words
from churn_assets.quality import validate
from churn_assets.quality.naming import folded
from churn_assets.spec import SchemaSpec
from churn_assets.spec.base import nearest


@dataclass(frozen=True)
class Key:
    """What names the customer.

    Attributes:
        received: the column in the files; None where a row's content is its name.
        name: the column in the specification.
        remarks: what a person should know or check, in sentences.
    """

    received: str | None
    name: str
    remarks: tuple[str, ...] = ()

    @property
    def seen(self) -> str:
        """What its values are, in a few words."""
        return "not all of them once" if self.remarks else "never missing, each value once"


def named(wanted: str, names: Sequence[str], option: str) -> str:
    """The received name that an option means.

    Raises:
        SpecError: there is none.
    """
    if not wanted or wanted in names:
        return wanted
    alike = [n for n in names if folded(n) == folded(wanted)]
    if len(alike) != 1:
        raise SpecError(f"{option}: expected a column of the file, found {wanted!r}. {nearest(wanted, list(names))}")
    return alike[0]


def find_flag(looked: Looked, columns: Sequence[Column], churned: str) -> Column:
    """The column that says who has left: the one that was named, or one whose name or values tell it.

    Raises:
        SpecError: there is none, or several that contradict each other.
    """
    candidates = [c for c in columns if (c.received == churned if churned else words(c.received) & LEFT)]
    found = [flag for c in candidates if (flag := _as_flag(c, looked))]
    if not found and not churned:
        # A status may be active or cancelled.
        found = [flag for c in columns if (flag := _as_flag(c, looked)) and "true" in flag.given]
    if churned and not found:
        raise SpecError(
            f"--churned: expected a column of yes and no, found {churned!r} with {candidates[0].seen}. Name "
            "another column; or declare by hand which texts mean what: {type: boolean, role: churned, true: [gone], "
            "false: [active]}."
        )
    if not found:
        truths = [c.received for c in columns if c.type == "boolean"]
        have = f"Columns of yes and no: {', '.join(map(repr, truths))}." if truths else "No column is of yes and no."
        raise SpecError(
            f"{looked.deliveries[0].file}: expected a column of yes and no that says who has left, named churn, left, "
            f"exited, cancelled or the like; found none. {have} Say which one it is: --churned COLUMN."
        )
    if len(found) > 1 and not all(_same(found[0], other, looked) for other in found[1:]):
        raise SpecError(
            f"{looked.deliveries[0].file}: expected one column that says who has left, found "
            f"{', '.join(repr(c.received) for c in found)}. Say which one it is: --churned COLUMN."
        )
    return found[0]


def _as_flag(column: Column, looked: Looked) -> Column | None:
    """The column as the one that says who has left, if it can be that."""
    values = Values.of(column.received, looked.deliveries)
    if not values.readable:
        return None
    missing = {"missing": column.given["missing"]} if "missing" in column.given else {}
    read = values.read(type="boolean", **missing)
    if not read.proven and column.type == "category" and len(texts := column.given["allowed"]) == 2:
        left = [t for t in texts if tells_left(t)]
        if len(left) == 1:
            read = values.read(type="boolean", true=left, false=[t for t in texts if t not in left], **missing)
    if not read.proven or read.values["value"].null_count() == len(read.values):
        return None
    kept = {k: v for k, v in column.given.items() if k in ("source", "nullable", "missing", "optional")}
    told = {k: v for k, v in read.given.items() if k in ("true", "false")}
    return replace(
        column, given={"type": "boolean", "role": "churned", **told, **kept}, seen=_left(read), remarks=(), question=""
    )


def _left(read: Reading) -> str:
    known = read.values.filter(pl.col("value").is_not_null())
    left, rows = int(known.filter(pl.col("value"))["rows"].sum()), int(known["rows"].sum())
    return f"{left:,} of {rows:,} have left ({left / rows:.1%})"


def _same(one: Column, other: Column, looked: Looked) -> bool:
    def read(column: Column) -> list[pl.Series]:
        declared = {"name": "x", **column.given, "source": column.received}
        schema = SchemaSpec.model_validate({"key": "row", "key_from": "row", "columns": [declared]})
        return [validate(d.proper.select(column.received), schema).valid["x"] for d in looked.deliveries]

    return all(a.equals(b) for a, b in zip(read(one), read(other), strict=True))


def find_key(looked: Looked, columns: Sequence[Column], flag: Column, wanted: str) -> Key:
    """What names the customer: the column that was named, or one whose name and values tell it, or the whole row.

    Raises:
        SpecError: the named column can't; or none can, and the customers of several months must be told apart.
    """
    by_name = {c.received: c for c in columns}
    if wanted:
        if wanted == flag.received:
            raise SpecError(f"--key: expected a column that names the customer, found the churned one, {wanted!r}.")
        repeated, blank = _repeated(wanted, looked)
        if repeated + blank > looked.rows / 2:
            raise SpecError(
                f"--key: expected a column that names each customer once, found {wanted!r} with {repeated:,} repeated "
                f"and {blank:,} missing values in {looked.rows:,} rows. Name another column, or leave --key out."
            )
        return Key(wanted, by_name[wanted].name, _key_remarks(wanted, repeated, blank))
    ranked = sorted((c for c in columns if key_rank(c.received) and _may_name(c)), key=lambda c: -key_rank(c.received))
    short = []
    for column in ranked:
        repeated, blank = _repeated(column.received, looked)
        if not repeated and not blank:
            return Key(column.received, column.name)
        short.append(f"{column.received!r} has {repeated:,} repeated and {blank:,} missing values")
    if looked.monthly:
        raise SpecError(
            f"{looked.deliveries[0].file}: expected a column that names the customer, once in each month and never "
            f"missing, found none{': ' + '; '.join(short) if short else ''}. Say which one it is: --key COLUMN."
        )
    return Key(None, _free_name(columns), _content_remarks(short))


def _may_name(column: Column) -> bool:
    return column.type in ("string", "category", "integer")


def _repeated(received: str, looked: Looked) -> tuple[int, int]:
    """Rows that repeat a name of their month, and rows without one."""
    repeated = blank = 0
    for delivery in looked.deliveries:
        if received not in delivery.names:
            blank += len(delivery.proper)
            continue
        read = Values.of(received, [delivery]).read(type="string").values
        known = read.filter(pl.col("value").is_not_null())["rows"]
        blank += len(delivery.proper) - int(known.sum())
        repeated += int(known.sum()) - len(known)
    return repeated, blank


def _key_remarks(received: str, repeated: int, blank: int) -> tuple[str, ...]:
    if not repeated and not blank:
        return ()
    return (f"As given. {repeated:,} rows repeat a customer and {blank:,} name none: they go to quarantine.",)


def _content_remarks(short: Sequence[str]) -> tuple[str, ...]:
    because = f" ({'; '.join(short)})" if short else ""
    return (
        f"No column names each customer once{because}, so that each row is named after its content, and equal rows are "
        "one customer. If equal rows are different customers: key_from: row. Neither can follow a customer from month "
        "to month; a column that can is named with key, without key_from.",
    )


def _free_name(columns: Sequence[Column]) -> str:
    taken = {folded(n) for c in columns for n in (c.name, c.received)}
    return next(n for n in ("customer", "customer_key", *(f"customer_key_{i}" for i in range(len(columns) + 1)))
                if folded(n) not in taken)  # fmt: skip
