"""Cuts of a graph (its downsets), what stages between two cuts cost, and what is left to do behind each cut.

A contiguous plan is a chain of downsets: what has run after one segment, two segments, and so on. The bounds here say
what the rest of a plan takes at least, given which processors are already spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem
from optimizer.search.label_latency import latency_tails

__all__ = ["Bools", "Floats", "Ints", "Lattice", "Rest", "rest_bounds", "waiting_tail", "weight_limits"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Lattice:
    """Downsets by size, the empty one first and the whole graph last, with sums over them.

    Shapes: m cuts, n operators, t tensors, k processors.
    """

    def __init__(self, problem: Problem, sets: Bools) -> None:
        self.problem = problem
        self.sets = sets[np.argsort(sets.sum(axis=1), kind="stable")]
        tables, graph = problem.tables, problem.graph
        self.m, self.k = len(sets), len(problem.processors)
        share = self.sets.astype(np.float64)
        self.time_s: Floats = share @ tables.time_s
        self.energy_j: Floats = share @ tables.energy_j
        self.blocked: Floats = share @ ~tables.allowed
        self.weights: Floats = share @ _first_use(problem)
        self.made = np.stack(
            [self.sets[:, t.producer] if t.producer is not None else np.ones(self.m, np.bool_) for t in graph.tensors],
            axis=1,
        )
        """(m, t) made inside, or a model input."""
        self.taken = np.stack([self.sets[:, list(t.consumers)].sum(axis=1) for t in graph.tensors], axis=1)
        """(m, t) consumers inside."""
        consumers = np.array([len(t.consumers) for t in graph.tensors])
        self.border = self.made & (self.taken < consumers)
        """(m, t) made inside and still needed outside."""
        self.leaving = self.made & (self.border | np.array([t.is_output for t in graph.tensors]))
        """(m, t) made inside and sent out of the segment that made it."""

    @cached_property
    def is_chain(self) -> bool:
        """Whether one tensor at most crosses every cut, and every cut contains the one before."""
        return bool((self.border.sum(axis=1) <= 1).all()) and self.m == self.sets.shape[1] + 1

    @cached_property
    def borders(self) -> list[list[int]]:
        """By cut, the tensors of ``border`` in ascending order."""
        return [np.flatnonzero(row).tolist() for row in self.border]

    @cached_property
    def tails(self) -> Floats:
        """(n, 2^k) what is left of a frame behind each operator: see ``latency_tails``."""
        return latency_tails(self.problem)

    @cached_property
    def rest(self) -> Rest:
        """What is left behind each cut: see ``rest_bounds``."""
        return rest_bounds(self)

    @cached_property
    def contains(self) -> Bools:
        """(m, m) True where the second cut strictly contains the first."""
        inside = self.sets.astype(np.float32)
        within = inside @ (1 - inside).T == 0
        np.fill_diagonal(within, False)
        return np.asarray(within)

    def stage_s(self, start: int, ends: Ints, q: int) -> Floats:
        """Seconds of the operators between a cut and each of ``ends``, the invocation, and the bytes that leave."""
        tables = self.problem.tables
        total = self.time_s[ends, q] - self.time_s[start, q] + tables.segment_s[q]
        if tables.boundary_s_per_byte[q] > 0:
            out = (self.leaving[ends] & ~self.made[start]) @ tables.tensor_bytes[:, q].astype(np.float64)
            total = total + tables.boundary_s_per_byte[q] * out
        return np.asarray(total)


def _first_use(problem: Problem) -> Floats:
    """(n, k) bytes of the initializers that no operator before uses: at least what any segment holds."""
    sizes = problem.tables.initializer_bytes
    rows = np.zeros((len(problem.graph.operators), len(problem.processors)))
    seen: set[int] = set()
    for op in problem.graph.operators:
        fresh = [i for i in op.initializers if i not in seen]
        seen.update(fresh)
        if fresh:
            rows[op.index] = sizes[fresh].sum(axis=0)
    return rows


def weight_limits(problem: Problem) -> Floats:
    """(k,) bytes of weights that a segment may have at most."""
    tables = problem.tables
    limits = []
    for q, ref in enumerate(problem.processors):
        b = int(tables.board_of[q])
        flash = tables.flash_limit[b]
        limit = np.inf if flash is None else float(flash)
        if ref.board.weights_in == "ram":
            limit = min(limit, float(tables.ram_limit[b]) - ref.board.runtime_ram_bytes)
        limits.append(limit)
    return np.array(limits)


@dataclass(frozen=True)
class Rest:
    """Lower bounds on what is left behind a cut, by (cut, set of processors already spent as bits)."""

    period_s: Floats
    energy_j: Floats
    """Active energy, less the idle power of the processor meanwhile where its board's idle power counts anyway."""
    latency_s: Floats
    """From the end of the last segment that made something needed."""


def _may_relay(problem: Problem) -> bool:
    system = problem.system
    names = [b.name for b in system.boards]
    routes = [system.route(a, b) or () for a in names for b in names]
    return any(problem.links[i].target in names for route in routes for i in route[:-1])


def rest_bounds(lattice: Lattice) -> Rest:
    """Each bound on its own, by dynamic programming from the whole graph backwards."""
    problem, m, k = lattice.problem, lattice.m, lattice.k
    shape = (m, 1 << k)
    period, energy = np.full(shape, np.inf), np.full(shape, np.inf)
    sequence = np.full(shape, np.inf)
    period[-1], energy[-1], sequence[-1] = 0.0, 0.0, 0.0
    stages = [_stage_bounds(lattice, q) for q in range(k)]
    hop = _least_hop(lattice)
    idle_w = [ref.processor.idle_power_w for ref in problem.processors]
    fixed = _always_counted(problem) if not _may_relay(problem) else np.ones(len(problem.system.boards), np.bool_)
    board_of = problem.tables.board_of
    for spent in _sets_downwards(k):
        for q in range(k):
            if spent >> q & 1:
                continue
            seconds, joules = stages[q]
            after = spent | 1 << q
            own_board = any(spent >> p & 1 and board_of[p] == board_of[q] for p in range(k))
            arrive = 0.0 if own_board or spent == 0 else hop
            need = np.maximum(np.maximum(seconds, arrive), period[None, :, after]).min(axis=1)
            period[:-1, spent] = np.minimum(period[:-1, spent], need[:-1])
            counted = fixed[board_of[q]] or own_board
            cost = joules - idle_w[q] * np.where(np.isinf(seconds), 0.0, seconds) if counted else joules
            need = (cost + energy[None, :, after]).min(axis=1)
            energy[:-1, spent] = np.minimum(energy[:-1, spent], need[:-1])
            if lattice.is_chain:
                need = (seconds + arrive + sequence[None, :, after]).min(axis=1)
                sequence[:-1, spent] = np.minimum(sequence[:-1, spent], need[:-1])
    latency = sequence if lattice.is_chain else _path_bounds(lattice)
    return Rest(period, energy, latency)


def _sets_downwards(k: int) -> Iterator[int]:
    return iter(sorted(range(1 << k), key=lambda s: -s.bit_count()))


def _always_counted(problem: Problem) -> Bools:
    ends = {problem.system.source, problem.system.sink}
    return np.array([not b.removable or b.name in ends for b in problem.system.boards])


def _stage_bounds(lattice: Lattice, q: int) -> tuple[Floats, Floats]:
    """(m, m) least seconds and joules of the stage from one cut to another on processor q; inf where barred."""
    seconds = lattice.time_s[None, :, q] - lattice.time_s[:, None, q] + lattice.problem.tables.segment_s[q]
    joules = lattice.energy_j[None, :, q] - lattice.energy_j[:, None, q]
    heavy = lattice.weights[None, :, q] - lattice.weights[:, None, q] > weight_limits(lattice.problem)[q]
    barred = lattice.blocked[None, :, q] - lattice.blocked[:, None, q] > 0
    bad = ~lattice.contains | heavy | barred
    return np.where(bad, np.inf, seconds), np.where(bad, np.inf, joules)


def _least_hop(lattice: Lattice) -> Floats:
    """(m, m) seconds that the dearest tensor between two cuts takes over the quickest link, at least."""
    problem = lattice.problem
    total = np.zeros((lattice.m, lattice.m))
    if not problem.links:
        return total
    sizes = problem.tables.tensor_bytes.min(axis=1)
    for t, tensor in enumerate(problem.graph.tensors):
        if tensor.producer is not None and tensor.consumers:
            least = min(link.occupancy_s(int(sizes[t])) for link in problem.links)
            used = lattice.made[:, None, t] & (lattice.taken[None, :, t] > lattice.taken[:, None, t])
            np.maximum(total, np.where(used, least, 0.0), out=total)
    return total


def _path_bounds(lattice: Lattice) -> Floats:
    """(m, 2^k) the least of what is left behind the tensors that cross a cut."""
    k = lattice.k
    result = np.zeros((lattice.m, 1 << k))
    for cut in range(lattice.m):
        ways = [waiting_tail(lattice, cut, t) for t in np.flatnonzero(lattice.border[cut]).tolist()]
        if ways:
            result[cut] = np.min(ways, axis=0)
    return result


def waiting_tail(lattice: Lattice, cut: int, t: int) -> Floats:
    """(2^k,) longest way behind tensor t for those of its consumers that are outside the cut."""
    users = [c for c in lattice.problem.graph.tensors[t].consumers if not lattice.sets[cut, c]]
    return np.asarray(lattice.tails[users].max(axis=0))
