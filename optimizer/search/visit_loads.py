"""How long visits keep a board busy at least (see board_visits).

Where a board is come back to, each of the two visits counts by itself. Of what passes between it and the others at the
cut where it is left, or come back to, only what surely goes over the link counts: the next segment begins with an
operator that is ready there, and the one before ended with one that nothing there reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors
from optimizer.search.board_visits import Role, Visit
from optimizer.search.corridor import Corridor
from optimizer.search.downsets import Lattice
from optimizer.search.segment_loads import Parts, SegmentLoads

__all__ = ["VisitLoads"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_QUANTILES = (0.25, 0.5, 0.75)
_SLACK = 1e-9


class VisitLoads:
    """Least seconds of visits between downsets."""

    def __init__(self, loads: SegmentLoads, lattice: Lattice, visits: Sequence[Visit]) -> None:
        self.loads, self.lattice, self.visits = loads, lattice, visits
        self.paired = [v for v in visits if v.role is Role.PAIR]
        self._add_pairs()
        self._add_ends()

    def _add_pairs(self) -> None:
        """Work of two processors at once: with shares of the period that add up to 1, each operator at its less."""
        problem, member = self.loads.problem, self.lattice.member
        times = np.where(problem.tables.allowed, problem.tables.time_s, 0.0)
        self._pair_s: dict[int, list[Floats]] = {}
        for visit in self.paired:
            a, b = (self.loads.first[kind] for kind in visit.runs)
            both = problem.tables.allowed[:, a] & problem.tables.allowed[:, b]
            rows: list[Floats] = []
            for share in _shares(times[:, a], times[:, b]):
                one, two = share * times[:, a], (1 - share) * times[:, b]
                rows.append(np.asarray(member @ np.where(both, np.minimum(one, two), one + two)))
            self._pair_s[visit.runs[0]] = rows

    def _add_ends(self) -> None:
        """By downset: operators outside that are ready, and those inside that nothing inside reads, filled up by -1."""
        graph, member = self.loads.problem.graph, self.lattice.member
        reads = np.zeros((member.shape[1], member.shape[1]), dtype=np.float32)
        for v, row in enumerate(predecessors(graph)):
            reads[v, list(row)] = 1
        self._ready = _padded(~member & ((~member).astype(np.float32) @ reads.T == 0))
        self._last = _padded(member & (member.astype(np.float32) @ reads == 0))
        self._inside = np.ascontiguousarray(member.T)
        inner = self.loads.inner
        self._taken = [np.array([t for t in dict.fromkeys(op.inputs) if inner[t]], np.int64) for op in graph.operators]
        self._made = np.zeros((member.shape[1], len(graph.tensors)))
        for op in graph.operators:
            self._made[op.index, [t for t in op.outputs if inner[t]]] = 1.0

    def near(self, end: int, corridor: Corridor, works: Sequence[Ints], share: float) -> Iterator[tuple[Ints, Floats]]:
        """By visit: starts from which it takes at most the corridor's period, and the seconds.

        ``works``: by type, the starts worth a look. ``share``: of the memory.
        """
        starts = np.unique(np.concatenate(works))
        flows = self.loads.flows(end, starts)
        parts = []
        for kind, wanted in enumerate(works):
            rows = np.searchsorted(starts, wanted)
            parts.append(self.loads.parts(kind, end, wanted, flows[rows], share))
        for visit in self.visits:
            if visit.role is Role.PAIR:
                found, seconds = self._pair(visit, end, corridor)
            else:
                found = works[visit.runs[0]]
                seconds = self._seconds(visit, end, found, parts[visit.runs[0]])
            rows = np.flatnonzero(seconds <= corridor.longest_s * (1 + _SLACK))
            yield found[rows], seconds[rows]

    def _seconds(self, visit: Visit, end: int, starts: Ints, parts: Parts) -> Floats:
        kind = visit.runs[0]
        seconds = np.where(parts.holds, parts.alone_s, np.inf)
        if visit.role is Role.FIRST:
            return np.maximum(seconds, self._joint(kind, self._hand_on(kind, end, starts), parts.enter_s))
        if visit.role is Role.SECOND:
            return np.maximum(seconds, self._joint(kind, parts.leave_s, self._take_over(kind, end, starts)))
        if len(visit.spends) > 1:
            return np.maximum(seconds, self._joint(kind, parts.leave_whole_s, parts.enter_whole_s))
        return seconds

    def _joint(self, kind: int, leave: Floats, enter: Floats) -> Floats:
        """What comes and what goes, in turns where they share a medium."""
        return leave + enter if self.loads.one_medium[kind] else np.maximum(leave, enter)

    def _pair(self, visit: Visit, end: int, corridor: Corridor) -> tuple[Ints, Floats]:
        kinds = (visit.runs[0], visit.runs[1])
        starts = corridor.pair_starts(end, kinds)
        rows = self._pair_s[kinds[0]]
        work = np.max([row[end] - row[starts] for row in rows], axis=0, initial=0.0) * (1 - _SLACK)
        fine = (work <= corridor.longest_s) & ~(self.lattice.words[starts] & ~self.lattice.words[end]).any(axis=1)
        starts, work = starts[fine], work[fine]
        flows = self.loads.flows(end, starts)
        one, two = (self.loads.parts(kind, end, starts, flows) for kind in kinds)
        leave = np.minimum(one.leave_whole_s, two.leave_whole_s)
        enter = np.minimum(one.enter_whole_s, two.enter_whole_s)
        return starts, np.maximum(work, self._joint(kinds[0], leave, enter))

    def _hand_on(self, kind: int, end: int, starts: Ints) -> Floats:
        """Least seconds of what the next segment, on another board, takes from the one before the end."""
        ready = self._ready[end][self._ready[end] >= 0]
        wire_s = self.loads.ports[kind][0].wire_s
        least = np.full(len(starts), np.inf if len(ready) else 0.0)
        for v in ready.tolist():
            tensors = self._taken[v]
            makers = self.loads.problem.tables.producer[tensors]
            least = np.minimum(least, wire_s[tensors] @ ~self._inside[makers[:, None], starts])
        return least

    def _take_over(self, kind: int, end: int, starts: Ints) -> Floats:
        """Least seconds of what the segment up to the end takes from the one before it, on another board."""
        used = self.loads.used[end] > 0
        by_operator = self._made @ np.where(used, self.loads.ports[kind][1].wire_s, 0.0)
        least = np.append(by_operator, np.inf)[self._last[starts]].min(axis=1, initial=np.inf)
        return np.where(np.isinf(least), 0.0, least)


def _shares(one_s: Floats, two_s: Floats) -> list[float]:
    """Shares of the period at which operators would be worth as much on either processor."""
    some = (one_s > 0) & (two_s > 0)
    if not some.any():
        return [0.5]
    ratio = one_s[some] / two_s[some]
    order = np.argsort(ratio)
    weight = np.cumsum(np.minimum(one_s, two_s)[some][order])
    picked = [float(ratio[order][np.searchsorted(weight, x * weight[-1])]) for x in _QUANTILES]
    return sorted({1.0 / (1.0 + r) for r in picked})


def _padded(rows: Bools) -> Ints:
    """The columns that hold in each row, filled up by -1."""
    width = int(rows.sum(axis=1).max(initial=0))
    found = np.full((len(rows), max(width, 1)), -1, dtype=np.int64)
    at, columns = np.nonzero(rows)
    found[at, np.concatenate([np.arange(c) for c in rows.sum(axis=1)])] = columns
    return found
