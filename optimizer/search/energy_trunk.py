"""The graph along its trunk, for bounds on the energy: what lies between two operators that every path passes.

Between two of the trunk all cuts are the downsets of what lies there: a segment that ends in between ends at one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph, predecessors, successors
from optimizer.problem import Problem
from optimizer.search.downsets import members
from optimizer.search.latency_bound import Ways

__all__ = ["Cuts", "Stretch", "Trunk"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
_MOST_CUTS = 4000
"""Downsets between two operators of the trunk; their pairs are looked at."""


@dataclass(frozen=True)
class Cuts:
    """All downsets of a stretch, smaller ones first. Shapes: m downsets, w members, t tensors made before the end."""

    member: Bools
    """(m, w)"""
    tensors: Ints
    """(t,) made by the first operator or by a member, and read in the stretch."""
    open: Bools
    """(m, t) made, the first operator being there, but not all read."""
    made: Bools
    """(m, t)"""
    used: Ints
    """(m, t) readers inside."""


@dataclass(frozen=True)
class Stretch:
    """What lies between two operators of the trunk: one path, each tensor with its reader, and the rest."""

    first: int
    last: int
    path: tuple[tuple[int, int], ...]
    """(tensor, operator that takes it), the last one of the trunk."""
    members: tuple[int, ...]
    """All operators between the two."""
    beside: tuple[int, ...]
    """Those not on the path."""
    cuts: Cuts | None
    """None where there are too many."""


@dataclass(frozen=True)
class Trunk:
    """The graph along its trunk."""

    first: int
    before: tuple[int, ...]
    stretches: tuple[Stretch, ...]
    behind: tuple[int, ...]
    inputs: tuple[int, ...]
    """Tensors that the first one takes from the source."""
    outputs: tuple[int, ...]
    """Tensors that the last one makes for the sink."""

    @classmethod
    def of(cls, problem: Problem) -> Trunk | None:
        """None where no operator is on every path."""
        ways = Ways(problem)
        trunk = ways.trunk()
        if not trunk:
            return None
        graph = problem.graph
        after = successors(graph)
        stretches = []
        for u, v in itertools.pairwise(trunk):
            inner = ways.members(ways.behind[u] & ways.before[v])
            path = _longest_path(graph, after, u, v, inner)
            on_path = {reader for _, reader in path}
            beside = tuple(w for w in inner if w not in on_path)
            stretches.append(Stretch(u, v, path, tuple(inner), beside, _cuts(graph, u, inner)))
        inside = set(trunk).union(*(s.members for s in stretches))
        outside = [w for w in range(len(graph.operators)) if w not in inside]
        before = tuple(w for w in outside if ways.behind[w] >> trunk[0] & 1)
        return cls(
            trunk[0],
            before,
            tuple(stretches),
            tuple(w for w in outside if w not in before),
            tuple(t for t in dict.fromkeys(graph.operators[trunk[0]].inputs) if graph.tensors[t].producer is None),
            tuple(t for t in graph.outputs if graph.tensors[t].producer == trunk[-1]),
        )


def _longest_path(
    graph: Graph, after: Sequence[Sequence[int]], u: int, v: int, inner: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The path from u to v with the most operators, as (tensor, reader)."""
    length = {v: 0}
    step: dict[int, int] = {}
    for w in [*reversed(inner), u]:
        nearest = max((c for c in after[w] if c in length), key=lambda c: length[c])
        length[w], step[w] = length[nearest] + 1, nearest
    path = []
    while u != v:
        reader = step[u]
        tensor = next(t for t in graph.operators[u].outputs if reader in graph.tensors[t].consumers)
        path.append((tensor, reader))
        u = reader
    return tuple(path)


def _cuts(graph: Graph, u: int, inner: Sequence[int]) -> Cuts | None:
    masks = _downsets(graph, inner)
    if masks is None:
        return None
    member = members(masks, len(inner))
    column = {w: i for i, w in enumerate(inner)}
    made_there = [t for w in (u, *inner) for t in graph.operators[w].outputs if graph.tensors[t].consumers]
    made = np.ones((len(masks), len(made_there)), dtype=np.bool_)
    used = np.zeros(made.shape, dtype=np.int64)
    total = np.array([len(graph.tensors[t].consumers) for t in made_there], dtype=np.int64)
    for i, t in enumerate(made_there):
        maker = graph.tensors[t].producer
        if maker in column:
            made[:, i] = member[:, column[maker]]
        used[:, i] = member[:, [column[c] for c in graph.tensors[t].consumers if c in column]].sum(axis=1)
    return Cuts(member, np.array(made_there, dtype=np.int64), made & (used < total), made, used)


def _downsets(graph: Graph, inner: Sequence[int]) -> list[int] | None:
    """As bit masks over the positions in ``inner``, by size."""
    column = {w: i for i, w in enumerate(inner)}
    before = predecessors(graph)
    needs = [sum(1 << column[x] for x in set(before[w]) if x in column) for w in inner]
    found, level = [0], {0}
    while level:
        level = {
            mask | 1 << i for mask in level for i, need in enumerate(needs) if not mask >> i & 1 and not need & ~mask
        }
        found += sorted(level)
        if len(found) > _MOST_CUTS:
            return None
    return found
