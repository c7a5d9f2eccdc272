"""Figures that a segment has by itself, whatever the rest of the plan: sums over its operators and its arena's peak.

They are worked out for all segments of many plans at a time, and remembered, since searches meet the same segments
again and again. Sums run over the operators in ascending order, so that a figure depends neither on the order in
which they run nor on what else is worked out beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph
from optimizer.plan import Segment, Transfer

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["SegmentFigures", "SegmentTable", "tensors_leaving"]

Ints = npt.NDArray[np.int64]
_MOST_ASKED = 2000
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


@dataclass(frozen=True)
class _Ragged:
    """Lists of whole numbers one after the other: list i is ``values[first[i] : first[i + 1]]``."""

    first: Ints
    values: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> _Ragged:
        first = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(x) for x in lists], out=first[1:])
        return cls(first, np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(first[-1])))

    def of_rows(self, rows: Ints) -> tuple[Ints, Ints]:
        """(position in ``rows``, value) for every value of these lists."""
        counts = self.first[rows + 1] - self.first[rows]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(np.arange(len(rows)), counts)
        return where, self.values[np.arange(total) + np.repeat(self.first[rows] - (ends - counts), counts)]


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
        self._peaks: dict[_PeakKey, int] = {}
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
        if key not in self._figures:
            self._add_figures([key])
        if len(self._asked) >= _MOST_ASKED:
            self._asked.clear()
        self._asked[id(segment)] = segment, self._figures[key]
        return self._figures[key]

    def peak_bytes(self, segment: Segment, leaving: tuple[int, ...]) -> int:
        """Peak of the segment's arena; ``leaving``: tensors made in it that live in link buffers."""
        key = (segment.processor, segment.operators, leaving)
        if key not in self._peaks:
            self._add_peaks([key])
        return self._peaks[key]

    def prepare(self, plans: Iterable[tuple[Iterable[Segment], Iterable[Transfer]]]) -> None:
        """Work out all that is not known yet of the segments of these plans, in one go."""
        keys: dict[_SegmentKey, None] = {}
        peaks: dict[_PeakKey, None] = {}
        for segments, transfers in plans:
            leaving = tensors_leaving(transfers)
            for s in segments:
                peak = (s.processor, s.operators, leaving.get(s.name, ()))
                if peak not in self._peaks:
                    peaks[peak] = None
                    if peak[:2] not in self._figures:
                        keys[peak[:2]] = None
        self._add_figures(list(keys))
        self._add_peaks(list(peaks))

    def prepare_figures(self, segments: Iterable[Segment]) -> None:
        """The same for all but peaks, which hang on more than the segments."""
        keys = dict.fromkeys((s.processor, s.operators) for s in segments)
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

    def _add_peaks(self, keys: Sequence[_PeakKey]) -> None:
        if keys:
            self._peaks.update(zip(keys, self._arenas.peaks(keys), strict=True))


def _rows(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """(list number, value) of every value."""
    ragged = _Ragged.of(lists)
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
        self._outputs = _Ragged.of([op.outputs for op in graph.operators])
        self._users = _Ragged.of(
            [() if t.producer is None else (t.producer, *t.consumers) for t in graph.tensors]
        )  # the maker too, so that nobody's list is empty
        self._last_user = np.array(
            [-1 if t.producer is None else max(t.producer, *t.consumers, -1) for t in graph.tensors], dtype=np.int64
        )
        none = len(graph.tensors)
        self._taken = np.array(
            [none if op.in_place_input is None or not op.outputs else op.in_place_input for op in graph.operators],
            dtype=np.int64,
        )
        self._first_output = np.array([op.outputs[0] if op.outputs else none for op in graph.operators], dtype=np.int64)

    def peaks(self, keys: Sequence[_PeakKey]) -> list[int]:
        """Bytes by key. All segments stand one after the other on one axis of operators."""
        segment, operator = _rows([operators for _, operators, _ in keys])
        place = np.full((len(keys), self._n), -1, dtype=np.int64)
        place[segment, operator] = np.arange(len(operator))
        q = np.array([self._index[processor] for processor, _, _ in keys], dtype=np.int64)

        at, tensor = self._outputs.of_rows(operator)
        owner = segment[at]
        row = np.full((len(keys), len(self._bytes) + 1), -1, dtype=np.int64)  # the last column: no tensor
        row[owner, tensor] = np.arange(len(tensor))
        gone = _rows([leaving for _, _, leaving in keys])
        row[gone] = -1
        stays = row[owner, tensor] >= 0
        at, tensor, owner = at[stays], tensor[stays], owner[stays]
        if not len(tensor):
            return [0] * len(keys)
        row[owner, tensor] = np.arange(len(tensor))

        last = self._last_uses(place, operator, segment, owner, tensor)
        size = self._bytes[tensor, q[owner]]
        end = last + 1 - self._overwritten(operator, segment, row, size, last, self._in_place[q])
        held = np.bincount(at, size, len(operator) + 1) - np.bincount(end, size, len(operator) + 1)
        live = np.cumsum(held)[:-1]
        most = np.zeros(len(keys))
        np.maximum.at(most, segment, live)
        return [int(x) for x in most.tolist()]

    def _last_uses(self, place: Ints, operator: Ints, segment: Ints, owner: Ints, tensor: Ints) -> Ints:
        """Where each tensor is read last. Nobody outside its segment reads it: such tensors leave."""
        if not _descends(segment, operator):
            found: Ints = place[owner, self._last_user[tensor]]
            return found
        user, consumer = self._users.of_rows(tensor)
        return np.maximum.reduceat(place[owner[user], consumer], np.flatnonzero(np.diff(user, prepend=-1)))

    def _overwritten(
        self,
        operator: Ints,
        segment: Ints,
        row: Ints,
        size: Ints,
        last: Ints,
        in_place: npt.NDArray[np.bool_],
    ) -> Ints:
        """1 for tensors that end a step earlier: their last reader writes its output over them."""
        taken = row[segment, self._taken[operator]]
        output = row[segment, self._first_output[operator]]
        step = np.flatnonzero((taken >= 0) & (output >= 0) & in_place[segment])
        taken, output = taken[step], output[step]
        over = np.zeros(len(size), dtype=np.int64)
        over[taken[(last[taken] == step) & (size[taken] == size[output])]] = 1
        return over
