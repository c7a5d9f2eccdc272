"""A complete schedule for segments with replicas: lists with stages for whole turns, and buffer depths.

One list a resource says the turn's work for every frame; a frame that another replica serves is skipped. So the
lists are made for one frame in which everything that differs from frame to frame takes its longest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optimizer.cycle_ratio import has_deadlock, maximum_cycle_ratio, violated_cycle
from optimizer.evaluate import Schedule, data_arcs, depth_arcs, order_arcs, resource_occupancy_s
from optimizer.events import Events, build_events, build_transfers
from optimizer.list_schedule import frame_alone, frame_by_frame, sequence, topological_rank
from optimizer.plan import Segment, Slot, Transfer
from optimizer.problem import Problem
from optimizer.schedule import complete, fit_memory, never_runs, unbuffered_period_s, with_depths

__all__ = ["complete_replicated"]

Orders = dict[str, tuple[Slot, ...]]
_EPSILON = 1e-9
_SLACKS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Periods by which data may come earlier than needed: more lets the lists run freely and costs buffers."""
_FACTORS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
_MAX_STEPS = 400


def complete_replicated(problem: Problem, segments: Sequence[Segment]) -> Schedule:
    """``complete()`` for segments with or without replicas. Raises UnroutableError."""
    if not any(s.replicas for s in segments):
        return complete(problem, segments)
    transfers = build_transfers(problem, segments)
    events = build_events(problem, segments, transfers)
    turn = _Turn.of(events)
    schedule = _buffered(problem, segments, transfers, events, _best_orders(turn))
    if never_runs(events, schedule):
        schedule = _buffered(problem, segments, transfers, events, _flat(turn))
    return schedule


def _buffered(
    problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer], events: Events, orders: Orders
) -> Schedule:
    depths = _depths(events, orders, transfers)
    return fit_memory(problem, Schedule(tuple(segments), with_depths(transfers, depths), orders), events)


@dataclass(frozen=True)
class _Turn:
    """``one``: a frame in which every activity of any frame happens, on all its resources, as long as ever."""

    events: Events
    one: Events
    durations: Mapping[tuple[int, str], Mapping[int, float]]
    """Seconds by frame of the turn, by activity of ``one`` and resource."""

    @classmethod
    def of(cls, events: Events) -> _Turn:
        one = _united(events.alone)
        durations: dict[tuple[int, str], dict[int, float]] = {}
        for frame, alone in enumerate(events.alone):
            for name, seconds, resources in zip(alone.names, alone.held_s, alone.resources, strict=True):
                for r in resources:
                    durations.setdefault((one.index[name], r), {})[frame] = seconds
        return cls(events, one, durations)

    @property
    def floor_s(self) -> float:
        return max(resource_occupancy_s(self.events).values(), default=0.0)

    def step(self, resource: str) -> int:
        """The resource serves every so manieth frame, whatever it does; 1 where it does different things."""
        sets = {tuple(sorted(found)) for (_, r), found in self.durations.items() if r == resource}
        if len(sets) != 1:
            return 1
        (served,) = sets
        step = self.events.frames // len(served)
        return step if served == tuple(range(served[0] % step, self.events.frames, step)) else 1


def _united(alone: Sequence[Events]) -> Events:
    index: dict[str, int] = {}
    for events in alone:
        for name in events.names:
            index.setdefault(name, len(index))
    duration, compute, held = [0.0] * len(index), [0.0] * len(index), [0.0] * len(index)
    resources: list[dict[str, None]] = [{} for _ in index]
    arcs: dict[tuple[int, int], float] = {}
    depth: dict[tuple[int, int], float] = {}
    for events in alone:
        place = [index[name] for name in events.names]
        for i, at in enumerate(place):
            duration[at] = max(duration[at], events.duration_s[i])
            compute[at] = max(compute[at], events.compute_s[i])
            held[at] = max(held[at], events.held_s[i])
            resources[at] |= dict.fromkeys(events.resources[i])
        for i, j, lag in events.arcs:
            arcs[place[i], place[j]] = max(lag, arcs.get((place[i], place[j]), 0.0))
        for i, j, lag, _ in events.depth_arcs:
            depth[place[i], place[j]] = max(lag, depth.get((place[i], place[j]), 0.0))
    return Events(
        names=tuple(index),
        duration_s=tuple(duration),
        resources=tuple(tuple(r) for r in resources),
        arcs=tuple((i, j, lag) for (i, j), lag in arcs.items()),
        depth_arcs=tuple((i, j, lag, 0) for (i, j), lag in depth.items()),
        compute_s=tuple(compute),
        held_s=tuple(held),
        index=index,
    )


def _best_orders(turn: _Turn) -> Orders:
    """The lists with the shortest period of those tried; of equals the one that needs the fewest frames at once."""
    best, shortest = _flat(turn), math.inf
    for orders in _candidates(turn):
        if _stuck(turn.events, orders):
            continue
        period = unbuffered_period_s(turn.events, orders) / turn.events.frames
        if period < shortest * (1 - _EPSILON):
            best, shortest = orders, period
        if shortest <= turn.floor_s * (1 + _EPSILON):
            break
    return best


def _candidates(turn: _Turn) -> Iterator[Orders]:
    starts = frame_alone(turn.one)
    for slack in _SLACKS:
        yield _staged(turn, starts, slack * turn.floor_s)
    if any(len(r) > 1 for events in turn.events.alone for r in events.resources):
        for factor in _FACTORS:
            orders = _modulo(turn, starts, turn.floor_s * factor)
            if orders is not None:
                yield orders
    yield _flat(turn)


def _flat(turn: _Turn) -> Orders:
    return frame_by_frame(turn.one, frame_alone(turn.one))


def _stuck(events: Events, orders: Orders) -> bool:
    return has_deadlock(len(events.names), data_arcs(events) + order_arcs(events, orders))


def _before(one: Events) -> list[list[tuple[int, float]]]:
    before: list[list[tuple[int, float]]] = [[] for _ in one.names]
    for i, j, lag in one.arcs:
        before[j].append((i, one.duration_s[i] + lag))
    return before


def _staged(turn: _Turn, starts: Sequence[float], slack_s: float) -> Orders:
    """Every resource serves its entries back to back, each in the first turn that is ``slack_s`` behind its data."""
    one, period = turn.one, turn.floor_s
    before = _before(one)
    at = [0.0] * len(starts)
    rings: dict[str, _Ring] = {}
    slots: dict[str, list[Slot]] = {}
    for i in sequence(one, starts):
        when = max((at[p] + length + slack_s for p, length in before[i]), default=0.0)
        for r in one.resources[i]:
            if r not in rings:
                rings[r] = _Ring(turn.step(r), period)
            when = rings[r].earliest(when)
        at[i] = when
        for r in one.resources[i]:
            seconds = turn.durations[i, r].values()
            share = max(seconds) if rings[r].step > 1 else sum(seconds) / turn.events.frames
            slots.setdefault(r, []).append(Slot(one.names[i], rings[r].take(when, share)))
    return {r: tuple(entries) for r, entries in slots.items()}


class _Ring:
    """What a resource does in a turn of its own, ``step`` frames long."""

    def __init__(self, step: int, period_s: float) -> None:
        self.step, self.length_s = step, step * period_s
        self.origin_s: float | None = None
        self.used_s = 0.0

    def earliest(self, ready_s: float) -> float:
        if self.origin_s is None:
            return ready_s
        return self.origin_s + self.used_s + max(0, self._turns(ready_s, up=True)) * self.length_s

    def _turns(self, when_s: float, *, up: bool) -> int:
        if self.origin_s is None or self.length_s <= 0:
            return 0
        turns = (when_s - self.origin_s - self.used_s) / self.length_s
        return math.ceil(turns - _EPSILON) if up else round(turns)

    def take(self, when_s: float, seconds: float) -> int:
        """The stage of an entry that starts then, in frames."""
        if self.origin_s is None:
            self.origin_s = when_s
        stage = max(0, self._turns(when_s, up=False)) * self.step
        self.used_s += seconds
        return stage


def _modulo(turn: _Turn, starts: Sequence[float], period: float) -> Orders | None:
    """Every activity at the first time at which all its resources are free in each frame of the turn."""
    if period <= 0:
        return None
    one, length = turn.one, period * turn.events.frames
    before, rank = _before(one), topological_rank(one)
    taken: dict[str, list[tuple[float, float]]] = {}
    last: dict[str, float] = {}
    at = [0.0] * len(starts)
    for i in sequence(one, starts):
        ready = max((at[p] + seconds for p, seconds in before[i]), default=0.0)
        ready = max([ready, *(last[r] for r in one.resources[i] if r in last)])
        wanted = [
            (frame * period, seconds, taken.get(r, []))
            for r in one.resources[i]
            for frame, seconds in turn.durations[i, r].items()
        ]
        edges = {ready} | {
            ready + ((offset + busy - shift) - ready) % length for shift, _, table in wanted for offset, busy in table
        }
        when = next((w for w in sorted(edges) if all(_free(w + s, d, t, length) for s, d, t in wanted)), None)
        if when is None:
            return None
        at[i] = when
        for r in one.resources[i]:
            last[r] = when
            for frame, seconds in turn.durations[i, r].items():
                taken.setdefault(r, []).append(((when + frame * period) % length, seconds))
    orders: Orders = {}
    for r in taken:
        members = [i for i, resources in enumerate(one.resources) if r in resources]
        base = min(at[i] for i in members)
        members.sort(key=lambda i: ((at[i] - base) % period, at[i], rank[i]))
        orders[r] = tuple(Slot(one.names[i], math.floor((at[i] - base) / period + _EPSILON)) for i in members)
    return orders


def _free(when: float, seconds: float, table: Sequence[tuple[float, float]], length: float) -> bool:
    """Whether [when, when + seconds) modulo ``length`` meets nothing in the table."""
    phase, tolerance = when % length, _EPSILON * length
    return seconds <= 0 or all(
        busy <= 0
        or ((offset - phase) % length >= seconds - tolerance and (phase - offset) % length >= busy - tolerance)
        for offset, busy in table
    )


def _depths(events: Events, orders: Orders, transfers: Sequence[Transfer]) -> list[int]:
    """Depths that keep the period of unlimited depth: deeper along each cycle in the way, then trimmed, dearest first.

    No transfer can do with less, the others as they are; the total need not be the least.
    """
    nodes, fixed = len(events.names), data_arcs(events) + order_arcs(events, orders)
    depths = [1] * len(transfers)
    floor = max(resource_occupancy_s(events).values(), default=0.0) * events.frames
    target = maximum_cycle_ratio(nodes, fixed, at_least=floor) * (1 + _EPSILON)
    if not 0 < target < math.inf:
        return depths
    costs = [t.size_bytes * len(t.boards) for t in transfers]
    for _ in range(_MAX_STEPS):
        arcs = fixed + depth_arcs(events, depths)
        cycle = violated_cycle(nodes, arcs, target)
        if cycle is None:
            break
        held = {events.depth_arcs[a - len(fixed)][3] for a in cycle if a >= len(fixed)}
        if not held:
            break
        depths[min(held, key=lambda t: (costs[t] * depths[t], -t))] += 1
    for t in sorted(range(len(transfers)), key=lambda t: -costs[t]):
        while depths[t] > 1:
            depths[t] -= 1
            if not _keeps(nodes, fixed + depth_arcs(events, depths), target):
                depths[t] += 1
                break
    return depths


def _keeps(nodes: int, arcs: Sequence[tuple[int, int, float, int]], target: float) -> bool:
    return not has_deadlock(nodes, arcs) and violated_cycle(nodes, arcs, target) is None
