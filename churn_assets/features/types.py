"""The specification's types and those of narwhals."""

from __future__ import annotations

from collections.abc import Mapping

import narwhals as nw

from churn_assets.spec.data import ColumnType

DTYPES: Mapping[ColumnType, nw.dtypes.DType] = {
    "string": nw.String(), "category": nw.String(), "integer": nw.Int64(), "number": nw.Float64(),
    "boolean": nw.Boolean(), "date": nw.Date(), "timestamp": nw.Datetime("us"),
}  # fmt: skip
"""What values of each type are stored as."""


def kind_of(dtype: nw.dtypes.DType) -> ColumnType | None:
    """The type that a column of ``dtype`` has; None for one that no column has, such as that of nulls only.

    >>> kind_of(nw.Int32()), kind_of(nw.String()), kind_of(nw.Unknown())
    ('integer', 'category', None)
    """
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    classes: tuple[tuple[type[nw.dtypes.DType], ColumnType], ...] = (
        (nw.String, "category"), (nw.Categorical, "category"), (nw.Enum, "category"), (nw.Boolean, "boolean"),
        (nw.Date, "date"), (nw.Datetime, "timestamp"),
    )  # fmt: skip
    return next((kind for base, kind in classes if isinstance(dtype, base)), None)


def fits(dtype: nw.dtypes.DType, kind: ColumnType) -> bool:
    """Whether values of ``dtype`` are such of ``kind``; whole numbers are numbers too."""
    found = kind_of(dtype)
    return found == ("category" if kind == "string" else kind) or (found == "integer" and kind == "number")
