"""Exact memory of a segment: live ranges of the tensors that live inside it, in the order its operators run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimizer.graph import Graph

__all__ = ["LiveRange", "arena_peak_bytes", "live_ranges"]


@dataclass(frozen=True)
class LiveRange:
    """A buffer of the arena: alive from the ``first`` to the ``last`` operator position, both included.

    ``tensors`` share the buffer: an in-place operator's output takes over its input's.
    """

    tensors: tuple[int, ...]
    size_bytes: int
    first: int
    last: int


def live_ranges(graph: Graph, order: Sequence[int], sizes: Mapping[int, int], *, in_place: bool) -> list[LiveRange]:
    """Buffers of a segment's arena.

    ``order``: operator indices as they run. ``sizes``: bytes of every tensor that lives in the arena, that is,
    one made and wholly consumed in the segment (crossing tensors live in link buffers instead).
    """
    position = {op: i for i, op in enumerate(order)}
    last = {
        t: max((position[c] for c in graph.tensors[t].consumers), default=position[_maker(graph, t)]) for t in sizes
    }
    buffers: dict[int, list[int]] = {}
    root: dict[int, int] = {}
    for op_index in order:
        op = graph.operators[op_index]
        here = position[op_index]
        taken = op.in_place_input
        reuse = (
            in_place
            and taken is not None
            and taken in root
            and last[taken] == here
            and len(op.outputs) >= 1
            and op.outputs[0] in sizes
            and sizes[op.outputs[0]] == sizes[taken]
        )
        for slot, out in enumerate(op.outputs):
            if out not in sizes:
                continue
            if slot == 0 and reuse and taken is not None:
                root[out] = root[taken]
                buffers[root[out]].append(out)
            else:
                root[out] = out
                buffers[out] = [out]
    return [
        LiveRange(
            tensors=tuple(members),
            size_bytes=sizes[first],
            first=position[_maker(graph, first)],
            last=max(last[t] for t in members),
        )
        for first, members in buffers.items()
    ]


def _maker(graph: Graph, tensor: int) -> int:
    producer = graph.tensors[tensor].producer
    if producer is None:
        raise ValueError(f"tensor {graph.tensors[tensor].name!r} is a model input and never lives in an arena")
    return producer


def arena_peak_bytes(graph: Graph, order: Sequence[int], sizes: Mapping[int, int], *, in_place: bool) -> int:
    """Largest sum of live buffers over the positions of ``order`` (arguments as for ``live_ranges``)."""
    if not sizes:
        return 0
    if not in_place and all(a < b for a, b in itertools.pairwise(order)):
        return _peak_in_graph_order(graph, sizes)
    change = [0] * (len(order) + 1)
    for buffer in live_ranges(graph, order, sizes, in_place=in_place):
        change[buffer.first] += buffer.size_bytes
        change[buffer.last + 1] -= buffer.size_bytes
    return max(itertools.accumulate(change))


def _peak_in_graph_order(graph: Graph, sizes: Mapping[int, int]) -> int:
    """The same without in-place buffers, for operators in the graph's own order: positions are operator indices."""
    tensors = np.fromiter(sizes.keys(), np.int64, len(sizes))
    held = np.fromiter(sizes.values(), np.int64, len(sizes))
    first, last = graph.span
    change = np.zeros(len(graph.operators) + 1, np.int64)
    np.add.at(change, first[tensors], held)
    np.subtract.at(change, last[tensors] + 1, held)
    return int(np.cumsum(change).max())
