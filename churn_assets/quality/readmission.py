"""Rows that a person has mended: applied to what was received, which itself is never changed.

An amendment names the row it mends by what was received (``was``) and, where several rows were received alike, by
which of them it is (``nth``). So it stays with its row when the month is delivered again in another order, and falls
away when the source sends something else in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from churn_assets.errors import QualityError
from churn_assets.spec import PLACE

Pieces = Callable[[], Iterable[pl.DataFrame]]
Action = Literal["mend", "discard"]

COLUMNS = {
    "_row": pl.Int64, "was": pl.String, "nth": pl.Int64, "action": pl.String, "now": pl.String, "by": pl.String,
    "note": pl.String,
}  # fmt: skip
"""The columns of amendments: ``was`` and ``now`` are the row's received columns as JSON."""

PROBLEM, ACTION, DISCARD = "churn_problem", "churn_action", "discard"

SHEET = {"_row": "churn_row", "_file": "churn_file", "_line": "churn_line", "_text": "churn_text"}
"""What a sheet calls the places of its rows."""


@dataclass(frozen=True)
class Amended:
    """A month's received rows with amendments applied.

    Attributes:
        pieces: the rows, without those that were discarded.
        discarded: the rows that a person discarded, with ``by`` and ``note``.
        mended: how many rows were mended.
        unmatched: amendments whose row isn't among those received any more.
    """

    pieces: Pieces
    discarded: pl.DataFrame
    mended: int
    unmatched: pl.DataFrame


def amended(pieces: Pieces, amendments: pl.DataFrame | None) -> Amended:
    """Applies ``amendments`` to the received rows."""
    if amendments is None or amendments.is_empty():
        return Amended(pieces, pl.DataFrame(), 0, pl.DataFrame(schema=COLUMNS))
    wanted = amendments.get_column("was").unique().implode()
    found = pl.concat([p.select("_row", was=_text_of(p)).filter(pl.col("was").is_in(wanted)) for p in pieces()])
    found = found.with_columns(nth=pl.col("_row").cum_count().over("was").cast(pl.Int64))
    placed = amendments.drop("_row").join(found, on=["was", "nth"], how="inner")
    gone = placed.filter(pl.col("action") == DISCARD)
    mending = placed.filter(pl.col("action") != DISCARD)

    def applied() -> Iterator[pl.DataFrame]:
        for piece in pieces():
            yield _mended(piece.join(gone, on="_row", how="anti", maintain_order="left"), mending)

    discarded = [p.join(gone.select("_row", "by", "note"), on="_row", how="inner") for p in pieces()]
    return Amended(
        pieces=applied,
        discarded=pl.concat(discarded) if len(gone) else pl.DataFrame(),
        mended=len(mending),
        unmatched=amendments.join(placed, on=["was", "nth"], how="anti"),
    )


def for_mending(rows: pl.DataFrame, failures: pl.DataFrame) -> pl.DataFrame:
    """A sheet for a person: each quarantined row as received, with its problems in words, to be mended in place.

    Args:
        rows: the received rows, with their places.
        failures: the quarantine's lines of these rows.
    """
    told = pl.format("{}: expected {}, found {}", pl.col("column").fill_null("row"), "expected", _quoted("value"))
    problems = (
        failures.group_by("_row", maintain_order=True)
        .agg(told.str.join("; ").alias(PROBLEM))
        .with_columns(pl.lit("").alias(ACTION))
    )
    own = [name for name in rows.columns if name not in PLACE]
    place = [name for name in ("_file", "_line", "_text") if name in rows.columns]
    texts = rows.select("_row", *place, *(pl.col(name).cast(pl.String) for name in own))
    sheet = problems.join(texts, on="_row", how="left").sort("_row").select("_row", *place, PROBLEM, ACTION, *own)
    return sheet.rename(SHEET, strict=False)


def amendments_of(sheet: pl.DataFrame, rows: pl.DataFrame, nth: pl.DataFrame, by: str, note: str) -> pl.DataFrame:
    """What a person has changed in a sheet that ``for_mending`` made; lines that stand as they were are left out.

    Args:
        sheet: the sheet, all its columns as text.
        rows: the received rows that it was made of.
        nth: ``_row``, and which of the rows that were received alike it is.
        by: who has mended them.
        note: why.

    Raises:
        QualityError: the sheet isn't one of these rows, or a value can't stand in its column.
    """
    own = [name for name in rows.columns if name not in PLACE]
    _require(sheet, own)
    sheet = sheet.rename({SHEET["_row"]: "_row"})
    numbers = sheet.get_column("_row").cast(pl.Int64, strict=False)
    if (bad := sheet.filter(numbers.is_null() | ~numbers.is_in(rows.get_column("_row").implode()))).height:
        shown = ", ".join(str(v) for v in bad.get_column("_row").head(5))
        raise QualityError(
            f"expected rows that are in quarantine, found {SHEET['_row']} {shown}. Export the quarantine again and "
            "mend that file."
        )
    if twice := sorted(set(numbers.filter(numbers.is_duplicated()))):
        raise QualityError(f"expected each row once, found {SHEET['_row']} {twice[0]} twice.")
    action = pl.col(ACTION).fill_null("").str.strip_chars().str.to_lowercase()
    if odd := sheet.filter(~action.is_in(["", DISCARD])).get_column(ACTION).to_list():
        raise QualityError(f"{ACTION}: expected nothing or {DISCARD}, found {odd[0]!r}.")
    blank_is_null = [pl.col(n).cast(pl.String).replace("", None) for n in own]
    before = rows.select("_row", pl.lit("").alias(ACTION), *blank_is_null, was=_text_of(rows))
    after = sheet.select(pl.col("_row").cast(pl.Int64), action.alias(ACTION), *blank_is_null)
    for name in own:
        _require_type(after, name, rows.schema[name])
    joined = after.with_columns(now=_text_of(after.drop(ACTION))).join(before, on="_row", suffix="_before")
    same = pl.all_horizontal(pl.col(n).eq_missing(pl.col(f"{n}_before")) for n in own)
    changed = joined.filter((pl.col(ACTION) == DISCARD) | ~same)
    return changed.join(nth, on="_row").select(
        "_row", "was", pl.col("nth").cast(pl.Int64),
        action=pl.when(pl.col(ACTION) == DISCARD).then(pl.lit(DISCARD)).otherwise(pl.lit("mend")),
        now=pl.col("now"), by=pl.lit(by), note=pl.lit(note),
    )  # fmt: skip


def merged(before: pl.DataFrame | None, new: pl.DataFrame) -> pl.DataFrame:
    """Earlier amendments and new ones; the new one of a row replaces the earlier one."""
    if before is None:
        return new.sort("_row")
    return pl.concat([before.join(new, on=["was", "nth"], how="anti"), new]).sort("_row", "was")


def counted_alike(pieces: Pieces, rows: pl.DataFrame) -> pl.DataFrame:
    """``_row``, and which of the rows that were received alike it is, of each of ``rows``."""
    wanted = rows.select(was=_text_of(rows)).get_column("was").unique().implode()
    found = pl.concat([p.select("_row", was=_text_of(p)).filter(pl.col("was").is_in(wanted)) for p in pieces()])
    return found.select("_row", nth=pl.col("_row").cum_count().over("was").cast(pl.Int64))


def _mended(piece: pl.DataFrame, mending: pl.DataFrame) -> pl.DataFrame:
    own = [name for name in piece.columns if name not in PLACE]
    if mending.is_empty() or piece.is_empty():
        return piece
    decoded = mending.select("_row", now=pl.col("now").str.json_decode(pl.Struct(dict.fromkeys(own, pl.String))))
    joined = piece.join(decoded, on="_row", how="left", maintain_order="left")
    hit = pl.col("now").is_not_null()
    new = {name: _typed(pl.col("now").struct.field(name), piece.schema[name]) for name in own}
    # A row that was mended is a proper one.
    new |= {name: pl.lit(None) for name in ("_defect", "_text") if name in piece.columns}
    mended = [pl.when(hit).then(value).otherwise(pl.col(name)).alias(name) for name, value in new.items()]
    return joined.with_columns(mended).select(piece.columns)


def _typed(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A text, as a cast to text has written it, in its type again."""
    match dtype:
        case pl.Date():
            return text.str.to_date("%Y-%m-%d", strict=False)
        case pl.Datetime():
            return text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone(
                dtype.time_zone
            )
        case pl.Boolean():
            return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
    return text.cast(dtype, strict=False)


def _text_of(frame: pl.DataFrame) -> pl.Expr:
    """A row's received columns, and the text of one that is no proper row, as JSON; their order is of no account."""
    names = sorted(name for name in frame.columns if name not in PLACE or name == "_text")
    return pl.struct(pl.col(name).cast(pl.String) for name in names).struct.json_encode()


def _quoted(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_null()).then(pl.lit("nothing")).otherwise(pl.format("'{}'", column))


def _require(sheet: pl.DataFrame, own: list[str]) -> None:
    if missing := [n for n in (SHEET["_row"], ACTION, *own) if n not in sheet.columns]:
        raise QualityError(
            f"expected the columns of an exported quarantine, found none called {', '.join(map(repr, missing))}. Keep "
            "the header as it was exported."
        )


def _require_type(sheet: pl.DataFrame, name: str, dtype: pl.DataType) -> None:
    values = sheet.get_column(name)
    wrong = values.is_not_null() & sheet.select(_typed(pl.col(name), dtype)).to_series().is_null()
    if wrong.any():
        row = sheet.row(int(wrong.arg_true()[0]), named=True)
        raise QualityError(
            f"{SHEET['_row']} {row['_row']}: expected {name} as {dtype}, as the source has it, found {row[name]!r}."
        )
