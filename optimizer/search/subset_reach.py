"""Reach-DP over downsets and sets of boards: does a graph fit into a period, on boards in any order?

For every downset, the set of all "boards used so far" (counts of each type) with which some chain of segments gets
there, each within the period. Such a set is a string of bits, and giving one more board of a type to a segment shifts
it: one pass over the pairs of downsets answers for all orders of up to 2^16 sets of boards at once. A start adds
nothing where a smaller downset that can be reached with the same boards serves as well; where sets are large, most
pairs of downsets fall away so.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optimizer.search.board_sets import BoardSets, Spend
from optimizer.search.board_visits import Role, visits_of
from optimizer.search.corridor import Corridor
from optimizer.search.downsets import Lattice
from optimizer.search.pair_bits import PairBits
from optimizer.search.segment_loads import SegmentLoads
from optimizer.search.visit_loads import VisitLoads

__all__ = ["Segments", "SubsetReach"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Near = list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]
Segments = list[tuple[int, int, int]]
"""Type, downset before, downset behind."""
_PAIR_S, _ROW_S, _WORD_S = 2e-8, 4e-6, 2e-8
_LOAD_S = 1e-7
_NARROW = 8
"""Words of a set of sets up to which looking for starts that add nothing costs more than it saves."""
_SINGLE = 2e-7
"""More than what rounding to single precision adds."""


class SubsetReach:
    """All pairs of downsets that may be a visit within ``longest_s``; one question a period up to that.

    ``memory_share`` below 1 leaves room for arenas and deeper buffers, but then nothing is a bound.
    """

    def __init__(
        self,
        lattice: Lattice,
        loads: SegmentLoads,
        max_stages: int,
        longest_s: float,
        spend: Spend,
        memory_share: float = 1.0,
    ) -> None:
        self.lattice, self.loads, self.longest_s = lattice, loads, longest_s
        self.visits = visits_of(loads)
        self.seconds = VisitLoads(loads, lattice, self.visits)
        corridor = Corridor(loads, max_stages, longest_s, spend)
        self.sets = BoardSets(loads.counts, max_stages, self.visits)
        self.reached: Words = np.zeros((0, 0), dtype=np.uint64)
        """(m, words) of the last question."""
        self.pairs: PairBits | None = None
        self._in_turn = sorted(range(len(self.visits)), key=lambda v: self.visits[v].role is Role.PAIR)
        self._works: list[list[Ints]] = []
        """By downset and type: starts in time, by the work alone."""
        self._near = [self._sorted(end, corridor, memory_share) for end in range(len(lattice.member))]

    def _sorted(self, end: int, corridor: Corridor, memory_share: float) -> Near:
        """By visit: starts by ascending seconds."""
        found: Near = []
        self._works.append(corridor.starts(end))
        if end == 0 or (corridor.narrow and not corridor.live[end].any()):
            return [(np.zeros(0, np.int32), np.zeros(0, np.float32)) for _ in self.visits]
        for starts, seconds in self.seconds.near(end, corridor, self._works[-1], memory_share):
            order = np.argsort(seconds, kind="stable")
            rounded = (seconds[order] * (1 - _SINGLE)).astype(np.float32)
            found.append((starts[order].astype(np.int32), rounded))
        corridor.spend(_ROW_S * len(self.visits) + _LOAD_S * sum(len(starts) for starts, _ in found))
        return found

    def starts(self, end: int, visit: int, period_s: float) -> Ints:
        """Downsets from which that visit to the end fits the period."""
        starts, seconds = self._near[end][visit]
        return starts[: int(np.searchsorted(seconds, np.float32(period_s), side="right"))]  # type: ignore[return-value]

    def seconds_of(self, end: int, visit: int) -> npt.NDArray[np.float32]:
        """Of the visit, from each of its starts: ascending, and a rounding less."""
        return self._near[end][visit][1]

    def ends_of(self, number: int, start: int, period_s: float) -> Ints:
        """Downsets to which that visit from the start fits the period."""
        bounds, ends, seconds = self._by_start[number]
        here = slice(bounds[start], bounds[start + 1])
        return ends[here][seconds[here] <= np.float32(period_s)]

    @cached_property
    def _by_start(self) -> list[tuple[Ints, Ints, npt.NDArray[np.float32]]]:
        """By visit: where the ends of each start begin, the ends, and the seconds."""
        total = len(self.lattice.member)
        found = []
        for number in range(len(self.visits)):
            rows = [near[number] for near in self._near[1:]]
            starts = np.concatenate([row[0] for row in rows])
            ends = np.repeat(np.arange(1, total), [len(row[0]) for row in rows])
            order = np.argsort(starts, kind="stable")
            bounds = np.searchsorted(starts[order], np.arange(total + 1))
            found.append((bounds, ends[order], np.concatenate([row[1] for row in rows])[order]))
        return found

    def segments(self, period_s: float, spend: Spend) -> Segments | None:
        """Segments from nothing to everything within the period, each on a processor of its own; None where there
        are none. Boards of two processors that are come back to may turn out busier.
        """
        total, below, sets = len(self.lattice.member), self.lattice.below, self.sets
        reach = np.zeros((total, sets.width), dtype=np.uint64)
        reach[0, 0] = 1
        better = np.full(below.shape, -1, dtype=np.int64)
        table = np.zeros(total + 1, dtype=np.bool_)
        two = [(v.runs[0], v.runs[1]) for v in self.visits if v.role is Role.PAIR]
        self.pairs = PairBits(self.loads, self._works, two, period_s) if two else None
        for end in range(total):
            if self.pairs is not None:
                self.pairs.add(end)
            looked_at = 0
            for number in self._in_turn if end else ():
                starts = self.starts(end, number, period_s)
                looked_at += len(starts)
                if sets.width > _NARROW:
                    starts = _needed(starts, better, table)
                reach[end] |= self._grown(reach, number, starts, end)
            if sets.width > _NARROW:
                for column, smaller in enumerate(below[end].tolist()):
                    if smaller >= 0 and not (reach[end] & ~reach[smaller]).any():
                        better[end, column] = smaller
            spend(_PAIR_S * looked_at + len(self.visits) * (_ROW_S + _WORD_S * sets.width))
        self.reached = reach
        found = self.ends(period_s)
        return self._trace(int(found[0]), period_s) if len(found) else None

    def _grown(self, reach: Words, number: int, starts: Ints, end: int) -> Words:
        """Sets of boards that a visit adds at its end. Whether a pair can be parted is asked where it matters."""
        if len(starts) == 0:
            return np.zeros_like(reach[0])
        grown = self.sets.with_one_more(np.bitwise_or.reduce(reach[starts], axis=0), number)
        if self.visits[number].role is not Role.PAIR or not (grown & ~reach[end]).any():
            return grown
        starts = starts[self.parts_fit(number, starts, end)]
        return self.sets.with_one_more(np.bitwise_or.reduce(reach[starts], axis=0), number)

    def parts_fit(self, number: int, starts: Ints, end: int) -> Bools:
        """Whether a pair can be parted so that both processors keep the last period asked for."""
        one, two = self.visits[number].runs
        if self.pairs is None:
            return np.ones(len(starts), dtype=np.bool_)
        return self.pairs.fits(one, two, starts.astype(np.int64), end)

    def ends(self, period_s: float) -> Ints:
        """The sets of boards, as numbers, with which the last question reached everything."""
        bits = np.unpackbits(self.reached[-1].view(np.uint8), bitorder="little")[: len(self.sets.states)]
        return np.flatnonzero(bits.astype(np.bool_) & self.sets.final(self.loads.needed(period_s), self.visits))

    def _trace(self, state: int, period_s: float) -> Segments:
        end = len(self.lattice.member) - 1
        found: Segments = []
        while end > 0:
            for number, step in enumerate(self.sets.steps):
                if state < step or not self.sets.before[number][state - step]:
                    continue
                starts = self.starts(end, number, period_s)
                serves = self.sets.has(self.reached[starts], state - step)
                if self.visits[number].role is Role.PAIR:
                    serves &= self.parts_fit(number, starts, end)
                if serves.any():
                    start = int(starts[np.argmax(serves)])
                    found += self.parted(number, start, end)[::-1]
                    end, state = start, state - step
                    break
        return found[::-1]

    def parted(self, number: int, start: int, end: int) -> Segments:
        """A visit as segments; one of two processors is parted where the busier of them has least to do."""
        visit = self.visits[number]
        if visit.role is not Role.PAIR:
            return [(visit.runs[0], start, end)]
        middles = self.lattice.subsets(end, start)
        middles = middles[~(self.lattice.words[start] & ~self.lattice.words[middles]).any(axis=1)]
        best = (math.inf, start, visit.runs)
        for a, b in (visit.runs, visit.runs[::-1]):
            first = self.loads.work_s(a, np.array([start]), middles)
            busier = np.maximum(first, self.loads.work_s(b, middles, np.array([end])))
            at = int(np.argmin(busier))
            best = min(best, (float(busier[at]), int(middles[at]), (a, b)))
        _, middle, (one, two) = best
        return [(one, start, middle), (two, middle, end)]


def _needed(starts: Ints, better: Ints, table: Bools) -> Ints:
    """The starts for which no smaller downset, reached with all the same boards, is a start as well.

    ``table``: all False, and is left so.
    """
    table[starts] = True
    fresh = np.ones(len(starts), dtype=np.bool_)
    for column in better.T:
        fresh &= ~table[column[starts]]
    table[starts] = False
    return starts[fresh]
