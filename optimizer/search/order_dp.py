"""Cuts along one topological order: an upper bound in little time.

Dynamic programming over (processors used, last processor, operators done). Tensors that cross several cuts are
priced as if passed from stage to stage, so the values here only steer; ``evaluate()`` scores what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem
from optimizer.search.pool import Assignment

__all__ = ["order_dp_candidates"]

_MAX_MASKED = 6
_MEMORY_SHARES = (1.0, 0.85, 0.7)
_MAX_PAIRS = 2.5e7
"""Pairs of cuts looked at, over all stages of one DP; of longer graphs only so many places to cut are considered."""
_SPENT = ("throughput", "latency", "energy")
"""Objectives that operators spend something of: places to cut share that out evenly, of others the time."""
Array = npt.NDArray[np.float64]


def order_dp_candidates(
    problem: Problem, objectives: Sequence[str] = ("throughput", "latency", "energy")
) -> Iterator[Assignment]:
    """Assignments that are best for each objective along one topological order, tightest memory last.

    The order is the graph's own, but for operators that must share a processor: they stand side by side.
    """
    yield from _single_processor(problem)
    for memory_share in _MEMORY_SHARES:
        for objective in objectives:
            if objective == "boards":
                continue  # fewer boards are the other objectives' plans, a single one at the end
            dp = _Dp(problem, objective, memory_share)
            if memory_share == _MEMORY_SHARES[0] or dp.memory_binds():
                yield from dp.solutions()


def _single_processor(problem: Problem) -> Iterator[Assignment]:
    n = len(problem.graph.operators)
    for q in range(len(problem.processors)):
        yield np.full(n, q, dtype=np.int64)


class _Dp:
    """One objective. Arrays: q processors, n + 1 positions (operators done)."""

    def __init__(self, problem: Problem, objective: str, memory_share: float) -> None:
        self.problem = problem
        self.objective, self.peak = objective, objective in ("throughput", "memory")
        tables = problem.tables
        n, q = tables.time_s.shape
        self.count, self.q = n, q
        self.order = np.array([v for unit in problem.units for v in unit], dtype=np.int64)
        self.position = np.argsort(self.order)
        crossing = self._crossing_bytes()
        prefix = np.vstack([np.zeros((1, q)), np.cumsum(self._per_operator(), axis=0)])
        spent = (
            prefix if objective in _SPENT else np.vstack([np.zeros(q), np.cumsum(tables.time_s[self.order], axis=0)])
        )
        self.places = self._places(spent.min(axis=1), crossing.sum(axis=1))
        """Numbers of operators done at which a cut may be; n and all arrays below count places."""
        self.n = len(self.places) - 1
        self.prefix, self.crossing = prefix[self.places], crossing[self.places]
        blocked = np.vstack([np.zeros((1, q), np.int64), np.cumsum(~tables.allowed[self.order], axis=0)])
        self.blocked, self.weights = blocked[self.places], self._weights()[self.places]
        self.limit = memory_share * np.array([self._weight_limit(i) for i in range(q)])

    def _per_operator(self) -> Array:
        """(n, q) what each operator adds to the objective, in the order of the DP."""
        tables = self.problem.tables
        if self.objective == "energy":
            return tables.energy_j[self.order]
        if self.objective == "memory":
            return np.diff(self._weights(), axis=0) / np.maximum(tables.ram_limit[tables.board_of], 1)
        if self.objective == "accuracy-loss" and tables.loss is not None:
            return tables.loss[self.order]
        if self.objective == "link-bytes":
            return np.zeros_like(tables.time_s)
        return tables.time_s[self.order]

    def memory_binds(self) -> bool:
        """Whether some processor cannot hold the weights of the whole model."""
        return bool((self.weights[-1] > self.limit).any())

    def _places(self, work: Array, crossing: Array) -> npt.NDArray[np.int64]:
        """Every position, or of a long graph the lightest cut of each of as many equal shares of the work."""
        stages = self.q << (self.q - 1) if self.q <= _MAX_MASKED else 3 * self.q
        most = int((_MAX_PAIRS / stages) ** 0.5)
        inner = np.cumsum([len(unit) for unit in self.problem.units])[:-1]  # groups are not parted
        if len(inner) < most or work[-1] <= 0:
            return np.concatenate([[0], inner, [self.count]])
        share = np.minimum((work[inner] / work[-1] * (most - 1)).astype(np.int64), most - 2)
        lightest = inner[np.lexsort((crossing[inner], share))]
        _, first = np.unique(np.sort(share), return_index=True)
        return np.concatenate([[0], lightest[first], [self.count]])

    def _weights(self) -> Array:
        sizes = self.problem.tables.initializer_bytes
        rows = np.zeros((self.count, self.q))
        seen: set[int] = set()
        for at, v in enumerate(self.order.tolist()):
            op = self.problem.graph.operators[v]
            fresh = [i for i in op.initializers if i not in seen]
            seen.update(fresh)
            if fresh:
                rows[at] = sizes[fresh].sum(axis=0)
        return np.vstack([np.zeros((1, self.q)), np.cumsum(rows, axis=0)])

    def _weight_limit(self, q: int) -> float:
        board = self.problem.processors[q].board
        tables = self.problem.tables
        b = int(tables.board_of[q])
        limits = [np.inf if tables.flash_limit[b] is None else float(tables.flash_limit[b] or 0)]
        if board.weights_in == "ram":
            limits.append(float(tables.ram_limit[b]) - board.runtime_ram_bytes)
        return min(limits)

    def _crossing_bytes(self) -> Array:
        """(n + 1, q) bytes that cross each position, at the precision of the processor before it."""
        change = np.zeros((self.count + 2, self.q))
        for t, tensor in enumerate(self.problem.graph.tensors):
            born = 0 if tensor.producer is None else int(self.position[tensor.producer]) + 1
            last = max((int(self.position[c]) for c in tensor.consumers), default=born - 1)
            dies = self.count if tensor.is_output else max(last, born - 1)
            sizes = self.problem.tables.tensor_bytes[t]
            change[born] += sizes
            change[dies + 1] -= sizes
        return np.cumsum(change, axis=0)[: self.count + 1]

    def _hop_cost(self, before: int | None, behind: int | None) -> Array | None:
        """(n + 1,) cost of passing everything at each position between processors; None without a route."""
        system, refs = self.problem.system, self.problem.processors
        a = system.source if before is None else refs[before].board.name
        b = system.sink if behind is None else refs[behind].board.name
        route = system.route(a, b)
        if route is None:
            return None
        payload = self.crossing[:, before if before is not None else 0]
        total = np.zeros(self.n + 1)
        for index in route:
            link = self.problem.links[index]
            if self.objective == "energy":
                cost = payload * link.energy_j_per_byte
            elif self.objective == "link-bytes":
                cost = payload.astype(np.float64)
            elif self.objective in ("memory", "accuracy-loss"):
                cost = np.zeros(self.n + 1)
            else:
                cost = link.setup_s + payload / link.bandwidth_bytes_per_s
                cost = cost if self.peak else cost + link.latency_s
            total = np.maximum(total, cost) if self.peak else total + cost
        return np.where(payload > 0, total, 0.0)

    def solutions(self) -> Iterator[Assignment]:
        if self.q <= _MAX_MASKED:
            yield from self._masked()
        else:
            speed = np.argsort(self.prefix[-1], kind="stable")
            for order in (speed, speed[::-1], np.arange(self.q)):
                yield from self._fixed([int(x) for x in order])

    def _stage(self, q: int) -> Array:
        """(n + 1, n + 1) cost of operators j..i-1 on processor q; inf where not allowed."""
        cost = self.prefix[None, :, q] - self.prefix[:, None, q]
        heavy = self.weights[None, :, q] - self.weights[:, None, q] > self.limit[q]
        barred = self.blocked[None, :, q] - self.blocked[:, None, q] > 0
        backwards = np.arange(self.n + 1)[None, :] <= np.arange(self.n + 1)[:, None]
        return np.where(heavy | barred | backwards, np.inf, cost)

    def _join(self, a: Array, b: Array) -> Array:
        return np.maximum(a, b) if self.peak else a + b

    def _masked(self) -> Iterator[Assignment]:
        stages = [self._stage(q) for q in range(self.q)]
        best: dict[tuple[int, int], Array] = {}
        via: dict[tuple[int, int], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        for mask in range(1, 1 << self.q):
            for q in range(self.q):
                if mask >> q & 1:
                    entry, origin = self._entry(mask & ~(1 << q), q, best)
                    total = self._join(entry[:, None], stages[q])
                    cut = np.argmin(total, axis=0)
                    best[mask, q] = total[cut, np.arange(self.n + 1)]
                    via[mask, q] = (cut, origin[cut])
        ends = []
        for (mask, q), values in best.items():
            out = self._hop_cost(q, None)
            if out is not None:
                ends.append((float(self._join(values[-1:], out[-1:])[0]), mask, q))
        for value, mask, q in sorted(ends)[:4]:
            if np.isfinite(value):
                yield self._trace(mask, q, via)

    def _entry(self, mask: int, q: int, best: dict[tuple[int, int], Array]) -> tuple[Array, npt.NDArray[np.int64]]:
        """Best cost before a stage on q starts at each position, and the processor it comes from (-1: source)."""
        entry = np.full(self.n + 1, np.inf)
        origin = np.full(self.n + 1, -1, dtype=np.int64)
        if mask == 0:
            hop = self._hop_cost(None, q)
            if hop is not None:
                entry[0] = hop[0]
            return entry, origin
        for p in range(self.q):
            hop = self._hop_cost(p, q) if mask >> p & 1 else None
            if hop is not None:
                value = self._join(best[mask, p], hop)
                better = value < entry
                entry[better], origin[better] = value[better], p
        return entry, origin

    def _trace(
        self,
        mask: int,
        q: int,
        via: dict[tuple[int, int], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    ) -> Assignment:
        assignment = np.zeros(self.count, dtype=np.int64)
        position = self.n
        while position > 0:
            cut, origin = via[mask, q]
            start, before = int(cut[position]), int(origin[position])
            assignment[self.order[self.places[start] : self.places[position]]] = q
            mask, q, position = mask & ~(1 << q), before, start
        return assignment

    def _fixed(self, order: list[int]) -> Iterator[Assignment]:
        """Processors in a fixed order, any of them skipped."""
        best: dict[int, Array] = {}
        via: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        for rank, q in enumerate(order):
            entry = np.full(self.n + 1, np.inf)
            origin = np.full(self.n + 1, -1, dtype=np.int64)
            hop = self._hop_cost(None, q)
            if hop is not None:
                entry[0] = hop[0]
            for p in order[:rank]:
                hop = self._hop_cost(p, q)
                if hop is not None:
                    value = self._join(best[p], hop)
                    better = value < entry
                    entry[better], origin[better] = value[better], p
            total = self._join(entry[:, None], self._stage(q))
            cut = np.argmin(total, axis=0)
            best[q] = total[cut, np.arange(self.n + 1)]
            via[q] = (cut, origin[cut])
        ends = [(float(best[q][-1]), q) for q in order if np.isfinite(best[q][-1])]
        for _, q in sorted(ends)[:2]:
            assignment = np.zeros(self.count, dtype=np.int64)
            position, last = self.n, q
            while position > 0:
                cut, origin = via[last]
                start, before = int(cut[position]), int(origin[position])
                assignment[self.order[self.places[start] : self.places[position]]] = last
                last, position = before, start
            yield assignment
