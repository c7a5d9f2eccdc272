"""From an assignment to a complete schedule: segments, transfers, cyclic orders with stages, depths.

``evaluate()`` judges what is made here; nothing in this file is a cost function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from optimizer.cycle_ratio import has_deadlock, maximum_cycle_ratio
from optimizer.depths import smallest_depths
from optimizer.evaluate import (
    Schedule,
    data_arcs,
    depth_arcs,
    memory_use,
    order_arcs,
    resource_occupancy_s,
)
from optimizer.event_table import EventTable
from optimizer.events import Events, UnroutableError, build_events, build_transfers
from optimizer.list_schedule import by_resource, frame_alone, frame_by_frame, sequence, topological_rank
from optimizer.memory_plan import with_lowest_peaks
from optimizer.plan import Segment, Slot, Transfer
from optimizer.problem import Problem

__all__ = ["Outline", "complete", "complete_outline", "contiguous_segments"]

Assignment = npt.NDArray[np.int64]
_EPSILON = 1e-9
_MOMENT = 1e-8
"""Share of the period that parts activities of no duration: more than _EPSILON, less than anybody measures."""


def contiguous_segments(problem: Problem, assignment: Assignment) -> tuple[Segment, ...] | None:
    """One segment a used processor, in pipeline order; None where the segments wait for each other in a ring.

    ``assignment``: (n,) processor index by operator.
    """
    used = np.unique(assignment).tolist()
    after = _precedence(problem, assignment)
    ranked: list[int] = []
    left = set(used)
    while left:
        free = [q for q in used if q in left and not any(p in left for p in after.get(q, ()))]
        if not free:
            return None
        ranked.append(free[0])
        left.remove(free[0])
    return tuple(
        Segment(
            name=f"s{i}",
            processor=problem.processors[q].key,
            precision=problem.precisions[q],
            operators=tuple(np.flatnonzero(assignment == q).tolist()),
        )
        for i, q in enumerate(ranked)
    )


def _precedence(problem: Problem, assignment: Assignment) -> dict[int, set[int]]:
    """Processors that must come before each processor."""
    tables = problem.tables
    makers = tables.producer[tables.consumer_tensor]
    inner = makers >= 0
    before = assignment[makers[inner]]
    behind = assignment[tables.consumer_operator[inner]]
    differ = before != behind
    after: dict[int, set[int]] = {}
    for p, q in set(zip(before[differ].tolist(), behind[differ].tolist(), strict=True)):
        after.setdefault(q, set()).add(p)
    return after


@dataclass(frozen=True)
class Outline:
    """What segments settle by themselves, before any order or depth: the tensors that leave them, the activities."""

    segments: tuple[Segment, ...]
    transfers: tuple[Transfer, ...]
    """All of depth 1."""
    events: Events

    @classmethod
    def of(cls, problem: Problem, segments: Sequence[Segment]) -> Outline:
        """Raises UnroutableError."""
        transfers = build_transfers(problem, segments)
        return cls(tuple(segments), transfers, build_events(problem, segments, transfers))

    @classmethod
    def of_many(cls, problem: Problem, cuts: Sequence[Sequence[Segment] | None]) -> list[Outline | None]:
        """Those of many plans without replicas; None for None, and where no route joins the processors."""
        moved = [None if segments is None else _transfers(problem, segments) for segments in cuts]
        frames = [(s, t) for s, t in zip(cuts, moved, strict=True) if s is not None and t is not None]
        events = iter(EventTable.of(problem, frames).events())
        return [
            None if segments is None or transfers is None else cls(tuple(segments), transfers, next(events))
            for segments, transfers in zip(cuts, moved, strict=True)
        ]


def _transfers(problem: Problem, segments: Sequence[Segment]) -> tuple[Transfer, ...] | None:
    try:
        return build_transfers(problem, segments)
    except UnroutableError:
        return None


def complete(problem: Problem, segments: Sequence[Segment]) -> Schedule:
    """Orders, stages and depths for the segments: the shortest period we find, then latency, then buffers.

    Where a board's RAM is too small, its segments run their operators in the order with the lowest peak.
    Raises UnroutableError.
    """
    return complete_outline(problem, Outline.of(problem, segments))


def complete_outline(problem: Problem, outline: Outline) -> Schedule:
    """See ``complete``."""
    transfers, events = outline.transfers, outline.events
    orders = best_orders(events)
    depths = smallest_depths(events, orders, transfers)
    wanted = Schedule(outline.segments, with_depths(transfers, depths), orders)
    fitted = fit_memory(problem, wanted, events)
    if fitted.transfers != wanted.transfers and never_runs(events, fitted):
        orders = frame_by_frame(events, frame_alone(events))
        depths = smallest_depths(events, orders, transfers)
        wanted = replace(wanted, transfers=with_depths(transfers, depths), orders=orders)
        return fit_memory(problem, wanted, events)
    return fitted


def never_runs(events: Events, schedule: Schedule) -> bool:
    """Whether depths too small for the stages of the lists make activities wait for each other."""
    arcs = data_arcs(events) + order_arcs(events, schedule.orders)
    return has_deadlock(len(events.names), arcs + depth_arcs(events, [t.depth for t in schedule.transfers]))


def with_depths(transfers: Sequence[Transfer], depths: Sequence[int]) -> tuple[Transfer, ...]:
    return tuple(replace(t, depth=d) for t, d in zip(transfers, depths, strict=True))


def best_orders(events: Events) -> dict[str, tuple[Slot, ...]]:
    """Cyclic lists with stages: latency-first lists, staged so that the period is as short as can be.

    Without rendezvous the busiest resource alone sets the period, whatever the lists; where an activity holds
    several resources at once, several placements are tried.
    """
    orders = _shortest(events, events)
    if min(events.duration_s, default=1.0) <= 0 and _stuck(events, orders):
        # Activities that take no time can stand at one instant in a ring of waits; a moment each parts them.
        moment = _MOMENT * max(resource_occupancy_s(events).values())
        duration_s = tuple(max(d, moment) for d in events.duration_s)
        held_s = tuple(max(h, moment) for h in events.held_s)
        return _shortest(replace(events, duration_s=duration_s, held_s=held_s), events)
    return orders


def _shortest(placed: Events, events: Events) -> dict[str, tuple[Slot, ...]]:
    """Lists made with the durations of ``placed``, the best by those of ``events``."""
    starts = frame_alone(placed)
    floor = max(resource_occupancy_s(placed).values(), default=0.0)
    candidates = [_staged(placed, starts, floor)]
    if all(len(r) == 1 for r in events.resources):
        return candidates[0]
    candidates += _rendezvous_orders(placed, starts, floor)
    return min(candidates, key=lambda orders: unbuffered_period_s(events, orders))


def _stuck(events: Events, orders: Mapping[str, Sequence[Slot]]) -> bool:
    return has_deadlock(len(events.names), data_arcs(events) + order_arcs(events, orders))


def unbuffered_period_s(events: Events, orders: Mapping[str, Sequence[Slot]]) -> float:
    floor = max(resource_occupancy_s(events).values(), default=0.0)
    arcs = data_arcs(events) + order_arcs(events, orders)
    return maximum_cycle_ratio(len(events.names), arcs, at_least=floor)


def _staged(events: Events, starts: Sequence[float], period: float) -> dict[str, tuple[Slot, ...]]:
    """Lists in single-frame order; each resource serves its entries back to back once a period.

    An entry starts at the first time of its place in the ring that is neither before its data nor before the
    entry in front of it, so lists stay in single-frame order by (stage, position) and latency is kept.
    """
    ranked = sequence(events, starts)
    before: list[list[tuple[int, float]]] = [[] for _ in starts]
    for i, j, lag in events.arcs:
        before[j].append((i, events.duration_s[i] + lag))
    at = [0.0] * len(starts)
    ring: dict[str, tuple[float, float, int]] = {}  # first start, length used so far, last member
    slots: dict[str, list[Slot]] = {}
    for i in ranked:
        ready = max((at[p] + length for p, length in before[i]), default=0.0)
        stage_of = {}
        for r in events.resources[i]:
            if r in ring:
                ready = max(ready, at[ring[r][2]] + events.held_s[ring[r][2]])
        when = ready
        for r in events.resources[i]:
            if r not in ring:
                continue
            origin, used, _ = ring[r]
            if period > 0:
                turns = math.ceil((ready - origin - used) / period - _EPSILON)
                when = max(when, origin + used + max(0, turns) * period)
        at[i] = when
        for r in events.resources[i]:
            origin, used, _ = ring.get(r, (when, 0.0, i))
            stage_of[r] = 0 if period <= 0 else round((when - origin - used) / period)
            ring[r] = (origin, used + events.held_s[i], i)
            slots.setdefault(r, []).append(Slot(events.names[i], max(0, stage_of[r])))
    return {r: tuple(entries) for r, entries in slots.items()}


def _rendezvous_orders(events: Events, starts: Sequence[float], floor: float) -> list[dict[str, tuple[Slot, ...]]]:
    """Modulo schedules at rising periods, then the lists with all stages equal as the last resort."""
    found = []
    for factor in (1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0):
        orders = _modulo(events, starts, floor * factor)
        if orders is not None:
            found.append(orders)
            if unbuffered_period_s(events, orders) <= floor * (1 + _EPSILON):
                break
    return [*found, frame_by_frame(events, starts)]


def _modulo(events: Events, starts: Sequence[float], period: float) -> dict[str, tuple[Slot, ...]] | None:
    """Place every activity at the first time at which all its resources are free modulo the period."""
    if period <= 0:
        return None
    before: list[list[tuple[int, float]]] = [[] for _ in starts]
    for i, j, lag in events.arcs:
        before[j].append((i, events.duration_s[i] + lag))
    taken: dict[str, list[tuple[float, float]]] = {}
    at = [0.0] * len(starts)
    last: dict[str, float] = {}
    for i in sequence(events, starts):
        ready = max((at[p] + length for p, length in before[i]), default=0.0)
        ready = max([ready, *(last[r] for r in events.resources[i] if r in last)])
        when = _first_fit(ready, events.held_s[i], period, [taken.get(r, []) for r in events.resources[i]])
        if when is None:
            return None
        at[i] = when
        for r in events.resources[i]:
            taken.setdefault(r, []).append((when % period, events.held_s[i]))
            last[r] = when
    orders: dict[str, tuple[Slot, ...]] = {}
    rank = topological_rank(events)
    for r, members in by_resource(events).items():
        base = min(at[i] for i in members)
        ranked = sorted(members, key=lambda i: ((at[i] - base) % period, at[i], rank[i]))
        orders[r] = tuple(Slot(events.names[i], math.floor((at[i] - base) / period + _EPSILON)) for i in ranked)
    return orders


def _first_fit(
    ready: float, duration: float, period: float, taken: Sequence[Sequence[tuple[float, float]]]
) -> float | None:
    """First time from ``ready`` at which [time, time + duration) modulo the period is free in all tables."""
    edges = [ready]
    for table in taken:
        for offset, length in table:
            end = (offset + length) % period
            edges.append(ready + (end - ready) % period)
    for when in sorted(edges):
        phase = when % period
        if all(
            (
                (offset - phase) % period >= duration - _EPSILON * period
                and (phase - offset) % period >= length - _EPSILON * period
            )
            or duration <= 0
            or length <= 0
            for table in taken
            for offset, length in table
        ):
            return when
    return None


def fit_memory(problem: Problem, schedule: Schedule, events: Events) -> Schedule:
    """Where a board's RAM is overfull, order its operators anew; then give up depth there, dearest tensor first."""
    depths = [t.depth for t in schedule.transfers]
    reordered = False
    while True:
        use = memory_use(problem, schedule)
        full = {name for name, m in use.items() if m.ram_bytes > m.ram_available_bytes}
        if full and not reordered:
            schedule, reordered = with_lowest_peaks(problem, schedule, full), True
            continue
        candidates = [i for i, t in enumerate(schedule.transfers) if depths[i] > 1 and full.intersection(t.boards)]
        if not candidates:
            return schedule

        depths[min(candidates, key=partial(_price, events, schedule, depths))] -= 1
        schedule = replace(schedule, transfers=with_depths(schedule.transfers, depths))


def _price(events: Events, schedule: Schedule, depths: Sequence[int], transfer: int) -> tuple[float, int]:
    """Period with one buffer less for a transfer; larger tensors first among equals."""
    trial = [d - (i == transfer) for i, d in enumerate(depths)]
    arcs = data_arcs(events) + order_arcs(events, schedule.orders) + depth_arcs(events, trial)
    return maximum_cycle_ratio(len(events.names), arcs), -schedule.transfers[transfer].size_bytes
