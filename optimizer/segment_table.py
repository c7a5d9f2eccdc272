"""Figures that a segment has by itself, whatever the rest of the plan: sums over its operators and its arena's peak.

They are worked out for all segments of many plans at a time, and remembered, since searches meet the same segments
again and again. Sums run over the operators in ascending order, so that a figure depends neither on the order in
which they run nor on what else is worked out beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph
from optimizer.plan import Segment, Transfer
from optimizer.ragged import Ints, Ragged

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["SegmentFigures", "SegmentTable", "tensors_leaving"]

_MOST_ASKED = 5000
_MOST_KNOWN = 50_000
_SegmentKey = tuple[str, tuple[int, ...]]
_PeakKey = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class SegmentFigures:
    """Sums over the operators of a segment on its processor."""

    time_s: float
    energy_j: float
    weights_bytes: int
    """Initializers that no other operator of the model uses."""
    shared: tuple[tuple[int, int], ...]
    """(initializer, bytes) of those that several operators use."""
    allowed: bool
    """Whether every operator may run there."""
    peaks: dict[tuple[int, ...], int] = field(default_factory=dict, compare=False, repr=False)
    """Peaks of its arena found so far, by the tensors that leave it."""


def tensors_leaving(transfers: Iterable[Transfer]) -> dict[str, tuple[int, ...]]:
    """Tensors that leave each segment, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for t in transfers:
        if t.producer is not None:
            found[t.producer] = (*found.get(t.producer, ()), t.tensor)
    return found


class SegmentTable:
    """Figures of segments, by processor and operators; peaks also by the tensors that leave."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._figures: dict[_SegmentKey, SegmentFigures] = {}
        self._asked: dict[int, tuple[Segment, SegmentFigures]] = {}
        """By identity, for as long as the segment is kept here: a look at hundreds of operators takes its time."""
        self._arenas = _Arenas(problem)
        keys, tables = [ref.key for ref in problem.processors], problem.tables
        self.home = {ref.key: ref.board.name for ref in problem.processors}
        """Board by processor."""
        self.invocation_s: dict[str, float] = dict(zip(keys, tables.segment_s.tolist(), strict=True))
        self.boundary_s_per_byte: dict[str, float] = dict(zip(keys, tables.boundary_s_per_byte.tolist(), strict=True))
        self.has_boundaries = bool(tables.boundary_s_per_byte.any())
        self._weights, self._shared = _weights(problem)

    def figures(self, segment: Segment) -> SegmentFigures:
        asked = self._asked.get(id(segment))
        if asked is not None and asked[0] is segment:
            return asked[1]
        key = (segment.processor, segment.operators)
        found = self._figures.get(key)
        if found is None:
            self._add_figures([key])
            found = self._figures[key]
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked[id(segment)] = segment, found
        return found

    def peak_bytes(self, segment: Segment, leaving: tuple[int, ...]) -> int:
        """Peak of the segment's arena; ``leaving``: tensors made in it that live in link buffers."""
        return self.peaks([(segment, self.figures(segment), leaving)])[0]

    def peaks(self, asked: Sequence[tuple[Segment, SegmentFigures, tuple[int, ...]]]) -> list[int]:
        """Peaks of the arenas of many segments, with the tensors that leave each."""
        keys: list[_PeakKey] = []
        owners = []
        for segment, figures, leaving in asked:
            if leaving not in figures.peaks:
                figures.peaks[leaving] = -1  # asked for once is enough
                keys.append((segment.processor, segment.operators, leaving))
                owners.append(figures)
        if keys:
            for figures, (_, _, leaving), peak in zip(owners, keys, self._arenas.peaks(keys), strict=True):
                figures.peaks[leaving] = peak
        return [figures.peaks[leaving] for _, figures, leaving in asked]

    def prepare(self, segments: Iterable[Segment]) -> None:
        """Work out what is not known yet of these segments by themselves, in one go."""
        if len(self._figures) > _MOST_KNOWN:
            self._figures.clear()
            self._asked.clear()
        asked = self._asked
        keys = dict.fromkeys([(s.processor, s.operators) for s in segments if id(s) not in asked])
        self._add_figures([key for key in keys if key not in self._figures])

    def _add_figures(self, keys: Sequence[_SegmentKey]) -> None:
        if not keys:
            return
        tables, index = self._problem.tables, self._problem.processor_index
        row, operator = _rows([operators for _, operators in keys])
        if _descends(row, operator):
            order = np.lexsort((operator, row))
            row, operator = row[order], operator[order]
        q = np.array([index[processor] for processor, _ in keys], dtype=np.int64)[row]
        at = operator * tables.time_s.shape[1] + q
        time_s, energy_j, weights, barred = (
            np.bincount(row, column.take(at), len(keys)).tolist()
            for column in (tables.time_s, tables.energy_j, self._weights, ~tables.allowed)
        )
        for i, key in enumerate(keys):
            self._figures[key] = SegmentFigures(
                time_s=time_s[i],
                energy_j=energy_j[i],
                weights_bytes=int(weights[i]),
                shared=self._shared_of(key) if self._shared else (),
                allowed=not barred[i],
            )

    def _shared_of(self, key: _SegmentKey) -> tuple[tuple[int, int], ...]:
        q = self._problem.processor_index[key[0]]
        held = {i for v in key[1] for i in self._shared.get(v, ())}
        return tuple((i, int(self._problem.tables.initializer_bytes[i, q])) for i in sorted(held))


def _rows(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """(list number, value) of every value."""
    ragged = Ragged.of(lists)
    return np.repeat(np.arange(len(lists)), np.diff(ragged.first)), ragged.values


def _descends(row: Ints, operator: Ints) -> bool:
    """Whether some row does not list its operators in ascending order."""
    return bool(((operator[1:] < operator[:-1]) & (row[1:] == row[:-1])).any())


def _weights(problem: Problem) -> tuple[npt.NDArray[np.float64], dict[int, tuple[int, ...]]]:
    """((n, q) bytes of initializers that one operator alone uses, the others by operator)."""
    graph, sizes = problem.graph, problem.tables.initializer_bytes
    users: dict[int, set[int]] = {}
    for op in graph.operators:
        for i in op.initializers:
            users.setdefault(i, set()).add(op.index)
    own = np.zeros((len(graph.operators), len(problem.processors)))
    shared: dict[int, tuple[int, ...]] = {}
    for op in graph.operators:
        for i in dict.fromkeys(op.initializers):
            if len(users[i]) == 1:
                own[op.index] += sizes[i]
            else:
                shared[op.index] = (*shared.get(op.index, ()), i)
    return own, shared


class _Arenas:
    """Peaks of live ranges of many segments at a time; the rules are those of ``optimizer.memory.live_ranges``."""

    def __init__(self, problem: Problem) -> None:
        graph: Graph = problem.graph
        self._index = problem.processor_index
        self._in_place = np.array([ref.board.in_place for ref in problem.processors])
        self._bytes = problem.tables.tensor_bytes
        self._n = len(graph.operators)
        self._outputs = Ragged.of([op.outputs for op in graph.operators])
        self._users = Ragged.of(
            [() if t.producer is None else (t.producer, *t.consumers) for t in graph.tensors]
        )  # the maker too, so that nobody's list is empty
        self._last_user = np.array(
            [-1 if t.producer is None else max(t.producer, *t.consumers, -1) for t in graph.tensors], dtype=np.int64
        )
        self._maker = np.array([-1 if t.producer is None else t.producer for t in graph.tensors], dtype=np.int64)
        self._slot = np.zeros(len(graph.tensors), dtype=np.int64)
        """Which output of its maker each tensor is."""
        for op in graph.operators:
            self._slot[list(op.outputs)] = range(len(op.outputs))
        self._taken = np.array(
            [-1 if op.in_place_input is None or not op.outputs else op.in_place_input for op in graph.operators],
            dtype=np.int64,
        )

    def peaks(self, keys: Sequence[_PeakKey]) -> list[int]:
        """Bytes by key. All segments stand one after the other on one axis of operators."""
        segment, operator = _rows([operators for _, operators, _ in keys])
        place = np.full((len(keys), self._n), -1, dtype=np.int32)
        place[segment, operator] = np.arange(len(operator), dtype=np.int32)
        q = np.array([self._index[processor] for processor, _, _ in keys], dtype=np.int64)

        at, tensor = self._outputs.of_rows(operator)
        if not len(tensor):
            return [0] * len(keys)
        owner = segment[at]
        size = self._bytes[tensor, q[owner]]
        first = np.searchsorted(at, np.arange(len(operator)))
        gone, left = _rows([leaving for _, _, leaving in keys])
        size[first[place[gone, self._maker[left]]] + self._slot[left]] = 0

        last = self._last_uses(place, operator, segment, owner, tensor)
        end = last + 1 - self._overwritten(operator, segment, place, first, size, last, self._in_place[q])
        held = np.bincount(at, size, len(operator) + 1) - np.bincount(end, size, len(operator) + 1)
        live = np.cumsum(held)[:-1]
        heads = np.flatnonzero(np.diff(segment, prepend=-1))
        most = np.zeros(len(keys))
        most[segment[heads]] = np.maximum.reduceat(live, heads)
        return [int(x) for x in most.tolist()]

    def _last_uses(
        self, place: npt.NDArray[np.int32], operator: Ints, segment: Ints, owner: Ints, tensor: Ints
    ) -> Ints:
        """Where each tensor is read last. Nobody outside its segment reads it: such tensors leave."""
        if not _descends(segment, operator):
            return place[owner, self._last_user[tensor]].astype(np.int64)
        user, consumer = self._users.of_rows(tensor)
        heads = np.flatnonzero(np.diff(user, prepend=-1))
        return np.maximum.reduceat(place[owner[user], consumer].astype(np.int64), heads)

    def _overwritten(
        self,
        operator: Ints,
        segment: Ints,
        place: npt.NDArray[np.int32],
        first: Ints,
        size: Ints,
        last: Ints,
        in_place: npt.NDArray[np.bool_],
    ) -> Ints:
        """1 for tensors that end a step earlier: their last reader writes its output over them."""
        step = np.flatnonzero((self._taken[operator] >= 0) & in_place[segment])
        taken = self._taken[operator[step]]
        made = place[segment[step], self._maker[taken]]
        inside = (made >= 0) & (self._maker[taken] >= 0)
        step, row = step[inside], first[made[inside]] + self._slot[taken[inside]]
        over = np.zeros(len(size), dtype=np.int64)
        # what leaves has no size here: it neither is written over nor over anything
        over[row[(last[row] == step) & (size[row] > 0) & (size[row] == size[first[step]])]] = 1
        return over
