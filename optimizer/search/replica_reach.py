"""Reach-DP over counts with replicas: does a chain fit into a period when a stage may have several boards of a type?

A stage on r boards of a type fits where it fits one of them in r periods, and the links between sets of r and s boards
have the least common multiple of r and s in periods for each message. State: how many boards of each type are used, and
the kind (type, r) of the last stage as far as it matters which cuts its links allow. Value: the furthest position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.plan import Segment
from optimizer.search.many_boards_chain import Chain, Windows

__all__ = ["ReplicaReach", "ReplicaStage", "replica_segments"]

Ints = npt.NDArray[np.int64]
ReplicaStage = tuple[int, int, int, int]
"""Type, boards, first operator, operator behind the last."""
_MAX_WORK = 20_000_000


@dataclass(frozen=True)
class _Steps:
    """What the windows of one period come to. ``of``: class of each kind by what its links allow it to hand on."""

    far: list[Ints]
    cut: list[list[Ints]]
    """By class, then by the next kind: last position up to one at which it may be handed on."""
    of: list[int]
    may_end: list[bool]


class ReplicaReach:
    """The table of states for given counts of each type; ``sizes``: how many boards a stage may have."""

    def __init__(self, counts: Sequence[int], max_boards: int, sizes: Sequence[int] | None = None) -> None:
        self.counts = list(counts)
        allowed = set(range(1, max(counts) + 1) if sizes is None else sizes)
        self.kinds = [(a, r) for a, count in enumerate(counts) for r in range(1, count + 1) if r in allowed]
        dims = [c + 1 for c in counts]
        self.strides = np.cumprod([1, *dims[:-1]])
        states = np.arange(math.prod(dims))
        self.used = [(states // stride) % dim for stride, dim in zip(self.strides, dims, strict=True)]
        level = np.sum(self.used, axis=0)
        self.levels = [np.flatnonzero(level == used) for used in range(1, min(int(level.max()), max_boards) + 1)]

    @staticmethod
    def applies(counts: Sequence[int]) -> bool:
        return math.prod(c + 1 for c in counts) * sum(counts) ** 2 <= _MAX_WORK

    def stages(self, windows_of: Callable[[int], Windows]) -> list[ReplicaStage] | None:
        """Stages that cover the chain; None where there are none. ``windows_of``: the windows of so many periods."""
        steps = self._steps(windows_of)
        n = len(steps.far[0]) - 2
        shape = (len(self.used[0]), len(steps.cut))
        reach = np.full(shape, -1, dtype=np.int64)
        last, before = np.full(shape, -1, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
        for rows in self.levels:
            for p, (a, r) in enumerate(self.kinds):
                here = rows[self.used[a][rows] >= r]
                if len(here) == 0:
                    continue
                best, origin = self._grow(steps, reach, here - r * self.strides[a], p)
                hit = np.flatnonzero((best >= n) & steps.may_end[p])
                if len(hit):
                    return self._trace(steps, reach, last, before, (int(here[hit[0]]), p, int(origin[hit[0]])), n)
                own = steps.of[p]
                better = here[best > reach[here, own]]
                chosen = best > reach[here, own]
                reach[better, own], last[better, own] = best[chosen], p
                before[better, own] = origin[chosen]
        return None

    def _grow(self, steps: _Steps, reach: Ints, states: Ints, p: int) -> tuple[Ints, Ints]:
        """(furthest ends of a stage of kind p behind these states, the class that comes before it; -1 for none)."""
        options = [steps.far[p][cut[p]][reach[states, c]] for c, cut in enumerate(steps.cut)]
        first = np.where(states == 0, steps.far[p][0], -1)
        table = np.stack([first, *options])
        origin = np.argmax(table, axis=0)
        return table[origin, np.arange(len(states))], origin - 1

    def _steps(self, windows_of: Callable[[int], Windows]) -> _Steps:
        own = [windows_of(r) for _, r in self.kinds]
        cuts = [[windows_of(math.lcm(r, s)).cut[a, b] for b, s in self.kinds] for a, r in self.kinds]
        seen: dict[bytes, int] = {}
        of = [seen.setdefault(np.stack(row).tobytes(), len(seen)) for row in cuts]
        leaders = [of.index(c) for c in range(len(seen))]
        return _Steps(
            far=[w.far[a] for w, (a, _) in zip(own, self.kinds, strict=True)],
            cut=[cuts[p] for p in leaders],
            of=of,
            may_end=[bool(w.may_end[a]) for w, (a, _) in zip(own, self.kinds, strict=True)],
        )

    def _trace(
        self,
        steps: _Steps,
        reach: Ints,
        last: npt.NDArray[np.int32],
        before: npt.NDArray[np.int32],
        end: tuple[int, int, int],
        n: int,
    ) -> list[ReplicaStage]:
        """Back from the end: each stage starts where the one before it may hand on furthest."""
        state, p, own = end
        target, stages = n, []
        while True:
            a, r = self.kinds[p]
            state -= r * int(self.strides[a])
            start = 0 if own < 0 else int(steps.cut[own][p][min(int(reach[state, own]), target - 1)])
            stages.append((a, r, max(start, 0), target))
            if start <= 0:
                return stages[::-1]
            target = start
            p, own = int(last[state, own]), int(before[state, own])


def replica_segments(chain: Chain, stages: Sequence[ReplicaStage]) -> tuple[Segment, ...]:
    """The segments of the stages: of each type the source's board first and the sink's last, else as declared."""
    problem = chain.problem
    boards = [ref.board.name for ref in problem.processors]
    ends = (problem.system.source, problem.system.sink)
    free = [sorted(m, key=lambda q: (boards[q] != ends[0], boards[q] == ends[1], q)) for m in chain.members]
    segments = []
    for number, (a, r, i, j) in enumerate(stages):
        if number == len(stages) - 1:
            free[a].sort(key=lambda q: boards[q] != ends[1])
        chosen, free[a] = free[a][:r], free[a][r:]
        keys = tuple(problem.processors[q].key for q in chosen)
        precision = problem.precisions[chosen[0]]
        segments.append(Segment(f"s{number}", keys[0], precision, tuple(range(i, j)), keys if r > 1 else ()))
    return tuple(segments)
