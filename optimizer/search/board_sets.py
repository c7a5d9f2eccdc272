"""Sets of boards as numbers, and sets of such sets as strings of bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.search.board_visits import Role, Visit
from optimizer.search.downsets import pack

__all__ = ["BoardSets", "Spend", "TimeUpError"]

Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Spend = Callable[[float], None]
"""Told the work done, in seconds of a common machine, counted and not measured. Raises TimeUpError where there is no
time left."""


class TimeUpError(Exception):
    """The budget ended before the answer."""


class BoardSets:
    """Sets of boards as numbers, in mixed radix: how many of each type; sets of sets as strings of bits."""

    def __init__(self, counts: Sequence[int], max_stages: int, visits: Sequence[Visit]) -> None:
        dims = [c + 1 for c in counts]
        self.counts = list(counts)
        self.strides = [math.prod(dims[:a]) for a in range(len(dims))]
        self.states = np.arange(math.prod(dims))
        self.used = [(self.states // stride) % dim for stride, dim in zip(self.strides, dims, strict=True)]
        self._few: Bools = np.asarray(np.sum(self.used, axis=0) <= max_stages)
        self.steps = [sum(self.strides[kind] for kind in visit.spends) for visit in visits]
        """By visit, what it adds to the number of a set."""
        self.before = [self._room(visit) for visit in visits]
        """(visits, states) the sets that leave room for it."""
        self.room = pack(np.array(self.before))
        self._behind = pack(np.array([_shifted(row, step) for row, step in zip(self.before, self.steps, strict=True)]))
        self.width = self.room.shape[1]

    @staticmethod
    def size(counts: Sequence[int]) -> int:
        """Words of a set of sets."""
        return -(-math.prod(c + 1 for c in counts) // 64)

    def _room(self, visit: Visit) -> Bools:
        room = self._few.copy()
        for kind in visit.spends:
            room &= self.used[kind] < self.counts[kind]
        if visit.role is Role.SECOND and visit.other is not None:
            room &= self.used[visit.other] > 0
        if visit.role is Role.FIRST and visit.other is not None and self.counts[visit.other] == 1:
            room &= self.used[visit.other] == 0
        after = np.minimum(self.states + sum(self.strides[kind] for kind in visit.spends), self.states[-1])
        return np.asarray(room & self._few[after])

    def with_one_more(self, sets: Words, number: int) -> Words:
        """All sets with what one more visit of that number spends, where there is room for it."""
        have: Words = sets & self.room[number]
        words, bits = divmod(self.steps[number], 64)
        grown: Words = np.zeros_like(have)
        if bits:
            grown[words:] = have[: self.width - words] << np.uint64(bits)
            grown[words + 1 :] |= have[: self.width - words - 1] >> np.uint64(64 - bits)
        else:
            grown[words:] = have[: self.width - words]
        return grown

    def with_one_less(self, sets: Words, number: int) -> Words:
        """All sets that are among these once a visit of that number is added."""
        have: Words = sets & self._behind[number]
        words, bits = divmod(self.steps[number], 64)
        shrunk: Words = np.zeros_like(have)
        if bits:
            shrunk[: self.width - words] = have[words:] >> np.uint64(bits)
            shrunk[: self.width - words - 1] |= have[words + 1 :] << np.uint64(64 - bits)
        else:
            shrunk[: self.width - words] = have[words:]
        return shrunk

    def final(self, needed: Sequence[int], visits: Sequence[Visit]) -> Bools:
        """(states,) sets that a whole plan may have spent: all of what is needed, and both or none of two that pair."""
        fine = self._few.copy()
        for kind in needed:
            fine &= self.used[kind] > 0
        for visit in visits:
            if visit.role is Role.PAIR:
                fine &= self.used[visit.runs[0]] == self.used[visit.runs[1]]
        return fine

    def has(self, rows: Words, number: int) -> Bools:
        """(rows,) whether each set of sets holds that one."""
        word, bit = divmod(number, 64)
        found: Bools = (rows[:, word] >> np.uint64(bit) & np.uint64(1)).astype(np.bool_)
        return found


def _shifted(row: Bools, step: int) -> Bools:
    """The sets that have what a visit adds to those of the row."""
    behind = np.zeros_like(row)
    behind[step:] = row[: len(row) - step]
    return behind
