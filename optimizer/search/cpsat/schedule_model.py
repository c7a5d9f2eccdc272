"""Whether segments have a schedule at all that keeps a period, a latency and a memory: cyclic lists and depths.

Lists with stages that allow a period T are the same as start times of one frame such that no two activities of a
resource meet modulo T: an entry's stage is its turn, its position its phase. The integer ``turns`` of a pair say how
often T fits between the two; their sign is who comes first when a frame runs alone, so the latency hangs on the same
variables. Turns and depths are the frames on the arcs of the event graph, and a cycle of it that takes longer than
its frames allow is an inequality in them: such cycles are added as they are found, until the answer holds or there
is none. That part works with the durations as they are; the frame alone floors them and ceils the limit, so "no" is
a proof, and what comes back is scored by ``evaluate()``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from optimizer.cycle_ratio import Arc, stuck_cycle, violated_cycle
from optimizer.events import Events
from optimizer.plan import Slot, Transfer
from optimizer.search.cpsat.scale import Expression
from optimizer.search.cpsat.solver import Budget, make_solver, run

__all__ = ["ScheduleFound", "ScheduleLimits", "find_schedule"]

_UNITS = 1e9
"""Units of the latency of a frame alone."""
_EPSILON = 1e-9
_MAX_PAIRS = 4000
"""Pairs of activities on a resource beyond which the question is left open."""
_CYCLES_A_ROUND = 8


@dataclass(frozen=True)
class ScheduleLimits:
    """What a schedule must keep; inf where there is no limit.

    ``room_bytes``: by board, what is left for buffers beside arenas and weights.
    """

    period_s: float
    latency_s: float
    room_bytes: Mapping[str, int]


@dataclass(frozen=True)
class ScheduleFound:
    """``depths`` by transfer position."""

    orders: dict[str, tuple[Slot, ...]]
    depths: tuple[int, ...]


def find_schedule(
    events: Events, transfers: Sequence[Transfer], limits: ScheduleLimits, budget: Budget, seconds: float
) -> tuple[ScheduleFound | None, bool]:
    """A schedule within the limits; without one, whether it is proven that there is none."""
    model = _Model(events, transfers, limits)
    if len(model.pairs) > _MAX_PAIRS:
        return None, False
    model.build()
    deadline = budget.clock.now() + seconds
    while True:
        solver = make_solver(budget, max(0.02, deadline - budget.clock.now()))
        status = run(solver, model.model, budget.clock)
        if status == cp_model.INFEASIBLE:
            return None, True
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None, False
        if not model.add_cycles(solver):
            return model.schedule(solver), False
        if budget.clock.now() > deadline or budget.clock.interrupted:
            return None, False


@dataclass(frozen=True)
class _CountedArc:
    """An arc of the event graph whose frames are an expression of the model."""

    source: int
    target: int
    length_s: float
    frames: Expression


class _Model:
    """Activities and transfers by position."""

    def __init__(self, events: Events, transfers: Sequence[Transfer], limits: ScheduleLimits) -> None:
        self.events, self.transfers, self.limits = events, transfers, limits
        lags = [lag for _, _, lag in events.arcs] + [lag for _, _, lag, _ in events.depth_arcs]
        self.work_s = max(1e-12, 1.01 * (math.fsum(events.held_s) + math.fsum(lags)))
        """More than one frame alone takes in any order: as a period or a latency, no limit at all."""
        self.period_s = min(limits.period_s, self.work_s)
        self.latency_s = min(limits.latency_s, self.work_s)
        self.alone_counts = self.latency_s < self.work_s or self.period_s >= self.work_s
        self.members: dict[str, list[int]] = {}
        for i, resources in enumerate(events.resources):
            for r in resources:
                self.members.setdefault(r, []).append(i)
        pairs = {pair for members in self.members.values() for pair in itertools.combinations(members, 2)}
        self.pairs = sorted(pairs)
        self.model = cp_model.CpModel()

    def build(self) -> None:
        self.ways = _longest_ways(self.events)
        # Start times further apart than all work and a period an activity could be moved together by whole periods.
        most = math.ceil(self.work_s / self.period_s) + len(self.events.names) + 1
        self.turns = {pair: self.model.new_int_var(*self._turns_between(*pair, most), "") for pair in self.pairs}
        self._add_triangles()
        self._add_depths(most)
        self.arcs = list(self._arcs())
        if self.alone_counts:
            self._add_frame_alone()

    def _turns_between(self, i: int, j: int, most: int) -> tuple[int, int]:
        """What the ways of a frame from one to the other leave open."""
        low, high = -most, most
        if self.period_s >= self.work_s:
            low, high = -1, 0
        there, back = self.ways[i].get(j), self.ways[j].get(i)
        if there is not None:
            low = max(low, self._frames(there + self.events.held_s[j]) - 1)
        if back is not None:
            high = min(high, -self._frames(back + self.events.held_s[i]))
        return low, max(low, high)

    def _frames(self, seconds: float) -> int:
        """The least frames that a cycle of so many seconds must hold."""
        return max(1, math.ceil(seconds / self.period_s * (1 - _EPSILON) - _EPSILON))

    def _turn(self, i: int, j: int) -> Expression:
        """Frames that may start between i and j; for the pair turned round, one less and negative."""
        return self.turns[i, j] if i < j else -self.turns[j, i] - 1

    def _add_triangles(self) -> None:
        held = self.events.held_s
        for members in self.members.values():
            for i, j, k in itertools.combinations(members, 3):
                needed = held[i] + held[j] + held[k]
                if needed > 0:
                    through = self._turn(i, j) + self._turn(j, k)
                    self.model.add(self._turn(i, k) >= through + self._frames(needed) - 1)
                    self.model.add(self._turn(i, k) <= through + 2 - self._frames(needed))

    def _add_depths(self, most: int) -> None:
        self.depth = [self.model.new_int_var(1, most + 1, "") for _ in self.transfers]
        for end, taker, lag, t in self.events.depth_arcs:
            way = self.ways[taker].get(end, 0.0 if taker == end else None)
            if way is not None:
                self.model.add(self.depth[t] >= self._frames(way + self.events.duration_s[end] + lag))
        for name, room in self.limits.room_bytes.items():
            held = [(d, t.size_bytes) for d, t in zip(self.depth, self.transfers, strict=True) if name in t.boards]
            self.model.add(sum(size * d for d, size in held) <= room)

    def _arcs(self) -> Iterator[_CountedArc]:
        duration, held = self.events.duration_s, self.events.held_s
        for i, j, lag in self.events.arcs:
            yield _CountedArc(i, j, duration[i] + lag, 0)
        for i, j, lag, t in self.events.depth_arcs:
            yield _CountedArc(i, j, duration[i] + lag, self.depth[t])
        for (i, j), turns in self.turns.items():
            yield _CountedArc(i, j, held[i], -turns)
            yield _CountedArc(j, i, held[j], turns + 1)

    def _add_frame_alone(self) -> None:
        """Start times of a frame alone, which ends within the latency; every resource serves one at a time."""
        model, per_second = self.model, _UNITS / self.latency_s
        held = [math.floor(h * per_second) for h in self.events.held_s]
        end = math.ceil(_UNITS * (1 + _EPSILON))
        last = [math.floor(d * per_second) for d in self.events.duration_s]
        for i, _, lag, _ in self.events.depth_arcs:
            last[i] = max(last[i], math.floor((self.events.duration_s[i] + lag) * per_second))
        alone = [model.new_int_var(0, max(0, end), "") for _ in held]
        for start, length in zip(alone, last, strict=True):
            model.add(start + length <= end)
        for i, j, lag in self.events.arcs:
            model.add(alone[j] >= alone[i] + math.floor((self.events.duration_s[i] + lag) * per_second))
        for (i, j), turns in self.turns.items():
            first = model.new_bool_var("")
            model.add(turns >= 0).only_enforce_if(first)
            model.add(turns <= -1).only_enforce_if(~first)
            model.add(alone[j] >= alone[i] + held[i]).only_enforce_if(first)
            model.add(alone[i] >= alone[j] + held[j]).only_enforce_if(~first)
        for members in self.members.values():
            model.add_no_overlap([model.new_fixed_size_interval_var(alone[i], held[i], "") for i in members])

    def add_cycles(self, solver: cp_model.CpSolver) -> bool:
        """Ask of the cycles that a solution breaks that they hold enough frames; False where there is none."""
        nodes, allowed = len(self.events.names), self.period_s * (1 + _EPSILON)
        left = list(self.arcs)
        for found in range(_CYCLES_A_ROUND):
            arcs: list[Arc] = [(a.source, a.target, a.length_s, solver.value(a.frames)) for a in left]
            cycle = violated_cycle(nodes, arcs, allowed) or stuck_cycle(nodes, arcs)
            if cycle is None:
                return found > 0
            on = [left[a] for a in cycle]
            needed = self._frames(math.fsum(a.length_s for a in on))
            if sum(solver.value(a.frames) for a in on) >= needed:
                return found > 0  # only rounding is left
            self.model.add(sum(a.frames for a in on) >= needed)
            gone = {id(a) for a in on if not isinstance(a.frames, int)}
            left = [a for a in left if id(a) not in gone]
        return True

    def schedule(self, solver: cp_model.CpSolver) -> ScheduleFound:
        """Lists of the start times that a solution allows, and the depths they need."""
        start = _earliest(len(self.events.names), [(a, solver.value(a.frames)) for a in self.arcs], self.period_s)
        orders = {}
        for resource, members in self.members.items():
            first = members[0]
            turn = {j: 0 if j == first else solver.value(self._turn(first, j)) for j in members}
            phase = {j: start[j] - turn[j] * self.period_s for j in members}
            ranked = sorted(members, key=lambda j: (j != first, phase[j], start[j]))
            base = min(turn.values())
            orders[resource] = tuple(Slot(self.events.names[j], turn[j] - base) for j in ranked)
        depths = [1] * len(self.transfers)
        for i, j, lag, t in self.events.depth_arcs:
            frames = (start[i] + self.events.duration_s[i] + lag - start[j]) / self.period_s
            depths[t] = max(depths[t], math.ceil(frames - 2 * _EPSILON))
        return ScheduleFound(orders, tuple(depths))


def _longest_ways(events: Events) -> list[dict[int, float]]:
    """By activity: seconds from its start to the earliest start of each activity behind it in the same frame."""
    after: list[list[tuple[int, float]]] = [[] for _ in events.names]
    waiting = [0] * len(after)
    for i, j, lag in events.arcs:
        after[i].append((j, events.duration_s[i] + lag))
        waiting[j] += 1
    order = [i for i, count in enumerate(waiting) if count == 0]
    for i in order:
        for j, _ in after[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                order.append(j)
    ways: list[dict[int, float]] = [{} for _ in events.names]
    for i in reversed(order):
        for j, length in after[i]:
            for k, way in [(j, 0.0), *ways[j].items()]:
                ways[i][k] = max(ways[i].get(k, 0.0), length + way)
    return ways


def _earliest(nodes: int, arcs: Sequence[tuple[_CountedArc, int]], period_s: float) -> list[float]:
    """Earliest start times that keep all arcs (of which no cycle is too long)."""
    start = [0.0] * nodes
    for _ in range(nodes + 1):
        changed = False
        for arc, frames in arcs:
            ready = start[arc.source] + arc.length_s - frames * period_s
            if ready > start[arc.target] + _EPSILON * period_s:
                start[arc.target] = ready
                changed = True
        if not changed:
            break
    return start
