"""Longest paths and cycle ratios of many small graphs at once.

The graphs stand side by side as one and every node looks at all its arcs in one NumPy step, until nothing changes.
What comes out for a graph does not depend on its neighbours, down to the last bit: a longest path is a sum in the
order of the path, and a maximum has no order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.cycle_ratio import Arc, has_deadlock, maximum_cycle_ratio

__all__ = ["Starts", "earliest_starts", "maximum_cycle_ratios"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_RELATIVE_EPSILON = 1e-12
_MAX_ROUNDS = 64
"""Rounds after which a graph goes to the exact method; most need less than ten."""
_ROUNDS_TOGETHER = 5
"""Rounds between two looks at which graphs are done."""


@dataclass(frozen=True)
class Starts:
    """Earliest starts. ``at_s``: by node, all graphs one after the other; ``first``: (g + 1,) where each begins."""

    at_s: Floats
    first: Ints
    never: Bools
    """(g,) True where events wait for each other in a ring; such starts mean nothing."""


@dataclass(frozen=True)
class _Joined:
    """Arcs of all graphs sorted by target, nodes numbered through."""

    source: Ints
    target: Ints
    length: Floats
    tokens: Floats
    graph: Ints
    """(a,) graph of each arc."""
    first: Ints
    count: int
    """Graphs."""

    def most(self, values: Floats) -> Floats:
        """(g,) largest value over the arcs of each graph, 0 where all are less."""
        found = np.zeros(self.count)
        np.maximum.at(found, self.graph, values)
        return found


def _join(nodes: Sequence[int], arcs: Sequence[Sequence[Arc]]) -> _Joined:
    first = np.zeros(len(nodes) + 1, dtype=np.int64)
    np.cumsum(nodes, out=first[1:])
    counts = [len(a) for a in arcs]
    values = itertools.chain.from_iterable(itertools.chain.from_iterable(arcs))
    table = np.fromiter(values, np.float64, 4 * sum(counts)).reshape(-1, 4)
    graph = np.repeat(np.arange(len(nodes)), counts)
    target = table[:, 1].astype(np.int64) + first[graph]
    order = np.argsort(target, kind="stable")
    graph, table = graph[order], table[order]
    source = table[:, 0].astype(np.int64) + first[graph]
    return _Joined(source, target[order], table[:, 2], table[:, 3], graph, first, len(nodes))


def _settle(joined: _Joined, weight: Floats, start: Floats, slack: Floats, rounds: int) -> tuple[Floats, Bools]:
    """(starts that no arc pushes further by more than the slack, (g,) True for graphs that were not done in time).

    ``start``: by node, where to begin; ``slack``: (g,).
    """
    at = start.copy()
    open_ = np.zeros(joined.count, dtype=np.bool_)
    source, target, graph = joined.source, joined.target, joined.graph
    while len(target):
        heads = np.flatnonzero(np.diff(target, prepend=-1))
        nodes = target[heads]
        spare = slack[graph[heads]]
        done = min(_ROUNDS_TOGETHER, rounds)
        for _ in range(done):
            pushed = np.maximum.reduceat(at[source] + weight, heads)
            here = at[nodes]
            late = pushed > here + spare
            if not late.any():
                return at, np.zeros_like(open_)
            at[nodes] = np.where(late, pushed, here)
        rounds -= done
        open_[:] = False
        open_[graph[heads[late]]] = True
        if rounds <= 0:
            break
        kept = open_[graph]
        source, target, weight, graph = source[kept], target[kept], weight[kept], graph[kept]
    return at, open_


def earliest_starts(nodes: Sequence[int], arcs: Sequence[Sequence[Arc]]) -> Starts:
    """Starts of the events of each graph, none before 0; the tokens of the arcs do not matter here."""
    joined = _join(nodes, arcs)
    slack = np.zeros(joined.count)
    start = np.zeros(int(joined.first[-1]))
    at, never = _settle(joined, joined.length, start, slack, max(nodes, default=0) + 1)
    for g in np.flatnonzero(_has_moments(joined)).tolist():
        never[g] = has_deadlock(nodes[g], [(i, j, length, 0) for i, j, length, _ in arcs[g]])
    return Starts(at, joined.first, never)


def maximum_cycle_ratios(
    nodes: Sequence[int], arcs: Sequence[Sequence[Arc]], at_least: Sequence[float], begin: Floats
) -> list[float]:
    """Of each graph what ``maximum_cycle_ratio`` gives, inf for a deadlock.

    Mostly ``at_least`` is the answer, which a look at all graphs together shows; the others go one by one to the
    exact method. ``begin``: any starts of all nodes; near the steady state they save time.
    """
    joined = _join(nodes, arcs)
    period = np.array(at_least, dtype=np.float64)
    slack = (joined.most(np.abs(joined.length)) + period) * _RELATIVE_EPSILON
    _, longer = _settle(joined, joined.length - period[joined.graph] * joined.tokens, begin, slack, _MAX_ROUNDS)
    ratios = [float(p) for p in period]
    for g in np.flatnonzero(longer | _has_moments(joined)).tolist():
        stuck = has_deadlock(nodes[g], arcs[g])
        ratios[g] = math.inf if stuck else maximum_cycle_ratio(nodes[g], arcs[g], at_least=at_least[g])
    return ratios


def _has_moments(joined: _Joined) -> Bools:
    """(g,) True where some arc has next to no length, so that rings of such arcs would not show."""
    found = np.zeros(joined.count, dtype=np.bool_)
    longest = joined.most(joined.length)
    found[joined.graph[joined.length <= longest[joined.graph] * _RELATIVE_EPSILON]] = True
    return found
