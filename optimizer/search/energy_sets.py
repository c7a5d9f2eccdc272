"""The least energy with one set of boards in use, with an average in place of the interval. See ``energy_bound``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem
from optimizer.search.energy_blocks import Block, Way
from optimizer.search.energy_hops import Hops
from optimizer.search.energy_trunk import Stretch, Trunk

__all__ = ["BoardSet", "Table"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FIRST_WEIGHT, _EVEN, _RATE = 0.97, 0.003, 3.0
"""How the weights move; found on the zoo. Bounds hold for any."""
_FAR_J = 1e30
"""More than any plan takes."""


@dataclass(frozen=True)
class Table:
    """(k, k) least joules from one operator of the trunk to the next, that one included.

    ``at``: by which cut.
    """

    joules: Floats
    at: Ints


class BoardSet:
    """One set of used boards. ``looks_j``: the best value so far if no segment lies between two operators of the
    trunk as a whole; ``bound_j``: holds in any case, once ``settle`` has been called."""

    def __init__(self, problem: Problem, trunk: Trunk, used: frozenset[str], interval: tuple[float, bool]) -> None:
        self.problem, self.trunk, self.used = problem, trunk, used
        self.least_s, self.fixed = interval
        refs, tables = problem.processors, problem.tables
        counted = [r for r in refs if r.board.name in used or not r.board.removable]
        self.idle_w = sum(r.processor.idle_power_w for r in counted)
        self.processors = np.array([i for i, r in enumerate(refs) if r.board.name in used], dtype=np.int64)
        self.time_s = tables.time_s[:, self.processors]
        idle = np.array([refs[i].processor.idle_power_w for i in self.processors])
        self.beside_w = np.array([refs[i].processor.active_power_w for i in self.processors]) - idle
        allowed = tables.allowed[:, self.processors]
        self.energy_j = np.where(allowed, tables.energy_j[:, self.processors] - idle * self.time_s, np.inf)
        self.segment_s = tables.segment_s[self.processors]
        self.byte_s = tables.boundary_s_per_byte[self.processors]
        names = tuple(refs[i].board.name for i in self.processors)
        self.hops = Hops(problem, used, names, tables.tensor_bytes[:, self.processors])
        self.blocks = [None if s.cuts is None else Block(s, s.cuts, self.hops, allowed) for s in trunk.stretches]
        self.come_j, self.go_j = self._ends(problem.system.source, True), self._ends(problem.system.sink, False)
        self.weights = np.append(np.zeros(len(names)), 1.0)
        """(k + 1,) of the busy times, and of the least interval."""
        self.best_weights = self.weights
        self.looks_j = -math.inf
        self.bound_j = self._anyhow()
        self.behind: list[Floats] = []
        """See ``completions``; for the best weights, once settled."""
        self.steps = 0
        self.grown = _grown(len(names))

    def _ends(self, board: str, inputs: bool) -> Floats:
        """(k,) joules of what comes from the source, or goes to the sink."""
        sizes, names = self.hops.sizes, self.hops.names
        ends = [(board, name) if inputs else (name, board) for name in names]
        tensors = self.trunk.inputs if inputs else self.trunk.outputs
        return np.array([sum(self.hops.joules(*e, int(sizes[t, i])) for t in tensors) for i, e in enumerate(ends)])

    def _anyhow(self) -> float:
        """Every operator where it takes least."""
        return float(self.energy_j.min(axis=1).sum()) + self.idle_w * self.least_s if len(self.processors) else math.inf

    def way(self, weights: Floats) -> Way:
        """Joules, busy time weighed in. Only active joules with weights of 0."""
        watts = self.beside_w + self.idle_w * weights[:-1]
        operators = self.energy_j + self.idle_w * weights[:-1] * self.time_s
        return Way(operators, watts * self.segment_s, watts * self.byte_s)

    @property
    def seconds(self) -> Way:
        """Busy time."""
        return Way(self.time_s, self.segment_s, self.byte_s)

    def tables(self, way: Way, *, paths: bool) -> list[Table]:
        """By stretch, by one cut. With ``paths`` they bound what others run in between as well, if loosely."""
        found = []
        for stretch, block in zip(self.trunk.stretches, self.blocks, strict=True):
            if block is None:
                table = Table(self._along_path(way, stretch), np.zeros((len(self.processors),) * 2, dtype=np.int64))
            else:
                table = Table(*block.one_cut(way))
                if paths and len(stretch.members) > 0:
                    np.minimum(table.joules, self._along_path(way, stretch), out=table.joules)
            inside = way.operators[[*stretch.members, stretch.last]].sum(axis=0)
            table.joules[np.diag_indices(len(inside))] = inside
            found.append(table)
        return found

    def _along_path(self, way: Way, stretch: Stretch) -> Floats:
        """Where the cuts are too many: some path is cut, the operators beside it run where that costs least."""
        k = len(self.processors)
        numbers = np.arange(k)
        joules = np.where(np.eye(k, dtype=np.bool_), 0.0, np.inf)
        for t, reader in stretch.path:
            size = self.hops.sizes[t].astype(np.float64)
            hop = self.hops.between(t) + (size * way.per_byte)[:, None] + size[:, None] * way.per_byte
            hop[numbers, numbers] = 0.0
            joules = (joules[:, :, None] + hop + way.operators[reader]).min(axis=1)
        rest: Floats = joules + way.operators[list(stretch.beside)].min(axis=1).sum() + way.segments
        return rest

    def completions(self, tables: Sequence[Table]) -> list[Floats]:
        """By operator of the trunk (sets, k): least joules behind it, by the processors spent and the last of them."""
        rows, k = 1 << len(self.processors), len(self.processors)
        found = [np.repeat(self.go_j[None, :], rows, axis=0)]
        for table in reversed(tables):
            behind = found[-1]
            here = behind + table.joules.diagonal()
            for p, (without, with_p) in enumerate(self.grown):
                moved = table.joules[:, p] + behind[with_p, p][:, None]
                moved[:, p] = np.inf
                here[without] = np.minimum(here[without], moved)
            found.append(here.reshape(rows, k))
        return found[::-1]

    def begins(self, way: Way) -> Floats:
        """(k,) joules of the first operator of the trunk, and of what may run anywhere before and behind it all."""
        free = [*self.trunk.before, *self.trunk.behind]
        alone = float(way.operators[free].min(axis=1).sum()) if free else 0.0
        return np.asarray(way.operators[self.trunk.first] + way.segments + self.come_j + alone)

    def value(self, way: Way, behind: Sequence[Floats]) -> float:
        """Least joules of a plan without what idling over the least interval costs."""
        numbers = np.arange(len(self.processors))
        return float((self.begins(way) + behind[0][1 << numbers, numbers]).min())

    def step(self, most_steps: int) -> None:
        """A look with the weights of now, and better weights."""
        way = self.way(self.weights)
        tables = self.tables(way, paths=False)
        behind = self.completions(tables)
        value = self.value(way, behind) + self.idle_w * float(self.weights[-1]) * self.least_s
        if value > self.looks_j:
            self.looks_j, self.best_weights = value, self.weights
        self.steps += most_steps if self.fixed or not math.isfinite(value) or self.idle_w <= 0 else 1
        if math.isfinite(value):
            self.weights = self._moved(np.append(self._busy_s(way, tables, behind), self.least_s))

    def settle(self, known_j: float) -> None:
        """The bound for the best weights. Plans that need more than what is known are not told apart."""
        way = self.way(self.best_weights)
        rough = self.tables(way, paths=True)
        behind, ahead = self.completions(rough), self._ahead(way, rough)
        tables = []
        for number, (block, table) in enumerate(zip(self.blocks, rough, strict=True)):
            if block is not None:
                beside = np.minimum(ahead[number][:, None] + behind[number + 1].min(axis=0), _FAR_J)
                enough = np.minimum(block.one_cut(way)[0], known_j - self.share_j - beside)
                whole = np.minimum(enough, np.minimum(*block.more_cuts(way, enough)))
                stay = np.eye(len(whole), dtype=np.bool_)
                table = replace(table, joules=np.where(stay, table.joules, np.maximum(table.joules, whole)))
            tables.append(table)
        self.behind = self.completions(tables)
        self.bound_j = max(self.bound_j, self.value(way, self.behind) + self.share_j)

    @property
    def share_j(self) -> float:
        """Joules of idling for the least interval's share of the average."""
        return self.idle_w * float(self.best_weights[-1]) * self.least_s

    def _ahead(self, way: Way, tables: Sequence[Table]) -> list[Floats]:
        """By operator of the trunk (k,): least joules up to it, by the processor that runs it."""
        found = [self.begins(way)]
        for table in tables:
            found.append((found[-1][:, None] + table.joules).min(axis=0))
        return found

    def _busy_s(self, way: Way, tables: Sequence[Table], behind: Sequence[Floats]) -> Floats:
        """(k,) about how long the plan that takes least keeps each processor busy."""
        busy = np.zeros(len(self.processors))
        numbers = np.arange(len(self.processors))
        q = int((self.begins(way) + behind[0][1 << numbers, numbers]).argmin())
        spent = 1 << q
        busy[q] += self.time_s[self.trunk.first, q]
        for number, (stretch, block, table) in enumerate(zip(self.trunk.stretches, self.blocks, tables, strict=True)):
            onward = table.joules[q] + behind[number + 1][spent | 1 << numbers, numbers]
            onward[(spent >> numbers & 1).astype(np.bool_) & (numbers != q)] = np.inf
            p = int(onward.argmin())
            if p == q or block is None:
                busy[p] += self.time_s[[*stretch.members, stretch.last], p].sum()
            else:
                at = int(table.at[q, p])
                before, rest = block.halves(q, p, self.seconds)
                busy[q] += before[at]
                busy[p] += rest[at]
            q, spent = p, spent | 1 << p
        return busy

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


def _grown(k: int) -> list[tuple[Ints, Ints]]:
    """By processor: sets of processors without it, and the same sets with it."""
    sets = np.arange(1 << k)
    return [(without := sets[sets >> q & 1 == 0], without | 1 << q) for q in range(k)]
