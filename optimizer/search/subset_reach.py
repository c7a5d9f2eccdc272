"""Reach-DP over downsets and sets of boards: does a graph fit into a period, on boards in any order?

For every downset, the set of all "boards used so far" (counts of each type) with which some chain of segments gets
there, each within the period. Such a set is a string of bits, and giving one more board of a type to a segment shifts
it: one pass over the pairs of downsets answers for all orders of up to 2^16 sets of boards at once. A start adds
nothing where a smaller downset that can be reached with the same boards serves as well; most pairs fall away so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.search.downsets import Lattice, pack
from optimizer.search.segment_loads import SegmentLoads

__all__ = ["BoardSets", "Segments", "SubsetReach"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Segments = list[tuple[int, int, int]]
"""Type, downset before, downset behind."""
Spend = Callable[[float], None]
"""Told the work done, in seconds of a common machine, counted and not measured. Raises where there is no time left."""
_PAIR_S, _WORD_S = 6e-8, 2e-8
_OVERHEAD = 300


class BoardSets:
    """Sets of boards as numbers, in mixed radix: how many of each type; sets of sets as strings of bits."""

    def __init__(self, counts: Sequence[int], max_stages: int) -> None:
        dims = [c + 1 for c in counts]
        self.strides = [math.prod(dims[:a]) for a in range(len(dims))]
        states = np.arange(math.prod(dims))
        self.used = [(states // stride) % dim for stride, dim in zip(self.strides, dims, strict=True)]
        allowed = np.sum(self.used, axis=0) <= max_stages
        self.room = pack(np.array([(used < c) & allowed for used, c in zip(self.used, counts, strict=True)]))
        """(types, words) the sets that leave one of the type."""
        self.allowed = pack(allowed[None])[0]
        self.width = len(self.allowed)

    @staticmethod
    def size(counts: Sequence[int]) -> int:
        """Words of a set of sets."""
        return -(-math.prod(c + 1 for c in counts) // 64)

    def with_one_more(self, sets: Words, kind: int) -> Words:
        """All sets with one more of the type, where there is one."""
        have = sets & self.room[kind]
        words, bits = divmod(self.strides[kind], 64)
        grown = np.zeros_like(have)
        if bits:
            grown[words:] = have[: self.width - words] << np.uint64(bits)
            grown[words + 1 :] |= have[: self.width - words - 1] >> np.uint64(64 - bits)
        else:
            grown[words:] = have[: self.width - words]
        return np.asarray(grown & self.allowed)

    def holding(self, kinds: Sequence[int]) -> Words:
        """All sets with at least one of each of the types."""
        states = np.all([self.used[kind] > 0 for kind in kinds], axis=0) if kinds else np.ones_like(self.used[0], bool)
        return np.asarray(pack(states[None])[0])

    def first(self, sets: Words) -> int:
        """The smallest number among the sets."""
        word = int(np.flatnonzero(sets)[0])
        value = int(sets[word])
        return 64 * word + (value & -value).bit_length() - 1

    def has(self, rows: Words, number: int) -> Bools:
        """(rows,) whether each set of sets holds that one."""
        word, bit = divmod(number, 64)
        return (rows[:, word] >> np.uint64(bit) & np.uint64(1)).astype(np.bool_)


class SubsetReach:
    """All pairs of downsets that may be a segment within ``longest_s``; one question a period up to that."""

    def __init__(self, lattice: Lattice, loads: SegmentLoads, sets: BoardSets, longest_s: float) -> None:
        self.lattice, self.loads, self.sets = lattice, loads, sets
        self.longest_s = longest_s
        self._pairs: dict[int, tuple[Ints, Floats]] = {}

    def _starts(self, end: int, period_s: float) -> tuple[Ints, Floats]:
        """Downsets below the end that are not too far away, with what flows between."""
        first = self.lattice.first(end, period_s)
        if end not in self._pairs:
            starts = self.lattice.subsets(end, self.lattice.first(end, self.longest_s))
            self._pairs[end] = (starts.astype(np.int32), self.loads.flows(end, starts))
        starts, flows = self._pairs[end]
        near = int(np.searchsorted(starts, first))
        return starts[near:], flows[near:]

    def segments(self, period_s: float, spend: Spend, memory_share: float = 1.0) -> Segments | None:
        """Segments from nothing to everything within the period, each on a board of its own; None where there are
        none. ``memory_share``: see SegmentLoads.fit.
        """
        total, below = len(self.lattice.member), self.lattice.below
        kinds = len(self.loads.members)
        reach = np.zeros((total, self.sets.width), dtype=np.uint64)
        reach[0, 0] = 1
        better = np.full(below.shape, -1, dtype=np.int64)
        table = np.zeros(total + 1, dtype=np.uint64)
        for end in range(1, total):
            starts, flows = self._starts(end, period_s)
            spend(kinds * (_PAIR_S * (len(starts) + _OVERHEAD) + _WORD_S * self.sets.width))
            fits = _as_numbers(self.loads.fit(end, starts, flows, period_s, memory_share))
            table[starts] = fits
            for column in better.T:
                fits &= ~table[column[starts]]
            table[starts] = 0
            fresh = np.flatnonzero(fits)
            starts, fits = starts[fresh], fits[fresh]
            for kind in range(kinds):
                chosen = starts[fits >> np.uint64(kind) & np.uint64(1) > 0]
                if len(chosen):
                    reach[end] |= self.sets.with_one_more(np.bitwise_or.reduce(reach[chosen], axis=0), kind)
            for column, smaller in enumerate(below[end].tolist()):
                if smaller >= 0 and not (reach[end] & ~reach[smaller]).any():
                    better[end, column] = smaller
        reach[-1] &= self.sets.holding(self.loads.needed(period_s))
        return self._trace(reach, period_s, memory_share) if reach[-1].any() else None

    def _trace(self, reach: Words, period_s: float, memory_share: float) -> Segments:
        end = len(self.lattice.member) - 1
        number = self.sets.first(reach[end])
        found: Segments = []
        while end > 0:
            starts, flows = self._starts(end, period_s)
            fits = self.loads.fit(end, starts, flows, period_s, memory_share)
            for kind, stride in enumerate(self.sets.strides):
                if self.sets.used[kind][number] == 0:
                    continue
                serves = fits[:, kind] & self.sets.has(reach[starts], number - stride)
                if serves.any():
                    start = int(starts[np.argmax(serves)])
                    found.append((kind, start, end))
                    end, number = start, number - stride
                    break
        return found[::-1]


def _as_numbers(fits: Bools) -> Words:
    """(rows,) the types of each row as bits."""
    wide = np.zeros((len(fits), 8), dtype=np.uint8)
    bits = np.packbits(fits, axis=1, bitorder="little")
    wide[:, : bits.shape[1]] = bits
    return wide.view(np.uint64)[:, 0]
