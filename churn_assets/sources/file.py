"""Files as a source: CSV and Parquet, by path or glob, one or several a month or one static table."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources import Delivery

_CONFLICT = re.compile(r"^(<{7}( |$)|={7}$|>{7}( |$))")


@dataclass(frozen=True)
class FileSource:
    """The files that ``path`` names for a month; ``{month}``, ``{year}``, ``{number}`` and globs are filled in.

    CSV values are received as text, just as they stand; the schema gives them their types later.
    """

    path: str
    root: Path
    format: str | None = None
    delimiter: str = ","
    encoding: str = "utf-8"

    def files(self, month: Month) -> list[Path]:
        """The files of ``month``, in the order of their names.

        Raises:
            SourceError: there are none.
        """
        pattern = self.path.format(month=month, year=f"{month.year:04d}", number=f"{month.number:02d}")
        given = Path(pattern).expanduser()
        place = self.root / given
        # The root is a folder as it stands, whatever characters its name has.
        base = Path(given.anchor) if given.is_absolute() else self.root
        matching = base.glob(str(given.relative_to(given.anchor)))
        found = [place] if place.is_file() else sorted(p for p in matching if p.is_file())
        if not found:
            raise SourceError(
                f"{place}: expected the file of {month}, found none. Put it there (an empty month is a file with just "
                "its header), or mend source.path."
            )
        return found

    def identity(self, month: Month) -> str:
        digest = hashlib.blake2b(f"{self.format}|{self.delimiter}|{self.encoding}".encode(), digest_size=16)
        for file in self.files(month):
            with file.open("rb") as stream:
                digest.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def read(self, month: Month) -> Delivery:
        files = self.files(month)
        frames = [self._frame(file) for file in files]
        names = [list(f.columns) for f in frames]
        if odd := next((i for i, n in enumerate(names) if set(n) != set(names[0])), None):
            raise SourceError(
                f"{files[odd]}: expected the columns of {files[0].name}, found the difference "
                f"{sorted(set(names[odd]) ^ set(names[0]))}. Give all files of {month} the same columns."
            )
        try:
            table = pl.concat([f.select(names[0]) for f in frames], how="vertical_relaxed").to_arrow()
        except pl.exceptions.PolarsError as error:
            raise SourceError(
                f"{files[0].parent}: expected the same types in all files of {month}, found: {error}. Nothing was "
                "ingested."
            ) from error
        provenance = {
            "kind": "file",
            "files": [file.name for file in files],
            "bytes": sum(file.stat().st_size for file in files),
            "columns": [name for name in names[0] if not name.startswith("_")],
            "content": self.identity(month),
        }
        return Delivery(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), provenance)

    def _frame(self, file: Path) -> pl.DataFrame:
        kind = self.format or {".csv": "csv", ".parquet": "parquet"}.get(file.suffix.lower())
        if kind is None:
            raise SourceError(f"{file}: expected .csv or .parquet, found {file.suffix!r}. Set source.format.")
        try:
            frame = pl.read_parquet(file, glob=False) if kind == "parquet" else self._csv(file)
            return frame.with_row_index("_row", offset=1).with_columns(pl.lit(file.name).alias("_file"))
        except (pl.exceptions.PolarsError, csv.Error, UnicodeDecodeError, LookupError) as error:
            raise SourceError(
                f"{file}: expected readable {kind} ({self.encoding}, delimiter {self.delimiter!r}), found: {error}. "
                "Nothing was ingested."
            ) from error

    def _csv(self, file: Path) -> pl.DataFrame:
        with file.open(encoding=self.encoding, newline="") as stream:
            header = next(csv.reader(stream, delimiter=self.delimiter), [])
        self._check_header(file, header)
        frame = pl.read_csv(
            file, separator=self.delimiter, infer_schema=False, glob=False,
            encoding="utf8" if self.encoding.lower().replace("-", "") == "utf8" else self.encoding,
        )  # fmt: skip
        markers = frame.to_series(0).str.contains(_CONFLICT.pattern).fill_null(False)
        if markers.any():
            row = markers.arg_true()[0]
            self._refuse_conflict(file, f"row {row + 1}", "a customer", frame.to_series(0)[row])
        return frame

    def _check_header(self, file: Path, header: list[str]) -> None:
        names = [name.strip().lstrip("\ufeff") for name in header]
        if not any(names):
            raise SourceError(f"{file}: expected a header in line 1, found an empty file. Nothing was ingested.")
        if any("\0" in name for name in names):
            raise SourceError(f"{file}, line 1: expected a header, found bytes that are no text. Nothing was ingested.")
        if _CONFLICT.match(names[0]):
            self._refuse_conflict(file, "line 1", "a header", names[0])
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise SourceError(
                f"{file}, line 1: expected each column once, found twice: {', '.join(map(repr, twice))}. "
                "Nothing was ingested."
            )

    def _refuse_conflict(self, file: Path, place: str, expected: str, found: str) -> None:
        raise SourceError(
            f"{file}, {place}: expected {expected}, found {found!r} (a merge conflict). Restore the file; nothing was "
            "ingested."
        )
