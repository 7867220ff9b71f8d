import xml.etree.ElementTree as ET
from datetime import date

import polars as pl
import pytest

from churn_assets.assets.drift_charts import SHOWN_FEATURES, SHOWN_MONTHS, drift_chart
from churn_assets.monitoring.drift import MONTH_BEFORE, SCORE, TRAINING

SVG = "{http://www.w3.org/2000/svg}"


def rows(months: int, features: int, against: str = TRAINING) -> pl.DataFrame:
    names = [SCORE, *(f"feature_{i:02d}" for i in range(features))]
    lines = [
        {"month": date(2023 + m // 12, m % 12 + 1, 1), "subject": name, "against": against,
         "psi": 0.01 + i / 10 * (m == months - 1), "moved": name == "feature_03" and m == months - 1}
        for m in range(months) for i, name in enumerate(names)
    ]  # fmt: skip
    return pl.DataFrame(lines)


def texts(svg: str) -> list[str]:
    return [t.text or "" for t in ET.fromstring(svg).iter(f"{SVG}text")]


def cells(svg: str) -> int:
    paths = ET.fromstring(svg).findall(f"{SVG}path")
    return sum(p.attrib["d"].count("z") for p in paths if p.attrib.get("fill"))


def test_the_picture_has_the_newest_months_the_score_on_top_and_what_drifted_most_below() -> None:
    svg = drift_chart(rows(30, 45), TRAINING).svg
    shown = texts(svg)
    names = [t for t in shown if t == SCORE or t.startswith("feature_")]
    assert names == [SCORE, *(f"feature_{i:02d}" for i in range(44, 44 - SHOWN_FEATURES, -1))]
    assert cells(svg) == SHOWN_MONTHS * (SHOWN_FEATURES + 1)
    assert "2025-06" in shown
    assert "2023-01" not in shown


@pytest.mark.parametrize(("months", "features"), [(1, 1), (3, 40), (24, 40)])
def test_what_has_moved_is_marked_and_everything_lies_in_the_picture(months: int, features: int) -> None:
    chart = drift_chart(rows(months, features), TRAINING)
    assert cells(chart.svg) == months * (features + 1)
    assert chart.svg.count("h0") == (2 if features > 3 else 0)
    assert "has moved" in texts(chart.svg)
    drawn = ET.fromstring(chart.svg)
    for path in (p for p in drawn.findall(f"{SVG}path") if p.attrib.get("fill")):
        corners = [corner.split("h")[0].split() for corner in path.attrib["d"].split("M")[1:]]
        assert max(float(x) for x, _ in corners) < float(drawn.attrib["width"])
        assert max(float(y) for _, y in corners) < float(drawn.attrib["height"])
    assert len(chart.markdown) < 80_000


def test_only_the_comparison_that_was_asked_for_is_drawn() -> None:
    both = pl.concat([rows(3, 2), rows(3, 5, MONTH_BEFORE)])
    assert cells(drift_chart(both, TRAINING).svg) == 9
    chart = drift_chart(both, MONTH_BEFORE)
    assert cells(chart.svg) == 18
    assert "the month before" in chart.title


def test_nothing_to_show_is_a_picture_without_cells() -> None:
    assert cells(drift_chart(rows(2, 2).clear(), TRAINING).svg) == 0
