"""Between which downsets the two processors of a board can keep a period, one after the other, by their work alone.

For a processor and each downset, the starts from which it comes there in time are a string of bits; those of a pair are
united from the strings of all places where it may be parted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.search.segment_loads import SegmentLoads

__all__ = ["PairBits"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_SLACK = 1e-9


class PairBits:
    """One period. ``works``: by downset and type, the starts worth a look."""

    def __init__(
        self, loads: SegmentLoads, works: list[list[Ints]], pairs: list[tuple[int, int]], period_s: float
    ) -> None:
        self.loads, self.lattice, self.works = loads, loads.lattice, works
        self.limit_s = period_s * (1 + _SLACK)
        count = len(self.lattice.member)
        self._rows = {kind: np.zeros((count, -(-count // 64)), dtype=np.uint64) for pair in pairs for kind in pair}
        self._starts: dict[int, list[Ints]] = {kind: [] for kind in self._rows}
        self._known: dict[tuple[int, int, int], Words] = {}

    def add(self, end: int) -> None:
        """The next downset, from 0 on."""
        bits = np.zeros(64 * self._rows[next(iter(self._rows))].shape[1], dtype=np.bool_)
        for kind, rows in self._rows.items():
            starts = self.works[end][kind]
            fine = starts[self.loads.work_s(kind, starts, np.array([end])) <= self.limit_s]
            self._starts[kind].append(fine)
            if len(fine):
                bits[fine] = True
                rows[end] = np.packbits(bits, bitorder="little").view(np.uint64)
                bits[fine] = False

    def fits(self, one: int, two: int, start: Ints, end: int) -> Bools:
        """Whether the two types, in any order, keep the period from each start to the end."""
        key = one, two, end
        if key not in self._known:
            found = np.zeros(self._rows[one].shape[1], dtype=np.uint64)
            for a, b in ((one, two), (two, one)):
                middles = self._starts[b][end]
                if len(middles):
                    first = self.lattice.first(int(middles[0]), self.limit_s) // 64
                    last = end // 64 + 1
                    found[first:last] |= np.bitwise_or.reduce(self._rows[a][middles, first:last], axis=0)
            self._known[key] = found
        words = self._known[key][start // 64]
        return (words >> (start % 64).astype(np.uint64) & np.uint64(1)).astype(np.bool_)
