"""A proposed specification: what each section says, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from churn_assets.errors import SpecError
from churn_assets.months import Month
from churn_assets.proposal.columns import Column, names_somebody, neat_names, prove
from churn_assets.proposal.delivered import Delivered, Looked, look
from churn_assets.proposal.reading import Values
from churn_assets.proposal.roles import Key, find_flag, find_key, named
from churn_assets.proposal.words import value_rank
from churn_assets.quality import validate
from churn_assets.quality.conventions import counted
from churn_assets.quality.naming import folded
from churn_assets.spec import GatesSpec, LabelSpec, PipelineSpec, SchemaSpec, TrainingSpec
from churn_assets.spec.data import RESERVED
from churn_assets.spec.source import FileFormat

AMOUNT = 20
"""What a customer pays a month, where no column says it: an amount to be replaced."""


@dataclass(frozen=True)
class Proposal:
    """A specification that fits the files, and what a person should know of it.

    Attributes:
        attributes: the specification as it stands in YAML.
        columns: the columns of its schema.
        left_out: received columns that can't be declared.
        looked: the files.
        key: what names the customer.
        remarks: what a person should know or check, in sentences, by section; of columns, see ``columns``.
    """

    attributes: dict[str, Any]
    columns: tuple[Column, ...]
    left_out: tuple[str, ...]
    looked: Looked
    key: Key
    remarks: dict[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return str(self.attributes["name"])

    @property
    def command(self) -> str:
        """The command that runs the months that were seen."""
        looked = self.looked
        months = f"backfill --to {looked.deliveries[-1].month}" if looked.monthly else f"run --month {self._start}"
        return f"churn {months} --pipeline {self.name}"

    @property
    def _start(self) -> str:
        return str(self.attributes["months"]["start"])

    @property
    def questions(self) -> dict[str, str]:
        """What validation will ask before it takes a month, by column."""
        return {c.name: c.question for c in self.columns if c.question}

    @property
    def spec(self) -> PipelineSpec:
        """The specification, read.

        Raises:
            pydantic.ValidationError: it isn't valid.
        """
        return PipelineSpec.model_validate(self.attributes)


def propose(
    files: Sequence[Path],
    name: str,
    data: Path,
    key: str = "",
    churned: str = "",
    month: Month | None = None,
    sheet: str = "",
) -> Proposal:
    """Looks at files of customers, and proposes a pipeline for them.

    Args:
        files: one static table, or one file a month with the month in its name.
        name: the pipeline's name.
        data: the installation's data folder.
        key: the column that names the customer; found by its name and values if not given.
        churned: the column that says who has left; likewise.
        month: the month of a static table whose name tells none.
        sheet: the sheet of Excel files that have several.

    Raises:
        SourceError: a file can't be read.
        SpecError: there is no column that says who has left, or nothing to learn from; or names are wrong.
    """
    located = {"sheet": sheet} if sheet else {}
    looked = look(files, data, month or Month(2025, 1), FileFormat.model_validate(located))
    names = [n for n in looked.names if "{{" not in n and "{%" not in n and "{#" not in n]
    flag, columns = _columns(looked, names, named(churned, names, "--churned"))
    who = find_key(looked, columns, flag, named(key, names, "--key"))
    columns = [_reduced(c, flag, who) for c in columns if c.received != who.received]
    given = _schema(who, columns, SchemaSpec.model_fields["max_error_rate"].default)
    tried = _tried(given, columns, looked)
    columns = [_compared(c, columns, flag, tried) for c in columns]
    learnable = [c for c in columns if c.attribute]
    if not learnable:
        raise SpecError(
            f"{files[0]}: expected columns to learn from, found none beside {flag.received!r} that has numbers, yes "
            "and no, or texts that repeat. Add what is known of the customers."
        )
    rate, rate_remarks = _error_rate(tried, who)
    label, label_remarks = _label(flag, looked, tried)
    value, value_remarks = _value(columns)
    training, gates_remarks = _gates(flag, looked, tried)
    attributes = {
        "name": name,
        "description": f"Customers of {', '.join(f.name for f in files[:1])}"
        f"{f' and {len(files) - 1} more' if looked.monthly else ''}.",
        "months": _months(looked),
        "source": {"type": "file", "path": looked.path, **located},
        "schema": _schema(who, columns, rate),
        "label": label,
        "features": _features(learnable, value["monthly_value"], looked),
        "training": training,
        "candidates": [{"name": "baseline", "kind": "logistic"}, {"name": "xgboost", "kind": "xgboost"}],
        "gates": {"floor": GatesSpec().floor, "max_calibration_error": 0.1},
        "value": value,
    }
    remarks = {
        "months": _month_remarks(looked), "source": _source_remarks(looked), "key": who.remarks,
        "max_error_rate": rate_remarks, "label": label_remarks, "gates": gates_remarks, "value": value_remarks,
    }  # fmt: skip
    left_out = tuple(n for n in looked.names if n not in names)
    found = Proposal(attributes, tuple(columns), left_out, looked, who, remarks)
    _require_valid(found)
    return found


def _require_valid(proposal: Proposal) -> None:
    try:
        assert proposal.spec
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise SpecError("\n  ".join([f"{proposal.name}: {len(lines)} finding(s)", *lines])) from None


def _columns(looked: Looked, names: Sequence[str], churned: str) -> tuple[Column, list[Column]]:
    """The column that says who has left, and all columns."""
    found = []
    for received, name in neat_names(names, RESERVED):
        column = prove(Values.of(received, looked.deliveries), name)
        column = replace(column, given=_located(column, looked.names))
        if len([d for d in looked.deliveries if received in d.names]) < len(looked.deliveries):
            column = replace(column, given={**column.given, "optional": True}).told("Missing from some of the files.")
        if received.casefold() in RESERVED:
            column = column.told(f"The tables use the name {received} themselves.")
        found.append(column)
    flag = find_flag(looked, found, churned)
    return flag, [flag if c.received == flag.received else c for c in found]


def _located(column: Column, names: Sequence[str]) -> dict[str, Any]:
    """The column's keys, with its name in the source where validation wouldn't find it by letters and digits."""
    alike = [n for n in names if folded(n) == folded(column.name)]
    if column.name == column.received or alike == [column.received]:
        return column.given
    return {"type": column.type, "source": column.received, **column.given}


def _reduced(column: Column, flag: Column, key: Key) -> Column:
    """The column without a role for the model, if there is nothing that it could teach it."""
    if column.received == flag.received or column.ignored:
        return column
    if column.distinct == 1 and not column.given.get("nullable"):
        return replace(column, learnable=False).told("The same in every row: no feature is made of it.")
    if names_somebody(column):
        return replace(column, given={**column.given, "role": "ignored"}).told("Names a row: nothing to learn from it.")
    if column.type == "date":
        return column.told("Features are made of numbers and categories, not of dates.")
    return column


def _schema(key: Key, columns: Sequence[Column], rate: float) -> dict[str, Any]:
    made = {} if key.received else {"key_from": "content"}
    return {
        "key": key.name, **made,
        "columns": {c.name: c.given for c in columns},
        **({} if rate == SchemaSpec.model_fields["max_error_rate"].default else {"max_error_rate": rate}),
    }  # fmt: skip


@dataclass(frozen=True)
class _Tried:
    """A month's rows under the proposed schema."""

    delivery: Delivered
    valid: pl.DataFrame
    rows: int
    quarantined: int
    repeated: int


def _tried(schema: dict[str, Any], columns: Sequence[Column], looked: Looked) -> list[_Tried]:
    """Each file validated, but for the columns that a person must say something about first."""
    asked = {c.name: {**c.given, "role": "ignored"} for c in columns if c.question}
    read = SchemaSpec.model_validate({**schema, "columns": {**schema["columns"], **asked}})
    found = []
    for delivery in looked.deliveries:
        result = validate(delivery.rows, read, delivery.month)
        repeated = int((result.quarantined["rule"] == "repeated").sum())
        verdict = result.verdict
        found.append(_Tried(delivery, result.valid, verdict.rows, verdict.quarantined, repeated))
    return found


def _error_rate(tried: Sequence[_Tried], key: Key) -> tuple[float, tuple[str, ...]]:
    usual: float = SchemaSpec.model_fields["max_error_rate"].default
    worst = max(tried, key=lambda t: t.quarantined / t.rows)
    if not worst.quarantined:
        return usual, ()
    share = worst.quarantined / worst.rows
    what = f"{worst.quarantined:,} of {worst.rows:,} rows of {worst.delivery.file.name} ({share:.1%}) go to quarantine"
    if worst.repeated == worst.quarantined:
        what += ": they equal another row"
    elif worst.repeated:
        what += f", {worst.repeated:,} of them because they equal another row"
    if share <= usual:
        return usual, (f"{what}.",)
    return min(1.0, math.ceil(round(share * 100, 9)) / 100), (
        f"{what}. Lower this to {usual:g}, as is usual, once they are mended.",
    )


def _compared(column: Column, columns: Sequence[Column], flag: Column, tried: Sequence[_Tried]) -> Column:
    """The column with what comparing it with the others has shown."""
    if column.received == flag.received or "role" in column.given or column.question:
        return column
    rows = [t.valid.select({column.name, flag.name}) for t in tried if column.name in t.valid.columns]
    both = pl.concat(rows, how="diagonal_relaxed").filter(pl.col(flag.name).is_not_null())
    if both[flag.name].n_unique() == 2 and 2 <= both[column.name].n_unique() <= 20:
        by_value = both.group_by(column.name).agg(pl.col(flag.name).n_unique())
        if (by_value[flag.name] == 1).all():
            return column.told(
                f"Tells {flag.name} in every row. If it is known only once a customer has left, the model would learn "
                "nothing else: give it role: ignored."
            )
    if column.given.get("nullable") and (found := _blank_where(column, columns, tried)):
        name, value = found
        return column.told(
            f"Missing just where {name} is {value}. If that means a value, say so instead of nullable: fill: 0, "
            f"fill_where: {{{name}: {value}}}."
        )
    return column


def _blank_where(column: Column, columns: Sequence[Column], tried: Sequence[_Tried]) -> tuple[str, object] | None:
    """Another column and its value, if a value of this one is missing in just those rows."""
    others = [c.name for c in columns if c.type in ("integer", "category") and "role" not in c.given and not c.question]
    for other in others:
        if other == column.name:
            continue
        rows = pl.concat([t.valid.select(column.name, other) for t in tried])
        blank = rows.filter(pl.col(column.name).is_null())[other]
        if len(blank) > 1 and blank.null_count() == 0 and blank.n_unique() == 1:
            value = blank[0]
            if rows.filter(pl.col(column.name).is_not_null() & (pl.col(other) == value)).is_empty():
                return other, value
    return None


def _months(looked: Looked) -> dict[str, Any]:
    first = str(looked.deliveries[0].month)
    return {"start": first} if looked.monthly else {"start": first, "end": first}


def _month_remarks(looked: Looked) -> tuple[str, ...]:
    months = [d.month for d in looked.deliveries]
    if not looked.monthly:
        return ("One static table: any month does, for the model looks at no other.",)
    gaps = [str(months[0] + i) for i in range(months[-1] - months[0]) if months[0] + i not in months]
    told = f"{len(months)} files were seen, {months[0]} to {months[-1]}"
    return (f"{told}; there is none for {', '.join(gaps[:6])}.",) if gaps else (f"{told}.",)


def _source_remarks(looked: Looked) -> tuple[str, ...]:
    doubts = tuple(dict.fromkeys(doubt for d in looked.deliveries for doubt in d.doubts))
    inside = not Path(looked.path).is_absolute()
    where = (
        "Starts at the data folder." if inside else "A path of this machine; a relative one starts at the data folder."
    )
    return (where, *doubts)


def _label(flag: Column, looked: Looked, tried: Sequence[_Tried]) -> tuple[dict[str, Any], tuple[str, ...]]:
    rates = [float(t.valid[flag.name].mean() or 0) for t in tried if len(t.valid)]  # type: ignore[arg-type]
    usual = LabelSpec()
    label: dict[str, Any] = {"kind": "flag", "horizon": 1} if looked.monthly else {"kind": "same_row"}
    told = (
        f"{flag.name} of a later month says who has left: a row is a customer who was there when its month began."
        if looked.monthly
        else f"{flag.name} stands in the row itself."
    )
    span = f"{min(rates):.1%}" if len(rates) == 1 else f"{min(rates):.1%} to {max(rates):.1%}"
    remarks = [f"{told} {span} of the valid rows left."]
    if min(rates, default=1) < 2 * usual.min_rate:
        label["min_rate"] = 0
    if max(rates, default=0) > 0.8 * usual.max_rate:
        label["max_rate"] = min(1.0, math.ceil(max(rates) * 12.5) / 10)
    if len(label) > (2 if looked.monthly else 1):
        remarks.append("A month outside min_rate and max_rate is stopped; the usual limits would stop these.")
    return label, tuple(remarks)


def _value(columns: Sequence[Column]) -> tuple[dict[str, Any], tuple[str, ...]]:
    ranked = [(value_rank(c.received), c) for c in columns if c.type in ("integer", "number") and "min" in c.given]
    ranked = [(r, c) for r, c in ranked if r and c.attribute and not c.given.get("nullable")]
    best = max(ranked, key=lambda found: found[0], default=None)
    use = {"contact_cost": 10, "budget": 2000}
    if best is None:
        told = "No column says what a customer pays a month: put your own amount here."
        return {"monthly_value": AMOUNT, **use}, (told, _ASSUMED)
    return {"monthly_value": best[1].name, **use}, (
        f"Check that {best[1].name} is what a customer pays a month.",
        _ASSUMED,
    )


_ASSUMED = "contact_cost is what one contact costs, budget what a month's contacts may cost: both are made up."


def _gates(flag: Column, looked: Looked, tried: Sequence[_Tried]) -> tuple[dict[str, Any], tuple[str, ...]]:
    usual, holdout = GatesSpec(), TrainingSpec().holdout_share
    training: dict[str, Any] = {"months": 12} if looked.monthly else {"split": "holdout", "holdout_share": holdout}
    share = 1 if looked.monthly else holdout
    rows, left = (
        min(round(share * figure) for figure in figures)
        for figures in ([len(t.valid) for t in tried], [int(t.valid[flag.name].sum()) for t in tried])
    )
    told = ["A model that doesn't reach the floor scores nobody."]
    if rows < usual.min_rows or left < usual.min_positives:
        told.append(
            f"There are about {counted(rows, 'row')} to judge a model by, {left:,} of them of leavers; below min_rows "
            f"({usual.min_rows}) or min_positives ({usual.min_positives}) none is promoted."
        )
    return training, tuple(told)


def _features(learnable: Sequence[Column], value: object, looked: Looked) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = [{"kind": "columns", "columns": [c.name for c in learnable]}]
    if looked.monthly:
        taken = {c.name for c in learnable}
        moving = [c.name for c in learnable if c.type in ("integer", "number") and not c.question][:3]
        moving = list(dict.fromkeys([*([value] if isinstance(value, str) else []), *moving]))[:3]
        features += [{"kind": "delta", "column": n, "months": 1} for n in moving if f"{n}_delta_1m" not in taken]
    return features
