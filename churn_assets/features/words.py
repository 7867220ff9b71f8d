"""A feature's value in words that a retention manager reads, as one Polars expression a feature.

Every phrase is true by itself: it names what it speaks of, the months it looks at, and the value as it stands, with at
most four significant digits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import polars as pl

from churn_assets.spec import (
    BucketFeature,
    ColumnsFeature,
    ConditionFeature,
    DeltaFeature,
    FeatureSpec,
    InteractionFeature,
    LagFeature,
    PipelineSpec,
    PythonFeature,
    RankFeature,
    RatioFeature,
    TrailingFeature,
)
from churn_assets.spec.data import ColumnType

DIGITS = 4
"""Significant digits of a number."""

_COUNTED = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_LASTING = ("tenure", "age", "term", "contract", "membership", "subscription", "relationship")
_TIMES = ("years", "months", "weeks", "days", "hours", "minutes")
_TAIL = re.compile(r" (since|left|until|ago|of|in|per|to|with|without|from|by|for|on|at|over|under)\b.*")
_SINGULAR = ("ss", "us", "is", "ics", "ous")


@dataclass(frozen=True)
class Words:
    """How the features of a pipeline are spoken of.

    Attributes:
        features: their definitions.
        observed: the types of the columns that they are made of.
        in_days: observed columns that count days, whatever their names say.
        missing: what a missing value of an observed column says, where that is declared.
    """

    features: Sequence[FeatureSpec] = ()
    observed: Mapping[str, ColumnType] = field(default_factory=dict)
    in_days: Collection[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: PipelineSpec) -> Words:
        """The words of a pipeline's features."""
        measures = spec.events.measures if spec.events else ()
        in_days = {m.name for m in measures if m.kind in ("recency", "gap")}
        return cls(tuple(spec.features), spec.observed, in_days, spec.missing_words)

    def phrase(self, name: str, columns: Mapping[str, pl.DataType]) -> pl.Expr:
        """A text for every row of a frame with ``columns``, never null; ``name`` is one of them.

        A feature that isn't declared here reads "name = value".

        >>> columns = {"support_calls": pl.Int64()}
        >>> phrase = Words([ColumnsFeature(kind="columns", columns=["support_calls"])]).phrase("support_calls", columns)
        >>> pl.select(support_calls=3).select(phrase).item()
        '3 support calls'
        """
        feature = self._named.get(name)
        if feature is None:
            return _joined(f"{name} = ", _value(name, columns[name])).fill_null(f"{name} = missing").alias(name)
        known = _known(name, columns[name])
        return (
            pl.when(known).then(self._said(feature, name, columns)).otherwise(self._unknown(feature, name)).alias(name)
        )

    def group(self, name: str) -> str:
        """The observed column that a feature is made of; the feature itself, where it is made of several or of none.

        >>> Words([DeltaFeature(kind="delta", column="calls", months=1)]).group("calls_delta_1m")
        'calls'
        """
        made_of = self._made_of(name)
        return made_of.pop() if len(made_of) == 1 else name

    def noun(self, name: str) -> str:
        """What a feature or an observed column is called in a sentence.

        >>> Words([TrailingFeature(kind="mean", column="data_gb", months=4)]).noun("data_gb_mean_4m")
        'mean data gb over four months'
        """
        match self._named.get(name):
            case LagFeature() as f:
                return f"{plain(f.column)} {_ago(f.months)}"
            case DeltaFeature() as f:
                return f"change of {plain(f.column)} from {_ago(f.months)}"
            case TrailingFeature() as f:
                return f"{_STATISTICS[f.kind]} {plain(f.column)} over {_months(f.months)}"
            case ConditionFeature() as f:
                of = {"months_since": "months since {}", "count": "months with {}", "share": "share of months with {}"}
                return f"{of[f.kind].format(self._held(f))} in {_months(f.months)}"
            case RatioFeature() as f:
                return f"ratio of {self.noun(f.numerator)} to {self.noun(f.denominator)}"
            case BucketFeature() as f:
                return f"range of {self.noun(f.column)}"
            case InteractionFeature() as f:
                of_categories = f.of_categories(self._types)
                return f"{'combination' if of_categories else 'product'} of {_listed(map(self.noun, f.columns))}"
            case RankFeature() as f:
                alike = f" with the same {_listed(map(self.noun, f.by))}" if f.by else ""
                return f"rank of {self.noun(f.column)} among customers{alike}"
        return plain(name)

    @cached_property
    def _named(self) -> dict[str, FeatureSpec]:
        return {name: f for f in self.features for name in f.names}

    @cached_property
    def _types(self) -> dict[str, ColumnType]:
        known = dict(self.observed)
        for feature in self.features:
            known |= feature.types(known)
        return known

    def _made_of(self, name: str) -> set[str]:
        feature = self._named.get(name)
        if feature is None or isinstance(feature, ColumnsFeature):
            return {name}
        return {column for operand in feature.operands for column in self._made_of(operand)}

    def _unknown(self, feature: FeatureSpec, name: str) -> pl.Expr:
        if isinstance(feature, ColumnsFeature) and name in self.missing:
            return pl.lit(self.missing[name])
        if isinstance(feature, ConditionFeature) and feature.kind == "months_since":
            return pl.lit(f"{self._held(feature)}: not known of {_any(feature.months)}")
        noun = self.noun(name)
        return pl.lit(f"{noun} {'are' if _plural(noun) else 'is'}n't known")

    def _said(self, feature: FeatureSpec, name: str, columns: Mapping[str, pl.DataType]) -> pl.Expr:
        dtype, value = columns[name], _value(name, columns[name])
        match feature:
            case ColumnsFeature() | PythonFeature():
                return self._stated(name, pl.col(name), dtype)
            case LagFeature():
                return self._stated(feature.column, pl.col(name), dtype, f" {_ago(feature.months)}")
            case DeltaFeature():
                return self._moved(feature, columns)
            case TrailingFeature():
                return self._statistic(feature)
            case ConditionFeature():
                return self._condition(feature)
            case RatioFeature():
                return self._ratio(feature, name)
            case BucketFeature():
                what, unit = self._lasting(feature.column) or (self.noun(feature.column), "")
                return _range(what, pl.col(name).cast(pl.String), feature.edges, f" {unit}" if unit else "")
            case RankFeature():
                return _joined(f"{self.noun(name)} is ", value, " (1 is the highest)")
        return _joined(f"{self.noun(name)} is ", value)

    def _stated(self, column: str, value: pl.Expr, dtype: pl.DataType, when: str = "") -> pl.Expr:
        """A column's value as a month states it; ``when`` is another month than this one."""
        words = plain(column)
        if dtype == pl.Boolean:
            return _flag(words, value, when)
        if not dtype.is_numeric():
            verb = "was" if when else "is"
            return _joined(f"{words}{when} {verb} ", value.cast(pl.String))
        if lasting := self._lasting(column):
            what, unit = lasting
            one = pl.when(value == 1).then(pl.lit(unit[:-1])).otherwise(pl.lit(unit))
            return _joined(f"{what} of ", _number(value), " ", one, when)
        if dtype.is_integer() and _plural(words):
            return _joined(_pieces(value, words), when)
        return _joined(f"{words}{when}: " if _plural(words) or when else f"{words} is ", _number(value))

    def _lasting(self, column: str) -> tuple[str, str] | None:
        """What lasts, and the unit that it is counted in, where a column's name or measure says both."""
        words = plain(column)
        what, _, unit = words.rpartition(" ")
        if what in _LASTING and unit in _TIMES:
            return what, unit
        return (words, "days") if column in self.in_days and not _plural(words) else None

    def _moved(self, feature: DeltaFeature, columns: Mapping[str, pl.DataType]) -> pl.Expr:
        words, change, before = plain(feature.column), _float(feature.name), _ago(feature.months)
        if self._types.get(feature.column) == "boolean":
            went = pl.when(change > 0).then(pl.lit(f"{words} now, but not {before}"))
            return (
                went.when(change < 0)
                .then(pl.lit(f"no {words} now, but {before}"))
                .otherwise(pl.lit(f"{words}: unchanged from {before}"))
            )
        by = _joined("by ", _number(change.abs()))
        if feature.column in columns:
            now = _float(feature.column)
            then = now - change
            # What is left of a difference of equal digits is no earlier value.
            then = pl.when(then.abs() > 1e-9 * change.abs()).then(then).otherwise(0.0)
            first, last = _number(then), _number(now)
            by = pl.when(first != last).then(_joined("from ", first, " to ", last)).otherwise(_joined(by, " to ", last))
        verb = pl.when(change > 0).then(pl.lit("rose")).otherwise(pl.lit("fell"))
        moved = _joined(f"{words} ", verb, " ", by, f" in {_months(feature.months)}")
        return pl.when(change == 0).then(pl.lit(f"{words} unchanged from {before}")).otherwise(moved)

    def _statistic(self, feature: TrailingFeature) -> pl.Expr:
        words, value, over = plain(feature.column), _float(feature.name), _months(feature.months)
        kind = self._types.get(feature.column)
        match feature.kind:
            case "sum" if kind == "boolean":
                return _joined(f"{words} in ", _number(value), f" of {over}")
            case "sum" if kind == "integer" and _plural(words):
                return _joined(_pieces(value, words), f" in {over}")
            case "std":
                varied = _joined(f"{words} varied by ", _number(value), f" (standard deviation) over {over}")
                return pl.when(value == 0).then(pl.lit(f"{words} didn't vary over {over}")).otherwise(varied)
            case "trend":
                verb = pl.when(value > 0).then(pl.lit("rose")).otherwise(pl.lit("fell"))
                trend = _joined(f"{words} ", verb, " by ", _number(value.abs()), f" a month over {over}")
                return pl.when(value == 0).then(pl.lit(f"{words} without a trend over {over}")).otherwise(trend)
        return _joined(f"{self.noun(feature.name)} is ", _number(value))

    def _condition(self, feature: ConditionFeature) -> pl.Expr:
        value, held, over = _float(feature.name), self._held(feature), _months(feature.months)
        if feature.kind == "months_since":
            since = _joined(f"months since {held}: ", _number(value))
            return pl.when(value == 0).then(pl.lit(f"{held} this month")).otherwise(since)
        if feature.kind == "count":
            return _joined(f"{held} in ", _number(value), f" of {over}")
        return _joined(f"{held} in ", _number(value * 100), f"% of {over}, as far as they are known")

    def _held(self, feature: ConditionFeature) -> str:
        """The condition as a noun: ``tech support``, ``complaints above 0``."""
        words = plain(feature.column)
        return words if feature.condition == "true" else f"{words} {feature.condition}"

    def _ratio(self, feature: RatioFeature, name: str) -> pl.Expr:
        value, below = _float(name), self._named.get(feature.denominator)
        if not isinstance(below, TrailingFeature) or (below.kind, below.column) != ("mean", feature.numerator):
            return _joined(f"{self.noun(name)} is ", _number(value))
        words = plain(feature.numerator)
        verb, its = ("are", "their") if _plural(words) else ("is", "its")
        times = pl.when(value.is_between(0, 1, closed="left")).then(pl.lit(" of")).otherwise(pl.lit(" times"))
        return _joined(f"{words} {verb} ", _number(value), times, f" {its} {_count(below.months)}-month mean")


_STATISTICS = {"mean": "mean", "sum": "sum of", "min": "smallest", "max": "largest", "std": "standard deviation of",
               "trend": "monthly trend of"}  # fmt: skip


def plain(name: str) -> str:
    """A column's name as words.

    >>> plain("support_calls")
    'support calls'
    """
    return " ".join(name.replace("_", " ").split()) or name


def _known(name: str, dtype: pl.DataType) -> pl.Expr:
    known = pl.col(name).is_not_null()
    return known & pl.col(name).is_finite() if dtype.is_float() else known


def _float(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64)


def _value(name: str, dtype: pl.DataType) -> pl.Expr:
    return _number(pl.col(name)) if dtype.is_numeric() else pl.col(name).cast(pl.String)


def _number(value: pl.Expr) -> pl.Expr:
    """A number in at most ``DIGITS`` significant digits, with commas between thousands."""
    value = value.cast(pl.Float64)
    rounded = value.round_sig_figs(DIGITS)
    # Rounding leaves 123499999.99999999 of large numbers, and a sign on zero.
    whole = pl.when(rounded.abs().is_between(10**DIGITS, 1e15)).then(rounded).otherwise(0.0)
    small = pl.when(rounded == 0).then(0.0).otherwise(rounded).cast(pl.String).str.strip_suffix(".0")
    text = pl.when(whole != 0).then(whole.round().cast(pl.Int64).cast(pl.String)).otherwise(small)
    for _ in range(4):
        text = text.str.replace(r"^(-?\d+)(\d{3})([,.]|$)", "${1},${2}${3}")
    return text


def _pieces(value: pl.Expr, words: str) -> pl.Expr:
    """So and so many of what has a name in the plural."""
    none, one = value == 0, value == 1
    many = _joined(_number(value), f" {words}")
    return pl.when(none).then(pl.lit(f"no {words}")).when(one).then(pl.lit(f"1 {_singular(words)}")).otherwise(many)


def _flag(words: str, value: pl.Expr, when: str) -> pl.Expr:
    prefix, _, rest = words.partition(" ")
    yes, no = f"{words}{when}: yes", f"no {words}{when}"
    if prefix in ("is", "was") and rest:
        yes, no = f"{rest}{when}: yes", f"not {rest}{when}"
    elif prefix == "has" and rest:
        yes, no = f"{rest}{when}: yes", f"no {rest}{when}"
    elif prefix in ("no", "not"):
        no = f"{words}{when}: no"
    return pl.when(value).then(pl.lit(yes)).otherwise(pl.lit(no))


def _range(words: str, label: pl.Expr, edges: Sequence[float], unit: str) -> pl.Expr:
    """The interval of a bucket; the labels are those that ``features/expressions.py`` gives."""
    texts = [repr(float(e)).removesuffix(".0") for e in edges]
    said = {f"<{texts[0]}": f"below {texts[0]}{unit}", f">={texts[-1]}": f"{texts[-1]}{unit} or more"}
    said |= {f"{a}-{b}": f"from {a} to below {b}{unit}" for a, b in pairwise(texts)}
    return _joined(f"{words} ", label.replace(said))


def _joined(*parts: str | pl.Expr) -> pl.Expr:
    # Not a format string, for a name may have braces in it.
    return pl.concat_str([pl.lit(p) if isinstance(p, str) else p for p in parts])


def _count(number: int) -> str:
    return _COUNTED[number] if number < len(_COUNTED) else str(number)


def _months(number: int) -> str:
    return f"{_count(number)} month{'' if number == 1 else 's'}"


def _ago(number: int) -> str:
    return f"{_months(number)} ago"


def _any(number: int) -> str:
    return "this month" if number == 1 else f"any of {_months(number)}"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _head(words: str) -> str:
    """The part that is counted: "days" of "days since last login"."""
    return _TAIL.sub("", words)


def _plural(words: str) -> bool:
    head = _head(words).casefold()
    return len(head) > 3 and head.endswith("s") and not head.endswith(_SINGULAR)


def _singular(words: str) -> str:
    head = _head(words)
    for ending, one in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if head.casefold().endswith(ending):
            return head[: -len(ending)] + one + words[len(head) :]
    return words
