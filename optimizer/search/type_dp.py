"""Reach-DP over counts: does a chain fit into a period, with so many processors of each type in any order?

State: how many processors of each type have been used, and what the last was (as far as it matters which cuts its
links allow). Value: the furthest position reached. Of two ways to the same state the further is never worse, because
the windows of ``Chain`` never fall with the start. With one processor a type this is a DP over subsets.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizer.search.many_boards_chain import Stage, Windows

__all__ = ["MAX_WORK", "TypeReach"]

Ints = npt.NDArray[np.int64]
MAX_WORK = 60_000_000
"""States x types x types up to which the table is made."""


class TypeReach:
    """The table of states for given counts; one question a period."""

    def __init__(self, counts: Sequence[int], max_stages: int) -> None:
        self.counts = list(counts)
        dims = [c + 1 for c in self.counts]
        self.strides = np.cumprod([1, *dims[:-1]])
        states = np.arange(math.prod(dims))
        self.used = [(states // stride) % dim for stride, dim in zip(self.strides, dims, strict=True)]
        level = np.sum(self.used, axis=0)
        by_level = np.argsort(level, kind="stable")
        starts = np.searchsorted(level[by_level], np.arange(level.max() + 2))
        self.levels = [by_level[a:b] for a, b in itertools.pairwise(starts.tolist())][: max_stages + 1]
        self.growing = [[rows[used[rows] > 0] for used in self.used] for rows in self.levels]

    @staticmethod
    def applies(counts: Sequence[int]) -> bool:
        return math.prod(c + 1 for c in counts) * len(counts) ** 2 <= MAX_WORK

    def stages(self, windows: Windows) -> list[Stage] | None:
        """Stages that cover the chain within the windows; None where there are none at all."""
        n = windows.far.shape[1] - 2
        kinds = len(self.counts)
        classes = _alike(windows.cut)
        step = [[windows.far[a][windows.cut[b, a]] for a in range(kinds)] for b in classes.leaders]
        reach = np.full((len(self.used[0]), len(classes.leaders)), -1, dtype=np.int32)
        for depth, rows in enumerate(self.growing):
            for a in range(kinds):
                if len(rows[a]) == 0:
                    continue
                own = classes.of[a]
                if depth == 1:
                    best = np.full(len(rows[a]), windows.far[a][0])
                else:
                    before = reach[rows[a] - self.strides[a]]
                    best = np.max([step[c][a][before[:, c]] for c in range(len(step))], axis=0)
                hit = np.flatnonzero((best >= n) & windows.may_end[a])
                if len(hit):
                    return self._trace(windows, reach, classes, (int(rows[a][hit[0]]), a), n)
                reach[rows[a], own] = np.maximum(reach[rows[a], own], best)
        return None

    def _trace(
        self, windows: Windows, reach: npt.NDArray[np.int32], classes: _Classes, end: tuple[int, int], n: int
    ) -> list[Stage]:
        """Back from the end: each stage starts at the last cut that a predecessor can serve."""
        state, a = end
        stages: list[Stage] = []
        target = n
        while True:
            before = state - int(self.strides[a])
            start, own = 0, -1
            if before > 0 and windows.far[a][0] < target:
                start, own = self._start(windows, reach[before], classes, a, target)
            stages.append((a, start, target))
            if start <= 0:
                return stages[::-1]
            state, target = before, start
            a = self._last(windows, reach, classes, (state, own), target)

    def _start(
        self, windows: Windows, reach: npt.NDArray[np.int32], classes: _Classes, a: int, target: int
    ) -> tuple[int, int]:
        """Where a stage up to the target starts, and the class of what comes before it."""
        options = []
        for c, b in enumerate(classes.leaders):
            if reach[c] > 0:
                start = int(windows.cut[b, a][min(int(reach[c]), target - 1)])
                options.append((windows.far[a][start] >= target and start > 0, start, c))
        _, start, own = max(options, default=(False, 0, -1))
        return start, own

    def _last(
        self, windows: Windows, reach: npt.NDArray[np.int32], classes: _Classes, at: tuple[int, int], target: int
    ) -> int:
        """The type of the class whose stage, as the last of the state, ends at the target or gets nearest to it."""
        state, own = at
        options = []
        for a in range(len(self.counts)):
            if classes.of[a] == own and self.used[a][state] > 0:
                before = state - int(self.strides[a])
                start = 0 if before == 0 else self._start(windows, reach[before], classes, a, target)[0]
                options.append((min(int(windows.far[a][start]), target), -a))
        return -max(options)[1]


class _Classes:
    """Types whose links allow the same cuts, whatever comes next. ``of`` by type; ``leaders`` one type a class."""

    def __init__(self, of: list[int], leaders: list[int]) -> None:
        self.of, self.leaders = of, leaders


def _alike(cut: Ints) -> _Classes:
    seen: dict[bytes, int] = {}
    leaders: list[int] = []
    of = []
    for b in range(len(cut)):
        key = cut[b].tobytes()
        if key not in seen:
            seen[key] = len(leaders)
            leaders.append(b)
        of.append(seen[key])
    return _Classes(of, leaders)
