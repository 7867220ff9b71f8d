from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from churn_assets.assets.charts import HEIGHT, WIDTH, bar_chart, line_chart, pair_chart

numbers = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30)
SVG = "{http://www.w3.org/2000/svg}"


@given(numbers, st.none() | st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e9)))
def test_every_value_lies_in_the_picture(values: list[float], band: tuple[float, float] | None) -> None:
    low, high = (band[0], band[0] + band[1]) if band else (None, None)
    chart = line_chart("Rows", [str(i) for i in range(len(values))], values, low, high)
    dots = ET.fromstring(chart.svg).findall(f"{SVG}circle")
    assert len(dots) == len(values)
    for dot in dots:
        assert 0 <= float(dot.attrib["cx"]) <= WIDTH
        assert 0 <= float(dot.attrib["cy"]) <= HEIGHT


def test_a_value_outside_of_its_interval_stands_out() -> None:
    inside = line_chart("Rows", ["a", "b"], [10, 11], 9, 12)
    outside = line_chart("Rows", ["a", "b"], [10, 30], 9, 12)
    colours = [{d.attrib["fill"] for d in ET.fromstring(c.svg).findall(f"{SVG}circle")} for c in (inside, outside)]
    assert [len(c) for c in colours] == [1, 2]


def test_names_are_text_and_nothing_else() -> None:
    chart = bar_chart("<b>Rules</b>", ['x" onload="alert(1)', "a & b"], [3, 0])
    texts = [t.text for t in ET.fromstring(chart.svg).iter(f"{SVG}text")]
    assert {"<b>Rules</b>", 'x" onload="alert(1)', "a & b"} <= set(texts)


def test_a_pair_of_bars_shows_both_shares_and_which_is_which() -> None:
    chart = pair_chart("Plans", ["basic", "plus"], [0.5, 0.0], [0.25, 1.0], ("2024-01", "2024-02"))
    drawn = ET.fromstring(chart.svg)
    texts = [t.text for t in drawn.iter(f"{SVG}text")]
    assert {"Plans", "basic", "plus", "2024-01", "2024-02", "50.0%", "0.0%", "25.0%", "100.0%"} <= set(texts)
    widths = [float(r.attrib["width"]) for r in drawn.iter(f"{SVG}rect") if r.attrib.get("height") == "11"]
    assert widths == [140, 70, 1, 280]
    assert all(float(t.attrib["y"]) <= float(drawn.attrib["height"]) for t in drawn.iter(f"{SVG}text"))


def test_markdown_holds_the_picture_itself() -> None:
    chart = line_chart("Rows", ["a"], [1])
    found = re.fullmatch(r"!\[Rows\]\(data:image/svg\+xml;base64,(.*)\)", chart.markdown)
    assert found
    assert base64.b64decode(found[1]).decode() == chart.svg
