"""The monthly report: one HTML page that a manager reads first, and that can be printed.

Its pictures are images and not markup, so that whatever stands in them is harmless; all text is escaped. The page
depends on its content alone: equal contents give equal bytes.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

TEMPLATE = Path(__file__).with_name("report.html.jinja")

Level = Literal["act", "look"]
"""``act``: somebody has to do something; ``look``: somebody should know."""

_CODE = re.compile(r"`([^`]+)`")

GLOSSARY = {
    "Customers": "Everybody who was a customer at the start of the month, as known at its end.",
    "Champion and challenger": "The champion is the model that scores customers. A challenger is a newer one that was "
    "compared with it; it takes over only if it is shown to be no worse.",
    "Hit rate": "Of the customers on a list, the share who did leave.",
    "Held out": "Customers whom a lot keeps from being contacted. The difference between them and those contacted is "
    "what contacting brings; without them nobody could tell.",
    "AUC": "How well a model ranks: of a customer who leaves and one who stays, how often the leaver has the higher "
    "score. 0.5 is chance, 1 is perfect.",
    "Lift": "How many times more leavers there are in the tenth with the highest scores than among all customers.",
    "Calibration error": "How far the predicted share of leavers lies from the true one, on average.",
    "Interval": "What the data allows as well: with numbers in brackets, the truth lies between them with the "
    "confidence that the specification asks for, mostly 95%.",
    "Drift, PSI": "How much the spread of a value has changed. Below 0.10 it is read as stable, above 0.25 as moved.",
    "Promise": "What a model showed when it was judged, before it scored anybody.",
    "Estimate": "Quality as the scores themselves lead to expect, before it is known who has left. It is no "
    "measurement, and the next reports tell how near it came.",
    "Quarantined": "Rows that broke a rule. They are set aside with the reason, count nowhere, and can be mended.",
}  # fmt: skip
"""Words of the report, explained where it ends."""


@dataclass(frozen=True)
class Tile:
    """A figure of the headline: its ``name``, the ``value`` as it is read, and a ``note`` below."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Concern:
    """What needs attention: ``what`` in a sentence or two, and what to do about it (``todo``, a command or none)."""

    level: Level
    what: str
    todo: str = ""


@dataclass(frozen=True)
class Table:
    """A small table; what isn't among ``texts`` stands on the right. Its cells are texts, ready to be read."""

    caption: str
    frame: pl.DataFrame
    texts: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells as texts; a dash where nothing is known."""
        return self.frame.cast(pl.String).fill_null("–").rows()


@dataclass(frozen=True)
class Picture:
    """A picture; ``words`` say what it shows to those who can't see it."""

    svg: str
    words: str

    @property
    def address(self) -> str:
        """The picture as an address that holds all of it."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


@dataclass(frozen=True)
class Section:
    """A part of the report: ``lead`` says what is found in it, ``blocks`` are the evidence."""

    name: str
    title: str
    lead: str
    blocks: tuple[str | Table | Picture, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """All that stands in the report of a pipeline's month.

    Attributes:
        month: as people write it, such as ``March 2025``.
        summary: the month in a few sentences, the most important first.
        concerns: what needs attention, the most urgent first.
        sections: in the order in which they are read.
    """

    pipeline: str
    about: str
    month: str
    tiles: tuple[Tile, ...]
    summary: tuple[str, ...]
    concerns: tuple[Concern, ...]
    sections: tuple[Section, ...]

    @property
    def verdict(self) -> str:
        """The state of the month in a few words."""
        if any(c.level == "act" for c in self.concerns):
            return "Somebody has to act"
        return "Worth a look" if self.concerns else "Nothing needs attention"


def render(content: ReportContent) -> str:
    """The page, whole: styles and pictures stand in it, and it has no scripts."""
    return _template().render(content=content, glossary=GLOSSARY, kind=_kind)


def brief(content: ReportContent) -> str:
    """The headline of the report in Markdown, for those who don't open it."""
    tiles = [f"**{tile.name}** {tile.value} ({tile.note})" if tile.note else f"**{tile.name}** {tile.value}"
             for tile in content.tiles]  # fmt: skip
    needs = [f"- {'**to do** ' if c.level == 'act' else ''}{c.what} {c.todo}".rstrip() for c in content.concerns]
    parts = [
        f"**{content.month}: {content.verdict[0].lower()}{content.verdict[1:]}**",
        "; ".join(tiles),
        "\n".join(f"- {sentence}" for sentence in content.summary),
        *(["**What needs attention**", "\n".join(needs)] if needs else []),
    ]
    return "\n\n".join(parts)


def _kind(block: str | Table | Picture) -> str:
    """What a block is, for the template."""
    return "text" if isinstance(block, str) else type(block).__name__.lower()


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["said"] = _said
    return environment.from_string(TEMPLATE.read_text())


def _said(text: str) -> Markup:
    """A text with what stands between backticks as code; all of it escaped."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))
