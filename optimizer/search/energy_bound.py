"""A lower bound on the energy of contiguous plans over boards that may stay unused.

For a set of used boards the idle power I of all processors that count is known, and

    energy >= sum over processors of (active energy - idle power * busy time) + links + I * T.

The interval T is at least the least period, and at least the busy time of every processor, so at least any average of
them with weights that add up to 1. That leaves a cost an operator and processor, whose least sum is found by dynamic
programming along the trunk of the graph (see ``latency_bound``): on one processor all operators between two of the
trunk run there as well, between two processors some path is cut. The weights are raised by a few steps along what the
plan that is least for them keeps busy; the bound is that of the worst set of boards.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from optimizer.graph import successors
from optimizer.problem import Problem
from optimizer.search.latency_bound import Ways

__all__ = ["energy_bound"]

_MAX_PROCESSORS = 8
_MAX_SETS = 256
_MOST_STEPS = 40
"""Of the weights, for one set of boards."""
_MOST_ROUNDS = 200
_FIRST_WEIGHT, _EVEN, _RATE = 0.97, 0.003, 3.0
"""How the weights move; found on the zoo. Bounds hold for any."""
_ROUNDING = 1e-9
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def energy_bound(problem: Problem, period_s: float, known_j: float, deadline: float) -> float | None:
    """Joules that every plan needs at least; the search ends at ``known_j`` or with the time.

    ``period_s`` is proven: no plan has a shorter period. None where the processors or the sets of boards are too
    many, a link occupies processors, no operator is on every way, or there is no plan at all.
    """
    if (
        math.isinf(period_s)
        or len(problem.processors) > _MAX_PROCESSORS
        or problem.non_contiguous
        or not _applies(problem)
    ):
        return None
    trunk = _Trunk.of(problem)
    if trunk is None:
        return None
    sets = [_Set(problem, trunk, used, _interval_s(problem, period_s)) for used in _board_sets(problem)]
    sets = [s for s in sets if len(s.processors)]
    if not sets or len(sets) > _MAX_SETS:
        return None
    for one in sets:
        one.step()
    for _ in range(_MOST_ROUNDS):
        if time.monotonic() > deadline:
            break
        least = min(sets, key=lambda s: s.bound_j)
        if least.bound_j >= known_j or least.steps >= _MOST_STEPS:
            break
        least.step()
    least_j = min(s.bound_j for s in sets)
    return least_j * (1 - _ROUNDING) if math.isfinite(least_j) else None


def _applies(problem: Problem) -> bool:
    """Whether no hop takes idle time from a processor without adding at least as much active energy."""
    return all(link.overlap for link in problem.links) and all(
        r.processor.active_power_w >= r.processor.idle_power_w for r in problem.processors
    )


def _interval_s(problem: Problem, period_s: float) -> tuple[float, bool]:
    """Seconds between frames at least, and whether it is just so."""
    rate = problem.limits.rate_per_s
    return (period_s, False) if rate is None else (1.0 / rate, True)


def _board_sets(problem: Problem) -> list[frozenset[str]]:
    ends = {problem.system.source, problem.system.sink}
    free = sorted({ref.board.name for ref in problem.processors} - ends)
    return [frozenset(ends | set(c)) for r in range(len(free) + 1) for c in itertools.combinations(free, r)]


@dataclass(frozen=True)
class _Stretch:
    """What lies between two operators of the trunk: one path, each tensor with its reader, and the rest."""

    path: tuple[tuple[int, int], ...]
    """(tensor, operator that takes it), the last one of the trunk."""
    members: tuple[int, ...]
    """All operators between the two."""
    beside: tuple[int, ...]
    """Those not on the path."""


@dataclass(frozen=True)
class _Trunk:
    """The graph along its trunk. Arrays are (q, q) joules of a tensor's hops by the processors at both ends."""

    first: int
    before: tuple[int, ...]
    stretches: tuple[_Stretch, ...]
    behind: tuple[int, ...]
    inputs: tuple[int, ...]
    """Tensors that the first one takes from the source."""
    outputs: tuple[int, ...]
    """Tensors that the last one makes for the sink."""

    @classmethod
    def of(cls, problem: Problem) -> _Trunk | None:
        ways = Ways(problem)
        trunk = ways.trunk()
        if not trunk:
            return None
        graph = problem.graph
        after = successors(graph)
        stretches = []
        for u, v in itertools.pairwise(trunk):
            members = ways.members(ways.behind[u] & ways.before[v])
            path = _longest_path(problem, after, u, v, members)
            on_path = {reader for _, reader in path}
            stretches.append(_Stretch(path, tuple(members), tuple(w for w in members if w not in on_path)))
        inside = set(trunk).union(*(s.members for s in stretches))
        outside = [w for w in range(len(graph.operators)) if w not in inside]
        before = tuple(w for w in outside if ways.behind[w] >> trunk[0] & 1)
        return cls(
            trunk[0],
            before,
            tuple(stretches),
            tuple(w for w in outside if w not in before),
            tuple(t for t in dict.fromkeys(graph.operators[trunk[0]].inputs) if graph.tensors[t].producer is None),
            tuple(t for t in graph.outputs if graph.tensors[t].producer == trunk[-1]),
        )


def _longest_path(
    problem: Problem, after: Sequence[Sequence[int]], u: int, v: int, members: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The path from u to v with the most operators, as (tensor, reader)."""
    length = {v: 0}
    step: dict[int, int] = {}
    for w in [*reversed(members), u]:
        nearest = max((c for c in after[w] if c in length), key=lambda c: length[c])
        length[w], step[w] = length[nearest] + 1, nearest
    path = []
    while u != v:
        reader = step[u]
        tensor = next(t for t in problem.graph.operators[u].outputs if reader in problem.graph.tensors[t].consumers)
        path.append((tensor, reader))
        u = reader
    return tuple(path)


@dataclass
class _Set:
    """One set of used boards: its weights and the best bound so far."""

    problem: Problem
    trunk: _Trunk
    used: frozenset[str]
    interval: tuple[float, bool]
    bound_j: float = 0.0
    steps: int = 0
    processors: Indices = field(init=False)
    weights: Floats = field(init=False)
    """(k + 1,) of the busy times, and of the least interval."""

    def __post_init__(self) -> None:
        refs = self.problem.processors
        counted = [r for r in refs if r.board.name in self.used or not r.board.removable]
        self.idle_w = sum(r.processor.idle_power_w for r in counted)
        self.processors = np.array([i for i, r in enumerate(refs) if r.board.name in self.used], dtype=np.int64)
        tables = self.problem.tables
        k = len(self.processors)
        self.time_s = tables.time_s[:, self.processors]
        idle = np.array([refs[i].processor.idle_power_w for i in self.processors])
        self.beside_w = np.array([refs[i].processor.active_power_w for i in self.processors]) - idle
        energy = tables.energy_j[:, self.processors] - idle * self.time_s
        self.energy_j = np.where(tables.allowed[:, self.processors], energy, np.inf)
        self.weights = np.append(np.zeros(k), 1.0)
        self.hops = {t: self._hops(t) for s in self.trunk.stretches for t, _ in s.path}
        self.grown = _grown(k)

    def _hops(self, t: int) -> tuple[Floats, Floats]:
        """(k, k) joules over links, and bytes of the tensor by its maker."""
        boards = [self.problem.processors[i].board.name for i in self.processors]
        size = self.problem.tables.tensor_bytes[t, self.processors].astype(np.float64)
        over = [[self._link_j(a, b, int(size[i])) for b in boards] for i, a in enumerate(boards)]
        return np.array(over), size

    def _link_j(self, a: str, b: str, size: int) -> float:
        route = self.problem.system.route(a, b)
        if route is None:
            return math.inf
        links = [self.problem.links[i] for i in route]
        if any(x.target in self.problem.board_index and x.target not in self.used for x in links):
            return math.inf  # it would be used as a relay
        return sum(x.wire_bytes(size) * x.energy_j_per_byte for x in links)

    def step(self) -> None:
        """The bound for the weights of now, and better weights."""
        least_s, fixed = self.interval
        k = len(self.processors)
        joules, busy_s = _least(self, self.energy_j + self.idle_w * self.weights[:k] * self.time_s)
        value = joules + self.idle_w * float(self.weights[k]) * least_s
        self.bound_j = max(self.bound_j, value)
        self.steps += _MOST_STEPS if fixed or not math.isfinite(value) or self.idle_w <= 0 else 1
        self.weights = self._moved(np.append(busy_s, least_s))

    def _moved(self, seconds: Floats) -> Floats:
        """The weights, at first almost all on what is busiest, then a step towards it in proportion."""
        even, worst = np.full(len(seconds), 1 / len(seconds)), float(seconds.max())
        if worst <= 0:
            return self.weights
        if self.steps == 1:
            first: Floats = (1 - _FIRST_WEIGHT) * even
            first[int(np.argmax(seconds))] += _FIRST_WEIGHT
            return first
        held = (1 - _EVEN) * self.weights + _EVEN * even
        moved: Floats = held * np.exp(_RATE / math.sqrt(self.steps) * (seconds / worst - 1.0))
        moved /= moved.sum()
        return moved


def _grown(k: int) -> list[tuple[Indices, Indices]]:
    """By processor: sets of processors without it, and the same sets with it."""
    sets = np.arange(1 << k)
    return [(without := sets[sets >> q & 1 == 0], without | 1 << q) for q in range(k)]


def _least(s: _Set, cost: Floats) -> tuple[float, Floats]:
    """The least sum of costs of a plan, and about how long it keeps each processor busy."""
    trunk, k = s.trunk, len(s.processors)
    problem = s.problem
    watts = s.beside_w + s.idle_w * s.weights[:k]
    segment_j = watts * problem.tables.segment_s[s.processors]
    byte_j = watts * problem.tables.boundary_s_per_byte[s.processors]
    names = [problem.processors[i].board.name for i in s.processors]
    sizes = problem.tables.tensor_bytes[:, s.processors]
    come = [
        sum(s._link_j(problem.system.source, b, int(sizes[t, i])) for t in trunk.inputs) for i, b in enumerate(names)
    ]
    go = [sum(s._link_j(b, problem.system.sink, int(sizes[t, i])) for t in trunk.outputs) for i, b in enumerate(names)]
    base, busy = _free(s, cost, [*trunk.before, *trunk.behind])
    rows = 1 << k
    best = np.full((rows, k), np.inf)
    best[1 << np.arange(k), np.arange(k)] = cost[trunk.first] + segment_j + np.array(come)
    spent = np.zeros((rows, k, k))
    spent[:, np.arange(k), np.arange(k)] += s.time_s[trunk.first]
    numbers = np.arange(k)
    for stretch in trunk.stretches:
        between, seconds = _between(s, cost, stretch, segment_j, byte_j)
        after = best + between.diagonal()
        after_spent = spent + seconds[numbers, numbers]
        for q, (without, with_q) in enumerate(s.grown):
            others = best[without] + between[:, q]
            origin = np.argmin(others, axis=1)
            value = others[np.arange(len(without)), origin]
            better = value < after[with_q, q]
            after[with_q[better], q] = value[better]
            after_spent[with_q[better], q] = spent[without[better], origin[better]] + seconds[origin[better], q]
        best, spent = after, after_spent
    total = best + np.array(go)
    state, last = np.unravel_index(int(np.argmin(total)), total.shape)
    return base + float(total[state, last]), busy + spent[state, last]


def _free(s: _Set, cost: Floats, operators: Sequence[int]) -> tuple[float, Floats]:
    """Each operator where it costs least."""
    rows = list(operators)
    where = np.argmin(cost[rows], axis=1) if rows else np.zeros(0, dtype=np.int64)
    busy = np.bincount(where, s.time_s[rows, where], minlength=len(s.processors)) if rows else np.zeros(cost.shape[1])
    return float(cost[rows, where].sum()), busy.astype(np.float64)


def _between(s: _Set, cost: Floats, stretch: _Stretch, segment_j: Floats, byte_j: Floats) -> tuple[Floats, Floats]:
    """(k, k) least joules from one trunk operator's processor to the next one's, that one included, and (k, k, k)
    seconds by processor."""
    k = cost.shape[1]
    numbers = np.arange(k)
    way = np.where(np.eye(k, dtype=np.bool_), 0.0, np.inf)
    spent = np.zeros((k, k, k))
    for t, reader in stretch.path:
        over, size = s.hops[t]
        cut = over + (size * byte_j)[:, None] + size[:, None] * byte_j
        hop = np.where(np.eye(k, dtype=np.bool_), 0.0, cut) + cost[reader]
        options = way[:, :, None] + hop
        middle = np.argmin(options, axis=1)
        way = np.take_along_axis(options, middle[:, None, :], axis=1)[:, 0, :]
        spent = spent[numbers[:, None], middle]
        spent[:, numbers, numbers] += s.time_s[reader]
    beside_j, beside_s = _free(s, cost, stretch.beside)
    way, spent = way + beside_j + segment_j, spent + beside_s  # the next one opens the segment of its processor
    last = stretch.path[-1][1]
    inside = [*stretch.members, last]
    way[numbers, numbers] = cost[inside].sum(axis=0)
    spent[numbers, numbers] = 0.0
    spent[numbers, numbers, numbers] = s.time_s[inside].sum(axis=0)
    return way, spent
