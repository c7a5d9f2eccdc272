"""How a plan's period hangs on the loads of its resources, for factors on all the work of each.

Let w be the loads, raised to some floor, and k the period of the plan's event graph with every duration divided by the
w of its resource: whatever the factors f, the period is at most k * max(f * w).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from boards.board import Link
from optimizer.cycle_ratio import maximum_cycle_ratio
from optimizer.evaluate import data_arcs, depth_arcs, order_arcs
from optimizer.events import build_events
from optimizer.plan import Plan
from optimizer.problem import Problem

__all__ = ["Loads", "links_of", "loads_of"]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Loads:
    """``weights``: w by resource above the floor; ``excess``: k. See the module's text."""

    weights: Mapping[str, float]
    excess: float
    floor_s: float


def links_of(problem: Problem, plan: Plan) -> list[Link]:
    """The links that a plan uses."""
    return [problem.link_by_name[name] for name in dict.fromkeys(h.link for t in plan.transfers for h in t.hops)]


def loads_of(problem: Problem, plan: Plan, floor_s: float) -> Loads | None:
    """None where work on one resource has the factor of another, or replicas take turns. ``problem``: at the plan's
    precisions."""
    if any(not x.overlap or x.send_s_per_byte or x.receive_s_per_byte for x in links_of(problem, plan)):
        return None
    if floor_s <= 0 or any(s.replicas for s in plan.segments):
        return None
    weight = {r: max(load, floor_s) for r, load in plan.score.occupancy_s.items()}
    events = build_events(problem, plan.segments, plan.transfers)
    per = [weight.get(names[0], floor_s) for names in events.resources]
    shrunk = replace(
        events,
        duration_s=tuple(d / w for d, w in zip(events.duration_s, per, strict=True)),
        held_s=tuple(h / w for h, w in zip(events.held_s, per, strict=True)),
        arcs=tuple((i, j, lag / per[i]) for i, j, lag in events.arcs),
        depth_arcs=tuple((i, j, lag / per[i], t) for i, j, lag, t in events.depth_arcs),
    )
    arcs = data_arcs(shrunk) + order_arcs(shrunk, plan.orders)
    arcs += depth_arcs(shrunk, [t.depth for t in plan.transfers])
    excess = maximum_cycle_ratio(len(events.names), arcs) * (1 + _ROUNDING)
    return Loads({r: w for r, w in weight.items() if w > floor_s}, max(1.0, excess), floor_s)
