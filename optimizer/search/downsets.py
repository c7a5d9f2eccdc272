"""Downsets of a graph: sets of operators that hold everything their members read from.

A contiguous plan is a chain of downsets: what the first segment runs, the first two, and so on. Networks are long and
narrow, so they have few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph, predecessors, successors
from optimizer.restrictions import Groups

__all__ = ["Lattice", "all_downsets", "along_orders", "downset_masks", "group_downsets", "members", "pack"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
_STEPS = 2**40


def downset_masks(graph: Graph, most: int) -> list[int] | None:
    """All downsets as bit masks (bit v: operator v), smaller ones first; None where there are more than ``most``."""
    return group_downsets(graph, tuple((v,) for v in range(len(graph.operators))), most)


def group_downsets(graph: Graph, groups: Groups, most: int) -> list[int] | None:
    """The same of the downsets that part none of the groups, which hold every operator once."""
    before = predecessors(graph)
    own = [sum(1 << v for v in group) for group in groups]
    needs = [sum({1 << u for v in group for u in before[v]}) & ~mask for group, mask in zip(groups, own, strict=True)]
    group_of = {v: i for i, group in enumerate(groups) for v in group}
    followers: list[list[int]] = [[] for _ in groups]
    for i, group in enumerate(groups):
        for j in sorted({group_of[u] for v in group for u in before[v]} - {i}):
            followers[j].append(i)
    seen: dict[int, tuple[int, ...]] = {0: tuple(i for i, need in enumerate(needs) if need == 0)}
    level = [0]
    while level:
        grown = []
        for mask in level:
            for v in seen[mask]:
                larger = mask | own[v]
                if larger not in seen:
                    free = [w for w in seen[mask] if w != v]
                    free += [w for w in followers[v] if needs[w] & ~larger == 0]
                    seen[larger] = tuple(free)
                    grown.append(larger)
                    if len(seen) > most:
                        return None
        level = grown
    return list(seen)


def members(masks: Sequence[int], count: int) -> Bools:
    """(m, count) which operators each mask holds."""
    width = (count + 7) // 8
    packed = np.frombuffer(b"".join(m.to_bytes(width, "little") for m in masks), dtype=np.uint8)
    bits = np.unpackbits(packed.reshape(len(masks), width), axis=1, bitorder="little")
    return bits[:, :count].astype(np.bool_)


@dataclass(frozen=True)
class Lattice:
    """All downsets in an order in which each stands behind its subsets. Shapes: m downsets, n operators."""

    member: Bools
    """(m, n)"""
    steps: Ints
    """(m,) ascending: least work, in units of ``step``, rounded down operator by operator."""
    step: float
    below: Ints
    """(m, d) the downsets with one operator less, as positions; -1 fills up the rows."""

    @cached_property
    def words(self) -> Words:
        """(m, w) members as bits."""
        return pack(self.member)

    def first(self, end: int, room_s: float) -> int:
        """The first position with at most so much least work between it and the end."""
        room = min(room_s * (1 + 1e-8) / self.step + 1, 2.0**62)
        return int(np.searchsorted(self.steps, int(self.steps[end]) - int(room)))

    def pairs(self, room_s: float) -> int:
        """How many positions stand so near before each, all together: at least the number of pairs of downsets."""
        room = min(room_s * (1 + 1e-8) / self.step + 1, 2.0**62)
        return int((np.arange(len(self.steps)) - np.searchsorted(self.steps, self.steps - int(room))).sum())

    def subsets(self, end: int, first: int) -> Ints:
        """Positions from ``first`` on of the downsets that are part of the one at ``end``, itself left out."""
        outside = self.words[first:end] & ~self.words[end]
        return np.flatnonzero(~outside.any(axis=1)) + first


def all_downsets(graph: Graph, work: Floats, together: Groups, most: int) -> Lattice | None:
    """The whole lattice by ascending work ((n,) an operator), where it has at most so many downsets; else None.

    Downsets that part a group of ``together`` are left out.
    """
    masks = downset_masks(graph, most)
    return None if masks is None else _arranged(graph, _whole(masks, together), work)


def along_orders(graph: Graph, orders: Sequence[Sequence[int]], work: Floats, together: Groups) -> Lattice:
    """Only the downsets that the topological orders pass through: plans there bound nothing, but are found fast."""
    masks = {0}
    for order in orders:
        mask = 0
        for v in order:
            mask |= 1 << v
            masks.add(mask)
    return _arranged(graph, _whole(masks, together), work)


def _whole(masks: Iterable[int], together: Groups) -> list[int]:
    groups = [sum(1 << v for v in group) for group in together]
    return [mask for mask in masks if all(mask & group in (0, group) for group in groups)]


def _arranged(graph: Graph, masks: Sequence[int], work: Floats) -> Lattice:
    step = max(float(work.sum()), 1e-300) / _STEPS
    member = members(masks, len(work))
    steps = np.asarray(member @ np.floor(work / step).astype(np.int64), dtype=np.int64)
    rank = np.lexsort((member.sum(axis=1), steps))
    ordered = [masks[i] for i in rank]
    position = {mask: i for i, mask in enumerate(ordered)}
    below: list[list[int]] = [[] for _ in ordered]
    for end, v in np.argwhere(_last(graph, member[rank])).tolist():
        smaller = ordered[end] ^ 1 << v
        if smaller in position:  # else a group would be parted, or no order passes there
            below[end].append(position[smaller])
    width = max((len(row) for row in below), default=0)
    table = np.array([row + [-1] * (width - len(row)) for row in below], dtype=np.int64).reshape(len(masks), width)
    return Lattice(member[rank], steps[rank], step, table)


def _last(graph: Graph, member: Bools) -> Bools:
    """(m, n) members that no other member reads from."""
    last = member.copy()
    for v, after in enumerate(successors(graph)):
        last[:, v] &= ~member[:, list(after)].any(axis=1)
    return last


def pack(rows: Bools) -> Words:
    """Rows of Booleans as 64-bit words, little end first."""
    width = -(-rows.shape[1] // 64) * 64
    wide = np.zeros((len(rows), width), dtype=np.bool_)
    wide[:, : rows.shape[1]] = rows
    return np.packbits(wide, axis=1, bitorder="little").view(np.uint64)
