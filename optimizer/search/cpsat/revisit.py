"""Latency and memory of plans that may come back to a processor: what surely holds however they are cut.

A segment's start and end say nothing here, since a processor has several. What stays: one frame alone keeps every
processor and every link busy for all it has to do, but for messages, whose work may outlast it; along every path of
the graph times and hops add up; a processor runs one operator at a time, and nothing runs before what it reads has
come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ortools.sat.python import cp_model

from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Expression

__all__ = ["add_revisit_arena", "add_revisit_latency"]

_MAX_INTERVALS = 1500
"""Beyond so many operators times processors, one operator at a time is left out: only the relaxation suffers."""
_MAX_PAIRS = 20_000
"""Likewise for hops of tensors with several users, by edges times pairs of processors."""


def add_revisit_latency(m: PlanModel) -> cp_model.IntVar:
    """Lower bound on the makespan of one frame, whatever the segments."""
    model, graph = m.model, m.problem.graph
    latency = model.new_int_var(0, m.horizon, "latency")
    for load in [*m.media, *(alone + attend for alone, attend in zip(m.alone, m.attend, strict=True))]:
        model.add(latency >= load)
    begin = [model.new_int_var(0, m.horizon, "") for _ in range(m.n)]
    work = [_work(m, v) for v in range(m.n)]
    crossing = _crossing(m)
    edges = sum(len(t.consumers) for t in graph.tensors)
    detailed = edges * m.k * (m.k - 1) <= _MAX_PAIRS
    for op in graph.operators:
        v = op.index
        model.add(latency >= begin[v] + work[v])
        for t in op.inputs:
            producer = graph.tensors[t].producer
            ready = 0 if producer is None else begin[producer] + work[producer]
            model.add(begin[v] >= ready)
            for way in _ways_in(m, t, v, crossing, detailed):
                model.add(begin[v] >= ready + way)
        for t in op.outputs:
            if graph.tensors[t].is_output:
                model.add(latency >= begin[v] + work[v] + _way_out(m, t, v))
    if m.n * m.k <= _MAX_INTERVALS:
        _one_at_a_time(m, begin)
    return latency


def _work(m: PlanModel, v: int) -> Expression:
    times = m.problem.tables.time_s
    return sum(m.scale.seconds(float(times[v, q])) * m.x(v, s) for s, q in enumerate(m.order))


def _crossing(m: PlanModel) -> dict[int, list[Expression]]:
    """Seconds of every hop of each tensor."""
    crossing: dict[int, list[Expression]] = {}
    for (t, link_index, size), var in m.hops.items():
        link = m.problem.links[link_index]
        seconds = m.scale.seconds(link.occupancy_s(size)) + m.scale.seconds(link.latency_s)
        crossing.setdefault(t, []).append(seconds * var)
    return crossing


def _ways_in(
    m: PlanModel, t: int, v: int, crossing: dict[int, list[Expression]], detailed: bool
) -> Iterator[Expression]:
    """What the hops of tensor t surely take before operator v can begin."""
    tensor = m.problem.graph.tensors[t]
    if tensor.producer is None:
        source = m.problem.system.source
        yield sum(_route_seconds(m, source, m.boards[s], m.size(t, s)) * m.x(v, s) for s in range(m.k))
    elif len(tensor.consumers) == 1 and not tensor.is_output:
        yield sum(crossing.get(t, ()))
    elif detailed:
        yield from _pair_ways(m, t, tensor.producer, v)


def _pair_ways(m: PlanModel, t: int, u: int, v: int) -> Iterator[Expression]:
    for a in range(m.k):
        for b in range(m.k):
            way = 0 if a == b else _route_seconds(m, m.boards[a], m.boards[b], m.size(t, a))
            if way > 0:
                yield way * (m.x(u, a) + m.x(v, b) - 1)


def _way_out(m: PlanModel, t: int, v: int) -> Expression:
    sink = m.problem.system.sink
    return sum(_route_seconds(m, m.boards[s], sink, m.size(t, s)) * m.x(v, s) for s in range(m.k))


def _route_seconds(m: PlanModel, a: str, b: str, size: int) -> int:
    links = [m.problem.links[i] for i in m.route(a, b) or ()]
    return sum(m.scale.seconds(link.occupancy_s(size)) + m.scale.seconds(link.latency_s) for link in links)


def _one_at_a_time(m: PlanModel, begin: list[cp_model.IntVar]) -> None:
    times = m.problem.tables.time_s
    for s, q in enumerate(m.order):
        intervals = []
        for v in range(m.n):
            length = m.scale.seconds(float(times[v, q]))
            if length > 0:
                here = m.x(v, s)
                intervals.append(m.model.new_optional_fixed_size_interval_var(begin[v], length, here, ""))
        m.model.add_no_overlap(intervals)


def add_revisit_arena(
    m: PlanModel, s: int, base: Expression, unit: Callable[[int], int], fits: Callable[[Expression], object]
) -> None:
    """What one operator needs at a time: its own tensors, in the arena of its segment or in buffers.

    Tensors that live across it are left out: they may belong to another segment, whose arena shares the space.
    """
    graph = m.problem.graph
    in_place = m.problem.processors[m.order[s]].board.in_place
    inner: dict[int, cp_model.IntVar] = {}
    for t, tensor in enumerate(graph.tensors):
        if tensor.producer is not None and not tensor.is_output:
            inner[t] = m.model.new_bool_var("")
            m.model.add(inner[t] >= m.x(tensor.producer, s) - m.touches(t, s))
    for op in graph.operators:
        takes_over = in_place and op.in_place_input is not None
        own = [*op.inputs, *(() if takes_over else op.outputs)]
        fits(base + sum(unit(m.size(t, s)) * inner[t] for t in own if t in inner))
