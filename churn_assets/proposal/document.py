"""A proposal as the YAML document that a person goes on with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from churn_assets.proposal.columns import Column
from churn_assets.proposal.specification import Proposal

WIDTH = 120


def as_yaml(proposal: Proposal) -> str:
    """The document: what was seen and what to check stands beside it in comments."""
    return "\n".join(_lines(proposal)) + "\n"


def _lines(proposal: Proposal) -> Iterator[str]:
    given, told = proposal.attributes, proposal.remarks
    files = proposal.looked.deliveries
    yield from _comment([_opening(proposal)], 0)
    yield "type: churn_assets.ChurnPipeline"
    yield ""
    yield "attributes:"
    yield f"  name: {_flow(given['name'])}"
    yield f"  description: {_flow(given['description'])}"
    yield ""
    yield from _section("months", given, told["months"])
    yield "  source:"
    yield from _comment(told["source"], 4)
    yield from (f"    {key}: {_flow(value)}" for key, value in given["source"].items())
    if len(files) > 1:
        yield from _comment(["To take in what is dropped into a folder instead: {type: incoming, pattern: ...}."], 4)
    yield ""
    yield from _schema(proposal)
    yield from _section("label", given, told["label"])
    yield "  features:"
    yield from (line for feature in given["features"] for line in _feature(feature))
    yield ""
    yield from _section("training", given, ())
    yield "  candidates:"
    yield from (f"    - {_flow(candidate)}" for candidate in given["candidates"])
    yield ""
    yield from _section("gates", given, told["gates"])
    yield from list(_section("value", given, told["value"]))[:-1]


def _opening(proposal: Proposal) -> str:
    looked = proposal.looked
    what = looked.deliveries[0].file.name if not looked.monthly else f"{len(looked.deliveries)} files"
    return (
        f"Proposed by `churn new` from {_printable(what)}: {looked.rows:,} rows, {len(looked.names)} columns. What it "
        "says of columns is proven by these values; what it says of your business is a guess. Mend what is wrong, "
        f"then: {proposal.command}"
    )


def _section(name: str, given: Mapping[str, Any], remarks: Iterable[str]) -> Iterator[str]:
    yield from _comment(remarks, 2)
    yield f"  {name}: {_flow(given[name])}"
    yield ""


def _schema(proposal: Proposal) -> Iterator[str]:
    schema = proposal.attributes["schema"]
    yield "  schema:"
    yield from _comment(proposal.key.remarks, 4)
    yield f"    key: {_flow(schema['key'])}{f'  # {proposal.key.seen}' if proposal.key.received else ''}"
    if "key_from" in schema:
        yield f"    key_from: {schema['key_from']}"
    yield "    columns:"
    for column in proposal.columns:
        yield from _column(column)
    if proposal.left_out:
        names = ", ".join(map(repr, proposal.left_out))
        yield from _comment([f"Not declared, for their names would be taken for templates: {names}."], 6)
    yield from _comment(proposal.remarks["max_error_rate"], 4)
    if "max_error_rate" in schema:
        yield f"    max_error_rate: {_flow(schema['max_error_rate'])}"
    yield ""


def _column(column: Column) -> Iterator[str]:
    remarks = list(column.remarks)
    if column.question:
        remarks.append(f"Validation will stop and ask: {column.question}")
    name, flow = _flow(column.name), _flow(column.given)
    line = f"      {name}: {flow}"
    seen = f"  # {_printable(column.seen)}"
    if remarks:
        yield from _comment(remarks, 6)
    if len(line) > WIDTH:
        yield f"      {name}:"
        for key, value in column.given.items():
            yield from _wrapped(f"        {key}: ", value)
        return
    yield line + seen if len(line + seen) <= WIDTH and column.type != "category" else line


def _feature(feature: Mapping[str, Any]) -> Iterator[str]:
    if feature["kind"] != "columns":
        yield f"    - {_flow(feature)}"
        return
    yield "    - kind: columns"
    yield from _wrapped("      columns: ", feature["columns"])


def _wrapped(before: str, value: Any) -> Iterator[str]:
    """A value behind its key, a long list on several lines."""
    line = before + _flow(value)
    if len(line) <= WIDTH or not isinstance(value, list):
        yield line
        return
    items = [f"{_flow(item)}{']' if i == len(value) - 1 else ','}" for i, item in enumerate(value)]
    line = before + "[" + items[0]
    for item in items[1:]:
        if len(line) + 1 + len(item) > WIDTH:
            yield line
            line = " " * (len(before) + 1) + item
        else:
            line += f" {item}"
    yield line


def _comment(remarks: Iterable[str], indent: int) -> Iterator[str]:
    for remark in remarks:
        yield from textwrap.wrap(
            _printable(remark), WIDTH, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _flow(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    text: str = yaml.safe_dump(
        [value], default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.strip()[1:-1]


def _printable(text: str) -> str:
    """``text`` without what would end a comment, or may not stand in YAML at all."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
