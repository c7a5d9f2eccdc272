"""Where tensors lie in a board's arena: a layout that somebody gives, checked, or a simple one of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from firmware_interface.compiler_emit import scratch_buffer
from firmware_interface.compiler_graph import Step, Steps, Stored, Tensor
from firmware_interface.compiler_move import is_rename, is_view
from firmware_interface.errors import CompileError

__all__ = ["ALIGNMENT", "SegmentLayout", "check_layout", "check_scratch", "simple_layout", "wire_buffer"]

ALIGNMENT = 4
"""Of offsets in the arena: what float32 kernels need."""
_OVERWRITING = frozenset(("Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSwish"))
"""Operators whose kernels may write where they read an input of the result's size; more in int8, see below."""
_OVERWRITING_INT8 = frozenset(("HardSigmoid", "LeakyRelu", "Elu", "Tanh", "Erf", "Abs", "Neg"))


Spans = dict[str, tuple[int, int]]


def wire_buffer(tensor: str) -> str:
    """Name in a layout of the buffer that holds a tensor as it is on the wire, where that is transposed."""
    return f"{tensor}@wire"


@dataclass(frozen=True)
class SegmentLayout:
    """Order of the operators and the arena of a segment, as the plan has them.

    ``offsets``: bytes by tensor name (model inputs and outputs included), by ``wire_buffer(name)`` for a tensor that is
    transposed between wire and board, and by ``scratch_buffer(operator)`` for what its kernel needs while it runs;
    without any such scratch lies behind the arena.
    """

    operators: tuple[str, ...]
    offsets: Mapping[str, int]
    arena_bytes: int

    @property
    def places_scratch(self) -> bool:
        """Whether operators' scratch is part of the arena."""
        return any(scratch_buffer(name) in self.offsets for name in self.operators)


@dataclass(frozen=True)
class Buffer:
    """A tensor that lives from step ``first`` to step ``last``; -1: before all, the number of steps: behind all."""

    name: str
    tensor: Tensor
    first: int
    last: int


def buffers(steps: Steps, transposed: frozenset[str]) -> list[Buffer]:
    """All buffers of a segment. Inputs live from the start, outputs to the end."""
    end = len(steps.steps)
    readers = steps.readers()
    inputs = {t.name for t in steps.inputs}
    outputs = {t.name for t in steps.outputs}
    made = [(-1, t) for t in steps.inputs]
    made += [(at, out.tensor) for at, step in enumerate(steps.steps) for out in step.outputs]
    found: list[Buffer] = []
    for first, tensor in made:
        last = max(readers.get(tensor.name, [first]))
        if tensor.name in outputs:
            last = end
        found.append(Buffer(tensor.name, tensor, first, last))
        if tensor.name in transposed:
            when = (-1, -1) if tensor.name in inputs else (end, end)
            found.append(Buffer(wire_buffer(tensor.name), tensor, *when))
    return found


def may_share(step: Step, source: Stored, last: int, at: int) -> bool:
    """Whether the first output of the step at ``at`` may lie where that input lies, which is needed until ``last``.

    Either both are the same bytes, or the step overwrites what nobody needs behind it.
    """
    out = step.output.tensor
    if source.tensor.size_bytes != out.size_bytes or source.tensor.dtype != out.dtype:
        return False
    if is_view(step):
        return last == at or is_rename(step)
    overwriting = step.op_type in _OVERWRITING or (step.integer and step.op_type in _OVERWRITING_INT8)
    by_channel = step.op_type in ("Add", "Mul") and len(step.stored()) == 1  # a convolution: not in place
    return overwriting and not by_channel and source.tensor.shape == out.shape and last == at


def _shared(steps: Steps, found: list[Buffer], offsets: Mapping[str, int] | None) -> tuple[dict[str, str], Spans]:
    """By buffer the one whose place it shares; by those the steps from and to which they are needed.

    ``offsets``: places that are given; None where sharing is free to choose.
    """
    root = {b.name: b.name for b in found}
    span = {b.name: (b.first, b.last) for b in found}
    own = dict(span)
    for at, step in enumerate(steps.steps):
        if not step.outputs:
            continue
        out = step.output.tensor.name
        for source in step.stored():
            into = root[source.tensor.name]
            wanted = offsets is None or offsets[out] == offsets[into]
            if wanted and may_share(step, source, span[into][1], at):
                root[out] = into
                span[into] = span[into][0], max(span[into][1], own[out][1])
                break
    return root, {name: span[name] for name in set(root.values())}


def simple_layout(steps: Steps, transposed: frozenset[str]) -> SegmentLayout:
    """The model's own order; largest buffers first, each into the lowest gap. For tests and single boards."""
    found = buffers(steps, transposed)
    root, spans = _shared(steps, found, None)
    offsets: dict[str, int] = {}
    placed: list[tuple[int, int, tuple[int, int]]] = []
    for buffer in sorted((b for b in found if root[b.name] == b.name), key=lambda b: -b.tensor.size_bytes):
        size, lives = -(-buffer.tensor.size_bytes // ALIGNMENT) * ALIGNMENT, spans[buffer.name]
        at = 0
        for start, end, other in sorted(placed):
            if other[0] <= lives[1] and lives[0] <= other[1]:
                if start - at >= size:
                    break
                at = max(at, end)
        offsets[buffer.name] = at
        placed.append((at, at + size, lives))
    everywhere = {b.name: offsets[root[b.name]] for b in found}
    arena = max((end for _, end, _ in placed), default=0)
    return SegmentLayout(tuple(s.name for s in steps.steps), everywhere, arena)


def check_layout(steps: Steps, layout: SegmentLayout, transposed: frozenset[str]) -> None:
    """Raises CompileError where the layout is not one that this segment can run with."""
    names = tuple(s.name for s in steps.steps)
    if names != layout.operators:
        raise CompileError("", "layout", f"operators {list(layout.operators)}", f"the sub-model's: {list(names)}")
    for fault in _faults(steps, layout, buffers(steps, transposed)):
        raise CompileError("", "layout", fault, "a layout made for this segment and this runtime; plan again")


def check_scratch(steps: Steps, layout: SegmentLayout, transposed: frozenset[str], scratch: Mapping[str, int]) -> None:
    """Raises CompileError where a layout that places scratch lets it meet a live tensor. ``scratch``: by operator."""
    _, spans = _shared(steps, buffers(steps, transposed), layout.offsets)
    sizes = {b.name: b.tensor.size_bytes for b in buffers(steps, transposed)}
    takes = "a layout made for this segment and this runtime; plan again"
    for at, step in enumerate(steps.steps):
        if step.name not in scratch:
            continue
        begin = layout.offsets.get(scratch_buffer(step.name), -1)
        end = begin + scratch[step.name]
        if begin < 0 or begin % ALIGNMENT or end > layout.arena_bytes:
            fault = f"scratch from {begin} to {end} in an arena of {layout.arena_bytes} bytes"
            raise CompileError(step.name, step.op_type, fault, takes)
        for name, (first, last) in spans.items():
            if first <= at <= last and layout.offsets[name] < end and begin < layout.offsets[name] + sizes[name]:
                raise CompileError(step.name, step.op_type, f"scratch from {begin} to {end} in {name!r}", takes)


def _faults(steps: Steps, layout: SegmentLayout, found: list[Buffer]) -> Iterator[str]:
    missing = [b.name for b in found if b.name not in layout.offsets]
    if missing:
        yield f"no place for {', '.join(missing)}"
        return
    root, spans = _shared(steps, found, layout.offsets)
    own = [b for b in found if root[b.name] == b.name]
    for i, a in enumerate(own):
        begin, end = layout.offsets[a.name], layout.offsets[a.name] + a.tensor.size_bytes
        if begin < 0 or begin % ALIGNMENT or end > layout.arena_bytes:
            yield f"{a.name!r} from {begin} to {end} in an arena of {layout.arena_bytes} bytes"
        for b in own[:i]:
            over = begin < layout.offsets[b.name] + b.tensor.size_bytes and layout.offsets[b.name] < end
            if over and spans[a.name][0] <= spans[b.name][1] and spans[b.name][0] <= spans[a.name][1]:
                yield f"{a.name!r} and {b.name!r} overlap while both are needed"
