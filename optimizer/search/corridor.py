"""Which segments may be part of a plan within a period, by the work of the processors alone: most are not.

Forward from nothing and backward from everything through the downsets, each with the sets of boards that may have been
used there. Links are not looked at, so a pass costs little; what is left is worth a closer look.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.search.board_sets import BoardSets, Spend
from optimizer.search.board_visits import Role, Visit
from optimizer.search.segment_loads import SegmentLoads

__all__ = ["NARROW", "Corridor"]

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_PAIR_S, _ROW_S = 2e-8, 1e-5
NARROW = 16
"""Words of a set of sets up to which the passes pay."""


class Corridor:
    """Starts by type for every downset, within ``longest_s``."""

    def __init__(self, loads: SegmentLoads, max_stages: int, longest_s: float, spend: Spend) -> None:
        self.loads, self.lattice, self.longest_s, self.spend = loads, loads.lattice, longest_s, spend
        kinds = range(len(loads.first))
        self.sets = BoardSets(loads.counts, max_stages, [Visit(Role.ALONE, (kind,), (kind,)) for kind in kinds])
        self.narrow = self.sets.width <= NARROW
        self.live: Words = np.zeros((len(self.lattice.member), self.sets.width), dtype=np.uint64)
        """(m, words) sets of boards used at a downset on some way from nothing to everything."""
        if self.narrow:
            self._walk()
        self.alive = np.flatnonzero(self.live.any(axis=1))

    def _walk(self) -> None:
        reached = np.zeros_like(self.live)
        reached[0, 0] = 1
        for end in range(1, len(reached)):
            for kind, starts in enumerate(self._in_time(end)):
                if len(starts):
                    reached[end] |= self.sets.with_one_more(np.bitwise_or.reduce(reached[starts], axis=0), kind)
        self.live[-1] = reached[-1]
        for end in range(len(reached) - 1, 0, -1):
            if self.live[end].any():
                for kind, starts in enumerate(self._in_time(end)):
                    self.live[starts] |= self.sets.with_one_less(self.live[end], kind) & reached[starts]

    @property
    def is_empty(self) -> bool:
        """Whether the work alone shows that there is no plan."""
        return self.narrow and not self.live[0].any()

    def _in_time(self, end: int) -> list[Ints]:
        """By type: downsets from which it comes to the end in time."""
        starts = self.lattice.subsets(end, self.lattice.first(end, self.longest_s))
        here = np.array([end])
        kinds = range(len(self.loads.first))
        self.spend(_ROW_S + _PAIR_S * len(starts) * len(kinds))
        return [starts[self.loads.work_s(kind, starts, here) <= self.longest_s] for kind in kinds]

    def starts(self, end: int) -> list[Ints]:
        """By type: downsets from which a segment to the end may be part of a plan."""
        if not self.narrow:
            return self._in_time(end)
        if not self.live[end].any():
            return [np.zeros(0, dtype=np.int64) for _ in self.loads.first]
        return [self._from(starts, end, kind) for kind, starts in enumerate(self._in_time(end))]

    def _from(self, starts: Ints, end: int, kind: int) -> Ints:
        before = self.sets.with_one_less(self.live[end], kind)
        return starts[(self.live[starts] & before).any(axis=1)]

    def pair_starts(self, end: int, kinds: tuple[int, int]) -> Ints:
        """Downsets from which two processors may run what lies before the end."""
        first = self.lattice.first(end, 2 * self.longest_s)
        if not self.narrow:
            return np.arange(first, end)
        starts = self.alive[np.searchsorted(self.alive, first) : np.searchsorted(self.alive, end)]
        before = self.sets.with_one_less(self.sets.with_one_less(self.live[end], kinds[0]), kinds[1])
        return starts[(self.live[starts] & before).any(axis=1)]
