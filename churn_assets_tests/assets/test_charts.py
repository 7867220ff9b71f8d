from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.assets.charts import (
    HEIGHT,
    WIDTH,
    Chart,
    Line,
    bar_chart,
    curve_chart,
    histogram_chart,
    history_chart,
    line_chart,
    month_chart,
    pair_chart,
    timeline_chart,
)

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


def _paths(chart: Chart, colour: str = "") -> list[list[tuple[float, float]]]:
    lines = ET.fromstring(chart.svg).iter(f"{SVG}polyline")
    chosen = [line for line in lines if colour in ("", line.attrib["stroke"])]
    return [[tuple(map(float, at.split(","))) for at in line.attrib["points"].split()] for line in chosen]  # type: ignore[misc]


def _texts(chart: Chart) -> dict[str, tuple[float, float]]:
    return {
        str(t.text): (float(t.attrib["x"]), float(t.attrib["y"])) for t in ET.fromstring(chart.svg).iter(f"{SVG}text")
    }


BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
points = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=8)


@given(st.lists(points, min_size=1, max_size=9), st.booleans(), st.none() | st.floats(-1e6, 1e6))
def test_every_line_lies_in_the_picture_below_the_legend(
    lines: list[list[tuple[float, float]]], diagonal: bool, level: float | None
) -> None:
    drawn = [Line(f"a line with a name, the {i}th", *zip(*at, strict=True)) for i, at in enumerate(lines)]
    chart = curve_chart("Lines", drawn, ("x", "y"), diagonal, level)
    texts, height = _texts(chart), float(ET.fromstring(chart.svg).attrib["height"])
    legend = max(texts[line.name][1] for line in drawn)
    for x, y in (at for path in _paths(chart) for at in path):
        assert 0 <= x <= WIDTH and legend < y <= height
    assert all(0 <= x <= WIDTH and 0 < y < height for x, y in texts.values())
    assert len({texts[line.name] for line in drawn}) == len(drawn)


def test_a_point_stands_where_the_axes_say() -> None:
    chart = curve_chart("Lines", [Line("a", [0, 0.5, 1], [0, 0.4, 1])], ("x", "y"), across=(0, 1), up=(0, 1))
    ticks = [
        (t.text, float(t.attrib["x"]), float(t.attrib["y"]), t.attrib["text-anchor"])
        for t in ET.fromstring(chart.svg).iter(f"{SVG}text")
    ]
    across = {text: x for text, x, _, anchor in ticks if anchor == "middle"}
    up = {text: y - 4 for text, _, y, anchor in ticks if anchor == "end"}
    assert list(up) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    ((start, middle, end),) = _paths(chart, BLUE)
    assert start == pytest.approx((across["0.0"], up["0.0"])) and end == pytest.approx((across["1.0"], up["1.0"]))
    assert middle == pytest.approx(((across["0.4"] + across["0.6"]) / 2, up["0.4"]), abs=0.11)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_each_says_something_else(low: float, wide: float) -> None:
    chart = curve_chart("Lines", [Line("a", [low, low + wide], [low, low + wide])], ("x", "y"))
    texts = [t for t in ET.fromstring(chart.svg).iter(f"{SVG}text") if t.attrib["text-anchor"] == "end"]
    assert 2 <= len(texts) <= 6
    assert len({t.text for t in texts}) == len(texts)


def test_lines_have_their_own_colours_and_the_first_lies_on_top() -> None:
    lines = [Line("one", [0, 1], [0, 1]), Line("two", [0, 1], [1, 0])]
    drawn = curve_chart("Lines", lines, ("x", "y"), diagonal=True, level=0.5)
    strokes = [line.attrib["stroke"] for line in ET.fromstring(drawn.svg).iter(f"{SVG}polyline")]
    assert strokes[-2:] == [ORANGE, BLUE] and len(strokes) == 4


def test_intervals_are_bars_about_their_points() -> None:
    line = Line("a", [0.2, 0.8], [0.3, 0.7], [0.1, 0.6], [0.5, 0.9], dots=True)
    drawn = ET.fromstring(curve_chart("Reliability", [line], ("x", "y"), across=(0, 1), up=(0, 1)).svg)
    bars = [re.fullmatch(r"M([\d.]+) ([\d.]+)V([\d.]+)", p.attrib["d"]) for p in drawn.iter(f"{SVG}path")]
    ends = [tuple(map(float, found.groups())) for found in bars if found]
    dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in drawn.iter(f"{SVG}circle")]
    assert len(ends) == len(dots) == 2
    for (at, low, high), (x, y), tall in zip(ends, dots, (100, 75), strict=True):
        assert at == x and high < y < low and low - high == pytest.approx(tall, abs=0.2)


def test_a_bin_is_as_high_as_its_share() -> None:
    chart = histogram_chart("Scores", [0, 0.5, 1], {"left": [0.25, 0.75], "stayed": [1.0, 0.0]}, "score")
    left, stayed = _paths(chart, BLUE)[0], _paths(chart, ORANGE)[0]
    floor, top = max(y for _, y in stayed), min(y for _, y in stayed)
    assert [round((floor - y) / (floor - top), 2) for _, y in left] == [0, 0.25, 0.25, 0.75, 0.75, 0]
    assert left[0][0] == stayed[0][0] and left[2][0] == left[3][0]
    assert {"left", "stayed", "score"} <= set(_texts(chart))


def test_the_best_trial_so_far_is_one_that_was_carried_to_its_end() -> None:
    chart = history_chart("Tuning", [0.7, 0.9, None, 0.6, 0.8], [True, False, False, True, True], "AUC")
    (best,) = _paths(chart, BLUE)
    circles = {
        float(c.attrib["cx"]): float(c.attrib["cy"])
        for c in ET.fromstring(chart.svg).iter(f"{SVG}circle") if float(c.attrib["cy"]) > 60
    }  # fmt: skip
    assert len(circles) == 4
    first, *_, last = sorted(circles)
    assert best[0] == (first, circles[first]) and best[-1][1] == circles[last]
    assert [y for _, y in best] == sorted((y for _, y in best), reverse=True)
    assert "stopped early" in _texts(chart)
    assert "stopped early" not in _texts(history_chart("Tuning", [0.7], [True], "AUC"))


def test_a_search_without_a_value_is_drawn_all_the_same() -> None:
    assert not _paths(history_chart("Tuning", [None, None], [False, False], "AUC"), BLUE)


def test_each_month_has_the_colour_of_what_it_serves_for() -> None:
    months = ["2025-01", "2025-02", "2025-03", "2025-04", "2025-05"]
    chart = timeline_chart("Split", months, ["fit", "calibrate", "purged", "fit+validate", "immature"])
    cells = [
        (float(r.attrib["x"]), float(r.attrib["y"]), r.attrib["fill"], float(r.attrib["height"]))
        for r in ET.fromstring(chart.svg).iter(f"{SVG}rect") if float(r.attrib["height"]) in (34, 17)
    ]  # fmt: skip
    assert [fill for _, _, fill, _ in sorted(cells)] == [BLUE, "#e69f00", "#c3c8d0", BLUE, GREEN, "#ffffff"]
    assert [tall for *_, tall in sorted(cells)] == [34, 34, 34, 17, 17, 34]
    assert {"fit (2)", "calibrate (1)", "validate (1)", "purged (1)", "immature (1)", *months} <= set(_texts(chart))


@given(st.integers(0, 150))
def test_names_of_months_do_not_overlap_and_the_last_one_is_there(n: int) -> None:
    months = [f"{2020 + i // 12}-{i % 12 + 1:02d}" for i in range(n)]
    texts = _texts(timeline_chart("Split", months, ["fit"] * n))
    places = sorted(x for text, (x, _) in texts.items() if text in months)
    assert not months or months[-1] in texts
    assert all(b - a >= 44 for a, b in pairwise(places))
    assert all(22 <= x <= WIDTH - 22 for x in places)


@given(st.integers(1, 40))
def test_a_point_stands_above_the_name_of_its_month(n: int) -> None:
    months = [f"{2020 + i // 12}-{i % 12 + 1:02d}" for i in range(n)]
    chart = month_chart("AUC", months, [Line("a", range(n), [0.5 + i / 100 for i in range(n)])], "AUC")
    texts, (line,) = _texts(chart), _paths(chart, BLUE)
    named = [(i, texts[month][0]) for i, month in enumerate(months) if month in texts]
    assert named[-1][0] == n - 1 and len(named) <= 8
    assert all(line[i][0] == pytest.approx(x) for i, x in named)
    assert all(b - a >= 44 for (_, a), (_, b) in pairwise(named))
