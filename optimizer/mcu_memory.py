"""Memory of a segment on a microcontroller board, to the byte: its arena with offsets, its scratch, its image.

The arena holds the tensors that enter and leave the segment, too: the firmware copies them from and to the links'
buffers. Inputs are there from the start, outputs to the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boards.board import System
from optimizer.graph import Graph
from optimizer.mcu import MCU_RUNTIME, Needs, SmallProcessor
from optimizer.memory import LiveRange
from optimizer.memory_offsets import pack_arena
from optimizer.onnx_forms_shapes import same_either_way
from optimizer.plan import ArenaLayout, Segment, Transfer

__all__ = [
    "SegmentMemory",
    "SegmentPart",
    "scratch_key",
    "scratch_ranges",
    "segment_memory",
    "segment_part",
    "small_buffers",
    "turned_tensors",
    "wire_key",
]

_PACKING_S = 0.02
"""Deterministic seconds of CP-SAT for one arena."""
_MOVE, _TABLE = "MOVE", "TABLE_I8"
_TABLE_BYTES = 256
"""Of the table that makes int8 of uint8, and back; one an image."""


@dataclass(frozen=True)
class SegmentPart:
    """A segment as its board sees it: operators as they run; tensors that enter, leave, and are turned on the wire."""

    operators: tuple[int, ...]
    entering: tuple[int, ...]
    leaving: tuple[int, ...]
    turned: tuple[int, ...]
    """Of those that enter or leave: they come channels first, while the board stores them channels last."""


@dataclass(frozen=True)
class SegmentMemory:
    """Bytes of a segment on its board."""

    layout: ArenaLayout
    """Operators' scratch included."""
    records: int
    image_bytes: int
    claimed_bytes: int
    """RAM that the firmware takes for the arena and operators' times."""


def wire_key(graph: Graph, tensor: int) -> int:
    """Number in a layout of the buffer that holds a turned tensor as it is on the wire."""
    return len(graph.tensors) + tensor


def scratch_key(graph: Graph, operator: int) -> int:
    """Number in a layout of what an operator needs beside its tensors while it runs."""
    return 2 * len(graph.tensors) + operator


def segment_part(
    graph: Graph, operators: Sequence[int], leaving: Iterable[int], turned: Collection[int]
) -> SegmentPart:
    """A segment with these operators, in their order, and tensors that leave it."""
    inside = set(operators)
    entering = dict.fromkeys(
        t for v in operators for t in graph.operators[v].inputs if graph.tensors[t].producer not in inside
    )
    out = tuple(dict.fromkeys(leaving))
    crossing = (*entering, *out)
    return SegmentPart(tuple(operators), tuple(entering), out, tuple(t for t in crossing if t in turned))


def turned_tensors(
    graph: Graph, system: System, segments: Sequence[Segment], transfers: Iterable[Transfer]
) -> set[int]:
    """Tensors that travel channels first, as boards with ONNX Runtime have them, and differ by it.

    Those are all that touch such a board. A host that feeds a microcontroller, or reads its results, turns them itself.
    """
    small = {board.name for board in system.boards if board.runtime == MCU_RUNTIME}
    home = {s.name: s.processor.split("/")[0] for s in segments}
    found = set()
    for t in transfers:
        ends = {home[name] for name in (*t.consumers, *([t.producer] if t.producer else [])) if name in home}
        ends |= {system.source} if t.producer is None else set()
        ends |= {system.sink} if t.to_sink else set()
        if not ends <= small and not same_either_way(graph.tensors[t.tensor].shape):
            found.add(t.tensor)
    return found


def small_buffers(
    graph: Graph, small: SmallProcessor, part: SegmentPart, sizes: npt.NDArray[np.int64]
) -> list[LiveRange]:
    """Buffers of the arena. Position 0 is before the first operator, the last behind all. ``sizes``: (t,) bytes."""
    end = len(part.operators) + 1
    position = {v: at for at, v in enumerate(part.operators, 1)}
    made = {t: position[v] for v in part.operators for t in graph.operators[v].outputs}
    first = dict.fromkeys(part.entering, 0) | made
    last = {t: max((position[c] for c in graph.tensors[t].consumers if c in position), default=first[t]) for t in first}
    last.update(dict.fromkeys(part.leaving, end))
    root = {t: t for t in first}
    until = dict(last)
    for v in part.operators:
        taken = _taken(graph, small.needs[v], v, position[v], root, until, sizes)
        if taken is not None:
            out = graph.operators[v].outputs[0]
            root[out] = taken
            until[taken] = max(until[taken], last[out])
    members: dict[int, list[int]] = {}
    for t in first:
        members.setdefault(root[t], []).append(t)
    found = [LiveRange(tuple(ts), int(sizes[r]), first[r], until[r]) for r, ts in members.items()]
    for t in part.turned:
        at = 0 if t in part.entering else end
        found.append(LiveRange((wire_key(graph, t),), int(sizes[t]), at, at))
    return found


def _taken(
    graph: Graph,
    needs: Needs | None,
    v: int,
    at: int,
    root: Mapping[int, int],
    until: Mapping[int, int],
    sizes: npt.NDArray[np.int64],
) -> int | None:
    """The buffer that the operator's result shares: its input's, renamed or overwritten."""
    op = graph.operators[v]
    if needs is None or not op.outputs or not (needs.renames or needs.overwrites):
        return None
    out = graph.tensors[op.outputs[0]]
    for t in op.inputs:
        source = graph.tensors[t]
        alike = source.dtype == out.dtype and sizes[t] == sizes[op.outputs[0]]
        if alike and needs.renames:
            return root[t]
        same = source.shape == out.shape or op.op_type in _RESHAPING
        if alike and same and until[root[t]] == at:
            return root[t]
    return None


_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")


def scratch_ranges(graph: Graph, small: SmallProcessor, part: SegmentPart) -> list[LiveRange]:
    """What operators need beside their tensors while they run."""
    needs = ((at, v, small.needs[v]) for at, v in enumerate(part.operators, 1))
    return [
        LiveRange((scratch_key(graph, v),), n.scratch_bytes, at, at)
        for at, v, n in needs
        if n is not None and n.scratch_bytes
    ]


def segment_memory(
    graph: Graph, small: SmallProcessor, part: SegmentPart, sizes: npt.NDArray[np.int64]
) -> SegmentMemory:
    """Everything a segment takes of its board. ``sizes``: (t,) bytes."""
    runtime = small.runtime
    held = [*small_buffers(graph, small, part, sizes), *scratch_ranges(graph, small, part)]
    layout = pack_arena(held, runtime.arena_alignment, _PACKING_S)
    kept = [n for n in _recorded(graph, small, part, layout) if n is not None]
    turns, changes = len(part.turned), _sign_changes(graph, part, layout)
    records = sum(n.records for n in kept) + turns + changes
    record_bytes = sum(n.record_bytes for n in kept)
    record_bytes += turns * runtime.kernels[_MOVE].record_bytes + changes * runtime.kernels[_TABLE].record_bytes
    table = _TABLE_BYTES if changes else 0
    head = runtime.header_bytes + runtime.tensor_bytes * (len(part.entering) + len(part.leaving)) + record_bytes
    return SegmentMemory(
        layout=layout,
        records=records,
        image_bytes=runtime.block(head) + sum(n.weights_bytes for n in kept) + table,
        claimed_bytes=runtime.block(runtime.block(layout.size_bytes) + runtime.record_ram_bytes * records),
    )


def _sign_changes(graph: Graph, part: SegmentPart, layout: ArenaLayout) -> int:
    """Places of uint8 tensors that enter or leave: on the board they are int8, which a record each makes of them."""
    return sum(
        len({layout.offsets[t] for t in crossing if graph.tensors[t].dtype == "uint8"})
        for crossing in (part.entering, part.leaving)
    )


def _recorded(graph: Graph, small: SmallProcessor, part: SegmentPart, layout: ArenaLayout) -> Iterable[Needs | None]:
    """Needs of the operators that have records: a Relu or Clip may be part of those right before it."""
    before = None
    inside = set(part.operators)
    for v in part.operators:
        op, needs = graph.operators[v], small.needs[v]
        if needs is not None and needs.folds and before is not None and op.inputs:
            source = graph.tensors[op.inputs[0]]
            readers = [c for c in source.consumers if c in inside]
            behind = small.needs[before]
            sole = readers == [v] and op.inputs[0] not in part.leaving and source.producer == before
            in_place = layout.offsets.get(op.inputs[0]) == layout.offsets.get(op.outputs[0])
            if sole and in_place and behind is not None and behind.takes_limits:
                continue
        if needs is not None and needs.records:
            before = v
        yield needs
