"""The order of operators inside a segment that needs the least memory.

Any order between the first and the last operator gives the same result, but branches that are worked off one after
the other hold fewer tensors at a time than branches in step. Depth-first orders are tried first; where they miss the
bound, best-first search over the downsets of the segment finds the least peak or raises the bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph, successors
from optimizer.memory import arena_peak_bytes

__all__ = ["OrderFound", "always_live", "behind", "least_peak_bound", "lowest_peak_order"]

MAX_STATES = 3000
"""Downsets looked at for one segment: some tens of milliseconds."""


@dataclass(frozen=True)
class OrderFound:
    """An order of a segment's operators. No order has a peak below ``bound_bytes``."""

    operators: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int

    @property
    def proven(self) -> bool:
        """Whether no order has a lower peak."""
        return self.peak_bytes <= self.bound_bytes


def always_live(graph: Graph) -> npt.NDArray[np.bool_]:
    """(t, n) True where a tensor is in memory while an operator runs, whatever the order.

    That is where the operator makes or reads it, or stands on a path from its maker to one of its users. Rows of
    model inputs are False: they live in link buffers.
    """
    after = behind(graph)
    live = np.zeros((len(graph.tensors), len(graph.operators)), dtype=np.bool_)
    for t, tensor in enumerate(graph.tensors):
        if tensor.producer is None:
            continue
        live[t, tensor.producer] = True
        if tensor.consumers:
            live[t] |= after[tensor.producer] & after[:, list(tensor.consumers)].any(axis=1)
    return live


def behind(graph: Graph) -> npt.NDArray[np.bool_]:
    """(n, n) [u, v]: v is u or comes after it on a path."""
    n = len(graph.operators)
    after = successors(graph)
    reach = [0] * n
    """By operator: itself and all behind it, as bits."""
    for v in reversed(range(n)):
        reach[v] = 1 << v
        for w in after[v]:
            reach[v] |= reach[w]
    return _bits(reach, n)


def _bits(masks: Sequence[int], n: int) -> npt.NDArray[np.bool_]:
    width = (n + 7) // 8
    packed = np.frombuffer(b"".join(m.to_bytes(width, "little") for m in masks), dtype=np.uint8)
    return np.unpackbits(packed.reshape(len(masks), width), axis=1, bitorder="little")[:, :n].astype(np.bool_)


def least_peak_bound(
    graph: Graph,
    live: npt.NDArray[np.bool_],
    operators: Sequence[int],
    sizes: Mapping[int, int],
    *,
    in_place: bool,
) -> int:
    """No order of these operators has a lower arena peak. ``live``: see ``always_live``; else as ``arena_peak_bytes``.

    Holds where every path between two of the operators stays among them, as in a segment of a plan.
    """
    if not sizes:
        return 0
    tensors = list(sizes)
    held = np.array([sizes[t] for t in tensors], dtype=np.int64)
    needed = held @ live[np.ix_(tensors, list(operators))].astype(np.int64)
    if in_place:
        needed -= np.array([_shared_bytes(graph, v, sizes) for v in operators], dtype=np.int64)
    return int(needed.max())


def _shared_bytes(graph: Graph, v: int, sizes: Mapping[int, int]) -> int:
    """Bytes that an operator's output shares with the input it may overwrite."""
    op = graph.operators[v]
    taken = op.in_place_input
    if taken is None or taken not in sizes or not op.outputs or op.outputs[0] not in sizes:
        return 0
    return sizes[taken] if sizes[taken] == sizes[op.outputs[0]] else 0


def lowest_peak_order(
    graph: Graph,
    live: npt.NDArray[np.bool_],
    operators: Sequence[int],
    sizes: Mapping[int, int],
    *,
    in_place: bool,
    max_states: int = MAX_STATES,
) -> OrderFound:
    """The order with the lowest arena peak that we find; ties go to the graph's own order.

    ``operators``: those of one segment, in any order. Other arguments as for ``least_peak_bound``.
    """
    order = tuple(sorted(operators))
    peak = arena_peak_bytes(graph, order, sizes, in_place=in_place)
    bound = least_peak_bound(graph, live, order, sizes, in_place=in_place)
    if peak <= bound:
        return OrderFound(order, peak, peak)
    region = _Region(graph, order, sizes, in_place)
    for candidate in region.depth_first_orders():
        found = arena_peak_bytes(graph, candidate, sizes, in_place=in_place)
        if found < peak:
            order, peak = candidate, found
    if peak <= bound:
        return OrderFound(order, peak, peak)
    better, bound = _best_first(region, bound, peak, max_states)
    if better is not None:
        return OrderFound(better, bound, bound)
    return OrderFound(order, peak, min(bound, peak))


class _Region:
    """The operators of a segment by local number (position in the graph's order), tensors likewise.

    What is in memory between two operators depends only on which have run, since buffers that operators work in
    place are handed on whole.
    """

    def __init__(self, graph: Graph, order: tuple[int, ...], sizes: Mapping[int, int], in_place: bool) -> None:
        self.order = order
        number = {v: i for i, v in enumerate(order)}
        self.needs = [0] * len(order)
        self.users: list[list[int]] = [[] for _ in order]
        self.makers: list[list[int]] = [[] for _ in order]
        for i, v in enumerate(order):
            for t in graph.operators[v].inputs:
                maker = graph.tensors[t].producer
                if maker in number:
                    j = number[maker]
                    self.needs[i] |= 1 << j
                    if i not in self.users[j]:
                        self.users[j].append(i)
                        self.makers[i].append(j)
        tensors = {t: k for k, t in enumerate(sizes)}
        self.size = list(sizes.values())
        self.readers = [sum(1 << number[c] for c in graph.tensors[t].consumers) for t in sizes]
        self.reads = [[tensors[t] for t in graph.operators[v].inputs if t in tensors] for v in order]
        self.made = [sum(sizes[t] for t in graph.operators[v].outputs if t in sizes) for v in order]
        self.unread = [
            sum(sizes[t] for t in graph.operators[v].outputs if t in sizes and not graph.tensors[t].consumers)
            for v in order
        ]
        self.taken: list[int | None] = [None] * len(order)
        if in_place:
            for i, v in enumerate(order):
                taken = graph.operators[v].in_place_input
                if taken is not None and _shared_bytes(graph, v, sizes):
                    self.taken[i] = tensors[taken]

    def step(self, done: int, i: int) -> tuple[int, int]:
        """(bytes on top while operator i runs after those of ``done``, bytes more or less behind it)."""
        rest = ~(done | 1 << i)
        top = self.made[i]
        taken = self.taken[i]
        if taken is not None and not self.readers[taken] & rest:
            top -= self.size[taken]
        freed = sum(self.size[t] for t in self.reads[i] if not self.readers[t] & rest)
        return top, self.made[i] - self.unread[i] - freed

    def next_ready(self, done: int, ready: tuple[int, ...], i: int) -> tuple[int, ...]:
        """What can run after operator i has; ``done`` includes it."""
        left = tuple(w for w in ready if w != i)
        return (*left, *(w for w in self.users[i] if not self.needs[w] & ~done))

    def depth_first_orders(self) -> Iterator[tuple[int, ...]]:
        """From the ends backwards, what an operator reads first: branches one after the other, in both turns."""
        depth = [0] * len(self.order)
        for i, makers in enumerate(self.makers):
            depth[i] = 1 + max((depth[j] for j in makers), default=0)
        for rank in (
            lambda j: self.made[j],
            lambda j: -self.made[j],
            lambda j: depth[j],
            lambda j: -depth[j],
            lambda j: j,
            lambda j: -j,
        ):
            placed: list[int] = []
            seen: set[int] = set()
            stack = sorted((i for i, users in enumerate(self.users) if not users), key=rank)
            while stack:
                i = stack[-1]
                waiting = [j for j in self.makers[i] if j not in seen]
                if waiting:
                    stack.append(min(waiting, key=rank))
                    continue
                stack.pop()
                if i not in seen:
                    seen.add(i)
                    placed.append(i)
            yield tuple(self.order[i] for i in placed)


_Path = tuple[int, "_Path | None"]


@dataclass(frozen=True)
class _State:
    """Operators that have run, as bits; bytes in memory; what can run next; the way here, last operator first."""

    done: int
    held: int
    ready: tuple[int, ...]
    path: _Path | None

    def after(self, region: _Region, i: int, change: int) -> _State:
        done = self.done | 1 << i
        return _State(done, self.held + change, region.next_ready(done, self.ready, i), (i, self.path))


def _best_first(region: _Region, bound: int, known: int, max_states: int) -> tuple[tuple[int, ...] | None, int]:
    """(an order with a peak below ``known``, its peak), or (None, bound) where none is found.

    States leave the queue by the peak of the best way to them, so the first complete one is optimal and at any
    time no order can have a lower peak than the state at the head.
    """
    everything = (1 << len(region.order)) - 1
    roots = tuple(i for i, needs in enumerate(region.needs) if not needs)
    queue: list[tuple[int, int, int, _State]] = [(bound, 0, 0, _State(0, 0, roots, None))]
    seen: set[int] = set()
    pushed = 0
    while queue:
        level, _, _, state = heapq.heappop(queue)
        if len(seen) >= max_states:
            return None, level
        state = _run_what_frees(region, state, level)
        if state.done in seen:
            continue
        seen.add(state.done)
        if state.done == everything:
            return _unrolled(region, state.path), level
        for i in state.ready:
            top, change = region.step(state.done, i)
            peak = max(level, state.held + top)
            if peak < known:
                pushed += 1
                grown = state.after(region, i, change)
                heapq.heappush(queue, (peak, -grown.done.bit_count(), pushed, grown))
    return None, known


def _run_what_frees(region: _Region, state: _State, level: int) -> _State:
    """Run at once what fits under the peak anyway and leaves no more in memory: later is never better."""
    while True:
        for i in state.ready:
            top, change = region.step(state.done, i)
            if change <= 0 and state.held + top <= level:
                state = state.after(region, i, change)
                break
        else:
            return state


def _unrolled(region: _Region, path: _Path | None) -> tuple[int, ...]:
    order = []
    while path is not None:
        i, path = path
        order.append(region.order[i])
    return tuple(reversed(order))
