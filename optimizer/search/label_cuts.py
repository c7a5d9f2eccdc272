"""Cuts to look at: those that keep groups together, and of large graphs some along a few topological orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors, successors
from optimizer.problem import Problem
from optimizer.search.downsets import group_downsets, members

__all__ = ["all_cuts", "cuts_along_orders", "cuts_near", "distinct_cuts", "topological_orders", "whole_groups"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def all_cuts(problem: Problem, most: int) -> Bools | None:
    """(m, n) every downset that tears no group; None where there are more than ``most`` downsets."""
    masks = group_downsets(problem.graph, problem.units, most)
    return None if masks is None else members(masks, len(problem.graph.operators))


def whole_groups(problem: Problem, sets: Bools) -> Bools:
    """The downsets that tear no group of operators that must stay together."""
    fine = np.ones(len(sets), dtype=np.bool_)
    for group in problem.together:
        inside = sets[:, list(group)]
        fine &= inside.all(axis=1) | ~inside.any(axis=1)
    return sets[fine]


def cuts_along_orders(problem: Problem, places: int) -> Bools:
    """(m, n) downsets: of every order the lightest cut of each of as many equal shares of the work, and the ends."""
    n = len(problem.graph.operators)
    found = {}
    for order in topological_orders(problem):
        for count in _light_places(problem, order, places):
            row = np.zeros(n, dtype=np.bool_)
            row[order[:count]] = True
            found[row.tobytes()] = row
    return whole_groups(problem, np.array(list(found.values())))


def cuts_near(problem: Problem, assignments: Iterable[Ints], operators: int, most: int) -> Bools:
    """(m, n) downsets at which one of the plans is cut, and others that differ by so many operators at most.

    Those that differ by one come first; once there are ``most`` no further ones are looked for. Assignments of a
    pipeline only: no processor is come back to.
    """
    groups = _Groups(problem)
    found: dict[bytes, Bools] = {}
    for assignment in assignments:
        for cut in groups.cuts_of(assignment):
            found.setdefault(cut.tobytes(), cut)
    rim = list(found.values())
    for _ in range(operators):
        grown = [cut for row in rim for cut in groups.next_to(row)]
        rim = [cut for cut in grown if len(found) < most and found.setdefault(cut.tobytes(), cut) is cut]
    n = len(problem.graph.operators)
    return np.array(list(found.values()), dtype=np.bool_).reshape(-1, n)


def distinct_cuts(parts: Sequence[Bools]) -> Bools:
    """(m, n) the cuts of all parts, each once."""
    return np.unique(np.concatenate(parts), axis=0)


class _Groups:
    """Operators that stay together, in topological order, with the operators that they read from and that read them."""

    def __init__(self, problem: Problem) -> None:
        before, behind = predecessors(problem.graph), successors(problem.graph)
        self.units = [list(unit) for unit in problem.units]
        self.before = [sorted({u for v in unit for u in before[v]} - set(unit)) for unit in problem.units]
        self.behind = [sorted({w for v in unit for w in behind[v]} - set(unit)) for unit in problem.units]

    def cuts_of(self, assignment: Ints) -> list[Bools]:
        """What has run after each segment but the last, segments in an order in which they can run."""
        needs: dict[int, set[int]] = {q: set() for q in assignment.tolist()}
        for unit, before in zip(self.units, self.before, strict=True):
            needs[int(assignment[unit[0]])].update(assignment[before].tolist())
        left = set(needs)
        done = np.zeros(len(assignment), dtype=np.bool_)
        cuts = []
        while left:
            q = min(q for q in left if not needs[q] & (left - {q}))
            left.remove(q)
            done = done | (assignment == q)
            cuts.append(done)
        return cuts[:-1]

    def next_to(self, cut: Bools) -> Iterator[Bools]:
        """Downsets with one group more or less."""
        for unit, before, behind in zip(self.units, self.before, self.behind, strict=True):
            inside = bool(cut[unit[0]])
            if not cut[behind].any() if inside else cut[before].all():
                other = cut.copy()
                other[unit] = not inside
                yield other


def topological_orders(problem: Problem) -> Iterator[Ints]:
    """The graph's own order, one that finishes branches first from either side, and one by levels."""
    graph = problem.graph
    n = len(graph.operators)
    yield np.arange(n)
    level = [0] * n
    for v, before in enumerate(predecessors(graph)):
        level[v] = max((level[u] + 1 for u in before), default=0)
    yield _ordered(problem, lambda v, made: (-made, v))
    yield _ordered(problem, lambda v, made: (-made, -v))
    yield np.array(sorted(range(n), key=lambda v: (level[v], v)))


def _ordered(problem: Problem, priority: Callable[[int, int], tuple[int, int]]) -> Ints:
    """Topological order that takes the ready operator of least priority; ``made``: when its last input was made."""
    waiting = [len(before) for before in predecessors(problem.graph)]
    after = successors(problem.graph)
    ready = {v: 0 for v, count in enumerate(waiting) if count == 0}
    order: list[int] = []
    while ready:
        v = min(ready, key=lambda u: priority(u, ready[u]))
        del ready[v]
        order.append(v)
        for w in after[v]:
            waiting[w] -= 1
            if waiting[w] == 0:
                ready[w] = len(order)
    return np.array(order)


def _light_places(problem: Problem, order: Ints, places: int) -> list[int]:
    """Numbers of operators done at which to cut."""
    n = len(order)
    if n <= places:
        return list(range(n + 1))
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    crossing = np.zeros(n + 2)
    sizes = problem.tables.tensor_bytes.min(axis=1)
    for t, tensor in enumerate(problem.graph.tensors):
        born = 0 if tensor.producer is None else int(rank[tensor.producer]) + 1
        dies = max((int(rank[c]) for c in tensor.consumers), default=born - 1)
        crossing[born] += sizes[t]
        crossing[dies + 1] -= sizes[t]
    crossing = np.cumsum(crossing)
    work = np.concatenate([[0.0], np.cumsum(problem.tables.time_s[order].min(axis=1))])
    share = np.minimum((work / max(work[-1], 1e-300) * places).astype(np.int64), places - 1)
    inner = np.arange(1, n)
    inner = inner[np.lexsort((crossing[inner], share[inner]))]
    _, first = np.unique(share[inner], return_index=True)
    return [0, *np.sort(inner[first]).tolist(), n]
