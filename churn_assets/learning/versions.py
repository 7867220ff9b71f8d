"""What differs between two versions of a dataset, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from churn_assets.errors import LakeError
from churn_assets.learning.reference import reference_of, shares
from churn_assets.learning.splits import sampled
from churn_assets.monitoring.drift import MOVED, STABLE, psi
from churn_assets.months import Month
from churn_assets.store.datasets import MADE, Manifest, version_of
from churn_assets.store.lake import MONTH, Lake

COMPARED_ROWS = 200_000
"""About as many rows of either version, by whole customers, tell how a feature is distributed."""

NAMED, LONGEST = 8, 60
"""Things that a sentence names one by one, and characters of a value that it shows."""


def differences(lake: Lake, before: Manifest, after: Manifest) -> dict[str, list[str]]:
    """Sentences on what ``after`` has other than ``before``, by what they are about; none where nothing differs.

    They are about rows, months, columns, distribution, upstream, specification, code and libraries.
    """
    return {
        "rows": list(_rows(before, after)),
        "months": list(_months(before, after)),
        "columns": list(_changes(before.features, after.features)),
        "distribution": list(_distribution(lake, before, after)),
        "upstream": list(_upstream(before, after)),
        "specification": list(_changes(*map(_flat, (before.specification, after.specification)))),
        "code": list(_code(before, after)),
        "libraries": list(_changes(before.libraries, after.libraries)),
    }


def _rows(before: Manifest, after: Manifest) -> Iterator[str]:
    if before.rows != after.rows:
        yield f"{after.rows:,} labelled rows instead of {before.rows:,} ({after.rows - before.rows:+,})."
    if (before.rows, before.positives) != (after.rows, after.positives):
        yield f"{after.rate:.2%} of them left instead of {before.rate:.2%}."
    old, new = (_of_parts(m) for m in (before, after))
    for part in sorted({*old, *new}):
        was, now = old.get(part, (0, 0)), new.get(part, (0, 0))
        if was != now:
            yield f"{part}: {now[0]:,} rows, {now[1]:,} of them left; it was {was[0]:,} and {was[1]:,}."


def _of_parts(manifest: Manifest) -> dict[str, tuple[int, int]]:
    """Rows and those who left, by part."""
    found: dict[str, tuple[int, int]] = {}
    for part in manifest.parts:
        rows, left = found.get(part["part"], (0, 0))
        found[part["part"]] = rows + part["rows"], left + part["positives"]
    return found


def _months(before: Manifest, after: Manifest) -> Iterator[str]:
    if before.kind != after.kind:
        yield f"The split is {after.kind} instead of {before.kind}."
    old, new = (_served(m) for m in (before, after))
    for month in sorted({*old, *new}):
        if old.get(month) != new.get(month):
            yield f"{month}: {new.get(month, 'not looked at')} instead of {old.get(month, 'not looked at')}."


def _served(manifest: Manifest) -> dict[str, str]:
    """What each month serves for."""
    parts: dict[str, list[str]] = {}
    for part, months in manifest.split.items():
        for month in months:
            parts.setdefault(month, []).append(part)
    return {month: "+".join(names) for month, names in parts.items()}


def _distribution(lake: Lake, before: Manifest, after: Manifest) -> Iterator[str]:
    features = [name for name, kind in after.features.items() if before.features.get(name) == kind]
    if before.id == after.id or not features:
        return
    try:
        old, new = (_sample(lake, m, features) for m in (before, after))
    except LakeError as error:
        yield f"Not compared. {error}"
        return
    found = {name: psi(*both) for name, both in shares(new, reference_of(old, features)).items()}
    moved = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    named = [
        f"{name} ({value:.2f}{', a lot' if value > MOVED else ''})" for name, value in moved.items() if value > STABLE
    ]
    if named:
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        yield f"Distributed otherwise, by population stability index: {', '.join(named[:NAMED])}{more}."
    else:
        name, value = next(iter(moved.items()))
        yield f"No feature is distributed otherwise; the largest population stability index is {value:.3f}, of {name}."


def _sample(lake: Lake, manifest: Manifest, features: list[str]) -> pl.DataFrame:
    """Features of the customers whose rows a dataset is made of."""
    tables = [t for m, t in manifest.of_table("features").items() if m in {p["event_month"] for p in manifest.parts}]
    key = manifest.specification["schema"]["key"]
    share = min(1.0, COMPARED_ROWS / max(1, sum(t.rows or 0 for t in tables)))
    frames = []
    for one in tables:
        record = version_of(lake, one.table, Month.parse(one.month), one.content)
        if record is None or not record.files:
            raise LakeError(f"{one.name}: expected its rows as they were then, found that version is gone.")
        rows = lake.scan_record(record).drop(MONTH).select(key, *features)
        if share < 1:
            rows = rows.filter(sampled(rows.select(key).collect()[key], share))
        frames.append(rows.collect())
    return pl.concat(frames, how="diagonal_relaxed")


def _upstream(before: Manifest, after: Manifest) -> Iterator[str]:
    old, new = ({t.name: t for t in m.inputs} for m in (before, after))
    for name in (n for n in new if n in old and old[n].content != new[n].content):
        told = "was entered or delivered anew" if new[name].table not in MADE else "has other rows"
        counted = f"{new[name].rows or 0:,} rows" + (
            f" instead of {old[name].rows or 0:,}" if old[name].rows != new[name].rows else ""
        )
        yield f"{name} {told} ({counted}, content {old[name].content[:8]} -> {new[name].content[:8]})."
    for there, absent, how in ((new, old, "is read now"), (old, new, "isn't read any more")):
        tables: dict[str, list[str]] = {}
        for name in there.keys() - absent.keys():
            tables.setdefault(there[name].table, []).append(there[name].month)
        yield from (f"{table} of {', '.join(sorted(months))} {how}." for table, months in sorted(tables.items()))


def _code(before: Manifest, after: Manifest) -> Iterator[str]:
    told = "" if before.spec == after.spec else " or another part of the specification that it depends on"
    if before.code != after.code:
        yield f"versioned_dataset was made by other code{told}."
    for table in MADE:
        old, new = ({t.code for t in m.inputs if t.table == table} for m in (before, after))
        if old and new and old != new:
            yield f"{table} was made by other code{told}."


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What was added, removed or changed, by key."""
    for key in [*new, *(k for k in old if k not in new)]:
        if key not in old:
            yield f"{key} was added: {_short(new[key])}."
        elif key not in new:
            yield f"{key} was removed; it was {_short(old[key])}."
        elif old[key] != new[key]:
            yield f"{key}: {_short(new[key])} instead of {_short(old[key])}."


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    """A document's values by their dotted places; parts of a list go by their names, where they have any."""
    if isinstance(value, dict) and value:
        given = {f"{place}.{k}" if place else str(k): v for k, v in value.items()}
    elif isinstance(value, list) and value and all(isinstance(one, dict) and one.get("name") for one in value):
        given = {f"{place}.{one['name']}": {k: v for k, v in one.items() if k != "name"} for one in value}
    else:
        return {place: value}
    return {inner: v for outer, one in given.items() for inner, v in _flat(one, outer).items()}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
