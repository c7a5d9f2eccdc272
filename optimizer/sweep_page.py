"""index.html of a sweep: one self-contained page that compares its cases. No network, legible without scripts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from optimizer import report_format as fmt
from optimizer.plan_io import versions
from optimizer.sweep import Sweep
from optimizer.sweep_plots import COLOURS, marker, model_plot
from optimizer.sweep_results import Row

__all__ = ["Winner", "render_page", "winners"]

_TEMPLATES = Path(__file__).parent / "templates"
_OBJECTIVES: dict[str, tuple[Callable[[Row], float | None], Callable[[float | None], str], str]] = {
    "throughput": (lambda row: row.throughput_per_s, fmt.rate, "lower"),
    "latency": (lambda row: row.latency_s, fmt.time, "longer"),
    "energy": (lambda row: row.energy_j, fmt.energy, "more"),
}
"""By preference: the figure, how it is written, and the word for being worse."""


@dataclass(frozen=True)
class Winner:
    """The best system for a model, limits and preference, and how far behind the second one is."""

    model: str
    limits: str
    prefer: str
    best: Row
    value: str
    second: Row | None
    behind: str
    """How much worse the second one is, as a share of the best, in words; "" without a second."""


def render_page(sweep: Sweep, found: Sequence[Row]) -> str:
    """The page as HTML. Every name that comes from a file is escaped."""
    models, systems = _names(found, "model"), _names(found, "system")
    counts = sweep.counts()
    plots = [model_plot(m, [row for row in found if row.model == m], systems) for m in models]
    page = (
        _environment()
        .from_string(_source("sweep.html.j2"))
        .render(
            name=sweep.grid.name,
            file=sweep.grid.path.name,
            found=found,
            models=models,
            systems=systems,
            axes={"limits": _names(found, "limits"), "prefer": _names(found, "prefer"), "seeds": _names(found, "seed")},
            counts=counts,
            proven=sum(1 for row in found if row.proof == "proven"),
            bounded=sum(1 for row in found if row.proof == "bounded"),
            seconds=sum(row.seconds or 0.0 for row in {row.key: row for row in found}.values()),
            winners=list(winners(found)) if len(systems) > 1 else [],
            plots=[Markup(svg) for svg in plots if svg],
            keys=[Markup(marker(i, 0.0, 0.0)) for i in range(len(systems))],
            colours=COLOURS,
            shares=_shares(found),
            unsolved=[row for row in found if row.status != "solved"],
            style=Markup(_source("report.css") + _source("sweep.css")),
            script=Markup(_source("sweep.js")),
            versions=versions(),
            created=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        )
    )
    # Names may hold lone surrogates and control characters; a page holds neither.
    return page.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def winners(found: Sequence[Row]) -> Iterator[Winner]:
    """The best system of every group that two systems or more have a plan in."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in found:
        if row.prefer in _OBJECTIVES and row.status == "solved":
            groups.setdefault((row.model, row.limits, row.prefer), []).append(row)
    for (model, limits, prefer), group in groups.items():
        figure, written, word = _OBJECTIVES[prefer]
        sign = -1.0 if prefer == "throughput" else 1.0
        values = [(sign * (figure(row) or 0.0), place) for place, row in enumerate(group)]
        by_system: dict[str, Row] = {}
        for _, place in sorted(values):
            by_system.setdefault(group[place].system, group[place])
        best, *rest = by_system.values()
        second = rest[0] if rest else None
        yield Winner(model, limits, prefer, best, written(figure(best)), second, _behind(figure, word, best, second))


def _behind(figure: Callable[[Row], float | None], word: str, best: Row, second: Row | None) -> str:
    top, other = figure(best), None if second is None else figure(second)
    if other is None or not top:
        return ""
    return "the same" if other == top else f"{fmt.percent(abs(other - top) / top)} {word}"


def _shares(found: Sequence[Row]) -> list[float]:
    """Throughput of each row as percent of the best of its model: the length of the bar in its cell."""
    best: dict[str, float] = {}
    for row in found:
        best[row.model] = max(best.get(row.model, 0.0), row.throughput_per_s or 0.0)
    return [100 * (row.throughput_per_s or 0.0) / (best[row.model] or 1.0) for row in found]


def _names(found: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(row, column)) for row in found))


@cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        seconds_text=fmt.time, joules=fmt.energy, rate=fmt.rate, size=fmt.size, percent=fmt.percent
    )
    return environment


@cache
def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
