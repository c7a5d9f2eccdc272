"""evaluate(problem, schedule) -> Score: the only cost function. It invents nothing: the schedule says it all.

Many schedules are scored at once, with NumPy over all of their segments, events and arcs; one alone is a batch of
one. No figure of a schedule depends on what it is scored with.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.board_use import Stands, arena_tensors, memory_use, memory_uses, used_boards
from optimizer.energy import energies_and_wire_bytes
from optimizer.event_arcs import data_arcs, depth_arcs, order_arcs, resource_occupancy_s
from optimizer.longest_paths import earliest_starts, maximum_cycle_ratios
from optimizer.plan import MemoryUse, Schedule, Score
from optimizer.plan_table import PlanTable
from optimizer.problem import Problem
from optimizer.ragged import Floats
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
    "scores_of",
    "used_boards",
]

_TOLERANCE = 1e-9


def evaluate(problem: Problem, schedule: Schedule) -> Score:
    """Score of a schedule: see docs/concepts.md for the model.

    A schedule that can never run (a deadlock) has period and latency inf; broken limits are listed in
    ``violations`` and the figures stand all the same.
    """
    return evaluate_batch(problem, [schedule])[0]


def evaluate_batch(problem: Problem, schedules: Sequence[Schedule]) -> list[Score]:
    """``evaluate`` of every schedule, bit for bit."""
    if not schedules:
        return []
    problem.segment_table.prepare([c for s in schedules for c in copies(s.segments)])
    plans = PlanTable.of(problem, [(s.segments, s.transfers) for s in schedules])
    period_s, latency_s = _times(plans, schedules)
    return scores_of(problem, schedules, plans, period_s, latency_s)


def _times(plans: PlanTable, schedules: Sequence[Schedule]) -> tuple[Floats, Floats]:
    """(plans,) periods and latencies: the frames alone first, then the steady state from there."""
    alone, steady = plans.graphs(schedules)
    starts = earliest_starts(alone)
    never = np.zeros(len(schedules), dtype=np.bool_)
    never[np.repeat(np.arange(len(schedules)), plans.frames)[starts.never]] = True
    bounds = plans.busy_s.max(axis=1) * plans.frames
    begin = np.where(np.repeat(never, np.diff(plans.first)), 0.0, starts.at_s)
    ratios = maximum_cycle_ratios(steady, bounds, begin)
    return ratios / plans.frames, _latencies_s(plans, starts.at_s, never)


def _latencies_s(plans: PlanTable, starts_s: Floats, never: npt.NDArray[np.bool_]) -> Floats:
    """Completion of one frame alone, arrival of the outputs at the sink included; the longest with replicas."""
    events = plans.events
    ends_s = starts_s + events.duration_s
    np.maximum.at(ends_s, events.free_end, (starts_s + events.duration_s)[events.free_end] + events.free_lag_s)
    return np.where(never, math.inf, np.maximum.reduceat(ends_s, plans.first[:-1]))


def scores_of(
    problem: Problem,
    schedules: Sequence[Schedule],
    plans: PlanTable,
    period_s: Floats,
    latency_s: Floats,
    *,
    with_arenas: bool = True,
) -> list[Score]:
    """The scores that these times make. Without arenas memory holds the other parts alone."""
    stands = Stands.of(problem, schedules)
    memory = memory_uses(problem, schedules, stands, with_arenas=with_arenas)
    rate = problem.limits.rate_per_s
    interval_s = period_s if rate is None else np.full(len(period_s), 1.0 / rate)
    energy_j, wire_bytes = energies_and_wire_bytes(problem, plans, stands, interval_s)
    figures = zip(
        schedules,
        period_s.tolist(),
        latency_s.tolist(),
        energy_j.tolist(),
        wire_bytes.tolist(),
        memory,
        plans.occupancies(),
        stands.used.sum(axis=1).tolist(),
        strict=True,
    )
    found = []
    for schedule, period, latency, energy, wire, use, occupancy, boards in figures:
        loss = _accuracy_loss(problem, schedule)
        found.append(
            Score(
                period_s=period,
                throughput_per_s=1.0 / period if period > 0 else math.inf,
                latency_s=latency,
                energy_j=energy,
                link_bytes=wire,
                memory_bytes=use,
                occupancy_s=occupancy,
                boards_used=boards,
                accuracy_loss=loss,
                violations=(
                    *_violations(problem, schedule, period, latency, energy, use, boards),
                    *_further_violations(problem, wire, loss),
                ),
            )
        )
    return found


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
    boards: int,
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
    if limits.max_boards is not None and boards > limits.max_boards:
        found.append(f"{boards} boards used, {limits.max_boards} allowed")
    for segment in copies(schedule.segments):
        if problem.segment_table.figures(segment).allowed:
            continue
        q = problem.processor_index[segment.processor]
        wrong = [v for v in segment.operators if not problem.tables.allowed[v, q]]
        found.extend(f"{problem.graph.operators[v].name} may not run on {segment.processor}" for v in wrong)
    found.extend(colocation_faults(problem.graph, problem.colocated, schedule.segments))
    return found
