"""raw_data: what the source says of the month, kept as received."""

from __future__ import annotations

import time
from collections.abc import Iterator

import polars as pl

from churn_assets.assets import breaker
from churn_assets.assets.stage import Check, CheckPlan, Made, Stage, Work
from churn_assets.months import Month, month_range
from churn_assets.pipeline import Pipeline
from churn_assets.quality.difference import SchemaDifference, difference
from churn_assets.quality.naming import missing_columns
from churn_assets.slots import ingest_slots
from churn_assets.sources import Delivery
from churn_assets.spec import PLACE
from churn_assets.store.content import ContentHash
from churn_assets.store.draft import Draft

PATIENCE = 5.0
"""Seconds of silence before long reading says how far it has come."""


def _inputs(pipeline: Pipeline, month: Month) -> dict[str, str | None]:
    return {f"source {month}": pipeline.source.identity(month)}


def _make(work: Work) -> Made:
    delivery = work.pipeline.source.read(work.month)
    content = ContentHash()
    draft = work.pipeline.lake.draft(_received(work, delivery, content))
    received = {name: str(dtype) for name, dtype in draft.columns.items() if name not in PLACE}
    try:
        checks, changed = _checks(work, draft, received, content.hexdigest(), delivery.doubts)
    except BaseException:
        draft.discard()
        raise
    return Made(
        rows=draft if draft.rows else None,
        reason="" if draft.rows else "The source delivered no rows.",
        checks=checks,
        facts={
            "provenance": delivery.provenance, "received": received, "delivery": content.hexdigest(),
            "doubts": delivery.doubts, "changed": changed.sentence(),
        },
        metadata={"provenance": delivery.provenance, "received columns": _columns(draft)},
        effect=lambda: delivery.accept() if delivery.accept else None,
    )  # fmt: skip


def _received(work: Work, delivery: Delivery, content: ContentHash) -> Iterator[pl.DataFrame]:
    """The delivery's rows, numbered; ``content`` learns what they say, wherever they stood."""
    rows, said = 0, time.monotonic()
    names = delivery.batches.schema.names
    for batch in _batches(delivery):
        content.update(batch.drop([name for name in PLACE if name in names]))
        yield batch.with_row_index("_row", offset=rows + 1).with_columns(pl.col("_row").cast(pl.Int64))
        rows += len(batch)
        if time.monotonic() - said > PATIENCE:
            work.progress(f"{rows:,} rows received")
            said = time.monotonic()


def _batches(delivery: Delivery) -> Iterator[pl.DataFrame]:
    """The delivery in frames; one without rows comes first, so that a delivery without rows has its columns too."""
    yield pl.DataFrame(pl.from_arrow(delivery.batches.schema.empty_table()))
    for batch in delivery.batches:
        yield pl.DataFrame(pl.from_arrow(batch))


def _checks(
    work: Work, draft: Draft, received: dict[str, str], content: str, doubts: list[str]
) -> tuple[tuple[Check, ...], SchemaDifference]:
    changed = _changed(work, draft, received)
    doubtful = Check(
        "reading_certain", not doubts, " ".join(doubts) or "Nothing had to be guessed.", warn=True,
    )  # fmt: skip
    return (_declared(work, received), _as_before(changed), _not_twice(work, draft, content), doubtful), changed


def _declared(work: Work, received: dict[str, str]) -> Check:
    missing = missing_columns(list(received), work.pipeline.spec.schema_)
    reason = f"Declared columns are missing: {', '.join(missing)}." if missing else "Every declared column is there."
    return Check("columns_present", not missing, reason)


def _changed(work: Work, draft: Draft, received: dict[str, str]) -> SchemaDifference:
    lake = work.pipeline.lake
    window = work.pipeline.window("raw_data", work.month, "raw_data")
    before = lake.record("raw_data", window.months[-1]) if window.months else None
    if before is None or not before.facts.get("received"):
        return difference(received, received, None, None)
    sample = next(lake.pieces(before)).head(len(draft.head)) if before.files else None
    return difference(before.facts["received"], received, sample, draft.head)


def _as_before(changed: SchemaDifference) -> Check:
    figures = {"difference": changed.table()} if changed else {}
    return Check("columns_as_before", not changed, changed.sentence(), figures=figures)


def _not_twice(work: Work, draft: Draft, content: str) -> Check:
    """Whether another month has the very same rows: as a rule a file that was sent again under a new name."""
    reach = work.pipeline.spec.schema_.expectations.trailing
    others = month_range(work.month - reach, work.month + reach)
    records = [work.pipeline.lake.record("raw_data", m) for m in others if m != work.month]
    same = [r.month for r in records if draft.rows and r and r.facts.get("delivery") == content]
    if not same:
        return Check("delivered_once", True, "No other month has the same rows.")
    return Check(
        "delivered_once", False,
        f"The rows are those of {', '.join(same)}, every one of them. Ask the source for the rows of {work.month}; if "
        "they are right, set schema.expectations.duplicate to warn.",
    )  # fmt: skip


def _columns(draft: Draft) -> pl.DataFrame:
    """What was received, in words: columns, types and an example."""
    names = [name for name in draft.columns if name not in PLACE]
    examples = [draft.head[name].drop_nulls().head(1).cast(pl.String, strict=False) for name in names]
    return pl.DataFrame(
        {
            "column": names,
            "type": [str(draft.columns[name]) for name in names],
            "for example": [values[0] if len(values) else None for values in examples],
        },
        schema={"column": pl.String, "type": pl.String, "for example": pl.String},
    )


STAGE = Stage(
    name="raw_data",
    description="What the source says of the month, kept as received. A re-delivered month becomes a new version; the "
    "old one stays readable.",
    kinds=frozenset({"deltalake", "polars"}),
    after=(),
    checks=(
        CheckPlan("columns_present", "Every column that the schema declares was delivered."),
        CheckPlan(
            "columns_as_before",
            "Columns and their types are those of the month before.",
            expectation="schema_.expectations.columns",
        ),
        CheckPlan(
            "delivered_once", "No other month has the very same rows.", expectation="schema_.expectations.duplicate"
        ),
        CheckPlan("reading_certain", "Encoding and the like were declared or proven, not guessed."),
        CheckPlan(
            breaker.CHECK,
            "The source could be reached. Once several runs in a row couldn't reach it, it is paused for a while.",
        ),
    ),
    sections=("source",),
    modules=("sources",),
    make=_make,
    inputs=_inputs,
    guard=breaker.Gate,
    claims=lambda work: ingest_slots(work.pipeline),
)
