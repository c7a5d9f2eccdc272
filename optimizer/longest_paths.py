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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from optimizer.cycle_ratio import Arc, has_deadlock, maximum_cycle_ratio
from optimizer.ragged import Floats, Ints

__all__ = ["ArcRows", "Graphs", "Starts", "earliest_starts", "maximum_cycle_ratios"]

Bools = npt.NDArray[np.bool_]
_RELATIVE_EPSILON = 1e-12
_MAX_ROUNDS = 64
"""Rounds after which a graph goes to the exact method; most need less than ten."""
_ROUNDS_TOGETHER = 5
"""Rounds between two looks at which graphs are done."""
_FEW = 2**16
"""So few nodes are sorted by their numbers in two bytes, which takes a tenth of the time."""


class ArcRows(NamedTuple):
    """Arcs as in ``optimizer.cycle_ratio``, by column; nodes are numbered from graph to graph."""

    source: Ints
    target: Ints
    length: Floats
    tokens: Ints

    @classmethod
    def of(cls, arcs: Sequence[Arc]) -> ArcRows:
        table = np.fromiter(itertools.chain.from_iterable(arcs), np.float64, 4 * len(arcs)).reshape(-1, 4)
        ends = table[:, :2].astype(np.int64)
        return cls(ends[:, 0], ends[:, 1], table[:, 2], table[:, 3].astype(np.int64))

    @classmethod
    def joined(cls, parts: Sequence[ArcRows]) -> ArcRows:
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Graphs:
    """Event graphs side by side."""

    first: Ints
    """(g + 1,) where the nodes of each begin."""
    arcs: ArcRows

    @classmethod
    def of(cls, nodes: Sequence[int], arcs: Sequence[Sequence[Arc]]) -> Graphs:
        """``arcs``: of each graph, with nodes numbered from 0."""
        first = np.zeros(len(nodes) + 1, dtype=np.int64)
        np.cumsum(nodes, out=first[1:])
        rows, base = ArcRows.of([a for own in arcs for a in own]), np.repeat(first[:-1], [len(own) for own in arcs])
        return cls(first, rows._replace(source=rows.source + base, target=rows.target + base))

    def alone(self, g: int) -> tuple[int, list[Arc]]:
        """(nodes, arcs) of one graph with nodes numbered from 0."""
        begin, end = self.first[g : g + 2].tolist()
        own = np.flatnonzero((self.arcs.target >= begin) & (self.arcs.target < end))
        source, target, length, tokens = (column[own].tolist() for column in self.arcs)
        arcs = zip(source, target, length, tokens, strict=True)
        return end - begin, [(i - begin, j - begin, x, n) for i, j, x, n in arcs]


@dataclass(frozen=True)
class Starts:
    """Earliest starts. ``at_s``: by node, all graphs one after the other."""

    at_s: Floats
    never: Bools
    """(g,) True where events wait for each other in a ring; such starts mean nothing."""


@dataclass(frozen=True)
class _Joined:
    """Arcs of all graphs sorted by target."""

    source: Ints
    target: Ints
    length: Floats
    tokens: Ints
    graph: Ints
    """(a,) graph of each arc."""
    count: int
    """Graphs."""

    def most(self, values: Floats) -> Floats:
        """(g,) largest value over the arcs of each graph, 0 where all are less."""
        found = np.zeros(self.count)
        if len(self.graph):
            heads = np.flatnonzero(np.diff(self.graph, prepend=-1))
            found[self.graph[heads]] = np.maximum.reduceat(values, heads)
        return np.maximum(found, 0.0)


def _join(graphs: Graphs) -> _Joined:
    arcs, count = graphs.arcs, len(graphs.first) - 1
    nodes = int(graphs.first[-1])
    order = np.argsort(arcs.target.astype(np.uint16) if nodes < _FEW else arcs.target, kind="stable")
    target = arcs.target[order]
    graph = np.repeat(np.arange(count), np.diff(graphs.first))[target]
    return _Joined(arcs.source[order], target, arcs.length[order], arcs.tokens[order], graph, count)


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


def earliest_starts(graphs: Graphs) -> Starts:
    """Starts of the events of each graph, none before 0; the tokens of the arcs do not matter here."""
    joined, nodes = _join(graphs), np.diff(graphs.first)
    start = np.zeros(int(graphs.first[-1]))
    at, never = _settle(joined, joined.length, start, np.zeros(joined.count), int(nodes.max(initial=0)) + 1)
    for g in np.flatnonzero(_has_moments(joined)).tolist():
        count, arcs = graphs.alone(g)
        never[g] = has_deadlock(count, [(i, j, length, 0) for i, j, length, _ in arcs])
    return Starts(at, never)


def maximum_cycle_ratios(graphs: Graphs, at_least: Floats, begin: Floats) -> Floats:
    """Of each graph what ``maximum_cycle_ratio`` gives, inf for a deadlock.

    Mostly ``at_least`` is the answer, which a look at all graphs together shows; the others go one by one to the
    exact method. ``begin``: any starts of all nodes; near the steady state they save time.
    """
    joined = _join(graphs)
    slack = (joined.most(np.abs(joined.length)) + at_least) * _RELATIVE_EPSILON
    _, longer = _settle(joined, joined.length - at_least[joined.graph] * joined.tokens, begin, slack, _MAX_ROUNDS)
    ratios = np.array(at_least, dtype=np.float64)
    for g in np.flatnonzero(longer | _has_moments(joined)).tolist():
        nodes, arcs = graphs.alone(g)
        stuck = has_deadlock(nodes, arcs)
        ratios[g] = math.inf if stuck else maximum_cycle_ratio(nodes, arcs, at_least=float(at_least[g]))
    return ratios


def _has_moments(joined: _Joined) -> Bools:
    """(g,) True where some arc has next to no length, so that rings of such arcs would not show."""
    found = np.zeros(joined.count, dtype=np.bool_)
    longest = joined.most(joined.length)
    found[joined.graph[joined.length <= longest[joined.graph] * _RELATIVE_EPSILON]] = True
    return found
