"""A lower bound on the latency, and plans near it: dynamic programming along the trunk of the graph.

The trunk are the operators that every way from input to output passes. Between two of them on one processor all
operators between run there as well, one after the other, where plans are contiguous: a segment that is left is not
come back to. Between two on different processors at least the longest path passes, each of its operators and hops at
its best. Hops that wait for each other are left out: real plans only take longer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors, successors
from optimizer.problem import Problem
from optimizer.search.pool import Assignment

__all__ = ["LatencyBound", "Ways", "latency_bound"]

_MAX_PROCESSORS = 16
_MAX_SETS = 8
"""Up to so many processors it is kept which of them have been left: none of those is come back to."""
_ROUNDING = 1e-9
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LatencyBound:
    """``bound_s``: no plan has a smaller latency. ``assignments``: (n,) processors by operator, worth a look."""

    bound_s: float
    assignments: tuple[Assignment, ...]


def latency_bound(problem: Problem) -> LatencyBound | None:
    """None where the processors are too many to compare each with each, or no operator is on every way."""
    count = len(problem.processors)
    if count > _MAX_PROCESSORS:
        return None
    ways = Ways(problem)
    trunk = ways.trunk()
    if not trunk:
        return None
    states = _visits(count, once=not problem.non_contiguous)
    best = np.full((len(states.seen), count), np.inf)
    best[states.first, np.arange(count)] = ways.from_source(trunk[0]) + ways.time_s[trunk[0]]
    came: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for u, v in itertools.pairwise(trunk):
        best, origin = states.step(best, ways.between(u, v))
        best = best + ways.time_s[v]
        came.append(origin)
    total = best + ways.to_sink(trunk[-1])
    state, last = np.unravel_index(int(np.argmin(total)), total.shape)
    if not math.isfinite(total[state, last]):
        return None
    at = (int(state), int(last))
    places = [at[1]]
    for states_of, processors in reversed(came):
        at = (int(states_of[at]), int(processors[at]))
        places.append(at[1])
    bound_s = float(total[state, last]) * (1 - _ROUNDING)
    return LatencyBound(bound_s, _assignments(problem, trunk, places[::-1]))


@dataclass(frozen=True)
class _Visits:
    """Which processors the trunk has been on: sets of them, or nothing where they may be come back to.

    Rows of all arrays are such states, columns the processor the trunk is on. ``grown``: the state after moving there
    from a state, -1 where that is not allowed.
    """

    seen: tuple[int, ...]
    first: npt.NDArray[np.int64]
    grown: npt.NDArray[np.int64]

    def step(self, best: Array, between: Array) -> tuple[Array, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Least totals one operator on, with the states and processors they come from."""
        rows, count = best.shape
        after = best + between.diagonal()
        states = np.repeat(np.arange(rows)[:, None], count, axis=1)
        processors = np.repeat(np.arange(count)[None, :], rows, axis=0)
        for q in range(count):
            others = between[:, q].copy()
            others[q] = np.inf
            total = best + others
            origin = np.argmin(total, axis=1)
            for state in np.flatnonzero(self.grown[:, q] >= 0).tolist():
                target, value = int(self.grown[state, q]), total[state, origin[state]]
                if value < after[target, q]:
                    after[target, q] = value
                    states[target, q], processors[target, q] = state, origin[state]
        return after, (states, processors)


def _visits(count: int, *, once: bool) -> _Visits:
    if not once or count > _MAX_SETS:
        return _Visits((0,), np.zeros(count, dtype=np.int64), np.zeros((1, count), dtype=np.int64))
    sets = range(1 << count)
    grown = [[-1 if mask >> q & 1 else mask | 1 << q for q in range(count)] for mask in sets]
    return _Visits(tuple(sets), 1 << np.arange(count), np.array(grown))


def _assignments(problem: Problem, trunk: Sequence[int], places: Sequence[int]) -> tuple[Assignment, ...]:
    """Operators between two of the trunk go with the one before, or with the one behind."""
    n = len(problem.graph.operators)
    position = np.searchsorted(trunk, np.arange(n))
    behind = np.array(places)[np.minimum(position, len(places) - 1)]
    inside = np.isin(np.arange(n), trunk)
    before = np.where(inside, behind, np.array(places)[np.maximum(position - 1, 0)])
    return (behind.astype(np.int64), before.astype(np.int64))


class Ways:
    """Least seconds between operators. Arrays are by processor, (q,), or (q, q) from the first to the second."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        tables = problem.tables
        self.time_s = np.where(tables.allowed, tables.time_s, np.inf)
        self.boards = [ref.board.name for ref in problem.processors]
        self.before = _reach(predecessors(problem.graph), range(len(self.time_s)))
        self.behind = _reach(successors(problem.graph), range(len(self.time_s) - 1, -1, -1))
        self.hops: dict[int, Array] = {}

    def trunk(self) -> list[int]:
        """Operators that no edge of the graph leads around, each behind the one before."""
        graph, n = self.problem.graph, len(self.time_s)
        around = np.zeros(n + 2, dtype=np.int64)
        """By operator: edges that begin to lead around here, less those that end."""
        for tensor in graph.tensors:
            begin = -1 if tensor.producer is None else tensor.producer
            ends = [*tensor.consumers, *([n] if tensor.is_output else [])]
            if ends:
                around[begin + 1] += 1
                around[max(ends)] -= 1
        found: list[int] = []
        for v in np.flatnonzero(np.cumsum(around)[:n] == 0).tolist():
            if not found or self.before[v] >> found[-1] & 1:
                found.append(v)
        return found

    def from_source(self, v: int) -> Array:
        """Until the inputs of v are there."""
        ends: dict[int, Array] = {}
        for u in self.members(self.before[v]):
            ends[u] = self._ready(u, ends, inputs=True) + self.time_s[u]
        ready: Array = self._ready(v, ends, inputs=True)[0]
        return ready

    def to_sink(self, u: int) -> Array:
        """From the end of u until the outputs behind it are at the sink."""
        ends = self._ends(u, self.members(self.behind[u]))
        latest = np.zeros(self.time_s.shape[1])
        for t in self.problem.graph.outputs:
            producer = self.problem.graph.tensors[t].producer
            if producer in ends:
                sink, beside = self.problem.system.sink, self._beside(t)
                out = [self._seconds(board, sink, t, i) + beside[i] for i, board in enumerate(self.boards)]
                latest = np.maximum(latest, (ends[producer] + np.array(out)).min(axis=1))
        return latest

    def between(self, u: int, v: int) -> Array:
        """From the end of u on one processor until v can begin on another, or on the same."""
        members = self.members(self.behind[u] & self.before[v])
        ends = self._ends(u, members)
        longest = self._ready(v, ends)
        if self.problem.non_contiguous or not members:
            return longest
        apart = np.maximum(longest, self._one_by_one(u, v, members, ends))
        together = np.maximum(longest.diagonal(), self.time_s[members].sum(axis=0))
        return np.where(np.eye(len(apart), dtype=np.bool_), together, apart)

    def _one_by_one(self, u: int, v: int, members: Sequence[int], ends: Mapping[int, Array]) -> Array:
        """The same where a processor has one segment, for two different processors.

        What lies between on other processors comes behind the segment of u and before that of v. On one other
        processor, or none, everything runs one by one; on two or more, the longest path through each of them counts.
        """
        count = self.time_s.shape[1]
        times = self.time_s[members]
        pairs = np.minimum(times[:, :, None], times[:, None, :])
        serial = np.minimum(pairs[:, :, :, None], times[:, None, None, :]).sum(axis=0)
        inner = [t for w in (u, *members) for t in self.problem.graph.operators[w].outputs]
        way = np.min([self._between_boards(t) for t in inner], axis=0)
        serial = serial + way[:, None, :] + way.T[None, :, :]
        tails = self._tails(v, members)
        through = np.min([ends[w][:, None, :] + tails[w].T[None, :, :] for w in members], axis=0)
        numbers = np.arange(count)
        own = (numbers == numbers[:, None])[:, None, :] | (numbers == numbers[:, None])[None, :, :]
        best: Array = np.where(own, serial, np.maximum(serial, through)).min(axis=2)
        if count >= 4:
            best = np.minimum(best, np.sort(np.where(own, np.inf, through), axis=2)[:, :, 1])
        return best

    def _tails(self, v: int, members: Sequence[int]) -> dict[int, Array]:
        """From the end of operators before v until v can begin. Rows: their processor; columns: the one of v."""
        graph, count = self.problem.graph, self.time_s.shape[1]
        tails: dict[int, Array] = {}
        for w in reversed(members):
            tail = np.zeros((count, count))
            for t in graph.operators[w].outputs:
                hops = self._between_boards(t)
                for c in graph.tensors[t].consumers:
                    if c == v:
                        tail = np.maximum(tail, hops)
                    elif c in tails:
                        onward = self.time_s[c][:, None] + tails[c]
                        tail = np.maximum(tail, (hops[:, :, None] + onward).min(axis=1))
            tails[w] = tail
        return tails

    def _ends(self, u: int, members: Sequence[int]) -> dict[int, Array]:
        """Earliest ends of operators behind u. Rows: the processor on which u has ended at 0; columns: theirs."""
        count = self.time_s.shape[1]
        ends = {u: np.where(np.eye(count, dtype=np.bool_), 0.0, np.inf)}
        for v in members:
            ends[v] = self._ready(v, ends) + self.time_s[v]
        return ends

    def _ready(self, v: int, ends: Mapping[int, Array], *, inputs: bool = False) -> Array:
        """When the inputs of v can have come to each processor, those that ``ends`` (or the source) make."""
        graph = self.problem.graph
        rows = 1 if inputs else self.time_s.shape[1]
        ready = np.zeros((rows, self.time_s.shape[1]))
        for t in graph.operators[v].inputs:
            producer = graph.tensors[t].producer
            if producer is not None and producer in ends:
                ready = np.maximum(ready, (ends[producer][:, :, None] + self._between_boards(t)).min(axis=1))
            elif producer is None and inputs:
                source, beside = self.problem.system.source, self._beside(t) + self.problem.tables.segment_s
                come = [self._seconds(source, board, t, i) + beside[i] for i, board in enumerate(self.boards)]
                ready = np.maximum(ready, np.array(come))
        return ready

    def _between_boards(self, t: int) -> Array:
        """(q, q) seconds of tensor t from one processor to another."""
        if t not in self.hops:
            hops = np.array([[self._seconds(a, b, t, i) for b in self.boards] for i, a in enumerate(self.boards)])
            tables = self.problem.tables  # bytes are those of its maker's precision at both ends
            taken_in = tables.tensor_bytes[t][:, None] * tables.boundary_s_per_byte
            cut = self._beside(t)[:, None] + taken_in + tables.segment_s
            self.hops[t] = hops + np.where(np.eye(len(hops), dtype=np.bool_), 0.0, cut)
        return self.hops[t]

    def _beside(self, t: int) -> Array:
        """(q,) seconds that t costs the segment that makes it, or as an input the one that reads it."""
        tables = self.problem.tables
        beside: Array = tables.boundary_s_per_byte * tables.tensor_bytes[t]
        return beside

    def _seconds(self, a: str, b: str, t: int, maker: int) -> float:
        route = self.problem.system.route(a, b)
        if route is None:
            return math.inf
        size = int(self.problem.tables.tensor_bytes[t, maker])
        seconds = 0.0
        for link in (self.problem.links[i] for i in route):
            seconds += link.occupancy_s(size) + link.latency_s
            if not link.overlap:  # else the processors' work passes beside the hop
                seconds += link.send_s_per_byte * size if link.source in self.problem.board_index else 0.0
                seconds += link.receive_s_per_byte * size if link.target in self.problem.board_index else 0.0
        return seconds

    def members(self, mask: int) -> list[int]:
        """Operators of a set of bits."""
        return [v for v in range(len(self.time_s)) if mask >> v & 1]


def _reach(neighbours: Sequence[Sequence[int]], order: Iterable[int]) -> list[int]:
    """By operator: all that can be come to over its neighbours, as bits. ``order``: neighbours first."""
    reach = [0] * len(neighbours)
    for v in order:
        for w in neighbours[v]:
            reach[v] |= reach[w] | 1 << w
    return reach
