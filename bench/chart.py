"""Draw the curves as one SVG, without a library: it is only a few lines and circles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from bench.curves import Curve

WIDTH, HEIGHT = 300, 220  # of a panel, in pixels
COLUMNS = 3  # panels in a row
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 40  # margins around the plot of a panel, in pixels
COLOURS = ("#0b6e99", "#b4540a")

Points = Sequence[Sequence[float]]


def svg(curves: Sequence[Curve], results: Mapping[str, Any]) -> str:
    """Return an SVG with one panel for each curve that has results."""
    measured = [curve for curve in curves if "lines" in results.get(curve.name, {})]
    rows = math.ceil(len(measured) / COLUMNS)
    width, height = WIDTH * COLUMNS, HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, curve in enumerate(measured):
        x, y = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(curve, results[curve.name]["lines"])
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(curve: Curve, lines: Mapping[str, Points]) -> list[str]:
    all_points = [point for points in lines.values() for point in points]
    x_scale = _Scale([x for x, _ in all_points], LEFT, WIDTH - RIGHT, curve.logarithmic)
    y_scale = _Scale([y for _, y in all_points], HEIGHT - BOTTOM, TOP, curve.logarithmic)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<text x="{LEFT}" y="16" font-weight="bold">{escape(curve.title)} ({curve.unit})</text>',
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{curve.x_label}</text>',
    ]
    for tick in y_scale.ticks:
        y = y_scale.at(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
        )
    for size in sorted({x for x, _ in all_points}):
        x, y = x_scale.at(size), HEIGHT - BOTTOM + 14
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{_short(size)}</text>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        pixels = [(x_scale.at(x), y_scale.at(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in pixels)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in pixels]
        y = TOP + 10 + 14 * number
        parts.append(f'<text x="{LEFT + 8}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return parts


class _Scale:
    """Maps figures to pixels: linear from zero, or logarithmic between two powers of ten."""

    def __init__(
        self, figures: Sequence[float], begin: float, end: float, logarithmic: bool
    ) -> None:
        self.begin, self.end, self.logarithmic = begin, end, logarithmic
        if logarithmic:
            low = math.floor(math.log10(min(figures)))
            high = max(low + 1, math.ceil(math.log10(max(figures))))
            self.ticks = [10.0**power for power in range(low, high + 1)]
        else:
            step = _round_up(max(figures) / 4)
            self.ticks = [step * count for count in range(math.ceil(max(figures) / step) + 1)]

    def at(self, figure: float) -> float:
        """Return the pixel of a figure."""
        low, high, value = self.ticks[0], self.ticks[-1], figure
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.begin + (self.end - self.begin) * (value - low) / (high - low)


def _round_up(figure: float) -> float:
    """Round up to the next of 1, 2, 5, 10, 20, 50 and so on."""
    power = 10.0 ** math.floor(math.log10(figure))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= figure)


def _short(figure: float) -> str:
    if figure >= 1e6:
        return f"{figure / 1e6:g}M"
    return f"{figure / 1e3:g}k" if figure >= 1e4 else f"{figure:g}"
