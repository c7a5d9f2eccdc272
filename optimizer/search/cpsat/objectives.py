"""What a bounding model minimises or holds below a limit: one goal an objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from optimizer.errors import InternalError
from optimizer.search.cpsat.memory import add_memory_share
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.revisit import add_revisit_latency
from optimizer.search.cpsat.scale import Expression

__all__ = ["GOALS", "Goal", "add_energy", "add_latency", "add_limits"]

_LOSS_UNITS = 2e8
_LOSS_CAP = 2e12
_DETAILED_STAGES = 8
"""Up to so many stages, tensors between each two of them have variables of their own."""


@dataclass(frozen=True)
class Goal:
    """A minimised quantity in the model's integers; ``per_unit``: how many of them one unit of it takes."""

    expression: Expression
    per_unit: float


def _period(m: PlanModel) -> Goal:
    return Goal(m.period, m.scale.per_second)


def _latency(m: PlanModel) -> Goal:
    return Goal(add_latency(m), m.scale.per_second)


def _energy(m: PlanModel) -> Goal:
    return Goal(add_energy(m), m.scale.per_joule)


def _memory(m: PlanModel) -> Goal:
    return Goal(*add_memory_share(m))


def _link_bytes(m: PlanModel) -> Goal:
    wires = sum(m.problem.links[link].wire_bytes(size) * var for (_, link, size), var in m.hops.items())
    return Goal(wires, 1.0)


def _boards(m: PlanModel) -> Goal:
    return Goal(sum(m.board_used.values()), 1.0)


def _accuracy_loss(m: PlanModel) -> Goal:
    losses = m.problem.tables.loss
    if losses is None:
        raise InternalError("the loss of accuracy is asked for without a sensitivity table")
    some = losses[losses > 0]
    per_unit = _LOSS_UNITS / max(float(losses.min(axis=1).sum()), float(some.min(initial=1.0)))
    terms = [
        math.floor(min(float(losses[v, q]) * per_unit, _LOSS_CAP)) * m.x(v, s)
        for v in range(m.n)
        for s, q in enumerate(m.order)
    ]
    return Goal(sum(terms), per_unit)


GOALS: Mapping[str, Callable[[PlanModel], Goal]] = {
    "throughput": _period,
    "latency": _latency,
    "energy": _energy,
    "memory": _memory,
    "link-bytes": _link_bytes,
    "boards": _boards,
    "accuracy-loss": _accuracy_loss,
}
"""How a model bounds each objective (see optimizer.objectives). All are exact but for what the model leaves out:
contention between hops (latency), the energy of idling over a longer period than the busiest resource's, and buffers
of more than one frame and tensors that only some orders keep alive (memory)."""


def add_limits(m: PlanModel, objective: str, goal: Goal) -> None:
    """The problem's limits on quantities; ``goal`` is the one that the model minimises already."""
    limits = m.problem.limits
    for name, limit in (
        ("throughput", limits.max_period_s),
        ("latency", limits.max_latency_s),
        ("energy", limits.max_energy_j),
        ("link-bytes", limits.max_link_bytes),
        ("accuracy-loss", limits.max_accuracy_loss),
    ):
        if limit is not None:
            held = goal if name == objective else GOALS[name](m)
            m.model.add(held.expression <= math.ceil(limit * held.per_unit))


def add_latency(m: PlanModel) -> cp_model.IntVar:
    """Makespan: stages start after everything they need has come; branches overlap."""
    if m.revisits:
        return add_revisit_latency(m)
    model = m.model
    start = [model.new_int_var(0, m.horizon, "") for _ in range(m.k)]
    latency = model.new_int_var(0, m.horizon, "latency")
    graph, system, scale = m.problem.graph, m.problem.system, m.scale
    for s in range(m.k):
        model.add(latency >= start[s] + m.alone[s])
        _input_arrival(m, start, s)
        for t in graph.outputs:
            producer = graph.tensors[t].producer
            if producer is not None:
                route = m.route(m.boards[s], system.sink)
                way = _way(m, route, m.size(t, s))
                if route and not graph.tensors[t].consumers and not m.problem.links[route[-1]].overlap:
                    way += scale.seconds(m.problem.links[route[-1]].receive_s_per_byte * m.size(t, s))
                model.add(latency >= start[s] + m.alone[s] + way * m.x(producer, s))
        for later in m.behind(s):
            _stage_arrival(m, start, s, later)
    if m.k > 2:
        _add_paths(m, latency)
    return latency


def _add_paths(m: PlanModel, latency: cp_model.IntVar) -> None:
    """Redundant, but what the linear relaxation needs: along every path of the graph times and hops add up.

    A hop counts on an edge whose tensor has no other user, where "it crosses" means "this user waits for it".
    """
    graph, tables, scale = m.problem.graph, m.problem.tables, m.scale
    crossing: dict[int, list[Expression]] = {}
    for (t, link_index, size), var in m.hops.items():
        link = m.problem.links[link_index]
        crossing.setdefault(t, []).append((scale.seconds(link.occupancy_s(size)) + scale.seconds(link.latency_s)) * var)
    ends = [m.model.new_int_var(0, m.horizon, "") for _ in range(m.n)]
    for op in graph.operators:
        work = sum(scale.seconds(float(tables.time_s[op.index, q])) * m.x(op.index, s) for s, q in enumerate(m.order))
        m.model.add(ends[op.index] >= work)
        for t in op.inputs:
            tensor = graph.tensors[t]
            way = sum(crossing.get(t, ())) if len(tensor.consumers) == 1 and not tensor.is_output else 0
            before = 0 if tensor.producer is None else ends[tensor.producer]
            m.model.add(ends[op.index] >= before + way + work)
        for t in op.outputs:
            tensor = graph.tensors[t]
            way = sum(crossing.get(t, ())) if tensor.is_output and not tensor.consumers else 0
            m.model.add(latency >= ends[op.index] + way)


def _way(m: PlanModel, route: tuple[int, ...] | None, size: int) -> int:
    links = [m.problem.links[i] for i in route or ()]
    return sum(m.scale.seconds(link.occupancy_s(size)) + m.scale.seconds(link.latency_s) for link in links)


def _input_arrival(m: PlanModel, start: Sequence[cp_model.IntVar], s: int) -> None:
    graph = m.problem.graph
    route = m.route(m.problem.system.source, m.boards[s])
    for t in graph.inputs:
        way = _way(m, route, m.size(t, s))
        if route and not m.problem.links[route[0]].overlap:
            way += m.scale.seconds(m.problem.links[route[0]].send_s_per_byte * m.size(t, s))
        if way > 0:
            for c in graph.tensors[t].consumers:
                m.model.add(start[s] >= way * m.x(c, s))


def _stage_arrival(m: PlanModel, start: Sequence[cp_model.IntVar], s: int, later: int) -> None:
    """Stage ``later`` starts after stage s and all it sends there; links carry one tensor after the other."""
    route = m.route(m.boards[s], m.boards[later])
    if route is None:
        return
    if m.k > _DETAILED_STAGES:
        _plain_arrival(m, start, s, later)
        return
    model = m.model
    end = start[s] + m.alone[s]
    some = model.new_bool_var("")
    carried = _carried(m, s, later)
    for t, var in carried:
        model.add_implication(var, some)
        if len(route) > 1:
            model.add(start[later] >= end + _way(m, route, m.size(t, s))).only_enforce_if(var)
    lag = sum(m.scale.seconds(m.problem.links[i].latency_s) for i in route)
    for index in dict.fromkeys(route):
        link = m.problem.links[index]
        load = sum(m.scale.seconds(link.occupancy_s(m.size(t, s))) * var for t, var in carried)
        model.add(start[later] >= end + lag + load).only_enforce_if(some)
    if not route:
        model.add(start[later] >= end).only_enforce_if(some)


def _carried(m: PlanModel, s: int, later: int) -> list[tuple[int, cp_model.IntVar]]:
    """A variable for every tensor that stage s makes and stage ``later`` uses."""
    carried: list[tuple[int, cp_model.IntVar]] = []
    for t, tensor in enumerate(m.problem.graph.tensors):
        if tensor.producer is None or not tensor.consumers:
            continue
        var = m.boundary(t, [s], frozenset([later]))
        if var is None:
            var = m.model.new_bool_var("")
            for c in tensor.consumers:
                m.model.add(var >= m.x(tensor.producer, s) + m.x(c, later) - 1)
        carried.append((t, var))
    return carried


def _plain_arrival(m: PlanModel, start: Sequence[cp_model.IntVar], s: int, later: int) -> None:
    """Many stages: order alone; what the hops take is left to the paths (see _add_paths)."""
    some = m.model.new_bool_var("")
    for tensor in m.problem.graph.tensors:
        if tensor.producer is not None:
            for c in tensor.consumers:
                m.model.add(some >= m.x(tensor.producer, s) + m.x(c, later) - 1)
    m.model.add(start[later] >= start[s] + m.alone[s]).only_enforce_if(some)


def _idle_between_frames(m: PlanModel, s: int, interval_s: float) -> Expression:
    """Idle energy of a stage's processor where frames come at a fixed interval: what it is busy is taken off.

    What is taken off is rounded up, so that the sum stays below the real one. The period is at most the interval,
    so nothing comes out below zero.
    """
    ref = m.problem.processors[m.order[s]]
    watts = ref.processor.idle_power_w
    used = m.board_used[ref.board.name]
    whole = m.scale.joules(watts * interval_s)
    total = whole * used if ref.board.removable else whole
    seconds = m.problem.tables.time_s[:, m.order[s]]
    busy = [(float(seconds[v]), m.x(v, s)) for v in range(m.n)]
    busy += [(extra, var) for extra, var, _ in m.extra[s]]
    busy += m.attended[s]
    return total - sum((m.scale.joules(watts * length) + 1) * var for length, var in busy if length > 0)


def add_energy(m: PlanModel) -> Expression:
    """Active + idle + link energy; idle power runs over the period, which is a variable, unless a rate is given."""
    problem, scale, tables = m.problem, m.scale, m.problem.tables
    total: Expression = 0
    ratio = scale.per_joule / scale.per_second
    for s, q in enumerate(m.order):
        ref = problem.processors[q]
        total = total + sum(scale.joules(float(tables.energy_j[v, q])) * m.x(v, s) for v in range(m.n))
        total = total + sum(scale.joules(ref.processor.active_power_w * c) * var for c, var, _ in m.extra[s])
        idle = ref.processor.idle_power_w * ratio
        if idle <= 0:
            continue
        if problem.limits.rate_per_s is not None:
            total = total + _idle_between_frames(m, s, 1.0 / problem.limits.rate_per_s)
            continue
        # Floored: power in 2**-20 of a unit; the busy share, a sum of floors, is raised by one a term.
        whole = math.floor(idle * 2**20)
        term = m.model.new_int_var(0, max(1, math.ceil(m.horizon * idle) + 1), "")
        floors = m.n + len(m.extra[s]) + len(m.hops)
        slack = m.period - m.compute[s] - m.attend[s] - floors
        used = m.board_used[ref.board.name]
        bound = m.model.add((term + 1) * 2**20 >= whole * slack)
        if ref.board.removable and not isinstance(used, int):
            bound.only_enforce_if(used)
        total = total + term
    for (_, link_index, size), var in m.hops.items():
        link = problem.links[link_index]
        total = total + scale.joules(link.wire_bytes(size) * link.energy_j_per_byte) * var
    return total
