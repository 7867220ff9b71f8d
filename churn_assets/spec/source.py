"""The section ``source``: where raw data comes from."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from churn_assets.months import Month
from churn_assets.spec.base import SpecModel, nearest
from churn_assets.spec.scenario import Scenario

FIELDS = ("month", "year", "number", "month_start", "month_end")
"""What braces in a path, an address or a pattern may name."""


def filled(text: str, month: Month) -> str:
    """``text`` with its braces filled: {month} is YYYY-MM, {month_start} and {month_end} are days."""
    return text.format(
        month=month, year=f"{month.year:04d}", number=f"{month.number:02d}",
        month_start=month.first_day, month_end=(month + 1).first_day,
    )  # fmt: skip


def _known_fields(text: str) -> str:
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None and (name not in FIELDS or form or conversion):
            raise ValueError(f"it has an unknown {{{name}}}. {nearest(name, list(FIELDS))}")
    return text


class SimulatedSourceSpec(SpecModel):
    """A simulated telecom subscriber base: no data and no network needed."""

    type: Literal["simulated"]
    customers: int = Field(7000, ge=100, le=20_000_000, description="Active customers at the start.")
    seed: int = Field(7, ge=0)
    scenario: list[Scenario] = Field([], description="What happens to the base; several may be combined.")


class FileFormat(SpecModel):
    """How a file is read. Whatever isn't given is detected, and reported with the month."""

    format: Literal["csv", "json", "ndjson", "parquet", "excel"] | None = Field(
        None, description="csv is any delimited text. Told by the name and the first bytes if not given."
    )
    encoding: str | None = Field(None, description="Encoding of a text file.")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Delimiter of a csv file.")
    skip_rows: int = Field(0, ge=0, description="Lines above the header of a csv file or a sheet.")
    sheet: str | None = Field(None, description="Sheet of an Excel file; needed if it has several.")
    records: str | None = Field(None, description="Dotted path to the list of rows in a JSON document.")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str | None) -> str | None:
        import codecs

        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise ValueError(f"no encoding is called {encoding!r}. Try utf-8, cp1252, latin-1 or utf-16.") from None
        return encoding


class FileSourceSpec(FileFormat):
    """Files: one or several a month, or one static table for one month; local or wherever fsspec reaches."""

    type: Literal["file"]
    path: str = Field(
        description="Path, glob or address (s3://, gs://, az://, https://); relative ones start at the data folder. "
        "{month} stands for YYYY-MM, {year} and {number} for its parts. Without any of them, the file is one static "
        "table for the pipeline's one month."
    )
    options: dict[str, str | int | bool] = Field({}, description="Options of the file system, as fsspec names them.")

    _fields = field_validator("path")(_known_fields)


class IncomingSourceSpec(FileFormat):
    """A drop folder: each file is a month's whole delivery, and a later one replaces it."""

    type: Literal["incoming"]
    pattern: str = Field("{month}.*", description="Names of the files, with {month}, or {year} and {number}, and *.")
    folder: str = Field("incoming", description="The folder; a relative one starts at the data folder.")
    settle_seconds: float = Field(5, ge=0, le=3600, description="How long a file must have stayed as it is.")

    _fields = field_validator("pattern")(_known_fields)

    @field_validator("pattern")
    @classmethod
    def _names_a_month(cls, pattern: str) -> str:
        if "{month}" not in pattern and not ("{year}" in pattern and "{number}" in pattern):
            raise ValueError(f"expected {{month}}, or {{year}} and {{number}}; found {pattern!r}.")
        if "/" in pattern:
            raise ValueError(f"expected the name of a file, found {pattern!r}. Put folders into 'folder'.")
        return pattern


class SqlSourceSpec(SpecModel):
    """A query to any database that SQLAlchemy knows."""

    type: Literal["sql"]
    url: str = Field(description="SQLAlchemy's address of the database; secrets as {{ env.NAME }}.")
    query: str = Field(description="A SELECT, with :month_start (first day) and :month_end (first day of the next).")
    version: str | None = Field(
        None, description="A cheap SELECT, with the same parameters, whose answer changes whenever the month's rows do."
    )
    batch_rows: int = Field(50_000, ge=1, description="Rows that are fetched at a time.")
    attempts: int = Field(5, ge=1, le=20, description="Attempts while the database can't be reached.")


class NoPaging(SpecModel):
    """The whole answer at once."""

    kind: Literal["none"] = "none"


class PagePaging(SpecModel):
    """Numbered pages, up to the first that is empty."""

    kind: Literal["page"]
    parameter: str = "page"
    start: int = 1
    size_parameter: str | None = None
    size: int = Field(1000, ge=1)


class CursorPaging(SpecModel):
    """Each answer names the next."""

    kind: Literal["cursor"]
    parameter: str = "cursor"
    next: str = Field(description="Dotted path to the next cursor in an answer; none there ends it.")


class LinkPaging(SpecModel):
    """Each answer's header ``Link`` has the next address (RFC 8288)."""

    kind: Literal["link"]


Paging = Annotated[NoPaging | PagePaging | CursorPaging | LinkPaging, Field(discriminator="kind")]


class HttpSourceSpec(SpecModel):
    """A JSON API."""

    type: Literal["http"]
    url: str = Field(description="Address; {month}, {month_start} and {month_end} are filled in.")
    params: dict[str, str | int] = Field({}, description="Parameters of the query, filled in likewise.")
    headers: dict[str, str] = Field({}, description="Secrets as {{ env.NAME }}.")
    token: str | None = Field(None, description="A bearer token, as {{ env.NAME }}.", repr=False)
    records: str | None = Field(None, description="Dotted path to the list of rows in an answer.")
    paging: Paging = NoPaging()
    timeout: float = Field(30, gt=0, description="Seconds to wait for an answer.")
    attempts: int = Field(5, ge=1, le=20, description="Attempts while the API can't be reached, or asks to wait.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not re.match(r"https?://", url):
            raise ValueError(f"expected http:// or https://, found {url!r}.")
        return _known_fields(url)

    @field_validator("params")
    @classmethod
    def _filled_params(cls, params: dict[str, str | int]) -> dict[str, str | int]:
        for value in params.values():
            _known_fields(str(value))
        return params


class KaggleSourceSpec(FileFormat):
    """A data set on Kaggle, through its own client (extra ``kaggle``)."""

    type: Literal["kaggle"]
    dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name")
    path: str = Field(description="File in the data set; {month} as in a file source.")
    version: int | None = Field(None, ge=1, description="Version of the data set; the newest if not given.")

    _fields = field_validator("path")(_known_fields)


class HuggingFaceSourceSpec(FileFormat):
    """A data set on the Hugging Face hub, through its own client (extra ``huggingface``)."""

    type: Literal["huggingface"]
    dataset: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", description="owner/name")
    path: str = Field(description="File in the data set; {month} as in a file source.")
    revision: str | None = Field(None, description="Branch, tag or commit; the newest if not given.")

    _fields = field_validator("path")(_known_fields)


SingleSourceSpec = Annotated[
    SimulatedSourceSpec | FileSourceSpec | IncomingSourceSpec | SqlSourceSpec | HttpSourceSpec | KaggleSourceSpec
    | HuggingFaceSourceSpec,
    Field(discriminator="type"),
]  # fmt: skip


class TableSpec(SpecModel):
    """One of several tables."""

    source: SingleSourceSpec
    key: str | None = Field(None, description="The customer's column in this table, if it has another name here.")
    prefix: str = Field("", description="Put before the names of this table's other columns.")


class JoinedSourceSpec(SpecModel):
    """Several tables, joined on the customer. The first one has the customers; the others add columns to them."""

    type: Literal["joined"]
    tables: dict[str, TableSpec] = Field(min_length=2)

    @model_validator(mode="after")
    def _base_has_no_prefix(self) -> Self:
        first = next(iter(self.tables))
        if self.tables[first].prefix:
            raise ValueError(f"the first table, {first!r}, gives the names; give the others a prefix.")
        return self


SourceSpec = Annotated[
    SimulatedSourceSpec | FileSourceSpec | IncomingSourceSpec | SqlSourceSpec | HttpSourceSpec | KaggleSourceSpec
    | HuggingFaceSourceSpec | JoinedSourceSpec,
    Field(discriminator="type"),
]  # fmt: skip
