"""What one load of the online store stands for, and which of two is to be served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from churn_assets.errors import OnlineStoreError
from churn_assets.months import Month
from churn_assets.store.online.encoding import packing, unpacked

BATCH = 5_000
"""Rows that are encoded at a time: what a load takes of memory beside the rows themselves."""

Batch = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Generation:
    """A month's rows as they were loaded at once.

    Attributes:
        content: what the rows are known by; other rows of the same month have another one.
        customers: how many rows there are.
        columns: the features' names, in the order of the values in each row.
    """

    month: Month
    content: str
    customers: int
    columns: tuple[str, ...]

    @property
    def header(self) -> str:
        """What is kept once beside the rows, as JSON."""
        return json.dumps({**vars(self), "month": str(self.month)})

    @staticmethod
    @lru_cache(maxsize=64)
    def parse(header: str | bytes) -> Generation:
        """The generation that a header tells of."""
        told = json.loads(header)
        return Generation(Month.parse(told["month"]), told["content"], told["customers"], tuple(told["columns"]))

    def supersedes(self, served: Generation | None) -> bool:
        """Whether this is to be served instead: a later month, or other rows of the same one."""
        if served is None or served.month < self.month:
            return True
        return served.month == self.month and served.content != self.content

    def row(self, vector: bytes) -> dict[str, Any]:
        """A customer's features with their month."""
        return {"month": str(self.month), **dict(zip(self.columns, unpacked(vector), strict=True))}


def key_text(customer: object) -> str | None:
    """The text that a customer is kept under: 7 and "7" are one. None for what no store can hold as a text."""
    text = str(customer)
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return None if "\0" in text else text


def keys_of(rows: pl.DataFrame, key: str) -> pl.Series:
    """The texts that the customers are kept under.

    Raises:
        OnlineStoreError: a customer has no key, has several rows, or can't be written as a text.
    """
    column = rows[key]
    texts = column
    if column.dtype != pl.String:
        texts = pl.Series(key, [None if value is None else key_text(value) for value in column], pl.String)
    odd = texts.is_null() | texts.str.contains("\0", literal=True)
    if not odd.any() and texts.n_unique() == len(texts):
        return texts
    found = column.filter(odd | texts.is_duplicated())
    raise OnlineStoreError(
        f"online store: expected one row for each customer, and each with a {key}; found {len(found):,} of "
        f"{len(column):,} rows otherwise, such as {key} {found[0]!r}. What was served before is still served."
    )


def encoded(rows: pl.DataFrame, keys: pl.Series) -> Iterator[Batch]:
    """The rows as bytes, in the order of their keys: they are inserted fastest that way."""
    pack, order = packing(), keys.arg_sort()
    for begin in range(0, len(rows), BATCH):
        places = order.slice(begin, BATCH)
        yield list(zip(keys.gather(places), map(pack, rows[places].iter_rows()), strict=True))
