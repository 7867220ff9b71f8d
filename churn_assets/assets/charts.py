"""Small charts for metadata: SVG in Markdown, since loading a plotting library takes longer than most stages do."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 190, 58, 34, 26
_INK, _MARK, _ALERT, _BAND = "#4a4f57", "#2f6fde", "#d9480f", "#cfe0fb"
_PAIR = "#b6bcc6", _MARK


@dataclass(frozen=True)
class Chart:
    """A picture; ``title`` stands in it, and in place of it where it can't be shown."""

    title: str
    svg: str

    @property
    def markdown(self) -> str:
        """The picture as an image in Markdown."""
        return f"![{self.title}](data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()})"


def line_chart(
    title: str, labels: Sequence[str], values: Sequence[float], low: float | None = None, high: float | None = None
) -> Chart:
    """Values over months; the last one is judged by the interval from ``low`` to ``high``, drawn as a band."""
    known = [*values, *(bound for bound in (low, high) if bound is not None)]
    bottom, top = _scale(known)
    places = [LEFT + (WIDTH - LEFT - 20) * (i + 0.5) / len(values) for i in range(len(values))]
    heights = [_height(v, bottom, top) for v in values]
    parts = []
    if low is not None and high is not None:
        upper, lower = _height(high, bottom, top), _height(low, bottom, top)
        parts.append(
            f'<rect x="{LEFT}" y="{upper:.1f}" width="{WIDTH - LEFT - 12}" height="{max(lower - upper, 1):.1f}" '
            f'fill="{_BAND}"/>'
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_MARK}" stroke-width="2"/>')
    inside = low is None or high is None or low <= values[-1] <= high
    for i, (x, y) in enumerate(zip(places, heights, strict=True)):
        colour = _MARK if inside or i < len(values) - 1 else _ALERT
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    every = max(1, len(labels) // 6)
    parts += [
        _text(x, HEIGHT - 12, label, "middle")
        for i, (x, label) in enumerate(zip(places, labels, strict=True))
        if (len(labels) - 1 - i) % every == 0
    ]
    parts += [_text(LEFT - 6, _height(v, bottom, top) + 4, _short(v), "end") for v in (bottom, top)]
    return _chart(title, parts, HEIGHT)


def bar_chart(title: str, names: Sequence[str], values: Sequence[float]) -> Chart:
    """One bar a name, its value beside it."""
    height = TOP + 22 * len(names) + 8
    longest = max(values, default=0) or 1
    parts = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y = TOP + 22 * i
        parts.append(_text(190, y + 14, name if len(name) < 32 else name[:30] + "…", "end"))
        parts.append(
            f'<rect x="198" y="{y + 2}" width="{max(1, 280 * value / longest):.1f}" height="15" fill="{_MARK}"/>'
        )
        parts.append(_text(204 + 280 * value / longest, y + 14, _short(value), "start"))
    return _chart(title, parts, height)


def pair_chart(
    title: str, names: Sequence[str], before: Sequence[float], now: Sequence[float], legend: tuple[str, str]
) -> Chart:
    """Two shares a name, as bars; ``legend`` says which is which."""
    height = TOP + 30 * len(names) + 34
    longest = max([*before, *now], default=0) or 1
    parts = []
    for i, (name, *values) in enumerate(zip(names, before, now, strict=True)):
        y = TOP + 30 * i + 22
        parts.append(_text(190, y + 16, name if len(name) < 32 else name[:30] + "…", "end"))
        for j, (value, colour) in enumerate(zip(values, _PAIR, strict=True)):
            width = 280 * value / longest
            parts.append(f'<rect x="198" y="{y + 12 * j}" width="{max(1, width):.1f}" height="11" fill="{colour}"/>')
            parts.append(_text(204 + width, y + 12 * j + 9, f"{value:.1%}", "start", 10))
    for j, (name, colour) in enumerate(zip(legend, _PAIR, strict=True)):
        parts.append(f'<rect x="{198 + 90 * j}" y="{TOP}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(213 + 90 * j, TOP + 9, name, "start"))
    return _chart(title, parts, height)


def _chart(title: str, parts: Sequence[str], height: int) -> Chart:
    head = _text(LEFT if height == HEIGHT else 12, 15, title, "start", 13)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{head}{"".join(parts)}</svg>'
    )
    return Chart(title, svg)


def _text(x: float, y: float, text: str, anchor: str, size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'
    )


def _scale(values: Sequence[float]) -> tuple[float, float]:
    bottom, top = min(values), max(values)
    room = (top - bottom) * 0.1 or abs(top) * 0.1 or 1.0
    return bottom - room if bottom < 0 or bottom - room > 0 else 0.0, top + room


def _height(value: float, bottom: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - bottom) / (top - bottom)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
