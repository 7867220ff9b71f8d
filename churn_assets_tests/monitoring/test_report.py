from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest

from churn_assets.assets.charts import bar_chart
from churn_assets.monitoring.report import (
    GLOSSARY,
    Concern,
    Picture,
    ReportContent,
    Section,
    Table,
    Tile,
    brief,
    render,
)

EVIL = "<script>alert('&')</script>"


def content(**changes: object) -> ReportContent:
    table = Table("Rows by rule", pl.DataFrame({"rule": ["range"], "rows": ["1,204"]}), texts=("rule",))
    chart = bar_chart("Rows", ["range"], [1204])
    plain = ReportContent(
        pipeline="churn",
        about="A telecom.",
        month="March 2025",
        tiles=(Tile("Customers", "4,048", "active"),),
        summary=("124 of 4,048 customers left.",),
        concerns=(Concern("look", "A value has moved.", "See `churn why`."),),
        sections=(Section("data", "Data quality", "Fine.", ("A text.", table, Picture(chart.svg, "A bar."))),),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.alternatives: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.addresses += [str(found[name]) for name in ("src", "href") if name in found]
        if tag == "img":
            self.alternatives.append(str(found.get("alt")))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_all_of_its_content_and_explains_its_words() -> None:
    page = Page(render(content()))
    for expected in ("March 2025", "4,048", "124 of 4,048 customers left.", "A value has moved.", "churn why",
                     "Data quality", "A text.", "Rows by rule", "1,204", *GLOSSARY):  # fmt: skip
        assert expected in page.text
    assert page.tags.count("h1") == 1
    assert page.alternatives == ["A bar."]


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs() -> None:
    html = render(content())
    page = Page(html)
    assert page.addresses and all(re.match(r"data:image/svg\+xml;base64,|#", address) for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in html and "url(" not in html


@pytest.mark.parametrize(
    "evil",
    [
        content(pipeline=EVIL, about=EVIL, month=EVIL),
        content(tiles=(Tile(EVIL, EVIL, EVIL),), summary=(EVIL,), concerns=(Concern("act", EVIL, f"`{EVIL}`"),)),
        content(sections=(Section("x", EVIL, EVIL, (EVIL, f"`{EVIL}`")),)),
        content(sections=(Section("x", "x", "x", (Table(EVIL, pl.DataFrame({EVIL: [EVIL]}), (EVIL,)),)),)),
        content(sections=(Section("x", "x", "x", (Picture(f"<svg>{EVIL}</svg>", f'"{EVIL}'),)),)),
    ],
)
def test_whatever_the_data_says_it_is_text_and_nothing_else(evil: ReportContent) -> None:
    html = render(evil)
    page = Page(html)
    assert "script" not in page.tags
    assert "alert(" in page.text or any("alert(" in told for told in page.alternatives)
    assert EVIL not in html


def test_equal_contents_give_equal_pages() -> None:
    assert render(content()) == render(content())
    assert render(content(month="April 2025")) != render(content())


def test_what_somebody_has_to_do_makes_the_verdict() -> None:
    look, act = Concern("look", "This."), Concern("act", "That.")
    verdicts = [content(concerns=found).verdict for found in ((), (look,), (act, look))]
    assert verdicts == ["Nothing needs attention", "Worth a look", "Somebody has to act"]
    assert "What needs attention" not in render(content(concerns=()))


def test_in_brief_it_is_markdown_with_the_headline() -> None:
    told = brief(content())
    for expected in ("March 2025", "**Customers** 4,048", "- 124 of", "A value has moved.", "`churn why`"):
        assert expected in told


def test_a_cell_without_a_value_is_a_dash() -> None:
    assert Table("", pl.DataFrame({"a": [None, 1]})).rows == [("–",), ("1",)]
