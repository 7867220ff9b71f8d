"""The schema compiled to rules: what a month's rows must be, which rows break it, and what was repaired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.spec import ColumnSpec, SchemaSpec
from churn_assets.spec.base import nearest

ROW = "_row"
_TRUE, _FALSE = ["true", "yes", "1", "y", "t"], ["false", "no", "0", "n", "f"]


@dataclass(frozen=True)
class QualityVerdict:
    """Whether a month's rows may go on, and why."""

    passed: bool
    reason: str
    rows: int
    quarantined: int
    allowed_share: float

    @property
    def share(self) -> float:
        """Share of the delivered rows that were quarantined."""
        return self.quarantined / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Validation:
    """A month's rows, divided.

    Attributes:
        valid: rows that keep every rule, in the schema's types, sorted by customer.
        quarantined: one row a broken rule: ``customer``, ``_row``, ``_file``, ``rule``, ``column``, ``value``.
        repairs: cells that were given a declared meaning, by column.
        undeclared: columns that the source sent and the schema doesn't know.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    repairs: dict[str, int] = field(default_factory=dict)
    undeclared: tuple[str, ...] = ()
    verdict: QualityVerdict = QualityVerdict(True, "", 0, 0, 0.0)


def validate(raw: pl.DataFrame, schema: SchemaSpec) -> Validation:
    """Divides ``raw`` into rows that keep the schema and rows that don't.

    Raises:
        QualityError: a declared column is missing altogether.
    """
    declared = [c for c in schema.columns if c.role != "ignored"]
    _require_columns(raw, [schema.key, *(c.name for c in declared)])
    if ROW not in raw.columns:
        raw = raw.with_row_index(ROW, offset=1)
    key = next((c for c in declared if c.name == schema.key), ColumnSpec(name=schema.key, type="string"))
    columns = [key.model_copy(update={"nullable": False}), *(c for c in declared if c.name != schema.key)]
    texts = raw.select(
        pl.int_range(pl.len()).alias(ROW),
        *(_without_missing(raw, c) for c in columns),
    )
    filled = texts.with_columns(_filled(c, texts) for c in columns if c.fill is not None)
    typed = filled.select(ROW, *(_typed(c, filled.schema[c.name]) for c in columns))
    unreadable = pl.concat(_broken_types(columns, filled, typed))
    broken = pl.concat([unreadable.clear(), *_broken_rules(columns, typed), *_broken_keys(schema.key, typed)])
    # What can't be read has become null, which is one failure and not two.
    failures = pl.concat([unreadable, broken.join(unreadable, on=[ROW, "column"], how="anti")])
    bad = failures.get_column(ROW).unique()
    valid = typed.filter(~pl.col(ROW).is_in(bad.implode())).drop(ROW).sort(schema.key)
    places = raw.select(
        pl.int_range(pl.len()).alias("_at"), pl.col(ROW), pl.col(schema.key).cast(pl.String).alias("customer"),
        pl.col("_file") if "_file" in raw.columns else pl.lit(None, pl.String).alias("_file"),
    )  # fmt: skip
    quarantined = (
        failures.rename({ROW: "_at"}).join(places, on="_at", how="left")
        .select("customer", ROW, "_file", "rule", "column", "value").sort(ROW, "column", "rule")
    )  # fmt: skip
    known = {ROW, "_file", *(c.name for c in schema.columns), schema.key}
    return Validation(
        valid=valid,
        quarantined=quarantined,
        repairs=_repairs(columns, raw, texts, filled),
        undeclared=tuple(c for c in raw.columns if c not in known),
        verdict=_verdict(len(raw), len(bad), schema, failures),
    )


def _require_columns(raw: pl.DataFrame, names: list[str]) -> None:
    given = [c for c in raw.columns if not c.startswith("_")]
    if missing := [n for n in names if n not in raw.columns]:
        hints = " ".join(f"{n!r}: {nearest(n, given)}" for n in missing[:3])
        raise QualityError(
            f"expected the columns {', '.join(map(repr, missing))}, found none so named. {hints} Mend the file, or the "
            "schema of the pipeline if the source has changed for good."
        )


def _without_missing(raw: pl.DataFrame, column: ColumnSpec) -> pl.Expr:
    value = pl.col(column.name)
    if raw.schema[column.name] != pl.String:
        return value
    trimmed = value.str.strip_chars()
    return (
        pl.when(trimmed.is_in(["", *(m.strip() for m in column.missing)]))
        .then(None)
        .otherwise(trimmed)
        .alias(column.name)
    )


def _filled(column: ColumnSpec, frame: pl.DataFrame) -> pl.Expr:
    """The column with its declared meaning in place of missing values, where the condition for it holds."""
    meaning = pl.lit(str(column.fill) if frame.schema[column.name] == pl.String else column.fill)
    holds = [
        pl.col(name).cast(pl.Float64, strict=False) == float(value)
        if isinstance(value, int | float)
        else pl.col(name).cast(pl.String) == value
        for name, value in column.fill_where.items()
    ]
    missing = pl.col(column.name).is_null()
    return pl.when(pl.all_horizontal(missing, *holds)).then(meaning).otherwise(pl.col(column.name)).alias(column.name)


def _typed(column: ColumnSpec, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column.name)
    match column.type:
        case "string" | "category":
            return value.cast(pl.String)
        case "boolean" if dtype == pl.String:
            text = value.str.to_lowercase()
            return pl.when(text.is_in(_TRUE)).then(True).when(text.is_in(_FALSE)).then(False).alias(column.name)
        case "boolean" if dtype.is_numeric():
            # Plain casts guess: they make True of 2 and of NaN, 1 of 1.5, and some day of any number.
            return pl.when((value == 0) | (value == 1)).then(value == 1).alias(column.name)
        case "boolean":
            return value.cast(pl.Boolean, strict=False)
        case "integer" if dtype.is_float() or dtype.is_decimal():
            return pl.when(value == value.round(0)).then(value).cast(pl.Int64, strict=False).alias(column.name)
        case "integer":
            return value.cast(pl.Int64, strict=False)
        case "number":
            return value.cast(pl.Float64, strict=False)
        case "date":
            if dtype in (pl.Date, pl.Datetime):
                return value.cast(pl.Date)
            return value.cast(pl.String, strict=False).str.to_date("%Y-%m-%d", strict=False)


def _failures(rows: pl.LazyFrame | pl.DataFrame, rule: str, column: str) -> pl.DataFrame:
    return rows.lazy().select(
        pl.col(ROW), pl.lit(rule).alias("rule"), pl.lit(column).alias("column"),
        pl.col(column).cast(pl.String, strict=False).alias("value"),
    ).collect()  # fmt: skip


def _broken_types(columns: list[ColumnSpec], before: pl.DataFrame, after: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        _failures(
            before.filter(after.get_column(c.name).is_null() & pl.col(c.name).is_not_null()), f"type {c.type}", c.name
        )
        for c in columns
    ]


def _broken_rules(columns: list[ColumnSpec], typed: pl.DataFrame) -> list[pl.DataFrame]:
    """The schema's own rules, checked by pandera on the eager frame (a lazy one is checked for types only)."""
    import pandera.polars as pa

    # Pandera takes NaN for missing; here it is a number that isn't finite, so what is required is told apart first.
    required = [
        _failures(typed.filter(pl.col(c.name).is_null()), "required", c.name) for c in columns if not c.nullable
    ]
    checks = {c.name: pa.Column(checks=_checks(c), nullable=True) for c in columns}
    try:
        pa.DataFrameSchema(checks).validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases.filter(pl.col("index").is_not_null())
        return required + [
            _failures(
                typed.join(part.select(pl.col("index").cast(pl.Int64).alias(ROW)), on=ROW, how="semi"), rule, column
            )
            for (column, rule), part in _by_rule(cases)
        ]
    return required


def _by_rule(cases: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    return [((str(c), str(r)), part) for (c, r), part in cases.group_by("column", "check", maintain_order=True)]


def _checks(column: ColumnSpec) -> list[Any]:
    import pandera.polars as pa

    checks: list[Any] = []
    if column.allowed is not None:
        checks.append(pa.Check.isin(column.allowed, error=f"allowed {', '.join(column.allowed)}"))
    if column.min is not None:
        checks.append(pa.Check.ge(column.min, error=f"min {column.min:g}"))
    if column.max is not None:
        checks.append(pa.Check.le(column.max, error=f"max {column.max:g}"))
    if column.type == "number":
        checks.append(pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_finite()), error="finite"))
    return checks


def _broken_keys(key: str, typed: pl.DataFrame) -> list[pl.DataFrame]:
    """A customer stands in a month once. Of equal rows the first is kept; rows that contradict each other all go."""
    twice = typed.filter(pl.col(key).is_not_null() & pl.col(key).is_duplicated())
    if twice.is_empty():
        return []
    content = [c for c in typed.columns if c != ROW]
    repeated = ~pl.struct(content).is_first_distinct()
    contradicting = pl.struct(content).n_unique().over(key) > 1
    return [
        _failures(twice.filter(contradicting), "key stands once", key),
        _failures(twice.filter(~contradicting & repeated), "row stands once", key),
    ]


def _repairs(columns: list[ColumnSpec], raw: pl.DataFrame, texts: pl.DataFrame, filled: pl.DataFrame) -> dict[str, int]:
    counts = {}
    for column in columns:
        if column.fill is not None:
            counts[f"{column.name}: missing -> {column.fill}"] = (
                texts[column.name].null_count() - filled[column.name].null_count()
            )
        if raw.schema[column.name] == pl.String:
            changed = (raw[column.name] != texts[column.name]) & texts[column.name].is_not_null()
            counts[f"{column.name}: blanks trimmed"] = int(changed.sum())
    return {name: count for name, count in counts.items() if count}


def _verdict(rows: int, bad: int, schema: SchemaSpec, failures: pl.DataFrame) -> QualityVerdict:
    limit = schema.max_error_rate
    share = bad / rows if rows else 0.0
    if not bad:
        reason = f"All {rows:,} rows keep every rule."
    else:
        most = failures.group_by("column", "rule").len().sort("len", "column", "rule", descending=[True, False, False])
        worst = most.row(0, named=True)
        reason = (
            f"{bad:,} of {rows:,} rows ({share:.2%}) are quarantined, at most {limit:.2%} may be; most often "
            f"{worst['column']} breaks '{worst['rule']}' ({worst['len']:,} rows)."
        )
    return QualityVerdict(share <= limit, reason, rows, bad, limit)
