"""Small charts for metadata: SVG in Markdown, since loading a plotting library takes longer than most stages do."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import accumulate, pairwise

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 190, 58, 34, 26
_INK, _MARK, _ALERT, _BAND, _GRID, _FAINT = "#4a4f57", "#2f6fde", "#d9480f", "#cfe0fb", "#e4e7ec", "#9aa1ac"
_PAIR = "#b6bcc6", _MARK

_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4a4f57"
"""Told apart by the colour-blind too: Okabe, M. and Ito, K. (2008), Color universal design."""

_HEAT = "#e3e9f1", "#fbe3a6", "#fdae61", "#e0523f", "#9b1b30"
"""From little to much; they differ in lightness, so that they are told apart without colour, too."""

_PARTS = {
    "fit": "#0072b2", "calibrate": "#e69f00", "validate": "#009e73", "purged": "#c3c8d0", "immature": "#ffffff",
}  # fmt: skip


_Mark = Callable[[float, float], str]
"""Draws what stands before a name of a legend, about a point."""


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


@dataclass(frozen=True)
class Line:
    """A line of a chart: points from left to right.

    Attributes:
        name: what the legend calls it.
        low: lower ends of the points' intervals, which are drawn as bars; none if empty.
        high: their upper ends.
        dots: whether the points themselves are drawn.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False


def curve_chart(
    title: str,
    lines: Sequence[Line],
    axes: tuple[str, str],
    diagonal: bool = False,
    level: float | None = None,
    across: tuple[float, float] | None = None,
    up: tuple[float, float] | None = None,
) -> Chart:
    """Lines over a common axis.

    Args:
        title: stands above.
        lines: what is drawn, the most important first; it lies on top.
        axes: what is measured from left to right, and upwards.
        diagonal: draws y = x.
        level: draws a level line.
        across: range of the level axis, instead of that of the points.
        up: range of the upright axis, likewise.
    """
    legend, top = _legend(
        [(line.name, partial(_stroke, colour=_COLOURS[i % len(_COLOURS)])) for i, line in enumerate(lines)]
    )
    points = [v for line in lines for v in line.x], [v for line in lines for v in [*line.y, *line.low, *line.high]]
    if level is not None:
        points[1].append(level)
    both = [*points[0], *points[1]] if diagonal else None
    plot = _Plot(top, 250, across or _range(both or points[0]), up or _range(both or points[1]))
    parts = [*plot.frame(axes), *legend]
    if diagonal:
        low, high = max(plot.x[0], plot.y[0]), min(plot.x[1], plot.y[1])
        parts.append(plot.path([low, high], [low, high], _FAINT, "stroke-dasharray='4 4'"))
    if level is not None:
        parts.append(plot.path(plot.x, [level, level], _FAINT, "stroke-dasharray='4 4'"))
    for i, line in reversed(list(enumerate(lines))):
        parts += _line(plot, line, _COLOURS[i % len(_COLOURS)])
    return _chart(title, parts, plot.bottom)


def month_chart(title: str, months: Sequence[str], lines: Sequence[Line], axis: str) -> Chart:
    """Lines over months; the x of a point is the place of its month.

    Args:
        title: stands above.
        months: names, ascending.
        lines: what is drawn, the most important first; it lies on top.
        axis: what is measured upwards.
    """
    named = [(line.name, partial(_stroke, colour=_COLOURS[i % len(_COLOURS)])) for i, line in enumerate(lines)]
    legend, top = _legend(named)
    heights = [v for line in lines for v in [*line.y, *line.low, *line.high]]
    plot = _Plot(top, 190, (-0.5, len(months) - 0.5), _range(heights))
    parts = [*plot.frame(("", axis), names=months), *legend]
    for i, line in reversed(list(enumerate(lines))):
        parts += _line(plot, line, _COLOURS[i % len(_COLOURS)])
    return _chart(title, parts, plot.bottom)


def histogram_chart(title: str, edges: Sequence[float], shares: Mapping[str, Sequence[float]], axis: str) -> Chart:
    """Shares of groups in bins, one outline a group.

    Args:
        title: stands above.
        edges: (bins + 1,) where the bins begin and end.
        shares: group -> (bins,) share of it.
        axis: what the bins divide.
    """
    named = list(zip(shares, _COLOURS, strict=False))
    legend, top = _legend([(name, partial(_stroke, colour=colour)) for name, colour in named])
    plot = _Plot(top, 200, (edges[0], edges[-1]), (0.0, max((v for s in shares.values() for v in s), default=0) or 1.0))
    parts = [*plot.frame((axis, "share of the group")), *legend]
    for name, colour in named:
        steps = [edges[0], *(x for edge in edges[1:-1] for x in (edge, edge)), edges[-1]]
        heights = [value for share in shares[name] for value in (share, share)]
        xs, ys = [steps[0], *steps, steps[-1]], [0.0, *heights, 0.0]
        parts.append(plot.path(xs, ys, colour, f"stroke-width='2' style='fill:{colour};fill-opacity:.18'"))
    return _chart(title, parts, plot.bottom)


def history_chart(title: str, values: Sequence[float | None], complete: Sequence[bool], axis: str) -> Chart:
    """Trials of a search in their order, and the best one so far.

    Args:
        title: stands above.
        values: of each trial, larger is better; None for one without a value, which is left out.
        complete: whether each trial was carried to its end; others are hollow and never the best.
        axis: what the values measure.
    """
    trials = [(i + 1, v, done) for i, (v, done) in enumerate(zip(values, complete, strict=True)) if v is not None]
    early = [] if all(complete) else [("stopped early", partial(_dot, colour=_FAINT, filled=False))]
    best_so_far = ("best so far", partial(_stroke, colour=_COLOURS[0]))
    legend, top = _legend([("trial", partial(_dot, colour=_FAINT)), *early, best_so_far])
    plot = _Plot(top, 170, (0.5, len(values) + 0.5), _range([v for _, v, _ in trials]))
    parts = [*plot.frame(("trial", axis), whole=True), *legend]
    parts += [plot.dot(i, v, _FAINT, filled=done) for i, v, done in trials]
    ended = [(i, v) for i, v, done in trials if done]
    best = list(accumulate((v for _, v in ended), max))
    if best:
        at = [*(i for i, _ in ended), len(values) + 0.5]
        xs = [x for pair in pairwise(at) for x in pair]
        parts.append(plot.path(xs, [v for b in best for v in (b, b)], _COLOURS[0], "stroke-width='2'"))
    return _chart(title, parts, plot.bottom)


def timeline_chart(title: str, months: Sequence[str], parts: Sequence[str]) -> Chart:
    """What each month of a window serves for, as coloured cells.

    Args:
        title: stands above.
        months: names, ascending.
        parts: of each month ``fit``, ``calibrate``, ``validate``, ``purged`` or ``immature``; several, joined by ``+``,
            where the customers of a month are divided.
    """
    counted = {name: sum(name in part.split("+") for part in parts) for name in _PARTS}
    legend, top = _legend([(f"{name} ({n})", partial(_swatch, part=name)) for name, n in counted.items() if n])
    wide = (WIDTH - 24) / max(len(months), 1)
    drawn = []
    for i, part in enumerate(parts):
        shown = part.split("+")
        for j, name in enumerate(shown):
            drawn.append(_cell(12 + wide * i + 1, top + 34 * j / len(shown), max(wide - 2, 1), 34 / len(shown), name))
    for i in range(len(months) - 1, -1, -math.ceil(66 / wide)):
        at = min(max(12 + wide * (i + 0.5), 34), WIDTH - 34)
        drawn.append(_text(at, top + 50, months[i], "middle"))
    return _chart(title, [*legend, *drawn], top + 58)


def heat_chart(
    title: str,
    names: Sequence[str],
    months: Sequence[str],
    values: Mapping[tuple[str, str], float],
    bounds: Sequence[float],
    marked: Collection[tuple[str, str]] = (),
    mark: str = "",
) -> Chart:
    """Names from top to bottom and months from left to right, as cells that are the darker the larger the value.

    Args:
        title: stands above.
        names: of the rows.
        months: of the columns, ascending.
        values: (name, month) -> value; a cell without one is left out.
        bounds: ascending, four at the most: where one colour ends and the next begins.
        marked: cells with a dot.
        mark: what a dot says; it stands in the legend.
    """
    texts = [f"to {bounds[0]:g}", *(f"to {bound:g}" for bound in bounds[1:]), "more"]
    keys = [(text, partial(_square, colour=colour)) for text, colour in zip(texts, _HEAT, strict=False)]
    legend, top = _legend([*keys, *([(mark, partial(_dot, colour=_INK, filled=False))] if mark else [])])
    left, tall = 190, 16
    wide = min((WIDTH - left - 14) / max(len(months), 1), 48)
    rows, columns = ({name: i for i, name in enumerate(given)} for given in (names, months))
    at = {cell: (left + wide * columns[cell[1]], top + 16 + tall * rows[cell[0]]) for cell in values if cell[0] in rows}
    # One path a colour: a picture of 1,000 cells is a fifth as large as with a rectangle each.
    drawn: dict[str, str] = {}
    for cell, (x, y) in at.items():
        colour = _HEAT[sum(values[cell] > bound for bound in bounds)]
        drawn[colour] = drawn.get(colour, "") + f"M{x:.1f} {y}h{wide - 1:.1f}v{tall - 1}h{1 - wide:.1f}z"
    dots = "".join(f"M{at[c][0] + (wide - 1) / 2:.1f} {at[c][1] + 7.5}h0" for c in sorted(marked) if c in at)
    parts = [*legend, *_heads(months, left, wide, top)]
    parts += [_text(left - 8, top + 28 + tall * i, _clipped(name, 28), "end") for name, i in rows.items()]
    parts += [f'<path d="{cells}" fill="{colour}"/>' for colour, cells in drawn.items()]
    parts += [f'<path d="{dots}" stroke="{colour}" stroke-width="{width}" stroke-linecap="round"/>'
              for colour, width in ((_INK, 8), ("#ffffff", 5)) if dots]  # fmt: skip
    return _chart(title, parts, top + 26 + tall * len(names))


def _heads(months: Sequence[str], left: float, wide: float, top: float) -> Iterator[str]:
    """The names of months above their columns, as many as have room; the last one always."""
    for j in range(len(months) - 1, -1, -math.ceil(52 / wide)):
        yield _text(min(left + wide * (j + 0.5), WIDTH - 26), top + 11, months[j], "middle", 10)


def _square(x: float, y: float, colour: str) -> str:
    return f'<rect x="{x - 6:.1f}" y="{y - 5:.1f}" width="12" height="10" fill="{colour}"/>'


def _clipped(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"


@dataclass(frozen=True)
class _Plot:
    """An area with two axes: ``top`` and ``tall`` in pixels, ``x`` and ``y`` the ranges that are shown."""

    top: int
    tall: int
    x: tuple[float, float]
    y: tuple[float, float]

    @property
    def bottom(self) -> int:
        """Height of the picture down to below the axis and its name."""
        return self.top + self.tall + 42

    def across(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * (value - self.x[0]) / (self.x[1] - self.x[0])

    def up(self, value: float) -> float:
        return self.top + self.tall * (1 - (value - self.y[0]) / (self.y[1] - self.y[0]))

    def frame(self, axes: tuple[str, str], whole: bool = False, names: Sequence[str] = ()) -> Iterator[str]:
        """Grid, ticks and names of both axes.

        On the level one stand only ``whole`` numbers if asked for, or ``names``, the first of them at 0.
        """
        right, floor = WIDTH - 20, self.top + self.tall
        for value, text in _ticks(*self.y, 6):
            at = self.up(value)
            yield f'<path d="M{LEFT} {at:.1f}H{right}" stroke="{_GRID}"/>'
            yield _text(LEFT - 6, at + 4, text, "end")
        every = math.ceil(len(names) / 8)
        named = [(i, name) for i, name in enumerate(names) if (len(names) - 1 - i) % every == 0]
        for value, text in named or _ticks(*self.x, 8, whole):
            at = self.across(value)
            yield f'<path d="M{at:.1f} {floor}v4" stroke="{_FAINT}"/>'
            yield _text(at, floor + 17, text, "middle")
        yield f'<path d="M{LEFT} {self.top}V{floor}H{right}" fill="none" stroke="{_FAINT}"/>'
        yield _text((LEFT + right) / 2, floor + 34, axes[0], "middle")
        middle = self.top + self.tall / 2
        yield f'<g transform="rotate(-90 14 {middle:.1f})">{_text(14, middle, axes[1], "middle")}</g>'

    def path(self, x: Sequence[float], y: Sequence[float], colour: str, how: str = "") -> str:
        at = " ".join(f"{self.across(a):.1f},{self.up(b):.1f}" for a, b in zip(x, y, strict=True))
        return f'<polyline points="{at}" fill="none" stroke="{colour}" {how}/>'

    def dot(self, x: float, y: float, colour: str, filled: bool = True) -> str:
        return _dot(self.across(x), self.up(y), colour, filled)


def _line(plot: _Plot, line: Line, colour: str) -> Iterator[str]:
    for x, low, high in zip(line.x, line.low, line.high, strict=line.low != ()):
        at = plot.across(x)
        yield f'<path d="M{at:.1f} {plot.up(low):.1f}V{plot.up(high):.1f}" stroke="{colour}" stroke-width="1.5"/>'
    yield plot.path(line.x, line.y, colour, "stroke-width='2' stroke-linejoin='round'")
    if line.dots:
        yield from (plot.dot(x, y, colour) for x, y in zip(line.x, line.y, strict=True))


def _legend(keys: Sequence[tuple[str, _Mark]]) -> tuple[list[str], int]:
    """Names beside their marks, in as many rows as they need, and where the picture goes on below them."""
    parts, x, y = [], 12.0, TOP + 10
    for name, mark in keys:
        wide = 30 + 6.6 * len(name)
        if x > 12 and x + wide > WIDTH:
            x, y = 12.0, y + 17
        parts += [mark(x + 8, y), _text(x + 20, y + 4, name, "start")]
        x += wide
    return parts, y + 18


def _stroke(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x - 8:.1f} {y:.1f}h16" stroke="{colour}" stroke-width="3"/>'


def _swatch(x: float, y: float, part: str) -> str:
    return _cell(x - 6, y - 5, 12, 10, part)


def _cell(x: float, y: float, wide: float, tall: float, part: str) -> str:
    border = f' stroke="{_FAINT}" stroke-dasharray="3 2"' if part == "immature" else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="2" fill="{_PARTS[part]}"{border}/>'
    )


def _dot(x: float, y: float, colour: str, filled: bool = True) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour if filled else "#ffffff"}" stroke="{colour}"/>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From just below the smallest to just above the largest value, from 0 on if they come near it."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return (0.0 if 0 <= low <= high / 3 else low - room), high + room


def _ticks(low: float, high: float, most: int, whole: bool = False) -> Iterator[tuple[float, str]]:
    """Round numbers from ``low`` to ``high``, ``most`` at the most, as they are written."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [s for s in (power, 2 * power, 5 * power, 10 * power, 20 * power) if s >= 1 or not whole]
    counts = {s: range(math.ceil(low / s - 1e-9), math.floor(high / s + 1e-9) + 1) for s in steps or [1.0]}
    step, found = next((s, own) for s, own in counts.items() if len(own) <= most)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    for i in found:
        yield i * step, f"{i * step:,.{digits}f}"


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
