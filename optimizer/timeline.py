"""The steady state of a plan as bars on its resources: one period, or one turn of the replicas, for the chart."""

from __future__ import annotations

import math

from optimizer.evaluate import Schedule, data_arcs, depth_arcs, order_arcs
from optimizer.events import build_events
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.report_data import GanttBar

__all__ = ["steady_state"]


def steady_state(problem: Problem, plan: Plan) -> tuple[GanttBar, ...]:
    """Bars of one period at the earliest periodic starts; () for a plan that never runs.

    With replicas of a turn, which is as many periods as it has frames.
    """
    schedule = Schedule.of(plan)
    events = build_events(problem, plan.segments, plan.transfers)
    period = plan.score.period_s * events.frames
    if not math.isfinite(period) or period <= 0:
        return ()
    arcs = data_arcs(events) + order_arcs(events, schedule.orders)
    arcs += depth_arcs(events, [t.depth for t in plan.transfers])
    start = [0.0] * len(events.names)
    for _ in range(len(start)):
        changed = False
        for i, j, length, tokens in arcs:
            earliest = start[i] + length - period * tokens
            if earliest > start[j] + period * 1e-12:
                start[j] = earliest
                changed = True
        if not changed:
            break
    bars: list[GanttBar] = []
    names = [(name, frame) for frame, of in enumerate(events.alone or (events,)) for name in of.names]
    for i, (name, frame) in enumerate(names):
        stage = math.floor(start[i] / period + 1e-9)
        begin = max(0.0, start[i] - stage * period)
        kind, _, rest = name.partition(":")
        label = rest if kind == "segment" else rest.rsplit("@", 1)[0]
        bars.extend(
            GanttBar(
                resource,
                name,
                label,
                begin,
                begin + events.held_s[i],
                stage * events.frames - frame,
                events.frames,
                messages_s=events.held_s[i] - events.duration_s[i],
            )
            for resource in events.resources[i]
        )
    return tuple(bars)
