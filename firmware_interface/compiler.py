"""An ONNX sub-model as a board image: ``compile_segment`` is the way in.

Sub-models are int8 or uint8 between QuantizeLinear and DequantizeLinear, or float32, or both. Images are stored
channels last on the board; where the other end of a wire wants them channels first, a record transposes them. uint8 is
int8 on the board; a record changes what enters or leaves.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from firmware_interface.compiler_emit import Emitter, Record
from firmware_interface.compiler_f32 import FLOAT_LOWERINGS, convert, fold_limits
from firmware_interface.compiler_graph import Step, Steps, Tensor, read_steps
from firmware_interface.compiler_i8 import INT8_LOWERINGS, other_sign
from firmware_interface.compiler_layout import (
    SegmentLayout,
    check_layout,
    check_scratch,
    simple_layout,
    wire_buffer,
)
from firmware_interface.compiler_move import MOVE_LOWERINGS, transposition
from firmware_interface.errors import CompileError
from firmware_interface.image import ImageTensor, build_image
from firmware_interface.records import RECORDS_VERSION, Kernel

__all__ = ["CompiledSegment", "Lowered", "SegmentLayout", "WireTensor", "compile_segment", "lower", "wire_buffer"]

CAPABILITY_INT8, CAPABILITY_FLOAT32 = 1 << 2, 1 << 3
"""Bits of BOARD_IDENTITY's capabilities (PROTOCOL.md, section 9)."""
BLOCK_BYTES, TIME_BYTES = 16, 8
"""The runtime rounds up to blocks, and keeps a time for each record."""


@dataclass(frozen=True)
class WireTensor:
    """A tensor as it enters or leaves the board. ``layout``: "nhwc", "nchw", or "flat" where it has not four axes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """ONNX's, batch included."""
    layout: str
    size_bytes: int


@dataclass(frozen=True)
class CompiledSegment:
    """A board image and what the host must know of it. Inputs and outputs stand in the order of the image's table."""

    image: bytes
    board: str
    inputs: tuple[WireTensor, ...]
    outputs: tuple[WireTensor, ...]
    arena_bytes: int
    scratch_bytes: int
    scratch_in_arena: bool
    """Whether the scratch is part of the arena's bytes."""
    records: tuple[str, ...]
    """Operator that each record belongs to, so that times by record become times by operator."""
    transposes: int
    """Records that turn a tensor between wire and board."""

    @property
    def ram_bytes(self) -> int:
        """What the board claims of RAM for the model: arena, scratch, and the time of each record."""
        scratch = 0 if self.scratch_in_arena else self.scratch_bytes
        parts = (self.arena_bytes, scratch, TIME_BYTES * len(self.records))
        return sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in parts)

    @property
    def flash_bytes(self) -> int:
        """What the slot takes."""
        return len(self.image)


@dataclass(frozen=True)
class Lowered:
    """A segment as records, before they are packed."""

    steps: Steps
    layout: SegmentLayout
    records: tuple[Record, ...]
    owners: tuple[str, ...]
    weights: bytes
    scratch_bytes: int
    scratch_in_arena: bool
    transposed: frozenset[str]


def compile_segment(
    model: onnx.ModelProto,
    *,
    board: str,
    layout: SegmentLayout | None = None,
    wire: Mapping[str, str] | None = None,
) -> CompiledSegment:
    """The image of a sub-model for a board type ("" for any).

    ``layout``: the plan's order and offsets; without one the model's own order and a simple layout. ``wire``: layout
    by name of an input or output where it is not the board's own ("nchw" for Linux agents). Raises CompileError, which
    names the node, its operator and what the kernels take.
    """
    lowered = lower(model, layout=layout, wire=wire)
    steps, places = lowered.steps, lowered.layout.offsets

    def entry(tensor: Tensor) -> ImageTensor:
        name = wire_buffer(tensor.name) if tensor.name in lowered.transposed else tensor.name
        return ImageTensor(places[name], tensor.size_bytes)

    try:
        packed = [record.pack() for record in lowered.records]
        image = build_image(
            inputs=[entry(t) for t in steps.inputs],
            outputs=[entry(t) for t in steps.outputs],
            records=packed,
            weights=lowered.weights,
            arena_bytes=lowered.layout.arena_bytes,
            scratch_bytes=lowered.scratch_bytes,
            scratch_in_arena=lowered.scratch_in_arena,
            board=board,
            kernels=RECORDS_VERSION if packed else 0,
            capabilities=_capabilities(packed),
        )
    except (ValueError, struct.error) as e:
        raise CompileError("", "image", str(e), "figures within the image format") from e
    return CompiledSegment(
        image=image,
        board=board,
        inputs=tuple(_wire_tensor(t, lowered.transposed) for t in steps.inputs),
        outputs=tuple(_wire_tensor(t, lowered.transposed) for t in steps.outputs),
        arena_bytes=lowered.layout.arena_bytes,
        scratch_bytes=lowered.scratch_bytes,
        scratch_in_arena=lowered.scratch_in_arena,
        records=lowered.owners,
        transposes=len(lowered.transposed),
    )


def lower(
    model: onnx.ModelProto, *, layout: SegmentLayout | None = None, wire: Mapping[str, str] | None = None
) -> Lowered:
    """The records of a sub-model; arguments and errors as in ``compile_segment``."""
    steps = read_steps(model)
    transposed = _transposed(steps, wire or {})
    if layout is None:
        layout = simple_layout(steps, transposed)
    check_layout(steps, layout, transposed)
    emit = Emitter(layout.offsets)
    for tensor in steps.inputs:
        if tensor.name in transposed:
            places = layout.offsets[wire_buffer(tensor.name)], layout.offsets[tensor.name]
            transposition(tensor.name, emit, tensor, *places, to_board=True)
    other_sign(steps.inputs, emit)
    readers = steps.readers()
    for step in steps.steps:
        _lower(step, steps, readers, emit)
    other_sign(steps.outputs, emit)
    for tensor in steps.outputs:
        if tensor.name in transposed:
            places = layout.offsets[tensor.name], layout.offsets[wire_buffer(tensor.name)]
            transposition(tensor.name, emit, tensor, *places, to_board=False)
    if layout.places_scratch:
        check_scratch(steps, layout, transposed, emit.scratch)
    return Lowered(
        steps, layout, tuple(emit.records), tuple(emit.owners), bytes(emit.weights), emit.scratch_bytes,
        layout.places_scratch, transposed,
    )  # fmt: skip


def _transposed(steps: Steps, wire: Mapping[str, str]) -> frozenset[str]:
    """Tensors that the wire has channels first and the board channels last, and that differ by it."""
    found = set()
    for tensor in (*steps.inputs, *steps.outputs):
        asked = wire.get(tensor.name, "nhwc")
        if asked not in ("nchw", "nhwc", "flat"):
            raise CompileError(tensor.name, "wire", f"layout {asked!r}", "nchw, nhwc or flat")
        if asked == "nchw" and not tensor.same_either_way:
            found.add(tensor.name)
    return frozenset(found)


def _wire_tensor(tensor: Tensor, transposed: frozenset[str]) -> WireTensor:
    of_image = "nchw" if tensor.name in transposed else "nhwc"
    layout = of_image if len(tensor.shape) == 4 else "flat"
    return WireTensor(tensor.name, tensor.dtype, tensor.shape, layout, tensor.size_bytes)


def _lower(step: Step, steps: Steps, readers: Mapping[str, list[int]], emit: Emitter) -> None:
    precisions = {s.tensor.integer for s in (*step.stored(), *step.outputs)}
    try:
        if len(precisions) > 1:
            if step.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                raise step.refuse("int8 and float32 tensors at once", "QuantizeLinear behind it and before it")
            convert(step, emit)
        elif step.op_type in MOVE_LOWERINGS:
            MOVE_LOWERINGS[step.op_type](step, emit)
        elif not _fold(step, steps, readers, emit):
            table = INT8_LOWERINGS if step.integer else FLOAT_LOWERINGS
            if step.op_type not in table:
                raise step.refuse("no kernel for it", "one of " + ", ".join(sorted((*table, *MOVE_LOWERINGS))))
            table[step.op_type](step, emit)
    except (ValueError, struct.error) as e:
        raise step.refuse(str(e), "figures within the kernels' limits") from e


def _fold(step: Step, steps: Steps, readers: Mapping[str, list[int]], emit: Emitter) -> bool:
    """A float32 Relu or Clip that the record before it takes in, where nobody else reads what that makes."""
    if step.integer or not step.stored():
        return False
    source = step.stored()[0].tensor
    maker = next((s for s in steps.steps if source.name in [o.tensor.name for o in s.outputs]), None)
    if maker is None or source.name in [t.name for t in steps.outputs] or len(readers[source.name]) != 1:
        return False
    return emit.places[source.name] == emit.places[step.output.tensor.name] and fold_limits(step, emit, maker.name)


def _capabilities(records: list[bytes]) -> int:
    """What a board must have of kernels."""
    kernels = [Kernel(int.from_bytes(r[:2], "little")) for r in records]
    needed = 0
    for kernel in kernels:
        if Kernel.CONV_I8 <= kernel <= Kernel.SOFTMAX_I8:
            needed |= CAPABILITY_INT8
        elif kernel >= Kernel.QUANTIZE:
            needed |= CAPABILITY_FLOAT32
    return needed
