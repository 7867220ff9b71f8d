"""What is expected of a whole month, from the schema's limits and from the months before.

A month is compared by its profile, a summary that is kept with it; ``trailing`` are those of the months before, by
month as text. The comparisons are robust: one odd month among the trailing ones moves them little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, log, sqrt
from statistics import median
from typing import Any

import polars as pl

from churn_assets.months import Month
from churn_assets.spec import LabelSpec, SchemaSpec

Profiles = Mapping[str, Mapping[str, Any]]

TOP = 50
"""Categories that a profile keeps; texts with more distinct values are no categories."""

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

SIGMAS = 4.0
"""How far off a figure must be, in standard deviations: about one false alarm in 15,000 if it is normal."""

NORMAL = 1.4826
"""Standard deviations in a median absolute deviation of normal values."""

CHANGES = 4
"""Monthly changes that a usual one can be told from."""

POINTS = 0.02
"""Growth of a share of missing values that is of no account."""

SHIFT = 0.05
"""Share of rows that may stand in other categories than usual."""

NOTABLE = 0.01, 20
"""A category is notable from this share, and this number of rows, on."""


@dataclass(frozen=True)
class Expectation:
    """Whether a month is as expected, and on what evidence.

    Attributes:
        name: what was expected.
        passed: whether it is so; also true where there is nothing to compare with, which ``reason`` says.
        reason: the finding in a sentence.
        figures: the numbers behind it.
        table: the finding in detail, if there is more to it.
    """

    name: str
    passed: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)
    table: pl.DataFrame | None = None


def profile(valid: pl.DataFrame, schema: SchemaSpec) -> dict[str, Any]:
    """A month in figures, as JSON has them: rows, and for each column missing cells, categories or quantiles."""
    kinds = {c.name: c.type for c in schema.columns if c.name in valid.columns and c.name != schema.key}
    return {
        "rows": len(valid),
        "columns": {name: _column(valid.get_column(name), kind) for name, kind in kinds.items()},
    }


def row_change(rows: int, before: int, schema: SchemaSpec) -> Expectation:
    """Whether a month has enough rows, and about as many as the month before (0 if there is none)."""
    figures = {"rows": rows, "before": before}
    if rows < schema.min_rows:
        return Expectation("row_change", False, f"Expected at least {schema.min_rows:,} rows, found {rows:,}.", figures)
    if not before:
        return Expectation("row_change", True, f"{rows:,} rows; there is no month before to compare with.", figures)
    change = rows / before - 1
    limit = schema.max_row_change
    reason = f"{rows:,} rows after {before:,} the month before ({change:+.1%}); the limit is {limit:.0%}."
    # 130 / 100 - 1 is a little more than 0.3.
    passed = round(abs(change), 9) <= limit
    if not passed:
        reason += " If that is right, raise schema.max_row_change."
    return Expectation("row_change", passed, reason, figures | {"change": change})


def volume(rows: int, trailing: Profiles) -> Expectation:
    """Whether the number of rows goes on as in the trailing months.

    The usual monthly change is the median of the trailing months' log changes; their median absolute deviation says
    how much it varies (Leys et al., 2013, Journal of Experimental Social Psychology 49(4)). The interval is never
    narrower than what chance gives a count, nor than five per cent.
    """
    counts = {m: int(p["rows"]) for m, p in sorted(trailing.items()) if p["rows"]}
    months = list(counts)
    changes = [
        log(counts[b] / counts[a]) for a, b in pairwise(months)
        if Month.parse(b) - Month.parse(a) == 1
    ]  # fmt: skip
    if len(changes) < CHANGES:
        reason = f"{rows:,} rows; there are not enough months before to tell what is usual."
        return Expectation("volume", True, reason, {"rows": rows}, _volume_table(counts, rows, None, None))
    usual, last = median(changes), counts[months[-1]]
    width = max(SIGMAS * _deviation(changes), SIGMAS / sqrt(last), log(1.05))
    low, high = last * exp(usual - width), last * exp(usual + width)
    passed = low <= rows <= high
    reason = f"{rows:,} rows; {low:,.0f} to {high:,.0f} are usual after the {len(counts)} months before."
    figures = {"rows": rows, "low": low, "high": high, "usual_change": exp(usual) - 1}
    return Expectation("volume", passed, reason, figures, _volume_table(counts, rows, low, high))


def nulls(now: Mapping[str, Any], trailing: Profiles) -> Expectation:
    """Whether no column is missing much more often than in the trailing months.

    The usual share is the trailing months' median; it may be exceeded by two points, by the months' own variation
    (median absolute deviation), and by the chance of a sample (binomial).
    """
    months = [p for p in trailing.values() if p["rows"]]
    if not months or not now["rows"]:
        return Expectation("nulls", True, "There are no months before to compare with.")
    beyond = []
    for name, column in now["columns"].items():
        shares = [p["columns"][name]["missing"] / p["rows"] for p in months if name in p["columns"]]
        if not shares:
            continue
        usual, share = median(shares), column["missing"] / now["rows"]
        chance = sqrt(max(usual, 1 / now["rows"]) * (1 - usual) / now["rows"])
        limit = usual + max(SIGMAS * _deviation(shares), SIGMAS * chance, POINTS)
        if round(share - limit, 12) > 0:
            beyond.append((name, share, usual, limit))
    table = pl.DataFrame(
        beyond, {"column": pl.String, **dict.fromkeys(("share", "usual", "limit"), pl.Float64)}, orient="row"
    ).sort("share", descending=True)
    told = ", ".join(f"{n} ({s:.1%}, usually {u:.1%})" for n, s, u, _ in table.head(5).rows())
    reason = f"Missing more often than usual: {told}." if beyond else "No column is missing more often than usual."
    return Expectation("nulls", not beyond, reason, {"columns": len(beyond), "months": len(months)}, table)


def categories(now: Mapping[str, Any], trailing: Profiles) -> Expectation:
    """Whether categories are spread as in the trailing months together.

    The distance is the total variation: the share of rows that would have to change their category. It may be five
    per cent, what chance gives two samples of these sizes (McDiarmid's inequality, 1989, at one in 10,000), and what is
    usual among the trailing months (median and median absolute deviation). Categories are new or gone where they are
    neither rare nor cut off by the profile's limit.
    """
    months = [p for p in trailing.values() if p["rows"]]
    if not months or not now["rows"]:
        return Expectation("categories", True, "There are no months before to compare with.")
    spread = {n: c for n, c in now["columns"].items() if "categories" in c}
    judged = [
        found for name, column in spread.items()
        if (before := [p["columns"][name] for p in months if "categories" in p["columns"].get(name, {})])
        and (found := _category_drift(name, column, before))
    ]  # fmt: skip
    schema = {"column": pl.String, "distance": pl.Float64, "limit": pl.Float64, "new": pl.String, "gone": pl.String}
    table = pl.DataFrame([f for f in judged if f], schema, orient="row").sort("distance", descending=True)
    beyond = table.filter((pl.col("distance") > pl.col("limit")) | (pl.col("new") != "") | (pl.col("gone") != ""))
    if beyond.is_empty():
        reason = "Categories are spread as in the months before."
    else:
        reason = f"Categories differ from the months before: {'; '.join(map(_told, beyond.head(5).to_dicts()))}."
    return Expectation("categories", beyond.is_empty(), reason, {"columns": len(beyond), "months": len(months)}, beyond)


def churn_rate(valid: pl.DataFrame, schema: SchemaSpec, label: LabelSpec) -> Expectation:
    """Whether the share of customers flagged as having left is plausible."""
    flag = schema.churned
    if flag is None or valid.is_empty():
        return Expectation("churn_rate", True, "The source flags nobody as having left.")
    rate = float(valid[flag].mean() or 0.0)  # type: ignore[arg-type]
    passed = label.min_rate <= rate <= label.max_rate
    reason = f"{rate:.2%} left in the month; plausible is {label.min_rate:.2%} to {label.max_rate:.2%}."
    if not passed:
        reason += " If that is right, mend label.min_rate or label.max_rate."
    return Expectation("churn_rate", passed, reason, {"churn_rate": rate})


def _column(values: pl.Series, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"missing": values.null_count()}
    if kind in ("category", "boolean") or (kind == "string" and values.n_unique() <= TOP):
        counts = (
            values.drop_nulls().cast(pl.String).value_counts(name="n").sort("n", values.name, descending=[True, False])
        )
        found["categories"] = dict(counts.head(TOP).rows())
        found["distinct"] = len(counts)
    if kind in ("integer", "number") and len(known := values.drop_nulls()):
        found["quantiles"] = {f"{q:g}": float(known.quantile(q) or 0.0) for q in QUANTILES}
    return found


def _volume_table(counts: dict[str, int], rows: int, low: float | None, high: float | None) -> pl.DataFrame:
    lines: list[tuple[str, int, float | None, float | None]] = [(m, n, None, None) for m, n in counts.items()]
    schema = {"month": pl.String, "rows": pl.Int64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame([*lines, ("this month", rows, low, high)], schema, orient="row")


def _deviation(values: list[float]) -> float:
    middle = median(values)
    return NORMAL * median(abs(v - middle) for v in values)


def _category_drift(
    name: str, now: Mapping[str, Any], before: list[Mapping[str, Any]]
) -> tuple[str, float, float, str, str] | None:
    counts, pool = Counter(now["categories"]), sum((Counter(c["categories"]) for c in before), Counter[str]())
    here, there = sum(counts.values()), sum(pool.values())
    if not here or not there:
        return None
    complete = all(c["distinct"] <= TOP for c in (now, *before))
    if not complete:
        # Beyond the limit it isn't known which categories there are: those that all months name are compared.
        common = set.intersection(*(set(c["categories"]) for c in (now, *before)))
        counts, pool = (Counter({v: n for v, n in c.items() if v in common}) for c in (counts, pool))
        here, there = sum(counts.values()) or 1, sum(pool.values()) or 1
    months = [m for m in (Counter(c["categories"]) for c in before) if m]
    usual = [_distance(m, pool) for m in months]
    chance = sqrt(log(1e4) / 2 * (1 / here + 1 / there))
    limit = max(SHIFT, chance, median(usual) + SIGMAS * _deviation(usual) if len(usual) > 2 else 0.0)
    share, rows = NOTABLE
    new = [v for v, n in counts.items() if v not in pool and n >= max(share * here, rows)]
    gone = [v for v, n in pool.items() if v not in counts and n / there >= max(share, rows / here)]
    return name, _distance(counts, pool), limit, ", ".join(sorted(new)), ", ".join(sorted(gone))


def _distance(counts: Counter[str], pool: Counter[str]) -> float:
    here, there = sum(counts.values()) or 1, sum(pool.values()) or 1
    return sum(abs(counts[v] / here - pool[v] / there) for v in counts | pool) / 2


def _told(drift: dict[str, Any]) -> str:
    parts = [f"{drift['distance']:.1%} of rows moved, usual is up to {drift['limit']:.1%}"] * (
        drift["distance"] > drift["limit"]
    )
    parts += [f"{what} {drift[what]}" for what in ("new", "gone") if drift[what]]
    return f"{drift['column']} ({', '.join(parts)})"
