from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from churn_assets.months import Month
from churn_assets.spec import PipelineSpec
from churn_assets.spec.source import filled
from churn_assets_tests.declared import declared, document

JOINED = {
    "type": "joined",
    "tables": {
        "profile": {"source": {"type": "file", "path": "p/{month}.csv"}},
        "usage": {"source": {"type": "sql", "url": "sqlite://", "query": "select 1"}, "key": "cust", "prefix": "u_"},
        "regions": {"source": {"type": "file", "path": "regions.csv"}},
    },
}
VALID: list[dict[str, Any]] = [
    {"type": "simulated"},
    {"type": "file", "path": "s3://bucket/{year}/{number}/*.csv.gz", "options": {"anon": True}},
    {"type": "file", "path": "{month}.xlsx", "sheet": "Customers", "skip_rows": 2},
    {"type": "incoming"},
    {"type": "incoming", "pattern": "customers_{year}{number}*.csv", "folder": "drop", "encoding": "cp1252"},
    {"type": "sql", "url": "postgresql+psycopg2://u@h/db", "query": "select * from c where d >= :month_start"},
    {"type": "http", "url": "https://x.org/{month}", "paging": {"kind": "cursor", "next": "meta.next"}},
    {"type": "http", "url": "https://x.org/", "params": {"from": "{month_start}", "to": "{month_end}"}},
    {"type": "kaggle", "dataset": "blastchar/telco-customer-churn", "path": "{month}.csv"},
    {"type": "huggingface", "dataset": "owner/name", "path": "data/{month}.parquet", "revision": "main"},
    JOINED,
]
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"type": "ftp"}, "type 'ftp' isn't known. Known here: file, "),
    ({"type": "file", "path": "{moth}.csv"}, "unknown {moth}. Did you mean 'month'?"),
    ({"type": "file", "path": "{month}.csv", "encoding": "utf-88"}, "no encoding is called 'utf-88'"),
    ({"type": "file", "path": "{month}.csv", "delimiter": ";;"}, "at most 1 character"),
    ({"type": "file", "path": "all.csv"}, "'all.csv' names the same for several of the pipeline's months"),
    ({"type": "incoming", "pattern": "customers.csv"}, "expected {month}, or {year} and {number}"),
    ({"type": "incoming", "pattern": "drop/{month}.csv"}, "expected the name of a file"),
    ({"type": "sql", "url": "sqlite://", "query": "select 1"}, "names the same for several of the pipeline's months"),
    ({"type": "http", "url": "x.org/{month}"}, "expected http:// or https://"),
    ({"type": "http", "url": "https://x.org/all"}, "names the same for several"),
    ({"type": "http", "url": "https://x.org/{month}", "params": {"m": "{mnth}"}}, "unknown {mnth}"),
    ({"type": "http", "url": "https://x.org/{month}", "paging": {"kind": "cursor"}}, "paging.cursor.next"),
    ({"type": "kaggle", "dataset": "telco", "path": "{month}.csv"}, "source.kaggle.dataset"),
    ({"type": "joined", "tables": {"a": JOINED["tables"]["profile"]}}, "at least 2 items"),  # type: ignore[index]
    ({**JOINED, "tables": {"x": JOINED["tables"]["regions"], **JOINED["tables"]}}, "names the same for several"),  # type: ignore[dict-item, index]
    ({**JOINED, "tables": {"x": {**JOINED["tables"]["usage"]}, **JOINED["tables"]}}, "'x', gives the names"),  # type: ignore[dict-item, index]
]


@pytest.mark.parametrize("source", VALID, ids=lambda s: s["type"])
def test_a_source_is_declared_in_a_few_lines(source: dict[str, Any]) -> None:
    spec = declared(source=source)
    assert spec.source.type == source["type"]
    assert PipelineSpec.model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


@pytest.mark.parametrize(("source", "message"), INVALID)
def test_a_wrong_source_is_told_with_what_to_do(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        PipelineSpec.model_validate(document(source=source))
    told = "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.value.errors())
    assert message in told


def test_braces_are_filled_with_the_month() -> None:
    text = "{month} {year}/{number} {month_start} {month_end}"
    assert filled(text, Month(2024, 12)) == "2024-12 2024/12 2024-12-01 2025-01-01"


def test_a_token_does_not_show() -> None:
    spec = declared(source={"type": "http", "url": "https://x.org/{month}", "token": "secret-word"})
    assert "secret-word" not in repr(spec)
