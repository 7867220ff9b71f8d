"""Dataset versions: content-addressed manifests of what a model learned from."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.errors import LakeError
from churn_assets.months import Month, SplitKind
from churn_assets.store.content import content_hash, json_hash
from churn_assets.store.lake import Lake, MonthRecord, replace_file

PARTS = {
    "event_month": pl.String, "part": pl.String, "rows": pl.Int64, "positives": pl.Int64, "unknown": pl.Int64,
    "features_content": pl.String, "label_content": pl.String,
}  # fmt: skip

LIBRARIES = (
    "churn-assets", "catboost", "lightgbm", "narwhals", "numpy", "optuna", "pandas", "polars", "scikit-learn", "scipy",
    "xgboost", "xgboost-cpu",
)  # fmt: skip

SHORTEST = 4
"""Characters that the beginning of a version must have to stand for it."""

MADE = ("validated_data", "quarantined_data", "features")
"""Tables that were made from rows of the lake; what else leads to a dataset was received, or entered by people."""


@dataclass(frozen=True)
class DatasetVersion:
    """What one month's dataset is made of.

    Attributes:
        id: equal for equal content, whenever and wherever it was made.
        parts: a row for each snapshot month and part: rows, positives, labels unknown, and the content of the
            tables read. The rows themselves stay in those tables.
    """

    id: str
    month: Month
    split: SplitKind
    reason: str
    parts: pl.DataFrame

    @property
    def rows(self) -> int:
        """Labelled rows of all parts."""
        return int(self.parts["rows"].sum())

    @property
    def positives(self) -> int:
        """Rows of customers who left."""
        return int(self.parts["positives"].sum())


def dataset_version(
    month: Month, split: SplitKind, reason: str, parts: pl.DataFrame, recipe: Mapping[str, object]
) -> DatasetVersion:
    """The version that ``parts`` and the ``recipe`` (every part of the specification that decides rows) make."""
    ordered = parts.sort("event_month", "part")
    content = content_hash(ordered)
    identity = json_hash({"parts": content, "split": split, "recipe": dict(recipe)})
    return DatasetVersion(identity[:16], month, split, reason, ordered)


@dataclass(frozen=True)
class TableMonth:
    """One month of a table as it was read, directly or below what was read.

    Attributes:
        content: hash of its rows.
        version: a version of the Delta table in which the month has these rows; None if no record of it is left.
        code: hash of the code and the parts of the specification that made it.
        spec: hash of the whole specification that made it.
        inputs: what it was made from, ``"<table> <month>"`` -> hash of the content.
    """

    table: str
    month: str
    content: str
    version: int | None = None
    rows: int | None = None
    code: str = ""
    spec: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``<table> <month>``."""
        return f"{self.table} {self.month}"


def version_of(lake: Lake, table: str, month: Month, content: str) -> MonthRecord | None:
    """The newest record of a month that has this content, also one of an earlier version; None if none is left."""
    now = lake.record(table, month)
    if now and now.content == content:
        return now
    return next((r for r in reversed(lake.history(table, month)) if r.content == content), None)


def closure(lake: Lake, inputs: Mapping[str, str]) -> tuple[TableMonth, ...]:
    """``inputs``, what they were made from, and so on down to what was received, each as it was read.

    Ordered by month and table. A month that was read with two contents stands there twice.
    """
    found: dict[tuple[str, str], TableMonth] = {}
    waiting = list(inputs.items())
    while waiting:
        name, content = waiting.pop()
        if (name, content) in found:
            continue
        table, _, month = name.partition(" ")
        found[name, content] = one = _table_month(lake, table, month, content)
        waiting += one.inputs.items() if table in MADE else ()
    return tuple(sorted(found.values(), key=lambda t: (t.month, t.table, t.content)))


def _table_month(lake: Lake, table: str, month: str, content: str) -> TableMonth:
    record = version_of(lake, table, Month.parse(month), content)
    if record is None:
        return TableMonth(table, month, content)
    spec = str(record.facts.get("spec", ""))
    return TableMonth(table, month, content, record.version, record.rows, record.code, spec, dict(record.inputs))


@dataclass(frozen=True)
class Manifest:
    """Everything that a dataset version was made from: enough to make it, and what was learned from it, again.

    Attributes:
        id: the version, equal for equal content; neither versions of tables nor code enter it.
        content: hash of ``parts``.
        split: which months train (``fit``), ``calibrate`` and ``validate``, and which were left out as ``purged`` or
            ``immature``.
        parts: of each snapshot month and part its rows, those who left, and those whose label is unknown.
        features: every feature's type.
        reads: what it read by itself, and the features of the month's own customers, whom its model will score:
            ``"<table> <month>"`` -> hash of the content.
        inputs: the same, and what that was made from, down to what was received.
        spec: hash of the specification.
        specification: all of it, as it was; secrets stay the names of environment variables.
        code: hash of the code, and the parts of the specification, that made the dataset.
        libraries: releases of this package and of the libraries that results depend on.
    """

    id: str
    pipeline: str
    month: str
    kind: SplitKind
    reason: str
    split: Mapping[str, tuple[str, ...]]
    parts: tuple[Mapping[str, Any], ...]
    content: str
    features: Mapping[str, str]
    reads: Mapping[str, str]
    inputs: tuple[TableMonth, ...]
    spec: str
    specification: Mapping[str, Any]
    code: str
    libraries: Mapping[str, str]

    @property
    def rows(self) -> int:
        """Labelled rows of all parts."""
        return sum(int(part["rows"]) for part in self.parts)

    @property
    def positives(self) -> int:
        """Rows of customers who left."""
        return sum(int(part["positives"]) for part in self.parts)

    @property
    def rate(self) -> float:
        """Share of the rows whose customer left."""
        return self.positives / self.rows if self.rows else 0.0

    def of_table(self, table: str) -> dict[str, TableMonth]:
        """The months of a table that were read, by month."""
        return {t.month: t for t in self.inputs if t.table == table}


def installed() -> dict[str, str]:
    """The releases of Python, this package and the libraries that results depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@dataclass(frozen=True)
class DatasetShelf:
    """The manifests of one pipeline, by version; each is written once and never changed."""

    root: Path

    def put(self, manifest: Manifest) -> Path:
        """Keeps a manifest. One of the same version that is there already stays: it has the equal content."""
        place = self._place(manifest.id)
        if not place.exists():
            replace_file(place, json.dumps(asdict(manifest), indent=1).encode())
        return place

    def has(self, version: str) -> bool:
        """Whether the manifest is there."""
        return self._place(version).exists()

    def get(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises:
            LakeError: it isn't there, or isn't one.
        """
        place = self._place(version)
        try:
            return _manifest(json.loads(place.read_text()))
        except FileNotFoundError:
            raise LakeError(
                f"dataset {version}: expected its manifest {place}, found no such file. Restore it, or run "
                "versioned_dataset of its month again."
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise LakeError(
                f"dataset {version}: expected a manifest in {place}, found {error}. Delete the file, and run "
                "versioned_dataset of its month again."
            ) from error

    def all(self) -> list[Manifest]:
        """Every manifest, by month and version."""
        found = [self.get(place.stem) for place in self.root.glob("*.json")]
        return sorted(found, key=lambda m: (m.month, m.id))

    def find(self, text: str) -> Manifest:
        """The manifest whose version begins with ``text``.

        Raises:
            LakeError: there is none, or more than one.
        """
        if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},16}}", text):
            raise LakeError(
                f"dataset {text!r}: expected a version, at least {SHORTEST} characters of one, or a month as YYYY-MM."
            )
        found = sorted(place.stem for place in self.root.glob(f"{text}*.json"))
        if len(found) == 1:
            return self.get(found[0])
        told = f"{len(found)}: {', '.join(found)}. Give more characters" if found else "none. See `churn dataset list`"
        raise LakeError(f"dataset {text}: expected one version that begins so, found {told}.")

    def _place(self, version: str) -> Path:
        return self.root / f"{version}.json"


def _manifest(value: dict[str, Any]) -> Manifest:
    return Manifest(**{
        **value,
        "split": {name: tuple(months) for name, months in value["split"].items()},
        "parts": tuple(value["parts"]),
        "inputs": tuple(TableMonth(**one) for one in value["inputs"]),
    })  # fmt: skip
