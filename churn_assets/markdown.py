"""Tables in Markdown, for pages and cards that people read."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def table(frame: pl.DataFrame, texts: Sequence[str]) -> str:
    """A frame as a Markdown table; what isn't among ``texts`` stands on the right."""
    rule = ["---" if name in texts else "---:" for name in frame.columns]
    lines = [frame.columns, rule, *frame.cast(pl.String).fill_null("").iter_rows()]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
