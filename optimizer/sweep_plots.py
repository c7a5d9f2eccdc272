"""The plots of a sweep's page: throughput against energy, one a model, coloured by system."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from optimizer import report_format as fmt
from optimizer.report_pareto import Axis, make_axis
from optimizer.sweep_results import Row

__all__ = ["COLOURS", "marker", "model_plot"]

COLOURS = 7
"""Colours of the style sheet; systems beyond that many have the same colours in another shape."""
_WIDTH, _HEIGHT = 380.0, 280.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 44.0, 44.0
_Point = tuple[float, float]


def model_plot(model: str, found: Sequence[Row], systems: Sequence[str]) -> str:
    """One inline SVG; "" where no case of the model has a plan."""
    solved = [row for row in found if row.throughput_per_s and row.energy_j is not None]
    if not solved:
        return ""
    places = [_place(row) for row in solved]
    backdrop = {(systems.index(row.system), (t, e)) for row in solved for t, _, e in row.front if t > 0}
    both = [*places, *(point for _, point in backdrop)]
    x_axis, y_axis = make_axis([x for x, _ in both]), make_axis([y for _, y in both])
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="Throughput and energy of {escape(model)}">'
        f'<text class="plot-title" x="0" y="14">{escape(fmt.shorten(model, 44))}</text>'
    ]
    parts += _grid(x_axis, y_axis)
    for colour, point in sorted(backdrop):
        x, y = _at(x_axis, y_axis, point)
        parts.append(f'<circle class="dim b{colour % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>')
    marks = sorted(zip(places, solved, strict=True), key=lambda mark: (mark[0], systems.index(mark[1].system)))
    for (point, system), same in groupby(marks, key=lambda mark: (mark[0], mark[1].system)):
        x, y = _at(x_axis, y_axis, point)
        parts.append(_mark(systems.index(system), x, y, [row for _, row in same]))
    parts.append("</svg>")
    return "".join(parts)


def marker(index: int, x: float, y: float) -> str:
    """The shape of a system: circles first, then squares, then diamonds."""
    shape = index // COLOURS % 3
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
    if shape == 1:
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
    return f'<path d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>'


def _place(row: Row) -> _Point:
    return row.throughput_per_s or 0.0, row.energy_j or 0.0


def _at(x_axis: Axis, y_axis: Axis, point: _Point) -> _Point:
    return (
        _LEFT + x_axis.share(point[0]) * (_WIDTH - _LEFT - _RIGHT),
        _HEIGHT - _BOTTOM - y_axis.share(point[1]) * (_HEIGHT - _TOP - _BOTTOM),
    )


def _mark(index: int, x: float, y: float, same: Sequence[Row]) -> str:
    """A point, hollow where nothing is proven of it; cases that lie on each other share it."""
    row = same[0]
    lines = [f"{row.system}: {fmt.rate(row.throughput_per_s)}, {fmt.time(row.latency_s)}, {fmt.energy(row.energy_j)}"]
    lines += [f"{r.limits}, prefer {r.prefer}, seed {r.seed}: {r.claim}" for r in same[:6]]
    lines += [f"and {len(same) - 6} more cases"] if len(same) > 6 else []
    hollow = " hollow" if all(r.proof == "heuristic" for r in same) else ""
    tip = escape("\n".join(lines))
    return (
        f'<g class="case b{index % COLOURS}{hollow}" tabindex="0" role="img" aria-label="{tip}" data-tip="{tip}">'
        f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="11"/>{marker(index, x, y)}</g>'
    )


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    floor, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in _sparse(x_axis):
        x = _at(x_axis, y_axis, (value, y_axis.low))[0]
        text = _trim(fmt.rate(value)).removesuffix(" /s")
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP:.0f}V{floor:.0f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{floor + 16:.0f}" text-anchor="middle">{text}</text>')
    for value in _sparse(y_axis):
        y = _at(x_axis, y_axis, (x_axis.low, value))[1]
        parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y:.1f}H{right:.0f}"/>')
        text = _trim(fmt.energy(value))
        parts.append(f'<text class="tick" x="{_LEFT - 7:.0f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT:.0f} {_TOP:.0f}V{floor:.0f}H{right:.0f}"/>')
    x_log, y_log = (" (log)" if axis.log else "" for axis in (x_axis, y_axis))
    parts.append(
        f'<text class="axis-name" x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 8:.0f}" text-anchor="middle">'
        f'throughput [1/s], better →{x_log}</text><text class="axis-name" x="0" y="33">'
        f"energy an inference, better ↓{y_log}</text>"
    )
    return parts


def _sparse(axis: Axis) -> tuple[float, ...]:
    """Ticks that do not run into each other on a small plot."""
    step = -(-len(axis.ticks) // 7)
    return axis.ticks[::step] if step else ()


def _trim(text: str) -> str:
    """A tick's figure without idle zeros: "20.0 mJ" -> "20 mJ"."""
    number, space, unit = text.partition(" ")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number}{space}{unit}"
