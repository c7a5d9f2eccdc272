"""report.html: one self-contained page about a plan. No network, no other files, legible without scripts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from optimizer import report_format as fmt
from optimizer.atomic import write_atomically
from optimizer.objectives import OBJECTIVES
from optimizer.replicas import frames_of_turn
from optimizer.report_data import ReportData
from optimizer.report_gantt import gantt_rows, ticks
from optimizer.report_graph import draw_graph
from optimizer.report_pareto import on_scale
from optimizer.report_segments import memory_bars, segment_rows, transfer_rows
from optimizer.report_view import (
    cards,
    certificate_rows,
    front_rows,
    further_objectives,
    measured_cells,
    pareto_plots,
)
from optimizer.report_words import proven_plan, step_lines

__all__ = ["render_report", "write_report"]

_TEMPLATES = Path(__file__).parent / "templates"


def render_report(data: ReportData) -> str:
    """The page as HTML. Every name that comes from a model, system or user is escaped."""
    score = data.plan.score
    frames = frames_of_turn(data.plan.segments)
    drawing = draw_graph(data)
    near = on_scale(data.front, data.baselines)
    page = (
        _environment()
        .from_string(_source("report.html.j2"))
        .render(
            data=data,
            plan=data.plan,
            style=Markup(_source("report.css")),
            script=Markup(_source("report.js")),
            cards=cards(data),
            certificates=certificate_rows(data),
            chosen_proven=proven_plan(data.plan.status),
            off_scale=[b.label for b in data.baselines if b.feasible and b not in near],
            plots=pareto_plots(data),
            further=[OBJECTIVES[o].heading for o in further_objectives(data.front)],
            steps=step_lines(data.front),
            gantt=gantt_rows(data.system, data.timeline, score.occupancy_s, score.period_s),
            ticks=ticks(score.period_s * frames),
            frames_of_turn=frames,
            memory=memory_bars(data),
            segments=segment_rows(data),
            transfers=transfer_rows(data),
            front=front_rows(data),
            graph_svg=Markup(drawing.svg),
            graph_model=Markup(drawing.model_json),
            graph_has_blocks=drawing.has_blocks,
            measured_cells=measured_cells,
        )
    )
    # Paths of files may hold lone surrogates and names control characters; a page holds neither.
    return page.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def write_report(data: ReportData, path: Path | str) -> None:
    """Write the page in one step: readers see the old file or the new one. Raises InputError."""
    write_atomically(Path(path), render_report(data))


@cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        seconds=fmt.time,
        joules=fmt.energy,
        rate=fmt.rate,
        size=fmt.size,
        percent=fmt.percent,
        count=fmt.count,
        spread=fmt.spread,
    )
    return environment


@cache
def _source(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
