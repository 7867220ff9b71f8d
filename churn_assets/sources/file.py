"""Files as a source: of any format, compressed or not, by path, glob or address; one or several a month."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery
from churn_assets.sources.formats import Table, refusal
from churn_assets.sources.formats.received import Received
from churn_assets.spec.source import FileFormat, FileSourceSpec, filled

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]


@dataclass(frozen=True)
class File:
    """A file to read.

    Attributes:
        path: its path on this machine, or within ``system``.
        system: the file system it lies in; None for this machine's own.
        called: the name that its rows have in ``_file``; the last part of its path if not given.
    """

    path: str
    system: AbstractFileSystem | None = None
    called: str | None = None

    @classmethod
    def local(cls, path: Path, called: str | None = None) -> File:
        """A file of this machine."""
        return cls(str(path), called=called)

    @property
    def name(self) -> str:
        """What it is called, wherever it lies."""
        return self.called or Path(self.place).name

    @property
    def place(self) -> str:
        """Path or address, as messages name it."""
        from churn_assets.sources.formats.remote import shown

        return self.path if self.system is None else shown(str(self.system.unstrip_protocol(self.path)))

    def received(self) -> Received:
        """The file on this machine's disk: itself, or a copy.

        Raises:
            SourceError: it can't be read.
        """
        if self.system is None:
            return Received.local(Path(self.path))
        from churn_assets.sources.formats.remote import copied

        return copied(self.system, self.path, self.place)


@dataclass(frozen=True)
class FileSource:
    """The files that a specification names for a month.

    Texts are received just as they stand; the schema gives them their types later.
    """

    given: FileSourceSpec
    root: Path

    def files(self, month: Month) -> list[File]:
        """The files of ``month``, in the order of their names.

        Raises:
            SourceError: there are none, or they can't be reached.
        """
        path = filled(self.given.path, month)
        if "://" not in path:
            return self._local(Path(path).expanduser(), month)
        from churn_assets.sources.formats.remote import remote_files, shown

        system, paths = remote_files(path, dict(self.given.options))
        if system is None:
            return self._local(Path(paths[0]), month)
        if not paths:
            raise _none_found(shown(path), month)
        return [File(found, system) for found in paths]

    def identity(self, month: Month) -> str | None:
        return identity_of(self.files(month), self.given)

    def read(self, month: Month) -> Delivery:
        return deliver(self.files(month), self.given, month)

    def _local(self, given: Path, month: Month) -> list[File]:
        place = self.root / given
        # The root is a folder as it stands, whatever characters its name has.
        base = Path(given.anchor) if given.is_absolute() else self.root
        pattern = str(given.relative_to(given.anchor))
        found = [place] if place.exists() else sorted(p for p in base.glob(pattern) if p.is_file())
        if not found:
            raise _none_found(str(place), month)
        return [File.local(path) for path in found]


def _none_found(place: str, month: Month) -> SourceError:
    return refusal(
        place, f"the file of {month}", "none",
        "Put it there (an empty month is a file with just its header), or mend source.path.",
    )  # fmt: skip


def identity_of(files: Sequence[File], given: FileFormat) -> str | None:
    """A hash of the files' content and names, and of how they are read; None if only reading them can tell.

    Raises:
        SourceError: a file can't be read, or asked for.
    """
    how = {name: getattr(given, name) for name in FileFormat.model_fields}
    digest = hashlib.blake2b(json.dumps(how).encode(), digest_size=16)
    for file in files:
        if file.system is None:
            content: str | None = Received.local(Path(file.path)).sha256()
        else:
            from churn_assets.sources.formats.remote import checksum

            content = checksum(file.system, file.path, file.place)
        if content is None:
            return None
        digest.update(f"\0{file.name}\0{content}".encode())
    return digest.hexdigest()


def deliver(files: Sequence[File], given: FileFormat, month: Month) -> Delivery:
    """The rows of all ``files``, one after the other, as the delivery of ``month``.

    Every row has ``_file`` and ``_line``; rows of text formats have ``_defect`` and ``_text`` too.

    Raises:
        SourceError: a file can't be read, or the files have different columns.
    """
    from churn_assets.sources.formats.opened import open_table

    received = [file.received() for file in files]
    tables = [open_table(file, given) for file in received]
    columns = _common(received, tables, month)
    place = [("_file", pa.string()), ("_line", pa.int64())]
    if any("encoding" in table.details and table.details["encoding"] for table in tables):
        place += [("_defect", pa.string()), ("_text", pa.string())]
    schema = pa.schema([*columns, *place])
    provenance = {
        "kind": "file",
        "files": [table.details for table in tables],
        "columns": {field.name: str(field.type) for field in columns},
    }
    rows = _rows([file.name for file in files], received, tables, schema)
    return Delivery(
        pa.RecordBatchReader.from_batches(schema, rows),
        provenance,
        [doubt for table in tables for doubt in table.doubts],
    )


def _common(files: Sequence[Received], tables: Sequence[Table], month: Month) -> pa.Schema:
    """The columns of all files, in the order of the first, in types that hold the values of each."""
    first = tables[0].columns
    for file, table in zip(files, tables, strict=True):
        different = sorted(set(table.columns.names) ^ set(first.names))
        if different and not (table.open_keys and tables[0].open_keys):
            raise refusal(
                file.place, f"the columns of {files[0].name}", f"the difference {different}",
                f"Give all files of {month} the same columns.",
            )  # fmt: skip
        try:
            pa.unify_schemas([first, table.columns], promote_options="permissive")
        except pa.ArrowException as error:
            raise refusal(
                file.place, f"the same types in all files of {month}", str(error), "Give each column one type."
            ) from error
    return pa.unify_schemas([table.columns for table in tables], promote_options="permissive")


def _rows(
    names: Sequence[str], files: Sequence[Received], tables: Sequence[Table], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for name, file, table in zip(names, files, tables, strict=True):
        file.check_unchanged()
        for batch in table.batches:
            yield _fitted(batch, name, schema)
        file.check_unchanged()


def _fitted(batch: pa.RecordBatch, file: str, schema: pa.Schema) -> pa.RecordBatch:
    """``batch`` with all columns of ``schema``, in its order and types."""
    there = set(batch.schema.names)
    columns = []
    for field in schema:
        if field.name == "_file":
            columns.append(pa.repeat(pa.scalar(file), batch.num_rows))
        elif field.name in there:
            column = batch[field.name]
            columns.append(column if column.type == field.type else column.cast(field.type))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.record_batch(columns, schema=schema)
