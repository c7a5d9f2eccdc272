"""A chain of operators as what many boards see of it: how far a stage may reach within a period.

Everything here is a relaxation of ``evaluate()``'s model: a stage that a plan really has always fits the windows, so
that a period at which no sequence of windows covers the chain is a proven lower bound. Where stages shrink without
becoming dearer (no boundary terms, buffers that do not bind) the windows are exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from boards.board import Link
from optimizer.problem import Problem
from optimizer.search.pool import Assignment

__all__ = ["Chain", "Stage", "Windows", "is_chain", "link_facts", "occupancy_s", "processor_types"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SLACK = 1e-9
Stage = tuple[int, int, int]
"""Type, first operator, operator behind the last."""


def is_chain(problem: Problem) -> bool:
    """Whether every operator reads from the one before it, so that a contiguous plan cuts the list into pieces."""
    graph = problem.graph
    links = {(t.producer, c) for t in graph.tensors if t.producer is not None for c in t.consumers}
    return all((v - 1, v) in links for v in range(1, len(graph.operators)))


def occupancy_s(link: Link, sizes: Floats) -> Floats:
    """``link.occupancy_s`` of many messages at once."""
    packets = np.ones_like(sizes) if link.mtu_bytes is None else np.maximum(1.0, np.ceil(sizes / link.mtu_bytes))
    wire = np.maximum(sizes, link.min_payload_bytes) + packets * link.header_bytes
    return np.asarray(link.setup_s + wire / link.bandwidth_bytes_per_s)


@dataclass(frozen=True)
class Windows:
    """What fits into one period. Arrays have n + 2 entries; the last stands for "nowhere" (-1) and so for index -1."""

    far: Ints
    """(types, n + 2) furthest end of a stage that starts at a position; never falls with the start."""
    cut: Ints
    """(types, types, n + 2) last position up to one at which a stage of the first type may hand on to the second."""
    may_end: npt.NDArray[np.bool_]
    """(types,) whether the results reach the sink in time."""


class Chain:
    """Costs of stages by type of processor. Types hold processors that compute alike; ``members`` lists them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.n = len(problem.graph.operators)
        self.members = processor_types(problem)
        self.first = np.array([m[0] for m in self.members])
        tables = problem.tables
        lead = self.first
        self.time = np.vstack([np.zeros((1, len(lead))), np.cumsum(tables.time_s[:, lead], axis=0)]).T
        self.fixed = tables.segment_s[lead]
        self.into, self.out = self._handed_on()
        self.start, self.end = self._boundary_terms()
        self.barred = self._first_barred()

    @property
    def counts(self) -> list[int]:
        return [len(m) for m in self.members]

    @property
    def max_stages(self) -> int:
        """Stages that a cap on boards leaves room for."""
        cap = self.problem.limits.max_boards
        if cap is None:
            return sum(self.counts)
        return min(sum(self.counts), cap * max(len(b.processors) for b in self.problem.system.boards))

    def _handed_on(self) -> tuple[Floats, Floats]:
        """(n + 1,) least bytes and (types, n + 1) bytes of what surely crosses each position."""
        sizes = self.problem.tables.tensor_bytes.astype(np.float64)
        out = np.zeros((len(self.first), self.n + 1))
        least = np.zeros(self.n + 1)
        for t, tensor in enumerate(self.problem.graph.tensors):
            v = -1 if tensor.producer is None else tensor.producer
            if v + 1 in tensor.consumers or (tensor.is_output and v == self.n - 1):
                out[:, v + 1] += sizes[t, self.first]
                least[v + 1] += sizes[t].min()
        return least, out

    @cached_property
    def _messages(self) -> list[list[int]]:
        """Tensors that surely cross each inner position."""
        found: list[list[int]] = [[] for _ in range(self.n + 1)]
        for t, tensor in enumerate(self.problem.graph.tensors):
            if tensor.producer is not None and tensor.producer + 1 in tensor.consumers:
                found[tensor.producer + 1].append(t)
        return found

    def _payloads(self, kind: int) -> list[Floats]:
        """(n + 1,) bytes of the first, second, ... tensor over each position; below zero where there is none."""
        depth = max((len(m) for m in self._messages), default=0)
        rows = []
        for slot in range(depth):
            row = np.full(self.n + 1, -1.0)
            for i, tensors in enumerate(self._messages):
                if slot < len(tensors):
                    row[i] = float(self.problem.tables.tensor_bytes[tensors[slot], self.first[kind]])
            rows.append(row)
        return rows

    @cached_property
    def hop_s(self) -> Floats:
        """(types, types, n + 1) least seconds for which handing on at a position keeps some link busy."""
        kinds = len(self.members)
        cost = np.zeros((kinds, kinds, self.n + 1))
        for a in range(kinds):
            payloads = self._payloads(a)
            known: dict[tuple[object, ...], Floats] = {}
            for b in range(kinds):
                routes = self._routes(a, b)
                cost[a, b] = _least([self._busiest(r, payloads, known) for r in routes], self.n + 1)
        return cost

    def _routes(self, a: int, b: int) -> list[tuple[Link, ...]]:
        """Routes between the boards of two types, one of each kind."""
        found: dict[tuple[object, ...], tuple[Link, ...]] = {}
        for p in self.members[a]:
            for q in self.members[b]:
                route = None if p == q else self._route(p, q)
                if route is not None:
                    found.setdefault(tuple(link_facts(link) for link in route), route)
        return list(found.values())

    def _route(self, p: int, q: int) -> tuple[Link, ...] | None:
        refs, system = self.problem.processors, self.problem.system
        route = system.route(refs[p].board.name, refs[q].board.name)
        return None if route is None else tuple(self.problem.links[i] for i in route)

    def _busiest(
        self, route: tuple[Link, ...], payloads: list[Floats], known: dict[tuple[object, ...], Floats]
    ) -> Floats:
        worst = np.zeros(self.n + 1)
        for link in route:
            key = link_facts(link)
            if key not in known:
                known[key] = np.asarray(sum(np.where(p >= 0, occupancy_s(link, p), 0.0) for p in payloads))
            worst = np.maximum(worst, known[key])
        return worst

    def _boundary_terms(self) -> tuple[Floats, Floats]:
        """(types, n + 1) seconds that starting, and ending, a stage at a position surely adds to it."""
        kinds = len(self.members)
        per_byte = self.problem.tables.boundary_s_per_byte[self.first]
        start, end = per_byte[:, None] * self.into[None], per_byte[:, None] * self.out
        sends, receives = np.full(kinds, np.inf), np.full(kinds, np.inf)
        for a in range(kinds):
            for b in range(kinds):
                for route in self._routes(a, b):
                    sends[a] = min(sends[a], route[0].send_s_per_byte if route else 0.0)
                    receives[b] = min(receives[b], route[-1].receive_s_per_byte if route else 0.0)
        sends, receives = (np.where(np.isfinite(x), x, 0.0) for x in (sends, receives))
        inner = np.arange(self.n + 1)
        inner_only = (inner > 0) & (inner < self.n)
        start += receives[:, None] * np.where(inner_only, self.into, 0.0)[None]
        end += sends[:, None] * np.where(inner_only[None], self.out, 0.0)
        return start, end

    def _first_barred(self) -> Ints:
        """(types, n + 1) the first position at or behind each that no processor of the type may run."""
        allowed = np.array([self.problem.tables.allowed[:, m].any(axis=1) for m in self.members])
        barred = np.where(allowed, self.n, np.arange(self.n)[None])
        nearest = np.minimum.accumulate(barred[:, ::-1], axis=1)[:, ::-1]
        return np.hstack([nearest, np.full((len(self.members), 1), self.n)]).astype(np.int64)

    def memory_windows(self, share: float = 1.0) -> Ints:
        """(types, n + 1) furthest end within the memory of the type's largest board; -1 where nothing fits.

        Counts weights, one buffer of what crosses, and the runtime. ``share`` of the memory is used: below 1 it
        leaves room for arenas and deeper buffers, but then the windows bound nothing.
        """
        tables = self.problem.tables
        far = np.full((len(self.members), self.n + 1), self.n, dtype=np.int64)
        for a, members in enumerate(self.members):
            weights = self._weights(members[0])
            zero = np.zeros(self.n + 1)
            boards = [(self.problem.processors[q].board, int(tables.board_of[q])) for q in members]
            flash = [tables.flash_limit[b] for _, b in boards]
            if all(f is not None for f in flash):
                far[a] = np.minimum(far[a], _reach(weights, zero, zero, share * max(f or 0 for f in flash)))
            room = max(float(tables.ram_limit[b]) - board.runtime_ram_bytes for board, b in boards)
            held = weights if all(board.weights_in == "ram" for board, _ in boards) else zero
            far[a] = np.minimum(far[a], _reach(held, self.into, self.out[a], share * room))
        return far

    def _weights(self, q: int) -> Floats:
        """(n + 1,) bytes of initializers first used before each position and not again later."""
        users: dict[int, list[int]] = {}
        for op in self.problem.graph.operators:
            for i in op.initializers:
                users.setdefault(i, []).append(op.index)
        rows = np.zeros(self.n + 1)
        for i, ops in users.items():
            if len(ops) == 1:
                rows[ops[0] + 1] += self.problem.tables.initializer_bytes[i, q]
        return np.cumsum(rows)

    def windows(self, period_s: float, memory: Ints) -> Windows:
        """What fits into the period."""
        limit = period_s * (1 + _SLACK)
        kinds = len(self.members)
        far = np.full((kinds, self.n + 2), -1, dtype=np.int64)
        for a in range(kinds):
            reach = _reach(self.time[a], self.start[a], self.end[a], limit - self.fixed[a])
            far[a, :-1] = np.minimum(np.minimum(reach, memory[a]), self.barred[a])
        far[:, :-1] = np.where(far[:, :-1] <= np.arange(self.n + 1), -1, far[:, :-1])
        far[:, :-1] = np.maximum.accumulate(far[:, :-1], axis=1)
        cut = np.full((kinds, kinds, self.n + 2), -1, dtype=np.int64)
        allowed = np.where(self.hop_s <= limit, np.arange(self.n + 1), -1)
        allowed[:, :, 0] = -1
        for group in self.problem.together:  # on a chain a run of operators that no cut may part
            allowed[:, :, group[0] + 1 : group[-1] + 1] = -1
        cut[:, :, :-1] = np.maximum.accumulate(allowed, axis=2)
        enters, leaves = self._ends_s
        far[enters > limit, 0] = -1
        return Windows(far, cut, leaves <= limit)

    @cached_property
    def _ends_s(self) -> tuple[Floats, Floats]:
        """(types,) least seconds of a link for the model's inputs to come, and its last output to leave."""
        system, graph, tables = self.problem.system, self.problem.graph, self.problem.tables
        enters, leaves = np.full(len(self.members), np.inf), np.full(len(self.members), np.inf)
        firsts = [t for t in graph.inputs if 0 in graph.tensors[t].consumers]
        lasts = [t for t in graph.outputs if graph.tensors[t].producer == self.n - 1]
        for a, members in enumerate(self.members):
            for q in members:
                name = self.problem.processors[q].board.name
                come, go = system.route(system.source, name), system.route(name, system.sink)
                sizes = tables.tensor_bytes[:, q]
                if come is not None:
                    enters[a] = min(enters[a], self._load(come, [int(sizes[t]) for t in firsts]))
                if go is not None:
                    leaves[a] = min(leaves[a], self._load(go, [int(sizes[t]) for t in lasts]))
        return enters, leaves

    def _load(self, route: tuple[int, ...], sizes: list[int]) -> float:
        loads = [sum(self.problem.links[i].occupancy_s(s) for s in sizes) for i in route]
        return max(loads, default=0.0)

    def stage_s(self, stage: Stage) -> float:
        a, i, j = stage
        return float(self.time[a, j] - self.time[a, i] + self.fixed[a] + self.start[a, i] + self.end[a, j])

    def period_s(self, stages: Sequence[Stage]) -> float:
        """Largest load of a stage or of a link between two: the period where nothing else is in the way."""
        loads = [self.stage_s(stage) for stage in stages]
        for (a, _, cut), (b, _, _) in itertools.pairwise(stages):
            loads.append(float(self.hop_s[a, b, cut]))
        enters, leaves = self._ends_s
        return max(*loads, float(enters[stages[0][0]]), float(leaves[stages[-1][0]]))

    def assignment(self, stages: list[Stage]) -> Assignment:
        """Processors for the stages: of each type the source's board first and the sink's last, else as declared."""
        system = self.problem.system
        boards = [ref.board.name for ref in self.problem.processors]
        free = [
            sorted(m, key=lambda q: (boards[q] != system.source, boards[q] == system.sink, q)) for m in self.members
        ]
        chosen = np.zeros(self.n, dtype=np.int64)
        last_kind = stages[-1][0]
        ends = [q for q in free[last_kind] if boards[q] == system.sink]
        for number, (a, i, j) in enumerate(stages):
            fits = [q for q in free[a] if self.problem.tables.allowed[i:j, q].all()] or free[a]
            if number == len(stages) - 1 and ends and ends[0] in fits:
                fits = ends
            free[a].remove(fits[0])
            chosen[i:j] = fits[0]
        return chosen


def _least(rows: list[Floats], length: int) -> Floats:
    """Element-wise least of the rows; inf without any."""
    return np.min(rows, axis=0) if rows else np.full(length, np.inf)


def _reach(weight: Floats, start: Floats, end: Floats, limit: float) -> Ints:
    """(n + 1,) furthest j with weight[j] - weight[i'] + start[i'] + end[j] <= limit for some i' <= i."""
    slack = abs(limit) * 1e-12 + abs(float(weight[-1])) * 1e-12
    least = np.minimum.accumulate((weight + end)[::-1])[::-1]
    reach = np.searchsorted(least, weight - start + limit + slack, side="right") - 1
    return np.maximum.accumulate(reach).astype(np.int64)


def link_facts(link: Link) -> tuple[float, ...]:
    """All that a hop's time depends on, as figures that can be sorted."""
    return (
        link.bandwidth_bytes_per_s,
        link.setup_s,
        link.mtu_bytes or 0,
        link.header_bytes,
        link.min_payload_bytes,
        link.send_s_per_byte,
        link.receive_s_per_byte,
    )


def processor_types(problem: Problem, beside: Sequence[object] | None = None) -> list[list[int]]:
    """Processors by what they compute and hold; links are not looked at.

    ``beside``: by processor, what else must be equal.
    """
    tables = problem.tables
    groups: dict[tuple[object, ...], list[int]] = {}
    for q, ref in enumerate(problem.processors):
        board, b = ref.board, int(tables.board_of[q])
        key = (
            tables.time_s[:, q].tobytes(),
            tables.initializer_bytes[:, q].tobytes(),
            tables.tensor_bytes[:, q].tobytes(),
            tables.allowed[:, q].tobytes(),
            float(tables.boundary_s_per_byte[q]),
            float(tables.segment_s[q]),
            int(tables.ram_limit[b]) - board.runtime_ram_bytes,
            tables.flash_limit[b],
            board.weights_in,
            None if beside is None else beside[q],
        )
        groups.setdefault(key, []).append(q)
    return list(groups.values())
