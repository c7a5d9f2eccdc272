"""evaluate(problem, schedule) -> Score: the only cost function. It invents nothing: the schedule says it all.

Many schedules are scored at once, with NumPy over all of their segments, events and arcs; one alone is a batch of
one. No figure of a schedule depends on what it is scored with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.board_use import arena_tensors, memory_use, used_boards
from optimizer.cycle_ratio import Arc
from optimizer.energy import energy_and_wire_bytes
from optimizer.event_arcs import (
    data_arcs,
    depth_arcs,
    frame_arcs,
    frames_alone,
    order_arcs,
    resource_occupancy_s,
)
from optimizer.events import Events, build_events
from optimizer.longest_paths import earliest_starts, maximum_cycle_ratios
from optimizer.plan import MemoryUse, Schedule, Score
from optimizer.problem import Problem
from optimizer.replicas import copies
from optimizer.restrictions import colocation_faults

__all__ = [
    "Schedule",
    "arena_tensors",
    "data_arcs",
    "depth_arcs",
    "evaluate",
    "evaluate_batch",
    "memory_use",
    "order_arcs",
    "resource_occupancy_s",
    "score_of",
    "used_boards",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_TOLERANCE = 1e-9


def evaluate(problem: Problem, schedule: Schedule) -> Score:
    """Score of a schedule: see docs/concepts.md for the model.

    A schedule that can never run (a deadlock) has period and latency inf; broken limits are listed in
    ``violations`` and the figures stand all the same.
    """
    return evaluate_batch(problem, [schedule])[0]


def evaluate_batch(
    problem: Problem, schedules: Sequence[Schedule], events: Sequence[Events] | None = None
) -> list[Score]:
    """``evaluate`` of every schedule, bit for bit; ``events``: their activities, where they are known already."""
    problem.segment_table.prepare((copies(s.segments), s.transfers) for s in schedules)
    if events is None:
        events = [build_events(problem, s.segments, s.transfers) for s in schedules]
    times = _times(events, schedules)
    parts = zip(schedules, events, times.period_s, times.latency_s, times.occupancy_s, strict=True)
    return [score_of(problem, *of_plan, memory_use(problem, of_plan[0])) for of_plan in parts]


@dataclass(frozen=True)
class _Times:
    """Times of all plans of a batch, by plan."""

    period_s: list[float]
    latency_s: list[float]
    occupancy_s: list[dict[str, float]]


def _times(events: Sequence[Events], schedules: Sequence[Schedule]) -> _Times:
    """Event graphs of all plans side by side: the frames alone first, then the steady state from there."""
    nodes = [len(e.names) for e in events]
    occupancies = [resource_occupancy_s(e) for e in events]
    alone = [frames_alone(e, s.orders) for e, s in zip(events, schedules, strict=True)]
    frames = [frame for of_plan in alone for frame in of_plan]
    starts = earliest_starts([len(f.names) for f, _ in frames], [frame_arcs(f, orders) for f, orders in frames])
    never = np.zeros(len(events), dtype=np.bool_)
    never[np.repeat(np.arange(len(events)), [len(of_plan) for of_plan in alone])[starts.never]] = True
    arcs = [_steady_arcs(e, s) for e, s in zip(events, schedules, strict=True)]
    bounds = [max(o.values(), default=0.0) * e.frames for o, e in zip(occupancies, events, strict=True)]
    begin = np.where(np.repeat(never, nodes), 0.0, starts.at_s)
    ratios = maximum_cycle_ratios(nodes, arcs, bounds, begin)
    return _Times(
        period_s=[ratio / e.frames for ratio, e in zip(ratios, events, strict=True)],
        latency_s=_latencies_s(events, starts.at_s, never),
        occupancy_s=occupancies,
    )


def _steady_arcs(events: Events, schedule: Schedule) -> list[Arc]:
    arcs = data_arcs(events) + order_arcs(events, schedule.orders, loops=False)
    return arcs + depth_arcs(events, [t.depth for t in schedule.transfers])


def _latencies_s(events: Sequence[Events], starts_s: Floats, never: Bools) -> list[float]:
    """Completion of one frame alone, arrival of the outputs at the sink included; the longest with replicas."""
    nodes = np.array([len(e.names) for e in events], dtype=np.int64)
    plan = np.repeat(np.arange(len(events)), nodes)
    first = np.cumsum(nodes) - nodes
    ends_s = starts_s + np.fromiter((d for e in events for d in e.duration_s), np.float64, len(starts_s))
    of_plan = np.repeat(np.arange(len(events)), [len(e.depth_arcs) for e in events])
    position = np.fromiter((i for e in events for i, _, _, _ in e.depth_arcs), np.int64, len(of_plan))
    lag_s = np.fromiter((lag for e in events for _, _, lag, _ in e.depth_arcs), np.float64, len(of_plan))
    last_s = np.zeros(len(events))
    np.maximum.at(last_s, plan, ends_s)
    np.maximum.at(last_s, of_plan, ends_s[first[of_plan] + position] + lag_s)
    return [float(x) for x in np.where(never, math.inf, last_s)]


def score_of(
    problem: Problem,
    schedule: Schedule,
    events: Events,
    period: float,
    latency: float,
    occupancy: Mapping[str, float],
    memory: Mapping[str, MemoryUse],
) -> Score:
    """The score that these times and this memory make."""
    interval = problem.limits.interval_s(period)
    used = used_boards(problem, schedule)
    energy, wire_bytes = energy_and_wire_bytes(problem, schedule, events, occupancy, interval, used)
    loss = _accuracy_loss(problem, schedule)
    return Score(
        period_s=period,
        throughput_per_s=1.0 / period if period > 0 else math.inf,
        latency_s=latency,
        energy_j=energy,
        link_bytes=wire_bytes,
        memory_bytes=memory,
        occupancy_s=occupancy,
        boards_used=len(used),
        accuracy_loss=loss,
        violations=(
            *_violations(problem, schedule, period, latency, energy, memory),
            *_further_violations(problem, wire_bytes, loss),
        ),
    )


def _accuracy_loss(problem: Problem, schedule: Schedule) -> float | None:
    """Losses of all operators at the precisions of their segments; None without a sensitivity table."""
    table = problem.tables.loss
    if table is None:
        return None
    return math.fsum(table[v, problem.processor_index[s.processor]] for s in schedule.segments for v in s.operators)


def _further_violations(problem: Problem, wire_bytes: int, loss: float | None) -> Iterator[str]:
    limits = problem.limits
    if limits.max_link_bytes is not None and wire_bytes > limits.max_link_bytes:
        yield f"{wire_bytes} B cross the links, {limits.max_link_bytes} B allowed"
    allowed = limits.max_accuracy_loss
    if allowed is not None and loss is not None and loss > allowed * (1 + _TOLERANCE):
        yield f"accuracy loss {loss:.6g} exceeds the limit {allowed:.6g}"


def _violations(
    problem: Problem,
    schedule: Schedule,
    period: float,
    latency: float,
    energy: float,
    memory: Mapping[str, MemoryUse],
) -> list[str]:
    limits = problem.limits
    found = []
    if math.isinf(period) or math.isinf(latency):
        found.append("the orders deadlock: some activities wait for each other for ever")
    for label, value, limit, unit in (
        ("period", period, limits.max_period_s, "s"),
        ("latency", latency, limits.max_latency_s, "s"),
        ("energy", energy, limits.max_energy_j, "J"),
    ):
        if limit is not None and value > limit * (1 + _TOLERANCE):
            found.append(f"{label} {value:.6g} {unit} exceeds the limit {limit:.6g} {unit}")
    for name, use in memory.items():
        if use.ram_bytes > use.ram_available_bytes:
            found.append(f"{name} needs {use.ram_bytes} B of RAM, {use.ram_available_bytes} B available")
        if use.flash_available_bytes is not None and use.flash_bytes > use.flash_available_bytes:
            found.append(f"{name} needs {use.flash_bytes} B of flash, {use.flash_available_bytes} B available")
    if limits.max_boards is not None:
        count = len(used_boards(problem, schedule))
        if count > limits.max_boards:
            found.append(f"{count} boards used, {limits.max_boards} allowed")
    for segment in copies(schedule.segments):
        if problem.segment_table.figures(segment).allowed:
            continue
        q = problem.processor_index[segment.processor]
        wrong = [v for v in segment.operators if not problem.tables.allowed[v, q]]
        found.extend(f"{problem.graph.operators[v].name} may not run on {segment.processor}" for v in wrong)
    found.extend(colocation_faults(problem.graph, problem.colocated, schedule.segments))
    return found
