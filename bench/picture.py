"""Draws the curves as one SVG. By hand: half a dozen lines and circles need no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from bench.curves import Curve

WIDTH, HEIGHT, COLUMNS = 300, 220, 3  # of a panel, in pixels; panels side by side
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 40  # around the plot of a panel
COLOURS = ("#0b6e99", "#b4540a")

Points = Sequence[Sequence[float]]


def svg(curves: Sequence[Curve], results: Mapping[str, Any]) -> str:
    """All curves that were measured, each in a panel of its own."""
    drawn = [curve for curve in curves if "lines" in results.get(curve.name, {})]
    rows = math.ceil(len(drawn) / COLUMNS)
    width, height = WIDTH * COLUMNS, HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, curve in enumerate(drawn):
        x, y = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(curve, results[curve.name]["lines"])
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(curve: Curve, lines: Mapping[str, Points]) -> list[str]:
    every = [point for points in lines.values() for point in points]
    across = _Scale([x for x, _ in every], LEFT, WIDTH - RIGHT, curve.logarithmic)
    up = _Scale([y for _, y in every], HEIGHT - BOTTOM, TOP, curve.logarithmic)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<text x="{LEFT}" y="16" font-weight="bold">{escape(curve.title)} ({curve.unit})</text>',
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{curve.across}</text>',
    ]
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
        )
    for size in sorted({x for x, _ in every}):
        x, y = across.at(size), HEIGHT - BOTTOM + 14
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{_short(size)}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across.at(x), up.at(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 10 + 14 * number
        parts.append(f'<text x="{LEFT + 8}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return parts


class _Scale:
    """Figures → pixels, from zero to a round figure, or from one power of ten to another."""

    def __init__(self, figures: Sequence[float], begin: float, end: float, powers: bool) -> None:
        self.begin, self.end, self.powers = begin, end, powers
        if powers:
            low = math.floor(math.log10(min(figures)))
            high = max(low + 1, math.ceil(math.log10(max(figures))))
            self.ticks = [10.0**power for power in range(low, high + 1)]
        else:
            step = _round(max(figures) / 4)
            self.ticks = [step * count for count in range(math.ceil(max(figures) / step) + 1)]

    def at(self, figure: float) -> float:
        low, high, value = self.ticks[0], self.ticks[-1], figure
        if self.powers:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.begin + (self.end - self.begin) * (value - low) / (high - low)


def _round(figure: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50…"""
    power = 10.0 ** math.floor(math.log10(figure))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= figure)


def _short(figure: float) -> str:
    if figure >= 1e6:
        return f"{figure / 1e6:g}M"
    return f"{figure / 1e3:g}k" if figure >= 1e4 else f"{figure:g}"
