"""From any assignment to segments that wait for each other in no ring: the fewest that we find.

A plan's segments can be written as a sequence of runs, each of one processor, each operator behind what it reads
from. A run that takes everything ready on its processor is never worse than one that takes less, so only the choice
of the next processor is open: exact for two processors, a narrow beam for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors, successors
from optimizer.plan import Segment
from optimizer.problem import Problem

__all__ = ["acyclic_segments"]

Assignment = npt.NDArray[np.int64]
_BEAM = 4


@dataclass(frozen=True)
class _Wiring:
    """What the runs of an assignment depend on, by operator."""

    processor: list[int]
    successors: list[tuple[int, ...]]


@dataclass(frozen=True)
class _State:
    """Runs made so far. ``waiting``: predecessors not yet run; ``ready``: operators by processor that could run."""

    waiting: list[int]
    ready: dict[int, tuple[int, ...]]
    left: dict[int, int]
    """Operators by processor that have not run."""
    runs: tuple[tuple[int, tuple[int, ...]], ...]


def acyclic_segments(problem: Problem, assignment: Assignment) -> tuple[Segment, ...]:
    """Segments in pipeline order, several a processor where the graph leaves it and comes back.

    ``assignment``: (n,) processor index by operator. One segment a processor wherever that is possible; the fewest
    segments for two processors.
    """
    return tuple(
        Segment(
            name=f"s{i}",
            processor=problem.processors[q].key,
            precision=problem.precisions[q],
            operators=operators,
        )
        for i, (q, operators) in enumerate(_fewest_runs(problem, assignment))
    )


def _fewest_runs(problem: Problem, assignment: Assignment) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """(processor, operators ascending) of each run, in order."""
    wiring = _Wiring([int(q) for q in assignment], successors(problem.graph))
    beam = [_begin(problem, wiring)]
    while True:
        done = next((s for s in beam if not s.ready), None)
        if done is not None:
            return done.runs
        grown = [after for state in beam for after in _next_states(wiring, state)]
        grown.sort(key=lambda s: (len(s.left), sum(s.left.values()), s.runs[-1][0]))
        beam = grown[:_BEAM]


def _begin(problem: Problem, wiring: _Wiring) -> _State:
    waiting = [len(before) for before in predecessors(problem.graph)]
    ready: dict[int, tuple[int, ...]] = {}
    left: dict[int, int] = {}
    for v, q in enumerate(wiring.processor):
        left[q] = left.get(q, 0) + 1
        if waiting[v] == 0:
            ready[q] = (*ready.get(q, ()), v)
    return _State(waiting, ready, left, ())


def _next_states(wiring: _Wiring, state: _State) -> Iterator[_State]:
    """The run that ends a processor's work where there is one: it is needed once anyway and only sets others free."""
    states = []
    for q in sorted(state.ready):
        after = _run(wiring, state, q)
        if q not in after.left:
            yield after
            return
        states.append(after)
    yield from states


def _run(wiring: _Wiring, state: _State, q: int) -> _State:
    """Everything that processor q can run before it has to wait for another."""
    waiting = list(state.waiting)
    ready = {p: vs for p, vs in state.ready.items() if p != q}
    taken: list[int] = []
    stack = list(state.ready[q])
    while stack:
        v = stack.pop()
        taken.append(v)
        for w in wiring.successors[v]:
            waiting[w] -= 1
            if waiting[w] == 0:
                p = wiring.processor[w]
                if p == q:
                    stack.append(w)
                else:
                    ready[p] = (*ready.get(p, ()), w)
    left = _less(state.left, q, len(taken))
    return _State(waiting, ready, left, (*state.runs, (q, tuple(sorted(taken)))))


def _less(left: dict[int, int], q: int, count: int) -> dict[int, int]:
    rest = {p: n for p, n in left.items() if p != q}
    if left[q] > count:
        rest[q] = left[q] - count
    return rest
