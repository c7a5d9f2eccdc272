"""The Pareto plots: front points, single-board baselines and proven bounds as one inline SVG each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from optimizer import report_format as fmt
from optimizer.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, Objective
from optimizer.plan import Front, Plan
from optimizer.report_data import Baseline
from optimizer.report_words import objectives_shown, proven_plan

__all__ = ["Axis", "PlotAxis", "anchors", "make_axis", "on_scale", "pareto_svg"]

_WIDTH, _HEIGHT = 480.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 16.0, 46.0, 50.0
_LOG_FROM = 20.0
"""Ratio of largest to smallest value from which an axis is logarithmic."""
_CHARACTER_PX, _BOLD_CHARACTER_PX = 6.5, 7.4
_SCALE = 2.5
"""A baseline further than this factor from all of the front would squeeze it into a corner."""
_Area = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_FOCUSABLE = 40
"""Up to so many points each one is a tab stop; beyond, only the labelled ones are."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis over [low, high] with its tick values."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Position of a value: 0 at ``low``, 1 at ``high``."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class PlotAxis:
    """An objective as an axis of a plot. ``bound``: its proven limit in the unit that is shown."""

    objective: Objective
    bound: float | None = None

    def value(self, plan: Plan) -> float:
        return self.objective.shown(self.objective.read(plan.score))

    def of_baseline(self, baseline: Baseline) -> float | None:
        figures = {
            "throughput": baseline.throughput_per_s,
            "latency": baseline.latency_s,
            "energy": baseline.energy_j,
        }
        return figures.get(self.objective.name)

    def text(self, value: float) -> str:
        return fmt.quantity(value, self.objective.shown_unit)


@dataclass(frozen=True)
class _Mark:
    x: float
    y: float
    css: str
    tip: str
    label: str
    focus: bool


def make_axis(values: Sequence[float]) -> Axis:
    """An axis around positive finite values, with round ticks."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _LOG_FROM:
        low, high = low / 1.3, high * 1.3
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1.0, 2.0, 5.0) if len(decades) <= 4 else (1.0,)
        ticks = tuple(m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high)
        return Axis(low, high, True, ticks)
    pad = 0.15 * (high - low) or 0.2 * abs(high) or 1.0
    low, high = (0.0 if 0 <= low < 2.5 * pad else low - pad), high + pad
    step = _round_step((high - low) / 5)
    first = math.ceil(low / step - 1e-9)
    return Axis(low, high, False, tuple(k * step for k in range(first, math.floor(high / step + 1e-9) + 1)))


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1.0, 2.0, 2.5, 5.0) if m * power >= raw * 0.999), 10.0 * power)


def anchors(front: Front) -> dict[int, str]:
    """Words for the plans that are the best of the front in an objective, by position."""
    shown = objectives_shown(front)
    best: dict[int, list[str]] = {}
    for objective in shown:
        values = [OBJECTIVES[objective].read(plan.score) for plan in front.plans]
        best.setdefault(values.index(min(values)), []).append(objective.replace("-", " "))
    if len(best) == 1:
        return dict.fromkeys(best, "best in all three" if len(shown) == len(DEFAULT_OBJECTIVES) else "best in all")
    return {i: "best " + " and ".join(words) for i, words in best.items()}


def on_scale(front: Front, baselines: Sequence[Baseline]) -> tuple[Baseline, ...]:
    """The feasible baselines that can be drawn beside the front."""
    scores = [plan.score for plan in front.plans]
    rate = min(s.throughput_per_s for s in scores) / _SCALE
    latency = max(s.latency_s for s in scores) * _SCALE
    energy = max(s.energy_j for s in scores) * _SCALE
    return tuple(
        b
        for b in baselines
        if b.feasible
        and (b.throughput_per_s or 0.0) >= rate
        and (b.latency_s or 0.0) <= latency
        and (b.energy_j or 0.0) <= energy
    )


def pareto_svg(front: Front, baselines: Sequence[Baseline], x_plot: PlotAxis, y_plot: PlotAxis, title: str) -> str:
    """One objective to the right, another upwards; chosen plan, anchors and baselines carry labels.

    Proven bounds are dashed lines where they fall into the plot. Empty where there is nothing to draw.
    """
    marks = _marks(front, baselines, x_plot, y_plot)
    if not marks:
        return ""
    x_axis, y_axis = make_axis([m.x for m in marks]), make_axis([m.y for m in marks])

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + x_axis.share(x) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y_axis.share(y) * (_HEIGHT - _TOP - _BOTTOM),
        )

    placed = [at(m.x, m.y) for m in marks]
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(title)}"><text class="plot-title" x="0" y="14">{escape(title)}</text>'
    ]
    parts += _grid(x_axis, y_axis, at, x_plot, y_plot)
    lines = _bound_lines(x_axis, y_axis, at, (x_plot.bound, y_plot.bound))
    parts += [f'<path class="bound" d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}"/>' for a, b, c, d in lines]
    reached = [p for p, m in zip(placed, marks, strict=True) if "base" not in m.css]
    parts.append(_staircase(reached, 1.0 if x_plot.objective.inverted else -1.0))
    # Labelled marks last: they lie on top.
    for k in sorted(range(len(marks)), key=lambda k: (bool(marks[k].label), "chosen" in marks[k].css)):
        parts.append(_mark_svg(marks[k], *placed[k]))
    parts += _labels(marks, placed, lines)
    parts.append("</svg>")
    return "".join(parts)


def _marks(
    front: Front,
    baselines: Sequence[Baseline],
    x_plot: PlotAxis,
    y_plot: PlotAxis,
) -> list[_Mark]:
    named = anchors(front)
    marks = []
    for i, plan in enumerate(front.plans):
        score = plan.score
        x, y = x_plot.value(plan), y_plot.value(plan)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        chosen = i == front.chosen
        label = "; ".join(filter(None, ["chosen" if chosen else "", named.get(i, "")]))
        css = ("proven" if proven_plan(plan.status) else "heuristic") + (" chosen" if chosen else "")
        tip = (
            f"Plan {i + 1}{' (chosen)' if chosen else ''}: {fmt.rate(score.throughput_per_s)}, latency "
            f"{fmt.time(score.latency_s)}, {fmt.energy(score.energy_j)} an inference; {plan.status}"
        )
        marks.append(_Mark(x, y, css, tip, label, bool(label) or len(front.plans) <= _FOCUSABLE))
    for b in baselines:
        across, up = x_plot.of_baseline(b), y_plot.of_baseline(b)
        if b.feasible and across is not None and up is not None:
            tip = (
                f"{b.label} alone: {fmt.rate(b.throughput_per_s)}, latency {fmt.time(b.latency_s)}, "
                f"{fmt.energy(b.energy_j)} an inference"
            )
            marks.append(_Mark(across, up, "base", tip, f"{b.label} alone", True))
    return marks


def _grid(
    x_axis: Axis,
    y_axis: Axis,
    at: Callable[[float, float], tuple[float, float]],
    x_plot: PlotAxis,
    y_plot: PlotAxis,
) -> list[str]:
    floor, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in x_axis.ticks:
        x = at(value, y_axis.low)[0]
        text = _trim(x_plot.text(value)).removesuffix(" /s")
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP:.0f}V{floor:.0f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{floor + 16:.0f}" text-anchor="middle">{text}</text>')
    for value in y_axis.ticks:
        y = at(x_axis.low, value)[1]
        parts.append(f'<path class="grid" d="M{_LEFT:.0f} {y:.1f}H{right:.0f}"/>')
        place = f'x="{_LEFT - 7:.0f}" y="{y + 4:.1f}"'
        parts.append(f'<text class="tick" {place} text-anchor="end">{_trim(y_plot.text(value))}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT:.0f} {_TOP:.0f}V{floor:.0f}H{right:.0f}"/>')
    parts.append(
        f'<text class="axis-name" x="{(_LEFT + right) / 2:.0f}" y="{_HEIGHT - 10:.0f}" text-anchor="middle">'
        f"{_axis_name(x_plot)}, better {'→' if x_plot.objective.inverted else '←'}"
        f"{' (log)' if x_axis.log else ''}</text>"
        f'<text class="axis-name" x="0" y="34">{_axis_name(y_plot)}, better ↓'
        f"{' (log)' if y_axis.log else ''}</text>"
    )
    return parts


def _axis_name(plot: PlotAxis) -> str:
    return escape(plot.objective.title + (" [1/s]" if plot.objective.inverted else ""))


def _trim(text: str) -> str:
    """A tick's figure without idle zeros: "20.0 ms" -> "20 ms"."""
    number, space, unit = text.partition(" ")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number}{space}{unit}"


def _bound_lines(
    x_axis: Axis,
    y_axis: Axis,
    at: Callable[[float, float], tuple[float, float]],
    bounds: tuple[float | None, float | None],
) -> list[_Area]:
    """Dashed lines (as areas of no width) where proven bounds fall into the plot."""
    lines: list[_Area] = []
    x_bound, y_bound = bounds
    if x_bound is not None and x_axis.low < x_bound < x_axis.high:
        x = at(x_bound, y_axis.low)[0]
        lines.append((x, _TOP, x, _HEIGHT - _BOTTOM))
    if y_bound is not None and y_axis.low < y_bound < y_axis.high:
        y = at(x_axis.low, y_bound)[1]
        lines.append((_LEFT, y, _WIDTH - _RIGHT, y))
    return lines


def _staircase(points: Sequence[tuple[float, float]], better: float) -> str:
    """The edge of what is reached: down is better, and right (``better`` 1) or left (-1)."""
    edge: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (-better * p[0], -p[1])):
        if not edge or y > edge[-1][1] + 1e-6:
            edge.append((x, y))
    if len(edge) < 2:
        return ""
    path = f"M{edge[0][0]:.1f} {edge[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in edge[1:])
    return f'<path class="stair" d="{path}"/>'


def _mark_svg(mark: _Mark, x: float, y: float) -> str:
    focus = ' tabindex="0"' if mark.focus else ""
    head = f'<g class="pt {mark.css}"{focus} role="img"><title>{escape(mark.tip)}</title>'
    hit = f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="12"/>'
    if "base" in mark.css:
        shape = f'<path d="M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0 -9l-9 9"/>'
    elif "chosen" in mark.css:
        shape = f'<path d="M{x:.1f} {y - 8:.1f}l8 8l-8 8l-8 -8z"/>'
    else:
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    return f"{head}{hit}{shape}</g>"


def _labels(marks: Sequence[_Mark], placed: Sequence[tuple[float, float]], lines: Sequence[_Area]) -> list[str]:
    """Labels where they hide least: the place around the mark with the fewest hits, near ones first."""
    taken: list[_Area] = [(x - 7, y - 7, x + 7, y + 7) for x, y in placed]
    taken += lines
    parts = []
    order = sorted(range(len(marks)), key=lambda k: ("chosen" not in marks[k].css, "base" in marks[k].css))
    for k in order:
        mark = marks[k]
        if not mark.label:
            continue
        chosen = "chosen" in mark.css
        text = fmt.shorten(mark.label, 34)
        width = len(text) * (_BOLD_CHARACTER_PX if chosen else _CHARACTER_PX)
        y = placed[k][1]
        anchor, area = min(_candidates(*placed[k], width), key=lambda c: _cost(c[1], taken) + abs(c[1][1] + 7 - y) / 30)
        taken.append(area)
        x = {"start": area[0], "end": area[2], "middle": (area[0] + area[2]) / 2}[anchor]
        parts.append(
            f'<text class="pt-label{" chosen" if chosen else ""}" x="{x:.1f}" y="{area[3] - 3:.1f}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )
    return parts


def _candidates(x: float, y: float, width: float) -> list[tuple[str, _Area]]:
    """Places for a label of ``width`` around a mark, each with the anchor of its text."""
    found: list[tuple[str, _Area]] = []
    for lift in (0.0, -15.0, 15.0, -30.0, 30.0, -45.0, 45.0):
        top, bottom = y - 7 + lift, y + 7 + lift
        found.append(("start", (x + 11, top, x + 11 + width, bottom)))
        found.append(("end", (x - 11 - width, top, x - 11, bottom)))
        if lift:
            found.append(("middle", (x - width / 2, top, x + width / 2, bottom)))
    return found


def _cost(area: _Area, taken: Sequence[_Area]) -> float:
    x1, y1, x2, y2 = area
    outside = max(0.0, _LEFT + 2 - x1) + max(0.0, x2 - _WIDTH + 2) + max(0.0, _TOP - y1)
    outside += max(0.0, y2 - _HEIGHT + _BOTTOM)
    hits = sum(1 for a, b, c, d in taken if x1 < c and a < x2 and y1 < d and b < y2)
    return 1000 * outside + hits
