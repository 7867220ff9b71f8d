"""A pipeline's features as a Feast repository: files that Feast reads, over the Parquet files of the lake.

Nothing here needs Feast, whose pins clash with ours (``tenacity<9``); it is run in an environment of its own.

Feast's DuckDB store can read a Delta table, but only with an extension that DuckDB downloads when it is asked to, and
none of its other local stores reads one. So the repository has a folder with one link a month, to the Parquet file
that the lake has recorded: the same rows, and nothing copied. A month that can't be read so, because a column has
another type or another name in the file, or says another moment of availability, is written anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churn_assets.errors import LakeError, SpecError
from churn_assets.features.profile import definitions
from churn_assets.months import Month
from churn_assets.pipeline import Pipeline
from churn_assets.store.lake import MonthRecord, replace_file
from churn_assets.store.offline import AVAILABLE_AT, TABLE

FEAST = "feast[duckdb]==0.67.0"
"""What the tests install beside a repository."""

STORE, MONTHS = "feature_store.yaml", "features"

_TYPES = {
    "string": "String", "category": "String", "integer": "Int64", "number": "Float64", "boolean": "Bool",
    "date": "UnixTimestamp", "timestamp": "UnixTimestamp",
}  # fmt: skip
"""A feature's type -> that of Feast."""

_KEYS = {pl.String(): ("String", "STRING"), pl.Int64(): ("Int64", "INT64")}
"""The key's type -> that of Feast, as a field and as an entity."""


@dataclass(frozen=True)
class FeastRepository:
    """What was written: the months whose files are linked, and those whose rows were written anew."""

    folder: Path
    linked: tuple[str, ...]
    copied: tuple[str, ...]

    @property
    def months(self) -> tuple[str, ...]:
        return tuple(sorted((*self.linked, *self.copied)))


def export_feast(pipeline: Pipeline, folder: Path) -> FeastRepository:
    """Writes the repository, or writes it anew; ``feature_store.yaml`` and what Feast keeps in ``folder`` stay.

    Raises:
        SpecError: ``folder`` holds something else.
        MissingMonth: a month between the first and the newest one was never made.
        LakeError: no month has rows, or a month was made before a feature was declared.
    """
    folder = folder.expanduser().resolve()
    _claim(folder, pipeline)
    window = pipeline.offline.window("feast export")
    records = [r for r in pipeline.offline.records(window, pipeline.spec.feature_names) if r.files]
    if not records:
        remedy = pipeline.lake.remedy.format(first=pipeline.calendar.start, last="YYYY-MM")
        raise LakeError(f"features: expected a month with rows to export, found none. Run `{remedy}`.")
    schema = _schema(pipeline, records[-1])
    if not (folder / STORE).exists():
        # First of all, so that the folder of an export that was killed is known again.
        replace_file(folder / STORE, f"{_title(pipeline)}\n{_store(pipeline)}".encode())
    linked = {r.month: _put(pipeline, r, schema, folder / MONTHS / f"{r.month}.parquet") for r in records}
    for file in (folder / MONTHS).glob("*.parquet"):
        if file.stem not in linked:
            file.unlink()
    made = FeastRepository(
        folder, tuple(m for m, link in linked.items() if link), tuple(m for m, link in linked.items() if not link)
    )
    replace_file(folder / "definitions.py", _definitions(pipeline, made, schema[pipeline.key]).encode())
    return made


def _claim(folder: Path, pipeline: Pipeline) -> None:
    """Refuses a folder with files that an export of this pipeline didn't make."""
    store = folder / STORE
    if not folder.exists() or (folder.is_dir() and not os.listdir(folder)):
        return
    if not store.is_file() or not store.read_text(encoding="utf-8").startswith(f"{_title(pipeline)}\n"):
        raise SpecError(
            f"--to {folder}: expected a folder that is empty or not there, or an earlier export of {pipeline.name}; "
            "found something else. It stays as it is; give another folder."
        )


def _put(pipeline: Pipeline, record: MonthRecord, schema: dict[str, pl.DataType], place: Path) -> bool:
    """Puts a month at ``place``; True if a link to the lake's own file is enough."""
    place.parent.mkdir(exist_ok=True)
    part = place.with_name(f".{place.name}.part")
    part.unlink(missing_ok=True)
    fits = _fits(pipeline, record, schema)
    if fits:
        part.symlink_to(pipeline.lake.root / record.table / record.files[0])
    else:
        _write(pipeline, record, schema, part)
    part.replace(place)
    return fits


def _schema(pipeline: Pipeline, record: MonthRecord) -> dict[str, pl.DataType]:
    """The columns that Feast reads, and their types."""
    key = pipeline.lake.scan_record(record).collect_schema()[pipeline.key]
    return {
        pipeline.key: key if key in _KEYS else pl.String(),
        AVAILABLE_AT: pl.Datetime("us", "UTC"),
        **pipeline.offline.features,
    }


def _fits(pipeline: Pipeline, record: MonthRecord, schema: dict[str, pl.DataType]) -> bool:
    """Whether a month's own file has these columns, under their own names, and the moment that the calendar says."""
    if len(record.files) != 1 or any(record.columns.get(name) != name for name in schema):
        return False
    file = pipeline.lake.root / record.table / record.files[0]
    found = pl.read_parquet_schema(file)
    if any(found[name] != dtype for name, dtype in schema.items()):
        return False
    moment = pl.scan_parquet(file, hive_partitioning=False).select(AVAILABLE_AT).head(1).collect().item()
    return bool(moment == pipeline.calendar.available_from(Month.parse(record.month)))


def _write(pipeline: Pipeline, record: MonthRecord, schema: dict[str, pl.DataType], place: Path) -> None:
    available = pl.lit(pipeline.calendar.available_from(Month.parse(record.month)))
    rows = pipeline.lake.scan_record(record).with_columns(available.alias(AVAILABLE_AT))
    rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sink_parquet(place)


def _title(pipeline: Pipeline) -> str:
    return f"# The features of the pipeline {pipeline.name}, from `churn features export-feast`. Keep this line."


def _store(pipeline: Pipeline) -> str:
    return f"""\
project: {pipeline.name}
provider: local
registry: registry.db
offline_store:
  type: duckdb
online_store:
  type: sqlite
  path: online_store.db
entity_key_serialization_version: 3
"""


_DEFINITIONS = '''\
"""The features of the pipeline {name}, for Feast.

Written by `churn features export-feast`: export again instead of editing this file. The folder `features` beside it
has a Parquet file a month, {first} to {last}, as the Delta table stood then: {links} linked, {copies} copied.
"""

from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import {types}

TABLE = {table!r}
OWNER = {owner!r}
TAGS = {{"pipeline": {name!r}, "table": TABLE}}

customer = Entity(name={key!r}, value_type=ValueType.{key_value}, owner=OWNER, tags=TAGS)

months = FileSource(
    name={view!r},
    path=str(Path(__file__).resolve().parent / {folder!r}),
    file_format=ParquetFormat(),
    timestamp_field={available!r},
    description="One row per customer and month; {available} is the moment from which it may be used.",
    owner=OWNER,
    tags=TAGS,
)

features = FeatureView(
    name={view!r},
    entities=[customer],
    ttl=timedelta(0),  # The newest features of a customer, however old they are.
    schema=[
        Field(name={key!r}, dtype={key_type}),
{fields}
    ],
    source=months,
    description={description!r},
    owner=OWNER,
    tags=TAGS,
)

service = FeatureService(
    name={name!r},
    features=[features],
    description={description!r},
    owner=OWNER,
    tags=TAGS,
)
'''

_FIELD = """\
        Field(
            name={name!r},
            dtype={dtype},
            description={description!r},
            tags={tags!r},
        ),"""


def _definitions(pipeline: Pipeline, made: FeastRepository, key: pl.DataType) -> str:
    spec = pipeline.spec
    key_type, key_value = _KEYS[key]
    types = {key_type, *(_TYPES[kind] for kind in spec.feature_types.values())}
    return _DEFINITIONS.format(
        first=made.months[0], last=made.months[-1], links=len(made.linked),
        copies=len(made.copied), types=", ".join(sorted(types)),
        table=str(pipeline.lake.root / TABLE), owner=spec.owner, name=spec.name, key=pipeline.key, key_type=key_type,
        key_value=key_value, view=f"{spec.name}_features", folder=MONTHS, available=AVAILABLE_AT,
        fields="\n".join(map(_field, definitions(spec).iter_rows(named=True))), description=spec.description,
    )  # fmt: skip


def _field(feature: dict[str, Any]) -> str:
    tags = {name: feature[name] for name in ("kind", "window", "made_of", "owner")}
    return _FIELD.format(
        name=feature["feature"], dtype=_TYPES[feature["type"]], description=feature["description"], tags=tags
    )
