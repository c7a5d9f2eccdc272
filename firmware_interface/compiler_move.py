"""Lowering of what only moves elements, in any precision: views, transposes, concatenation, slices, pads, resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from firmware_interface.compiler_emit import Emitter
from firmware_interface.compiler_graph import Constant, Step, Stored, Tensor
from firmware_interface.compiler_i8 import change_scale
from firmware_interface.records_move import MOVE_AXES, Fill, Move, Resize

__all__ = ["MOVE_LOWERINGS", "RESHAPES", "is_rename", "is_view", "transposition"]

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")
"""Elements keep ONNX's order; on the board that is a view unless the order there differs."""


def is_view(step: Step) -> bool:
    """Whether the board stores input and output alike, so that they can be one buffer."""
    if step.op_type not in RESHAPES:
        return False
    source, target = step.stored()[0].tensor, step.output.tensor
    return source.stored_shape == target.stored_shape or (source.same_either_way and target.same_either_way)


def is_rename(step: Step) -> bool:
    """Whether the result is the input, byte for byte."""
    source, target = step.stored()[0], step.output
    return is_view(step) and source.alike(target) and step.low == -math.inf == -step.high


def _strides(shape: Sequence[int], order: Sequence[int]) -> list[int]:
    """Steps of each of ``shape``'s axes where they are stored in ``order``; elements."""
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis] = step
        step *= shape[axis]
    return steps


def _move(
    step: Step | str, emit: Emitter, size: int, at: tuple[int, int], extents: Sequence[int],
    steps: tuple[Sequence[int], Sequence[int]],
) -> None:  # fmt: skip
    """A MOVE over the box, with axes of one element left out and axes that run on joined."""
    axes = sorted(
        ((n, a, b) for n, a, b in zip(extents, *steps, strict=True) if n != 1), key=lambda x: -abs(x[2])
    )  # by steps of the output, so that lines of it are written at once
    joined: list[tuple[int, int, int]] = []
    for n, a, b in axes:
        if joined and (joined[-1][1], joined[-1][2]) == (a * n, b * n):
            joined[-1] = (joined[-1][0] * n, a, b)
        else:
            joined.append((n, a, b))
    if len(joined) > MOVE_AXES:
        raise ValueError(f"a move over {len(joined)} axes; at most {MOVE_AXES}")
    joined = joined or [(1, 1, 1)]
    emit.emit(
        step,
        Move(
            input=at[0], output=at[1], size_bytes=size, extents=[j[0] for j in joined],
            input_steps=[j[1] for j in joined], output_steps=[j[2] for j in joined],
        ),
    )  # fmt: skip


def transposition(owner: str, emit: Emitter, tensor: Tensor, source: int, target: int, *, to_board: bool) -> None:
    """Channels first as on the wire to the board's channels last, or back."""
    first = _strides(tensor.shape, range(len(tensor.shape)))
    last = _strides(tensor.shape, tensor.stored_axes)
    steps = (first, last) if to_board else (last, first)
    _move(owner, emit, tensor.element_bytes, (source, target), tensor.shape, steps)


def _reshape(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0], step.output
    if not is_view(step):
        _reorder(step, emit)
        if not source.alike(target) or step.low != -math.inf or step.high != math.inf:
            change_scale(step, emit, replace(source, tensor=target.tensor), target)
    elif not is_rename(step):
        change_scale(step, emit, source, target)
    elif emit.place(source) != emit.place(target):
        _move(
            step, emit, target.tensor.element_bytes, (emit.place(source), emit.place(target)),
            [target.tensor.elements], ([1], [1]),
        )  # fmt: skip


def _reorder(step: Step, emit: Emitter) -> None:
    """The same elements in ONNX's order, in other stored orders: a box over the axes that both shapes have."""
    source, target = step.stored()[0].tensor, step.output.tensor
    extents, where = _common_axes(source.shape, target.shape)
    if extents is None:
        raise step.refuse(f"{source.shape} as {target.shape}", "shapes whose axes are joined or split, images whole")
    steps = []
    for tensor, groups in ((source, where[0]), (target, where[1])):
        strides = _strides(tensor.shape, tensor.stored_axes)
        steps.append([strides[axis] * inner for axis, inner in groups])
    places = emit.place(source), emit.place(target)
    _move(step, emit, target.element_bytes, places, extents, (steps[0], steps[1]))


def _common_axes(
    a: Sequence[int], b: Sequence[int]
) -> tuple[list[int] | None, tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    """Extents of the finest box of both shapes; for each, (axis, elements of that axis in one step) in a and b."""
    extents: list[int] = []
    groups: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    left = list(a), list(b)
    at = [len(a) - 1, len(b) - 1]
    inner = [1, 1]
    while True:
        for side in (0, 1):
            while at[side] >= 0 and left[side][at[side]] == 1:
                at[side] -= 1
                inner[side] = 1
        if at[0] < 0 or at[1] < 0:
            break
        n = math.gcd(left[0][at[0]], left[1][at[1]])
        if n == 1:
            return None, groups
        extents.insert(0, n)
        for side in (0, 1):
            groups[side].insert(0, (at[side], inner[side]))
            inner[side] *= n
            left[side][at[side]] //= n
    return extents, groups


def _transpose(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0].tensor, step.output.tensor
    order = list(step.attributes.get("perm", reversed(range(len(source.shape)))))
    strides = _strides(source.shape, source.stored_axes)
    _require_same_scale(step, step.stored()[0])
    steps = [strides[axis] for axis in order], _strides(target.shape, target.stored_axes)
    _move(step, emit, target.element_bytes, (emit.place(source), emit.place(target)), target.shape, steps)


def _require_same_scale(step: Step, source: Stored) -> None:
    target = step.output
    if (source.scale, source.zero) != (target.scale, target.zero) or step.low != -math.inf or step.high != math.inf:
        raise step.refuse(
            f"{source.tensor.name!r} at another scale than the result", "one scale and zero point for all its tensors"
        )


def _concat(step: Step, emit: Emitter) -> None:
    target = step.output.tensor
    axis = int(step.attributes["axis"]) % len(target.shape)
    strides = _strides(target.shape, target.stored_axes)
    begin = 0
    for part in step.inputs:
        if not isinstance(part, Stored):
            raise step.refuse("a constant part", "activations")
        _require_same_scale(step, part)
        at = emit.place(target) + begin * strides[axis] * target.element_bytes
        own = _strides(part.tensor.shape, part.tensor.stored_axes)
        _move(step, emit, target.element_bytes, (emit.place(part), at), part.tensor.shape, (own, strides))
        begin += part.tensor.shape[axis]


def _integers(step: Step, at: int, name: str) -> list[int] | None:
    """A list that newer operator sets take as an input and older ones as an attribute."""
    if name in step.attributes:
        return [int(n) for n in step.attributes[name]]
    operand = step.inputs[at] if at < len(step.inputs) else None
    if operand is None:
        return None
    if not isinstance(operand, Constant):
        raise step.refuse(f"{name} that are computed", f"constant {name}")
    return [int(n) for n in operand.values.reshape(-1)]


def _slice(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0], step.output.tensor
    _require_same_scale(step, source)
    shape = source.tensor.shape
    starts, ends = _integers(step, 1, "starts") or [], _integers(step, 2, "ends") or []
    axes = _integers(step, 3, "axes") or list(range(len(starts)))
    leaps = _integers(step, 4, "steps") or [1] * len(starts)
    strides = _strides(shape, source.tensor.stored_axes)
    at, steps = 0, list(strides)
    for axis, start, end, leap in zip(axes, starts, ends, leaps, strict=True):
        a = axis % len(shape)
        first = slice(start, end, leap).indices(shape[a])[0]
        at += first * strides[a]
        steps[a] = strides[a] * leap
    places = emit.place(source) + at * target.element_bytes, emit.place(target)
    own = _strides(target.shape, target.stored_axes)
    _move(step, emit, target.element_bytes, places, target.shape, (steps, own))


def _split(step: Step, emit: Emitter) -> None:
    source = step.stored()[0]
    axis = int(step.attributes.get("axis", 0)) % len(source.tensor.shape)
    strides = _strides(source.tensor.shape, source.tensor.stored_axes)
    begin = 0
    if sum(part.tensor.shape[axis] for part in step.outputs) != source.tensor.shape[axis]:
        raise step.refuse("an output that nobody reads", "all outputs read")
    for part in step.outputs:
        at = emit.place(source) + begin * strides[axis] * source.tensor.element_bytes
        own = _strides(part.tensor.shape, part.tensor.stored_axes)
        _move(step, emit, part.tensor.element_bytes, (at, emit.place(part)), part.tensor.shape, (strides, own))
        begin += part.tensor.shape[axis]
        if not source.alike(part):
            change_scale(step, emit, replace(source, tensor=part.tensor), part)


def _pad(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0], step.output
    _require_same_scale(step, source)
    shape = source.tensor.shape
    mode = step.attributes.get("mode", b"constant")
    pads = _integers(step, 1, "pads") or []
    if mode != b"constant" or min(pads, default=0) < 0 or len(pads) != 2 * len(shape):
        raise step.refuse(f"mode {mode.decode()} with pads {pads}", "constant padding of zero or more on all axes")
    value = float(step.attributes.get("value", 0.0))
    if len(step.inputs) > 2 and isinstance(step.inputs[2], Constant):
        value = float(step.inputs[2].real().reshape(()))
    raw = np.int8(target.quantized(value)).tobytes() if step.integer else np.float32(value).tobytes()
    emit.emit(step, Fill(output=emit.place(target), count=target.tensor.elements, value=raw))
    strides = _strides(target.tensor.shape, target.tensor.stored_axes)
    first = sum(pad * stride for pad, stride in zip(pads, strides, strict=False))
    at = emit.place(target) + first * target.tensor.element_bytes
    own = _strides(shape, source.tensor.stored_axes)
    _move(step, emit, target.tensor.element_bytes, (emit.place(source), at), shape, (own, strides))


def _resize(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0], step.output.tensor
    _require_same_scale(step, source)
    shape = source.tensor.shape
    if step.attributes.get("mode", b"nearest") != b"nearest":
        raise step.refuse(f"mode {step.attributes['mode'].decode()}", "nearest")
    if len(shape) != 4 or shape[:2] != target.shape[:2]:
        raise step.refuse(f"{shape} to {target.shape}", "images of four axes, resized along the last two")
    places = [_nearest(step, shape[a], target.shape[a], _resize_scale(step, a)) for a in (2, 3)]
    rows, columns = (emit.weight(np.asarray(p, "<u2")) for p in places)
    pixel = shape[1] * target.element_bytes
    for image in range(shape[0]):
        emit.emit(
            step,
            Resize(
                input=emit.place(source) + image * shape[2] * shape[3] * pixel,
                output=emit.place(target) + image * target.shape[2] * target.shape[3] * pixel, rows=rows,
                columns=columns, in_height=shape[2], in_width=shape[3], out_height=target.shape[2],
                out_width=target.shape[3], pixel_bytes=pixel,
            ),
        )  # fmt: skip


def _resize_scale(step: Step, axis: int) -> float:
    at = 1 if step.op_type == "Upsample" else 2
    operand = step.inputs[at] if at < len(step.inputs) else None
    if isinstance(operand, Constant) and operand.values.size:
        return float(operand.values.reshape(-1)[axis])
    return step.output.tensor.shape[axis] / step.stored()[0].tensor.shape[axis]


def _nearest(step: Step, before: int, after: int, scale: float) -> list[int]:
    """Index of the pixel that each pixel of the result is."""
    transform = step.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = step.attributes.get("nearest_mode", b"round_prefer_floor").decode()
    if step.op_type == "Upsample":
        transform, rounding = "asymmetric", "floor"
    one = np.float32(scale)  # as ONNX Runtime computes, which matters where x / scale is nearly whole
    half = np.float32(0.5)
    transforms: dict[str, Callable[[int], float]] = {
        "half_pixel": lambda x: float((np.float32(x) + half) / one - half),
        "pytorch_half_pixel": lambda x: float((np.float32(x) + half) / one - half) if after > 1 else 0.0,
        "align_corners": lambda x: float(np.float32(x * (before - 1)) / np.float32(after - 1)) if after > 1 else 0.0,
        "asymmetric": lambda x: float(np.float32(x) / one),
    }
    roundings: dict[str, Callable[[float], int]] = {
        "round_prefer_floor": lambda x: math.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: math.floor(x + 0.5),
        "floor": math.floor,
        "ceil": math.ceil,
    }
    if transform not in transforms:
        raise step.refuse(f"coordinates by {transform}", ", ".join(transforms))
    return [min(max(roundings[rounding](transforms[transform](x)), 0), before - 1) for x in range(after)]


MOVE_LOWERINGS: Mapping[str, Callable[[Step, Emitter], None]] = {
    **dict.fromkeys(RESHAPES, _reshape),
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
}
